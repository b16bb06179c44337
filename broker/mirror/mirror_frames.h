/*
 * mirror_frames: the records of a stream as frames of a link, and back.
 *
 * What is said in a turn leaves as one frame or few. A record that is not small, a large message or
 * the history of a queue with many producers, travels in pieces, and nothing between them: the
 * order of a stream is that of its records. Octets of a message that lie in a block of their own
 * are not copied on their way out. Memory is taken for octets that have come, and for no record
 * beyond MIRROR_RECORD_MAX.
 *
 *   PIECE  u8 64, u32 octets, and these: of a record that goes on
 *   LAST   u8 65, the same: its end
 *
 * A core: it knows no link. One thread.
 */
#ifndef WARREN_MIRROR_FRAMES_H
#define WARREN_MIRROR_FRAMES_H

#include "base/buf.h"
#include "mirror/mirror_wire.h"

#define MIRROR_FRAME_BYTES ((size_t)64 * 1024 - 64)
#define MIRROR_INLINE_MAX  ((size_t)48 * 1024)  /* a larger record travels in pieces... */
#define MIRROR_PIECE_BYTES ((size_t)256 * 1024) /* ...of so many octets at most */
#define MIRROR_RECORD_MAX  ((size_t)160 * 1024 * 1024)

/* ---- out ----------------------------------------------------------------------------------------
 */

/* One frame: `head` is copied by the callee, `body` lies in `block`, of which a reference is to be
 * taken, or is to be copied if that is NULL; either may be empty. */
typedef void (*mirror_frame_fn)(void *arg, struct slice head, struct buf *block, struct slice body);

struct mirror_out {
    mirror_frame_fn send;
    void *arg;
    struct buf *room; /* what was gathered; NULL: nothing is */
};

void mirror_out_init(struct mirror_out *o, mirror_frame_fn send, void *arg);

/* What was gathered goes nowhere. */
void mirror_out_reset(struct mirror_out *o);

void mirror_out_record(struct mirror_out *o, const struct mirror_record *r);

/* Part of the payload of a DATA. */
struct mirror_part {
    struct slice bytes;
    struct buf *block; /* that they lie in; NULL: they are to be copied */
};

/* The same for a DATA whose payload is these one after the other; `d` has all but that. */
void mirror_out_data(struct mirror_out *o, uint64_t pos, const struct mirror_data *d,
                     const struct mirror_part *parts, unsigned count);

/* The turn's end. */
void mirror_out_flush(struct mirror_out *o);

/* ---- in -----------------------------------------------------------------------------------------
 */

/* Zeros are one where nothing has come. */
struct mirror_in {
    uint8_t *room; /* of a record that came in pieces */
    size_t bytes;
    size_t cap;
    bool is_shown; /* it was shown: to be forgotten */
};

void mirror_in_reset(struct mirror_in *in);

enum mirror_next {
    MIRROR_NEXT_RECORD, /* *out is set, good until the next call; see mirror_record_fini */
    MIRROR_NEXT_END,    /* of this frame */
    MIRROR_NEXT_BAD,    /* not as it must be: the session is to be given up */
};

MUST_CHECK enum mirror_next mirror_in_next(struct mirror_in *in, struct wire *frame,
                                           struct mirror_record *out);

#endif
