/* A checksum of all that commands decide. Things are hashed one by one, with a fixed seed and
 * without their place in memory or in a map, and summed: the order of the maps, which differs from
 * node to node, does not matter. */
#include "base/hash.h"
#include "base/wire.h"
#include "cluster/meta_state.h"

#define HEAD_MAX 64u

/* Tells things of different sorts apart, whatever their octets. */
enum sort {
    SORT_VHOST = 1,
    SORT_EXCHANGE,
    SORT_QUEUE,
    SORT_BINDING,
    SORT_USER,
    SORT_PERMISSION,
    SORT_TOPIC_PERMISSION,
    SORT_POLICY,
    SORT_OPERATOR_POLICY,
    SORT_PARAMETER,
    SORT_NODE,
    SORT_ORIGIN,
    SORT_WHOLE,
};

static uint64_t thing(enum sort sort, const struct wire_out *head, struct slice name,
                      struct slice args)
{
    uint64_t h = hash_bytes(wire_out_slice(head), (uint64_t)sort);
    h = hash_bytes(name, h);
    return hash_bytes(args, h);
}

struct binding_sum {
    uint64_t sum;
    uint64_t count;
    bool lasting; /* those alone */
};

static bool add_binding(void *arg, const struct meta_binding *b)
{
    struct binding_sum *s = arg;
    if (s->lasting && !meta_binding_lasts(b))
        return true;
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, b->source->xid);
    wire_put_u64(&w, meta_binding_destination(b));
    wire_put_u8(&w, b->to_exchange);
    s->sum += thing(SORT_BINDING, &w, meta_binding_key(b), meta_binding_args(b));
    s->count++;
    return true;
}

static uint64_t exchange_digest(const struct meta_exchange *x, bool lasting)
{
    const struct meta_exchange_def *d = x->def;
    struct binding_sum bindings = { .lasting = lasting };
    meta_bindings_from(x, add_binding, &bindings);
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, d->xid);
    wire_put_u64(&w, d->vhost_id);
    wire_put_u64(&w, bindings.count);
    wire_put_u64(&w, x->alternate.ptr != NULL ? hash_bytes(x->alternate, 0) : 0);
    wire_put_u8(&w, (uint8_t)d->type);
    wire_put_u8(&w, (uint8_t)(d->durable | d->auto_delete << 1 | d->internal << 2));
    return bindings.sum + thing(SORT_EXCHANGE, &w, meta_exchange_name(d), meta_exchange_args(d));
}

/* Not the shard: that is a node's own affair. */
static uint64_t queue_digest(const struct meta_queue *q, bool lasting)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, q->qid);
    wire_put_u64(&w, q->vhost_id);
    wire_put_u64(&w, q->owner);
    wire_put_u64(&w, lasting ? 0 : q->epoch);
    wire_put_u16(&w, lasting ? 0 : q->node);
    wire_put_u8(&w, (uint8_t)(q->durable | q->auto_delete << 1));
    return thing(SORT_QUEUE, &w, meta_queue_name(q), meta_queue_args(q));
}

/* Of words, so that none can pass for a part of its neighbour. */
static uint64_t words(enum sort sort, uint64_t id, size_t count, const struct slice *list)
{
    uint64_t h = hash_u64(id + (uint64_t)sort);
    for (size_t i = 0; i < count; i++)
        h = hash_bytes(list[i], hash_u64(h + list[i].len));
    return h;
}

#define WORDS(sort, id, ...)                                                                       \
    words((sort), (id), sizeof((struct slice[]){ __VA_ARGS__ }) / sizeof(struct slice),            \
          (struct slice[]){ __VA_ARGS__ })

static uint64_t user_digest(const struct meta_user *u)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, (uint64_t)u->max_connections);
    wire_put_u64(&w, (uint64_t)u->max_channels);
    wire_put_u8(&w, (uint8_t)u->hashing);
    return WORDS(SORT_USER, u->user_id, wire_out_slice(&w), u->name, u->hash, u->tags);
}

static uint64_t parameter_digest(uint64_t vhost_id, const struct meta_parameter *p)
{
    return WORDS(SORT_PARAMETER, vhost_id, p->component, p->name, p->value);
}

static uint64_t permissions_digest(const struct meta_vhost *vh)
{
    uint64_t sum = 0;
    struct pmap_iter it;
    pmap_iter(&it, &vh->permissions);
    for (const struct meta_permission *p; (p = pmap_next(&it)) != NULL;)
        sum += WORDS(SORT_PERMISSION, vh->vhost_id, p->user, p->configure.text, p->write.text,
                     p->read.text);
    pmap_iter(&it, &vh->topic_permissions);
    for (const struct meta_topic_permission *p; (p = pmap_next(&it)) != NULL;)
        sum += WORDS(SORT_TOPIC_PERMISSION, vh->vhost_id, p->user, p->exchange, p->write.text,
                     p->read.text);
    return sum;
}

