/*
 * Random commands on vhosts, users, permissions and policies against arrays, beside two machines
 * with different hash seeds, which must agree; and readers beside the writer.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "io/epoch.h"
#include "meta_world.h"

#include <pthread.h>
#include <stdatomic.h>

#define VHOSTS   2
#define USERS    4
#define XS       3
#define POLICIES 5
#define QS       4
#define ANY_TEXT 6

static const char *const vhost_names[VHOSTS] = { "/", "v" };
static const char *const user_names[USERS] = { "u0", "u1", "u2", "u3" };
static const char *const x_names[XS] = { "", "x1", "x2" };
static const char *const policy_names[POLICIES] = { "p0", "p1", "p2", "p3", "p4" };
static const char *const q_names[QS] = { "a", "ab", "b1", "c" };
static const char *const texts[ANY_TEXT] = { "", ".*", "^a", "b", "^$", "[ab]1?$" };
static const char *const definitions[] = { "{\"expires\":5}", "{\"alternate-exchange\":\"x1\"}",
                                           "{\"delivery-limit\":3,\"max-length\":1}",
                                           "{\"ha-mode\":\"all\"}" };

/* What each of `texts` finds in each of `q_names`. */
static const bool finds[ANY_TEXT][QS] = {
    { true, true, true, true },   { true, true, true, true },     { true, true, false, false },
    { false, true, true, false }, { false, false, false, false }, { true, true, true, false },
};

struct rights {
    bool exists;
    int configure, write, read; /* of `texts` */
};

struct topic_rights {
    bool exists;
    int write, read;
};

struct policy {
    bool exists;
    int64_t priority;
    int pattern, definition;
    enum meta_apply_to to;
};

struct model_vhost {
    bool exists;
    int64_t max_queues;
    struct rights rights[USERS];
    struct topic_rights topic[USERS][XS];
    struct policy policies[2][POLICIES]; /* the second: operators' */
};

struct model {
    bool users[USERS];
    struct model_vhost vhosts[VHOSTS];
};

struct pairing {
    struct model model;
    struct world a, b;
    struct rng r;
    size_t step;
};

static int some(struct pairing *p, int count)
{
    return (int)rng_below(&p->r, (uint64_t)count);
}

static uint64_t vhost_id(const struct world *w, int v)
{
    const struct meta_vhost *vh = meta_vhost_find(now(w), S(vhost_names[v]));
    return vh != NULL ? vh->vhost_id : 0;
}

static void both(struct pairing *p, int v, struct meta_cmd cmd, bool ok)
{
    p->a.vhost = vhost_id(&p->a, v);
    enum meta_verdict va = world_do(&p->a, cmd);
    cmd.vhost_id = p->a.vhost;
    cmd.conn = 1;
    enum meta_verdict vb = meta_apply(p->b.meta, &cmd, &p->b.r);
    if (p->step % 5 == 0)
        meta_publish(p->b.meta);
    cr_assert(va == vb);
    cr_assert(eq(str, p->a.r.refusal.text, p->b.r.refusal.text));
    cr_assert(va == (ok ? META_DONE : META_REFUSED), "op %d: %s", (int)cmd.op, p->a.r.refusal.text);
    cr_assert(eq(u64, p->a.r.id, p->b.r.id));
    cr_assert(eq(sz, p->a.r.effect_count, p->b.r.effect_count));
}

/* ---- the commands ---- */

static void do_vhost(struct pairing *p, int v)
{
    struct model_vhost *vh = &p->model.vhosts[v];
    if (some(p, 4) == 0) {
        both(p, v, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S(vhost_names[v]) }, true);
        *vh = (struct model_vhost){ .exists = false };
        return;
    }
    struct meta_cmd c = { .op = META_VHOST_PUT, .name = S(vhost_names[v]) };
    c.vhost.has_description = some(p, 2) != 0;
    c.vhost.description = S(texts[some(p, ANY_TEXT)]);
    c.vhost.has_tags = some(p, 2) != 0;
    c.vhost.tags = S(texts[some(p, ANY_TEXT)]);
    both(p, v, c, true);
    if (!vh->exists)
        *vh = (struct model_vhost){ .exists = true, .max_queues = META_NO_LIMIT };
    for (int q = 0; q < QS; q++)
        both(p, v, q_declare(q_names[q]), vh->max_queues < 0 || vh->max_queues >= QS);
}

