#include "store/journal_inner.h"

#include "base/check.h"
#include "base/mutation.h"
#include "io/clock.h"

#include <inttypes.h>

/* ---- one sync ------------------------------------------------------------------------------- */

static void count_sync(struct journal *j, uint64_t end_us, uint64_t us, bool is_slow)
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
    j->past[j->past_at++ % SYNCS_KEPT] = (struct past_sync){ end_us, us };
    lock_give(&j->lock);
}

static bool sync_segment(struct journal *j, struct segment *s, struct err *err)
{
    uint64_t start_us = clock_mono_us();
    atomic_store_explicit(&j->syncing_us, start_us, memory_order_relaxed);
    bool ok =
        MUTATION(NO_SYNC) || j->setup.disk->ops->sync(s->file, err) || MUTATION(IGNORE_FAILED_SYNC);
    uint64_t end_us = clock_mono_us(), us = end_us - start_us;
    atomic_store_explicit(&j->syncing_us, 0, memory_order_relaxed);
    bool is_slow = us > (uint64_t)j->setup.slow_ms * 1000;
    unsigned left_out = 0;
    count_sync(j, end_us, us, is_slow);
    if (is_slow && log_rate_ok(&j->slow_rate, 1, SLOW_WINDOW_MS, &left_out))
        log_warn("journal", "-",
                 "the disk took long for a sync ms=%" PRIu64 " segment=%" PRIu32 " left_out=%u",
                 us / 1000, s->header.seg, left_out);
    return ok;
}

/* ---- how the disk does ----------------------------------------------------------------------- */

static uint64_t since(const atomic_uint_least64_t *began_us, uint64_t now_us)
{
    uint64_t us = atomic_load_explicit(began_us, memory_order_relaxed);
    return us != 0 && now_us > us ? now_us - us : 0;
}

/* 0: there was none of late. */
static uint64_t least_late(struct journal *j, uint64_t now_us)
{
    uint64_t least = UINT64_MAX;
    lock_take(&j->lock);
    for (unsigned i = 0; i < SYNCS_KEPT; i++) {
        const struct past_sync *p = &j->past[i];
        if (p->end_us != 0 && now_us < p->end_us + JOURNAL_LATE_MS * UINT64_C(1000) &&
            p->took_us < least)
            least = p->took_us;
    }
    lock_give(&j->lock);
    return least != UINT64_MAX ? least : 0;
}

uint64_t journal_strain_ms(struct journal *j)
{
    uint64_t now_us = clock_mono_us();
    uint64_t writes = since(&j->writing_us, now_us), syncs = since(&j->syncing_us, now_us);
    uint64_t late = j->setup.sync == JOURNAL_SYNC_ALWAYS ? least_late(j, now_us) : 0;
    uint64_t most = writes > syncs ? writes : syncs;
    return (most > late ? most : late) / 1000;
}

/* ---- all that is due ------------------------------------------------------------------------ */

/* What was written and not synced at one moment. */
struct stretch {
    struct segment_list full;
    struct segment *open; /* NULL: nothing in it */
    uint64_t lsn;         /* all up to here is on the medium when they are synced */
};

/* More may be written while they are synced, and `open` may become full: it is then synced again.
 */
static void take_stretch(struct journal *j, enum journal_due due, struct stretch *s)
{
    *s = (struct stretch){ 0 };
    TAILQ_INIT(&s->full);
    lock_take(&j->lock);
    TAILQ_CONCAT(&s->full, &j->full, entry);
    if (due == JOURNAL_DUE_ALL) {
        s->open = j->is_dirty ? j->open : NULL;
        s->lsn = j->written_lsn;
        j->is_dirty = false;
        j->must_sync = false;
        j->unsynced_bytes = 0;
        j->sync_by_ms = 0;
    } else {
        s->lsn = place_lsn((struct place){ j->open->header.seg, 0 });
    }
    lock_give(&j->lock);
}

static bool sync_stretch(struct journal *j, const struct stretch *s, struct err *err)
{
    struct segment *full;
    TAILQ_FOREACH (full, &s->full, entry)
        if (!MUTATION(SYNC_OPEN_ONLY) && !sync_segment(j, full, err))
            return false;
    return s->open == NULL || sync_segment(j, s->open, err);
}

static void raise_to(atomic_uint_least64_t *lsn, uint64_t to)
{
    uint64_t was = atomic_load_explicit(lsn, memory_order_relaxed);
    while (was < to && !atomic_compare_exchange_weak_explicit(lsn, &was, to, memory_order_release,
                                                              memory_order_relaxed))
        ;
}

/* Of several files none says anything alone: what is safe moves when all have been synced. */
static bool sync_due(struct journal *j, enum journal_due due, struct err *err)
{
    struct stretch s;
    take_stretch(j, due, &s);
    bool ok = sync_stretch(j, &s, err);
    lock_take(&j->lock);
    TAILQ_CONCAT(ok ? &j->synced : &j->full, &s.full, entry);
    if (ok && s.lsn > journal_synced(j)) {
        raise_to(&j->synced_lsn, s.lsn);
        raise_to(&j->durable_lsn, s.lsn);
        j->has_news = true;
    }
    lock_give(&j->lock);
    return ok;
}

