#include "store/loader.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/work.h"
#include "model/message.h"
#include "store/evacuate.h"
#include "store/journal.h"
#include "store/reading.h"
#include "store/seg_index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS    200u              /* a file could not be opened */
#define NOT_YET_MS  5u                /* a record is not written yet */
#define WAITING_MAX ((size_t)1 << 20) /* one job a segment */

/* A segment that is or was read from. One job at a time uses its files. */
struct slot {
    struct work_job work;
    struct loader *loader;
    uint32_t seg;
    bool busy;
    struct load *load;
    struct load *first; /* waiting for it */
    struct load *last;
    struct disk_file *file; /* NULL: not open */
    struct segment_header header;
    struct seg_index *index;
    TAILQ_ENTRY(slot) idle_entry;
};

struct loader {
    struct disk *disk;
    struct segs *segs;
    struct journal *journal;
    struct loop *loop;
    const char *node;
    struct work_pool *pool;
    struct idmap slots;           /* by segment */
    TAILQ_HEAD(slots, slot) idle; /* the one that was used longest ago first */
    unsigned idle_count;
    struct load *waiting; /* for files that could not be opened, or for what is not written yet */
    struct loop_timer retry;
    struct log_rate complaints;
    bool ending;
    struct loader_stats stats;
};

/* ---- loads ------------------------------------------------------------------------------------
 */

static void hold(const struct load *load, struct segs *segs, int change)
{
    for (size_t i = 0; i < (load->by_index ? 1 : load->count); i++) {
        struct seg *s = segs_get(segs, load->by_index ? load->seg : load->items[i].place.seg);
        if (change > 0)
            atomic_fetch_add(&s->readers, 1);
        else
            atomic_fetch_sub(&s->readers, 1);
    }
}

void load_hold(const struct load *load, struct segs *segs)
{
    CHECK(load->count <= LOAD_COUNT_MAX && (load->items == NULL) == (load->count == 0));
    if (load->items != NULL) {
        hold(load, segs, 1);
        return;
    }
    atomic_fetch_add(&segs_get(segs, load->seg)->readers, 1);
}

void load_fini(struct load *load)
{
    for (size_t i = 0; i < load->count; i++) {
        if (load->items[i].message != NULL)
            message_unref(&load->items[i].message);
    }
    mem_free(load->items);
    mem_free(load->order);
    load->items = NULL;
    load->order = NULL;
    load->count = 0;
}

static void count_load(struct loader *l, const struct load *load)
{
    uint64_t messages = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < load->count; i++) {
        messages += load->items[i].message != NULL;
        bytes += load->items[i].message != NULL ? load->items[i].message->body_bytes : 0;
    }
    atomic_fetch_add_explicit(&l->stats.loads, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->stats.messages, messages, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->stats.bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->stats.lost, load->lost_count, memory_order_relaxed);
}

static void give_back(struct loader *l, struct load *load)
{
    hold(load, l->segs, -1);
    if (!load->is_cancelled)
        count_load(l, load);
    mailbox_post(load->reply_to, &load->mail);
}

static void cancel(struct loader *l, struct load *load)
{
    load->is_cancelled = true;
    give_back(l, load);
}

static int by_place(const void *a, const void *b, void *arg)
{
    const struct load_item *items = arg;
    uint64_t x = place_lsn(items[*(const uint32_t *)a].place);
    uint64_t y = place_lsn(items[*(const uint32_t *)b].place);
    return x < y ? -1 : x > y;
}

static void put_in_order(struct load *load)
{
    load->order = mem_array(load->count + 1, sizeof *load->order);
    for (uint32_t i = 0; i < load->count; i++)
        load->order[i] = i;
    qsort_r(load->order, load->count, sizeof *load->order, by_place, load->items);
}

/* ---- on the pool ------------------------------------------------------------------------------
 */

static void open_file(struct slot *s, struct err *err)
{
    struct disk *d = s->loader->disk;
    char name[JOURNAL_NAME_MAX];
    journal_seg_name(s->seg, name);
    if (s->file == NULL)
        s->file = reading_open(d, name, s->seg, &s->header, err);
}

/* An index file is made again when it is missing or of no use: it is derived from the segment. */
static void open_index(struct slot *s, struct err *err)
{
    struct disk *d = s->loader->disk;
    if (s->index != NULL)
        return;
    s->index = seg_index_open(d, s->seg, err);
    if (s->index == NULL && seg_index_build(d, s->seg, err))
        s->index = seg_index_open(d, s->seg, err);
}

/* One past the last item, in order of place, that lies in this segment. */
static size_t end_of_segment(const struct slot *s, const struct load *load)
{
    size_t end = load->at;
    while (end < load->count && load->items[load->order[end]].place.seg == s->seg)
        end++;
    return end;
}

static void all_lost(struct slot *s, struct load *load, const struct err *err)
{
    if (load->by_index) {
        load->is_lost = true;
        load->is_done = true;
        reading_lost(load, err->text);
        return;
    }
    for (size_t end = end_of_segment(s, load); load->at < end; load->at++)
        reading_lost(load, err->text);
    load->is_done = load->at == load->count;
}

