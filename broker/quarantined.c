#include "quarantined.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/lock.h"

/* A queue has one under way at most, and so has a command. */
#define JOBS_MAX ((size_t)64 * 1024)

struct quarantined {
    struct quarantine *files;
    struct work_pool *pool; /* NULL: stopped */
    struct lock lock;       /* of the counts alone: held for moments */
    uint64_t counts[QUARANTINED_COUNTS];
};

struct quarantined *quarantined_open(struct disk *disk, struct err *err)
{
    struct quarantine *files = quarantine_open(disk, QUARANTINE_LIMIT_BYTES, err);
    if (files == NULL)
        return NULL;
    struct quarantined *q = mem_zalloc(sizeof *q);
    q->files = files;
    q->pool = work_pool_new("quarantine", 1, JOBS_MAX);
    work_pool_give_way(q->pool);
    lock_init(&q->lock);
    quarantined_changed(q);
    return q;
}

void quarantined_stop(struct quarantined *q)
{
    work_pool_free(&q->pool);
}

void quarantined_free(struct quarantined **quarantined)
{
    struct quarantined *q = *quarantined;
    *quarantined = NULL;
    if (q == NULL)
        return;
    CHECK(q->pool == NULL);
    quarantine_free(&q->files);
    lock_fini(&q->lock);
    mem_free(q);
}

struct quarantine *quarantined_files(struct quarantined *q)
{
    return q->files;
}

bool quarantined_submit(struct quarantined *q, struct loop *loop, struct work_job *job,
                        struct err *err)
{
    if (q->pool == NULL)
        return err_set(err, ERR_LIMIT, "the node is being stopped");
    return work_submit(q->pool, loop, job, err);
}

/* ---- counting ---- */

static void add_queue(const struct quarantine_queue *queue, void *arg)
{
    struct quarantined_stats *sum = arg;
    sum->messages += queue->messages;
    sum->bytes += queue->bytes;
}

void quarantined_changed(struct quarantined *q)
{
    struct quarantined_stats sum = { 0 };
    quarantine_list(q->files, add_queue, &sum);
    lock_take(&q->lock);
    q->counts[QUARANTINED_messages] = sum.messages;
    q->counts[QUARANTINED_bytes] = sum.bytes;
    lock_give(&q->lock);
}

void quarantined_count(struct quarantined *q, enum quarantined_count what, uint64_t n)
{
    lock_take(&q->lock);
    q->counts[what] += n;
    lock_give(&q->lock);
}

void quarantined_stats(struct quarantined *q, struct quarantined_stats *out)
{
    *out = (struct quarantined_stats){ 0 };
    if (q == NULL)
        return;
    lock_take(&q->lock);
#define X(name) out->name = q->counts[QUARANTINED_##name];
    QUARANTINED_COUNTERS(X)
#undef X
    lock_give(&q->lock);
}
