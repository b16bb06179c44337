/*
 * amqp_frame: where one AMQP 0-9-1 frame ends and the next one begins.
 *
 * It knows the seven-byte head and the end octet, and nothing of what a payload means. It
 * keeps no state, allocates nothing and copies nothing: a payload points into the input.
 *
 *     +------+---------+------+ +----------------+ +-----+
 *     | type | channel | size | | payload        | | end |      (4.2.3)
 *     | u8   | u16     | u32  | | `size` octets  | | CE  |
 *     +------+---------+------+ +----------------+ +-----+
 */
#ifndef WARREN_AMQP_FRAME_H
#define WARREN_AMQP_FRAME_H

#include "amqp/amqp_method.h"
#include "amqp/amqp_spec.h"
#include "base/attr.h"
#include "base/check.h"
#include "base/slice.h"
#include "base/text.h"
#include "base/wire.h"

#define AMQP_FRAME_HEAD      7u
#define AMQP_FRAME_OVERHEAD  8u    /* type 1, channel 2, size 4, end octet 1 */
#define AMQP_FRAME_MAX_LEAST 4096u /* no peer may negotiate less than this */

/* Some clients take frame-max for the limit of the payload. RabbitMQ lets them, and so do we: the
 * largest frame that amqp_frame_cut lets pass is `max` and this much long. */
#define AMQP_FRAME_SLACK 8u

struct amqp_frame {
    enum amqp_frame_type type;
    uint16_t channel;
    struct slice payload; /* borrowed: good until the input moves */
};

enum amqp_cut {
    AMQP_CUT_FRAME, /* *out is set */
    AMQP_CUT_MORE,  /* not a whole frame yet */
    AMQP_CUT_BAD,   /* never a frame: answer 501 and close */
};

/* The octets a frame takes on the wire. */
static inline size_t amqp_frame_len(const struct amqp_frame *f)
{
    return f->payload.len + AMQP_FRAME_OVERHEAD;
}

static inline bool amqp_frame_type_is_known(uint8_t type)
{
    return (type >= AMQP_FRAME_METHOD && type <= AMQP_FRAME_BODY) || type == AMQP_FRAME_HEARTBEAT;
}

/* The head of a frame, for relays that pass payloads on before the whole is there. */
struct amqp_frame_head {
    uint8_t type;
    uint16_t channel;
    uint32_t size; /* of the payload */
};

/* Read and judge the head alone: FRAME when *out is set. `max` as for amqp_frame_cut. */
MUST_CHECK static inline enum amqp_cut amqp_frame_peek(struct slice in, uint32_t max,
                                                       struct amqp_frame_head *out)
{
    struct wire w = wire_over(in);
    out->type = wire_u8(&w);
    out->channel = wire_u16(&w);
    out->size = wire_u32(&w);
    if (w.ran_out)
        return AMQP_CUT_MORE;
    /* Judge the head before waiting for the rest: a peer must not make us hold megabytes that we
     * shall refuse. The subtraction cannot wrap: `max` is at least AMQP_FRAME_MAX_LEAST. */
    if (UNLIKELY(!amqp_frame_type_is_known(out->type) ||
                 out->size > max - AMQP_FRAME_OVERHEAD + AMQP_FRAME_SLACK))
        return AMQP_CUT_BAD;
    return AMQP_CUT_FRAME;
}

/* Cut the first frame off `in`. `max` is the negotiated frame-max, head and end included, at least
 * AMQP_FRAME_MAX_LEAST. */
MUST_CHECK static inline enum amqp_cut amqp_frame_cut(struct slice in, uint32_t max,
                                                      struct amqp_frame *out)
{
    CHECK(max >= AMQP_FRAME_MAX_LEAST);

    struct amqp_frame_head head;
    enum amqp_cut verdict = amqp_frame_peek(in, max, &head);
    if (UNLIKELY(verdict != AMQP_CUT_FRAME))
        return verdict;

    struct wire w = wire_over(slice_from(in, AMQP_FRAME_HEAD));
    struct slice payload = wire_take(&w, head.size);
    uint8_t end = wire_u8(&w);
    if (w.ran_out)
        return AMQP_CUT_MORE;
    if (UNLIKELY(end != AMQP_FRAME_END))
        return AMQP_CUT_BAD;

