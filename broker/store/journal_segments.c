#include "store/journal_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/clock.h"
#include "io/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SPARE_PREFIX "spare-"
#define ZEROS_BYTES  ((size_t)64 * 1024)
#define ZEROS_PARTS  16u

static const uint8_t zeros[ZEROS_BYTES];

static const struct disk_ops *ops_of(const struct journal *j)
{
    return j->setup.disk->ops;
}

static uint64_t draw(struct journal *j)
{
    return j->setup.random != NULL ? j->setup.random(j->setup.arg) : random_u64();
}

void journal_segment_free(struct journal *j, struct segment **segment)
{
    struct segment *s = *segment;
    *segment = NULL;
    if (s->file != NULL)
        ops_of(j)->close(&s->file);
    mem_free(s);
}

/* ---- making segments: `making` is held ------------------------------------------------------ */

static unsigned stock_now(const struct journal *j)
{
    return atomic_load_explicit(&j->stock_count, memory_order_relaxed);
}

static void set_stock(struct journal *j, unsigned count)
{
    atomic_store_explicit(&j->stock_count, count, memory_order_relaxed);
}

static void add_stock(struct journal *j, uint32_t number)
{
    unsigned count = stock_now(j);
    if (count == j->stock_room) {
        j->stock_room = j->stock_room != 0 ? j->stock_room * 2 : 16;
        j->stock = mem_realloc(j->stock, j->stock_room * sizeof *j->stock);
    }
    j->stock[count] = number;
    set_stock(j, count + 1);
}

static bool fill_with_zeros(struct journal *j, struct disk_file *f, struct err *err)
{
    struct slice parts[ZEROS_PARTS];
    uint32_t bytes = j->setup.segment_bytes;
    for (uint32_t at = 0; at < bytes;) {
        size_t count = 0;
        uint32_t from = at;
        for (; count < ZEROS_PARTS && at < bytes; count++) {
            uint32_t n = bytes - at < ZEROS_BYTES ? bytes - at : (uint32_t)ZEROS_BYTES;
            parts[count] = slice_of(zeros, n);
            at += n;
        }
        if (!ops_of(j)->write(f, from, parts, count, err))
            return false;
    }
    return true;
}

/* Half a file only takes room from those who need it, and its name is that of the next try. */
static void remove_quietly(struct journal *j, const char *name)
{
    struct err ignored;
    (void)ops_of(j)->remove(j->setup.disk, name, &ignored);
}

/* Rather asked than found out: half a file that comes and goes looks like a disk that is full and
 * not, to all who watch it. Where nobody knows, it is tried. */
static bool has_space(struct journal *j, const char *name, struct err *err)
{
    uint64_t free_bytes = 0, total_bytes = 0;
    struct err ignored;
    if (!ops_of(j)->space(j->setup.disk, &free_bytes, &total_bytes, &ignored) ||
        free_bytes >= j->setup.segment_bytes)
        return true;
    return err_set(err, ERR_LIMIT, "no room on the disk for %s free=%" PRIu64 " wanted=%" PRIu32,
                   name, free_bytes, j->setup.segment_bytes);
}

/* A file of a segment's length, with whatever in it. */
static struct disk_file *new_file(struct journal *j, const char *name, struct err *err)
{
    if (!has_space(j, name, err))
        return NULL;
    struct disk_file *f = ops_of(j)->open(j->setup.disk, name, DISK_CREATE, err);
    if (f == NULL || fill_with_zeros(j, f, err))
        return f;
    ops_of(j)->close(&f);
    remove_quietly(j, name);
    return NULL;
}

static bool write_header(struct journal *j, struct segment *s, struct err *err)
{
    uint8_t octets[SEGMENT_HEADER_BYTES] = { 0 };
    struct slice part = slice_of(octets, sizeof octets);
    s->header = (struct segment_header){
        .seg = j->next_made,
        .bytes = j->setup.segment_bytes,
        .salt = draw(j),
    };
    memcpy(s->header.store_id, j->setup.store_id, sizeof s->header.store_id);
    segment_header_put(octets, &s->header);
    return ops_of(j)->write(s->file, 0, &part, 1, err) &&
           (MUTATION(HEADER_NOT_SYNCED) || ops_of(j)->sync(s->file, err));
}