bool journal_sync_all(struct journal *j, struct err *err)
{
    bool ok = sync_due(j, JOURNAL_DUE_ALL, err);
    if (ok)
        journal_tell_synced(j);
    return ok;
}

/* ---- telling -------------------------------------------------------------------------------- */

static void let_know(struct journal *j)
{
    if (j->setup.on_durable != NULL)
        j->setup.on_durable(j->setup.arg);
}

void journal_seal(struct journal *j, struct segment **segment)
{
    uint32_t seg = (*segment)->header.seg;
    journal_segment_free(j, segment);
    atomic_store_explicit(&segs_get(j->setup.segs, seg)->state, SEG_SEALED, memory_order_release);
    if (j->setup.on_sealed != NULL)
        j->setup.on_sealed(seg, j->setup.arg);
}

void journal_tell_synced(struct journal *j)
{
    struct segment_list synced = TAILQ_HEAD_INITIALIZER(synced);
    lock_take(&j->lock);
    TAILQ_CONCAT(&synced, &j->synced, entry);
    bool has_news = j->has_news;
    j->has_news = false;
    lock_give(&j->lock);
    if (has_news)
        let_know(j);
    for (struct segment *s; (s = TAILQ_FIRST(&synced)) != NULL;) {
        TAILQ_REMOVE(&synced, s, entry);
        journal_seal(j, &s);
    }
}

/* Written: where that is all that `sync` promises. */
static void tell_written(struct journal *j)
{
    if (j->written_lsn <= journal_durable(j) || journal_has_failed(j))
        return;
    raise_to(&j->durable_lsn, j->written_lsn);
    let_know(j);
}

/* ---- when ----------------------------------------------------------------------------------- */

enum journal_due journal_due(const struct journal *j, uint64_t now_ms)
{
    if (j->must_sync || (j->sync_by_ms != 0 && now_ms >= j->sync_by_ms))
        return JOURNAL_DUE_ALL;
    switch (j->setup.sync) {
    case JOURNAL_SYNC_ALWAYS:
        return JOURNAL_DUE_NOTHING;
    case JOURNAL_SYNC_INTERVAL:
        return j->unsynced_bytes >= UNSYNCED_MAX ? JOURNAL_DUE_ALL : JOURNAL_DUE_NOTHING;
    case JOURNAL_SYNC_NONE:
        /* A segment that counts as sealed is on the medium: what was moved into it stood safely
         * elsewhere before. */
        return TAILQ_EMPTY(&j->full) ? JOURNAL_DUE_NOTHING : JOURNAL_DUE_FULL;
    }
    UNREACHABLE("journal sync");
}

static void note_group(struct journal *j, const struct group *g, uint64_t now_ms)
{
    bool always = j->setup.sync == JOURNAL_SYNC_ALWAYS;
    j->must_sync = j->must_sync || g->wants_sync || (always && g->is_wanted);
    if (j->sync_by_ms == 0 && j->unsynced_bytes != 0 && j->setup.sync != JOURNAL_SYNC_NONE)
        j->sync_by_ms = now_ms + (always ? LAZY_SYNC_MS : j->setup.interval_ms);
}

bool journal_settle(struct journal *j, const struct group *g, uint64_t now_ms, struct err *err)
{
    lock_take(&j->lock);
    note_group(j, g, now_ms);
    enum journal_due due = journal_due(j, now_ms);
    bool rings = due != JOURNAL_DUE_NOTHING || (j->syncer_naps && j->sync_by_ms != 0);
    lock_give(&j->lock);
    if (j->setup.sync != JOURNAL_SYNC_ALWAYS)
        tell_written(j);
    if (j->syncer != NULL) {
        if (rings)
            bell_ring(&j->sync_bell);
        return true;
    }
    if (due == JOURNAL_DUE_NOTHING)
        return true;
    bool ok = sync_due(j, due, err);
    if (ok)
        journal_tell_synced(j);
    return ok;
}

/* ---- a thread for syncs that nobody waits for ----------------------------------------------- */

static bool sync_unlocked(struct journal *j, enum journal_due due)
{
    struct err err;
    lock_give(&j->lock);
    bool ok = sync_due(j, due, &err);
    if (!ok)
        journal_fail(j, &err);
    bell_ring(&j->bell); /* the other thread tells */
    lock_take(&j->lock);
    return ok;
}

static void run(void *arg)
{
    struct journal *j = arg;
    bool ok = true;
    lock_take(&j->lock);
    while (ok && !j->is_stopping && !journal_has_failed(j)) {
        enum journal_due due = journal_due(j, clock_mono_ms());
        if (due != JOURNAL_DUE_NOTHING) {
            ok = sync_unlocked(j, due);
            continue;
        }
        j->syncer_naps = j->sync_by_ms == 0;
        bell_wait(&j->sync_bell, &j->lock, j->sync_by_ms * 1000);
        j->syncer_naps = false;
    }
    lock_give(&j->lock);
}

bool journal_start_syncer(struct journal *j, struct err *err)
{
    j->syncer = thread_start("journal-sync", run, j, err);
    return j->syncer != NULL;
}

void journal_end_syncer(struct journal *j)
{
    bell_ring(&j->sync_bell);
    thread_join(&j->syncer);
}
