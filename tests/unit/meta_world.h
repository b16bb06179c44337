/*
 * meta_world: a metadata state machine to play with, for the tests of meta and of routing.
 *
 * What is retired is freed at once: nobody reads beside us, and a use of what is gone is then seen
 * by the address sanitizer.
 */
#ifndef WARREN_META_WORLD_H
#define WARREN_META_WORLD_H

#include "amqp/amqp_table.h"
#include "cluster/meta.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

struct world {
    struct meta *meta;
    struct meta_result r;
    uint64_t vhost;
    uint64_t conn; /* who asks */
};

static inline void world_retire(void *arg, void *ptr, void (*free_fn)(void *))
{
    (void)arg;
    free_fn(ptr);
}

static inline struct slice S(const char *text) {
    return slice_str(text);
}

/* The checksum that is kept is the one that is found, where it does not take long to find. */
static inline void
world_sum(const struct world *w)
{
    struct meta_stats s = meta_stats(w->meta);
    if (s.exchange_count + s.queue_count + s.binding_count < 500)
        cr_assert(eq(u64, meta_checksum(w->meta), meta_checksum_walk(w->meta)));
}

static inline enum meta_verdict world_do(struct world *w, struct meta_cmd cmd)
{
    cmd.vhost_id = w->vhost;
    cmd.conn = w->conn;
    enum meta_verdict v = meta_apply(w->meta, &cmd, &w->r);
    meta_publish(w->meta);
    world_sum(w);
    return v;
}

static inline void world_init(struct world *w, uint64_t seed)
{
    struct meta_setup setup = { .hash_seed = seed, .shard_count = 4, .retire = world_retire };
    *w = (struct world){ .meta = meta_new(&setup), .conn = 1 };
    meta_result_init(&w->r);
    world_do(w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("/") });
    w->vhost = w->r.id;
}

static inline void world_fini(struct world *w)
{
    meta_result_fini(&w->r);
    meta_free(&w->meta);
}

static inline const struct meta_version *now(const struct world *w)
{
    return meta_current(w->meta);
}

static inline const struct meta_vhost *vhost_now(const struct world *w)
{
    return meta_vhost_get(now(w), w->vhost);
}

static inline const struct meta_queue *queue_now(const struct world *w, const char *name)
{
    return meta_queue_find(now(w), vhost_now(w), S(name));
}

static inline const struct meta_exchange *exchange_now(const struct world *w, const char *name)
{
    return meta_exchange_find(now(w), vhost_now(w), S(name));
}

static inline bool no_binding(void *arg, const struct meta_binding *b)
{
    (void)b;
    ++*(size_t *)arg;
    return true;
}

static inline size_t bindings_to(const struct world *w, uint64_t id)
{
    size_t n = 0;
    meta_bindings_to(now(w), id, no_binding, &n);
    return n;
}

/* ---- commands in short ---- */

static inline struct meta_cmd x_declare(const char *name, const char *type)
{
    struct meta_cmd c = { .op = META_EXCHANGE_DECLARE, .name = S(name) };
    c.exchange_declare.type = S(type);
    return c;
}

static inline struct meta_cmd x_delete(const char *name, bool if_unused)
{
    struct meta_cmd c = { .op = META_EXCHANGE_DELETE, .name = S(name) };
    c.exchange_delete.if_unused = if_unused;
    return c;
}

static inline struct meta_cmd q_declare(const char *name)
{
    return (struct meta_cmd){ .op = META_QUEUE_DECLARE, .name = S(name) };
}

static inline struct meta_cmd q_delete(const char *name)
{
    return (struct meta_cmd){ .op = META_QUEUE_DELETE, .name = S(name) };
}

static inline struct meta_cmd bind_cmd(enum meta_op op, const char *source, const char *key,
                                       const char *destination, bool to_exchange)
{
    struct meta_cmd c = { .op = op };
    c.bind.source = S(source);
    c.bind.destination = S(destination);
    c.bind.key = S(key);
    c.bind.to_exchange = to_exchange;
    return c;
}

static inline struct meta_cmd q_bind(const char *source, const char *key, const char *queue)
{
    return bind_cmd(META_BIND, source, key, queue, false);
}