/* Until its header is synced under the spare's name, no segment of this number is there; and no
 * header ever stands in a file of another number's name. The folder is synced by the caller. */
static struct segment *make_one(struct journal *j, struct err *err)
{
    char from[JOURNAL_NAME_MAX], to[JOURNAL_NAME_MAX];
    unsigned stock = stock_now(j);
    bool has_stock = stock != 0;
    journal_spare_name(has_stock ? j->stock[stock - 1] : j->next_made, from);
    journal_seg_name(j->next_made, to);
    struct segment *s = mem_zalloc(sizeof *s);
    s->file =
        has_stock ? ops_of(j)->open(j->setup.disk, from, DISK_WRITE, err) : new_file(j, from, err);
    bool has_file = s->file != NULL;
    if (!has_file || !write_header(j, s, err) || !ops_of(j)->rename(j->setup.disk, from, to, err)) {
        journal_segment_free(j, &s);
        if (has_file && !has_stock)
            remove_quietly(j, from);
        return NULL;
    }
    set_stock(j, stock - has_stock);
    j->next_made++;
    return s;
}

static void publish(struct journal *j, struct segment_list *made, unsigned count)
{
    lock_take(&j->lock);
    TAILQ_CONCAT(&j->ready, made, entry);
    bool is_waited_for = j->waits_for_room;
    lock_give(&j->lock);
    atomic_fetch_add_explicit(&j->ready_count, count, memory_order_release);
    if (is_waited_for)
        bell_ring(&j->bell);
}

static void free_made(struct journal *j, struct segment_list *made)
{
    for (struct segment *s; (s = TAILQ_FIRST(made)) != NULL;) {
        TAILQ_REMOVE(made, s, entry);
        journal_segment_free(j, &s);
    }
}

/* What is in stock costs two small syncs, all share that of the folder. A new file takes a while,
 * and whoever waits should have it at once. */
static bool make_some(struct journal *j, unsigned most, struct err *err)
{
    struct segment_list made = TAILQ_HEAD_INITIALIZER(made);
    unsigned count = 0;
    bool ok = true;
    CHECK(most != 0);
    do {
        struct segment *s = make_one(j, err);
        ok = s != NULL;
        if (ok) {
            TAILQ_INSERT_TAIL(&made, s, entry);
            count++;
        }
    } while (ok && count < most && stock_now(j) != 0);
    struct err sync_err;
    if (count != 0 && !MUTATION(NAME_NOT_SYNCED) &&
        !ops_of(j)->sync_folder(j->setup.disk, JOURNAL_FOLDER, &sync_err)) {
        *err = sync_err;
        ok = false;
        /* Their names may be there or not: what the disk has not said cannot be made good. */
        if (err->code == ERR_LIMIT)
            err->code = ERR_IO;
        free_made(j, &made);
        count = 0;
    }
    if (count != 0)
        publish(j, &made, count);
    atomic_store_explicit(&j->is_full, !ok && err->code == ERR_LIMIT, memory_order_relaxed);
    return ok;
}

static unsigned ready_now(const struct journal *j)
{
    return atomic_load_explicit(&j->ready_count, memory_order_acquire);
}

static unsigned ready_wanted(const struct journal *j)
{
    return j->setup.spare + j->setup.reserve;
}

/* Only below this are new files made. Those that are in use come back: if all that is wanted were
 * made at once, as many would be too many a moment later and be removed, all the time. */
static unsigned ready_least(const struct journal *j)
{
    return j->setup.reserve + (j->setup.spare + 1) / 2;
}

/* How many to make now. */
static unsigned ready_lacking(const struct journal *j)
{
    unsigned ready = ready_now(j), wanted = ready_wanted(j);
    if (ready < wanted && stock_now(j) != 0)
        return wanted - ready;
    return ready < ready_least(j);
}