static void do_limits(struct pairing *p, int v)
{
    struct model_vhost *vh = &p->model.vhosts[v];
    struct meta_cmd c = { .op = META_VHOST_LIMITS_PUT };
    bool limited = some(p, 2) != 0;
    c.limits.definition = S(limited ? "{\"max-queues\":9}" : "{}");
    both(p, v, c, vh->exists);
    if (vh->exists)
        vh->max_queues = limited ? 9 : META_NO_LIMIT;
}

static void do_user(struct pairing *p, int u)
{
    if (some(p, 5) != 0) {
        both(p, 0, user_put(user_names[u], texts[some(p, ANY_TEXT)], "t"), true);
        p->model.users[u] = true;
        return;
    }
    both(p, 0, user_cmd(META_USER_DELETE, user_names[u]), p->model.users[u]);
    p->model.users[u] = false;
    for (int v = 0; v < VHOSTS; v++) {
        p->model.vhosts[v].rights[u].exists = false;
        for (int x = 0; x < XS; x++)
            p->model.vhosts[v].topic[u][x].exists = false;
    }
}

static void do_permission(struct pairing *p, int v, int u)
{
    struct model_vhost *vh = &p->model.vhosts[v];
    bool ok = vh->exists && p->model.users[u];
    struct rights want = { true, some(p, ANY_TEXT), some(p, ANY_TEXT), some(p, ANY_TEXT) };
    struct meta_cmd c =
        may(user_names[u], texts[want.configure], texts[want.write], texts[want.read]);
    if (some(p, 4) == 0) {
        c.op = META_PERMISSION_CLEAR;
        want.exists = false;
    }
    both(p, v, c, ok);
    if (ok)
        vh->rights[u] = want;
}

static void do_topic_permission(struct pairing *p, int v, int u)
{
    struct model_vhost *vh = &p->model.vhosts[v];
    bool ok = vh->exists && p->model.users[u];
    int x = some(p, XS);
    struct topic_rights want = { true, some(p, ANY_TEXT), some(p, ANY_TEXT) };
    struct meta_cmd c = may_topic(user_names[u], x_names[x], texts[want.write], texts[want.read]);
    bool every = some(p, 3) == 0;
    if (some(p, 4) == 0) {
        c.op = META_TOPIC_PERMISSION_CLEAR;
        c.topic_permission.every_exchange = every;
        want.exists = false;
    }
    both(p, v, c, ok);
    for (int i = 0; ok && i < XS; i++)
        if (i == x || (every && !want.exists))
            vh->topic[u][i] = want;
}

static void do_policy(struct pairing *p, int v)
{
    struct model_vhost *vh = &p->model.vhosts[v];
    int which = some(p, POLICIES), op = some(p, 3) == 0;
    struct policy *have = &vh->policies[op][which];
    struct policy want = { true, some(p, 3) - 1, some(p, ANY_TEXT), some(p, 4),
                           (enum meta_apply_to)some(p, 3) };
    if (some(p, 4) == 0) {
        struct meta_cmd c = policy_clear(policy_names[which]);
        c.policy.is_operator = op != 0;
        both(p, v, c, vh->exists && have->exists);
        have->exists = false;
        return;
    }
    struct meta_cmd c = policy_put(policy_names[which], texts[want.pattern],
                                   definitions[op ? 0 : want.definition], want.priority);
    c.policy.apply_to = S(meta_apply_to_name(want.to));
    c.policy.is_operator = op != 0;
    if (op)
        want.definition = 0;
    both(p, v, c, vh->exists);
    if (vh->exists)
        *have = want;
}

