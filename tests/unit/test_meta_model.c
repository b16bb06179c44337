/*
 * Random commands, in a cluster and without one, against the simplest model there is: arrays, and
 * every question answered by looking at all of them. Beside it two machines with different hash
 * seeds and different publications, which must agree with each other in everything that a command
 * decides.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "io/epoch.h"
#include "meta_nodes.h"
#include "model/exchange.h"
#include "naive_topic.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#define XS          6
#define QS          12
#define CONNS       3u
#define NODES       3u
#define BINDS_MAX   4096
#define NO_EXCHANGE (-1)

static const char *const x_names[XS] = { "x0", "x1", "x2", "x3", "x4", "x5" };
static const char *const q_names[QS] = { "q0", "q1", "q2", "q3", "q4",  "q5",
                                         "q6", "q7", "q8", "q9", "q10", "q11" };
static const char *const keys[] = { "",    "a",   "b",   "a.b", "a.b.c", "*",     "#",
                                    "a.*", "*.b", "a.#", "#.b", "#.#",   "a.*.#", "*.*.c" };

struct model_exchange {
    bool exists;
    bool auto_delete;
    enum meta_exchange_type type;
    int alternate;
};

struct model_queue {
    bool exists;
    uint64_t owner;
    bool durable;
    unsigned node;
};

struct model_node {
    bool is_up;
    uint32_t inc;
};

struct model_binding {
    int source;
    bool to_exchange;
    int destination;
    unsigned key;
};

struct model {
    struct model_exchange xs[XS];
    struct model_queue qs[QS];
    bool has_nodes; /* else all is on the first, which is up */
    struct model_node nodes[NODES + 1];
    struct model_binding binds[BINDS_MAX];
    size_t bind_count;
};

/* ---- the model ---- */

static size_t count_from(const struct model *m, int x)
{
    size_t n = 0;
    for (size_t i = 0; i < m->bind_count; i++)
        n += m->binds[i].source == x;
    return n;
}

static void model_unbind_at(struct model *m, size_t i);

static void model_delete_exchange(struct model *m, int x)
{
    m->xs[x].exists = false;
    for (size_t i = m->bind_count; i-- > 0;)
        if (m->binds[i].source == x)
            m->binds[i] = m->binds[--m->bind_count];
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < m->bind_count && !again; i++) {
            again = m->binds[i].to_exchange && m->binds[i].destination == x;
            if (again)
                model_unbind_at(m, i);
        }
    }
}

static void model_unbind_at(struct model *m, size_t i)
{
    int source = m->binds[i].source;
    m->binds[i] = m->binds[--m->bind_count];
    if (m->xs[source].exists && m->xs[source].auto_delete && count_from(m, source) == 0)
        model_delete_exchange(m, source);
}

static void model_delete_queue(struct model *m, int q)
{
    m->qs[q].exists = false;
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < m->bind_count && !again; i++) {
            again = !m->binds[i].to_exchange && m->binds[i].destination == q;
            if (again)
                model_unbind_at(m, i);
        }
    }
}

static bool is_served(const struct model *m, const struct model_queue *q)
{
    return !q->exists || m->nodes[q->node].is_up;
}

/* The one with the fewest queues of those that are up, the first of equals; 0: none is. */
static unsigned model_place(const struct model *m)
{
    unsigned best = 0, fewest = UINT_MAX;
    for (unsigned n = 1; n <= (m->has_nodes ? NODES : 1); n++) {
        unsigned count = 0;
        for (int q = 0; q < QS; q++)
            count += m->qs[q].exists && m->qs[q].node == n;
        if (!m->nodes[n].is_up || count >= fewest)
            continue;
        best = n;
        fewest = count;
    }
    return best;
}

static void model_lose_node(struct model *m, unsigned node)
{
    for (int q = 0; q < QS; q++)
        if (m->qs[q].exists && m->qs[q].node == node && !m->qs[q].durable)
            model_delete_queue(m, q);
}

static int model_find(const struct model *m, struct model_binding b)
{
    for (size_t i = 0; i < m->bind_count; i++)
        if (m->binds[i].source == b.source && m->binds[i].to_exchange == b.to_exchange &&
            m->binds[i].destination == b.destination && m->binds[i].key == b.key)
            return (int)i;
    return -1;
}

