/*
 * link_inner: what the files of a link share: link.c (sessions and frames), link_dial.c (the side
 * that dials) and link_hall.c (the side that answers). For these alone.
 */
#ifndef WARREN_LINK_INNER_H
#define WARREN_LINK_INNER_H

#include "base/log.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "link/link_flow.h"
#include "link/link_hall.h"
#include "link/link_shake.h"

#include <sys/queue.h>

#define LINK_SHAKE_MS  5000u
#define LINK_LINGER_MS 1000u
#define LINK_HOST_MAX  256u

/*
 *   dialled:   RESTING --> RESOLVING --> CONNECTING --> SHAKING --> CONNECTED
 *                 ^            |              |             |           |
 *                 +------------+--- failed ---+-------------+-- broken -+
 *   accepted:  CONNECTED <--> PARKED (until it is resumed)
 *                 +---- lost ----+----> ENDED
 */
#define LINK_STATES(X)                                                                             \
    X(RESTING, TO(RESOLVING))                                                                      \
    X(RESOLVING, TO(RESTING) | TO(CONNECTING))                                                     \
    X(CONNECTING, TO(RESTING) | TO(CONNECTING) | TO(SHAKING))                                      \
    X(SHAKING, TO(RESTING) | TO(CONNECTED))                                                        \
    X(CONNECTED, TO(RESTING) | TO(PARKED) | TO(ENDED))                                             \
    X(PARKED, TO(CONNECTED) | TO(ENDED))                                                           \
    X(ENDED, 0)

enum link_state {
#define X(name, moves) LINK_##name,
    LINK_STATES(X)
#undef X
};

/* What only the side that dials has. */
struct link_dialler {
    char host[LINK_HOST_MAX];
    uint16_t port;
    char name[LINK_NAME_MAX]; /* "": any */
    uint16_t node;
    uint64_t id;       /* random: tells this struct link from others of the process */
    uint32_t session;  /* the number of the present or next one */
    uint64_t rest_ms;  /* the last pause between two tries */
    uint64_t tried_us; /* when the last of them began */
    struct resolve *resolve;
    struct resolve_answer places;
    unsigned next_place;
    bool only_nobody; /* every place that was tried refused the connection */
    struct link_shake *shake;
    void (*on_proven)(struct link *l, struct stream **s); /* see link_dial_once; else NULL */
    struct loop_timer timer; /* RESTING: the next try; SHAKING: too slow */
    char told[ERR_TEXT_MAX]; /* the last trouble that was logged */
    uint64_t told_ms;
    uint64_t trouble_ms; /* since when there is trouble; 0: none since it was connected */
};

struct link {
    struct loop *loop;
    struct link_node *node;
    const struct link_handlers *handlers; /* NULL: accepted, and has no owner yet */
    void *arg;
    enum link_state state;
    enum link_class class;
    uint16_t shard;
    uint64_t resume_ms;
    size_t window_bytes;
    uint64_t ping_ms;
    uint64_t dead_ms;

    bool in_session;
    bool freed; /* its memory lives until the turn is over */
    bool paused;
    bool full;
    bool acks_soon;    /* ack_timer runs */
    bool forgets_soon; /* loss_timer runs */
    struct link_flow flow;
    struct stream *stream; /* CONNECTED; also CONNECTING and SHAKING of one that dials */
    struct link_peer peer;
    bool has_peer;
    uint64_t peer_boot;
    enum link_loss broken_why; /* while it waits to be resumed */
    struct err broken_err;
    uint64_t heard_floor_ms; /* silence is judged from here at the earliest */
    uint64_t ticked_ms;
    struct loop_timer tick; /* pings, and judges silence */
    struct loop_timer ack_timer;
    struct loop_timer loss_timer; /* the session is over when it fires */
    struct loop_task pump_task;
    struct loop_task room_task;
    struct loop_task end_task;
    enum link_loss end_why;
    struct link_stats stats;

    struct link_dialler *dialler; /* NULL: accepted */
    struct link_hall *hall;       /* accepted, and may be resumed; else NULL */
    uint64_t dialler_id;          /* accepted: the other side's */
    uint32_t session;
    LIST_ENTRY(link) entry; /* of the hall */
};

/* ---- link.c ---- */

struct link *link_make(struct loop *loop, struct link_node *node, enum link_class class,
                       uint64_t resume_ms, size_t window_bytes, uint64_t ping_ms, uint64_t dead_ms);

/* A proven stream, taken. Resumed: the other side has heard up to `heard`; false: it cannot have,
 * and the stream is left as it is. Else a session begins; on_up follows. */
MUST_CHECK bool link_connect(struct link *l, struct stream **s, const struct link_shake *shake,
                             bool resumed);

/* Who is at the other end of the stream that it has. */
void link_note_peer(struct link *l, const struct link_shake *shake);

/* The session is over: on_lost is called. The link may be freed when this returns. */
void link_lose(struct link *l, enum link_loss why, const struct err *err);

/* The present connection is of no more use, but the session may go on. */
void link_drop_stream(struct link *l);

/* A step of the state, which must be allowed. */
void link_move(struct link *l, enum link_state to);

/* ---- link_dial.c ---- */

/* The connection is gone, and its stream freed: try at once. */
void link_dial_again(struct link *l);

/* A session has ended: the next one begins with the next connection, which is sought at once, and
 * which one that was shaking hands for the old session is not. */
void link_dial_anew(struct link *l);

void link_dial_end(struct link *l);

/* For link_call.c: whoever answers and is proven is given away as a stream. Its owner frees the
 * link in on_proven, and with the first trouble, of which it alone tells. */
struct link *link_dial_once(struct loop *loop, struct link_node *node,
                            const struct link_options *options,
                            const struct link_handlers *handlers, void *arg,
                            void (*on_proven)(struct link *l, struct stream **s));

/* ---- link_hall.c ---- */

/* It cannot be resumed any more. */
void link_hall_remove(struct link *l);

/* ---- for all ---- */

/* Who we are, as of now. */
void link_about_self(const struct link_node *node, struct link_about *out);

/* Begin the handshake on a stream whose TLS is open. */
void link_shake_begin(struct link_shake *s, enum link_role role, enum link_class class,
                      const struct link_node *node, const struct link_about *self,
                      struct stream *stream);

/* Take what has come, say what is to be said, until it is somebody else's turn. */
void link_shake_go_on(struct link_shake *s, struct stream *stream);

#endif
