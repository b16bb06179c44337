#include "store/journal_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/clock.h"

#include <inttypes.h>
#include <stdio.h>

static const struct disk_ops *ops_of(const struct journal *j)
{
    return j->setup.disk->ops;
}

/* ---- writing a group ------------------------------------------------------------------------ */

/* The check of each record of a chunk, and what a BATCH says. */
static void seal(struct journal *j, struct chunk *c, const struct batch_record *batch)
{
    uint64_t salt = j->open->header.salt;
    for (uint32_t at = 0; at < c->len;) {
        uint8_t *record = c->data + at;
        if (record_type(record) == RECORD_BATCH)
            (void)record_put_batch(record, batch);
        record_seal(record, c->offset + at, salt);
        at += record_padded(record_length(record));
    }
}

static void add_part(struct journal *j, size_t index, struct slice part)
{
    if (index == j->parts_room) {
        j->parts_room = j->parts_room != 0 ? j->parts_room * 2 : 64;
        j->parts = mem_realloc(j->parts, j->parts_room * sizeof *j->parts);
    }
    j->parts[index] = part;
}

static bool turn_page(struct journal *j, struct err *err)
{
    TAILQ_INSERT_TAIL(&j->full, j->open, entry);
    j->is_dirty = false; /* those in `full` always are */
    j->open = journal_next_segment(j, err);
    return j->open != NULL;
}

/* All chunks from *next on that stand in one segment, in one write. */
static bool write_piece(struct journal *j, struct chunk **next, const struct batch_record *batch,
                        struct err *err)
{
    struct chunk *first = *next, *c = first;
    if (first->seg != j->open->header.seg && !turn_page(j, err))
        return false;
    CHECK(first->seg == j->open->header.seg);
    size_t count = 0;
    for (; c != NULL && c->seg == first->seg; c = c->next) {
        seal(j, c, batch);
        add_part(j, count++, slice_of(c->data, c->len));
        j->unsynced_bytes += c->len;
        j->written_lsn = place_lsn((struct place){ c->seg, c->offset + c->len });
    }
    *next = c;
    j->is_dirty = true;
    return ops_of(j)->write(j->open->file, first->offset, j->parts, count, err);
}

static bool write_group(struct journal *j, const struct group *g, struct err *err)
{
    struct batch_record batch = {
        .durable_lsn = journal_synced(j),
        .wall_ms = j->setup.wall_ms != NULL ? j->setup.wall_ms(j->setup.arg) : clock_wall_ms(),
    };
    for (struct chunk *next = g->first; next != NULL;)
        if (!write_piece(j, &next, &batch, err))
            return false;
    return true;
}

/* ---- syncing -------------------------------------------------------------------------------- */

static void count_sync(struct journal *j, uint64_t us, bool is_slow)
{
    size_t bucket = 0;
    while (bucket < JOURNAL_LATENCY_BUCKETS - 1 && us > (uint64_t)16 << bucket)
        bucket++;
    lock_take(&j->lock);
    j->figures.syncs++;
    j->figures.slow_syncs += is_slow;
    j->figures.sync_us_sum += us;
    j->figures.sync_us[bucket]++;
    if (us > j->figures.sync_us_max)
        j->figures.sync_us_max = us;
    lock_give(&j->lock);
}

static bool sync_segment(struct journal *j, struct segment *s, struct err *err)
{
    uint64_t start_us = clock_mono_us();
    bool ok = ops_of(j)->sync(s->file, err);
    uint64_t us = clock_mono_us() - start_us;
    bool is_slow = us > (uint64_t)j->setup.slow_ms * 1000;
    unsigned left_out = 0;
    count_sync(j, us, is_slow);
    if (is_slow && log_rate_ok(&j->slow_rate, 1, SLOW_WINDOW_MS, &left_out))
        log_warn("journal", "-",
                 "the disk took long for a sync ms=%" PRIu64 " segment=%" PRIu32 " left_out=%u",
                 us / 1000, s->header.seg, left_out);
    return ok;
}