static bool model_matches(const struct model *m, const struct model_binding *b, const char *key)
{
    switch (m->xs[b->source].type) {
    case META_DIRECT:
        return strcmp(keys[b->key], key) == 0;
    case META_TOPIC:
        return naive_match(keys[b->key], key);
    case META_FANOUT:
    case META_HEADERS:         /* nobody gives arguments here */
    case META_CONSISTENT_HASH: /* nor makes one of these */
        return true;
    }
    return false;
}

/* The machines take themselves for the first node, and that for up. */
static bool is_shown_served(const struct model *m, const struct model_queue *q)
{
    return q->node == 1 || is_served(m, q);
}

static void model_route(const struct model *m, int x, const char *key, bool seen[XS], bool out[QS])
{
    if (x == NO_EXCHANGE || !m->xs[x].exists || seen[x])
        return;
    seen[x] = true;
    bool matched = false;
    for (size_t i = 0; i < m->bind_count; i++) {
        const struct model_binding *b = &m->binds[i];
        if (b->source != x || !model_matches(m, b, key) ||
            (!b->to_exchange && !is_shown_served(m, &m->qs[b->destination])))
            continue;
        matched = true;
        if (b->to_exchange)
            model_route(m, b->destination, key, seen, out);
        else
            out[b->destination] = true;
    }
    if (!matched)
        model_route(m, m->xs[x].alternate, key, seen, out);
}

/* ---- the same to the model and to the machines ---- */

struct pairing {
    struct model model;
    struct world a;
    struct world b;
    struct rng r;
    size_t step;
};

static int some(struct pairing *p, int count)
{
    return (int)rng_below(&p->r, (uint64_t)count);
}

/* Of three connections, each on a node of its own. */
static uint64_t some_conn(struct pairing *p)
{
    unsigned conn = 1 + (unsigned)some(p, CONNS);
    return id_make((uint16_t)(p->model.has_nodes ? 1 + conn % NODES : 1), 0, conn);
}

/* Machine a publishes each time; b now and then. Both must come to the same. */
static enum meta_verdict both(struct pairing *p, struct meta_cmd cmd, uint64_t conn)
{
    p->a.conn = conn;
    enum meta_verdict va = world_do(&p->a, cmd);
    cmd.vhost_id = p->b.vhost;
    cmd.conn = conn;
    enum meta_verdict vb = meta_apply(p->b.meta, &cmd, &p->b.r);
    if (p->step % 7 == 0)
        meta_publish(p->b.meta);
    cr_assert(va == vb);
    cr_assert(eq(u64, p->a.r.id, p->b.r.id));
    cr_assert(eq(sz, p->a.r.effect_count, p->b.r.effect_count));
    for (size_t i = 0; i < p->a.r.effect_count; i++)
        cr_assert(p->a.r.effects[i].qid == p->b.r.effects[i].qid &&
                  p->a.r.effects[i].kind == p->b.r.effects[i].kind);
    return va;
}

static void do_declare_exchange(struct pairing *p)
{
    int x = some(p, XS);
    struct args a;
    struct model_exchange want = { true, some(p, 2) != 0, (enum meta_exchange_type)some(p, 4),
                                   some(p, 2) != 0 ? some(p, XS) : NO_EXCHANGE };
    struct meta_cmd c = x_declare(x_names[x], meta_exchange_type_name(want.type));
    c.exchange_declare.auto_delete = want.auto_delete;
    if (want.alternate != NO_EXCHANGE)
        c.exchange_declare.args = args_str(&a, "alternate-exchange", x_names[want.alternate]);
    struct model_exchange *have = &p->model.xs[x];
    bool ok = !have->exists || (have->auto_delete == want.auto_delete && have->type == want.type &&
                                have->alternate == want.alternate);
    cr_assert(both(p, c, 1) == (ok ? META_DONE : META_REFUSED));
    if (ok)
        *have = want;
}

static void do_delete_exchange(struct pairing *p)
{
    int x = some(p, XS);
    bool if_unused = some(p, 2) != 0;
    bool ok = !if_unused || count_from(&p->model, x) == 0;
    cr_assert(both(p, x_delete(x_names[x], if_unused), 1) == (ok ? META_DONE : META_REFUSED));
    if (ok && p->model.xs[x].exists)
        model_delete_exchange(&p->model, x);
}

