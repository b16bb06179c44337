/* proxy/leg_map: one channel over several brokers, rule by rule. */
#include "leg_map.h"

#include "leg_map_kit.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- by hand --------------------------------------------------------------------------------- */

static struct leg_map_said said(struct leg_map *m, struct amqp_method method, unsigned wish)
{
    struct bytes b = encode(&method);
    struct leg_map_said out;
    leg_map_client(m, view(&b), wish, &out);
    leg_map_check(m);
    return out;
}

static enum leg_map_heard heard(struct leg_map *m, unsigned leg, struct amqp_method method,
                                uint64_t *tag)
{
    struct bytes b = encode(&method);
    size_t tag_at = 0;
    enum leg_map_heard h = leg_map_broker(m, leg, view(&b), tag, &tag_at);
    leg_map_check(m);
    return h;
}

static struct leg_map_said consume(struct leg_map *m, const char *tag, bool no_ack, unsigned wish)
{
    struct amqp_method c = { .id = AMQP_BASIC_CONSUME };
    c.basic_consume.queue = slice_str("q");
    c.basic_consume.consumer_tag = slice_str(tag);
    c.basic_consume.no_ack = no_ack;
    struct leg_map_said out = said(m, c, wish);
    if (out.verdict == LEG_MAP_PASS) {
        struct amqp_method ok = { .id = AMQP_BASIC_CONSUME_OK };
        uint64_t none;
        ok.basic_consume_ok.consumer_tag = slice_str(tag);
        cr_expect(eq(int, heard(m, out.to, ok, &none), LEG_MAP_HEAR));
    }
    return out;
}

static uint64_t deliver(struct leg_map *m, unsigned leg, const char *consumer, uint64_t leg_tag)
{
    struct amqp_method d = { .id = AMQP_BASIC_DELIVER };
    uint64_t tag = leg_tag;
    d.basic_deliver.consumer_tag = slice_str(consumer);
    d.basic_deliver.delivery_tag = leg_tag;
    enum leg_map_heard h = heard(m, leg, d, &tag);
    cr_expect(eq(int, h, tag == leg_tag ? LEG_MAP_HEAR : LEG_MAP_NUMBER));
    return tag;
}

/* So many deliveries of the first leg's to "a", which are checked at the end: a check walks over
 * all that is kept. */
static void flood(struct leg_map *m, uint64_t count)
{
    struct amqp_method d = { .id = AMQP_BASIC_DELIVER };
    d.basic_deliver.consumer_tag = slice_str("a");
    for (uint64_t n = 1; n <= count; n++) {
        uint64_t tag;
        size_t tag_at;
        d.basic_deliver.delivery_tag = n;
        struct bytes b = encode(&d);
        cr_assert(eq(int, leg_map_broker(m, 0, view(&b), &tag, &tag_at), LEG_MAP_HEAR));
    }
    leg_map_check(m);
}

static struct leg_map_said ack(struct leg_map *m, uint64_t tag, bool multiple)
{
    struct amqp_method a = { .id = AMQP_BASIC_ACK };
    a.basic_ack.delivery_tag = tag;
    a.basic_ack.multiple = multiple;
    return said(m, a, 0);
}

static struct leg_map_said bare(struct leg_map *m, enum amqp_method_id id)
{
    return said(m, (struct amqp_method){ .id = id }, 0);
}

/* A channel with a consumer on each of two legs. */
static struct leg_map *two_legs(void)
{
    struct leg_map *m = leg_map_new(0, 0);
    cr_assert(eq(int, consume(m, "a", false, 0).verdict, LEG_MAP_PASS));
    cr_assert(eq(u32, leg_map_add(m), 1));
    cr_assert(eq(u32, consume(m, "b", false, 1).to, 1));
    return m;
}

