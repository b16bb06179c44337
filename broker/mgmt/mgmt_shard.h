/*
 * mgmt_shard: what the management does on the shards: requests to queues, publishing, fetching.
 *
 * The work is done on the shard's thread, in the order of its mail, and answered on the
 * management's; the call lives until then.
 */
#ifndef WARREN_MGMT_SHARD_H
#define WARREN_MGMT_SHARD_H

#include "mgmt/mgmt_call.h"
#include "port.h"

typedef void (*mgmt_shard_fn)(struct mgmt_call *c, const struct port_request *r);

/* Ask a queue as a channel would; `r` is copied. Not for CONSUME and CANCEL. */
void mgmt_shard_ask(struct mgmt_call *c, const struct meta_queue *q, const struct port_request *r,
                    mgmt_shard_fn done);

#endif
