/* The words are what RabbitMQ 3.10.8 answered to the same commands. */
#include "meta_world.h"

#define LOCKED                                                                                     \
    "cannot obtain exclusive access to locked queue 'qx' in vhost '/'. It could be originally "    \
    "declared on another connection or the exclusive property value does not match that of the "   \
    "original declaration."

Test(meta, has_the_predeclared_exchanges)
{
    static const struct {
        const char *name;
        enum meta_exchange_type type;
    } known[] = { { "", META_DIRECT },
                  { "amq.direct", META_DIRECT },
                  { "amq.fanout", META_FANOUT },
                  { "amq.topic", META_TOPIC },
                  { "amq.match", META_HEADERS },
                  { "amq.headers", META_HEADERS },
                  { "amq.rabbitmq.trace", META_TOPIC } };
    struct world w;
    world_init(&w, 1);
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        const struct meta_exchange *x = exchange_now(&w, known[i].name);
        cr_assert(x != NULL, "%s", known[i].name);
        cr_expect(x->def->type == known[i].type);
        cr_expect(x->def->durable && !x->def->auto_delete);
        cr_expect(eq(int, x->def->internal, slice_is(S(known[i].name), "amq.rabbitmq.trace")));
    }
    cr_expect(eq(u64, meta_stats(w.meta).exchange_count, ARRAY_COUNT(known)));
    cr_expect(meta_vhost_find(now(&w), S("/")) == vhost_now(&w));
    cr_expect(meta_vhost_find(now(&w), S("other")) == NULL);
    must(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("/") });
    cr_expect(eq(u64, w.r.id, w.vhost), "to add it again finds it");
    world_fini(&w);
}

Test(meta, declares_an_exchange_once)
{
    struct world w;
    world_init(&w, 1);
    must(&w, x_declare("x1", "direct"));
    uint64_t xid = w.r.id;
    uint64_t number = now(&w)->number;
    must(&w, x_declare("x1", "direct"));
    cr_expect(eq(u64, w.r.id, xid));
    cr_expect(eq(u64, now(&w)->number, number), "nothing was changed, nothing is published");

    struct meta_cmd c = x_declare("x1", "topic");
    must_not(&w, c, 406,
             "inequivalent arg 'type' for exchange 'x1' in vhost '/': received 'topic' but "
             "current is 'direct'");
    c = x_declare("x1", "direct");
    c.exchange_declare.durable = true;
    must_not(&w, c, 406,
             "inequivalent arg 'durable' for exchange 'x1' in vhost '/': received 'true' but "
             "current is 'false'");
    c = x_declare("x1", "direct");
    c.exchange_declare.auto_delete = true;
    must_not(&w, c, 406,
             "inequivalent arg 'auto_delete' for exchange 'x1' in vhost '/': received 'true' but "
             "current is 'false'");
    c = x_declare("x1", "direct");
    c.exchange_declare.internal = true;
    must_not(&w, c, 406,
             "inequivalent arg 'internal' for exchange 'x1' in vhost '/': received 'true' but "
             "current is 'false'");
    must_not(&w, x_declare("amq.direct", "direct"), 406,
             "inequivalent arg 'durable' for exchange 'amq.direct' in vhost '/': received 'false' "
             "but current is 'true'");
    world_fini(&w);
}

Test(meta, compares_alternate_exchanges)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    must(&w, x_declare("x1", "direct"));
    struct meta_cmd c = x_declare("x1", "direct");
    c.exchange_declare.args = args_str(&a, "alternate-exchange", "foo");
    must_not(&w, c, 406,
             "inequivalent arg 'alternate-exchange' for exchange 'x1' in vhost '/': received the "
             "value 'foo' of type 'longstr' but current is none");
    c.name = S("ae");
    must(&w, c);
    cr_expect(slice_is(exchange_now(&w, "ae")->def->alternate, "foo"));
    must(&w, c);
    c.exchange_declare.args = args_str(&a, "alternate-exchange", "bar");
    must_not(&w, c, 406,
             "inequivalent arg 'alternate-exchange' for exchange 'ae' in vhost '/': received 'bar' "
             "but current is 'foo'");
    c.exchange_declare.args = args_int(&a, "alternate-exchange", 5);
    must_not(&w, c, 406,
             "inequivalent arg 'alternate-exchange' for exchange 'ae' in vhost '/': received '5' "
             "but current is 'foo'");
    must_not(&w, x_declare("ae", "direct"), 406,
             "inequivalent arg 'alternate-exchange' for exchange 'ae' in vhost '/': received none "
             "but current is the value 'foo' of type 'longstr'");
    c.name = S("ae2");
    must_not(
        &w, c, 406,
        "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'ae2' in vhost '/'");
    world_fini(&w);
}

