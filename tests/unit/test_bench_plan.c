#include "bench_plan.h"

#include "amqp/amqp_table.h"
#include "expect.h"

static struct bench_options o;

static void begin(void)
{
    bench_options_init(&o);
    o.publishers = 5;
    o.queues = 4;
}

TestSuite(bench_plan, .init = begin);

/* What a broker would do with the binding; only as much of topics as the plan uses. */
static bool matches(const struct bench_plan *p, const char *key, struct slice headers,
                    const char *pattern, struct slice arguments)
{
    int64_t want;
    struct amqp_field f;
    switch (p->options->exchange) {
    case BENCH_EXCHANGE_DEFAULT:
        return false;
    case BENCH_EXCHANGE_FANOUT:
        return true;
    case BENCH_EXCHANGE_DIRECT:
        return strcmp(key, pattern) == 0;
    case BENCH_EXCHANGE_TOPIC:
        return strncmp(pattern, "*.", 2) == 0 && strcmp(strchr(key, '.'), pattern + 1) == 0;
    case BENCH_EXCHANGE_HEADERS:
        want = amqp_table_i64(arguments, "warren-key", -1);
        return want >= 0 && amqp_table_find(headers, "warren-key", &f) &&
               amqp_table_i64(headers, "warren-key", -2) == want;
    }
    return false;
}

/* Does any binding of the queue take the flow's messages? */
static unsigned bindings_that_match(const struct bench_plan *p, uint32_t flow, uint32_t queue)
{
    char key_room[256], pattern_room[256];
    uint8_t headers_room[256];
    struct text key = text_over(key_room, sizeof key_room);
    struct text pattern = text_over(pattern_room, sizeof pattern_room);
    struct wire_out headers = wire_out_over(headers_room, sizeof headers_room);
    bench_plan_key(p, bench_plan_flow_key(p, flow), &key);
    bench_plan_headers(p, bench_plan_flow_key(p, flow), &headers);
    unsigned count = 0;
    for (uint32_t b = 0; b < bench_plan_bindings(p); b++) {
        uint8_t room[512];
        struct wire_out arguments = wire_out_over(room, sizeof room);
        bench_plan_binding(p, queue, b, &pattern, &arguments);
        cr_assert_not(arguments.overflow);
        count += matches(p, key_room, wire_out_slice(&headers), pattern_room,
                         wire_out_slice(&arguments));
    }
    return count;
}

/* The plan's word on where a message must come is what its own bindings make of it. */
Test(bench_plan, goes_where_its_bindings_lead)
{
    const enum bench_exchange types[] = { BENCH_EXCHANGE_DIRECT, BENCH_EXCHANGE_FANOUT,
                                          BENCH_EXCHANGE_TOPIC, BENCH_EXCHANGE_HEADERS };
    for (size_t t = 0; t < ARRAY_COUNT(types); t++) {
        for (unsigned spread = 0; spread < 2; spread++) {
            struct bench_plan p;
            o.exchange = types[t];
            o.fan_out = types[t] == BENCH_EXCHANGE_FANOUT ? o.queues : 2;
            o.bindings = 5;
            o.spread = spread != 0;
            bench_plan_init(&p, &o, 7);
            for (uint32_t flow = 0; flow < p.flows; flow++) {
                uint32_t copies = 0;
                for (uint32_t q = 0; q < o.queues; q++) {
                    bool goes = bench_plan_goes(&p, flow, q);
                    copies += goes;
                    cr_expect(eq(int, goes, bindings_that_match(&p, flow, q) != 0),
                              "%s, flow %u, queue %u", bench_exchange_name(types[t]), flow, q);
                }
                cr_expect(eq(u32, copies, bench_options_copies(&o)));
            }
        }
    }
}

Test(bench_plan, names_queues_by_their_key_in_the_default_exchange)
{
    struct bench_plan p;
    char a[256], b[256];
    struct text key = text_over(a, sizeof a), queue = text_over(b, sizeof b);
    bench_plan_init(&p, &o, 7);
    cr_expect(eq(u32, bench_plan_bindings(&p), 0));
    expect_text(p.exchange, "");
    for (uint32_t i = 0; i < p.keys; i++) {
        bench_plan_key(&p, i, &key);
        bench_plan_queue(&p, i, &queue);
        expect_text(a, b);
    }
    for (uint32_t flow = 0; flow < p.flows; flow++)
        for (uint32_t q = 0; q < o.queues; q++)
            cr_expect(eq(int, bench_plan_goes(&p, flow, q), flow % o.queues == q));
}

Test(bench_plan, numbers_flows_apart_for_each_publisher)
{
    struct bench_plan p;
    o.spread = true;
    bench_plan_init(&p, &o, 7);
    cr_expect(eq(u32, p.publisher_flows, 4));
    cr_expect(eq(u32, p.flows, 20));
    cr_expect(eq(u32, bench_plan_flow_key(&p, 6), 2));
}

Test(bench_plan, knows_which_queues_have_a_consumer)
{
    struct bench_plan p;
    o.consumers = 2;
    bench_plan_init(&p, &o, 7);
    cr_expect(bench_plan_is_consumed(&p, 1));
    cr_expect_not(bench_plan_is_consumed(&p, 2));
    cr_expect(eq(u32, bench_plan_consumer_queue(&p, 5), 1));
    cr_expect(eq(u32, bench_plan_reach(&p, 1), 1));
    cr_expect(eq(u32, bench_plan_reach(&p, 2), 0));
    o.exchange = BENCH_EXCHANGE_FANOUT;
    bench_plan_init(&p, &o, 7);
    cr_expect(eq(u32, bench_plan_reach(&p, 4), 2));
}

Test(bench_plan, sends_queue_arguments_as_what_they_look_like)
{
    struct bench_plan p;
    uint8_t room[256];
    struct wire_out w = wire_out_over(room, sizeof room);
    o.queue_args[0] = "x-max-length=1000";
    o.queue_args[1] = "x-single-active-consumer=true";
    o.queue_args[2] = "x-queue-type=quorum";
    o.queue_args_count = 3;
    bench_plan_init(&p, &o, 7);
    bench_plan_queue_args(&p, &w);
    struct slice table = wire_out_slice(&w);
    cr_assert(amqp_table_check(table));
    cr_expect(eq(i64, amqp_table_i64(table, "x-max-length", 0), 1000));
    cr_expect(amqp_table_bool(table, "x-single-active-consumer", false));
    cr_expect(slice_is(amqp_table_longstr(table, "x-queue-type"), "quorum"));
}