static inline struct meta_cmd q_unbind(const char *source, const char *key, const char *queue)
{
    return bind_cmd(META_UNBIND, source, key, queue, false);
}

static inline struct meta_cmd x_bind(const char *source, const char *key, const char *exchange)
{
    return bind_cmd(META_BIND, source, key, exchange, true);
}

static inline struct meta_cmd x_unbind(const char *source, const char *key, const char *exchange)
{
    return bind_cmd(META_UNBIND, source, key, exchange, true);
}

static inline struct meta_cmd user_put(const char *name, const char *hash, const char *tags)
{
    struct meta_cmd c = { .op = META_USER_PUT, .name = S(name) };
    c.user.hash = S(hash);
    c.user.has_hash = true;
    c.user.tags = S(tags);
    c.user.has_tags = true;
    return c;
}

static inline struct meta_cmd user_cmd(enum meta_op op, const char *name)
{
    return (struct meta_cmd){ .op = op, .name = S(name) };
}

static inline struct meta_cmd may(const char *user, const char *configure, const char *write,
                                  const char *read)
{
    struct meta_cmd c = { .op = META_PERMISSION_PUT };
    c.permission.user = S(user);
    c.permission.configure = S(configure);
    c.permission.write = S(write);
    c.permission.read = S(read);
    return c;
}

static inline struct meta_cmd may_topic(const char *user, const char *exchange, const char *write,
                                        const char *read)
{
    struct meta_cmd c = { .op = META_TOPIC_PERMISSION_PUT };
    c.topic_permission.user = S(user);
    c.topic_permission.exchange = S(exchange);
    c.topic_permission.write = S(write);
    c.topic_permission.read = S(read);
    return c;
}

static inline struct meta_cmd policy_put(const char *name, const char *pattern,
                                         const char *definition, int64_t priority)
{
    struct meta_cmd c = { .op = META_POLICY_PUT, .name = S(name) };
    c.policy.pattern = S(pattern);
    c.policy.definition = S(definition);
    c.policy.priority = priority;
    return c;
}

static inline struct meta_cmd policy_clear(const char *name)
{
    return (struct meta_cmd){ .op = META_POLICY_CLEAR, .name = S(name) };
}

static inline struct meta_cmd operators(struct meta_cmd cmd)
{
    cmd.policy.is_operator = true;
    return cmd;
}

static inline struct meta_cmd for_only(struct meta_cmd cmd, const char *apply_to)
{
    cmd.policy.apply_to = S(apply_to);
    return cmd;
}

static inline void must(struct world *w, struct meta_cmd cmd)
{
    cr_assert(world_do(w, cmd) == META_DONE, "%u %s", w->r.refusal.code, w->r.refusal.text);
}

static inline void must_not(struct world *w, struct meta_cmd cmd, int code, const char *text)
{
    cmd.vhost_id = w->vhost;
    cmd.conn = w->conn;
    enum meta_verdict seen = meta_check(now(w), &cmd, &w->r);
    cr_expect(seen == META_REFUSED, "the check let it pass; expected %s", text);
    cr_expect(world_do(w, cmd) == META_REFUSED, "expected %s", text);
    cr_expect(eq(int, w->r.refusal.code, code));
    cr_expect(eq(str, w->r.refusal.text, (char *)(uintptr_t)text));
}

/* ---- argument tables ---- */

struct args {
    uint8_t room[1024];
    struct wire_out w;
};

static inline struct slice args_end(struct args *a)
{
    cr_assert(not(a->w.overflow));
    return wire_out_slice(&a->w);
}

static inline void args_begin(struct args *a)
{
    a->w = wire_out_over(a->room, sizeof a->room);
}

static inline struct slice args_int(struct args *a, const char *name, int64_t v)
{
    args_begin(a);
    amqp_table_put_i32(&a->w, name, (int32_t)v);
    return args_end(a);
}

static inline struct slice args_long(struct args *a, const char *name, int64_t v)
{
    args_begin(a);
    amqp_table_put_i64(&a->w, name, v);
    return args_end(a);
}

static inline struct slice args_str(struct args *a, const char *name, const char *v)
{
    args_begin(a);
    amqp_table_put_text(&a->w, name, v);
    return args_end(a);
}

#endif
