/*
 * run: frames in the block that they were read into, and runs of them that go the same way.
 *
 * A run is passed on as it is, by reference. Whoever says something of its own in between ends the
 * run first.
 */
#ifndef WARREN_RUN_H
#define WARREN_RUN_H

#include "amqp/amqp_frame.h"
#include "amqp/amqp_method.h"
#include "base/attr.h"
#include "base/buf.h"

struct session;
struct upstream;
struct stream;

/* ---- frames ---------------------------------------------------------------------------------- */

struct run_frame {
    struct amqp_frame_head head;
    struct slice payload;
    size_t len;
};

/* The frame at the start of `in`, when it is there as a whole. */
static inline enum amqp_cut run_cut(struct slice in, uint32_t frame_max, struct run_frame *f)
{
    enum amqp_cut verdict = amqp_frame_peek(in, frame_max, &f->head);
    if (verdict != AMQP_CUT_FRAME)
        return verdict;
    f->len = (size_t)f->head.size + AMQP_FRAME_OVERHEAD;
    if (in.len < f->len)
        return AMQP_CUT_MORE;
    if (UNLIKELY(in.ptr[f->len - 1] != AMQP_FRAME_END))
        return AMQP_CUT_BAD;
    f->payload = slice_of(in.ptr + AMQP_FRAME_HEAD, f->head.size);
    return AMQP_CUT_FRAME;
}

static inline struct amqp_frame run_frame_of(const struct run_frame *f)
{
    return (struct amqp_frame){ (enum amqp_frame_type)f->head.type, f->head.channel, f->payload };
}

static inline bool run_is_method(const struct run_frame *f, uint32_t id)
{
    return f->head.type == AMQP_FRAME_METHOD && amqp_method_peek(f->payload) == id;
}

/* The frame as it was read, head and end included. */
static inline struct slice run_octets(const struct run_frame *f)
{
    return slice_of(f->payload.ptr - AMQP_FRAME_HEAD, f->len);
}

/* What becomes of a frame. */
enum run_pass {
    RUN_PASS,     /* it goes on */
    RUN_LAST,     /* it goes on, and then what has waited for it is said (split.h) */
    RUN_NUMBER,   /* it goes on with another delivery tag */
    RUN_DROP,     /* nobody waits for it, or it has been said in other words */
    RUN_SEEN_TO,  /* it is answered, without a broker */
    RUN_OURS,     /* we answer; what came before it goes on first */
    RUN_SPLIT,    /* its channel has several legs: what came before it goes on first */
    RUN_HOMELESS, /* its channel needs a leg first */
    RUN_LEAVE,    /* its channel leaves its leg first, behind what came before it */
    RUN_HELD,     /* not now */
};

/* ---- runs ------------------------------------------------------------------------------------ */

struct run {
    struct session *session;
    struct buf *block;
    const uint8_t *from;
    struct upstream *upstream; /* whose stream it is, or who speaks */
    struct stream *to;         /* NULL: they go nowhere */
    bool filled;               /* a stream that it went to is full now */
};

/* What was before `at` goes on. */
void run_flush(struct run *r, const uint8_t *at);

/* What is at `at` goes that way. */
static inline void run_turn(struct run *r, const uint8_t *at, struct upstream *u, struct stream *to)
{
    if (LIKELY(to == r->to))
        return;
    run_flush(r, at);
    r->upstream = u;
    r->to = to;
}

/* The frame at `at` goes to the client with other octets in one place. */
void run_patched(struct run *r, const uint8_t *at, struct upstream *u, const struct run_frame *f,
                 size_t patch_at, struct slice patch);

/* So many octets have passed between the client and the upstream's server. */
void run_count(struct session *s, const struct upstream *u, bool to_client, size_t octets);

/* The frame as it is, but for some octets of its payload. */
void run_write_patched(struct stream *to, const struct run_frame *f, size_t patch_at,
                       struct slice patch);

#endif