static void let_know(struct journal *j)
{
    if (j->setup.on_durable != NULL)
        j->setup.on_durable(j->setup.arg);
}

/* Written: where that is all that `sync` promises. */
static void set_durable(struct journal *j, uint64_t lsn)
{
    if (lsn == journal_durable(j))
        return;
    atomic_store_explicit(&j->durable_lsn, lsn, memory_order_release);
    let_know(j);
}

static void set_synced(struct journal *j, uint64_t lsn)
{
    if (lsn == journal_synced(j))
        return;
    atomic_store_explicit(&j->synced_lsn, lsn, memory_order_release);
    if (lsn > journal_durable(j))
        atomic_store_explicit(&j->durable_lsn, lsn, memory_order_release);
    let_know(j);
}

static void seal_segment(struct journal *j, struct segment **segment)
{
    uint32_t seg = (*segment)->header.seg;
    journal_segment_free(j, segment);
    atomic_store_explicit(&segs_get(j->setup.segs, seg)->state, SEG_SEALED, memory_order_release);
    if (j->setup.on_sealed != NULL)
        j->setup.on_sealed(seg, j->setup.arg);
}

static bool sync_full(struct journal *j, struct err *err)
{
    struct segment *s;
    TAILQ_FOREACH (s, &j->full, entry)
        if (!sync_segment(j, s, err))
            return false;
    return true;
}

static void seal_full(struct journal *j)
{
    for (struct segment *s; (s = TAILQ_FIRST(&j->full)) != NULL;) {
        TAILQ_REMOVE(&j->full, s, entry);
        seal_segment(j, &s);
    }
}

/* Of several files none says anything alone: what is durable moves when all have been synced. */
static bool sync_all(struct journal *j, struct err *err)
{
    if (!sync_full(j, err) || (j->is_dirty && !sync_segment(j, j->open, err)))
        return false;
    j->is_dirty = false;
    j->unsynced_bytes = 0;
    j->sync_by_ms = 0;
    set_synced(j, j->written_lsn);
    seal_full(j);
    return true;
}

/* Without syncs of its own: what a segment holds is to be on the medium when it counts as sealed,
 * for what was moved into it stood safely elsewhere before. */