Test(meta, refuses_exchanges_that_cannot_be)
{
    struct world w;
    world_init(&w, 1);
    const char *def = "operation not permitted on the default exchange";
    must_not(&w, x_declare("x9", "zork"), 503, "unknown exchange type 'zork'");
    must_not(&w, x_declare("amq.foo", "direct"), 403,
             "exchange name 'amq.foo' contains reserved prefix 'amq.*'");
    must_not(&w, x_declare("", "direct"), 403, def);
    must_not(&w, x_delete("", false), 403, def);
    must_not(&w, x_delete("amq.direct", false), 403,
             "deletion of system exchange 'amq.direct' in vhost '/' not allowed");
    must_not(&w, x_delete("amq.nope", false), 403,
             "deletion of system exchange 'amq.nope' in vhost '/' not allowed");
    struct meta_cmd c = x_declare("nope", "");
    c.exchange_declare.passive = true;
    must_not(&w, c, 404, "no exchange 'nope' in vhost '/'");
    c.name = S("amq.topic");
    must(&w, c);
    c.name = S("");
    must_not(&w, c, 403, def);
    must(&w, x_delete("nope", false));
    world_fini(&w);
}

Test(meta, deletes_an_exchange_with_its_bindings)
{
    struct world w;
    world_init(&w, 1);
    must(&w, x_declare("x1", "topic"));
    must(&w, x_declare("x2", "direct"));
    must(&w, q_declare("q1"));
    must(&w, q_bind("x1", "a.*", "q1"));
    must(&w, q_bind("x1", "b.#", "q1"));
    must(&w, x_bind("x2", "k", "x1"));
    must(&w, x_bind("x1", "self", "x1"));
    cr_expect(eq(u64, exchange_now(&w, "x1")->binding_count, 3));
    must_not(&w, x_delete("x1", true), 406, "exchange 'x1' in vhost '/' in use");
    must(&w, x_delete("x1", false));
    cr_expect(exchange_now(&w, "x1") == NULL);
    cr_expect(eq(u64, exchange_now(&w, "x2")->binding_count, 0));
    cr_expect(eq(u64, meta_stats(w.meta).binding_count, 0));
    cr_expect(eq(sz, bindings_to(&w, queue_now(&w, "q1")->qid), 0));
    must(&w, x_delete("x2", true));
    world_fini(&w);
}

Test(meta, declares_a_queue_once)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    cr_assert(eq(sz, w.r.effect_count, 1));
    cr_expect(w.r.effects[0].kind == META_QUEUE_CREATED);
    const struct meta_queue *q = queue_now(&w, "q1");
    cr_expect(w.r.queue == q && w.r.effects[0].queue == q && w.r.id == q->qid);
    cr_expect(w.r.effects[0].shard == q->shard && q->shard < 4);
    cr_expect(meta_queue_get(now(&w), q->qid) == q);
    must(&w, q_declare("q1"));
    cr_expect(w.r.queue == q && w.r.effect_count == 0);

    struct meta_cmd c = q_declare("q1");
    c.queue_declare.durable = true;
    must_not(&w, c, 406,
             "inequivalent arg 'durable' for queue 'q1' in vhost '/': received 'true' but current "
             "is 'false'");
    c = q_declare("q1");
    c.queue_declare.auto_delete = true;
    must_not(&w, c, 406,
             "inequivalent arg 'auto_delete' for queue 'q1' in vhost '/': received 'true' but "
             "current is 'false'");
    must_not(&w, q_declare("amq.q"), 403, "queue name 'amq.q' contains reserved prefix 'amq.*'");
    c = q_declare("amq.gen-x");
    c.queue_declare.server_named = true;
    must(&w, c);
    c = q_declare("nope");
    c.queue_declare.passive = true;
    must_not(&w, c, 404, "no queue 'nope' in vhost '/'");
    c.name = S("amq.gen-x");
    must(&w, c);
    world_fini(&w);
}