    *out = (struct amqp_frame){ (enum amqp_frame_type)head.type, head.channel, payload };
    return AMQP_CUT_FRAME;
}

/* Why amqp_frame_cut said BAD, in RabbitMQ's words: what follows "FRAME_ERROR - ". */
void amqp_frame_why(struct slice in, uint32_t max, struct text *out);

/* A heartbeat has no payload: one that does is a frame that cannot be read (501). */
static inline bool amqp_frame_is_broken_heartbeat(const struct amqp_frame *f)
{
    return f->type == AMQP_FRAME_HEARTBEAT && f->payload.len != 0;
}

/* A whole frame that has no business here, as RabbitMQ describes it after "UNEXPECTED_FRAME - ", or
 * "FRAME_ERROR - " for a broken heartbeat. */
void amqp_frame_describe(const struct amqp_frame *f, struct text *out);

/*
 * The protocol header that comes before the first frame: FRAME when `in` begins with one that we
 * speak (0-9-1, or 0-9 as old clients write it, whose frames are the same), BAD as soon as it
 * cannot become one. What to answer then: AMQP_PROTOCOL_HEADER, and hang up (4.2.2).
 */
MUST_CHECK enum amqp_cut amqp_protocol_header_cut(struct slice in);

void amqp_protocol_header_put(struct wire_out *w);

/* ---- building: head, payload, end octet; w overflows when the frame does not fit ---- */

static inline void amqp_frame_begin(struct wire_out *w, enum amqp_frame_type type, uint16_t channel)
{
    uint8_t *p = wire_out_room(w, AMQP_FRAME_HEAD);
    if (UNLIKELY(p == NULL))
        return;
    p[0] = (uint8_t)type;
    p[1] = (uint8_t)(channel >> 8);
    p[2] = (uint8_t)channel;
    memset(p + 3, 0, 4);
}

/* Fill in the size of the frame that was begun at `start` (wire_out_len then), and end it. */
static inline void amqp_frame_end(struct wire_out *w, size_t start)
{
    wire_fill_u32(w, start + 3);
    wire_put_u8(w, AMQP_FRAME_END);
}

static inline void amqp_frame_put(struct wire_out *w, enum amqp_frame_type type, uint16_t channel,
                                  struct slice payload)
{
    size_t start = wire_out_len(w);
    amqp_frame_begin(w, type, channel);
    wire_put_bytes(w, payload);
    amqp_frame_end(w, start);
}

/* The caller says channel 0 and an empty payload, so it is spelled out (4.2.7). */
#define AMQP_HEARTBEAT_FRAME     "\x08\0\0\0\0\0\0\xCE"
#define AMQP_HEARTBEAT_FRAME_LEN 8u

static inline void amqp_frame_put_heartbeat(struct wire_out *w)
{
    wire_put_bytes(w, slice_of(AMQP_HEARTBEAT_FRAME, AMQP_HEARTBEAT_FRAME_LEN));
}

static inline void amqp_frame_put_body(struct wire_out *w, uint16_t channel, struct slice bytes)
{
    amqp_frame_put(w, AMQP_FRAME_BODY, channel, bytes);
}

/* A content header of class basic; `props` are flags and values as amqp_props_encode writes them or
 * as they came in amqp_header. */
static inline void amqp_frame_put_header(struct wire_out *w, uint16_t channel, uint64_t body_size,
                                         struct slice props)
{
    size_t start = wire_out_len(w);
    amqp_frame_begin(w, AMQP_FRAME_HEADER, channel);
    wire_put_u32(w, AMQP_CLASS_BASIC << 16); /* and the weight, always 0 */
    wire_put_u64(w, body_size);
    wire_put_bytes(w, props);
    amqp_frame_end(w, start);
}

void amqp_frame_put_method(struct wire_out *w, uint16_t channel, const struct amqp_method *m);

/* What a delivery costs most often, without the switch over all methods. */
static inline void amqp_frame_put_deliver(struct wire_out *w, uint16_t channel,
                                          const struct amqp_basic_deliver *d)
{
    size_t start = wire_out_len(w);
    amqp_frame_begin(w, AMQP_FRAME_METHOD, channel);
    amqp_basic_deliver_write(w, d);
    amqp_frame_end(w, start);
}

#endif
