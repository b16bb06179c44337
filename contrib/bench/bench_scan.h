/*
 * bench_scan: a server's octets, cut into deliveries with as little work as possible.
 *
 * It looks at what the bench needs (tag, redelivered, the first octets of the body, and that frames
 * are where they must be) and hands out everything else as a frame. Bodies pass by in pieces of
 * whatever size the server chose; nothing is kept of them but the first 24 octets. All inline: this
 * is the consumer's innermost loop.
 */
#ifndef WARREN_BENCH_SCAN_H
#define WARREN_BENCH_SCAN_H

#include "amqp/amqp_frame.h"
#include "bench_body.h"
#include "bench_filler.h"

enum bench_scan_verdict {
    BENCH_SCAN_MESSAGE, /* a delivery or a return is complete, see the members */
    BENCH_SCAN_METHOD,  /* another method, or a heartbeat: `frame` */
    BENCH_SCAN_MORE,
    BENCH_SCAN_BAD
};

enum bench_scan_state { BENCH_SCAN_IDLE, BENCH_SCAN_HEADER, BENCH_SCAN_BODY };

struct bench_scan {
    const struct buf *filler; /* compare bodies with this pattern; NULL: do not. Borrowed */
    uint32_t frame_max;
    enum bench_scan_state state;
    struct amqp_frame frame;
    /* The message: */
    uint16_t channel;
    bool returned; /* by basic.return, not a delivery */
    bool redelivered;
    bool corrupt;
    uint64_t tag;
    uint64_t body_size;
    uint64_t body_done;
    uint8_t head[BENCH_BODY_INTENDED_MIN]; /* the body's first octets, min(body_size, 24) of them */
};

static inline void bench_scan_init(struct bench_scan *s, uint32_t frame_max,
                                   const struct buf *filler)
{
    *s = (struct bench_scan){ .filler = filler, .frame_max = frame_max };
}

/* Everything but the tag and the flag of a delivery is skipped. */
static inline bool bench_scan_method(struct bench_scan *s, struct slice payload)
{
    struct wire w = wire_over(slice_from(payload, 4));
    s->returned = amqp_method_peek(payload) == AMQP_BASIC_RETURN;
    if (!s->returned) {
        (void)wire_shortstr(&w);
        s->tag = wire_u64(&w);
        s->redelivered = (wire_u8(&w) & 1) != 0;
    }
    s->corrupt = false;
    s->body_done = 0;
    s->state = BENCH_SCAN_HEADER;
    return !w.ran_out;
}

static inline bool bench_scan_header(struct bench_scan *s, struct slice payload)
{
    struct wire w = wire_over(payload);
    bool ours = wire_u32(&w) == AMQP_CLASS_BASIC << 16;
    s->body_size = wire_u64(&w);
    s->state = BENCH_SCAN_BODY;
    return ours && !w.ran_out;
}

static inline bool bench_scan_body(struct bench_scan *s, struct slice payload)
{
    if (UNLIKELY(payload.len > s->body_size - s->body_done))
        return false;
    if (LIKELY(s->body_done < sizeof s->head)) {
        size_t room = sizeof s->head - (size_t)s->body_done;
        struct slice first = slice_head(payload, room);
        if (LIKELY(first.len != 0))
            memcpy(s->head + s->body_done, first.ptr, first.len);
    }
    if (UNLIKELY(s->filler != NULL)) {
        size_t ids = s->body_size < BENCH_BODY_INTENDED_MIN ? BENCH_BODY_MIN : sizeof s->head;
        size_t skip = s->body_done < ids ? ids - (size_t)s->body_done : 0;
        if (!bench_filler_matches(s->filler, s->body_done + skip, slice_from(payload, skip)))
            s->corrupt = true;
    }
    s->body_done += payload.len;
    return true;
}

/* Take frames off *in, which moves on, up to the end of a message, another method, or what is not
 * there yet. */
MUST_CHECK static inline enum bench_scan_verdict bench_scan_next(struct bench_scan *s,
                                                                 struct slice *in)
{
    for (;;) {
        switch (amqp_frame_cut(*in, s->frame_max, &s->frame)) {
        case AMQP_CUT_MORE:
            return BENCH_SCAN_MORE;
        case AMQP_CUT_BAD:
            return BENCH_SCAN_BAD;
        case AMQP_CUT_FRAME:
            break;
        }
        in->ptr += amqp_frame_len(&s->frame);
        in->len -= amqp_frame_len(&s->frame);
        if (s->frame.type == AMQP_FRAME_HEARTBEAT)
            return BENCH_SCAN_METHOD;
        struct slice payload = s->frame.payload;
        bool good = false;
        if (s->frame.type == AMQP_FRAME_METHOD && s->state == BENCH_SCAN_IDLE) {
            uint32_t id = amqp_method_peek(payload);
            if (id != AMQP_BASIC_DELIVER && id != AMQP_BASIC_RETURN)
                return BENCH_SCAN_METHOD;
            s->channel = s->frame.channel;
            good = bench_scan_method(s, payload);
        } else if (s->frame.type == AMQP_FRAME_METHOD && s->frame.channel != s->channel) {
            return BENCH_SCAN_METHOD; /* between the frames of a message of another channel */
        } else if (s->frame.type == AMQP_FRAME_HEADER && s->state == BENCH_SCAN_HEADER) {
            good = bench_scan_header(s, payload);
        } else if (s->frame.type == AMQP_FRAME_BODY && s->state == BENCH_SCAN_BODY) {
            good = bench_scan_body(s, payload);
        }
        if (UNLIKELY(!good || (s->state != BENCH_SCAN_IDLE && s->frame.channel != s->channel)))
            return BENCH_SCAN_BAD;
        if (s->state == BENCH_SCAN_BODY && s->body_done == s->body_size) {
            s->state = BENCH_SCAN_IDLE;
            return BENCH_SCAN_MESSAGE;
        }
    }
}

#endif