Test(meta, gives_a_queue_declared_anew_another_id)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    uint64_t first = w.r.id;
    must(&w, q_delete("q1"));
    cr_assert(eq(sz, w.r.effect_count, 1));
    cr_expect(w.r.effects[0].kind == META_QUEUE_DELETED && w.r.effects[0].qid == first);
    cr_expect(queue_now(&w, "q1") == NULL && meta_queue_get(now(&w), first) == NULL);
    must(&w, q_delete("q1"));
    cr_expect(eq(sz, w.r.effect_count, 0), "what is not there is deleted already");
    must(&w, q_declare("q1"));
    uint64_t second = w.r.id;
    cr_expect(lt(u64, first, second));

    struct meta_cmd late = { .op = META_QUEUE_DELETE, .qid = first };
    must(&w, late);
    cr_expect(queue_now(&w, "q1") != NULL, "an order to the old one does not hit the new one");
    late.qid = second;
    must(&w, late);
    cr_expect(queue_now(&w, "q1") == NULL);
    world_fini(&w);
}

Test(meta, locks_exclusive_queues_to_their_connection)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    struct meta_cmd c = q_declare("qx");
    c.queue_declare.exclusive = true;
    c.queue_declare.durable = true;
    must(&w, c);
    cr_expect(not(queue_now(&w, "qx")->durable), "it cannot outlive its connection");
    c.queue_declare.durable = false;
    must(&w, c);
    must_not(&w, q_declare("qx"), 405, LOCKED);
    must(&w, q_bind("amq.direct", "k", "qx"));

    w.conn = 2;
    must_not(&w, c, 405, LOCKED);
    must_not(&w, q_declare("qx"), 405, LOCKED);
    c.queue_declare.passive = true;
    must_not(&w, c, 405, LOCKED);
    must_not(&w, q_delete("qx"), 405, LOCKED);
    must_not(&w, q_bind("amq.direct", "k2", "qx"), 405, LOCKED);
    must_not(&w, q_unbind("amq.direct", "k", "qx"), 405, LOCKED);
    must(&w, q_unbind("amq.direct", "other", "qx"));
    struct meta_refusal why;
    cr_expect(not(meta_queue_is_open_to(now(&w), queue_now(&w, "qx"), 2, &why)));
    cr_expect(eq(str, why.text, (char *)(uintptr_t)LOCKED));
    cr_expect(meta_queue_is_open_to(now(&w), queue_now(&w, "qx"), 1, &why));
    cr_expect(meta_queue_is_open_to(now(&w), queue_now(&w, "q1"), 2, &why));

    struct meta_cmd excl = q_declare("q1");
    excl.queue_declare.exclusive = true;
    cr_expect(world_do(&w, excl) == META_REFUSED && w.r.refusal.code == 405);
    world_fini(&w);
}