static void do_declare_queue(struct pairing *p)
{
    int q = some(p, QS);
    uint64_t conn = some_conn(p);
    struct meta_cmd c = q_declare(q_names[q]);
    c.queue_declare.exclusive = some(p, 3) == 0;
    c.queue_declare.durable = some(p, 2) == 0 && !c.queue_declare.exclusive;
    struct model_queue want = { true, c.queue_declare.exclusive ? conn : 0, c.queue_declare.durable,
                                0 };
    struct model_queue *have = &p->model.qs[q];
    want.node = want.owner != 0 ? node_of_id(conn) : model_place(&p->model);
    bool ok = have->exists ? is_served(&p->model, have) && have->owner == want.owner &&
                                 have->durable == want.durable
                           : want.node != 0;
    cr_assert(both(p, c, conn) == (ok ? META_DONE : META_REFUSED));
    if (ok && !have->exists)
        *have = want;
}

static void do_delete_queue(struct pairing *p)
{
    int q = some(p, QS);
    uint64_t conn = some_conn(p);
    struct model_queue *have = &p->model.qs[q];
    bool ok =
        !have->exists || ((have->owner == 0 || have->owner == conn) && is_served(&p->model, have));
    cr_assert(both(p, q_delete(q_names[q]), conn) == (ok ? META_DONE : META_REFUSED));
    if (ok && have->exists)
        model_delete_queue(&p->model, q);
}

static void do_bind(struct pairing *p, enum meta_op op)
{
    struct model *m = &p->model;
    struct model_binding b = { some(p, XS), some(p, 4) == 0, 0, 0 };
    b.destination = some(p, b.to_exchange ? XS : QS);
    b.key = (unsigned)some(p, ARRAY_COUNT(keys));
    uint64_t conn = some_conn(p);
    const struct model_queue *q = b.to_exchange ? NULL : &m->qs[b.destination];
    bool there = b.to_exchange ? m->xs[b.destination].exists : q->exists;
    bool open = q == NULL || q->owner == 0 || q->owner == conn;
    bool served = q == NULL || is_served(m, q);
    int at = model_find(m, b);
    bool ok = op == META_BIND ? m->xs[b.source].exists && there && open : at < 0 || open;
    ok = ok && served;
    const char *to = b.to_exchange ? x_names[b.destination] : q_names[b.destination];
    struct meta_cmd c = bind_cmd(op, x_names[b.source], keys[b.key], to, b.to_exchange);
    cr_assert(both(p, c, conn) == (ok ? META_DONE : META_REFUSED));
    if (ok && op == META_BIND && at < 0) {
        cr_assert(lt(sz, m->bind_count, BINDS_MAX));
        m->binds[m->bind_count++] = b;
    }
    if (ok && op == META_UNBIND && at >= 0)
        model_unbind_at(m, (size_t)at);
}

static void do_owner_gone(struct pairing *p)
{
    uint64_t conn = some_conn(p);
    cr_assert(both(p, (struct meta_cmd){ .op = META_OWNER_GONE }, conn) == META_DONE);
    for (int q = 0; q < QS; q++)
        if (p->model.qs[q].exists && p->model.qs[q].owner == conn)
            model_delete_queue(&p->model, q);
}

static void start_anew(struct model *m, unsigned node)
{
    bool another = false;
    for (unsigned n = 1; n <= NODES; n++)
        another = another || (n != node && m->nodes[n].is_up);
    model_lose_node(m, node);
    for (int x = 0; x < XS; x++)
        if (!another && m->xs[x].exists)
            model_delete_exchange(m, x); /* none of them is durable */
    m->nodes[node].inc++;
    m->nodes[node].is_up = true;
}

static void do_node(struct pairing *p)
{
    unsigned node = 1 + (unsigned)some(p, NODES);
    struct model_node *n = &p->model.nodes[node];
    int what = some(p, 4);
    enum meta_op op = what == 0 ? META_NODE_DOWN : META_NODE_UP;
    cr_assert(both(p, node_cmd(op, node, n->inc + (what == 1)), 1) == META_DONE);
    if (what == 1)
        start_anew(&p->model, node);
    else if (what == 0 && n->is_up)
        model_lose_node(&p->model, node);
    if (what != 1)
        n->is_up = what != 0;
}