Test(leg_map, one_leg_changes_nothing)
{
    struct leg_map *m = leg_map_new(0, 0);
    consume(m, "a", false, 0);
    for (uint64_t tag = 1; tag <= 100; tag++)
        cr_expect(eq(u64, deliver(m, 0, "a", tag), tag));
    cr_expect(eq(int, ack(m, 7, false).verdict, LEG_MAP_PASS));
    cr_expect(eq(int, ack(m, 50, true).verdict, LEG_MAP_PASS));
    cr_expect(eq(int, ack(m, 7, false).verdict, LEG_MAP_PASS), "the broker says what is wrong");
    cr_expect(not(leg_map_can_lose(m, 0)));
    leg_map_free(&m);
}

Test(leg_map, deliveries_are_numbered_through)
{
    struct leg_map *m = two_legs();
    cr_expect(eq(u64, deliver(m, 0, "a", 1), 1));
    cr_expect(eq(u64, deliver(m, 1, "b", 1), 2));
    cr_expect(eq(u64, deliver(m, 1, "b", 2), 3));
    cr_expect(eq(u64, deliver(m, 0, "a", 2), 4));
    struct leg_map_said out = ack(m, 3, false);
    cr_expect(eq(int, out.verdict, LEG_MAP_SETTLE));
    cr_assert(eq(u32, out.settle_count, 1));
    cr_expect(eq(u32, out.settle[0].leg, 1));
    cr_expect(eq(u64, out.settle[0].method.basic_ack.delivery_tag, 2));
    leg_map_free(&m);
}

Test(leg_map, multiple_is_split_over_legs)
{
    struct leg_map *m = two_legs();
    for (uint64_t i = 1; i <= 3; i++) {
        deliver(m, 0, "a", i);
        deliver(m, 1, "b", i);
    }
    struct leg_map_said out = ack(m, 5, true); /* a3; b3 is 6 */
    cr_assert(eq(u32, out.settle_count, 2));
    cr_expect(eq(u64, out.settle[0].method.basic_ack.delivery_tag, 3));
    cr_expect(eq(u64, out.settle[1].method.basic_ack.delivery_tag, 2));
    cr_expect(out.settle[1].method.basic_ack.multiple);
    cr_expect(leg_map_can_lose(m, 0));
    cr_expect(not(leg_map_can_lose(m, 1)));
    out = ack(m, 0, true);
    cr_assert(eq(u32, out.settle_count, 1), "nothing of the other leg's is left");
    cr_expect(eq(u64, out.settle[0].method.basic_ack.delivery_tag, 3));
    out = ack(m, 0, true);
    cr_expect(eq(int, out.verdict, LEG_MAP_SETTLE));
    cr_expect(eq(u32, out.settle_count, 0));
    leg_map_free(&m);
}

Test(leg_map, a_number_that_is_not_outstanding_is_refused)
{
    const uint64_t wrong[] = { 0, 1, 3, UINT64_MAX };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct leg_map *m = two_legs();
        deliver(m, 0, "a", 1);
        deliver(m, 1, "b", 1);
        ack(m, 1, false);
        struct leg_map_said out = ack(m, wrong[i], false);
        cr_expect(eq(int, out.verdict, LEG_MAP_REFUSE));
        cr_expect(eq(int, out.code, AMQP_PRECONDITION_FAILED));
        char want[64];
        snprintf(want, sizeof want, "unknown delivery tag %" PRIu64, wrong[i]);
        expect_text(out.text, want);
        leg_map_free(&m);
    }
}

Test(leg_map, a_question_to_all_is_answered_once)
{
    struct leg_map *m = two_legs();
    uint64_t tag;
    struct leg_map_said out = bare(m, AMQP_BASIC_QOS);
    cr_expect(eq(int, out.verdict, LEG_MAP_ALL));
    cr_expect(eq(int, bare(m, AMQP_BASIC_QOS).verdict, LEG_MAP_WAIT), "one after the other");
    cr_expect(eq(int, bare(m, AMQP_BASIC_PUBLISH).verdict, LEG_MAP_PASS), "no answer: no wait");
    struct amqp_method ok = { .id = AMQP_BASIC_QOS_OK };
    cr_expect(eq(int, heard(m, 1, ok, &tag), LEG_MAP_SILENCE));
    cr_expect(eq(int, heard(m, 0, ok, &tag), LEG_MAP_HEAR));
    cr_expect(eq(int, bare(m, AMQP_BASIC_QOS).verdict, LEG_MAP_ALL));
    leg_map_free(&m);
}

