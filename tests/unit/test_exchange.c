#include "model/exchange.h"

#include "base/rng.h"
#include "meta_world.h"
#include "naive_topic.h"

static struct route_in to(const struct world *w, const char *exchange, const char *key)
{
    return (struct route_in){ .vhost_id = w->vhost, .exchange = S(exchange), .key = S(key) };
}

/* The names of the queues, sorted and joined by spaces; or what was said. */
static const char *routed(const struct world *w, struct route_out *out, const struct route_in *in)
{
    static char text[2048];
    struct meta_refusal why;
    if (!exchange_route(now(w), in, out, &why)) {
        snprintf(text, sizeof text, "%d %s", why.code, why.text);
        return text;
    }
    size_t len = 0;
    text[0] = '\0';
    for (size_t done = 0; done < out->count; done++) {
        const struct meta_queue *least = NULL;
        for (size_t i = 0; i < out->count; i++) {
            const struct meta_queue *q = out->queues[i];
            if (q != NULL &&
                (least == NULL || slice_cmp(meta_queue_name(q), meta_queue_name(least)) < 0))
                least = q;
        }
        for (size_t i = 0; i < out->count; i++)
            if (out->queues[i] == least)
                out->queues[i] = NULL;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", done != 0 ? " " : "",
                                SLICE_ARG(meta_queue_name(least)));
    }
    return text;
}

static void expect(const struct world *w, const char *exchange, const char *key, const char *queues)
{
    struct route_out out;
    route_out_init(&out);
    struct route_in in = to(w, exchange, key);
    cr_expect(eq(str, (char *)(uintptr_t)routed(w, &out, &in), (char *)(uintptr_t)queues),
              "%s with %s", exchange, key);
    route_out_fini(&out);
}

static void with_queues(struct world *w, const char *letters)
{
    world_init(w, 1);
    for (; *letters != '\0'; letters++)
        must(w, q_declare((char[]){ *letters, '\0' }));
}

Test(exchange, default_goes_by_queue_name)
{
    struct world w;
    with_queues(&w, "ab");
    expect(&w, "", "a", "a");
    expect(&w, "", "b", "b");
    expect(&w, "", "c", "");
    expect(&w, "", "", "");
    must(&w, q_delete("a"));
    expect(&w, "", "a", "");
    world_fini(&w);
}

Test(exchange, direct_goes_by_routing_key)
{
    struct world w;
    with_queues(&w, "abc");
    must(&w, q_bind("amq.direct", "k", "a"));
    expect(&w, "amq.direct", "k", "a");
    must(&w, q_bind("amq.direct", "k", "b"));
    must(&w, q_bind("amq.direct", "k", "c"));
    must(&w, q_bind("amq.direct", "l", "c"));
    must(&w, q_bind("amq.direct", "", "c"));
    expect(&w, "amq.direct", "k", "a b c");
    expect(&w, "amq.direct", "l", "c");
    expect(&w, "amq.direct", "", "c");
    expect(&w, "amq.direct", "a", "");
    must(&w, q_unbind("amq.direct", "k", "b"));
    expect(&w, "amq.direct", "k", "a c");
    must(&w, q_delete("a"));
    expect(&w, "amq.direct", "k", "c");
    world_fini(&w);
}

Test(exchange, fanout_goes_everywhere_once)
{
    struct world w;
    with_queues(&w, "abc");
    expect(&w, "amq.fanout", "x", "");
    must(&w, q_bind("amq.fanout", "k", "a"));
    must(&w, q_bind("amq.fanout", "l", "a"));
    must(&w, q_bind("amq.fanout", "", "b"));
    expect(&w, "amq.fanout", "x", "a b");
    must(&w, q_unbind("amq.fanout", "k", "a"));
    expect(&w, "amq.fanout", "x", "a b");
    must(&w, q_unbind("amq.fanout", "l", "a"));
    expect(&w, "amq.fanout", "x", "b");
    world_fini(&w);
}

