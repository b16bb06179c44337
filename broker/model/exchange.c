#include "model/exchange.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/mem.h"
#include "model/consistent_hash.h"
#include "model/headers.h"
#include "model/seen.h"
#include "model/topic.h"

#define HOPS_FEW 8u  /* exchanges that are told apart without a set */
#define AHEAD    16u /* bindings that are fetched together */

/* The exchanges of one route, in the order they are come to. */
struct hops {
    const struct meta_exchange **list;
    size_t count;
    size_t cap;
    struct seen seen; /* in use once there are more than a few */
};

/* What only the larger routes need. */
struct route_scratch {
    struct seen queues; /* in use once there are more than ROUTE_INLINE */
    struct hops hops;
    struct topic_walk walk;
    struct headers headers;
    bool headers_are_read;
};

struct route {
    const struct meta_version *v;
    const struct meta_vhost *vh;
    const struct route_in *in;
    struct route_out *out;
    const struct meta_exchange *x; /* whose bindings are being followed */
    struct slice key;              /* the routing key they are being followed for */
    bool has_matched;              /* x led somewhere, be it to an exchange */
    size_t left;                   /* steps that may be done yet */
    size_t queues_most;
};

void route_out_init(struct route_out *out)
{
    *out = (struct route_out){ .cap = ROUTE_INLINE };
    out->queues = out->few;
}

void route_out_fini(struct route_out *out)
{
    struct route_scratch *s = out->scratch;
    if (s != NULL) {
        seen_fini(&s->queues);
        seen_fini(&s->hops.seen);
        mem_free(s->hops.list);
        topic_walk_fini(&s->walk);
        headers_fini(&s->headers);
        mem_free(s);
    }
    if (out->queues != out->few)
        mem_free(out->queues);
    *out = (struct route_out){ .cap = 0 };
}

static struct route_scratch *scratch_of(struct route_out *out)
{
    if (out->scratch == NULL) {
        out->scratch = mem_zalloc(sizeof *out->scratch);
        seen_init(&out->scratch->queues);
        seen_init(&out->scratch->hops.seen);
        topic_walk_init(&out->scratch->walk);
        headers_init(&out->scratch->headers);
    }
    return out->scratch;
}

/* ---- queues, each once ---- */

static void out_grow(struct route_out *out)
{
    size_t cap = out->cap * 2;
    const struct meta_queue **more = mem_array(cap, sizeof(const struct meta_queue *));
    memcpy(more, out->queues, out->count * sizeof(const struct meta_queue *));
    if (out->queues != out->few)
        mem_free(out->queues);
    out->queues = more;
    out->cap = cap;
}

/* A few are compared one by one; from then on a set tells. */
static bool out_has(struct route_out *out, const struct meta_queue *q)
{
    if (out->count < ROUTE_INLINE) {
        for (size_t i = 0; i < out->count; i++)
            if (out->queues[i] == q)
                return true;
        return false;
    }
    struct seen *seen = &scratch_of(out)->queues;
    if (out->count == ROUTE_INLINE) {
        seen_clear(seen);
        for (size_t i = 0; i < out->count; i++)
            seen_add(seen, out->queues[i]);
    }
    return !seen_add(seen, q);
}

static void add_queue(struct route_out *out, const struct meta_queue *q)
{
    if (out_has(out, q))
        return;
    if (out->count == out->cap)
        out_grow(out);
    out->queues[out->count++] = q;
}

/* ---- exchanges, each once: that is also what ends a circle of them ---- */

static bool hops_have(struct hops *h, const struct meta_exchange *x)
{
    if (h->count < HOPS_FEW) {
        for (size_t i = 0; i < h->count; i++)
            if (h->list[i] == x)
                return true;
        return false;
    }
    if (h->count == HOPS_FEW) {
        seen_clear(&h->seen);
        for (size_t i = 0; i < h->count; i++)
            seen_add(&h->seen, h->list[i]);
    }
    return !seen_add(&h->seen, x);
}

static void add_hop(struct hops *h, const struct meta_exchange *x)
{
    if (hops_have(h, x))
        return;
    if (h->count == h->cap) {
        h->cap = h->cap != 0 ? h->cap * 2 : HOPS_FEW * 2;
        h->list = mem_realloc(h->list, h->cap * sizeof(const struct meta_exchange *));
    }
    h->list[h->count++] = x;
}

/* An alternate may be named before it is made, and stay named when it is gone. The default exchange
 * is none: nothing is bound to it that could be looked for. */