static uint64_t policies_digest(const struct meta_vhost *vh, const struct meta_policy_order *o,
                                enum sort sort)
{
    uint64_t sum = 0;
    for (size_t i = 0; o != NULL && i < o->count; i++) {
        const struct meta_policy *p = o->policies[i];
        uint8_t room[HEAD_MAX];
        struct wire_out w = wire_out_over(room, sizeof room);
        wire_put_u64(&w, (uint64_t)p->priority);
        wire_put_u64(&w, i);
        wire_put_u8(&w, (uint8_t)p->apply_to);
        sum +=
            WORDS(sort, vh->vhost_id, wire_out_slice(&w), p->name, p->pattern.text, p->definition);
    }
    return sum;
}

static uint64_t parameters_digest(uint64_t vhost_id, const struct pmap *parameters)
{
    uint64_t sum = 0;
    struct pmap_iter it;
    pmap_iter(&it, parameters);
    for (const void *p; (p = pmap_next(&it)) != NULL;)
        sum += parameter_digest(vhost_id, p);
    return sum;
}

static uint64_t properties_digest(const struct meta_vhost *vh)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, (uint64_t)vh->max_connections);
    wire_put_u64(&w, (uint64_t)vh->max_queues);
    wire_put_u8(&w, vh->tracing);
    return WORDS(SORT_VHOST, vh->vhost_id, wire_out_slice(&w), meta_vhost_name(vh), vh->description,
                 vh->tags, vh->default_queue_type);
}

static uint64_t vhost_digest(const struct meta_vhost *vh, bool lasting)
{
    uint64_t sum = properties_digest(vh) + permissions_digest(vh) +
                   policies_digest(vh, vh->policy_order, SORT_POLICY) +
                   policies_digest(vh, vh->operator_order, SORT_OPERATOR_POLICY) +
                   parameters_digest(vh->vhost_id, &vh->parameters);
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    for (const struct meta_exchange *x; (x = pmap_next(&it)) != NULL;)
        if (!lasting || x->def->durable)
            sum += exchange_digest(x, lasting);
    pmap_iter(&it, &vh->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        if (!lasting || q->durable)
            sum += queue_digest(q, lasting);
    return sum;
}

static uint64_t digest(const struct meta *meta, bool lasting)
{
    uint64_t sum = 0;
    struct pmap_iter it;
    pmap_iter(&it, &meta->draft.vhosts);
    for (const void *vh; (vh = pmap_next(&it)) != NULL;)
        sum += vhost_digest(vh, lasting);
    pmap_iter(&it, &meta->draft.users);
    for (const void *u; (u = pmap_next(&it)) != NULL;)
        sum += user_digest(u);
    return sum + parameters_digest(0, &meta->draft.global_parameters);
}

static uint64_t node_digest(const struct meta_node *n)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, n->place);
    wire_put_u64(&w, n->since);
    wire_put_u32(&w, n->inc);
    wire_put_u8(&w, (uint8_t)n->type);
    wire_put_u8(&w, (uint8_t)n->state);
    return WORDS(SORT_NODE, n->node, wire_out_slice(&w), n->name, n->cluster_address,
                 n->amqp_address, n->management_address);
}

static uint64_t origin_digest(const struct meta_origin *o)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u32(&w, o->inc);
    wire_put_u64(&w, o->op);
    return WORDS(SORT_ORIGIN, o->node, wire_out_slice(&w));
}

/* What belongs to no thing in particular. */
static uint64_t rest_digest(const struct meta_version *v)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, v->last_id);
    wire_put_u16(&w, v->last_node);
    uint64_t sum =
        WORDS(SORT_WHOLE, 0, wire_out_slice(&w), slice_of(v->cluster_id, sizeof v->cluster_id));
    for (size_t i = 0; i < meta_node_count(v); i++)
        sum += node_digest(meta_node_at(v, i));
    for (size_t i = 0; i < meta_origin_count(v); i++)
        sum += origin_digest(meta_origin_at(v, i));
    return sum;
}

uint64_t meta_digest(const struct meta *meta)
{
    return digest(meta, false) + rest_digest(&meta->draft);
}

uint64_t meta_digest_lasting(const struct meta *meta)
{
    return digest(meta, true);
}
