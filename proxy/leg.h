/*
 * leg: the broker's half of a client's channel: which upstream carries it, and where the broker
 * stands in what it says. The channel's number is the same on both sides, so that frames pass
 * unchanged. A channel has one at most at an upstream.
 */
#ifndef WARREN_LEG_H
#define WARREN_LEG_H

#include "base/attr.h"
#include "base/pool.h"
#include "content.h"
#include "upstream.h"

struct leg {
    struct upstream *upstream;
    struct content deliver; /* to the client: deliveries, returns, answers to basic.get */
    unsigned told;          /* answers that are still to come to what the proxy itself has said */
    unsigned number;        /* by which the channel's split knows it; 0: the main one */
    bool is_closing;        /* it was sent channel.close by the split, or by follow */
};

/* NULL when the pool is empty. The upstream is READY. */
MUST_CHECK struct leg *leg_new(struct pool *pool, struct upstream *upstream);
void leg_free(struct pool *pool, struct leg **leg);

#endif
