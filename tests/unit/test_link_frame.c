#include "expect.h"
#include "link/link.h"
#include "link/link_frame.h"

static uint8_t type;
static struct slice payload;

static enum link_cut cut(const uint8_t *octets, size_t len)
{
    return link_frame_cut(slice_of(octets, len), &type, &payload);
}

Test(link_frame, every_prefix_asks_for_more)
{
    const uint8_t good[] = { 0, 0, 0, 3, LINK_TYPE_LEAST, 'a', 'b', 'c' };
    for (size_t n = 0; n < sizeof good; n++)
        cr_expect(eq(int, cut(good, n), LINK_CUT_MORE), "with %zu octets", n);
    cr_assert(eq(int, cut(good, sizeof good), LINK_CUT_FRAME));
    cr_expect(eq(int, type, LINK_TYPE_LEAST));
    cr_expect(slice_is(payload, "abc"));
}

Test(link_frame, an_empty_one_is_whole_with_its_head)
{
    const uint8_t good[] = { 0, 0, 0, 0, 255, 9 };
    cr_assert(eq(int, cut(good, sizeof good), LINK_CUT_FRAME));
    cr_expect(eq(sz, payload.len, 0));
}

Test(link_frame, a_length_beyond_the_bound_is_judged_at_once)
{
    uint8_t head[LINK_HEAD_BYTES];
    link_frame_put_head(head, 200, LINK_FRAME_MAX);
    cr_expect(eq(int, cut(head, sizeof head), LINK_CUT_MORE));
    for (unsigned bit = 0; bit < 32; bit++) {
        link_frame_put_head(head, 200, LINK_FRAME_MAX);
        head[3 - bit / 8] |= (uint8_t)(1u << bit % 8);
        size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        cr_expect(
            eq(int, cut(head, sizeof head), len > LINK_FRAME_MAX ? LINK_CUT_BAD : LINK_CUT_MORE));
    }
}

Test(link_frame, its_own_have_one_length_each_and_no_other_type_exists)
{
    static const size_t octets[LINK_TYPE_LEAST] = {
#define X(name, number, bytes) [number] = (bytes) + 1,
        LINK_OWN_FRAMES(X)
#undef X
    };
    for (uint8_t t = 0; t < LINK_TYPE_LEAST; t++) {
        for (size_t len = 0; len < 20; len++) {
            uint8_t frame[LINK_HEAD_BYTES + 20] = { 0 };
            link_frame_put_head(frame, t, len);
            cr_expect(eq(int, cut(frame, LINK_HEAD_BYTES + len),
                         octets[t] == len + 1 ? LINK_CUT_FRAME : LINK_CUT_BAD),
                      "type %u length %zu", t, len);
        }
    }
}

static void expect_own(enum link_own_frame own, size_t octets)
{
    uint8_t room[LINK_OWN_MAX];
    cr_expect(link_frame_own(room, own, 0x0102030405060708u) == LINK_HEAD_BYTES + octets);
    cr_expect(cut(room, LINK_HEAD_BYTES + octets) == LINK_CUT_FRAME);
    cr_expect(type == own);
    cr_expect(octets == 0 || (payload.ptr[0] == 1 && payload.ptr[7] == 8));
}

Test(link_frame, its_own_are_made_as_they_are_read)
{
#define X(name, number, bytes) expect_own(LINK_FRAME_##name, bytes);
    LINK_OWN_FRAMES(X)
#undef X
}
