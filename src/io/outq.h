/*
 * outq: octets that wait to be sent, as pieces of counted blocks.
 *
 * Small things are gathered in a block of the loop's (reserve and commit); big ones are kept by
 * reference. It knows nothing of sockets: stream.c takes the first pieces, sends them and says how
 * much went. Empty, it holds no block. One loop. For src/io alone.
 */
#ifndef WARREN_OUTQ_H
#define WARREN_OUTQ_H

#include "base/buf.h"
#include "io/loop.h"

struct outq_piece {
    struct buf *block; /* a reference of ours */
    const uint8_t *at;
    size_t len;
};

struct outq {
    struct outq_piece *pieces; /* a ring */
    size_t head;
    size_t count;
    size_t cap;             /* a power of two, or 0 */
    struct buf *open_block; /* being filled; NULL when there is none */
    size_t octets;          /* in all pieces */
};

void outq_init(struct outq *q);
void outq_fini(struct outq *q);

/* Room for n octets (at most LOOP_BLOCK_OUT_BYTES) in one piece; commit says how many were used. */
uint8_t *outq_reserve(struct outq *q, struct loop *loop, size_t n);
void outq_commit(struct outq *q, size_t n);

/* Append octets of `block`, taking a reference. */
void outq_share(struct outq *q, struct buf *block, struct slice octets);

/* The piece at `index` from the front; index < count. */
const struct outq_piece *outq_at(const struct outq *q, size_t index);

/* The first n octets were sent. */
void outq_sent(struct outq *q, size_t n);

/* What rests will rest for a while: move a little that sits in a big block into one of its size. */
void outq_settle(struct outq *q);

#endif
