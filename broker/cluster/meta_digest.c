/* Checksums of all that commands decide. Things are hashed one by one, with a fixed seed and
 * without their place in memory or in a map, and summed: the order of the maps, which differs from
 * node to node, does not matter, and one that comes or goes changes the sum alone. */
#include "base/hash.h"
#include "base/wire.h"
#include "cluster/meta_cohort.h"

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
    SORT_SHOWN,
    SORT_PLACED,
    SORT_EPOCH,
    SORT_VER,
    SORT_RECORD,
};

/* ---- one thing ---- */

static uint64_t thing(enum sort sort, const struct wire_out *head, struct slice name,
                      struct slice args)
{
    uint64_t h = hash_bytes(wire_out_slice(head), (uint64_t)sort);
    h = hash_bytes(name, h);
    return hash_bytes(args, h);
}

uint64_t meta_digest_binding(const struct meta_binding *b)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, b->source->xid);
    wire_put_u64(&w, meta_binding_destination(b));
    wire_put_u8(&w, b->to_exchange);
    return thing(SORT_BINDING, &w, meta_binding_key(b), meta_binding_args(b));
}

uint64_t meta_digest_exchange(const struct meta_exchange_def *d)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, d->xid);
    wire_put_u64(&w, d->vhost_id);
    wire_put_u8(&w, (uint8_t)d->type);
    wire_put_u8(&w, (uint8_t)(d->durable | d->auto_delete << 1 | d->internal << 2));
    return thing(SORT_EXCHANGE, &w, meta_exchange_name(d), meta_exchange_args(d));
}

/* Not the shard: that is a node's own affair. */
static uint64_t queue_digest(const struct meta_queue *q, uint16_t node, uint64_t epoch)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, q->qid);
    wire_put_u64(&w, q->vhost_id);
    wire_put_u64(&w, q->owner);
    wire_put_u64(&w, epoch);
    wire_put_u16(&w, node);
    wire_put_u8(&w, (uint8_t)(q->durable | q->auto_delete << 1));
    return thing(SORT_QUEUE, &w, meta_queue_name(q), meta_queue_args(q));
}

uint64_t meta_digest_queue(const struct meta_queue *q)
{
    return queue_digest(q, q->node, q->epoch);
}

/* ---- placements: see meta_cohort.h ---- */

static uint64_t sorted(enum sort sort, uint64_t value)
{
    return hash_u64(value + hash_u64((uint64_t)sort));
}

uint64_t meta_digest_of_qid(uint64_t qid)
{
    return sorted(SORT_PLACED, qid);
}

uint64_t meta_digest_of_epoch(uint64_t epoch)
{
    return sorted(SORT_EPOCH, epoch);
}

uint64_t meta_digest_of_ver(uint64_t ver)
{
    return sorted(SORT_VER, ver);
}

uint64_t meta_digest_of_record(uint8_t flags, unsigned count, const struct meta_replica *replicas)
{
    uint64_t h = sorted(SORT_RECORD, flags + ((uint64_t)count << 8));
    for (unsigned i = 0; i < count; i++) {
        h = hash_u64(h ^ replicas[i].left);
        h = hash_u64(h ^ (replicas[i].node | (uint64_t)replicas[i].inc << 16));
    }
    return h;
}

uint64_t meta_digest_placed(const struct meta_version *v, const struct meta_queue *q)
{
    const struct meta_placed *p = meta_placed_get(v, q->qid);
    if (p == NULL)
        return 0;
    const struct meta_cohort *c = meta_cohort_get(v, p->cohort);
    return meta_digest_of_qid(q->qid) * (meta_digest_of_record(c->flags, c->count, c->replicas) +
                                         meta_digest_of_epoch(meta_placed_epoch(p, c)) +
                                         meta_digest_of_ver(meta_placed_ver(p, c)));
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

uint64_t meta_digest_user(const struct meta_user *u)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, (uint64_t)u->max_connections);
    wire_put_u64(&w, (uint64_t)u->max_channels);
    wire_put_u8(&w, (uint8_t)u->hashing);
    return WORDS(SORT_USER, u->user_id, wire_out_slice(&w), u->name, u->hash, u->tags);
}

uint64_t meta_digest_parameter(const struct meta_parameter *p)
{
    return WORDS(SORT_PARAMETER, p->vhost_id, p->component, p->name, p->value);
}

uint64_t meta_digest_permission(const struct meta_permission *p)
{
    return WORDS(SORT_PERMISSION, p->vhost_id, p->user, p->configure.text, p->write.text,
                 p->read.text);
}

uint64_t meta_digest_topic_permission(const struct meta_topic_permission *p)
{
    return WORDS(SORT_TOPIC_PERMISSION, p->vhost_id, p->user, p->exchange, p->write.text,
                 p->read.text);
}