Test(meta, deletes_exclusive_queues_with_their_connection)
{
    struct world w;
    world_init(&w, 1);
    uint64_t qids[3];
    const char *names[] = { "b", "a", "c" };
    must(&w, x_declare("auto", "fanout"));
    for (size_t i = 0; i < 3; i++) {
        struct meta_cmd c = q_declare(names[i]);
        c.queue_declare.exclusive = true;
        must(&w, c);
        qids[i] = w.r.id;
        must(&w, q_bind("amq.fanout", "", names[i]));
    }
    must(&w, q_declare("shared"));
    w.conn = 2;
    must(&w, (struct meta_cmd){ .op = META_OWNER_GONE });
    cr_expect(eq(sz, w.r.effect_count, 0));
    w.conn = 1;
    must(&w, (struct meta_cmd){ .op = META_OWNER_GONE });
    cr_assert(eq(sz, w.r.effect_count, 3));
    for (size_t i = 0; i < 3; i++) {
        cr_expect(w.r.effects[i].kind == META_QUEUE_DELETED && w.r.effects[i].node == 1);
        cr_expect(eq(u64, w.r.effects[i].qid, qids[i]), "the oldest first");
    }
    cr_expect(queue_now(&w, "shared") != NULL);
    cr_expect(eq(u64, exchange_now(&w, "amq.fanout")->binding_count, 0));
    must(&w, (struct meta_cmd){ .op = META_OWNER_GONE });
    cr_expect(eq(sz, w.r.effect_count, 0));
    world_fini(&w);
}

Test(meta, binds_and_unbinds)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    must(&w, x_declare("x1", "direct"));
    must(&w, q_declare("q1"));
    const char *def = "operation not permitted on the default exchange";
    must_not(&w, q_bind("nope", "k", "q1"), 404, "no exchange 'nope' in vhost '/'");
    must_not(&w, q_bind("x1", "k", "nope"), 404, "no queue 'nope' in vhost '/'");
    must_not(&w, q_bind("nope2", "k", "nope"), 404, "no exchange 'nope2' in vhost '/'");
    must_not(&w, q_bind("", "k", "q1"), 403, def);
    must_not(&w, q_unbind("", "q1", "q1"), 403, def);
    must_not(&w, x_bind("x1", "k", "nope"), 404, "no exchange 'nope' in vhost '/'");
    must_not(&w, x_bind("x1", "k", ""), 403, def);
    must_not(&w, x_bind("", "k", "x1"), 403, def);
    must(&w, q_unbind("nope", "k", "q1"));
    must(&w, q_unbind("x1", "k", "nope"));
    must(&w, q_unbind("x1", "zork", "q1"));
    must(&w, x_unbind("nope", "k", "x1"));

    must(&w, q_bind("x1", "k", "q1"));
    uint64_t number = now(&w)->number;
    must(&w, q_bind("x1", "k", "q1"));
    cr_expect(eq(u64, now(&w)->number, number));
    struct meta_cmd c = q_bind("x1", "k", "q1");
    c.bind.args = args_int(&a, "n", 1);
    must(&w, c); /* with other arguments it is another binding */
    cr_expect(eq(u64, exchange_now(&w, "x1")->binding_count, 2));
    must(&w, q_unbind("x1", "k", "q1"));
    cr_expect(eq(u64, exchange_now(&w, "x1")->binding_count, 1));
    must(&w, c); /* still there */
    c.op = META_UNBIND;
    must(&w, c);
    cr_expect(eq(u64, exchange_now(&w, "x1")->binding_count, 0));
    cr_expect(eq(sz, bindings_to(&w, queue_now(&w, "q1")->qid), 0));
    world_fini(&w);
}

/* What two bindings need to live together is gone with one of them. */
Test(meta, takes_no_room_for_what_was_unbound)
{
    static const char *const sources[] = { "amq.direct", "amq.topic", "amq.fanout", "amq.match" };
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    must(&w, q_declare("q2"));
    struct meta_stats before = meta_stats(w.meta);
    for (size_t i = 0; i < ARRAY_COUNT(sources); i++) {
        must(&w, q_bind(sources[i], "k", "q1"));
        struct meta_stats one = meta_stats(w.meta);
        must(&w, q_bind(sources[i], "k", "q2"));
        must(&w, q_bind(sources[i], "l", "q2"));
        must(&w, q_unbind(sources[i], "l", "q2"));
        must(&w, q_unbind(sources[i], "k", "q2"));
        cr_expect(eq(u64, meta_stats(w.meta).blocks, one.blocks), "%s", sources[i]);
        must(&w, q_unbind(sources[i], "k", "q1"));
    }
    cr_expect(eq(u64, meta_stats(w.meta).blocks, before.blocks));
    cr_expect(eq(i64, meta_stats(w.meta).bytes, before.bytes));
    world_fini(&w);
}