bool journal_wants_prepare(const struct journal *j)
{
    return ready_lacking(j) != 0 && !journal_has_failed(j);
}

bool journal_prepare(struct journal *j, struct err *err)
{
    bool ok = true;
    while (ok && journal_wants_prepare(j)) {
        lock_take(&j->making);
        unsigned lacking = ready_lacking(j);
        /* The first one at once, if there is none: somebody may wait for it. */
        ok = lacking == 0 || make_some(j, ready_now(j) != 0 ? lacking : 1, err);
        /* Before anybody else makes one, whose number would not be the next. */
        if (!ok && err->code != ERR_LIMIT)
            journal_fail(j, err);
        lock_give(&j->making);
    }
    return ok;
}

/* Two segments at most: when the disk turns out to be full, so many are left beside the reserve. */
static uint64_t backlog_most(const struct journal *j)
{
    uint64_t two = (uint64_t)2 * j->setup.segment_bytes;
    return two < JOURNAL_BACKLOG_MAX ? two : JOURNAL_BACKLOG_MAX;
}

bool journal_is_behind(const struct journal *j)
{
    uint64_t backlog = journal_backlog(j), most = backlog_most(j);
    if (LIKELY(!atomic_load_explicit(&j->is_full, memory_order_relaxed)))
        return backlog > most;
    unsigned ready = ready_now(j), reserve = j->setup.reserve;
    uint64_t room = ready > reserve ? (uint64_t)(ready - reserve) * j->setup.segment_bytes : 0;
    return backlog > (room < most ? room : most);
}

bool journal_is_short(const struct journal *j)
{
    return atomic_load_explicit(&j->is_full, memory_order_relaxed) &&
           ready_now(j) <= j->setup.reserve;
}

/* ---- for the thread ------------------------------------------------------------------------- */

static struct segment *take_ready(struct journal *j)
{
    lock_take(&j->lock);
    struct segment *s = TAILQ_FIRST(&j->ready);
    if (s != NULL)
        TAILQ_REMOVE(&j->ready, s, entry);
    lock_give(&j->lock);
    if (s != NULL)
        atomic_fetch_sub_explicit(&j->ready_count, 1, memory_order_release);
    return s;
}

static struct segment *make_next(struct journal *j, struct err *err)
{
    lock_take(&j->making);
    struct segment *s = take_ready(j); /* made by somebody else meanwhile */
    if (s == NULL && journal_has_failed(j))
        *err = j->failure;
    else if (s == NULL && make_some(j, 1, err))
        s = take_ready(j);
    lock_give(&j->making);
    return s;
}

/* A while, or until somebody made one. False: there is nobody to wait for. */
static bool wait_for_room(struct journal *j)
{
    lock_take(&j->lock);
    bool may_wait = j->has_loop && !j->is_stopping;
    j->waits_for_room = may_wait;
    if (may_wait && TAILQ_EMPTY(&j->ready))
        bell_wait(&j->bell, &j->lock, clock_mono_us() + ROOM_RETRY_US);
    j->waits_for_room = false;
    lock_give(&j->lock);
    return may_wait;
}

/* On a disk that is full what was gathered waits: nobody was told of it yet, and it may be that
 * somebody makes room. */
struct segment *journal_next_segment(struct journal *j, struct err *err)
{
    struct segment *s = take_ready(j);
    if (s != NULL)
        return s;
    lock_take(&j->lock);
    j->figures.waits++;
    lock_give(&j->lock);
    do
        s = make_next(j, err);
    while (s == NULL && err->code == ERR_LIMIT && wait_for_room(j));
    return s;
}

/* ---- beginning and end of their lives ------------------------------------------------------- */

