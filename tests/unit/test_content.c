/* proxy/content: where one direction of a channel stands in a message. */
#include "content.h"

#include "expect.h"

static void header(struct content *c, uint64_t size)
{
    uint8_t room[32];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u32(&w, AMQP_CLASS_BASIC << 16);
    wire_put_u64(&w, size);
    wire_put_u16(&w, 0);
    content_frame(c, AMQP_FRAME_HEADER, wire_out_slice(&w));
}

static void body(struct content *c, size_t len)
{
    static const uint8_t octets[4096];
    content_frame(c, AMQP_FRAME_BODY, slice_of(octets, len));
}

Test(content, is_open_from_the_method_to_the_last_octet)
{
    struct content c = { .next = CONTENT_NONE };
    cr_expect(not(content_is_open(&c)));
    content_method(&c, AMQP_BASIC_PUBLISH);
    cr_expect(content_is_open(&c));
    header(&c, 1000);
    cr_expect(content_is_open(&c));
    body(&c, 600);
    cr_expect(content_is_open(&c));
    body(&c, 400);
    cr_expect(not(content_is_open(&c)));
}

Test(content, an_empty_body_needs_no_frame)
{
    struct content c = { .next = CONTENT_NONE };
    content_method(&c, AMQP_BASIC_DELIVER);
    header(&c, 0);
    cr_expect(not(content_is_open(&c)));
}

Test(content, empty_body_frames_change_nothing)
{
    struct content c = { .next = CONTENT_NONE };
    content_method(&c, AMQP_BASIC_DELIVER);
    header(&c, 10);
    body(&c, 0);
    cr_expect(content_is_open(&c));
    body(&c, 10);
    cr_expect(not(content_is_open(&c)));
}

Test(content, other_methods_have_none)
{
    struct content c = { .next = CONTENT_NONE };
    content_method(&c, AMQP_BASIC_ACK);
    cr_expect(not(content_is_open(&c)));
    content_method(&c, AMQP_BASIC_GET_OK);
    cr_expect(content_is_open(&c));
    content_method(&c, AMQP_CHANNEL_CLOSE);
    cr_expect(not(content_is_open(&c)), "a close ends it");
}

/* The receiver will refuse all of this; here it must only not go wrong. */
Test(content, frames_out_of_place_are_stood)
{
    struct content c = { .next = CONTENT_NONE };
    body(&c, 100);
    header(&c, 100);
    cr_expect(not(content_is_open(&c)));
    content_method(&c, AMQP_BASIC_PUBLISH);
    body(&c, 100);
    cr_expect(not(content_is_open(&c)));
    content_method(&c, AMQP_BASIC_PUBLISH);
    content_frame(&c, AMQP_FRAME_HEADER, slice_of("x", 1));
    cr_expect(not(content_is_open(&c)));
    content_method(&c, AMQP_BASIC_PUBLISH);
    header(&c, 100);
    body(&c, 4096);
    cr_expect(not(content_is_open(&c)), "more than was announced");
}