static void add_exchange(struct route *r, struct slice name)
{
    const struct meta_exchange *x = meta_exchange_find(r->v, r->vh, name);
    if (x != NULL)
        add_hop(&scratch_of(r->out)->hops, x);
}

/* ---- one exchange ---- */

/* So many steps more? No further one is done behind the first that is not. */
static bool goes_on(struct route *r, size_t steps)
{
    if (LIKELY(r->left >= steps && r->out->count <= r->queues_most)) {
        r->left -= steps;
        return true;
    }
    r->out->is_cut = true;
    r->left = 0;
    return false;
}

/* A queue without mirrors whose node is down is passed by as if it were not bound. */
static void follow_queue(struct route *r, const struct meta_queue *q)
{
    if (UNLIKELY(!meta_queue_is_reached(r->v, q)))
        return;
    r->has_matched = true;
    add_queue(r->out, q);
}

static void follow(struct route *r, const struct meta_binding *b)
{
    if (LIKELY(!b->to_exchange)) {
        follow_queue(r, b->queue);
        return;
    }
    r->has_matched = true;
    add_exchange(r, meta_exchange_name(b->exchange));
}

/* The bindings lie anywhere in memory. To ask for some of them before looking at the first hides
 * most of the wait. */
static void follow_all(struct route *r, const struct pmap *bindings)
{
    const struct meta_binding *ahead[AHEAD];
    struct pmap_iter it;
    pmap_iter(&it, bindings);
    size_t count;
    do {
        for (count = 0; count < AHEAD && (ahead[count] = pmap_next(&it)) != NULL; count++)
            __builtin_prefetch(ahead[count]);
        for (size_t i = 0; i < count; i++)
            follow(r, ahead[i]);
    } while (count == AHEAD && goes_on(r, AHEAD));
}

static void follow_direct(struct route *r)
{
    const void *at = meta_by_key(r->v, r->x, r->key);
    if (at == NULL)
        return;
    if (meta_is_set(at))
        follow_all(r, &((const struct meta_binding_set *)at)->bindings);
    else
        follow(r, at);
}

static bool on_topic_match(void *arg, const void *item)
{
    follow(arg, item);
    return goes_on(arg, 1);
}

static void follow_topic(struct route *r)
{
    struct topic_walk *w = &scratch_of(r->out)->walk;
    if (r->x->topic == NULL)
        return;
    w->most = r->in->steps_most;
    if (!topic_match(r->x->topic, meta_topic_kinds(r->v), r->key, w, on_topic_match, r))
        r->out->is_cut = true;
}

static void follow_headers(struct route *r)
{
    struct route_scratch *s = scratch_of(r->out);
    r->out->by_names = false;
    if (!s->headers_are_read)
        headers_read(&s->headers, r->in->headers);
    s->headers_are_read = true;
    struct pmap_iter it;
    pmap_iter(&it, &r->x->all);
    for (const void *b; (b = pmap_next(&it)) != NULL && goes_on(r, 1);)
        if (headers_match(meta_binding_args(b), &s->headers))
            follow(r, b);
}

static struct consistent_hash hash_of(struct route *r)
{
    const struct meta_exchange_def *d = r->x->def;
    r->out->by_names = r->out->by_names && d->hash_on == META_HASH_ON_KEY;
    switch (d->hash_on) {
    case META_HASH_ON_KEY:
        return consistent_hash_for(r->in->key);
    case META_HASH_ON_HEADER:
        return consistent_hash_for_header(r->in->headers, d->hash_name);
    case META_HASH_ON_PROPERTY:
        return consistent_hash_for_property(r->in->props, d->hash_name);
    }
    UNREACHABLE("hash on");
}

static bool is_in_reach(const struct route *r, const struct meta_binding *b)
{
    return b->to_exchange || meta_queue_is_reached(r->v, b->queue);
}

/* To one alone, the same for the same value: those of a queue whose node is down go to others
 * meanwhile. */
static void follow_hash(struct route *r)
{
    struct consistent_hash best = hash_of(r);
    const struct meta_binding *chosen = NULL;
    struct pmap_iter it;
    pmap_iter(&it, &r->x->all);
    for (const struct meta_binding *b; (b = pmap_next(&it)) != NULL && goes_on(r, 1);)
        if (is_in_reach(r, b) &&
            consistent_hash_offer(&best, meta_binding_to_name(b), meta_binding_key(b)))
            chosen = b;
    if (chosen != NULL)
        follow(r, chosen);
}

