/* How the things in the maps are hashed and told apart. */
#include "base/hash.h"
#include "cluster/meta_cohort.h"
#include "cluster/meta_state.h"

uint64_t meta_hash_name(const struct pmap_kind *kind, struct slice name)
{
    return hash_bytes(name, kind->seed);
}

uint64_t meta_hash_id(const struct pmap_kind *kind, uint64_t id)
{
    return hash_u64(id ^ kind->seed);
}

static uint64_t hash_of_id(uint64_t id, uint64_t seed)
{
    return hash_u64(id ^ seed);
}

static struct slice key_slice(const void *key)
{
    return *(const struct slice *)key;
}

static uint64_t key_id(const void *key)
{
    return *(const uint64_t *)key;
}

/* ---- vhosts ---- */

static struct slice vhost_name(const void *item)
{
    return meta_vhost_name(item);
}

static uint64_t vhost_id(const void *item)
{
    return ((const struct meta_vhost *)item)->vhost_id;
}

/* ---- exchanges ---- */

static struct slice exchange_name(const void *item)
{
    return meta_exchange_name(((const struct meta_exchange *)item)->def);
}

/* ---- queues ---- */

static struct slice queue_name(const void *item)
{
    return meta_queue_name(item);
}

static uint64_t queue_id(const void *item)
{
    return ((const struct meta_queue *)item)->qid;
}

/* ---- bindings ---- */

struct meta_binding_id meta_binding_id(const struct meta_binding *b)
{
    return (struct meta_binding_id){ b->source->xid, meta_binding_destination(b),
                                     meta_binding_key(b), meta_binding_args(b) };
}

uint64_t meta_hash_binding(const struct pmap_kind *kind, const struct meta_binding_id *id)
{
    uint64_t ends = hash_u64(id->source ^ kind->seed) + id->destination;
    uint64_t h = hash_bytes(id->key, hash_u64(ends));
    return id->args.len != 0 ? hash_bytes(id->args, h) : h;
}

static uint64_t binding_hash(const void *item, uint64_t seed)
{
    struct meta_binding_id id = meta_binding_id(item);
    return meta_hash_binding(&(struct pmap_kind){ .seed = seed }, &id);
}

static bool binding_is(const void *item, const void *key)
{
    struct meta_binding_id a = meta_binding_id(item);
    const struct meta_binding_id *b = key;
    return a.source == b->source && a.destination == b->destination && slice_eq(a.key, b->key) &&
           slice_eq(a.args, b->args);
}

static bool binding_same(const void *item, const void *other)
{
    struct meta_binding_id id = meta_binding_id(other);
    return binding_is(item, &id);
}

/* ---- bindings or sets of them ---- */

static struct slice routing_key(const void *item)
{
    const struct meta_binding_set *set = item;
    return meta_is_set(item) ? slice_of(set->key, set->key_bytes) : meta_binding_key(item);
}

static uint64_t destination_id(const void *item)
{
    const struct meta_binding_set *set = item;
    return meta_is_set(item) ? set->id : meta_binding_destination(item);
}

static uint64_t owner_conn(const void *item)
{
    return ((const struct meta_owner *)item)->conn;
}

static uint64_t home_node(const void *item)
{
    return ((const struct meta_home *)item)->node;
}

static uint64_t placed_qid(const void *item)
{
    return ((const struct meta_placed *)item)->queue->qid;
}

static uint64_t cohort_id(const void *item)
{
    return ((const struct meta_cohort *)item)->id;
}

/* ---- users, policies, parameters ---- */

static struct slice user_name(const void *item)
{
    return ((const struct meta_user *)item)->name;
}

static struct slice permission_user(const void *item)
{
    return ((const struct meta_permission *)item)->user;
}

static struct slice policy_name(const void *item)
{
    return ((const struct meta_policy *)item)->name;
}

static struct meta_pair topic_permission_pair(const void *item)
{
    const struct meta_topic_permission *p = item;
    return (struct meta_pair){ p->user, p->exchange };
}

static struct meta_pair parameter_pair(const void *item)
{
    const struct meta_parameter *p = item;
    return (struct meta_pair){ p->component, p->name };
}

static uint64_t hash_of_pair(struct meta_pair pair, uint64_t seed)
{
    return hash_bytes(pair.second, hash_bytes(pair.first, seed));
}

