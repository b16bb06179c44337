#include "base/check.h"
#include "base/mem.h"
#include "store/seg_index.h"
#include "store/store_inner.h"

#include <string.h>

#define FULL_RETRY_MS  500u  /* the disk was full */
#define INDEX_AFTER_MS 5000u /* what is still alive then is likely to stay for longer */

static uint64_t now_ms(const struct store *st)
{
    return loop_now_ms(st->loop);
}

/* ---- spares, and files that go ----------------------------------------------------------------
 */

/* One after the other: a segment that goes becomes a spare, and need not be made then. */
static void keep_job(struct work_job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, work);
    struct store *st = CONTAINER_OF(u, struct store, upkeep);
    u->err = (struct err){ 0 };
    u->ok = true;
    for (uint32_t i = 0; u->ok && i < u->going_count; i++)
        u->ok = journal_recycle(st->journal, u->going[i], &u->err);
    if (u->ok && journal_wants_prepare(st->journal))
        u->ok = journal_prepare(st->journal, &u->err);
}

/* One that could not go for now is dead as before: the next round takes it. */
static void end_going(struct store *st, uint32_t seg)
{
    if (segs_state(st->segs, seg) == SEG_LEAVING) {
        atomic_store(&segs_get(st->segs, seg)->state, (unsigned)SEG_SEALED);
        upkeep_sealed(st, seg);
        return;
    }
    atomic_fetch_add(&st->recycled_segs, 1);
    idmap_take(&st->bad, seg);
}

static void on_kept(struct work_job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, work);
    struct store *st = CONTAINER_OF(u, struct store, upkeep);
    u->busy = false;
    if (job->cancelled)
        return;
    for (uint32_t i = 0; i < u->going_count; i++)
        end_going(st, u->going[i]);
    u->going_count = 0;
    if (u->ok) {
        u->retry_ms = 0;
    } else if (u->err.code == ERR_LIMIT) {
        u->retry_ms = now_ms(st) + FULL_RETRY_MS;
        unsigned left_out;
        if (log_rate_ok(&st->complaints, 1, 10000, &left_out))
            log_warn("store", st->node, "no segment could be made: %s", u->err.text);
    } else {
        store_fail(st, &u->err);
    }
    store_judge_alarms(st);
    upkeep_look(st);
    rounds_look(st);
}

/* While a job runs, what it goes by stays. */
bool upkeep_recycle(struct store *st, uint32_t seg)
{
    struct upkeep *u = &st->upkeep;
    if (u->busy || u->going_count == sizeof u->going / sizeof u->going[0])
        return false;
    loader_forget(st->loader, seg);
    u->going[u->going_count++] = seg;
    return true;
}

static void keep(struct store *st)
{
    struct upkeep *u = &st->upkeep;
    if (u->busy || st->failed_told)
        return;
    bool wants = journal_wants_prepare(st->journal) && now_ms(st) >= u->retry_ms;
    if (u->going_count == 0 && !wants)
        return;
    u->busy = store_submit(st, &u->work);
}

/* ---- index files ------------------------------------------------------------------------------
 */

static void index_job(struct work_job *job)
{
    struct indexing *ix = CONTAINER_OF(job, struct indexing, work);
    struct store *st = CONTAINER_OF(ix, struct store, indexing);
    ix->err = (struct err){ 0 };
    ix->ok = seg_index_build(st->disk, ix->seg, &ix->err);
}

static void drop_first_sealed(struct store *st)
{
    CHECK(st->sealed_count > 0);
    st->sealed_count--;
    memmove(st->sealed, st->sealed + 1, st->sealed_count * sizeof *st->sealed);
}

static void on_indexed(struct work_job *job)
{
    struct indexing *ix = CONTAINER_OF(job, struct indexing, work);
    struct store *st = CONTAINER_OF(ix, struct store, indexing);
    ix->busy = false;
    if (job->cancelled)
        return;
    if (ix->ok) {
        unsigned sealed = SEG_SEALED;
        atomic_compare_exchange_strong(&segs_get(st->segs, ix->seg)->state, &sealed, SEG_INDEXED);
        atomic_fetch_add(&st->indexed_segs, 1);
        drop_first_sealed(st);
    } else if (ix->err.code == ERR_LIMIT) {
        ix->retry_ms = now_ms(st) + FULL_RETRY_MS;
    } else {
        log_error("store", st->node, "no index can be made of a segment seg=%08x: %s", ix->seg,
                  ix->err.text);
        drop_first_sealed(st);
    }
    upkeep_look(st);
    rounds_look(st);
}

/* What is gone already, or going, needs none. */
static bool is_wanted(struct store *st, uint32_t seg)
{
    return segs_state(st->segs, seg) == SEG_SEALED &&
           atomic_load(&segs_get(st->segs, seg)->alive_count) > 0;
}

static void make_index(struct store *st)
{
    struct indexing *ix = &st->indexing;
    if (ix->busy || now_ms(st) < ix->retry_ms)
        return;
    while (st->sealed_count != 0 && !is_wanted(st, st->sealed[0].seg))
        drop_first_sealed(st);
    if (st->sealed_count == 0)
        return;
    if (!atomic_load(&st->pressed) && now_ms(st) < st->sealed[0].at_ms + INDEX_AFTER_MS)
        return;
    ix->seg = st->sealed[0].seg;
    ix->busy = store_submit(st, &ix->work);
}

void upkeep_sealed(struct store *st, uint32_t seg)
{
    if (st->sealed_count == st->sealed_cap) {
        st->sealed_cap = st->sealed_cap != 0 ? 2 * st->sealed_cap : 64;
        st->sealed = mem_realloc(st->sealed, st->sealed_cap * sizeof *st->sealed);
    }
    st->sealed_ms = now_ms(st);
    st->sealed[st->sealed_count++] = (struct sealed){ seg, st->sealed_ms };
}

/* ---- both -------------------------------------------------------------------------------------
 */

void upkeep_look(struct store *st)
{
    keep(st);
    if (!atomic_load(&st->stopping) && !st->failed_told)
        make_index(st);
}

void upkeep_init(struct store *st)
{
    work_job_init(&st->upkeep.work, keep_job, on_kept);
    work_job_init(&st->indexing.work, index_job, on_indexed);
}

void upkeep_fini(struct store *st)
{
    mem_free(st->sealed);
}