static void do_something(struct pairing *p)
{
    uint64_t dice = rng_below(&p->r, 100);
    if (p->model.has_nodes && some(p, 40) == 0)
        do_node(p);
    if (dice < 12)
        do_declare_exchange(p);
    else if (dice < 14)
        do_delete_exchange(p);
    else if (dice < 30)
        do_declare_queue(p);
    else if (dice < 34)
        do_delete_queue(p);
    else if (dice < 80)
        do_bind(p, META_BIND);
    else if (dice < 99)
        do_bind(p, META_UNBIND);
    else
        do_owner_gone(p);
}

static bool sum_binding(void *arg, const struct meta_binding *b)
{
    uint64_t *sum = arg;
    sum[0]++;
    sum[1] += (uintptr_t)b;
    return true;
}

/* Every binding is found from both of its ends. */
static void compare(struct pairing *p, struct world *w)
{
    uint64_t from[2] = { 0 }, into[2] = { 0 };
    for (int x = 0; x < XS; x++) {
        const struct meta_exchange *found = exchange_now(w, x_names[x]);
        cr_assert(eq(int, found != NULL, p->model.xs[x].exists));
        if (found == NULL)
            continue;
        cr_assert(eq(u64, found->binding_count, count_from(&p->model, x)));
        meta_bindings_from(found, sum_binding, from);
        meta_bindings_to(now(w), found->def->xid, sum_binding, into);
    }
    for (int q = 0; q < QS; q++) {
        const struct meta_queue *found = queue_now(w, q_names[q]);
        cr_assert(eq(int, found != NULL, p->model.qs[q].exists));
        if (found == NULL)
            continue;
        cr_assert(meta_queue_get(now(w), found->qid) == found);
        cr_assert(eq(u64, found->owner, p->model.qs[q].owner));
        cr_assert(eq(uint, found->node, p->model.qs[q].node));
        meta_bindings_to(now(w), found->qid, sum_binding, into);
    }
    cr_assert(eq(u64, from[0], p->model.bind_count));
    cr_assert(eq(u64, from[0], into[0]));
    cr_assert(eq(u64, from[1], into[1]));
    cr_assert(eq(u64, meta_stats(w->meta).binding_count, p->model.bind_count));
}

static void compare_routes(struct pairing *p, struct world *w, struct route_out *out)
{
    int x = some(p, XS);
    const char *key = keys[some(p, 5)]; /* those without wildcards */
    bool seen[XS] = { false }, want[QS] = { false };
    model_route(&p->model, x, key, seen, want);
    struct route_in in = { .vhost_id = w->vhost, .exchange = S(x_names[x]), .key = S(key) };
    struct meta_refusal why;
    if (!exchange_route(now(w), &in, out, &why)) {
        cr_assert(not(p->model.xs[x].exists));
        return;
    }
    size_t wanted = 0;
    for (int q = 0; q < QS; q++)
        wanted += want[q];
    cr_assert(eq(sz, out->count, wanted), "%s with '%s'", x_names[x], key);
    for (size_t i = 0; i < out->count; i++) {
        struct slice name = meta_queue_name(out->queues[i]);
        int q = 0;
        while (!slice_is(name, q_names[q]))
            q++;
        cr_assert(want[q], "%s with '%s' to %s", x_names[x], key, q_names[q]);
        want[q] = false;
    }
}

static void begin_cluster(struct pairing *p)
{
    world_nodes(&p->a, NODES);
    world_nodes(&p->b, NODES);
    for (unsigned n = 1; n <= NODES; n++)
        p->model.nodes[n] = (struct model_node){ true, 1 };
}

static void run(uint64_t seed, size_t steps)
{
    struct pairing *p = mem_zalloc(sizeof *p);
    struct route_out out;
    route_out_init(&out);
    rng_init(&p->r, seed);
    world_init(&p->a, seed * 2);
    world_init(&p->b, seed * 2 + 1);
    p->model.has_nodes = seed % 2 == 0;
    p->model.nodes[1].is_up = true;
    if (p->model.has_nodes)
        begin_cluster(p);
    for (p->step = 0; p->step < steps; p->step++) {
        do_something(p);
        compare_routes(p, &p->a, &out);
        if (p->step % 50 != 0)
            continue;
        compare(p, &p->a);
        meta_publish(p->b.meta);
        compare(p, &p->b);
        cr_assert(eq(u64, meta_digest(p->a.meta), meta_digest(p->b.meta)));
        cr_assert(eq(u64, meta_stats(p->a.meta).blocks > 0, 1));
    }
    route_out_fini(&out);
    world_fini(&p->a); /* these check that not a block was lost */
    world_fini(&p->b);
    mem_free(p);
}

