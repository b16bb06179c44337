#include "storage_read.h"

#include "base/check.h"
#include "broker.h"
#include "io/epoch.h"
#include "io/work.h"
#include "storage.h"

struct reading {
    struct work_job job;
    struct storage *storage;
    const struct meta_version *version;
    struct loop *loop;
    struct err err;
    bool is_over;
    bool ok;
};

static void on_thread(struct work_job *job)
{
    struct reading *r = CONTAINER_OF(job, struct reading, job);
    r->ok = storage_read(r->storage, r->version, &r->err);
}

static void on_read(struct work_job *job)
{
    struct reading *r = CONTAINER_OF(job, struct reading, job);
    r->is_over = true;
    loop_stop(r->loop);
}

/* The loop may be stopped for other reasons, too. */
static bool await(struct reading *r, struct work_pool *pool, struct err *err)
{
    if (!work_submit(pool, r->loop, &r->job, err))
        return false;
    while (!r->is_over)
        loop_run(r->loop);
    if (!r->ok)
        *err = r->err;
    return r->ok;
}

bool storage_read_aside(struct broker *b, struct storage *st, struct epoch *epoch, struct err *err)
{
    struct reading r = { .storage = st, .version = broker_meta(b), .loop = broker_loop(b) };
    struct work_pool *pool = work_pool_new("recovery", 1, 1);
    struct epoch_reader *reader = epoch_join(epoch);
    work_job_init(&r.job, on_thread, on_read);
    epoch_online(epoch, reader); /* the version stays */
    bool ok = await(&r, pool, err);
    epoch_offline(reader);
    epoch_leave(epoch, &reader);
    work_pool_free(&pool);
    return ok;
}
