/*
 * Cuts frames off a stream of octets; what was cut is built again and must be the same octets.
 */
#include "amqp/amqp_frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_MAX 4096u

static void build_again(const struct amqp_frame *f, struct slice was)
{
    static uint8_t room[FRAME_MAX + AMQP_FRAME_SLACK];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_frame_put(&w, f->type, f->channel, f->payload);
    CHECK(!w.overflow);
    CHECK(slice_eq(wire_out_slice(&w), was));
}

static void explain(struct slice in)
{
    char room[512];
    struct text why = text_over(room, sizeof room);
    amqp_frame_why(in, FRAME_MAX, &why);
    CHECK(!why.cut && why.len != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    if (amqp_protocol_header_cut(in) == AMQP_CUT_FRAME)
        in = slice_from(in, AMQP_PROTOCOL_HEADER_LEN);

    struct amqp_frame f;
    for (;;) {
        enum amqp_cut verdict = amqp_frame_cut(in, FRAME_MAX, &f);
        if (verdict == AMQP_CUT_BAD)
            explain(in);
        if (verdict != AMQP_CUT_FRAME)
            return 0;
        size_t len = amqp_frame_len(&f);
        CHECK(len <= in.len && len <= FRAME_MAX + AMQP_FRAME_SLACK);
        build_again(&f, slice_head(in, len));
        in = slice_from(in, len);
    }
}