uint64_t meta_hash_pair(const struct pmap_kind *kind, const struct meta_pair *pair)
{
    return hash_of_pair(*pair, kind->seed);
}

static bool pairs_eq(struct meta_pair a, struct meta_pair b)
{
    return slice_eq(a.first, b.first) && slice_eq(a.second, b.second);
}

/* The three functions of a kind that goes by name, and of one that goes by number. */
#define KIND_BY_NAME(name_of)                                                                      \
    static uint64_t name_of##_hash(const void *item, uint64_t seed)                                \
    {                                                                                              \
        return hash_bytes(name_of(item), seed);                                                    \
    }                                                                                              \
    static bool name_of##_is(const void *item, const void *key)                                    \
    {                                                                                              \
        return slice_eq(name_of(item), key_slice(key));                                            \
    }                                                                                              \
    static bool name_of##_same(const void *item, const void *other)                                \
    {                                                                                              \
        return slice_eq(name_of(item), name_of(other));                                            \
    }

#define KIND_BY_ID(id_of)                                                                          \
    static uint64_t id_of##_hash(const void *item, uint64_t seed)                                  \
    {                                                                                              \
        return hash_of_id(id_of(item), seed);                                                      \
    }                                                                                              \
    static bool id_of##_is(const void *item, const void *key)                                      \
    {                                                                                              \
        return id_of(item) == key_id(key);                                                         \
    }                                                                                              \
    static bool id_of##_same(const void *item, const void *other)                                  \
    {                                                                                              \
        return id_of(item) == id_of(other);                                                        \
    }

#define KIND_BY_PAIR(pair_of)                                                                      \
    static uint64_t pair_of##_hash(const void *item, uint64_t seed)                                \
    {                                                                                              \
        return hash_of_pair(pair_of(item), seed);                                                  \
    }                                                                                              \
    static bool pair_of##_is(const void *item, const void *key)                                    \
    {                                                                                              \
        return pairs_eq(pair_of(item), *(const struct meta_pair *)key);                            \
    }                                                                                              \
    static bool pair_of##_same(const void *item, const void *other)                                \
    {                                                                                              \
        return pairs_eq(pair_of(item), pair_of(other));                                            \
    }

KIND_BY_NAME(vhost_name)
KIND_BY_NAME(exchange_name)
KIND_BY_NAME(queue_name)
KIND_BY_NAME(routing_key)
KIND_BY_NAME(user_name)
KIND_BY_NAME(permission_user)
KIND_BY_NAME(policy_name)
KIND_BY_PAIR(topic_permission_pair)
KIND_BY_PAIR(parameter_pair)
KIND_BY_ID(vhost_id)
KIND_BY_ID(queue_id)
KIND_BY_ID(destination_id)
KIND_BY_ID(owner_conn)
KIND_BY_ID(home_node)
KIND_BY_ID(placed_qid)
KIND_BY_ID(cohort_id)

#define KIND(of, seed)                                                                             \
    (struct pmap_kind)                                                                             \
    {                                                                                              \
        of##_hash, of##_is, of##_same, (seed)                                                      \
    }

void meta_kinds_init(struct meta_kinds *k, uint64_t seed)
{
    k->vhosts_by_name = KIND(vhost_name, seed);
    k->vhosts = KIND(vhost_id, seed);
    k->exchanges = KIND(exchange_name, seed);
    k->queue_names = KIND(queue_name, seed);
    k->queues = KIND(queue_id, seed);
    k->bindings = KIND(binding, seed);
    k->by_key = KIND(routing_key, seed);
    k->destinations = KIND(destination_id, seed);
    k->owners = KIND(owner_conn, seed);
    k->homes = KIND(home_node, seed);
    k->placed = KIND(placed_qid, seed);
    k->cohorts = KIND(cohort_id, seed);
    k->records = (struct pmap_kind){ meta_record_hash, meta_record_is, meta_record_same, seed };
    k->users = KIND(user_name, seed);
    k->permissions = KIND(permission_user, seed);
    k->topic_permissions = KIND(topic_permission_pair, seed);
    k->policies = KIND(policy_name, seed);
    k->parameters = KIND(parameter_pair, seed);
    topic_kinds_init(&k->topic, seed, &k->bindings);
}