static void do_something(struct pairing *p)
{
    int dice = some(p, 100), v = some(p, VHOSTS), u = some(p, USERS);
    if (dice < 4)
        do_vhost(p, v);
    else if (dice < 8)
        do_limits(p, v);
    else if (dice < 20)
        do_user(p, u);
    else if (dice < 45)
        do_permission(p, v, u);
    else if (dice < 65)
        do_topic_permission(p, v, u);
    else
        do_policy(p, v);
}

/* ---- what they come to ---- */

/* Every policy looked at, the best kept; among equals the first by name. */
static int best(const struct policy *list, bool for_exchange, int q)
{
    int found = -1;
    for (int i = 0; i < POLICIES; i++) {
        const struct policy *c = &list[i];
        bool suits =
            c->exists && finds[c->pattern][q] &&
            c->to != (for_exchange ? META_APPLY_QUEUES : META_APPLY_EXCHANGES) &&
            (for_exchange || c->definition != 2); /* delivery-limit: not for classic ones */
        /* A policy's empty pattern, unlike a permission's, finds everything. */
        if (suits && (found < 0 || c->priority > list[found].priority))
            found = i;
    }
    return found;
}

static void same_policy(const struct meta_policy *seen, int want)
{
    cr_assert(eq(int, seen != NULL, want >= 0));
    if (seen != NULL)
        cr_assert(slice_is(seen->name, policy_names[want]));
}

static void compare_policies(const struct world *w, const struct meta_vhost *vh,
                             const struct model_vhost *m)
{
    for (int q = 0; q < QS; q++) {
        const struct meta_queue *queue = meta_queue_find(now(w), vh, S(q_names[q]));
        cr_assert(queue != NULL);
        same_policy(meta_policy_of_queue(now(w), queue), best(m->policies[0], false, q));
        same_policy(meta_operator_policy_of_queue(now(w), queue), best(m->policies[1], false, q));
    }
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    for (const struct meta_exchange *x; (x = pmap_next(&it)) != NULL;) {
        const struct meta_policy *p = meta_policy_of_exchange(now(w), vh, x->def);
        bool has = p != NULL && meta_policy_has(&p->keys, META_KEY_ALTERNATE_EXCHANGE);
        cr_assert(eq(int, x->alternate.ptr != NULL, has));
        cr_assert(x->alternate.ptr == NULL || x->alternate.ptr == p->keys.alternate_exchange.ptr);
    }
}

static void same_pattern(const struct meta_pattern *p, int text, bool is_topic)
{
    cr_assert(slice_is(p->text, texts[text]));
    for (int q = 0; q < QS; q++) {
        bool found = texts[text][0] != '\0' && finds[text][q];
        cr_assert(eq(int, meta_pattern_matches(p, S(q_names[q])), found), "%s on %s", texts[text],
                  q_names[q]);
    }
    if (is_topic && (texts[text][0] == '\0' || strcmp(texts[text], "^$") == 0))
        cr_assert(meta_pattern_matches(p, S("")));
}

static void compare_rights(const struct world *w, const struct meta_vhost *vh,
                           const struct model_vhost *m)
{
    for (int u = 0; u < USERS; u++) {
        const struct meta_permission *p = meta_permission_find(now(w), vh, S(user_names[u]));
        cr_assert(eq(int, p != NULL, m->rights[u].exists));
        if (p != NULL) {
            same_pattern(&p->configure, m->rights[u].configure, false);
            same_pattern(&p->write, m->rights[u].write, false);
            same_pattern(&p->read, m->rights[u].read, false);
        }
        for (int x = 0; x < XS; x++) {
            const struct meta_topic_permission *t =
                meta_topic_permission_find(now(w), vh, S(user_names[u]), S(x_names[x]));
            cr_assert(eq(int, t != NULL, m->topic[u][x].exists));
            if (t == NULL)
                continue;
            same_pattern(&t->write, m->topic[u][x].write, true);
            same_pattern(&t->read, m->topic[u][x].read, true);
        }
    }
}