/* What the segment itself says, when no index can be had, which a damaged segment gets none of. */
static bool find_by_scan(struct slot *s, const struct load *load, struct index_entry *found,
                         size_t max, size_t *count, struct err *err)
{
    struct evacuation e;
    if (!evacuate_read(s->loader->disk, s->seg, &e, err))
        return false;
    for (size_t i = 0; i < e.count && *count < max; i++) {
        const struct store_moving *it = &e.items[i];
        if (it->qid == load->qid && it->qseq >= load->first && it->qseq <= load->last)
            found[(*count)++] = (struct index_entry){
                .qseq = it->qseq,
                .offset = it->offset,
                .body_bytes = (uint32_t)it->body_bytes,
                .length = record_length(e.bytes + it->offset),
                .msg_flags = it->is_persistent ? 0 : MSG_TRANSIENT,
            };
    }
    evacuation_fini(&e);
    return true;
}

static bool find(struct slot *s, const struct load *load, struct index_entry *found, size_t max,
                 size_t *count, struct err *err)
{
    *count = 0;
    open_index(s, err);
    if (s->index != NULL &&
        seg_index_find(s->index, load->qid, load->first, load->last, found, max, count, err))
        return true;
    *count = 0;
    return find_by_scan(s, load, found, max, count, err);
}

static void load_run(struct slot *s, struct load *load)
{
    struct err err = { 0 };
    size_t max = load->only_index ? LOAD_INDEX_MAX : LOAD_COUNT_MAX;
    struct index_entry *found = mem_array(max, sizeof *found);
    size_t count;
    if (!find(s, load, found, max, &count, &err)) {
        if (reading_may_pass(&err))
            reading_must_wait(load, &err);
        else
            all_lost(s, load, &err);
        mem_free(found);
        return;
    }
    reading_list(load, s->seg, found, count, max);
    if (!load->only_index) {
        put_in_order(load);
        reading_read(s->loader->disk, s->file, &s->header, load, load->count, found);
    }
    load->is_done = true;
    mem_free(found);
}

static void load_items(struct slot *s, struct load *load)
{
    reading_read(s->loader->disk, s->file, &s->header, load, end_of_segment(s, load), NULL);
    load->is_done = load->at == load->count;
}

static void run_job(struct work_job *job)
{
    struct slot *s = CONTAINER_OF(job, struct slot, work);
    struct load *load = s->load;
    struct err err = { 0 };
    open_file(s, &err);
    load->must_wait = false;
    if (s->file == NULL && reading_may_pass(&err))
        reading_must_wait(load, &err);
    else if (s->file == NULL)
        all_lost(s, load, &err);
    else if (load->by_index)
        load_run(s, load);
    else
        load_items(s, load);
    atomic_fetch_add_explicit(&s->loader->stats.reads, 1, memory_order_relaxed);
}

/* ---- slots ------------------------------------------------------------------------------------
 */

static void close_files(struct slot *s)
{
    if (s->file != NULL)
        s->loader->disk->ops->close(&s->file);
    if (s->index != NULL)
        seg_index_close(&s->index);
}

static void drop_slot(struct slot *s)
{
    struct loader *l = s->loader;
    CHECK(!s->busy && s->first == NULL);
    TAILQ_REMOVE(&l->idle, s, idle_entry);
    l->idle_count--;
    idmap_take(&l->slots, s->seg);
    close_files(s);
    mem_free(s);
}

static void become_idle(struct slot *s)
{
    struct loader *l = s->loader;
    TAILQ_INSERT_TAIL(&l->idle, s, idle_entry);
    l->idle_count++;
    if (l->idle_count > LOADER_OPEN_MAX || l->ending)
        drop_slot(TAILQ_FIRST(&l->idle));
}

static void on_job_done(struct work_job *job);

static struct slot *slot_of(struct loader *l, uint32_t seg)
{
    struct slot *s = idmap_get(&l->slots, seg);
    if (s != NULL) {
        if (!s->busy) {
            TAILQ_REMOVE(&l->idle, s, idle_entry);
            l->idle_count--;
        }
        return s;
    }
    s = mem_zalloc(sizeof *s);
    s->loader = l;
    s->seg = seg;
    work_job_init(&s->work, run_job, on_job_done);
    idmap_put(&l->slots, seg, s);
    return s;
}

static void add_waiting(struct slot *s, struct load *load)
{
    load->next = NULL;
    if (s->first == NULL)
        s->first = load;
    else
        s->last->next = load;
    s->last = load;
}

static void cancel_all(struct slot *s)
{
    for (struct load *load; (load = s->first) != NULL;) {
        s->first = load->next;
        cancel(s->loader, load);
    }
}

/* The next load that waits for this one, or rest. */
static void go_on(struct slot *s)
{
    struct err err = { 0 };
    s->busy = s->first != NULL;
    if (s->busy) {
        s->load = s->first;
        if (!s->loader->ending && work_submit(s->loader->pool, s->loader->loop, &s->work, &err)) {
            s->first = s->load->next;
            return;
        }
        cancel_all(s); /* the pool has ended */
        s->busy = false;
    }
    become_idle(s);
}

