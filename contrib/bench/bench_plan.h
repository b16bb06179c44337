/*
 * bench_plan: who publishes what to whom, worked out from the options before anything runs.
 *
 * A publisher sends one or more flows, each with one routing key for the whole run, so that it is
 * known of every message to which queues it must come. Message n of a publisher belongs to its
 * flow n % flows and has the sequence n / flows there. Immutable after bench_plan_init, and so for
 * all threads.
 */
#ifndef WARREN_BENCH_PLAN_H
#define WARREN_BENCH_PLAN_H

#include "base/text.h"
#include "base/wire.h"
#include "bench_options.h"

struct bench_plan {
    const struct bench_options *options; /* borrowed */
    uint16_t run;                        /* tells this run's messages from others' */
    char name[64];                       /* of the queue, or of what their names begin with */
    char exchange[64];                   /* "": the default one */
    uint32_t keys;
    uint32_t publisher_flows; /* of each publisher */
    uint32_t flows;           /* of all */
};

void bench_plan_init(struct bench_plan *p, const struct bench_options *o, uint16_t run);

/* Names, into `out`, which is cleared first. */
void bench_plan_queue(const struct bench_plan *p, uint32_t queue, struct text *out);
void bench_plan_key(const struct bench_plan *p, uint32_t key, struct text *out);

/* The b-th binding of a queue (b < options->bindings, or fan_out when that is more): its routing
 * key and arguments, encoded as a table. */
void bench_plan_binding(const struct bench_plan *p, uint32_t queue, uint32_t b, struct text *key,
                        struct wire_out *arguments);
uint32_t bench_plan_bindings(const struct bench_plan *p);

/* The headers of a message with this key, encoded as a table; nothing unless the exchange looks at
 * them. */
void bench_plan_headers(const struct bench_plan *p, uint32_t key, struct wire_out *out);

/* The arguments of the queues, encoded as a table. */
void bench_plan_queue_args(const struct bench_plan *p, struct wire_out *out);

static inline uint32_t bench_plan_flow_key(const struct bench_plan *p, uint32_t flow)
{
    return p->publisher_flows > 1 ? flow % p->publisher_flows : flow % p->keys;
}

static inline uint32_t bench_plan_consumer_queue(const struct bench_plan *p, uint32_t consumer)
{
    return consumer % p->options->queues;
}

/* Must the messages of this flow come to this queue? */
bool bench_plan_goes(const struct bench_plan *p, uint32_t flow, uint32_t queue);

/* Has the queue a consumer of ours? */
bool bench_plan_is_consumed(const struct bench_plan *p, uint32_t queue);

/* To how many consumers of ours must each message of this flow come? */
uint32_t bench_plan_reach(const struct bench_plan *p, uint32_t flow);

#endif
