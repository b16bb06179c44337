#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "cluster/meta_state.h"
#include "model/consistent_hash.h"
#include "model/headers.h"

#define ARGS_FEW 512u

/* ---- what a command names ---- */

struct ends {
    const struct meta_exchange *source;
    const struct meta_queue *queue;
    const struct meta_exchange *exchange; /* if it goes to one */
    uint64_t destination;                 /* 0 if it is not there */
};

static struct ends ends_of(const struct meta_version *v, const struct meta_vhost *vh,
                           const struct meta_cmd *cmd)
{
    struct ends e = { .source = meta_exchange_find(v, vh, cmd->bind.source) };
    if (cmd->bind.to_exchange)
        e.exchange = meta_exchange_find(v, vh, cmd->bind.destination);
    else
        e.queue = meta_queue_find(v, vh, cmd->bind.destination);
    if (e.exchange != NULL)
        e.destination = e.exchange->def->xid;
    else if (e.queue != NULL)
        e.destination = e.queue->qid;
    return e;
}

/* The arguments in the order of their names: by that, and not by how they were sent, two bindings
 * are told apart. */
struct sorted_args {
    struct slice args;
    uint8_t *more;
    uint8_t few[ARGS_FEW];
};

static void args_sort(struct sorted_args *s, struct slice args)
{
    s->more = args.len > sizeof s->few ? mem_alloc(args.len) : NULL;
    uint8_t *room = s->more != NULL ? s->more : s->few;
    headers_sort_table(args, room);
    s->args = slice_of(room, args.len);
}

static const struct meta_binding *find(const struct meta_version *v, const struct meta_exchange *x,
                                       const struct meta_binding_id *id)
{
    const struct meta_kinds *k = v->kinds;
    uint64_t hash = meta_hash_binding(&k->bindings, id);
    switch (x->def->type) {
    case META_TOPIC:
        return topic_get(x->topic, &k->topic, id->key, hash, id);
    case META_DIRECT: {
        const void *at =
            pmap_get(&x->by_key, &k->by_key, meta_hash_name(&k->by_key, id->key), &id->key);
        if (at == NULL)
            return NULL;
        if (!meta_is_set(at))
            return k->bindings.is(at, id) ? at : NULL;
        return pmap_get(&((const struct meta_binding_set *)at)->bindings, &k->bindings, hash, id);
    }
    case META_FANOUT:
    case META_HEADERS:
    case META_CONSISTENT_HASH:
        return pmap_get(&x->all, &k->bindings, hash, id);
    }
    UNREACHABLE("exchange type");
}

/* The binding that a BIND or UNBIND names, or NULL. */
static const struct meta_binding *find_named(const struct meta_version *v, const struct ends *e,
                                             const struct meta_cmd *cmd)
{
    if (e->source == NULL || e->destination == 0)
        return NULL;
    struct sorted_args sorted;
    args_sort(&sorted, cmd->bind.args);
    struct meta_binding_id id = { e->source->def->xid, e->destination, cmd->bind.key, sorted.args };
    const struct meta_binding *b = find(v, e->source, &id);
    mem_free(sorted.more);
    return b;
}

/* ---- checks ---- */

static bool ends_are_there(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                           const struct ends *e, struct meta_refusal *why)
{
    if (e->source == NULL)
        return meta_no_exchange(vh, cmd->bind.source, why);
    if (e->destination != 0)
        return true;
    return cmd->bind.to_exchange ? meta_no_exchange(vh, cmd->bind.destination, why)
                                 : meta_no_queue(vh, cmd->bind.destination, why);
}

static bool is_x_match(const struct amqp_field *f)
{
    static const char *const known[] = { "all", "any", "all-with-x", "any-with-x" };
    struct slice value;
    for (unsigned i = 0; i < ARRAY_COUNT(known); i++)
        if (amqp_field_as_longstr(f, &value) && slice_is(value, known[i]))
            return true;
    return false;
}