static void compare(struct pairing *p, const struct world *w)
{
    for (int u = 0; u < USERS; u++)
        cr_assert(eq(int, meta_user_find(now(w), S(user_names[u])) != NULL, p->model.users[u]));
    for (int v = 0; v < VHOSTS; v++) {
        const struct meta_vhost *vh = meta_vhost_find(now(w), S(vhost_names[v]));
        const struct model_vhost *m = &p->model.vhosts[v];
        cr_assert(eq(int, vh != NULL, m->exists));
        if (vh == NULL)
            continue;
        cr_assert(eq(i64, vh->max_queues, m->max_queues));
        compare_rights(w, vh, m);
        compare_policies(w, vh, m);
    }
}

static void run(uint64_t seed, size_t steps)
{
    struct pairing *p = mem_zalloc(sizeof *p);
    rng_init(&p->r, seed);
    world_init(&p->a, seed * 2);
    world_init(&p->b, seed * 2 + 1);
    p->model.vhosts[0] = (struct model_vhost){ .exists = true, .max_queues = META_NO_LIMIT };
    for (int q = 0; q < QS; q++)
        both(p, 0, q_declare(q_names[q]), true);
    for (p->step = 0; p->step < steps; p->step++) {
        do_something(p);
        if (p->step % 10 != 0)
            continue;
        meta_publish(p->b.meta);
        compare(p, &p->a);
        compare(p, &p->b);
        cr_assert(eq(u64, meta_digest(p->a.meta), meta_digest(p->b.meta)));
    }
    world_fini(&p->a); /* these check that not a block or pattern was lost */
    world_fini(&p->b);
    mem_free(p);
}

Test(meta_rights, agree_with_the_model_and_with_themselves, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        run(seed, 1000);
}

/* Of commands that differ in one thing, all digests differ from each other. */
Test(meta_rights, have_a_digest_that_sees_every_property)
{
    struct meta_cmd limit = { .op = META_VHOST_LIMITS_PUT },
                    global = { .op = META_GLOBAL_PARAMETER_PUT, .name = S("n") },
                    vhost = { .op = META_VHOST_PUT, .name = S("/") }, tags = vhost, type = vhost,
                    traced = vhost, hashing = user_put("u", "h", "t"), limited = hashing;
    limit.limits.definition = S("{\"max-queues\":5}");
    global.parameter.value = S("1");
    vhost.vhost.description = S("d");
    vhost.vhost.has_description = true;
    tags.vhost.tags = S("d");
    tags.vhost.has_tags = true;
    type.vhost.default_queue_type = S("quorum");
    type.vhost.has_default_queue_type = true;
    traced.vhost.tracing = true;
    traced.vhost.has_tracing = true;
    hashing.user.hashing = META_HASHING_MD5;
    limited.user.limits = S("{\"max-channels\":1}");
    limited.user.has_limits = true;
    const struct meta_cmd cmds[] = {
        limit,
        global,
        vhost,
        tags,
        type,
        traced,
        hashing,
        limited,
        user_put("u", "h", "t"),
        user_put("u", "ht", ""),
        user_put("u", "", "ht"),
        may("g", "a", "b", "c"),
        may("g", "b", "a", "c"),
        may("g", "ab", "", "c"),
        may_topic("g", "x", "a", "b"),
        may_topic("g", "xa", "", "b"),
        policy_put("p", "a", "{\"expires\":1}", 0),
        policy_put("p", "a", "{\"expires\":1}", 1),
        policy_put("p", "a", "{\"expires\":2}", 0),
        policy_put("pa", "", "{\"expires\":1}", 0),
        for_only(policy_put("p", "a", "{\"expires\":1}", 0), "queues"),
        operators(policy_put("p", "a", "{\"expires\":1}", 0)),
    };
    uint64_t digests[ARRAY_COUNT(cmds)];
    for (size_t i = 0; i < ARRAY_COUNT(cmds); i++) {
        struct world w;
        world_init(&w, i);
        must(&w, user_put("g", "", ""));
        must(&w, cmds[i]);
        digests[i] = meta_digest(w.meta);
        for (size_t j = 0; j < i; j++)
            cr_expect(ne(u64, digests[i], digests[j]), "%zu and %zu", i, j);
        world_fini(&w);
    }
}