/* To the default exchange every queue is bound by its own name. */
static void follow_default(struct route *r)
{
    const struct meta_queue *q = meta_queue_find(r->v, r->vh, r->key);
    if (q != NULL)
        follow_queue(r, q);
}

static bool looks_at_keys(enum meta_exchange_type type)
{
    return type == META_DIRECT || type == META_TOPIC;
}

static void follow_key(struct route *r, struct slice key)
{
    r->key = key;
    r->out->by_key |= looks_at_keys(r->x->def->type) || r->x->def->type == META_CONSISTENT_HASH;
    switch (r->x->def->type) {
    case META_DIRECT:
        if (r->x->def->name_bytes == 0)
            follow_default(r);
        else
            follow_direct(r);
        return;
    case META_TOPIC:
        follow_topic(r);
        return;
    case META_FANOUT:
        follow_all(r, &r->x->all);
        return;
    case META_HEADERS:
        follow_headers(r);
        return;
    case META_CONSISTENT_HASH:
        follow_hash(r);
        return;
    }
    UNREACHABLE("exchange type");
}

static void follow_exchange(struct route *r, const struct meta_exchange *x)
{
    r->x = x;
    r->has_matched = false;
    follow_key(r, r->in->key);
    if (looks_at_keys(x->def->type))
        for (size_t i = 0; i < r->in->more_count; i++)
            follow_key(r, r->in->more_keys[i]);
    if (!r->has_matched && x->alternate.len != 0)
        add_exchange(r, x->alternate);
}

/* ---- the whole way ---- */

static bool is_internal(const struct meta_vhost *vh, const struct meta_exchange *x,
                        struct meta_refusal *why)
{
    why->code = AMQP_ACCESS_REFUSED;
    struct text t = text_over(why->text, sizeof why->text);
    text_str(&t, "cannot publish to internal exchange '");
    text_slice(&t, meta_exchange_name(x->def));
    text_str(&t, "' in vhost '");
    text_slice(&t, meta_vhost_name(vh));
    text_char(&t, '\'');
    return false;
}

/* Does the way end here, whatever matches: no exchange behind it, and none instead of it? */
static bool is_plain(const struct meta_exchange *x)
{
    return x->def->type == META_DIRECT && x->def->name_bytes == 0;
}

static void follow_hops(struct route *r, const struct meta_exchange *first)
{
    struct route_scratch *s = scratch_of(r->out);
    s->hops.count = 0;
    s->headers_are_read = false;
    add_hop(&s->hops, first);
    for (size_t i = 0; i < s->hops.count && goes_on(r, 1); i++)
        follow_exchange(r, s->hops.list[i]);
}

/* NULL: refused. */
static const struct meta_exchange *first_exchange(const struct meta_version *v,
                                                  const struct meta_vhost *vh, struct slice name,
                                                  bool to_internal, struct meta_refusal *why)
{
    if (UNLIKELY(vh == NULL)) {
        why->code = AMQP_NOT_ALLOWED;
        struct text t = text_over(why->text, sizeof why->text);
        text_str(&t, "vhost not found");
        return NULL;
    }
    const struct meta_exchange *x = meta_exchange_find(v, vh, name);
    if (x == NULL)
        meta_no_exchange(vh, name, why);
    else if (x->def->internal && !to_internal)
        is_internal(vh, x, why);
    else
        return x;
    return NULL;
}

bool exchange_may_publish(const struct meta_version *v, uint64_t vhost_id, struct slice exchange,
                          struct meta_refusal *why)
{
    return first_exchange(v, meta_vhost_get(v, vhost_id), exchange, false, why) != NULL;
}

bool exchange_route(const struct meta_version *v, const struct route_in *in, struct route_out *out,
                    struct meta_refusal *why)
{
    out->count = 0;
    out->by_names = true;
    out->by_key = false;
    out->is_cut = false;
    const struct meta_vhost *vh = meta_vhost_get(v, in->vhost_id);
    const struct meta_exchange *x = first_exchange(v, vh, in->exchange, in->to_internal, why);
    if (x == NULL)
        return false;
    struct route r = { .v = v,
                       .vh = vh,
                       .in = in,
                       .out = out,
                       .left = in->steps_most != 0 ? in->steps_most : SIZE_MAX,
                       .queues_most = in->queues_most != 0 ? in->queues_most : SIZE_MAX };
    if (is_plain(x))
        follow_exchange(&r, x);
    else
        follow_hops(&r, x);
    return true;
}
