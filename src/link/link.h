/*
 * link: a connection to another node of the cluster, over which frames travel both ways.
 *
 * TCP, then TLS 1.3, then a mutual proof of the cookie that is bound to the TLS session. The side
 * that wants something dials and keeps dialling; the other one gets its links from link_hall.h. A
 * *session* is what lies between on_up and on_lost: within it frames come exactly once and in
 * order (of one priority), and there is no gap in them before its end. With `resume_ms` a session
 * outlives its TCP connections: what the other side has not acknowledged is kept (`window_bytes`
 * at most, then the link is full) and said again over the next one, as long as both processes
 * live. Without it the session ends with the connection, and what was under way is lost.
 *
 *     dialled:   DIALLING --> on_up ... on_lost --> DIALLING --> on_up ...   until link_free
 *     accepted:  (given to the hall's on_link)  ... on_lost, and it is of no use any more
 *
 * A link belongs to one loop. Callbacks come from the loop, never from inside a call on the link;
 * any of them may free the link.
 */
#ifndef WARREN_LINK_H
#define WARREN_LINK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "io/loop.h"
#include "link/link_node.h"

/* What a connection is for; it says so before TLS, so that it reaches the right loop.
 *   X(name, octet, text, must both be of one cluster?) */
#define LINK_CLASSES(X)                                                                            \
    X(CONTROL, 1, "control", LINK_CLUSTER_SAME)   /* raft, membership: the control threads */      \
    X(BULK, 2, "bulk", LINK_CLUSTER_SAME)         /* remote queues: shard to shard */              \
    X(ASK, 3, "ask", LINK_CLUSTER_ANY)            /* who may be of another cluster, or of none */  \
    X(FEED, 4, "feed", LINK_CLUSTER_SAME_OR_NONE) /* what gossip says over TCP; proxies, too */    \
    X(CTL, 5, "warrenctl", LINK_CLUSTER_ANY)      /* no link: HTTP after the proof */              \
    X(MIRROR, 6, "mirror", LINK_CLUSTER_SAME)     /* replication of queues: shard to shard */

enum link_cluster { LINK_CLUSTER_SAME, LINK_CLUSTER_SAME_OR_NONE, LINK_CLUSTER_ANY };

enum link_class {
#define X(name, octet, text, clusters) LINK_##name = (octet),
    LINK_CLASSES(X)
#undef X
        LINK_CLASS_END /* one past the last */
};

/* Why one side turned the other away: in its own words, and in those of the one turned away. */
#define LINK_REFUSALS(X)                                                                           \
    X(NONE, "accepted", "accepted")                                                                \
    X(COOKIE, "it has another cookie", "it has another cookie")                                    \
    X(VERSION, "no version of the cluster protocol is spoken by both",                             \
      "no version of the cluster protocol is spoken by both")                                      \
    X(CLUSTER, "it is of another cluster", "it is of another cluster")                             \
    X(NAME, "the node that was called is not the one that answers",                                \
      "the node that was called is not the one that answers")                                      \
    X(NOT_MEMBER, "it is not a member of this cluster",                                            \
      "this node is not a member of its cluster")                                                  \
    X(CLASS, "such links are not served here", "it does not serve such links")                     \
    X(SESSION, "its session is not known here any more", "it does not know the session any more")  \
    X(BUSY, "there is no room for more links, or not yet", "it takes no more links, or not yet")   \
    X(SELF, "it is this very process", "it is this very process")

enum link_refusal {
#define X(name, ours, theirs) LINK_REFUSED_##name,
    LINK_REFUSALS(X)
#undef X
        LINK_REFUSED_COUNT
};

/* Who is at the other end; proven. */
struct link_peer {
    struct link_identity id;
    enum link_class class;
    uint16_t shard;   /* as the caller asked */
    uint16_t version; /* of the protocol, the highest that both speak */
    char address[128];
};

/* Why a session ended. */
#define LINK_LOSSES(X)                                                                             \
    X(BROKEN, "the connection broke")                                                              \
    X(SILENT, "nothing was heard for too long")                                                    \
    X(OTHER_PROCESS, "another process answers")                                                    \
    X(FORGOTTEN, "the other side gave it up")                                                      \
    X(GIVEN_UP, "it was given up")                                                                 \
    X(PROTOCOL, "the other side broke the protocol")                                               \
    X(OVERRUN, "more was written than it may hold")

enum link_loss {
#define X(name, text) LINK_LOST_##name,
    LINK_LOSSES(X)
#undef X
};

/* Why a try to connect failed. */
enum link_trouble {
    LINK_TROUBLE_RESOLVE, /* the name has no address */
    LINK_TROUBLE_NOBODY,  /* ECONNREFUSED: the host is there, and no process listens */
    LINK_TROUBLE_CONNECT, /* no answer in time, no route, ... */
    LINK_TROUBLE_BROKEN,  /* connected, and broke or fell silent before it was proven */
    LINK_TROUBLE_REFUSED, /* by the handshake, on either side: see `refusal` */
};

struct link;

struct link_frame {
    uint8_t type;
    struct slice payload; /* head and body, borrowed for the callback */
    struct buf *block; /* that holds it: keep a range by a reference (of a block of up to 1 MiB) */
};

