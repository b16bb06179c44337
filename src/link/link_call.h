/*
 * link_call: one try to reach another program's cluster port, and to prove each other the cookie;
 * then the stream is the caller's, for HTTP or whatever is spoken on it.
 *
 * One loop. The callback comes from the loop, never from inside link_call.
 */
#ifndef WARREN_LINK_CALL_H
#define WARREN_LINK_CALL_H

#include "io/stream.h"
#include "link/link.h"

struct link_call;

struct link_call_handlers {
    /* Proven. Takes *s: stream_hand_over it, now. */
    void (*on_stream)(struct stream **s, const struct link_peer *peer, void *arg);
    void (*on_failed)(enum link_trouble what, enum link_refusal refusal, const struct err *err,
                      void *arg);
};

/* Of `options` only class (LINK_CTL), host, port, name and node count. One of the two is called,
 * once, at the latest after timeout_ms; the call is gone then. */
struct link_call *link_call(struct loop *loop, struct link_node *node,
                            const struct link_options *options, uint64_t timeout_ms,
                            const struct link_call_handlers *handlers, void *arg);

/* None is called. *c becomes NULL, and may be NULL. */
void link_call_free(struct link_call **c);

#endif