/* The binding key of a consistent-hash exchange is the destination's weight. */
static bool weight_suits(struct slice key, struct meta_refusal *why)
{
    double weight;
    if (consistent_hash_weight(key, &weight)) {
        if (weight >= 1)
            return true;
        struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
        text_str(&t, "The binding key must be greater than 0");
        return false;
    }
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_str(&t, "The binding key must be an integer: <<");
    if (key.len != 0)
        meta_put_quoted(&t, key);
    text_str(&t, ">>");
    return false;
}

static bool args_suit(const struct meta_exchange *x, struct slice args, struct meta_refusal *why)
{
    struct amqp_field f;
    if (x->def->type != META_HEADERS || !amqp_table_find(args, "x-match", &f) || is_x_match(&f))
        return true;
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    if (f.type == AMQP_FIELD_LONGSTR) {
        text_str(&t, "Invalid x-match field value <<");
        if (f.bytes.len != 0)
            meta_put_quoted(&t, f.bytes);
        text_str(&t, ">>; expected all, any, all-with-x, or any-with-x");
        return false;
    }
    text_put(&t, "Invalid x-match field type %s (value ", amqp_field_type_name(f.type));
    if (f.type == AMQP_FIELD_BINARY) {
        text_str(&t, "<<");
        meta_put_quoted(&t, f.bytes);
        text_str(&t, ">>");
    } else {
        amqp_field_text(&f, &t);
    }
    text_str(&t, "); expected longstr");
    return false;
}

static bool default_exchange_is_left_alone(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (cmd->bind.source.len != 0 && (!cmd->bind.to_exchange || cmd->bind.destination.len != 0))
        return true;
    struct text t = meta_refuse(why, AMQP_ACCESS_REFUSED);
    text_str(&t, "operation not permitted on the default exchange");
    return false;
}

static bool destination_is_open(const struct meta_version *v, const struct ends *e,
                                const struct meta_cmd *cmd, struct meta_refusal *why)
{
    return e->queue == NULL || cmd->conn == 0 || meta_queue_is_open_to(v, e->queue, cmd->conn, why);
}

/* Nobody is asked about a binding whose queue cannot be. */
static bool destination_is_at_hand(const struct meta_version *v, const struct ends *e,
                                   struct meta_refusal *why)
{
    return e->queue == NULL || meta_queue_is_at_hand(v, e->queue, why);
}

enum meta_verdict meta_binding_check(const struct meta_version *v, const struct meta_vhost *vh,
                                     const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_refusal *why = &out->refusal;
    if (!default_exchange_is_left_alone(cmd, why))
        return META_REFUSED;
    struct ends e = ends_of(v, vh, cmd);
    if (cmd->op == META_BIND) {
        if (!ends_are_there(vh, cmd, &e, why) || !destination_is_at_hand(v, &e, why) ||
            !args_suit(e.source, cmd->bind.args, why) ||
            (e.source->def->type == META_CONSISTENT_HASH && !weight_suits(cmd->bind.key, why)) ||
            !destination_is_open(v, &e, cmd, why))
            return META_REFUSED;
        return find_named(v, &e, cmd) != NULL ? META_DONE : META_CHANGE;
    }
    if (!destination_is_at_hand(v, &e, why))
        return META_REFUSED;
    /* To take away what is not there is done already, whoever asks. */
    if (find_named(v, &e, cmd) == NULL)
        return META_DONE;
    return destination_is_open(v, &e, cmd, why) ? META_CHANGE : META_REFUSED;
}

/* ---- a binding, or a set of them ---- */

static size_t set_bytes(const struct meta_binding_set *s)
{
    return sizeof *s + s->key_bytes;
}

static struct meta_binding_set *set_make(struct meta *m, uint64_t id, struct slice key)
{
    struct meta_binding_set *s = pmap_edit_alloc(&m->edit, sizeof *s + key.len);
    *s = (struct meta_binding_set){
        .is_set = true, .key_bytes = (uint8_t)key.len, .tag = m->edit.tag, .id = id
    };
    if (key.len != 0)
        memcpy(s->key, key.ptr, key.len);
    return s;
}

