/*
 * meta_life: a node's metadata with its log, as one life after the other on some disk, driven by
 * chance. For the tests of what stands in the log, on a good disk and on a bad one.
 *
 * What is retired is freed at the end of a life: a snapshot may be written from a version that has
 * been replaced meanwhile.
 */
#ifndef WARREN_META_LIFE_H
#define WARREN_META_LIFE_H

#include "base/mem.h"
#include "base/rng.h"
#include "cluster/meta_log.h"
#include "meta_world.h"

#define LIFE_KEPT_MAX 65536

struct life {
    struct disk *disk;
    struct meta *meta;
    struct meta_result r;
    struct meta_log *log;
    struct meta_restored restored;
    struct err err;
    struct meta_snapshot snapshot; /* to be written, from... */
    bool has_snapshot;
    uint64_t least_bytes;
    uint64_t safe;  /* digest of what was acknowledged */
    uint64_t begun; /* of the last group that was sent off */
    struct rng rng;
    size_t kept_count;
    struct {
        void *ptr;
        void (*free_fn)(void *);
    } kept[LIFE_KEPT_MAX];
};

static inline void life_retire(void *arg, void *ptr, void (*free_fn)(void *))
{
    struct life *l = arg;
    cr_assert(l->kept_count < LIFE_KEPT_MAX);
    l->kept[l->kept_count].ptr = ptr;
    l->kept[l->kept_count++].free_fn = free_fn;
}

static inline void life_take_snapshot(struct life *l)
{
    if (l->log == NULL || l->has_snapshot || !meta_log_take_snapshot(l->log, &l->snapshot))
        return;
    l->has_snapshot = true;
    l->snapshot.version = meta_current(l->meta);
}

/* False: it does not start; err says why. */
static inline bool life_begin(struct life *l, struct disk *disk, uint64_t seed)
{
    l->disk = disk;
    rng_init(&l->rng, seed);
    l->kept_count = 0;
    l->has_snapshot = false;
    l->err = (struct err){ 0 };
    l->meta = meta_new(&(struct meta_setup){
        .hash_seed = seed, .shard_count = 2, .retire = life_retire, .retire_arg = l });
    meta_result_init(&l->r);
    l->log = meta_log_open(
        &(struct meta_log_setup){
            .disk = disk, .seed = seed, .least_bytes = l->least_bytes, .fill_bytes = 16384 },
        l->meta, &l->restored, &l->err);
    meta_publish(l->meta);
    l->begun = meta_digest_lasting(l->meta);
    life_take_snapshot(l);
    return l->log != NULL;
}

static inline void life_end(struct life *l)
{
    if (l->log != NULL)
        meta_log_free(&l->log);
    meta_result_fini(&l->r);
    meta_free(&l->meta);
    for (size_t i = 0; i < l->kept_count; i++)
        l->kept[i].free_fn(l->kept[i].ptr);
    l->kept_count = 0;
}

/* Apply, and gather what lasts. */
static inline enum meta_verdict life_apply(struct life *l, const struct meta_cmd *cmd)
{
    enum meta_verdict v = meta_apply(l->meta, cmd, &l->r);
    if (v == META_DONE)
        meta_log_add(l->log, cmd, &l->r);
    return v;
}

/* False: the log has failed. */
static inline bool life_commit(struct life *l)
{
    l->begun = meta_digest_lasting(l->meta);
    meta_log_begin(l->log);
    if (!meta_log_commit(l->log, &l->err))
        return false;
    l->safe = l->begun;
    meta_publish(l->meta);
    life_take_snapshot(l);
    return true;
}

static inline bool life_write_snapshot(struct life *l)
{
    bool ok = meta_snapshot_write(&l->snapshot, &l->err);
    l->has_snapshot = false;
    meta_log_snapshot_done(l->log, &l->snapshot, ok);
    return ok;
}

/* ---- commands by chance ---- */

static inline const char *life_name(struct life *l, char kind)
{
    static char room[8][8];
    static unsigned at;
    char *name = room[at++ % 8];
    snprintf(name, sizeof room[0], "%c%d", kind, (int)rng_below(&l->rng, 6));
    return name;
}

static inline uint64_t life_some_vhost(struct life *l)
{
    /* Of the draft: what is not published counts too. */
    struct meta_cmd cmd = { .op = META_VHOST_ADD, .name = S(life_name(l, 'v')) };
    (void)life_apply(l, &cmd);
    return l->r.id;
}