struct link_handlers {
    /* A session begins. May be NULL for links that a hall gives. */
    void (*on_up)(struct link *l, void *arg);
    void (*on_frame)(struct link *l, const struct link_frame *f, void *arg);
    /* Was full, and has room again. May be NULL. */
    void (*on_room)(struct link *l, void *arg);
    /* The session is over; called once for each on_up. What was not acknowledged may or may not
     * have arrived. A dialled link dials on; an accepted one is the owner's to free. Also for a
     * dialled link with resume_ms that was sent frames and did not come up within resume_ms. What
     * is known of it beyond `why` is in err; NULL: nothing is. */
    void (*on_lost)(struct link *l, enum link_loss why, const struct err *err, void *arg);
    /* A try to connect failed; the next follows by itself. Also while a session waits to be
     * resumed. May be NULL. Refusals were logged. */
    void (*on_trouble)(struct link *l, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg);
};

struct link_options {
    enum link_class class;
    uint16_t shard;   /* the other side picks its loop by it */
    const char *host; /* name or address */
    uint16_t port;
    const char *name;    /* NAME@HOST that must answer; NULL: any */
    uint16_t node;       /* id that must answer; 0: any */
    uint64_t resume_ms;  /* 0: a session ends with its connection */
    size_t window_bytes; /* kept and waiting, before the link is full; 0: LINK_WINDOW_BYTES */
    uint64_t ping_ms;    /* idle, say something; 0: LINK_PING_MS */
    uint64_t dead_ms;    /* nothing heard: it is gone; 0: LINK_DEAD_MS */
};

#define LINK_WINDOW_BYTES ((size_t)16 * 1024 * 1024)
#define LINK_PING_MS      500u
#define LINK_DEAD_MS      3000u
#define LINK_RESUME_MS    10000u
#define LINK_FRAME_MAX                                                                             \
    ((size_t)1024 * 1024 - 64) /* payload of one frame; more travels in parts                      \
                                */
#define LINK_TYPE_LEAST 16u    /* of the owner's frames; below are the link's own */

/* Dial, until link_free. All of `options` is copied. */
struct link *link_dial(struct loop *loop, struct link_node *node,
                       const struct link_options *options, const struct link_handlers *handlers,
                       void *arg);

/* For a link that a hall gave: from inside on_link. Later, from a callback: somebody else owns it
 * from then on. */
void link_set_owner(struct link *l, const struct link_handlers *handlers, void *arg);

/* The other side hears of it at once (LINK_LOST_FORGOTTEN). No callback follows. */
void link_free(struct link **l);

/* End the session; on_lost follows, and a dialled link begins anew. */
void link_give_up(struct link *l);

/* Of one that dials: clock_mono_us when the last try began. */
uint64_t link_tried_us(const struct link *l);

/* Dial at once, whatever the backoff says. No effect when connected. */
void link_kick(struct link *l);

/* Where it is to be dialled from now on (the next time). */
void link_set_place(struct link *l, const char *host, uint16_t port);

enum link_priority {
    LINK_BULKY,  /* in order among themselves */
    LINK_URGENT, /* ... and overtaking bulky ones that are not on their way yet */
};

/* Append one frame: `head` is copied; `body` lies inside `block`, of which a reference is held
 * until it is sent (and acknowledged) when it is long enough, else it is copied too. `block` may be
 * NULL: then body is copied whatever its length. Head and body together: LINK_FRAME_MAX at most.
 * Leaves at the turn's end, with all else.
 *
 * False, and nothing is kept: there is no session. A dialled link with resume_ms takes frames
 * before its session begins, too. Writing to a full link works; at twice its window it is lost. */
bool link_send(struct link *l, enum link_priority priority, uint8_t type, struct slice head,
               struct buf *block, struct slice body);

/* The same of a frame that lies in its block already, all but the link's own head: right before the
 * payload there are LINK_HEAD_ROOM octets of the block that nobody else looks at. A reference is
 * held, whatever its length, and nothing is copied; it travels in as few records of TLS as it can.
 */
#define LINK_HEAD_ROOM 5u
bool link_send_whole(struct link *l, enum link_priority priority, uint8_t type, struct buf *block,
                     struct slice payload);

/* Stop filling it until on_room. */
bool link_is_full(const struct link *l);

/* Show no more frames, and go on. TCP then slows the other side down, its acknowledgements to us
 * included: so never pause because this same link is full, or both may wait for each other. */
void link_pause(struct link *l);
void link_unpause(struct link *l);

/* ---- about it ---- */

bool link_is_up(const struct link *l);                   /* in a session */
bool link_is_connected(const struct link *l);            /* ... whose connection stands */
const struct link_peer *link_peer(const struct link *l); /* of the last session; NULL: none yet */

struct link_stats {
    uint64_t frames_in, frames_out; /* the owner's, all sessions */
    uint64_t bytes_in, bytes_out;   /* of these */
    uint64_t connects;              /* connections that were proven */
    uint64_t resumes;               /* ... that went on with a session */
    uint64_t fills;                 /* times that it became full */
    size_t waiting_bytes;           /* not given to a connection yet */
    size_t unacked_bytes; /* given, not acknowledged (resume_ms) or not with the kernel yet */
    uint32_t rtt_us;      /* the last one measured; 0: none yet */
};
void link_stats(const struct link *l, struct link_stats *out);

/* Names for logs. */
const char *link_class_text(enum link_class c);
/* Are both ends nodes? Else one may be a proxy or warrenctl. */
bool link_class_is_of_nodes(enum link_class c);
bool link_class_carries_messages(enum link_class c); /* of queues */
const char *link_refusal_text(enum link_refusal r, bool by_peer);
const char *link_loss_text(enum link_loss w);

#endif
