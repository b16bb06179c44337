#include "store/journal_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "io/clock.h"

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
    struct segment *next = journal_next_segment(j, err);
    if (next == NULL)
        return false;
    lock_take(&j->lock);
    TAILQ_INSERT_TAIL(&j->full, j->open, entry);
    j->is_dirty = false; /* those in `full` always are */
    j->open = next;
    lock_give(&j->lock);
    return true;
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
    }
    *next = c;
    return ops_of(j)->write(j->open->file, first->offset, j->parts, count, err) ||
           MUTATION(IGNORE_FAILED_WRITE);
}

static bool write_group(struct journal *j, const struct group *g, struct err *err)
{
    struct batch_record batch = {
        .durable_lsn = MUTATION(BATCH_SAYS_WRITTEN) ? j->written_lsn : journal_synced(j),
        .wall_ms = j->setup.wall_ms != NULL ? j->setup.wall_ms(j->setup.arg) : clock_wall_ms(),
    };
    for (struct chunk *next = g->first; next != NULL;)
        if (!write_piece(j, &next, &batch, err))
            return false;
    lock_take(&j->lock);
    j->written_lsn = place_lsn((struct place){ g->last->seg, g->last->offset + g->last->len });
    j->unsynced_bytes += g->bytes;
    j->is_dirty = true;
    lock_give(&j->lock);
    return true;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void tell_failure(struct journal *j)
{
    /* What was gathered goes nowhere, and nobody is to wait for it to become less. */
    struct group g = journal_take_group(j);
    journal_drop_group(j, &g, false);
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
    atomic_store_explicit(&j->writing_us, has_records ? clock_mono_us() : 0, memory_order_relaxed);
    bool ok = !has_records || write_group(j, g, err);
    atomic_store_explicit(&j->writing_us, 0, memory_order_relaxed);
    journal_drop_group(j, g, has_records);
    return ok && journal_settle(j, &written, now_ms, err);
}

static bool is_time(struct journal *j, uint64_t now_ms)
{
    if (j->syncer != NULL)
        return false; /* it has a clock of its own */
    lock_take(&j->lock);
    bool is_due = journal_due(j, now_ms) != JOURNAL_DUE_NOTHING;
    lock_give(&j->lock);
    return is_due;
}

bool journal_step(struct journal *j, uint64_t now_ms)
{
    struct err err;
    if (journal_has_failed(j)) {
        bool is_news = !j->told_failure;
        tell_failure(j);
        return is_news;
    }
    journal_tell_synced(j);
    struct group g = journal_take_group(j);
    if (g.first == NULL && !g.wants_sync && !is_time(j, now_ms))
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
    bool has_failed = journal_has_failed(j);
    bool is_news = has_failed ? !j->told_failure : j->has_news || !TAILQ_EMPTY(&j->synced);
    if (j->is_stopping || j->gathering.is_wanted || j->gathering.wants_sync || is_news)
        return now_us;
    if (j->gathering.first == NULL)
        j->lazy_until_us = 0;
    else if (j->lazy_until_us == 0)
        j->lazy_until_us = now_us + LAZY_WRITE_US;
    bool has_clock = j->syncer == NULL && !has_failed;
    return earlier(j->lazy_until_us, has_clock ? j->sync_by_ms * 1000 : 0);
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
    j->has_loop = true;
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

static void end_threads(struct journal *j)
{
    lock_take(&j->lock);
    j->is_stopping = true;
    lock_give(&j->lock);
    bell_ring(&j->bell);
    thread_join(&j->thread);
    journal_end_syncer(j);
    j->is_running = false;
}

bool journal_start(struct journal *j, struct err *err)
{
    CHECK(!j->is_running && !j->is_closed);
    if (j->setup.sync != JOURNAL_SYNC_ALWAYS && !journal_start_syncer(j, err))
        return false;
    j->thread = thread_start("journal", run, j, err);
    j->is_running = j->thread != NULL;
    if (!j->is_running)
        end_threads(j);
    return j->is_running;
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
    if (journal_has_failed(j) || journal_sync_all(j, &err))
        return;
    journal_fail(j, &err);
    tell_failure(j);
}

void journal_stop(struct journal *j)
{
    if (j->is_running)
        end_threads(j);
    if (!MUTATION(CLOSED_WITH_THE_REST)) {
        write_the_rest(j);
        sync_the_rest(j);
    }
    journal_close_gathering(j);
    write_the_rest(j);
    sync_the_rest(j);
    if (!journal_has_failed(j))
        journal_seal(j, &j->open);
}