/* To the segment that it needs next. */
static void next_step(struct loader *l, struct load *load)
{
    if (load->is_done) {
        give_back(l, load);
        return;
    }
    struct slot *s =
        slot_of(l, load->by_index ? load->seg : load->items[load->order[load->at]].place.seg);
    add_waiting(s, load);
    if (!s->busy)
        go_on(s);
}

static void wait(struct loader *l, struct load *load, uint64_t ms)
{
    load->next = l->waiting;
    l->waiting = load;
    if (!loop_timer_is_running(&l->retry))
        loop_timer_start(&l->retry, ms);
}

/* As if nothing had been read of it. */
static void forget_what_was_read(struct load *load)
{
    for (size_t i = 0; i < load->count; i++) {
        if (load->items[i].message != NULL)
            message_unref(&load->items[i].message);
    }
    load->at = 0;
    load->lost_count = 0;
    load->why[0] = '\0';
    load->is_all = load->is_lost = load->is_done = false;
    if (!load->by_index)
        return;
    mem_free(load->items);
    mem_free(load->order);
    load->items = NULL;
    load->order = NULL;
    load->count = 0;
}

static void wait_for_files(struct loader *l, struct load *load)
{
    unsigned left_out;
    if (log_rate_ok(&l->complaints, 1, 10000, &left_out))
        log_error("store", l->node, "messages cannot be read back yet, will try again: %s",
                  load->why);
    forget_what_was_read(load);
    wait(l, load, RETRY_MS);
}

/* What was moved a moment ago is read when it is where it is said to be. */
static bool is_written(const struct loader *l, const struct load *load)
{
    uint64_t last = 0;
    if (load->by_index)
        return true;
    for (size_t i = 0; i < load->count; i++) {
        uint64_t lsn = place_lsn(load->items[i].place);
        last = lsn > last ? lsn : last;
    }
    return l->journal == NULL || last < journal_durable(l->journal) ||
           MUTATION(READ_BEFORE_WRITTEN);
}

static void begin(struct loader *l, struct load *load)
{
    if (is_written(l, load))
        next_step(l, load);
    else
        wait(l, load, NOT_YET_MS);
}

static void on_retry(void *arg)
{
    struct loader *l = arg;
    struct load *load = l->waiting;
    l->waiting = NULL;
    while (load != NULL) {
        struct load *next = load->next;
        begin(l, load);
        load = next;
    }
}

static void on_job_done(struct work_job *job)
{
    struct slot *s = CONTAINER_OF(job, struct slot, work);
    struct loader *l = s->loader;
    struct load *load = s->load;
    bool ends = job->cancelled || l->ending;
    s->load = NULL;
    go_on(s); /* it may free the slot */
    if (ends)
        cancel(l, load);
    else if (load->must_wait)
        wait_for_files(l, load);
    else
        next_step(l, load);
}

/* ---- the loader -------------------------------------------------------------------------------
 */

struct loader *loader_new(const struct loader_setup *setup)
{
    struct loader *l = mem_zalloc(sizeof *l);
    l->disk = setup->disk;
    l->segs = setup->segs;
    l->journal = setup->journal;
    l->loop = setup->loop;
    l->node = setup->node;
    l->pool = work_pool_new("load", setup->threads, WAITING_MAX);
    idmap_init(&l->slots);
    TAILQ_INIT(&l->idle);
    loop_timer_init(&l->retry, l->loop, on_retry, l);
    return l;
}

void loader_take(struct loader *l, struct load *load)
{
    load->by_index = load->items == NULL;
    load->order = NULL;
    load->at = 0;
    load->lost_count = 0;
    load->why[0] = '\0';
    load->is_cancelled = load->is_all = load->is_lost = load->is_done = false;
    if (l->ending) {
        cancel(l, load);
        return;
    }
    if (!load->by_index)
        put_in_order(load);
    begin(l, load);
}

void loader_forget(struct loader *l, uint32_t seg)
{
    struct slot *s = idmap_get(&l->slots, seg);
    if (s != NULL)
        drop_slot(s);
}

const struct loader_stats *loader_stats(const struct loader *l)
{
    return &l->stats;
}

void loader_stop(struct loader *l)
{
    l->ending = true;
    loop_timer_stop(&l->retry);
    for (struct load *load; (load = l->waiting) != NULL;) {
        l->waiting = load->next;
        cancel(l, load);
    }
    work_pool_free(&l->pool);
}

void loader_free(struct loader **loader)
{
    struct loader *l = *loader;
    *loader = NULL;
    if (l == NULL)
        return;
    if (!l->ending)
        loader_stop(l);
    for (struct slot *s; (s = TAILQ_FIRST(&l->idle)) != NULL;)
        drop_slot(s);
    CHECK(l->slots.count == 0);
    idmap_fini(&l->slots);
    loop_timer_fini(&l->retry);
    mem_free(l);
}