/* Arguments are told apart by name and value, not by how they were sent. */
Test(meta, finds_a_binding_whatever_the_order_of_its_arguments)
{
    struct world w;
    struct args a, b;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    args_begin(&a);
    amqp_table_put_text(&a.w, "x-match", "any");
    amqp_table_put_i32(&a.w, "b", 2);
    amqp_table_put_i32(&a.w, "a", 1);
    args_begin(&b);
    amqp_table_put_i32(&b.w, "a", 1);
    amqp_table_put_i32(&b.w, "b", 2);
    amqp_table_put_text(&b.w, "x-match", "any");
    struct meta_cmd c = q_bind("amq.headers", "", "q1");
    c.bind.args = args_end(&a);
    must(&w, c);
    c.bind.args = args_end(&b);
    must(&w, c);
    cr_expect(eq(u64, exchange_now(&w, "amq.headers")->binding_count, 1));
    c.op = META_UNBIND;
    must(&w, c);
    cr_expect(eq(u64, exchange_now(&w, "amq.headers")->binding_count, 0));
    world_fini(&w);
}

Test(meta, judges_x_match)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    struct meta_cmd c = q_bind("amq.headers", "", "q1");
    c.bind.args = args_str(&a, "x-match", "zork");
    must_not(&w, c, 406,
             "Invalid x-match field value <<\"zork\">>; expected all, any, all-with-x, or "
             "any-with-x");
    c.bind.args = args_str(&a, "x-match", "a\"b\n");
    must_not(&w, c, 406,
             "Invalid x-match field value <<\"a\\\"b\\n\">>; expected all, any, all-with-x, or "
             "any-with-x");
    c.bind.args = args_str(&a, "x-match", "\001\377");
    must_not(&w, c, 406,
             "Invalid x-match field value <<1,255>>; expected all, any, all-with-x, or "
             "any-with-x");
    c.bind.args = args_int(&a, "x-match", 5);
    must_not(&w, c, 406, "Invalid x-match field type signedint (value 5); expected longstr");
    args_begin(&a);
    amqp_table_put_bool(&a.w, "x-match", true);
    c.bind.args = args_end(&a);
    must_not(&w, c, 406, "Invalid x-match field type bool (value true); expected longstr");
    args_begin(&a);
    amqp_table_end(&a.w, amqp_table_begin(&a.w, "x-match"));
    c.bind.args = args_end(&a);
    must_not(&w, c, 406, "Invalid x-match field type table (value []); expected longstr");
    c.bind.source = S("amq.direct");
    must(&w, c); /* to any other exchange it means nothing */
    world_fini(&w);
}

Test(meta, deletes_auto_delete_exchanges_after_their_last_binding)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd c = x_declare("auto", "topic");
    c.exchange_declare.auto_delete = true;
    must(&w, c);
    must(&w, q_declare("q1"));
    must(&w, q_declare("q2"));
    must(&w, q_unbind("auto", "k", "q1"));
    cr_expect(exchange_now(&w, "auto") != NULL, "it has not had one yet");
    must(&w, q_bind("auto", "k", "q1"));
    must(&w, q_bind("auto", "k", "q2"));
    must(&w, q_unbind("auto", "k", "q1"));
    cr_expect(exchange_now(&w, "auto") != NULL);
    must(&w, q_unbind("auto", "k", "q2"));
    cr_expect(exchange_now(&w, "auto") == NULL);

    must(&w, c);
    must(&w, q_bind("auto", "a", "q1"));
    must(&w, q_bind("auto", "b", "q1"));
    must(&w, q_delete("q1"));
    cr_expect(exchange_now(&w, "auto") == NULL);
    world_fini(&w);
}