/* A place in a map where all bindings of one key, or to one destination, are found. */
struct place {
    struct pmap *map;
    const struct pmap_kind *kind;
    uint64_t hash;
    const void *key; /* as `kind` has it: a slice or an id */
    uint64_t id;
    struct slice name;
};

static struct place place_of_destination(struct meta *m, const uint64_t *id)
{
    const struct pmap_kind *kind = &m->kinds.destinations;
    return (struct place){ &m->draft.destinations, kind, meta_hash_id(kind, *id), id, *id, { 0 } };
}

static struct place place_of_key(struct meta *m, struct meta_exchange *x, const struct slice *key)
{
    const struct pmap_kind *kind = &m->kinds.by_key;
    return (struct place){ &x->by_key, kind, meta_hash_name(kind, *key), key, 0, *key };
}

static struct meta_binding_set *set_own(struct meta *m, const struct place *at,
                                        const struct meta_binding_set *set)
{
    if (set->tag == m->edit.tag)
        return (struct meta_binding_set *)(uintptr_t)set;
    struct meta_binding_set *copy = pmap_edit_alloc(&m->edit, set_bytes(set));
    memcpy(copy, set, set_bytes(set));
    copy->tag = m->edit.tag;
    pmap_set(at->map, at->kind, &m->edit, copy);
    pmap_edit_drop(&m->edit, set, set_bytes(set), set->tag);
    return copy;
}

static void place_add(struct meta *m, const struct place *at, const struct meta_binding *b)
{
    const void *there = pmap_get(at->map, at->kind, at->hash, at->key);
    if (there == NULL) {
        pmap_set(at->map, at->kind, &m->edit, b);
        return;
    }
    struct meta_binding_set *set;
    if (meta_is_set(there)) {
        set = set_own(m, at, there);
    } else {
        set = set_make(m, at->id, at->name);
        pmap_set(&set->bindings, &m->kinds.bindings, &m->edit, there);
        pmap_set(at->map, at->kind, &m->edit, set);
    }
    const void *old = pmap_set(&set->bindings, &m->kinds.bindings, &m->edit, b);
    CHECK(old == NULL);
}

static void place_remove(struct meta *m, const struct place *at, const struct meta_binding *b)
{
    const void *there = pmap_get(at->map, at->kind, at->hash, at->key);
    CHECK(there != NULL);
    if (!meta_is_set(there)) {
        const void *gone = pmap_del(at->map, at->kind, &m->edit, at->hash, at->key);
        CHECK(gone == b);
        return;
    }
    struct meta_binding_set *set = set_own(m, at, there);
    struct meta_binding_id id = meta_binding_id(b);
    const void *gone = pmap_del(&set->bindings, &m->kinds.bindings, &m->edit,
                                meta_hash_binding(&m->kinds.bindings, &id), &id);
    CHECK(gone == b);
    if (set->bindings.count != 1)
        return;
    struct pmap_iter it;
    pmap_iter(&it, &set->bindings);
    pmap_set(at->map, at->kind, &m->edit, pmap_next(&it)); /* the last one needs no set */
    pmap_edit_drop(&m->edit, set, set_bytes(set), set->tag);
}

/* ---- where an exchange keeps its bindings ---- */

static void source_add(struct meta *m, struct meta_exchange *x, const struct meta_binding *b)
{
    struct slice key = meta_binding_key(b);
    struct place at;
    switch (x->def->type) {
    case META_DIRECT:
        at = place_of_key(m, x, &key);
        place_add(m, &at, b);
        break;
    case META_TOPIC:
        topic_add(&x->topic, &m->kinds.topic, &m->edit, key, b);
        break;
    case META_FANOUT:
    case META_HEADERS:
    case META_CONSISTENT_HASH:
        pmap_set(&x->all, &m->kinds.bindings, &m->edit, b);
        break;
    }
    x->binding_count++;
}

