/*
 * consume_args: the arguments of basic.consume that mean something, judged in RabbitMQ's words.
 *
 * x-priority is the queue's concern, x-cancel-on-ha-failover that of whoever moves masters;
 * x-stream-offset is for streams, which Warren has none of. All others are ignored. Pure.
 */
#ifndef WARREN_CONSUME_ARGS_H
#define WARREN_CONSUME_ARGS_H

#include "cluster/meta.h"

struct consume_args {
    int64_t priority;           /* higher ones are served first; 0 when nothing is said */
    bool cancel_on_ha_failover; /* rather than be carried to a new master */
};

/* `args` is a field table, found well formed before. */
MUST_CHECK bool consume_args_read(const struct meta_vhost *vh, const struct meta_queue *q,
                                  struct slice args, struct consume_args *out,
                                  struct meta_refusal *why);

#endif
