/*
 * link_hall: where connections of one class arrive on one loop, are proven and become links.
 *
 * It is given sockets by the door (link_door.h), speaks TLS and the handshake as the answering
 * side, tells the other side why when it turns it away, and finds the session that a connection
 * resumes. Made before its loop runs, or on it; everything else on its loop.
 */
#ifndef WARREN_LINK_HALL_H
#define WARREN_LINK_HALL_H

#include "io/stream.h"
#include "link/link.h"

struct link_hall;

struct link_hall_options {
    enum link_class class;
    uint64_t resume_ms;  /* 0: sessions end with their connection. As the callers' */
    size_t window_bytes; /* 0: LINK_WINDOW_BYTES */
    uint64_t ping_ms;    /* 0: LINK_PING_MS */
    uint64_t dead_ms;    /* 0: LINK_DEAD_MS */
    unsigned links_max;  /* 0: LINK_HALL_MAX; more are told BUSY */
};

#define LINK_HALL_MAX      1024u
#define LINK_STRANGERS_MAX 64u /* not proven yet, at a time */

struct link_hall_handlers {
    /* Is it welcome? It has proven the cookie, and is of our cluster where the class asks for that.
     * NULL: everybody is. */
    enum link_refusal (*judge)(const struct link_peer *peer, void *arg);
    /* A new session. The link is the owner's: link_set_owner now, link_free some day. Not for CTL.
     */
    void (*on_link)(struct link *l, const struct link_peer *peer, void *arg);
    /* For CTL: a stream that is proven. Takes *s. */
    void (*on_stream)(struct stream **s, const struct link_peer *peer, void *arg);
};

struct link_hall *link_hall_new(struct loop *loop, struct link_node *node,
                                const struct link_hall_options *options,
                                const struct link_hall_handlers *handlers, void *arg);

/* Strangers are sent away; links that it gave stay their owners', without a hope to be resumed. On
 * its loop, or when that does not run any more; the door sends it nothing any more. */
void link_hall_free(struct link_hall **h);

/* A process with a higher inc of this node was seen (by other means): sessions with its elder ones
 * are lost now. */
void link_hall_forget_older(struct link_hall *h, uint16_t node, uint32_t inc);

struct loop *link_hall_loop(const struct link_hall *h);

/* For the door, any thread: one more is to come. False: as many as may be are on their way, and the
 * hall's loop does not take them. Else link_hall_take follows. */
MUST_CHECK bool link_hall_expect(struct link_hall *h);

/* For the door: an accepted socket, taken, whose prelude was read. */
void link_hall_take(struct link_hall *h, int fd, uint16_t shard);

#endif