static void source_remove(struct meta *m, struct meta_exchange *x, const struct meta_binding *b)
{
    struct meta_binding_id id = meta_binding_id(b);
    uint64_t hash = meta_hash_binding(&m->kinds.bindings, &id);
    const void *gone = b;
    struct place at;
    switch (x->def->type) {
    case META_DIRECT:
        at = place_of_key(m, x, &id.key);
        place_remove(m, &at, b);
        break;
    case META_TOPIC:
        gone = topic_del(&x->topic, &m->kinds.topic, &m->edit, id.key, hash, &id);
        break;
    case META_FANOUT:
    case META_HEADERS:
    case META_CONSISTENT_HASH:
        gone = pmap_del(&x->all, &m->kinds.bindings, &m->edit, hash, &id);
        break;
    }
    CHECK(gone == b);
    x->binding_count--;
}

/* ---- changes ---- */

static const struct meta_binding *binding_make(struct meta *m, const struct ends *e,
                                               const struct meta_cmd *cmd)
{
    struct slice key = cmd->bind.key;
    struct slice args = cmd->bind.args;
    CHECK(key.len <= META_NAME_MAX && args.len <= UINT32_MAX);
    struct meta_binding *b = pmap_edit_alloc(&m->edit, sizeof *b + key.len + args.len);
    *b = (struct meta_binding){
        .to_exchange = cmd->bind.to_exchange,
        .key_bytes = (uint8_t)key.len,
        .args_bytes = (uint32_t)args.len,
        .source = e->source->def,
    };
    if (b->to_exchange)
        b->exchange = e->exchange->def;
    else
        b->queue = e->queue;
    if (key.len != 0)
        memcpy(b->bytes, key.ptr, key.len);
    headers_sort_table(args, b->bytes + key.len);
    return b;
}

static void binding_drop(struct meta *m, const struct meta_binding *b)
{
    if (!MUTATION(META_SUM_FORGETS))
        m->draft.things -= meta_digest_binding(b);
    pmap_edit_drop(&m->edit, b, sizeof *b + b->key_bytes + b->args_bytes, 0);
    m->binding_count--;
    m->routes_changed = true;
}

static void bind(struct meta *m, const struct meta_cmd *cmd)
{
    struct ends e = ends_of(&m->draft, meta_vhost_get(&m->draft, cmd->vhost_id), cmd);
    const struct meta_binding *b = binding_make(m, &e, cmd);
    uint64_t id = e.destination;
    struct place at = place_of_destination(m, &id);
    source_add(m, meta_exchange_own(m, b->source), b);
    place_add(m, &at, b);
    m->draft.things += meta_digest_binding(b);
    m->binding_count++;
    m->routes_changed = true;
}

/* Exchanges that may have to go because their last binding did. */
struct orphans {
    const struct meta_exchange_def **defs;
    size_t count;
    size_t cap;
};

static void orphan_push(struct orphans *o, const struct meta_exchange_def *d)
{
    if (o->count == o->cap) {
        o->cap = o->cap != 0 ? o->cap * 2 : 8;
        o->defs = mem_realloc(o->defs, o->cap * sizeof(const struct meta_exchange_def *));
    }
    o->defs[o->count++] = d;
}

static void unbind_at_source(struct meta *m, const struct meta_binding *b, struct orphans *o)
{
    struct meta_exchange *x = meta_exchange_own(m, b->source);
    CHECK(x != NULL);
    source_remove(m, x, b);
    if (x->def->auto_delete && x->binding_count == 0)
        orphan_push(o, x->def);
    binding_drop(m, b);
}

/* Detach the whole set from the destinations, then each binding from its source. */
static void unbind_all_to(struct meta *m, uint64_t id, struct orphans *o)
{
    struct place at = place_of_destination(m, &id);
    const void *there = pmap_del(at.map, at.kind, &m->edit, at.hash, at.key);
    if (there == NULL)
        return;
    if (!meta_is_set(there)) {
        unbind_at_source(m, there, o);
        return;
    }
    const struct meta_binding_set *set = there;
    struct pmap bindings = set->bindings;
    struct pmap_iter it;
    pmap_iter(&it, &bindings);
    for (const void *b; (b = pmap_next(&it)) != NULL;)
        unbind_at_source(m, b, o); /* never touches `bindings` */
    pmap_clear(&bindings, &m->edit);
    pmap_edit_drop(&m->edit, set, set_bytes(set), set->tag);
}