/* x0 -> x1 -> ... -> q: with the queue the whole chain goes, however long. */
Test(meta, deletes_a_long_chain_of_auto_delete_exchanges, .timeout = 300)
{
    enum { LENGTH = 20000 };
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q"));
    char name[16], before[16] = "q";
    for (int i = 0; i < LENGTH; i++) {
        snprintf(name, sizeof name, "x%d", i);
        struct meta_cmd c = x_declare(name, i % 2 == 0 ? "fanout" : "direct");
        c.exchange_declare.auto_delete = true;
        must(&w, c);
        must(&w, i == 0 ? q_bind(name, "", before) : x_bind(name, "", before));
        memcpy(before, name, sizeof before);
    }
    uint64_t predeclared = 7;
    cr_assert(eq(u64, meta_stats(w.meta).exchange_count, LENGTH + predeclared));
    must(&w, q_delete("q"));
    cr_expect(eq(u64, meta_stats(w.meta).exchange_count, predeclared));
    cr_expect(eq(u64, meta_stats(w.meta).binding_count, 0));
    world_fini(&w);
}

Test(meta, deletes_circles_of_auto_delete_exchanges)
{
    struct world w;
    world_init(&w, 1);
    const char *names[] = { "a", "b", "c" };
    must(&w, q_declare("q"));
    for (size_t i = 0; i < 3; i++) {
        struct meta_cmd c = x_declare(names[i], "fanout");
        c.exchange_declare.auto_delete = true;
        must(&w, c);
    }
    must(&w, x_bind("a", "", "b"));
    must(&w, x_bind("b", "", "c"));
    must(&w, x_bind("c", "", "a"));
    must(&w, x_bind("c", "", "c"));
    must(&w, q_bind("b", "", "q"));
    must(&w, q_delete("q"));
    cr_expect(exchange_now(&w, "b") != NULL, "it is still bound to c");
    must(&w, x_delete("c", false));
    cr_expect(exchange_now(&w, "a") == NULL && exchange_now(&w, "b") == NULL);
    cr_expect(eq(u64, meta_stats(w.meta).binding_count, 0));
    world_fini(&w);
}

Test(meta, tells_when_routes_may_have_changed)
{
    struct world w;
    world_init(&w, 1);
    uint64_t routes = now(&w)->routes;
    must(&w, q_declare("q1"));
    cr_expect(eq(u64, now(&w)->routes, routes), "a queue without bindings changes no route");
    must(&w, q_bind("amq.direct", "k", "q1"));
    cr_expect(lt(u64, routes, now(&w)->routes));
    routes = now(&w)->routes;
    must(&w, q_unbind("amq.direct", "k", "q1"));
    cr_expect(lt(u64, routes, now(&w)->routes));
    routes = now(&w)->routes;
    must(&w, x_declare("x", "fanout"));
    cr_expect(lt(u64, routes, now(&w)->routes), "it may be somebody's alternate");
    routes = now(&w)->routes;
    must(&w, q_delete("q1"));
    cr_expect(lt(u64, routes, now(&w)->routes), "a kept route may hold it");
    world_fini(&w);
}

/* Proxies ask all of it again then: that is not to be for nothing. */
Test(meta, tells_when_what_leads_to_queues_may_have_changed)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    must(&w, q_declare("q2"));
    uint64_t leads = now(&w)->leads;
    must(&w, q_bind("amq.direct", "k", "q1"));
    cr_expect(lt(u64, leads, now(&w)->leads));
    leads = now(&w)->leads;
    must(&w, q_delete("q2"));
    cr_expect(eq(u64, now(&w)->leads, leads), "nothing led there");
    must(&w, q_delete("q1"));
    cr_expect(lt(u64, leads, now(&w)->leads));
    world_fini(&w);
}

Test(meta, shows_nothing_before_it_is_published)
{
    struct world w;
    world_init(&w, 1);
    struct meta_cmd c = q_declare("q1");
    c.vhost_id = w.vhost;
    c.conn = 1;
    cr_assert(meta_apply(w.meta, &c, &w.r) == META_DONE);
    cr_expect(queue_now(&w, "q1") == NULL);
    cr_expect(meta_check(now(&w), &c, &w.r) == META_CHANGE);
    meta_publish(w.meta);
    cr_expect(queue_now(&w, "q1") != NULL);
    cr_expect(meta_check(now(&w), &c, &w.r) == META_DONE && w.r.queue == queue_now(&w, "q1"));
    world_fini(&w);
}