uint64_t meta_digest_policy(const struct meta_policy *p)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, (uint64_t)p->priority);
    wire_put_u8(&w, (uint8_t)p->apply_to);
    return WORDS(p->is_operator ? SORT_OPERATOR_POLICY : SORT_POLICY, p->vhost_id,
                 wire_out_slice(&w), p->name, p->pattern.text, p->definition);
}

/* Its limits are those of a parameter. */
uint64_t meta_digest_vhost(const struct meta_vhost *vh)
{
    return WORDS(SORT_VHOST, vh->vhost_id + vh->tracing * (UINT64_C(1) << 63), meta_vhost_name(vh),
                 vh->description, vh->tags, vh->default_queue_type);
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
    wire_put_u16(&w, n->mirrors);
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

/* ---- at hand ---- */

/* What is in no map: there is little of it. */
static uint64_t rest_digest(const struct meta_version *v)
{
    uint8_t room[HEAD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u64(&w, v->last_id);
    wire_put_u16(&w, v->last_node);
    wire_put_u8(&w, v->is_frozen);
    uint64_t sum =
        WORDS(SORT_WHOLE, 0, wire_out_slice(&w), slice_of(v->cluster_id, sizeof v->cluster_id));
    for (size_t i = 0; i < meta_node_count(v); i++)
        sum += node_digest(meta_node_at(v, i));
    for (size_t i = 0; i < meta_origin_count(v); i++)
        sum += origin_digest(meta_origin_at(v, i));
    return sum;
}

uint64_t meta_version_checksum(const struct meta_version *v)
{
    return v->things + rest_digest(v);
}

uint64_t meta_checksum(const struct meta *meta)
{
    return meta_version_checksum(&meta->draft);
}

/* ---- by looking at everything ---- */

/* What is wanted of all there is. */
struct walk {
    const struct meta_version *version;
    uint64_t sum;
    bool shown; /* with what follows from it, too */
};

static bool add_binding(void *arg, const struct meta_binding *b)
{
    struct walk *w = arg;
    w->sum += meta_digest_binding(b);
    return true;
}

static void add_exchange(struct walk *w, const struct meta_exchange *x)
{
    w->sum += meta_digest_exchange(x->def);
    meta_bindings_from(x, add_binding, w);
    if (w->shown)
        w->sum += WORDS(SORT_SHOWN, x->def->xid + (x->binding_count << 32),
                        x->alternate.ptr != NULL ? x->alternate : slice_str("none"));
}

#define ADD_ALL(w, map, type, digest_of)                                                           \
    do {                                                                                           \
        struct pmap_iter at;                                                                       \
        pmap_iter(&at, (map));                                                                     \
        for (const type *item; (item = pmap_next(&at)) != NULL;)                                   \
            (w)->sum += digest_of(item);                                                           \
    } while (0)

static void add_order(struct walk *w, const struct meta_policy_order *o)
{
    for (size_t i = 0; o != NULL && i < o->count; i++)
        w->sum += hash_u64(meta_digest_policy(o->policies[i]) + i);
}

static void add_vhost(struct walk *w, const struct meta_vhost *vh)
{
    w->sum += meta_digest_vhost(vh);
    ADD_ALL(w, &vh->permissions, struct meta_permission, meta_digest_permission);
    ADD_ALL(w, &vh->topic_permissions, struct meta_topic_permission, meta_digest_topic_permission);
    ADD_ALL(w, &vh->policies, struct meta_policy, meta_digest_policy);
    ADD_ALL(w, &vh->operator_policies, struct meta_policy, meta_digest_policy);
    ADD_ALL(w, &vh->parameters, struct meta_parameter, meta_digest_parameter);
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    for (const struct meta_exchange *x; (x = pmap_next(&it)) != NULL;)
        add_exchange(w, x);
    pmap_iter(&it, &vh->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        w->sum += meta_digest_queue(q) + meta_digest_placed(w->version, q);
    if (!w->shown)
        return;
    w->sum += hash_u64((uint64_t)vh->max_connections + hash_u64((uint64_t)vh->max_queues));
    add_order(w, vh->policy_order);
    add_order(w, vh->operator_order);
}

static uint64_t walk(const struct meta_version *v, struct walk w)
{
    w.version = v;
    struct pmap_iter it;
    pmap_iter(&it, &v->vhosts);
    for (const void *vh; (vh = pmap_next(&it)) != NULL;)
        add_vhost(&w, vh);
    ADD_ALL(&w, &v->users, struct meta_user, meta_digest_user);
    ADD_ALL(&w, &v->global_parameters, struct meta_parameter, meta_digest_parameter);
    return w.sum;
}

uint64_t meta_checksum_walk(const struct meta *meta)
{
    return walk(&meta->draft, (struct walk){ 0 }) + rest_digest(&meta->draft);
}

uint64_t meta_digest(const struct meta *meta)
{
    return walk(&meta->draft, (struct walk){ .shown = true }) + rest_digest(&meta->draft);
}
