/*
 * balance: which server is next (core).
 *
 * A pure choice over what the caller has seen of the servers at this moment. It knows nothing of
 * health, names or connections, and keeps no state: round robin's memory is a ticket, one number
 * that the caller counts up and that loops may share; chance comes from the caller's rng.
 */
#ifndef WARREN_BALANCE_H
#define WARREN_BALANCE_H

#include "base/attr.h"
#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>

#define BALANCE_SERVERS_MAX 64u
#define BALANCE_WEIGHT_MAX  (256u * 16u) /* a weight of 256, in the sixteenths of a slow start */

/* X(name, word in a config file) */
#define BALANCE_KINDS(X)                                                                           \
    X(ROUNDROBIN, "roundrobin")                                                                    \
    X(LEASTCONN, "leastconn")                                                                      \
    X(FIRST, "first")                                                                              \
    X(RANDOM, "random")

enum balance_kind {
#define X(name, word) BALANCE_##name,
    BALANCE_KINDS(X)
#undef X
};

struct balance_server {
    uint32_t weight;   /* at most BALANCE_WEIGHT_MAX; 0 takes nothing new */
    uint32_t load;     /* what it carries now, for leastconn and random */
    uint32_t load_max; /* full at this load; 0: never */
    bool usable;       /* up, and not tried in vain already */
    bool backup;       /* only when no other server is usable, and then the first of them alone */
};

/* The index of the next server, or -1 when none can take it. `count` is at most
 * BALANCE_SERVERS_MAX. Only RANDOM draws from `rng`. */
MUST_CHECK int balance_pick(enum balance_kind kind, const struct balance_server *servers,
                            unsigned count, uint64_t ticket, struct rng *rng);

const char *balance_kind_word(enum balance_kind kind);

/* A server's weight in sixteenths: full, or the part of it that a slow start of `slowstart_ms`
 * allows `up_for_ms` after the server came up; at least one sixteenth unless the weight is 0. */
uint32_t balance_weight(uint32_t weight, uint64_t up_for_ms, uint64_t slowstart_ms);

#endif