Test(meta, refuses_what_is_asked_of_no_vhost)
{
    struct world w;
    world_init(&w, 1);
    w.vhost = 12345;
    must_not(&w, q_declare("q"), 530, "vhost not found");
    world_fini(&w);
}

Test(meta, keeps_vhosts_apart)
{
    struct world w;
    world_init(&w, 1);
    uint64_t one = w.vhost;
    must(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("two") });
    uint64_t two = w.r.id;
    cr_assert(ne(u64, one, two));
    must(&w, q_declare("q"));
    w.vhost = two;
    cr_expect(queue_now(&w, "q") == NULL);
    struct meta_cmd c = q_declare("q");
    c.queue_declare.passive = true;
    must_not(&w, c, 404, "no queue 'q' in vhost 'two'");
    must(&w, q_declare("q"));
    must(&w, q_bind("amq.fanout", "", "q"));
    cr_expect(eq(u64, exchange_now(&w, "amq.fanout")->binding_count, 1));
    w.vhost = one;
    cr_expect(eq(u64, exchange_now(&w, "amq.fanout")->binding_count, 0));
    world_fini(&w);
}

Test(meta, deletes_a_vhost_with_all_it_holds)
{
    struct world w;
    world_init(&w, 1);
    struct meta_stats before = meta_stats(w.meta);
    must(&w, (struct meta_cmd){ .op = META_VHOST_ADD, .name = S("two") });
    uint64_t one = w.vhost;
    w.vhost = w.r.id;
    uint64_t qids[3];
    const char *names[] = { "c", "a", "b" };
    for (size_t i = 0; i < 3; i++) {
        must(&w, q_declare(names[i]));
        qids[i] = w.r.id;
        must(&w, q_bind("amq.direct", "k", names[i]));
        must(&w, q_bind("amq.topic", "a.#", names[i]));
    }
    must(&w, x_bind("amq.direct", "k", "amq.topic"));
    must(&w, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("two") });
    cr_assert(eq(sz, w.r.effect_count, 4));
    for (size_t i = 0; i < 3; i++)
        cr_expect(eq(u64, w.r.effects[i].qid, qids[i]), "the oldest first");
    cr_expect(w.r.effects[3].kind == META_VHOST_DELETED);
    cr_expect(meta_vhost_find(now(&w), S("two")) == NULL && vhost_now(&w) == NULL);
    struct meta_stats after = meta_stats(w.meta);
    cr_expect(eq(u64, after.blocks, before.blocks));
    cr_expect(eq(i64, after.bytes, before.bytes));
    cr_expect(eq(u64, after.exchange_count, before.exchange_count));
    must(&w, (struct meta_cmd){ .op = META_VHOST_DELETE, .name = S("two") });
    must_not(&w, q_declare("q"), 530, "vhost not found");
    w.vhost = one;
    cr_expect(vhost_now(&w) != NULL);
    world_fini(&w);
}

Test(meta, makes_names)
{
    char name[META_GEN_NAME_BYTES];
    uint8_t chance[16] = { 0 };
    meta_gen_name(chance, name);
    cr_expect(slice_is(slice_of(name, sizeof name), "amq.gen-AAAAAAAAAAAAAAAAAAAAAA"));
    for (uint8_t i = 0; i < 16; i++)
        chance[i] = (uint8_t)(0xF0u + i);
    meta_gen_name(chance, name); /* base64url of f0f1...ff without its padding */
    cr_expect(slice_is(slice_of(name, sizeof name), "amq.gen-8PHy8_T19vf4-fr7_P3-_w"));

    uint8_t room[META_NAME_MAX];
    struct slice plain = S("plain");
    cr_expect(meta_strip_name(plain, room).ptr == plain.ptr);
    cr_expect(slice_is(meta_strip_name(S("a\r\nb\n"), room), "ab"));
    cr_expect(eq(sz, meta_strip_name(S(""), room).len, 0));
}
