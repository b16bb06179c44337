/* The words are what RabbitMQ 3.10.8 answered to the same declarations. */
#include "meta_world.h"

static void refuse(struct world *w, struct slice args, const char *text)
{
    struct meta_cmd c = q_declare("qn");
    c.queue_declare.durable = true;
    c.queue_declare.args = args;
    must_not(w, c, 406, text);
}

Test(meta_args, judges_numbers)
{
    static const struct {
        const char *arg;
        int64_t value;
        const char *what;
    } bad[] = {
        { "x-message-ttl", -1, "{value_negative,-1}" },
        { "x-message-ttl", 315360000001, "{value_too_large,315360000001}" },
        { "x-expires", 0, "{value_zero,0}" },
        { "x-expires", -5, "{value_negative,-5}" },
        { "x-expires", 315360000001, "{value_too_large,315360000001}" },
        { "x-max-length", -1, "{value_negative,-1}" },
        { "x-max-length-bytes", -3, "{value_negative,-3}" },
        { "x-max-priority", 256, "{max_value_exceeded,256}" },
        { "x-max-priority", -1, "{value_negative,-1}" },
        { "x-overflow", 5, "{unacceptable_type,long}" },
        { "x-queue-mode", 1, "{unacceptable_type,long}" },
        { "x-queue-type", 5, "{unacceptable_type,long}" },
        { "x-queue-version", 3, "\"unsupported queue version '3'\"" },
        { "x-single-active-consumer", 1, "{unacceptable_type,long}" },
    };
    struct world w;
    struct args a;
    char text[256];
    world_init(&w, 1);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(text, sizeof text, "invalid arg '%s' for queue 'qn' in vhost '/': %s", bad[i].arg,
                 bad[i].what);
        refuse(&w, args_long(&a, bad[i].arg, bad[i].value), text);
    }
    refuse(&w, args_int(&a, "x-dead-letter-exchange", 5),
           "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'qn' in vhost '/'");
    world_fini(&w);
}

Test(meta_args, judges_words)
{
    static const struct {
        const char *arg;
        const char *value;
        const char *what;
    } bad[] = {
        { "x-message-ttl", "a", "\"expected integer, got longstr\"" },
        { "x-expires", "5", "\"expected integer, got longstr\"" },
        { "x-max-length", "x", "\"expected integer, got longstr\"" },
        { "x-max-priority", "x", "\"expected integer, got longstr\"" },
        { "x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined" },
        { "x-overflow", "zork", "invalid_overflow" },
        { "x-queue-mode", "zork", "\"unsupported queue mode 'zork'\"" },
        { "x-queue-version", "x", "\"expected integer, got longstr\"" },
        { "x-single-active-consumer", "x", "{unacceptable_type,longstr}" },
        { "x-queue-type", "zork", "\"unsupported queue type 'zork'\"" },
        { "x-ha-policy", "zork", "{invalid_ha_policy,<<\"zork\">>}" },
        { "x-ha-policy", "nodes", "{require,'x-ha-policy-params'}" },
    };
    struct world w;
    struct args a;
    char text[256];
    world_init(&w, 1);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(text, sizeof text, "invalid arg '%s' for queue 'qn' in vhost '/': %s", bad[i].arg,
                 bad[i].what);
        refuse(&w, args_str(&a, bad[i].arg, bad[i].value), text);
    }
    world_fini(&w);
}

static struct slice ha_policy(struct args *a, const char *mode, const char *node)
{
    args_begin(a);
    amqp_table_put_text(&a->w, "x-ha-policy", mode);
    size_t mark = amqp_array_begin(&a->w, "x-ha-policy-params");
    struct amqp_field f = { .type = AMQP_FIELD_LONGSTR, .bytes = slice_str(node) };
    if (*node != '\0')
        amqp_array_put(&a->w, &f);
    amqp_table_end(&a->w, mark);
    return args_end(a);
}

