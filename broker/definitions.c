#include "definitions.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/meta_log.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/epoch.h"
#include "io/random.h"
#include "io/work.h"

#include <inttypes.h>

#define REST_MS 1000u  /* without a command: then the last group is closed */
#define WARN_MS 10000u /* at most one warning of a slow disk in so long */

struct definitions {
    struct definitions_setup setup;
    struct meta_log *log;
    struct work_pool *pool; /* NULL: stopped */
    struct loop_timer rest;
    bool has_failed;

    struct log_rate slow; /* warnings */

    struct work_job job; /* the group on its way */
    uint64_t sent_ms;
    bool is_on_its_way;
    bool is_closing; /* it is an empty one, for nobody */
    bool has_run;
    bool ok;
    struct err err;

    struct work_job snapshot_job;
    struct meta_snapshot snapshot;
    struct epoch_reader *reader; /* holds the version that is written */
    bool snapshot_has_run;
    bool snapshot_ok;
    struct err snapshot_err;
    uint64_t snapshot_ms;
};

static void on_group_back(struct work_job *job);
static void on_snapshot_back(struct work_job *job);
static void begin_snapshot(struct definitions *d);

static void fail(struct definitions *d, const struct err *err)
{
    if (d->has_failed)
        return;
    d->has_failed = true;
    d->setup.on_failed(err, d->setup.arg);
}

/* ---- groups ---- */

/* On a thread of the pool. */
static void run_group(struct work_job *job)
{
    struct definitions *d = CONTAINER_OF(job, struct definitions, job);
    d->ok =
        d->is_closing ? meta_log_close_group(d->log, &d->err) : meta_log_commit(d->log, &d->err);
    d->has_run = true;
}

static void send_off(struct definitions *d, bool is_closing)
{
    CHECK(!d->is_on_its_way && !d->has_failed);
    struct err busy;
    d->is_on_its_way = true;
    d->is_closing = is_closing;
    d->has_run = false;
    d->sent_ms = clock_mono_ms();
    loop_timer_stop(&d->rest);
    if (!is_closing)
        meta_log_begin(d->log);
    if (d->pool != NULL && work_submit(d->pool, d->setup.loop, &d->job, &busy))
        return;
    run_group(&d->job);
    on_group_back(&d->job);
}

static void warn_if_slow(struct definitions *d)
{
    unsigned left_out;
    uint64_t ms = clock_mono_ms() - d->sent_ms;
    if (ms > d->setup.slow_ms && log_rate_ok(&d->slow, 1, WARN_MS, &left_out))
        log_warn("definitions", d->setup.node,
                 "the disk is slow, changes of definitions wait for it ms=%" PRIu64 " left_out=%u",
                 ms, left_out);
}

static void on_group_back(struct work_job *job)
{
    struct definitions *d = CONTAINER_OF(job, struct definitions, job);
    if (!d->has_run)
        run_group(job); /* the pool ended before it came to it */
    d->is_on_its_way = false;
    warn_if_slow(d);
    if (!d->ok) {
        fail(d, &d->err);
        return;
    }
    if (d->has_failed) /* a snapshot has, and everybody who waits was told */
        return;
    bool was_closing = d->is_closing;
    d->setup.on_safe(d->setup.arg);
    CHECK(!d->is_on_its_way);
    if (!was_closing)
        begin_snapshot(d);
    if (d->pool != NULL && (meta_log_is_short(d->log) || meta_log_wants_closing(d->log)))
        loop_timer_start(&d->rest, REST_MS);
}

/* Nothing came for a while. While the disk is full it is tried again and again to fill ahead. */
static void on_rest(void *arg)
{
    struct definitions *d = arg;
    if (!d->is_on_its_way && !d->has_failed)
        send_off(d, !meta_log_is_short(d->log));
}

void definitions_send(struct definitions *d)
{
    send_off(d, false);
}

bool definitions_are_on_their_way(const struct definitions *d)
{
    return d->is_on_its_way;
}

bool definitions_send_now(struct definitions *d, struct err *err)
{
    CHECK(!d->is_on_its_way);
    meta_log_begin(d->log);
    d->has_failed = !meta_log_commit(d->log, err);
    if (d->has_failed)
        return false;
    d->setup.on_safe(d->setup.arg);
    begin_snapshot(d);
    return true;
}

/* ---- gathering ---- */

static bool refuse(struct meta_refusal *why, const char *text)
{
    struct text t = text_over(why->text, sizeof why->text);
    why->code = AMQP_PRECONDITION_FAILED;
    text_str(&t, text);
    return false;
}

bool definitions_take(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    return LIKELY(meta_log_takes(cmd)) || refuse(why, "the definition is too long to be stored");
}

bool definitions_have_room(const struct definitions *d, const struct meta_cmd *cmd,
                           struct meta_refusal *why)
{
    return LIKELY(meta_log_has_room(d->log, cmd)) ||
           refuse(why, "the disk is full: definitions cannot be stored");
}

