#include "bench_plan.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>

/* What the topics and the headers of our messages are called. */
#define TOPIC_HEAD  "warren"
#define HEADER_NAME "warren-key"

void bench_plan_init(struct bench_plan *p, const struct bench_options *o, uint16_t run)
{
    bool one_key = o->exchange == BENCH_EXCHANGE_FANOUT;
    *p = (struct bench_plan){ .options = o, .run = run };
    if (o->queue_name != NULL)
        (void)snprintf(p->name, sizeof p->name, "%s", o->queue_name);
    else
        (void)snprintf(p->name, sizeof p->name, "warren-bench-%" PRIu16, run);
    if (o->exchange != BENCH_EXCHANGE_DEFAULT)
        (void)snprintf(p->exchange, sizeof p->exchange, "%.48s-%s", p->name,
                       bench_exchange_name(o->exchange));
    p->keys = one_key ? 1 : o->queues;
    p->publisher_flows = o->spread ? p->keys : 1;
    p->flows = p->publisher_flows * (o->publishers != 0 ? o->publishers : 1);
}

void bench_plan_queue(const struct bench_plan *p, uint32_t queue, struct text *out)
{
    CHECK(queue < p->options->queues);
    text_clear(out);
    text_str(out, p->name);
    if (p->options->queues > 1)
        text_put(out, "-%" PRIu32, queue);
}

void bench_plan_key(const struct bench_plan *p, uint32_t key, struct text *out)
{
    CHECK(key < p->keys);
    switch (p->options->exchange) {
    case BENCH_EXCHANGE_DEFAULT:
        bench_plan_queue(p, key, out);
        return;
    case BENCH_EXCHANGE_DIRECT:
    case BENCH_EXCHANGE_TOPIC:
        text_clear(out);
        text_put(out, TOPIC_HEAD ".%" PRIu32, key);
        return;
    case BENCH_EXCHANGE_FANOUT:
    case BENCH_EXCHANGE_HEADERS:
        text_clear(out);
        return;
    }
    UNREACHABLE("exchange type");
}

uint32_t bench_plan_bindings(const struct bench_plan *p)
{
    const struct bench_options *o = p->options;
    switch (o->exchange) {
    case BENCH_EXCHANGE_DEFAULT:
        return 0;
    case BENCH_EXCHANGE_FANOUT:
        return o->bindings;
    case BENCH_EXCHANGE_DIRECT:
    case BENCH_EXCHANGE_TOPIC:
    case BENCH_EXCHANGE_HEADERS:
        return o->bindings > o->fan_out ? o->bindings : o->fan_out;
    }
    UNREACHABLE("exchange type");
}

/* The key of a binding that takes part in the fan-out: queue q takes the keys q, q - 1, ... */
static uint32_t taken_key(const struct bench_plan *p, uint32_t queue, uint32_t b)
{
    return (queue + p->keys - b) % p->keys;
}

void bench_plan_binding(const struct bench_plan *p, uint32_t queue, uint32_t b, struct text *key,
                        struct wire_out *arguments)
{
    bool matches = b < p->options->fan_out;
    uint32_t k = matches ? taken_key(p, queue, b) : 0;
    text_clear(key);
    switch (p->options->exchange) {
    case BENCH_EXCHANGE_DEFAULT:
        return;
    case BENCH_EXCHANGE_FANOUT: /* all match, whatever the key */
        text_put(key, "%" PRIu32, b);
        return;
    case BENCH_EXCHANGE_DIRECT:
        if (matches)
            bench_plan_key(p, k, key);
        else
            text_put(key, "other.%" PRIu32 ".%" PRIu32, queue, b);
        return;
    case BENCH_EXCHANGE_TOPIC:
        if (matches)
            text_put(key, "*.%" PRIu32, k);
        else
            text_put(key, "other.*.%" PRIu32 ".#.%" PRIu32, queue, b);
        return;
    case BENCH_EXCHANGE_HEADERS:
        amqp_table_put_text(arguments, "x-match", "all");
        amqp_table_put_i64(arguments, matches ? HEADER_NAME : "other", matches ? k : b);
        return;
    }
    UNREACHABLE("exchange type");
}

void bench_plan_headers(const struct bench_plan *p, uint32_t key, struct wire_out *out)
{
    if (p->options->exchange == BENCH_EXCHANGE_HEADERS)
        amqp_table_put_i64(out, HEADER_NAME, key);
}

void bench_plan_queue_args(const struct bench_plan *p, struct wire_out *out)
{
    for (uint32_t i = 0; i < p->options->queue_args_count; i++) {
        const char *arg = p->options->queue_args[i];
        const char *equals = strchr(arg, '=');
        char name[UINT8_MAX + 1];
        (void)snprintf(name, sizeof name, "%.*s", (int)(equals - arg), arg);
        uint64_t number;
        if (units_u64(slice_str(equals + 1), &number))
            amqp_table_put_u64(out, name, number);
        else if (strcmp(equals + 1, "true") == 0 || strcmp(equals + 1, "false") == 0)
            amqp_table_put_bool(out, name, equals[1] == 't');
        else
            amqp_table_put_text(out, name, equals + 1);
    }
}

bool bench_plan_goes(const struct bench_plan *p, uint32_t flow, uint32_t queue)
{
    const struct bench_options *o = p->options;
    if (o->exchange == BENCH_EXCHANGE_FANOUT)
        return true;
    uint32_t behind = (queue + p->keys - bench_plan_flow_key(p, flow)) % p->keys;
    return behind < bench_options_copies(o);
}

bool bench_plan_is_consumed(const struct bench_plan *p, uint32_t queue)
{
    return queue < p->options->consumers;
}

uint32_t bench_plan_reach(const struct bench_plan *p, uint32_t flow)
{
    uint32_t count = 0;
    for (uint32_t q = 0; q < p->options->queues; q++)
        count += bench_plan_is_consumed(p, q) && bench_plan_goes(p, flow, q);
    return count;
}
