/*
 * mgmt_totals: the figures of all queues together, and of those of each vhost; and of the clients
 * that are connected, by vhost too.
 *
 * Every shard adds up its own, a bounded piece in a turn, and keeps nothing for each queue, however
 * many there are. What comes and goes meanwhile may be missed.
 */
#ifndef WARREN_MGMT_TOTALS_H
#define WARREN_MGMT_TOTALS_H

#include "base/attr.h"
#include "base/slice.h"

#include <stddef.h>
#include <stdint.h>

struct broker;
struct loop;
struct mgmt_peers;

/* X(name) of what is added up. */
#define MGMT_TOTALS(X)                                                                             \
    X(queues)                                                                                      \
    X(consumers)                                                                                   \
    X(ready)                                                                                       \
    X(unacked)                                                                                     \
    X(ready_bytes)                                                                                 \
    X(unacked_bytes)                                                                               \
    X(paged_out)                                                                                   \
    X(paged_out_bytes)                                                                             \
    X(disk_reads)                                                                                  \
    X(disk_writes)                                                                                 \
    X(memory_bytes)                                                                                \
    X(published)                                                                                   \
    X(delivered)                                                                                   \
    X(redelivered)                                                                                 \
    X(acked)                                                                                       \
    X(connections)                                                                                 \
    X(channels)                                                                                    \
    X(in_bytes)                                                                                    \
    X(out_bytes)                                                                                   \
    X(unconfirmed)                                                                                 \
    X(prefetch)

struct mgmt_totals {
    uint64_t vhost_id; /* 0: all */
#define X(name) uint64_t name;
    MGMT_TOTALS(X)
#undef X
};

/* On the loop that asked; lent until it returns. */
typedef void (*mgmt_totals_fn)(void *arg, const struct mgmt_totals *all,
                               const struct mgmt_totals *vhosts, size_t vhost_count);

/* Of this node, and with `peers` of the others that are up. */
void mgmt_ask_totals(struct broker *b, struct loop *loop, struct mgmt_peers *peers,
                     mgmt_totals_fn done, void *arg);

/* As octets between nodes: u8 MGMT_TOTALS_FORMAT, u32 count, and for each vhost its id and all
 * numbers, u64. False: that is no such list. */
#define MGMT_TOTALS_FORMAT 1u
struct text;
void mgmt_totals_put(struct text *out, const struct mgmt_totals *vhosts, size_t count);
typedef void (*mgmt_totals_each_fn)(void *arg, const struct mgmt_totals *one);
MUST_CHECK bool mgmt_totals_take(struct slice in, mgmt_totals_each_fn each, void *arg);

void mgmt_totals_add(struct mgmt_totals *to, const struct mgmt_totals *more);

/* Those of one vhost, all zero when it has no queue. */
struct mgmt_totals mgmt_totals_of_vhost(const struct mgmt_totals *vhosts, size_t count,
                                        uint64_t vhost_id);

#endif
