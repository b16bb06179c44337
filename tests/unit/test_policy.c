#include "policy.h"

#include "meta_world.h"

static uint8_t room[1024];

static struct queue_settings settings(const struct world *w)
{
    struct queue_settings s;
    policy_settings(now(w), queue_now(w, "q"), &s);
    return s;
}

static struct meta_cmd with_args(struct meta_cmd c, const struct wire_out *w)
{
    c.queue_declare.args = wire_out_slice(w);
    return c;
}

static struct wire_out args(void)
{
    return wire_out_over(room, sizeof room);
}

Test(policy, a_plain_queue_has_no_limits)
{
    struct world w;
    world_init(&w, 1);
    must(&w, q_declare("q"));
    struct queue_settings s = settings(&w);
    cr_expect(eq(i64, s.message_ttl_ms, QUEUE_NO_LIMIT));
    cr_expect(eq(i64, s.expires_ms, QUEUE_NO_LIMIT));
    cr_expect(eq(i64, s.max_length, QUEUE_NO_LIMIT));
    cr_expect(eq(i64, s.max_length_bytes, QUEUE_NO_LIMIT));
    cr_expect(eq(i64, s.delivery_limit, QUEUE_NO_LIMIT));
    cr_expect(eq(i64, s.consumer_timeout_ms, QUEUE_NO_LIMIT));
    cr_expect(eq(int, s.overflow, QUEUE_DROP_HEAD));
    cr_expect(not(s.has_dlx || s.has_dlx_key || s.single_active || s.is_quorum));
    cr_expect(eq(uint, s.max_priority, 0));
    world_fini(&w);
}

Test(policy, arguments_say_all_there_is)
{
    struct world w;
    world_init(&w, 1);
    struct wire_out a = args();
    amqp_table_put_i64(&a, "x-message-ttl", 0);
    amqp_table_put_i32(&a, "x-expires", 2);
    amqp_table_put_i32(&a, "x-max-length", 0);
    amqp_table_put_i64(&a, "x-max-length-bytes", (int64_t)1 << 40);
    amqp_table_put_i32(&a, "x-max-priority", 255);
    amqp_table_put_bool(&a, "x-single-active-consumer", true);
    amqp_table_put_text(&a, "x-overflow", "reject-publish-dlx");
    amqp_table_put_text(&a, "x-dead-letter-exchange", "");
    amqp_table_put_text(&a, "x-dead-letter-routing-key", "k");
    must(&w, with_args(q_declare("q"), &a));
    struct queue_settings s = settings(&w);
    cr_expect(eq(i64, s.message_ttl_ms, 0));
    cr_expect(eq(i64, s.expires_ms, 2));
    cr_expect(eq(i64, s.max_length, 0));
    cr_expect(eq(i64, s.max_length_bytes, (int64_t)1 << 40));
    cr_expect(eq(uint, s.max_priority, 255));
    cr_expect(s.single_active);
    cr_expect(eq(int, s.overflow, QUEUE_REJECT_PUBLISH_DLX));
    cr_expect(s.has_dlx && s.dlx.len == 0);
    cr_expect(s.has_dlx_key && slice_is(s.dlx_key, "k"));
    world_fini(&w);
}

Test(policy, of_limits_the_least_counts_and_of_words_the_arguments)
{
    struct world w;
    world_init(&w, 1);
    struct wire_out a = args();
    amqp_table_put_i32(&a, "x-message-ttl", 50);
    amqp_table_put_i32(&a, "x-max-length", 50);
    amqp_table_put_text(&a, "x-dead-letter-exchange", "mine");
    must(&w, with_args(q_declare("q"), &a));
    must(&w, policy_put("p", "",
                        "{\"message-ttl\":40,\"max-length\":60,\"expires\":9,"
                        "\"dead-letter-exchange\":\"its\",\"dead-letter-routing-key\":\"key\","
                        "\"overflow\":\"reject-publish\"}",
                        0));
    struct queue_settings s = settings(&w);
    cr_expect(eq(i64, s.message_ttl_ms, 40));
    cr_expect(eq(i64, s.max_length, 50));
    cr_expect(eq(i64, s.expires_ms, 9));
    cr_expect(slice_is(s.dlx, "mine"));
    cr_expect(slice_is(s.dlx_key, "key"));
    cr_expect(eq(int, s.overflow, QUEUE_REJECT_PUBLISH));
    must(&w, operators(policy_put("o", "", "{\"message-ttl\":45,\"max-length\":30}", 0)));
    s = settings(&w);
    cr_expect(eq(i64, s.message_ttl_ms, 40));
    cr_expect(eq(i64, s.max_length, 30));
    must(&w, policy_clear("p"));
    s = settings(&w);
    cr_expect(eq(i64, s.message_ttl_ms, 45));
    cr_expect(eq(i64, s.expires_ms, QUEUE_NO_LIMIT));
    cr_expect(not(s.has_dlx_key));
    cr_expect(eq(int, s.overflow, QUEUE_DROP_HEAD));
    world_fini(&w);
}

Test(policy, a_quorum_queue_lives_as_long_as_policies_say_and_refuses_without_dead_letters)
{
    struct world w;
    world_init(&w, 1);
    struct wire_out a = args();
    amqp_table_put_text(&a, "x-queue-type", "quorum");
    amqp_table_put_i32(&a, "x-expires", 50);
    amqp_table_put_i32(&a, "x-delivery-limit", 5);
    amqp_table_put_text(&a, "x-overflow", "reject-publish");
    struct meta_cmd declare = with_args(q_declare("q"), &a);
    declare.queue_declare.durable = true;
    must(&w, declare);
    struct queue_settings s = settings(&w);
    cr_expect(s.is_quorum);
    cr_expect(eq(i64, s.expires_ms, 50));
    cr_expect(eq(i64, s.delivery_limit, 5));
    cr_expect(eq(int, s.overflow, QUEUE_REJECT_PUBLISH));
    must(&w, policy_put("p", "", "{\"expires\":90,\"delivery-limit\":7,\"overflow\":\"drop-head\"}",
                        0));
    s = settings(&w);
    cr_expect(eq(i64, s.expires_ms, 90));
    cr_expect(eq(i64, s.delivery_limit, 5));
    cr_expect(eq(int, s.overflow, QUEUE_DROP_HEAD));
    world_fini(&w);
}