Test(leg_map, a_limit_of_the_channel_is_shared_out_and_keeps_its_legs)
{
    struct amqp_method qos = { .id = AMQP_BASIC_QOS };
    qos.basic_qos.global = true;
    qos.basic_qos.prefetch_count = 7;

    struct leg_map *m = leg_map_new(0, 0);
    uint64_t tag;
    cr_expect(leg_map_may_add(m));
    cr_expect(eq(int, said(m, qos, 0).verdict, LEG_MAP_PASS));
    heard(m, 0, (struct amqp_method){ .id = AMQP_BASIC_QOS_OK }, &tag);
    cr_expect(not(leg_map_may_add(m)));
    qos.basic_qos.global = false; /* lifts it */
    said(m, qos, 0);
    cr_expect(not(leg_map_may_add(m)), "an answer is to come");
    heard(m, 0, (struct amqp_method){ .id = AMQP_BASIC_QOS_OK }, &tag);
    cr_expect(leg_map_may_add(m));
    leg_map_free(&m);

    m = two_legs();
    qos.basic_qos.global = true;
    struct leg_map_said out = said(m, qos, 0);
    cr_expect(eq(int, out.verdict, LEG_MAP_SAY));
    cr_expect(eq(u32, out.to, LEG_MAP_TO_ALL));
    cr_expect(eq(u16, out.method.basic_qos.prefetch_count, 3));
    leg_map_free(&m);
}

Test(leg_map, a_tag_that_is_taken_goes_to_who_has_it)
{
    struct leg_map *m = two_legs();
    cr_expect(eq(u32, consume(m, "b", false, 0).to, 1));
    struct amqp_method c = { .id = AMQP_BASIC_CANCEL };
    c.basic_cancel.consumer_tag = slice_str("b");
    cr_expect(eq(u32, said(m, c, 0).to, 1));
    struct amqp_method ok = { .id = AMQP_BASIC_CANCEL_OK };
    uint64_t tag;
    ok.basic_cancel_ok.consumer_tag = slice_str("b");
    cr_expect(eq(int, heard(m, 1, ok, &tag), LEG_MAP_HEAR));
    cr_expect(leg_map_can_lose(m, 1));
    cr_expect(eq(u32, consume(m, "b", false, 0).to, 0));
    leg_map_free(&m);
}

Test(leg_map, what_was_asked_before_is_answered_first)
{
    struct leg_map *m = leg_map_new(2, 0);
    uint64_t tag;
    heard(m, 0, (struct amqp_method){ .id = AMQP_QUEUE_DECLARE_OK }, &tag);
    cr_expect(not(leg_map_may_add(m)));
    cr_expect(leg_map_may_grow(m));
    heard(m, 0, (struct amqp_method){ .id = AMQP_QUEUE_BIND_OK }, &tag);
    cr_expect(leg_map_may_add(m));
    leg_map_free(&m);
}