/* "spare-0000001a", as journal_spare_name writes it. */
static void note_spare(const char *file, void *arg)
{
    char name[JOURNAL_NAME_MAX];
    if (strncmp(file, SPARE_PREFIX, strlen(SPARE_PREFIX)) != 0)
        return;
    uint32_t number = (uint32_t)strtoul(file + strlen(SPARE_PREFIX), NULL, 16);
    journal_spare_name(number, name);
    if (strcmp(name + strlen(JOURNAL_FOLDER) + 1, file) == 0)
        add_stock(arg, number);
}

static bool has_length(struct journal *j, const char *name, bool *fits, struct err *err)
{
    uint64_t bytes = 0;
    struct disk_file *f = ops_of(j)->open(j->setup.disk, name, DISK_WRITE, err);
    if (f == NULL)
        return false;
    bool ok = ops_of(j)->size(f, &bytes, err);
    ops_of(j)->close(&f);
    *fits = bytes == j->setup.segment_bytes;
    return ok;
}

/* Those of another length, or not filled to their end, go. */
static bool sift_stock(struct journal *j, struct err *err)
{
    unsigned count = stock_now(j);
    set_stock(j, 0);
    for (unsigned i = 0; i < count; i++) {
        char name[JOURNAL_NAME_MAX];
        bool fits = false;
        journal_spare_name(j->stock[i], name);
        if (!has_length(j, name, &fits, err) ||
            (!fits && !ops_of(j)->remove(j->setup.disk, name, err)))
            return false;
        if (fits)
            add_stock(j, j->stock[i]);
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

bool journal_make_first(struct journal *j, struct err *err)
{
    lock_take(&j->making);
    bool ok = ops_of(j)->make_folder(j->setup.disk, JOURNAL_FOLDER, err) &&
              ops_of(j)->sync_folder(j->setup.disk, "", err) &&
              ops_of(j)->list(j->setup.disk, JOURNAL_FOLDER, note_spare, j, err);
    if (stock_now(j) != 0) /* a folder is listed in no order; here everything goes in one */
        qsort(j->stock, stock_now(j), sizeof *j->stock, by_number);
    ok = ok && sift_stock(j, err) && make_some(j, 1, err);
    lock_give(&j->making);
    if (ok)
        j->open = take_ready(j);
    return ok;
}

/* As a spare, if one is wanted and it has the length that segments have now. */
static bool put_away(struct journal *j, uint32_t seg, struct err *err)
{
    char name[JOURNAL_NAME_MAX], spare[JOURNAL_NAME_MAX];
    journal_seg_name(seg, name);
    if (ready_now(j) + stock_now(j) >= ready_wanted(j) ||
        segs_get(j->setup.segs, seg)->bytes != j->setup.segment_bytes)
        return ops_of(j)->remove(j->setup.disk, name, err);
    journal_spare_name(seg, spare);
    if (!ops_of(j)->rename(j->setup.disk, name, spare, err))
        return false;
    add_stock(j, seg);
    return true;
}

static bool remove_index(struct journal *j, uint32_t seg, struct err *err)
{
    char name[JOURNAL_NAME_MAX];
    journal_idx_name(seg, name);
    return ops_of(j)->remove(j->setup.disk, name, err) || err->code == ERR_NOT_FOUND;
}

bool journal_recycle(struct journal *j, uint32_t seg, struct err *err)
{
    enum seg_state state = segs_state(j->setup.segs, seg);
    CHECK(state != SEG_NONE && state != SEG_OPEN);
    lock_take(&j->making);
    bool ok = remove_index(j, seg, err) && put_away(j, seg, err);
    if (ok && !MUTATION(RECYCLED_NOT_SYNCED) &&
        !ops_of(j)->sync_folder(j->setup.disk, JOURNAL_FOLDER, err)) {
        ok = false;
        if (err->code ==
            ERR_LIMIT) /* something has happened, and nobody knows what is left of it */
            err->code = ERR_IO;
    }
    if (ok)
        segs_remove(j->setup.segs, seg);
    lock_give(&j->making);
    if (!ok && err->code != ERR_LIMIT)
        journal_fail(j, err);
    return ok;
}