Test(exchange, topic_goes_by_pattern)
{
    struct world w;
    with_queues(&w, "abcd");
    expect(&w, "amq.topic", "x", "");
    must(&w, q_bind("amq.topic", "*.orange.*", "a"));
    must(&w, q_bind("amq.topic", "*.*.rabbit", "b"));
    must(&w, q_bind("amq.topic", "lazy.#", "b"));
    must(&w, q_bind("amq.topic", "#", "c"));
    expect(&w, "amq.topic", "quick.orange.rabbit", "a b c");
    expect(&w, "amq.topic", "lazy.orange.elephant", "a b c");
    expect(&w, "amq.topic", "quick.brown.fox", "c");
    expect(&w, "amq.topic", "lazy", "b c");
    must(&w, q_unbind("amq.topic", "lazy.#", "b"));
    expect(&w, "amq.topic", "lazy", "c");
    must(&w, q_delete("c"));
    expect(&w, "amq.topic", "lazy", "");
    world_fini(&w);
}

/* Names alone decide until an exchange on the way looks at the message. */
Test(exchange, says_whether_names_decided)
{
    struct world w;
    struct args a;
    with_queues(&w, "ab");
    must(&w, q_bind("amq.direct", "k", "a"));
    must(&w, x_bind("amq.fanout", "", "amq.headers"));
    must(&w, x_declare("by-key", "x-consistent-hash"));
    struct meta_cmd c = x_declare("by-header", "x-consistent-hash");
    c.exchange_declare.args = args_str(&a, "hash-header", "h");
    must(&w, c);
    must(&w, x_declare("to-all", "fanout"));
    must(&w, q_bind("to-all", "k", "a"));
    must(&w, x_declare("to-keys", "fanout"));
    must(&w, x_bind("to-keys", "", "amq.direct"));
    static const struct {
        const char *exchange;
        bool by_names, by_key;
    } rows[] = { { "", true, true },
                 { "amq.direct", true, true },
                 { "amq.topic", true, true },
                 { "by-key", true, true },
                 { "amq.fanout", false, false },
                 { "amq.headers", false, false },
                 { "by-header", false, true },
                 { "to-all", true, false },
                 { "to-keys", true, true } };
    struct route_out out;
    struct meta_refusal why;
    route_out_init(&out);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct route_in in = to(&w, rows[i].exchange, "k");
        cr_assert(exchange_route(now(&w), &in, &out, &why));
        cr_expect(eq(int, out.by_names, rows[i].by_names), "%s", rows[i].exchange);
        cr_expect(eq(int, out.by_key, rows[i].by_key), "%s", rows[i].exchange);
    }
    route_out_fini(&out);
    world_fini(&w);
}

Test(exchange, consistent_hash_goes_to_one_and_the_same)
{
    struct world w;
    with_queues(&w, "abc");
    must(&w, x_declare("ring", "x-consistent-hash"));
    expect(&w, "ring", "k", "");
    for (const char *q = "abc"; *q != '\0'; q++)
        must(&w, q_bind("ring", "10", (char[]){ *q, '\0' }));
    struct route_out out;
    route_out_init(&out);
    unsigned counts[3] = { 0 };
    for (unsigned n = 0; n < 3000; n++) {
        char key[16], first[8];
        snprintf(key, sizeof key, "%u", n);
        struct route_in in = to(&w, "ring", key);
        snprintf(first, sizeof first, "%s", routed(&w, &out, &in));
        cr_assert(eq(sz, strlen(first), 1u), "one queue");
        cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), first), "and again");
        counts[first[0] - 'a']++;
    }
    for (unsigned i = 0; i < 3; i++)
        cr_expect(ge(u32, counts[i], 800u), "queue %u", i);
    route_out_fini(&out);
    world_fini(&w);
}

Test(exchange, headers_goes_by_headers)
{
    struct world w;
    struct args a;
    with_queues(&w, "ab");
    struct meta_cmd c = q_bind("amq.headers", "", "a");
    c.bind.args = args_int(&a, "n", 1);
    must(&w, c);
    c = q_bind("amq.headers", "", "b");
    c.bind.args = args_int(&a, "n", 2);
    must(&w, c);
    must(&w, q_bind("amq.match", "k", "b"));

    struct route_out out;
    route_out_init(&out);
    struct route_in in = to(&w, "amq.headers", "x");
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), ""));
    in.headers = args_int(&a, "n", 1);
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), "a"));
    in.headers = args_int(&a, "n", 2);
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), "b"));
    in.headers = args_int(&a, "n", 3);
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), ""));
    in.exchange = S("amq.match");
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), "b"), "no argument asks nothing");
    route_out_fini(&out);
    world_fini(&w);
}