Test(meta_model, agrees_with_the_model_and_with_itself, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        run(seed, 3000);
}

Test(meta_model, has_a_digest_that_sees_every_change)
{
    struct world a, b;
    world_init(&a, 1);
    world_init(&b, 2);
    cr_expect(eq(u64, meta_digest(a.meta), meta_digest(b.meta)));
    must(&a, q_declare("q"));
    cr_expect(ne(u64, meta_digest(a.meta), meta_digest(b.meta)));
    struct meta_cmd c = q_declare("q");
    c.queue_declare.auto_delete = true;
    must(&b, c);
    cr_expect(ne(u64, meta_digest(a.meta), meta_digest(b.meta)));
    must(&a, q_delete("q"));
    must(&b, q_delete("q"));
    cr_expect(eq(u64, meta_digest(a.meta), meta_digest(b.meta)));
    must(&a, q_declare("q"));
    must(&b, q_declare("q"));
    uint64_t same = meta_digest(a.meta);
    cr_expect(eq(u64, same, meta_digest(b.meta)));
    must(&a, q_bind("amq.topic", "k", "q"));
    must(&b, q_bind("amq.topic", "l", "q"));
    cr_expect(ne(u64, meta_digest(a.meta), meta_digest(b.meta)));
    must(&a, q_unbind("amq.topic", "k", "q"));
    cr_expect(eq(u64, meta_digest(a.meta), same));
    world_fini(&a);
    world_fini(&b);
}

/* Of two declarations that differ in one thing, both digests differ from each other. */
Test(meta_model, has_a_digest_that_sees_every_property)
{
    struct args args;
    struct meta_cmd plain = q_declare("q"), durable = plain, automatic = plain, exclusive = plain,
                    with_args = plain, x = x_declare("q", "direct"), inner = x;
    durable.queue_declare.durable = true;
    automatic.queue_declare.auto_delete = true;
    exclusive.queue_declare.exclusive = true;
    with_args.queue_declare.args = args_int(&args, "x-max-length", 5);
    inner.exchange_declare.internal = true;
    const struct meta_cmd cmds[] = { plain,     durable,   automatic,
                                     exclusive, exclusive, with_args,
                                     x,         inner,     x_declare("q", "topic") };
    uint64_t digests[ARRAY_COUNT(cmds)];
    for (size_t i = 0; i < ARRAY_COUNT(cmds); i++) {
        struct world w;
        world_init(&w, i);
        w.conn = 1 + i; /* the same exclusive queue, of another connection */
        must(&w, cmds[i]);
        digests[i] = meta_digest(w.meta);
        for (size_t j = 0; j < i; j++)
            cr_expect(ne(u64, digests[i], digests[j]), "%zu and %zu", i, j);
        world_fini(&w);
    }
}

/* A reader that comes after something was retired must not find it any more. */
struct order {
    struct meta *meta;
    uint64_t number; /* of the version that is to be shown by now */
    size_t retired;
};

static void check_order(void *arg, void *ptr, void (*free_fn)(void *))
{
    struct order *o = arg;
    o->retired++;
    cr_expect(eq(u64, meta_current(o->meta)->number, o->number));
    free_fn(ptr);
}

Test(meta_model, retires_only_what_is_no_longer_shown)
{
    struct order o = { 0 };
    struct meta_setup setup = { .shard_count = 1, .retire = check_order, .retire_arg = &o };
    struct meta_result r;
    o.meta = meta_new(&setup);
    meta_result_init(&r);
    for (uint64_t i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "v%d", (int)i);
        cr_assert(meta_apply(o.meta, &(struct meta_cmd){ .op = META_VHOST_ADD, .name = S(name) },
                             &r) == META_DONE);
        o.number = meta_current(o.meta)->number + 1;
        meta_publish(o.meta);
    }
    cr_expect(ge(sz, o.retired, 5));
    meta_result_fini(&r);
    meta_free(&o.meta);
}

/* ---- readers beside the writer, with the grace periods of the daemons ---- */

#define READERS 2
#define ROUNDS  400