/* ---- readers beside the writer ---- */

#define READERS 2
#define ROUNDS  200

struct shared {
    struct meta *meta;
    struct epoch *epoch;
    uint64_t vhost;
    atomic_bool done;
    atomic_uint_least64_t readers;
    atomic_uint_least64_t looked;
};

static void shared_retire(void *arg, void *ptr, void (*free_fn)(void *))
{
    epoch_retire(((struct shared *)arg)->epoch, ptr, free_fn);
}

static void look(struct shared *s, struct rng *r)
{
    const struct meta_version *v = meta_current(s->meta);
    const struct meta_vhost *vh = meta_vhost_get(v, s->vhost);
    const struct meta_queue *q = meta_queue_find(v, vh, S(q_names[rng_below(r, QS)]));
    const struct meta_policy *p = q != NULL ? meta_policy_of_queue(v, q) : NULL;
    struct slice user = S(user_names[rng_below(r, USERS)]);
    const struct meta_permission *m = meta_permission_find(v, vh, user);
    uint64_t sum = p != NULL ? p->definition.len + p->name.len : 0;
    if (m != NULL)
        sum += meta_pattern_matches(&m->write, S("a")) + meta_pattern_matches(&m->read, S("b1"));
    const struct meta_exchange *x = meta_exchange_find(v, vh, S("amq.direct"));
    if (x->alternate.ptr != NULL)
        sum += x->alternate.len + x->alternate.ptr[0];
    atomic_fetch_add(&s->looked, 1 + (sum & 0));
}

static void *reader_run(void *arg)
{
    struct shared *s = arg;
    struct epoch_reader *me = epoch_join(s->epoch);
    struct rng r;
    rng_init(&r, atomic_fetch_add(&s->readers, 1));
    while (!atomic_load(&s->done)) {
        epoch_online(s->epoch, me);
        for (int i = 0; i < 20; i++)
            look(s, &r);
        epoch_offline(me);
    }
    epoch_leave(s->epoch, &me);
    return NULL;
}

static void write_once(struct shared *s, struct rng *r, struct meta_result *res)
{
    struct meta_cmd c;
    const char *text = texts[rng_below(r, ANY_TEXT)];
    const char *user = user_names[rng_below(r, USERS)];
    switch (rng_below(r, 6)) {
    case 0:
        c = user_put(user, "h", "");
        break;
    case 1:
        c = rng_chance(r, 300) ? user_cmd(META_USER_DELETE, user) : may(user, text, text, text);
        break;
    case 2:
        c = may(user, "", text, text);
        break;
    case 3:
        c = policy_clear(policy_names[rng_below(r, POLICIES)]);
        break;
    default:
        c = policy_put(policy_names[rng_below(r, POLICIES)], text, definitions[rng_below(r, 4)],
                       (int64_t)rng_below(r, 3));
        break;
    }
    c.vhost_id = s->vhost;
    meta_apply(s->meta, &c, res);
}

Test(meta_rights, are_read_while_they_change, .timeout = 300)
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
    for (int q = 0; q < QS; q++) {
        struct meta_cmd c = q_declare(q_names[q]);
        c.vhost_id = s.vhost;
        meta_apply(s.meta, &c, &res);
    }
    meta_publish(s.meta);

    pthread_t threads[READERS];
    for (size_t i = 0; i < READERS; i++)
        cr_assert(eq(int, pthread_create(&threads[i], NULL, reader_run, &s), 0));
    struct rng r;
    rng_init(&r, 77);
    for (uint64_t round = 0; round < ROUNDS || atomic_load(&s.looked) < 2000; round++) {
        for (int i = 0; i < 10; i++)
            write_once(&s, &r, &res);
        meta_publish(s.meta);
        epoch_reclaim(s.epoch);
    }
    atomic_store(&s.done, true);
    for (size_t i = 0; i < READERS; i++)
        cr_assert(eq(int, pthread_join(threads[i], NULL), 0));
    meta_result_fini(&res);
    meta_free(&s.meta);
    epoch_free(&s.epoch);
}