Test(exchange, refuses_what_is_not_there_and_what_is_internal)
{
    struct world w;
    with_queues(&w, "a");
    expect(&w, "nope", "k", "404 no exchange 'nope' in vhost '/'");
    expect(&w, "amq.rabbitmq.trace", "k",
           "403 cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'");
    struct meta_cmd c = x_declare("inner", "fanout");
    c.exchange_declare.internal = true;
    must(&w, c);
    must(&w, q_bind("inner", "", "a"));
    must(&w, x_bind("amq.direct", "k", "inner"));
    expect(&w, "inner", "", "403 cannot publish to internal exchange 'inner' in vhost '/'");
    expect(&w, "amq.direct", "k", "a");
    w.vhost = 999;
    struct route_out out;
    route_out_init(&out);
    struct route_in in = to(&w, "", "a");
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), "530 vhost not found"));
    route_out_fini(&out);
    world_fini(&w);
}

Test(exchange, follows_exchanges_and_their_circles_once)
{
    struct world w;
    with_queues(&w, "abc");
    must(&w, x_declare("d", "direct"));
    must(&w, x_declare("f", "fanout"));
    must(&w, x_declare("t", "topic"));
    must(&w, x_bind("d", "k", "f"));
    must(&w, x_bind("f", "", "t"));
    must(&w, x_bind("t", "#", "d"));
    must(&w, x_bind("t", "k", "t"));
    must(&w, q_bind("d", "k", "a"));
    must(&w, q_bind("f", "", "b"));
    must(&w, q_bind("t", "*", "c"));
    must(&w, q_bind("t", "k", "a"));
    expect(&w, "d", "k", "a b c");
    expect(&w, "f", "k", "a b c");
    expect(&w, "t", "k", "a b c");
    expect(&w, "f", "z.z", "b");
    expect(&w, "d", "z", "");
    world_fini(&w);
}

/* Longer than what is compared one by one. */
Test(exchange, follows_long_chains)
{
    struct world w;
    with_queues(&w, "z");
    char name[16], next[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "x%d", i);
        must(&w, x_declare(name, i % 2 != 0 ? "fanout" : "direct"));
    }
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "x%d", i);
        snprintf(next, sizeof next, "x%d", (i + 1) % 100);
        must(&w, x_bind(name, "k", next));
        snprintf(next, sizeof next, "x%d", i / 2);
        must(&w, x_bind(name, "k", next));
    }
    must(&w, q_bind("x57", "k", "z"));
    expect(&w, "x3", "k", "z");
    world_fini(&w);
}

Test(exchange, goes_to_the_alternate_when_nothing_matches)
{
    struct world w;
    struct args a;
    with_queues(&w, "abc");
    struct meta_cmd c = x_declare("main", "direct");
    c.exchange_declare.args = args_str(&a, "alternate-exchange", "spare");
    must(&w, c);
    expect(&w, "main", "k", "");
    must(&w, x_declare("spare", "fanout"));
    must(&w, q_bind("spare", "", "b"));
    must(&w, q_bind("main", "k", "a"));
    expect(&w, "main", "k", "a");
    expect(&w, "main", "z", "b");

    /* A match that leads to an exchange is a match, though that one leads nowhere. */
    must(&w, x_declare("void", "fanout"));
    must(&w, x_bind("main", "v", "void"));
    expect(&w, "main", "v", "");

    /* Alternates of alternates, and in a circle. */
    c = x_declare("one", "direct");
    c.exchange_declare.args = args_str(&a, "alternate-exchange", "two");
    must(&w, c);
    c = x_declare("two", "topic");
    c.exchange_declare.args = args_str(&a, "alternate-exchange", "one");
    must(&w, c);
    must(&w, q_bind("two", "x", "c"));
    expect(&w, "one", "x", "c");
    expect(&w, "one", "y", "");

    /* The default exchange is no alternate: RabbitMQ finds nothing bound to it. */
    c = x_declare("named", "direct");
    c.exchange_declare.args = args_str(&a, "alternate-exchange", "");
    must(&w, c);
    expect(&w, "named", "c", "");
    world_fini(&w);
}