Test(meta_args, judges_where_mirrors_are_to_be)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    refuse(&w, ha_policy(&a, "nodes", ""),
           "invalid arg 'x-ha-policy' for queue 'qn' in vhost '/': "
           "require_non_empty_list_of_nodes_for_ha");
    refuse(&w, ha_policy(&a, "exactly", "n1"),
           "invalid arg 'x-ha-policy' for queue 'qn' in vhost '/': require_positive_count_for_ha");
    args_begin(&a);
    amqp_table_put_text(&a.w, "x-ha-policy", "nodes");
    amqp_table_put_i32(&a.w, "x-ha-policy-params", 2);
    refuse(&w, args_end(&a),
           "invalid arg 'x-ha-policy' for queue 'qn' in vhost '/': "
           "ha_nodes_policy_params_not_array_of_longstr");
    struct meta_cmd c = q_declare("good");
    c.queue_declare.args = ha_policy(&a, "nodes", "n1");
    must(&w, c);
    c.queue_declare.args = args_str(&a, "x-ha-policy", "all");
    cr_expect(eq(int, (int)world_do(&w, c), META_DONE), "it is where it is");
    c.queue_declare.args = slice_of(NULL, 0);
    cr_expect(eq(int, (int)world_do(&w, c), META_DONE));
    world_fini(&w);
}

Test(meta_args, knows_which_arguments_a_type_has)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    refuse(&w, args_int(&a, "x-delivery-limit", 5),
           "invalid arg 'x-delivery-limit' for queue 'qn' in vhost '/' of queue type "
           "rabbit_classic_queue");
    refuse(&w, args_str(&a, "x-dead-letter-strategy", "at-most-once"),
           "invalid arg 'x-dead-letter-strategy' for queue 'qn' in vhost '/' of queue type "
           "rabbit_classic_queue");
    args_begin(&a);
    amqp_table_put_text(&a.w, "x-queue-type", "quorum");
    amqp_table_put_i32(&a.w, "x-max-priority", 5);
    refuse(&w, args_end(&a),
           "invalid arg 'x-max-priority' for queue 'qn' in vhost '/' of queue type "
           "rabbit_quorum_queue");
    args_begin(&a);
    amqp_table_put_text(&a.w, "x-queue-type", "quorum");
    amqp_table_put_i32(&a.w, "x-quorum-initial-group-size", 0);
    refuse(&w, args_end(&a),
           "invalid arg 'x-quorum-initial-group-size' for queue 'qn' in vhost '/': {value_zero,0}");
    args_begin(&a);
    amqp_table_put_text(&a.w, "x-queue-type", "quorum");
    amqp_table_put_text(&a.w, "x-dead-letter-strategy", "zork");
    refuse(&w, args_end(&a),
           "invalid arg 'x-dead-letter-strategy' for queue 'qn' in vhost '/': "
           "invalid_dlx_strategy");
    args_begin(&a);
    amqp_table_put_i32(&a.w, "x-max-length", -1);
    amqp_table_put_i32(&a.w, "x-expires", 0);
    refuse(&w, args_end(&a), "invalid arg 'x-expires' for queue 'qn' in vhost '/': {value_zero,0}");
    world_fini(&w);
}

Test(meta_args, knows_what_a_quorum_queue_cannot_be)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    struct meta_cmd c = q_declare("qn");
    c.queue_declare.args = args_str(&a, "x-queue-type", "quorum");
    must_not(&w, c, 406, "invalid property 'non-durable' for queue 'qn' in vhost '/'");
    c.queue_declare.durable = true;
    c.queue_declare.auto_delete = true;
    must_not(&w, c, 406, "invalid property 'auto-delete' for queue 'qn' in vhost '/'");
    c.queue_declare.auto_delete = false;
    c.queue_declare.exclusive = true;
    must_not(&w, c, 406, "invalid property 'exclusive-owner' for queue 'qn' in vhost '/'");
    c.queue_declare.exclusive = false;
    c.queue_declare.server_named = true;
    must_not(&w, c, 406, "Cannot declare a server-named queue for type rabbit_quorum_queue");
    c.queue_declare.server_named = false;
    must(&w, c);
    world_fini(&w);
}

