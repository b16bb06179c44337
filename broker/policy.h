/*
 * policy: what arguments and policies make of a queue.
 *
 * RabbitMQ's rules: of a limit that both an argument and a policy set, the smaller one counts; of a
 * name or a mode, the argument's. An operator policy comes before a policy in the same way, see
 * meta.h. Stateless; any thread that may hold the version.
 */
#ifndef WARREN_POLICY_H
#define WARREN_POLICY_H

#include "cluster/meta.h"
#include "model/queue.h"

/* The names in *out point into the version's objects. */
void policy_settings(const struct meta_version *v, const struct meta_queue *q,
                     struct queue_settings *out);

#endif
