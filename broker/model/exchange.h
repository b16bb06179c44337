/*
 * exchange: where a message goes. Routing on a version of the metadata.
 *
 * Reads only; any thread that may hold the version. The results are kept in a route_out that its
 * owner uses again and again, so that routing allocates nothing once it has grown to what is usual.
 */
#ifndef WARREN_EXCHANGE_H
#define WARREN_EXCHANGE_H

#include "cluster/meta.h"

#define ROUTE_INLINE 16u /* as many queues without any allocation */

struct route_in {
    uint64_t vhost_id;
    struct slice exchange;         /* name; empty: the default exchange */
    struct slice key;              /* routing key */
    const struct slice *more_keys; /* further ones (headers CC and BCC), or NULL */
    size_t more_count;
    struct slice
        headers; /* the message's headers, a field table without its length; may be empty */
    struct slice
        props;        /* all its properties, raw, for exchanges that look at others; may be empty */
    bool to_internal; /* the broker itself publishes: an internal exchange takes it too */
    /* For who only wonders, and has no time to lose; 0: as many as it takes. The way is left off,
     * out->is_cut, when there are more queues, or more bindings to be looked at. */
    size_t queues_most, steps_most;
};

/* Distinct queues. Init once; results are good until the next route, or the end of the version. */
struct route_out {
    const struct meta_queue **queues;
    size_t count;
    size_t cap;
    bool by_names; /* exchange and keys alone decided: the next message with them goes the same way
                    */
    bool by_key;   /* ... and the key had a say in it: another one may go another way */
    bool is_cut;   /* that is not all, see route_in; nor is what is said above */
    const struct meta_queue *few[ROUTE_INLINE];
    struct route_scratch *scratch; /* made when first needed, then kept */
};

void route_out_init(struct route_out *out);
void route_out_fini(struct route_out *out);

/* Fill `out`; none found is a success with count 0. False when the message may not be published
 * there at all: 404 no such exchange, 403 an internal one. */
MUST_CHECK bool exchange_route(const struct meta_version *v, const struct route_in *in,
                               struct route_out *out, struct meta_refusal *why);

/* The verdict of exchange_route on the exchange alone. */
MUST_CHECK bool exchange_may_publish(const struct meta_version *v, uint64_t vhost_id,
                                     struct slice exchange, struct meta_refusal *why);

/* What to do with a route that was kept: it still holds while v->routes is the same, for a named
 * exchange; for the default exchange nothing need be kept, it is one look-up. */
static inline bool route_may_be_kept(const struct route_in *in)
{
    return in->exchange.len != 0;
}

#endif