struct shared {
    struct meta *meta;
    struct epoch *epoch;
    uint64_t vhost;
    atomic_bool done;
    atomic_uint_least64_t readers;
    atomic_uint_least64_t routed;
    atomic_uint_least64_t bad;
};

static void shared_retire(void *arg, void *ptr, void (*free_fn)(void *))
{
    epoch_retire(((struct shared *)arg)->epoch, ptr, free_fn);
}

/* A queue that a route names is there, in the same version, under its name and its id. */
static void read_once(struct shared *s, struct rng *r, struct route_out *out)
{
    static const char *const exchanges[] = { "amq.direct", "amq.fanout", "amq.topic", "x0" };
    const struct meta_version *v = meta_current(s->meta);
    struct meta_refusal why;
    struct route_in in = { .vhost_id = s->vhost,
                           .exchange = S(exchanges[rng_below(r, 4)]),
                           .key = S(keys[rng_below(r, 5)]) };
    if (!exchange_route(v, &in, out, &why))
        return;
    const struct meta_vhost *vh = meta_vhost_get(v, s->vhost);
    for (size_t i = 0; i < out->count; i++) {
        const struct meta_queue *q = out->queues[i];
        if (meta_queue_get(v, q->qid) != q || meta_queue_find(v, vh, meta_queue_name(q)) != q)
            atomic_fetch_add(&s->bad, 1);
    }
    atomic_fetch_add(&s->routed, 1);
}

static void *reader_run(void *arg)
{
    struct shared *s = arg;
    struct epoch_reader *me = epoch_join(s->epoch);
    struct route_out out;
    struct rng r;
    route_out_init(&out);
    rng_init(&r, atomic_fetch_add(&s->readers, 1));
    while (!atomic_load(&s->done)) {
        epoch_online(s->epoch, me);
        for (int i = 0; i < 20; i++)
            read_once(s, &r, &out);
        epoch_offline(me);
    }
    route_out_fini(&out);
    epoch_leave(s->epoch, &me);
    return NULL;
}

static void write_once(struct shared *s, struct rng *r, struct meta_result *res)
{
    static const char *const exchanges[] = { "amq.direct", "amq.fanout", "amq.topic", "x0" };
    const char *q = q_names[rng_below(r, QS)];
    struct meta_cmd c;
    switch (rng_below(r, 8)) {
    case 0:
        c = q_delete(q);
        break;
    case 1:
    case 2:
        c = q_declare(q);
        break;
    case 3:
        c = rng_chance(r, 300) ? x_delete("x0", false) : x_declare("x0", "topic");
        break;
    case 4:
        c = q_unbind(exchanges[rng_below(r, 4)], keys[rng_below(r, 14)], q);
        break;
    default:
        c = q_bind(exchanges[rng_below(r, 4)], keys[rng_below(r, 14)], q);
        break;
    }
    c.vhost_id = s->vhost;
    meta_apply(s->meta, &c, res);
}

Test(meta_model, is_read_while_it_changes, .timeout = 300)
{
    struct shared s = { .epoch = epoch_new() };
    struct meta_setup setup = {
        .hash_seed = 5, .shard_count = 2, .retire = shared_retire, .retire_arg = &s
    };
    struct meta_result res;
    s.meta = meta_new(&setup);
    meta_result_init(&res);
    meta_apply(s.meta, &(struct meta_cmd){ .op = META_VHOST_ADD, .name = S("/") }, &res);
    s.vhost = res.id;
    meta_publish(s.meta);

    pthread_t threads[READERS];
    for (size_t i = 0; i < READERS; i++)
        cr_assert(eq(int, pthread_create(&threads[i], NULL, reader_run, &s), 0));
    struct rng r;
    rng_init(&r, 77);
    for (uint64_t round = 0; round < ROUNDS || atomic_load(&s.routed) < 2000; round++) {
        for (int i = 0; i < 10; i++)
            write_once(&s, &r, &res);
        meta_publish(s.meta);
        epoch_reclaim(s.epoch);
    }
    atomic_store(&s.done, true);
    for (size_t i = 0; i < READERS; i++)
        cr_assert(eq(int, pthread_join(threads[i], NULL), 0));
    cr_expect(eq(u64, atomic_load(&s.bad), 0));
    meta_result_fini(&res);
    meta_free(&s.meta);
    epoch_free(&s.epoch);
}