Test(exchange, takes_further_keys)
{
    struct world w;
    with_queues(&w, "abc");
    must(&w, q_bind("amq.direct", "k", "a"));
    must(&w, q_bind("amq.direct", "l", "b"));
    must(&w, q_bind("amq.topic", "k.*", "a"));
    must(&w, q_bind("amq.topic", "#", "c"));
    struct slice more[] = { S("l"), S("b"), S("k.x") };
    struct route_out out;
    route_out_init(&out);
    struct route_in in = to(&w, "amq.direct", "k");
    in.more_keys = more;
    in.more_count = 3;
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), "a b"));
    in.exchange = S("amq.topic");
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), "a c"));
    in.exchange = S("");
    cr_expect(eq(str, (char *)(uintptr_t)routed(&w, &out, &in), "b"));
    route_out_fini(&out);
    world_fini(&w);
}

Test(exchange, tells_many_queues_apart)
{
    enum { MANY = 500 };
    struct world w;
    world_init(&w, 1);
    char name[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "q%d", i);
        must(&w, q_declare(name));
        must(&w, q_bind("amq.fanout", "", name));
        must(&w, q_bind("amq.fanout", "again", name));
        must(&w, q_bind("amq.direct", i < (int)ROUTE_INLINE ? "few" : "rest", name));
    }
    struct route_out out;
    struct meta_refusal why;
    route_out_init(&out);
    for (int round = 0; round < 3; round++) {
        struct route_in in = to(&w, "amq.fanout", "");
        cr_assert(exchange_route(now(&w), &in, &out, &why));
        cr_expect(eq(sz, out.count, MANY));
        in = to(&w, "amq.direct", "few");
        cr_assert(exchange_route(now(&w), &in, &out, &why));
        cr_expect(eq(sz, out.count, ROUTE_INLINE));
        in = to(&w, "amq.direct", "rest");
        cr_assert(exchange_route(now(&w), &in, &out, &why));
        cr_expect(eq(sz, out.count, MANY - ROUTE_INLINE));
    }
    route_out_fini(&out);
    world_fini(&w);
}

/* Is the way whole, within so many queues and steps? */
static bool is_whole(const struct world *w, struct route_out *out, const char *exchange,
                     const char *key, size_t queues_most, size_t steps_most)
{
    struct meta_refusal why;
    struct route_in in = to(w, exchange, key);
    in.queues_most = queues_most;
    in.steps_most = steps_most;
    cr_assert(exchange_route(now(w), &in, out, &why));
    return !out->is_cut;
}

Test(exchange, stops_where_more_is_of_no_use)
{
    enum { MANY = 500 };
    struct world w;
    char name[16], key[16];
    struct route_out out;
    world_init(&w, 1);
    must(&w, x_declare("hash", "x-consistent-hash"));
    must(&w, q_declare("one"));
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "q%d", i);
        snprintf(key, sizeof key, "%d", i);
        must(&w, q_declare(name));
        must(&w, q_bind("amq.fanout", "", name));
        must(&w, q_bind("amq.direct", "k", name));
        must(&w, q_bind("amq.topic", i % 2 == 0 ? "#.k" : "*", name));
        must(&w, q_bind("hash", "1", name));
        must(&w, q_bind("amq.headers", key, "one"));
    }
    route_out_init(&out);
    static const char *const all[] = { "amq.fanout", "amq.direct", "amq.topic" };
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        cr_expect(is_whole(&w, &out, all[i], "k", 0, 0), "%s", all[i]);
        cr_expect(eq(sz, out.count, MANY), "%s", all[i]);
        cr_expect(is_whole(&w, &out, all[i], "k", MANY, 2 * MANY), "%s", all[i]);
        cr_expect(is_whole(&w, &out, all[i], "k", 32, 1024) == false, "%s", all[i]);
        cr_expect(out.count <= 64, "%s: %zu", all[i], out.count);
        cr_expect(is_whole(&w, &out, all[i], "k", MANY, 100) == false, "%s", all[i]);
        cr_expect(out.count <= 128, "%s: %zu", all[i], out.count);
    }
    static const char *const one[] = { "hash", "amq.headers" };
    for (size_t i = 0; i < ARRAY_COUNT(one); i++) {
        cr_expect(is_whole(&w, &out, one[i], "k", 32, 1024), "%s", one[i]);
        cr_expect(is_whole(&w, &out, one[i], "k", 32, 100) == false, "%s", one[i]);
    }
    route_out_fini(&out);
    world_fini(&w);
}