Test(leg_map, a_leg_that_is_gone_is_not_asked_and_leaves_its_number)
{
    struct leg_map *m = two_legs();
    deliver(m, 0, "a", 1);
    deliver(m, 1, "b", 1);
    cr_assert(eq(u32, leg_map_add(m), 2));
    cr_expect(leg_map_can_lose(m, 2));
    leg_map_lose(m, 2);
    uint64_t tag;
    struct amqp_method ok = { .id = AMQP_BASIC_QOS_OK };
    cr_expect(eq(int, bare(m, AMQP_BASIC_QOS).verdict, LEG_MAP_ALL));
    cr_expect(eq(int, heard(m, 1, ok, &tag), LEG_MAP_SILENCE));
    cr_expect(eq(int, heard(m, 0, ok, &tag), LEG_MAP_HEAR), "two were asked");
    cr_assert(eq(u32, leg_map_add(m), 2));
    consume(m, "c", false, 2);
    cr_expect(eq(u64, deliver(m, 2, "c", 1), 3), "the client's numbers go on");
    cr_expect(eq(u32, ack(m, 0, true).settle_count, 3));
    leg_map_free(&m);
}

static struct leg_map_said cancel(struct leg_map *m, const char *tag, bool nowait)
{
    struct amqp_method c = { .id = AMQP_BASIC_CANCEL };
    c.basic_cancel.consumer_tag = slice_str(tag);
    c.basic_cancel.nowait = nowait;
    return said(m, c, 0);
}

Test(leg_map, consumers_of_a_leg_that_is_gone_are_astray_until_they_are_said_again)
{
    struct leg_map *m = two_legs();
    uint64_t tag;
    consume(m, "c", false, 0);
    consume(m, "d", true, 0);
    deliver(m, 0, "a", 1);
    cr_expect(not(leg_map_can_lose(m, 0)), "a delivery is outstanding");
    ack(m, 1, false);
    leg_map_lose(m, 0);
    leg_map_promote(m, 1);
    leg_map_check(m);
    cr_expect(eq(u32, leg_map_astray_count(m), 3));
    cr_expect(eq(u64, deliver(m, 0, "b", 1), 2), "that was leg 1");

    struct amqp_method c = { .id = AMQP_BASIC_CANCEL };
    c.basic_cancel.consumer_tag = slice_str("c");
    struct bytes b = encode(&c); /* the name in what is said is in there */
    struct leg_map_said out;
    leg_map_client(m, view(&b), 0, &out);
    cr_expect(eq(int, out.verdict, LEG_MAP_CANCELLED));
    cr_expect(slice_is(out.method.basic_cancel.consumer_tag, "c"));
    cr_expect(eq(int, cancel(m, "d", true).verdict, LEG_MAP_NOTHING));

    struct leg_consumer *a = leg_map_astray(m, NULL);
    cr_assert(slice_is(leg_consumer_method(a).consumer_tag, "a"));
    cr_expect(slice_is(leg_consumer_method(a).queue, "q"));
    cr_expect(a->is_bereft);
    cr_expect(leg_map_astray(m, a) == NULL);
    cr_assert(eq(u32, leg_map_add(m), 1));
    leg_map_say_again(m, a, 1, a->prefetch);
    cr_expect(not(a->is_bereft));
    struct amqp_method ok = { .id = AMQP_BASIC_CONSUME_OK };
    ok.basic_consume_ok.consumer_tag = slice_str("a");
    cr_expect(eq(int, heard(m, 1, ok, &tag), LEG_MAP_SILENCE));
    cr_expect(eq(u64, deliver(m, 1, "a", 1), 3));
    cr_expect(eq(u32, ack(m, 3, true).settle_count, 2));
    cr_expect(eq(u32, cancel(m, "a", false).to, 1));
    leg_map_free(&m);
}

Test(leg_map, the_last_leg_can_be_lost_and_another_counts_on)
{
    struct leg_map *m = leg_map_new(0, 0);
    consume(m, "a", true, 0);
    for (uint64_t tag = 1; tag <= 3; tag++)
        deliver(m, 0, "a", tag);
    leg_map_lose(m, 0);
    cr_expect(leg_map_is_split(m));
    leg_map_restore(m);
    leg_map_say_again(m, leg_map_astray(m, NULL), 0, 0);
    leg_map_check(m);
    cr_expect(eq(u64, deliver(m, 0, "a", 1), 4));
    leg_map_free(&m);
}

