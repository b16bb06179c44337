#include "amqp_kit.h"
#include "link/amqp_content.h"

static struct amqp_contents cs;
static struct amqp_content *done;
static struct slice body;

static void setup(void)
{
    amqp_contents_init(&cs, 100);
}

static void teardown(void)
{
    amqp_contents_fini(&cs);
}
TestSuite(amqp_content, .init = setup, .fini = teardown);

/* A delivery with this tag begins on the channel. */
static const char *begin(uint16_t channel, const char *tag)
{
    uint8_t room[128];
    struct wire_out w = wire_out_over(room, sizeof room);
    amqp_basic_deliver_write(&w, &(struct amqp_basic_deliver){ .consumer_tag = slice_str(tag) });
    struct slice payload = kit_exact(wire_out_slice(&w));
    const char *wrong = amqp_contents_begin(&cs, channel, payload);
    kit_free(payload); /* it keeps what it needs */
    return wrong;
}

static const char *add(enum amqp_frame_type type, uint16_t channel, struct slice payload)
{
    struct amqp_frame f = { type, channel, payload };
    return amqp_contents_add(&cs, &f, &done, &body);
}

static const char *header(uint16_t channel, uint64_t size)
{
    uint8_t room[32];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u32(&w, AMQP_CLASS_BASIC << 16);
    wire_put_u64(&w, size);
    wire_put_bytes(&w, kit_hex("1000 02"));
    struct slice payload = kit_exact(wire_out_slice(&w));
    const char *wrong = add(AMQP_FRAME_HEADER, channel, payload);
    kit_free(payload);
    return wrong;
}

static const char *part(uint16_t channel, const char *text)
{
    return add(AMQP_FRAME_BODY, channel, slice_str(text));
}

#define fine(call) cr_assert(zero(ptr, (void *)(uintptr_t)(call)))

static void expect_done(const char *tag, const char *text)
{
    cr_assert(done != NULL);
    expect_slice(done->method.basic_deliver.consumer_tag, tag);
    cr_expect(slice_eq(done->props, kit_hex("1000 02")));
    expect_slice(body, text);
    amqp_content_free(&done);
}

Test(amqp_content, is_complete_with_its_last_octet)
{
    fine(begin(1, "t"));
    cr_expect(amqp_contents_is_open(&cs, 1));
    fine(header(1, 5));
    cr_expect(done == NULL);
    fine(part(1, "ab"));
    fine(part(1, ""));
    fine(part(1, "cd"));
    cr_expect(done == NULL);
    fine(part(1, "e"));
    expect_done("t", "abcde");
    cr_expect(not(amqp_contents_is_open(&cs, 1)));
}

Test(amqp_content, hands_a_single_body_on_without_a_copy)
{
    fine(begin(1, "t"));
    fine(header(1, 3));
    const char *text = "abc";
    fine(part(1, text));
    cr_expect(body.ptr == (const uint8_t *)text);
    expect_done("t", "abc");
}

Test(amqp_content, needs_no_body_when_it_is_empty)
{
    fine(begin(1, "t"));
    fine(header(1, 0));
    expect_done("t", "");
}

Test(amqp_content, keeps_channels_apart)
{
    fine(begin(1, "one"));
    fine(begin(2, "two"));
    fine(header(2, 2));
    fine(header(1, 2));
    fine(part(1, "a"));
    fine(part(2, "x"));
    fine(part(2, "y"));
    expect_done("two", "xy");
    fine(part(1, "b"));
    expect_done("one", "ab");
}

Test(amqp_content, says_what_is_wrong)
{
    expect_text(part(1, "x"), "content without a method");
    expect_text(header(1, 0), "content without a method");
    fine(begin(1, "t"));
    expect_text(begin(1, "t"), "a method in the middle of a message");
    expect_text(part(1, "x"), "a body without a header");
    expect_text(add(AMQP_FRAME_HEADER, 1, slice_str("x")), "a malformed header");
    expect_text(add(AMQP_FRAME_HEADER, 1, kit_hex("0032 0000 0000000000000000 0000")),
                "a malformed header");
    expect_text(add(AMQP_FRAME_HEADER, 1, kit_hex("003c 0001 0000000000000000 0000")),
                "a malformed header");
    expect_text(header(1, 101), "a message that is too large");
    expect_text(header(1, UINT64_MAX), "a message that is too large");
    fine(header(1, 3));
    expect_text(header(1, 3), "a second header");
    fine(part(1, "ab"));
    expect_text(part(1, "cd"), "a body longer than its header says");
}

Test(amqp_content, takes_the_largest_message)
{
    char most[101];
    memset(most, 'm', 100);
    most[100] = '\0';
    fine(begin(1, "t"));
    fine(header(1, 100));
    fine(part(1, most));
    expect_done("t", most);
}

Test(amqp_content, forgets_a_channel_that_closed)
{
    fine(begin(1, "t"));
    fine(header(1, 3));
    fine(part(1, "ab"));
    amqp_contents_drop(&cs, 1);
    amqp_contents_drop(&cs, 2);
    cr_expect(not(amqp_contents_is_open(&cs, 1)));
    fine(begin(1, "again"));
}
