/*
 * link_flow: what one side of a session has to say, and how far it has heard the other (core).
 *
 * Frames wait in two lanes, leave as pieces of counted blocks, and in a session that can be resumed
 * are kept until the other side has acknowledged them. Positions are octets of the session's frames
 * since its begin, always at the end of a frame: over a new connection each side says how far it
 * has heard, and the other goes on from exactly there. So nothing is missing and nothing comes
 * twice, whatever was under way.
 *
 *     acked        cursor              said
 *       |............|..................|  lanes: urgent, bulky
 *        sent, kept    kept, to be sent
 *                      again first
 *
 * Pure: it neither sends nor looks at the clock.
 */
#ifndef WARREN_LINK_FLOW_H
#define WARREN_LINK_FLOW_H

#include "base/attr.h"
#include "base/buf.h"
#include "link/link.h"
#include "link/link_frame.h"

struct link_piece {
    struct buf *block; /* a reference */
    const uint8_t *at;
    uint32_t len;
    bool ends; /* a frame ends where it ends */
};

struct link_pieces { /* a ring */
    struct link_piece *items;
    size_t head;
    size_t count;
    size_t cap; /* a power of two, or 0 */
    size_t octets;
};

#define LINK_LANES       2u
#define LINK_FLOW_SPARES 16u /* blocks of 64 KiB */

struct link_flow {
    bool resumes;
    struct link_pieces lanes[LINK_LANES]; /* by enum link_priority */
    struct buf *open[LINK_LANES];         /* where the lane's next short octets go */
    struct buf *spares[LINK_FLOW_SPARES]; /* full ones, to be used again when nobody holds them */
    unsigned next_spare;
    unsigned within; /* the lane whose frame has left it by half; LINK_LANES: none */
    bool halfway;    /* the last piece given out was not the end of its frame */
    struct link_pieces kept;
    size_t cursor; /* of `kept`, so many have gone over this connection */
    uint64_t cursor_at;
    uint64_t acked;
    uint64_t heard; /* the position up to which we have taken the other's frames */
    uint64_t told;  /* ... and have acknowledged it */
};

void link_flow_init(struct link_flow *f, bool resumes);
void link_flow_fini(struct link_flow *f);

/* Another session: everything is forgotten. */
void link_flow_clear(struct link_flow *f);

/* It has had nothing to say for a while: memory that is held for more is given back. */
void link_flow_rest(struct link_flow *f);

/* ---- saying ---- */

/* Append a frame; see link_send. */
void link_flow_append(struct link_flow *f, enum link_priority priority, uint8_t type,
                      struct slice head, struct buf *block, struct slice body);

/* One that lies in its block already; see link_send_whole. */
void link_flow_append_whole(struct link_flow *f, enum link_priority priority, uint8_t type,
                            struct buf *block, struct slice payload);

/* The next piece to be sent; the caller gets a reference to its block. False: nothing waits. While
 * the last one did not end its frame nothing else may be sent: take the next one, too. */
MUST_CHECK bool link_flow_next(struct link_flow *f, struct link_piece *out);

static inline bool link_flow_is_halfway(const struct link_flow *f)
{
    return f->halfway;
}

/* The other side has taken everything up to there. False: it cannot have. */
MUST_CHECK bool link_flow_acked(struct link_flow *f, uint64_t position);

/* Over a new connection: the other side has heard so far, the rest goes again. False: it cannot
 * have heard that. */
MUST_CHECK bool link_flow_rewind(struct link_flow *f, uint64_t position);

size_t link_flow_waiting(const struct link_flow *f); /* octets not given out */
size_t link_flow_unacked(const struct link_flow *f); /* given out and kept */

/* ---- hearing ---- */

/* Cut the first frame off what has come (see link_frame.h); one of the session's is heard by that.
 */
MUST_CHECK enum link_cut link_flow_take(struct link_flow *f, struct slice in, uint8_t *type,
                                        struct slice *payload);

/* Octets taken and not acknowledged to the other side yet. */
static inline uint64_t link_flow_untold(const struct link_flow *f)
{
    return f->heard - f->told;
}

/* They are now, up to this position. */
uint64_t link_flow_tell(struct link_flow *f);

#endif
