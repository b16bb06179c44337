#include "store/journal_inner.h"

#include "base/check.h"
#include "base/mem.h"

/* ---- life ----------------------------------------------------------------------------------- */

struct journal *journal_new(const struct journal_setup *setup, struct err *err)
{
    CHECK(setup->segment_bytes % 4096 == 0 && setup->segment_bytes <= SEGMENT_BYTES_MAX);
    CHECK(setup->segment_bytes != 0 && setup->first_seg != 0);
    struct journal *j = mem_zalloc(sizeof *j);
    j->setup = *setup;
    j->next = (struct place){ setup->first_seg, SEGMENT_HEADER_BYTES };
    j->next_made = setup->first_seg;
    j->written_lsn = place_lsn(j->next);
    atomic_init(&j->durable_lsn, j->written_lsn);
    atomic_init(&j->synced_lsn, j->written_lsn);
    lock_init(&j->lock);
    lock_init(&j->making);
    bell_init(&j->bell);
    bell_init(&j->sync_bell);
    TAILQ_INIT(&j->ready);
    TAILQ_INIT(&j->full);
    TAILQ_INIT(&j->synced);
    if (!journal_make_first(j, err)) {
        journal_free(&j);
        return NULL;
    }
    segs_add(setup->segs, setup->first_seg, SEG_OPEN, setup->segment_bytes);
    return j;
}

static void free_segments(struct journal *j, struct segment_list *list)
{
    for (struct segment *s; (s = TAILQ_FIRST(list)) != NULL;) {
        TAILQ_REMOVE(list, s, entry);
        journal_segment_free(j, &s);
    }
}

void journal_free(struct journal **journal)
{
    struct journal *j = *journal;
    *journal = NULL;
    if (j == NULL)
        return;
    CHECK(!j->is_running);
    struct group g = journal_take_group(j);
    journal_drop_group(j, &g, false);
    for (struct chunk *c; (c = j->idle) != NULL;) {
        j->idle = c->next;
        mem_free(c);
    }
    free_segments(j, &j->ready);
    free_segments(j, &j->full);
    free_segments(j, &j->synced);
    if (j->open != NULL)
        journal_segment_free(j, &j->open);
    bell_fini(&j->sync_bell);
    bell_fini(&j->bell);
    lock_fini(&j->making);
    lock_fini(&j->lock);
    mem_free(j->stock);
    mem_free(j->parts);
    mem_free(j);
}

void journal_fail(struct journal *j, const struct err *err)
{
    lock_take(&j->lock);
    if (!journal_has_failed(j)) {
        j->failure = *err;
        atomic_store_explicit(&j->has_failed, true, memory_order_release);
    }
    lock_give(&j->lock);
    bell_ring(&j->bell);
}

bool journal_has_failed(const struct journal *j)
{
    return atomic_load_explicit(&j->has_failed, memory_order_acquire);
}

/* ---- append: the lock is held --------------------------------------------------------------- */

static uint64_t backlog_now(const struct journal *j)
{
    return atomic_load_explicit(&j->backlog_bytes, memory_order_relaxed);
}

/* Only under the lock: plain steps are enough. */
static void set_backlog(struct journal *j, uint64_t bytes)
{
    atomic_store_explicit(&j->backlog_bytes, bytes, memory_order_relaxed);
}

static struct chunk *new_chunk(struct journal *j, uint32_t least)
{
    struct chunk *c = j->idle;
    if (c != NULL && least <= c->cap) {
        j->idle = c->next;
        j->idle_count--;
    } else {
        uint32_t cap = least > CHUNK_BYTES ? least : CHUNK_BYTES;
        c = mem_alloc(sizeof *c + cap);
        c->cap = cap;
    }
    c->next = NULL;
    c->seg = j->next.seg;
    c->offset = j->next.offset;
    c->len = 0;
    return c;
}

/* Room for so many octets at the place of the next record. */
static uint8_t *take_room(struct journal *j, uint32_t octets)
{
    struct group *g = &j->gathering;
    struct chunk *c = g->last;
    if (c == NULL || c->seg != j->next.seg || c->cap - c->len < octets) {
        c = new_chunk(j, octets);
        if (g->last != NULL)
            g->last->next = c;
        else
            g->first = c;
        g->last = c;
    }
    uint8_t *at = c->data + c->len;
    c->len += octets;
    j->next.offset += octets;
    g->bytes += octets;
    set_backlog(j, backlog_now(j) + octets);
    return at;
}

static void put_end(struct journal *j, unsigned flags)
{
    uint8_t *at = take_room(j, END_ROOM);
    memset(at, 0, END_ROOM);
    (void)record_put_end(at, flags);
}

/* What it says is filled in when it is written. */
static void put_batch(struct journal *j)
{
    uint8_t *at = take_room(j, BATCH_ROOM);
    memset(at, 0, BATCH_ROOM);
    (void)record_put_batch(at, &(struct batch_record){ 0, 0 });
    j->in_batch = true;
}

static void go_to_next_segment(struct journal *j)
{
    put_end(j, 0);
    j->next = (struct place){ j->next.seg + 1, SEGMENT_HEADER_BYTES };
    j->in_batch = false;
    /* From now on somebody may count in it, though its file may not be there yet. */
    segs_add(j->setup.segs, j->next.seg, SEG_OPEN, j->setup.segment_bytes);
}

static void make_room(struct journal *j, uint32_t octets)
{
    uint32_t more = octets + (j->in_batch ? 0 : BATCH_ROOM) + END_ROOM;
    if (j->setup.segment_bytes - j->next.offset < more)
        go_to_next_segment(j);
    if (!j->in_batch)
        put_batch(j);
}