static inline struct meta_cmd life_topology(struct life *l, struct args *a)
{
    bool durable = rng_below(&l->rng, 3) != 0;
    struct meta_cmd c;
    switch (rng_below(&l->rng, 9)) {
    case 0:
    case 1:
        c = q_declare(life_name(l, 'q'));
        c.queue_declare.durable = durable;
        c.queue_declare.exclusive = !durable && rng_below(&l->rng, 2) != 0;
        c.queue_declare.auto_delete = rng_below(&l->rng, 2) != 0;
        if (rng_below(&l->rng, 2) != 0)
            c.queue_declare.args = args_int(a, "x-max-length", (int64_t)rng_below(&l->rng, 100));
        return c;
    case 2:
    case 3:
        c = x_declare(life_name(l, 'x'),
                      meta_exchange_type_name((enum meta_exchange_type)rng_below(&l->rng, 4)));
        c.exchange_declare.durable = durable;
        c.exchange_declare.auto_delete = rng_below(&l->rng, 2) != 0;
        if (rng_below(&l->rng, 3) == 0)
            c.exchange_declare.args = args_str(a, "alternate-exchange", "x1");
        return c;
    case 4:
        return q_delete(life_name(l, 'q'));
    case 5:
        return x_delete(life_name(l, 'x'), rng_below(&l->rng, 2) != 0);
    case 6:
        return x_bind(life_name(l, 'x'), "k", life_name(l, 'x'));
    case 7:
        return q_unbind(life_name(l, 'x'), life_name(l, 'k'), life_name(l, 'q'));
    default:
        return q_bind(life_name(l, 'x'), life_name(l, 'k'), life_name(l, 'q'));
    }
}

static inline struct meta_cmd life_rights(struct life *l)
{
    struct meta_cmd c;
    switch (rng_below(&l->rng, 14)) {
    case 0:
        return user_put(life_name(l, 'u'), life_name(l, 'h'), "administrator");
    case 1:
        return user_cmd(META_USER_DELETE, life_name(l, 'u'));
    case 2:
        c = user_cmd(META_USER_LIMITS_PUT, life_name(l, 'u'));
        c.limits.definition = S("{\"max-channels\":7}");
        return c;
    case 3:
        return may(life_name(l, 'u'), "^a", life_name(l, 'p'), "");
    case 4:
        return may_topic(life_name(l, 'u'), "amq.topic", "^{username}", life_name(l, 'p'));
    case 5:
        return policy_put(life_name(l, 'p'), life_name(l, 'q'), "{\"max-length\":5}",
                          (int64_t)rng_below(&l->rng, 4));
    case 6:
        return policy_put(life_name(l, 'p'), "^x", "{\"alternate-exchange\":\"x2\"}", 1);
    case 7:
        return operators(policy_put(life_name(l, 'p'), "", "{\"message-ttl\":9}", 0));
    case 8:
        return policy_clear(life_name(l, 'p'));
    case 9:
        c = (struct meta_cmd){ .op = META_VHOST_LIMITS_PUT };
        c.limits.definition = rng_below(&l->rng, 2) != 0 ? S("{\"max-queues\":4}") : S("{}");
        return c;
    case 10:
        c = (struct meta_cmd){ .op = META_GLOBAL_PARAMETER_PUT, .name = S(life_name(l, 'g')) };
        c.parameter.value = S("{\"a\":[1,2]}");
        return c;
    case 11:
        return (struct meta_cmd){ .op = META_GLOBAL_PARAMETER_CLEAR, .name = S(life_name(l, 'g')) };
    case 12:
        return (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S(life_name(l, 'v')) };
    default:
        c = (struct meta_cmd){ .op = META_VHOST_PUT, .name = S(life_name(l, 'v')) };
        c.vhost.has_default_queue_type = c.vhost.has_tracing = true;
        c.vhost.default_queue_type = S(rng_below(&l->rng, 2) != 0 ? "quorum" : "");
        c.vhost.tracing = rng_below(&l->rng, 2) != 0;
        return c;
    }
}

static inline void life_do_something(struct life *l)
{
    struct args a;
    uint64_t vhost = life_some_vhost(l);
    struct meta_cmd c = rng_below(&l->rng, 4) != 0 ? life_topology(l, &a) : life_rights(l);
    if (rng_below(&l->rng, 40) == 0)
        c = (struct meta_cmd){ .op = META_OWNER_GONE };
    c.vhost_id = vhost;
    c.conn = 1 + rng_below(&l->rng, 3);
    (void)life_apply(l, &c);
}

#endif