void definitions_add(struct definitions *d, const struct meta_cmd *cmd, const struct meta_result *r)
{
    if (UNLIKELY(r->lasts || r->orphan_count != 0))
        meta_log_add(d->log, cmd, r);
}

bool definitions_have_gathered(const struct definitions *d)
{
    return meta_log_has_gathered(d->log);
}

bool definitions_have_enough(const struct definitions *d)
{
    return meta_log_has_enough(d->log);
}

/* ---- snapshots ---- */

/* On a thread of the pool. */
static void run_snapshot(struct work_job *job)
{
    struct definitions *d = CONTAINER_OF(job, struct definitions, snapshot_job);
    d->snapshot_ok = meta_snapshot_write(&d->snapshot, &d->snapshot_err);
    d->snapshot_has_run = true;
}

/* The version that is published is that of the log's beginning; nobody frees what it holds before
 * the reader goes offline. */
static void begin_snapshot(struct definitions *d)
{
    struct err busy = { 0 };
    if (!meta_log_take_snapshot(d->log, &d->snapshot))
        return;
    epoch_online(d->setup.epoch, d->reader);
    d->snapshot.version = meta_current(d->setup.meta);
    d->snapshot_has_run = false;
    d->snapshot_ms = clock_mono_ms();
    if (d->pool != NULL && work_submit(d->pool, d->setup.loop, &d->snapshot_job, &busy))
        return;
    epoch_offline(d->reader);
    meta_log_snapshot_done(d->log, &d->snapshot, false); /* another time */
}

static void on_snapshot_back(struct work_job *job)
{
    struct definitions *d = CONTAINER_OF(job, struct definitions, snapshot_job);
    epoch_offline(d->reader);
    bool ok = d->snapshot_has_run && d->snapshot_ok;
    meta_log_snapshot_done(d->log, &d->snapshot, ok);
    if (ok)
        log_info("definitions", d->setup.node,
                 "snapshot written commands=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRIu64,
                 d->snapshot.commands, d->snapshot.bytes, clock_mono_ms() - d->snapshot_ms);
    else if (d->snapshot_has_run && d->snapshot_err.code == ERR_LIMIT)
        log_warn("definitions", d->setup.node, "no room for a snapshot, tried again later: %s",
                 d->snapshot_err.text);
    else if (d->snapshot_has_run)
        fail(d, &d->snapshot_err);
}

/* ---- life ---- */

static void tell_what_was_read(const struct definitions *d, const struct meta_restored *re,
                               uint64_t ms)
{
    struct meta_stats s = meta_stats(d->setup.meta);
    if (re->torn_bytes != 0)
        log_warn(
            "definitions", d->setup.node,
            "the end of the log was never finished, nobody was told of it: cut off bytes=%" PRIu64,
            re->torn_bytes);
    log_info("definitions", d->setup.node,
             "read vhosts=%" PRIu64 " queues=%" PRIu64 " bindings=%" PRIu64 " users=%" PRIu64
             " commands=%" PRIu64 " ms=%" PRIu64,
             s.vhost_count, s.queue_count, s.binding_count, s.user_count, re->command_count, ms);
}

struct definitions *definitions_open(const struct definitions_setup *setup, bool *is_new,
                                     struct err *err)
{
    struct meta_restored re;
    uint64_t from_ms = clock_mono_ms();
    struct meta_log_setup of_log = { .disk = setup->disk,
                                     .seed = random_u64(),
                                     .starts = setup->starts };
    memcpy(of_log.store_id, setup->store_id, sizeof of_log.store_id);
    struct meta_log *log = meta_log_open(&of_log, setup->meta, &re, err);
    if (log == NULL)
        return NULL;
    struct definitions *d = mem_zalloc(sizeof *d);
    d->setup = *setup;
    d->log = log;
    d->pool = work_pool_new("definitions", 2, 2);
    d->reader = epoch_join(setup->epoch);
    work_job_init(&d->job, run_group, on_group_back);
    work_job_init(&d->snapshot_job, run_snapshot, on_snapshot_back);
    loop_timer_init(&d->rest, setup->loop, on_rest, d);
    meta_publish(setup->meta);
    *is_new = re.command_count == 0 && re.snapshot == 0;
    if (!*is_new)
        tell_what_was_read(d, &re, clock_mono_ms() - from_ms);
    begin_snapshot(d);
    return d;
}

void definitions_stop(struct definitions *d)
{
    loop_timer_stop(&d->rest);
    work_pool_free(&d->pool);
}

void definitions_free(struct definitions **definitions)
{
    struct definitions *d = *definitions;
    *definitions = NULL;
    if (d == NULL)
        return;
    CHECK(d->pool == NULL && !d->is_on_its_way);
    if (!d->has_failed && meta_log_wants_closing(d->log) && !meta_log_close_group(d->log, &d->err))
        log_error("definitions", d->setup.node, "%s", d->err.text);
    loop_timer_fini(&d->rest);
    epoch_leave(d->setup.epoch, &d->reader);
    meta_log_free(&d->log);
    mem_free(d);
}
