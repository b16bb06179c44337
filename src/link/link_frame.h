/*
 * link_frame: where one frame of a link ends and the next one begins.
 *
 *     length 4 | type 1 | payload: head and body      the length counts the payload alone
 *
 * Types below LINK_TYPE_LEAST are the link's own: they are not part of the session, are not
 * counted, kept or said again, and have fixed lengths:
 *
 *     PING 1 | stamp 8      PONG 2 | stamp 8      ACK 3 | position 8      BYE 4 |
 *
 * It keeps no state, allocates nothing and copies nothing.
 */
#ifndef WARREN_LINK_FRAME_H
#define WARREN_LINK_FRAME_H

#include "base/attr.h"
#include "base/slice.h"

#define LINK_HEAD_BYTES ((size_t)5)

/* X(name, type, octets of payload) */
#define LINK_OWN_FRAMES(X)                                                                         \
    X(PING, 1, 8) /* answered by a PONG of the same stamp */                                       \
    X(PONG, 2, 8)                                                                                  \
    X(ACK, 3, 8) /* octets of the session's frames that have been taken */                         \
    X(BYE, 4, 0) /* the session is over */

enum link_own_frame {
#define X(name, type, octets) LINK_FRAME_##name = (type),
    LINK_OWN_FRAMES(X)
#undef X
};

enum link_cut {
    LINK_CUT_FRAME, /* *type and *payload are set */
    LINK_CUT_MORE,  /* not a whole frame yet */
    LINK_CUT_BAD,   /* never a frame: the connection is of no more use */
};

/* Cut the first frame off `in`; it takes LINK_HEAD_BYTES and its payload. */
MUST_CHECK enum link_cut link_frame_cut(struct slice in, uint8_t *type, struct slice *payload);

void link_frame_put_head(uint8_t out[LINK_HEAD_BYTES], uint8_t type, size_t payload_bytes);

/* One of the link's own; how many octets. `number` is left out where it has none. */
#define LINK_OWN_MAX ((size_t)13)
size_t link_frame_own(uint8_t out[LINK_OWN_MAX], enum link_own_frame type, uint64_t number);

#endif