/* One after the other, not by recursion: a chain of exchanges may be as long as somebody likes. */
static void delete_orphans(struct meta *m, struct orphans *o)
{
    if (m->replays)
        o->count = 0; /* those that went have a command of their own */
    for (size_t i = 0; i < o->count; i++) {
        const struct meta_exchange_def *d = o->defs[i];
        const struct meta_exchange *x = meta_exchange_own(m, d);
        if (x == NULL)
            continue; /* it was found twice */
        uint64_t xid = d->xid;
        meta_exchange_delete(m, x);
        unbind_all_to(m, xid, o);
    }
    mem_free(o->defs);
}

static void unbind(struct meta *m, const struct meta_cmd *cmd)
{
    struct ends e = ends_of(&m->draft, meta_vhost_get(&m->draft, cmd->vhost_id), cmd);
    const struct meta_binding *b = find_named(&m->draft, &e, cmd);
    CHECK(b != NULL);
    struct orphans o = { 0 };
    uint64_t id = meta_binding_destination(b);
    struct place at = place_of_destination(m, &id);
    place_remove(m, &at, b);
    unbind_at_source(m, b, &o);
    delete_orphans(m, &o);
}

void meta_binding_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    (void)out;
    if (cmd->op == META_BIND)
        bind(m, cmd);
    else
        unbind(m, cmd);
}

void meta_unbind_destination(struct meta *m, uint64_t id)
{
    struct orphans o = { 0 };
    unbind_all_to(m, id, &o);
    delete_orphans(m, &o);
}

static bool unbind_at_destination(void *arg, const struct meta_binding *b)
{
    struct meta *m = arg;
    uint64_t id = meta_binding_destination(b);
    struct place at = place_of_destination(m, &id);
    place_remove(m, &at, b);
    binding_drop(m, b);
    return true;
}

/* Let go of the set, if it is one, and not of the bindings. */
static void set_drop(struct meta *m, const void *binding_or_set)
{
    if (!meta_is_set(binding_or_set))
        return;
    const struct meta_binding_set *set = binding_or_set;
    struct pmap bindings = set->bindings;
    pmap_clear(&bindings, &m->edit);
    pmap_edit_drop(&m->edit, set, set_bytes(set), set->tag);
}

static void clear_sets(struct meta *m, struct pmap *map)
{
    struct pmap_iter it;
    pmap_iter(&it, map);
    for (const void *at; (at = pmap_next(&it)) != NULL;)
        set_drop(m, at);
    pmap_clear(map, &m->edit);
}

/* Let go of the maps; the bindings in them have been dropped. */
static void clear_source(struct meta *m, struct meta_exchange *x)
{
    switch (x->def->type) {
    case META_DIRECT:
        clear_sets(m, &x->by_key);
        break;
    case META_TOPIC:
        topic_clear(&x->topic, &m->edit);
        break;
    case META_FANOUT:
    case META_HEADERS:
    case META_CONSISTENT_HASH:
        pmap_clear(&x->all, &m->edit);
        break;
    }
    x->binding_count = 0;
}

void meta_unbind_source(struct meta *m, struct meta_exchange *x)
{
    meta_bindings_from(x, unbind_at_destination, m);
    clear_source(m, x);
}

static bool just_drop(void *arg, const struct meta_binding *b)
{
    binding_drop(arg, b);
    return true;
}

void meta_bindings_drop(struct meta *m, struct meta_exchange *x)
{
    meta_bindings_from(x, just_drop, m);
    clear_source(m, x);
}

void meta_destinations_drop(struct meta *m)
{
    clear_sets(m, &m->draft.destinations);
}

void meta_destination_drop(struct meta *m, uint64_t id)
{
    struct place at = place_of_destination(m, &id);
    const void *there = pmap_del(at.map, at.kind, &m->edit, at.hash, at.key);
    if (there != NULL)
        set_drop(m, there);
}