static bool sync_only_full(struct journal *j, struct err *err)
{
    if (TAILQ_EMPTY(&j->full))
        return true;
    if (!sync_full(j, err))
        return false;
    struct place open = { j->open->header.seg, 0 };
    set_synced(j, place_lsn(open));
    seal_full(j);
    return true;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void set_sync_by(struct journal *j, uint64_t at_ms)
{
    if (j->sync_by_ms == 0)
        j->sync_by_ms = at_ms;
}

static bool settle(struct journal *j, const struct group *g, uint64_t now_ms, struct err *err)
{
    bool is_due = g->wants_sync || (j->sync_by_ms != 0 && now_ms >= j->sync_by_ms);
    switch (j->setup.sync) {
    case JOURNAL_SYNC_ALWAYS:
        if (g->is_wanted || is_due)
            return sync_all(j, err);
        set_sync_by(j, now_ms + LAZY_SYNC_MS);
        return true;
    case JOURNAL_SYNC_INTERVAL:
        set_durable(j, j->written_lsn);
        set_sync_by(j, now_ms + j->setup.interval_ms);
        return (!is_due && j->unsynced_bytes < UNSYNCED_MAX) || sync_all(j, err);
    case JOURNAL_SYNC_NONE:
        set_durable(j, j->written_lsn);
        return is_due ? sync_all(j, err) : sync_only_full(j, err);
    }
    UNREACHABLE("journal sync");
}

static void tell_failure(struct journal *j)
{
    /* What was gathered goes nowhere, and nobody is to wait for it to become less. */
    struct group g = journal_take_group(j);
    journal_drop_group(j, &g, false);
    j->sync_by_ms = 0;
    if (j->told_failure)
        return;
    j->told_failure = true;
    if (j->setup.on_failed != NULL)
        j->setup.on_failed(&j->failure, j->setup.arg);
}

static bool write_and_settle(struct journal *j, struct group *g, uint64_t now_ms, struct err *err)
{
    struct group written = { .is_wanted = g->is_wanted, .wants_sync = g->wants_sync };
    bool has_records = g->first != NULL;
    bool ok = !has_records || write_group(j, g, err);
    journal_drop_group(j, g, has_records);
    return ok && settle(j, &written, now_ms, err);
}

bool journal_step(struct journal *j, uint64_t now_ms)
{
    struct err err;
    if (journal_has_failed(j)) {
        bool is_news = !j->told_failure;
        tell_failure(j);
        return is_news;
    }
    struct group g = journal_take_group(j);
    if (g.first == NULL && !g.wants_sync && (j->sync_by_ms == 0 || now_ms < j->sync_by_ms))
        return false;
    if (!write_and_settle(j, &g, now_ms, &err)) {
        journal_fail(j, &err);
        tell_failure(j);
    }
    return true;
}

bool journal_pump(struct journal *j, uint64_t now_ms)
{
    CHECK(!j->is_running);
    return journal_step(j, now_ms);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a != 0 && (b == 0 || a < b) ? a : b;
}

/* The lock is held. When to do something, 0: when somebody says so; up to now: now. */
static uint64_t next_deed_us(struct journal *j, uint64_t now_us)
{
    bool is_news = journal_has_failed(j) && !j->told_failure;
    if (j->is_stopping || j->gathering.is_wanted || j->gathering.wants_sync || is_news)
        return now_us;
    if (j->gathering.first == NULL)
        j->lazy_until_us = 0;
    else if (j->lazy_until_us == 0)
        j->lazy_until_us = now_us + LAZY_WRITE_US;
    return earlier(j->lazy_until_us, j->sync_by_ms * 1000);
}

static void nap(struct journal *j)
{
    for (uint64_t now_us = clock_mono_us();; now_us = clock_mono_us()) {
        uint64_t at_us = next_deed_us(j, now_us);
        if (at_us != 0 && at_us <= now_us)
            break;
        j->nap = j->lazy_until_us != 0 ? NAP_LAZY : NAP_IDLE;
        bell_wait(&j->bell, &j->lock, at_us);
        j->nap = NAP_NONE;
    }
    atomic_store_explicit(&j->wake, false, memory_order_relaxed);
    j->lazy_until_us = 0;
}

static void run(void *arg)
{
    struct journal *j = arg;
    lock_take(&j->lock);
    for (;;) {
        nap(j);
        bool is_stopping = j->is_stopping;
        lock_give(&j->lock);
        while (journal_step(j, clock_mono_ms()) && is_stopping)
            ;
        lock_take(&j->lock);
        if (is_stopping)
            break;
    }
    lock_give(&j->lock);
}

bool journal_start(struct journal *j, struct err *err)
{
    CHECK(!j->is_running && !j->is_closed);
    j->thread = thread_start("journal", run, j, err);
    j->is_running = j->thread != NULL;
    return j->is_running;
}

static void end_thread(struct journal *j)
{
    lock_take(&j->lock);
    j->is_stopping = true;
    lock_give(&j->lock);
    bell_ring(&j->bell);
    thread_join(&j->thread);
    j->is_running = false;
}

static void write_the_rest(struct journal *j)
{
    while (journal_step(j, clock_mono_ms()))
        ;
}

/* Whatever was promised: when the journal is closed in order, all of it is on the medium. */
static void sync_the_rest(struct journal *j)
{
    struct err err;
    if (journal_has_failed(j) || sync_all(j, &err))
        return;
    journal_fail(j, &err);
    tell_failure(j);
}

void journal_stop(struct journal *j)
{
    if (j->is_running)
        end_thread(j);
    write_the_rest(j);
    sync_the_rest(j);
    journal_close_gathering(j);
    write_the_rest(j);
    sync_the_rest(j);
    if (!journal_has_failed(j))
        seal_segment(j, &j->open);
}