static enum leg_map_heard cancel_ok(struct leg_map *m, unsigned leg, const char *tag)
{
    struct amqp_method ok = { .id = AMQP_BASIC_CANCEL_OK };
    uint64_t none;
    ok.basic_cancel_ok.consumer_tag = slice_str(tag);
    return heard(m, leg, ok, &none);
}

/* What it had stays where it was, and counts against its limit until it is settled. */
Test(leg_map, a_consumer_is_taken_off_its_leg)
{
    struct leg_map *m = leg_map_new(0, 5);
    uint64_t none;
    consume(m, "a", false, 0);
    consume(m, "b", false, 0);
    struct leg_consumer *a = leg_map_consumer(m, NULL);
    deliver(m, 0, "a", 1);
    deliver(m, 0, "a", 2);
    cr_assert(leg_map_may_take_off(m, a));
    leg_map_take_off(m, a);
    cr_expect(leg_map_is_split(m) && leg_map_owes(m, 0));
    cr_expect(not(leg_map_may_take_off(m, a)), "once");
    cr_expect(eq(u64, deliver(m, 0, "a", 3), 3), "on its way before the answer");
    cr_expect(eq(int, cancel(m, "b", false).verdict, LEG_MAP_WAIT), "its answer is not ours");
    cr_expect(eq(int, cancel_ok(m, 0, "a"), LEG_MAP_SILENCE));
    cr_assert(leg_map_astray(m, NULL) == a);
    cr_expect(not(a->is_bereft), "by plan");
    cr_expect(eq(u32, leg_map_held(m, a), 3));
    cr_expect(not(leg_map_owes(m, 0)));

    cr_assert(eq(u32, leg_map_add(m), 1));
    leg_map_say_again(m, a, 1, 2);
    struct amqp_method ok = { .id = AMQP_BASIC_CONSUME_OK };
    ok.basic_consume_ok.consumer_tag = slice_str("a");
    cr_expect(eq(int, heard(m, 1, ok, &none), LEG_MAP_SILENCE));
    cr_expect(eq(u64, deliver(m, 1, "a", 1), 4));
    cr_expect(eq(u64, deliver(m, 0, "b", 4), 5));
    struct leg_map_said out = ack(m, 2, true);
    cr_assert(eq(u32, out.settle_count, 1));
    cr_expect(eq(u32, out.settle[0].leg, 0));
    cr_expect(eq(u32, leg_map_held(m, a), 2));
    cr_expect(leg_map_is_short(a));
    cr_expect(eq(u32, leg_map_held_there(m, a, &none), 1), "the third is outstanding elsewhere");
    cr_expect(eq(u64, none, 4));
    ack(m, 3, false);
    cr_expect(eq(u32, leg_map_held(m, a), leg_map_held_there(m, a, &none)), "b's do not count");
    out = ack(m, 4, false);
    cr_expect(eq(u32, out.settle[0].leg, 1));
    cr_expect(eq(u64, out.settle[0].method.basic_ack.delivery_tag, 1));
    cr_expect(eq(u32, leg_map_held(m, a), 0));
    cr_expect(eq(u32, leg_map_held_there(m, a, &none), 0));
    cr_expect(eq(u64, none, 0));
    leg_map_free(&m);
}

Test(leg_map, a_consumer_that_goes_can_be_cancelled_and_its_leg_lost)
{
    struct leg_map *m = leg_map_new(0, 0);
    struct amqp_method by_broker = { .id = AMQP_BASIC_CANCEL };
    uint64_t none;
    consume(m, "a", false, 0);
    consume(m, "b", false, 0);
    leg_map_take_off(m, leg_map_consumer(m, NULL));
    by_broker.basic_cancel.consumer_tag = slice_str("a");
    cr_expect(eq(int, heard(m, 0, by_broker, &none), LEG_MAP_HEAR), "its queue is gone");
    cr_expect(eq(int, cancel_ok(m, 0, "a"), LEG_MAP_SILENCE));
    cr_expect(eq(u32, leg_map_astray_count(m), 0));
    leg_map_take_off(m, leg_map_consumer(m, NULL));
    cr_expect(leg_map_can_lose(m, 0));
    leg_map_lose(m, 0);
    leg_map_restore(m);
    leg_map_check(m);
    cr_expect(eq(u32, leg_map_astray_count(m), 1));
    cr_expect(not(leg_map_owes(m, 0)));
    leg_map_free(&m);
}

