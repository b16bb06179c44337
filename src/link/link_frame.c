#include "link/link_frame.h"

#include "base/check.h"
#include "base/wire.h"
#include "link/link.h"

/* Octets of payload of one of the link's own; false: there is no such type. */
static bool own_bytes(uint8_t type, size_t *octets)
{
    switch (type) {
#define X(name, number, bytes)                                                                     \
    case number:                                                                                   \
        *octets = (bytes);                                                                         \
        return true;
        LINK_OWN_FRAMES(X)
#undef X
    default:
        return false;
    }
}

enum link_cut link_frame_cut(struct slice in, uint8_t *type, struct slice *payload)
{
    struct wire w = wire_over(in);
    size_t len = wire_u32(&w);
    *type = wire_u8(&w);
    if (w.ran_out)
        return LINK_CUT_MORE;

    /* Before the rest is waited for: a peer must not make us hold what we shall refuse. */
    size_t wanted;
    if (UNLIKELY(*type < LINK_TYPE_LEAST) && (!own_bytes(*type, &wanted) || len != wanted))
        return LINK_CUT_BAD;
    if (len > LINK_FRAME_MAX)
        return LINK_CUT_BAD;

    *payload = wire_take(&w, len);
    return w.ran_out ? LINK_CUT_MORE : LINK_CUT_FRAME;
}

void link_frame_put_head(uint8_t out[LINK_HEAD_BYTES], uint8_t type, size_t payload_bytes)
{
    CHECK(payload_bytes <= LINK_FRAME_MAX);
    struct wire_out w = wire_out_over(out, LINK_HEAD_BYTES);
    wire_put_u32(&w, (uint32_t)payload_bytes);
    wire_put_u8(&w, type);
}

size_t link_frame_own(uint8_t out[LINK_OWN_MAX], enum link_own_frame type, uint64_t number)
{
    size_t octets = 0;
    CHECK(own_bytes((uint8_t)type, &octets));
    link_frame_put_head(out, (uint8_t)type, octets);
    struct wire_out w = wire_out_over(out + LINK_HEAD_BYTES, LINK_OWN_MAX - LINK_HEAD_BYTES);
    if (octets != 0)
        wire_put_u64(&w, number);
    return LINK_HEAD_BYTES + octets;
}