static struct slice good_args(struct args *a, int64_t ttl, const char *exchange, bool is_single)
{
    args_begin(a);
    if (ttl > 0)
        amqp_table_put_i64(&a->w, "x-message-ttl", ttl);
    else
        amqp_table_put_text(&a->w, "x-message-ttl", "100");
    amqp_table_put_i32(&a->w, "x-max-length", 5);
    amqp_table_put_text(&a->w, "x-dead-letter-exchange", exchange);
    amqp_table_put_bool(&a->w, "x-single-active-consumer", is_single);
    return args_end(a);
}

Test(meta_args, compares_those_that_count)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    struct meta_cmd c = q_declare("qa");
    args_begin(&a);
    amqp_table_put_bool(&a.w, "x-single-active-consumer", true);
    amqp_table_put_text(&a.w, "x-dead-letter-exchange", "d");
    amqp_table_put_i32(&a.w, "x-message-ttl", 100);
    amqp_table_put_i32(&a.w, "x-max-length", 5);
    c.queue_declare.args = args_end(&a);
    must(&w, c);
    c.queue_declare.args = good_args(&a, 100, "d", true);
    must(&w, c); /* another order, and a wider number of the same value */
    c.queue_declare.args = good_args(&a, 101, "d", true);
    must_not(&w, c, 406,
             "inequivalent arg 'x-message-ttl' for queue 'qa' in vhost '/': received '101' but "
             "current is '100'");
    c.queue_declare.args = good_args(&a, -1, "d", true);
    must_not(&w, c, 406,
             "inequivalent arg 'x-message-ttl' for queue 'qa' in vhost '/': received '100' but "
             "current is '100'");
    c.queue_declare.args = good_args(&a, 100, "e", true);
    must_not(&w, c, 406,
             "inequivalent arg 'x-dead-letter-exchange' for queue 'qa' in vhost '/': received 'e' "
             "but current is 'd'");
    c.queue_declare.args = good_args(&a, 100, "d", false);
    must_not(&w, c, 406,
             "inequivalent arg 'x-single-active-consumer' for queue 'qa' in vhost '/': received "
             "'false' but current is 'true'");
    args_begin(&a);
    amqp_table_put_void(&a.w, "x-message-ttl");
    c.queue_declare.args = args_end(&a);
    must_not(&w, c, 406,
             "inequivalent arg 'x-message-ttl' for queue 'qa' in vhost '/': received none but "
             "current is '100'");
    must_not(&w, q_declare("qa"), 406,
             "inequivalent arg 'x-message-ttl' for queue 'qa' in vhost '/': received none but "
             "current is the value '100' of type 'signedint'");
    world_fini(&w);
}

Test(meta_args, takes_a_queue_without_a_type_for_a_classic_one)
{
    struct world w;
    struct args a;
    world_init(&w, 1);
    must(&w, q_declare("q1"));
    struct meta_cmd c = q_declare("q1");
    c.queue_declare.args = args_str(&a, "x-queue-type", "classic");
    must(&w, c);
    c.queue_declare.args = args_int(&a, "x-foo", 5);
    must(&w, c); /* what nobody knows is not compared */
    c.queue_declare.args = args_str(&a, "x-queue-type", "quorum");
    must_not(&w, c, 406,
             "inequivalent arg 'x-queue-type' for queue 'q1' in vhost '/': received the value "
             "'quorum' of type 'longstr' but current is none");
    c.queue_declare.args = args_int(&a, "x-message-ttl", 5);
    must_not(&w, c, 406,
             "inequivalent arg 'x-message-ttl' for queue 'q1' in vhost '/': received the value '5' "
             "of type 'signedint' but current is none");
    c = q_declare("q2");
    c.queue_declare.args = args_str(&a, "x-queue-type", "classic");
    must(&w, c);
    must(&w, q_declare("q2"));
    world_fini(&w);
}
