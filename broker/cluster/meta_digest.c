/* A checksum of all that commands decide. Things are hashed one by one, with a fixed seed and
 * without their place in memory or in a map, and summed: the order of the maps, which differs from
 * node to node, does not matter. */
#include "base/hash.h"
#include "base/wire.h"
#include "cluster/meta_state.h"

#define HEAD_MAX 64u

/* Tells things of different sorts apart, whatever their octets. */
enum sort { SORT_VHOST = 1, SORT_EXCHANGE, SORT_QUEUE, SORT_BINDING };

static uint64_t thing(enum sort sort, const struct wire_out *head, struct slice name,
                      struct slice args)
{
    uint64_t h = hash_bytes(wire_out_slice(head), (uint64_t)sort);
    h = hash_bytes(name, h);
    return hash_bytes(args, h);
}

static bool add_binding(void *arg, const struct meta_binding *b)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, b->source->xid);
    wire_put_u64(&w, meta_binding_destination(b));
    wire_put_u8(&w, b->to_exchange);
    *(uint64_t *)arg += thing(SORT_BINDING, &w, meta_binding_key(b), meta_binding_args(b));
    return true;
}

static uint64_t exchange_digest(const struct meta_exchange *x)
{
    const struct meta_exchange_def *d = x->def;
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, d->xid);
    wire_put_u64(&w, d->vhost_id);
    wire_put_u64(&w, x->binding_count);
    wire_put_u8(&w, (uint8_t)d->type);
    wire_put_u8(&w, (uint8_t)(d->durable | d->auto_delete << 1 | d->internal << 2));
    uint64_t sum = thing(SORT_EXCHANGE, &w, meta_exchange_name(d), meta_exchange_args(d));
    meta_bindings_from(x, add_binding, &sum);
    return sum;
}

/* Not the shard: that is a node's own affair. */
static uint64_t queue_digest(const struct meta_queue *q)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, q->qid);
    wire_put_u64(&w, q->vhost_id);
    wire_put_u64(&w, q->owner);
    wire_put_u8(&w, (uint8_t)(q->durable | q->auto_delete << 1));
    return thing(SORT_QUEUE, &w, meta_queue_name(q), meta_queue_args(q));
}

static uint64_t vhost_digest(const struct meta_vhost *vh)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, vh->vhost_id);
    uint64_t sum = thing(SORT_VHOST, &w, meta_vhost_name(vh), (struct slice){ NULL, 0 });
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    for (const void *x; (x = pmap_next(&it)) != NULL;)
        sum += exchange_digest(x);
    pmap_iter(&it, &vh->queues);
    for (const void *q; (q = pmap_next(&it)) != NULL;)
        sum += queue_digest(q);
    return sum;
}

uint64_t meta_digest(const struct meta *meta)
{
    uint64_t sum = hash_u64(meta->last_id);
    struct pmap_iter it;
    pmap_iter(&it, &meta->draft.vhosts);
    for (const void *vh; (vh = pmap_next(&it)) != NULL;)
        sum += vhost_digest(vh);
    return sum;
}