Test(leg_map, an_exclusive_consumer_stays)
{
    struct leg_map *m = leg_map_new(0, 0);
    struct amqp_method c = { .id = AMQP_BASIC_CONSUME };
    c.basic_consume.queue = slice_str("q");
    c.basic_consume.consumer_tag = slice_str("a");
    c.basic_consume.exclusive = true;
    said(m, c, 0);
    cr_expect(not(leg_map_is_movable(m, leg_map_consumer(m, NULL))));
    leg_map_free(&m);
}

Test(leg_map, what_cannot_be_said_again_cannot_be_lost)
{
    static uint8_t table[LEG_CONSUMERS_KEPT_MAX];
    static const uint8_t stream[] = "\0\0\0\x17\x0fx-stream-offsetI\0\0\0\x07";
    struct amqp_basic_consume q = { .queue = slice_str("q"), .consumer_tag = slice_str("a") };
    struct leg_consumers l;
    for (unsigned i = 0; i < 5; i++) {
        struct amqp_basic_consume with = q;
        if (i == 1)
            with.queue = slice_str(""); /* the last one that was declared there */
        if (i == 2)
            with.consumer_tag = slice_str(""); /* and its answer is not there yet */
        if (i == 3)
            with.arguments = slice_of(table, sizeof table);
        if (i == 4)
            with.arguments = slice_of(stream + 4, sizeof stream - 5);
        leg_consumers_init(&l);
        leg_consumers_add(&l, 0, &with, 0);
        cr_expect(eq(int, leg_consumers_can_leave(&l, 0), i == 0), "%u", i);
        leg_consumers_fini(&l);
    }
}

Test(leg_map, what_cannot_be_followed_keeps_one_leg)
{
    const enum amqp_method_id odd[] = { AMQP_TX_SELECT, AMQP_BASIC_RECOVER_ASYNC };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct leg_map *m = leg_map_new(0, 0);
        cr_expect(eq(int, bare(m, odd[i]).verdict, LEG_MAP_PASS));
        cr_expect(leg_map_is_fixed(m));
        leg_map_free(&m);
    }
    struct leg_map *m = leg_map_new(0, 0);
    consume(m, "a", false, 0);
    flood(m, LEG_MAP_KEPT_MAX);
    cr_expect(not(leg_map_is_fixed(m)));
    struct amqp_method d = { .id = AMQP_BASIC_DELIVER };
    uint64_t tag;
    d.basic_deliver.consumer_tag = slice_str("a");
    d.basic_deliver.delivery_tag = LEG_MAP_KEPT_MAX + 1;
    cr_expect(eq(int, heard(m, 0, d, &tag), LEG_MAP_BURST));
    cr_expect(leg_map_is_fixed(m), "too much is outstanding");
    leg_map_free(&m);
}

Test(leg_map, without_acks_nothing_is_kept)
{
    struct leg_map *m = leg_map_new(0, 0);
    consume(m, "a", true, 0);
    flood(m, 2 * LEG_MAP_KEPT_MAX);
    cr_expect(not(leg_map_is_fixed(m)));
    cr_expect(eq(u32, leg_map_add(m), 1));
    consume(m, "b", false, 1);
    cr_expect(eq(u64, deliver(m, 1, "b", 1), 2 * LEG_MAP_KEPT_MAX + 1));
    leg_map_free(&m);
}