static void copy_parts(uint8_t *into, uint32_t room, const struct slice *parts, size_t count)
{
    uint8_t *at = into;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len != 0)
            memcpy(at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    memset(at, 0, room - (size_t)(at - into));
}

/* A thread that naps for the sake of what nobody waits for is not woken by more of that. */
static void note_need(struct journal *j, enum journal_need need)
{
    if (need == JOURNAL_SOON)
        j->gathering.is_wanted = true;
    if (j->nap == NAP_IDLE || (j->nap == NAP_LAZY && need == JOURNAL_SOON))
        atomic_store_explicit(&j->wake, true, memory_order_relaxed);
}

size_t journal_record_max(const struct journal *j)
{
    return j->setup.segment_bytes - SEGMENT_HEADER_BYTES - BATCH_ROOM - END_ROOM;
}

struct place journal_append(struct journal *j, const struct slice *parts, size_t count,
                            enum journal_need need, uint64_t *lsn)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        length += parts[i].len;
    CHECK(count != 0 && parts[0].len >= RECORD_HEAD_BYTES && length <= journal_record_max(j));
    CHECK(record_length(parts[0].ptr) == length);
    uint32_t room = record_padded(length);
    struct place place = { 0, 0 };
    uint64_t end = UINT64_MAX;

    lock_take(&j->lock);
    if (LIKELY(!j->is_closed && !journal_has_failed(j))) {
        make_room(j, room);
        place = j->next;
        copy_parts(take_room(j, room), room, parts, count);
        end = place_lsn(j->next);
        j->figures.records++;
        j->figures.bytes += length;
        note_need(j, need);
    }
    lock_give(&j->lock);
    if (lsn != NULL)
        *lsn = end;
    return place;
}

void journal_kick(struct journal *j)
{
    if (atomic_load_explicit(&j->wake, memory_order_relaxed) &&
        atomic_exchange_explicit(&j->wake, false, memory_order_relaxed))
        bell_ring(&j->bell);
}

/* What was written before, when nobody waited for it, is not synced yet; where that is not waited
 * for, it is safe by then. */
void journal_want(struct journal *j)
{
    lock_take(&j->lock);
    bool has_records = j->gathering.first != NULL;
    bool is_unsynced =
        j->setup.sync == JOURNAL_SYNC_ALWAYS && journal_synced(j) < place_lsn(j->next);
    j->gathering.is_wanted = j->gathering.is_wanted || has_records;
    j->gathering.wants_sync = j->gathering.wants_sync || (!has_records && is_unsynced);
    if (j->nap != NAP_NONE && (has_records || is_unsynced))
        atomic_store_explicit(&j->wake, true, memory_order_relaxed);
    lock_give(&j->lock);
}

void journal_want_sync(struct journal *j)
{
    lock_take(&j->lock);
    j->gathering.wants_sync = true;
    lock_give(&j->lock);
    bell_ring(&j->bell);
}

void journal_close_gathering(struct journal *j)
{
    lock_take(&j->lock);
    CHECK(!j->is_closed);
    j->is_closed = true;
    if (!journal_has_failed(j)) {
        /* With a BATCH of its own, which says that all before it is durable. */
        if (j->setup.segment_bytes - j->next.offset < BATCH_ROOM + END_ROOM)
            j->in_batch = true;
        if (!j->in_batch)
            put_batch(j);
        put_end(j, END_CLOSED);
        j->gathering.is_wanted = true;
    }
    lock_give(&j->lock);
}

/* ---- groups --------------------------------------------------------------------------------- */

struct group journal_take_group(struct journal *j)
{
    lock_take(&j->lock);
    struct group g = j->gathering;
    j->gathering = (struct group){ 0 };
    j->in_batch = false;
    lock_give(&j->lock);
    return g;
}

void journal_drop_group(struct journal *j, struct group *g, bool is_written)
{
    struct chunk *extra = NULL;
    lock_take(&j->lock);
    set_backlog(j, backlog_now(j) - g->bytes);
    j->figures.batches += is_written;
    for (struct chunk *c; (c = g->first) != NULL;) {
        g->first = c->next;
        bool is_kept = j->idle_count < IDLE_MAX && c->cap == CHUNK_BYTES;
        j->idle_count += is_kept;
        c->next = is_kept ? j->idle : extra;
        if (is_kept)
            j->idle = c;
        else
            extra = c;
    }
    lock_give(&j->lock);
    *g = (struct group){ 0 };
    for (struct chunk *c; (c = extra) != NULL;) {
        extra = c->next;
        mem_free(c);
    }
}

/* ---- what others ask ------------------------------------------------------------------------ */

uint64_t journal_durable(const struct journal *j)
{
    return atomic_load_explicit(&j->durable_lsn, memory_order_acquire);
}

uint64_t journal_synced(const struct journal *j)
{
    return atomic_load_explicit(&j->synced_lsn, memory_order_acquire);
}

uint64_t journal_end(struct journal *j)
{
    lock_take(&j->lock);
    uint64_t end = place_lsn(j->next);
    lock_give(&j->lock);
    return end;
}

uint64_t journal_backlog(const struct journal *j)
{
    return backlog_now(j);
}

void journal_stats(struct journal *j, struct journal_stats *out)
{
    lock_take(&j->lock);
    *out = j->figures;
    out->open_seg = j->next.seg;
    lock_give(&j->lock);
    out->spares = atomic_load_explicit(&j->ready_count, memory_order_relaxed);
}
