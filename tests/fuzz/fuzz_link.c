/*
 * What arrives over a link: the handshake, as either side, and frames. The first octet says which.
 * Nobody gets through the handshake without the cookie; who has it and talks nonsense is played by
 * a proof with a right mac over the input.
 */
#include "base/check.h"
#include "base/wire.h"
#include "link/link_flow.h"
#include "link/link_shake.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COOKIE "a cookie that the input does not know"

static const uint8_t nonce[LINK_NONCE_BYTES] = { 1, 2, 3 };
static const uint8_t exporter[LINK_EXPORTER_BYTES] = { 4, 5, 6 };

static struct link_shake side;
static struct link_shake_out said;

static void begin(struct link_shake *s, enum link_role role, struct link_shake_out *out)
{
    struct link_about about = { .boot = role, .id = { .node = 1, .inc = 2, .name = "rabbit@a" } };
    const struct link_shake_setup setup = { .role = role,
                                            .class = LINK_CONTROL,
                                            .cookie = slice_str(COOKIE),
                                            .exporter = exporter,
                                            .nonce = nonce,
                                            .self = &about };
    link_shake_start(s, &setup, out);
}

/* All of it, as it comes off a socket. */
static void take_all(struct link_shake *s, struct slice in, struct link_shake_out *out)
{
    char room[512];
    size_t taken;
    do {
        taken = link_shake_take(s, in, out);
        CHECK(taken <= in.len && out->len <= sizeof out->octets);
        in = slice_from(in, taken);
        if (s->state == LINK_SHAKE_JUDGING)
            link_shake_answer(s, LINK_REFUSED_NONE, &s->self, out);
    } while (taken != 0);
    if (s->state == LINK_SHAKE_REFUSED || s->state == LINK_SHAKE_BAD)
        CHECK(strlen(link_shake_reason(s, room, sizeof room)) < sizeof room);
    CHECK(!s->peer_is_known || strlen(s->peer.id.name) < LINK_NAME_MAX);
}

static void without_the_cookie(enum link_role role, struct slice in)
{
    begin(&side, role, &said);
    take_all(&side, in, &said);
    CHECK(side.state != LINK_SHAKE_DONE && !side.peer_is_known);
}

/* The hellos are right, and so is the mac over what the input says. */
static void with_the_cookie(enum link_role role, struct slice in)
{
    static struct link_shake other;
    static struct link_shake_out hello, other_hello;
    enum link_role his = role == LINK_CALLER ? LINK_ANSWERER : LINK_CALLER;
    begin(&side, role, &hello);
    begin(&other, his, &other_hello);
    struct link_shake *caller = role == LINK_CALLER ? &side : &other;
    struct link_shake *answerer = role == LINK_CALLER ? &other : &side;
    struct slice first = slice_of(caller->caller_hello, caller->caller_hello_len);
    CHECK(link_shake_take(answerer, first, &said) == first.len);
    if (role == LINK_CALLER)
        CHECK(link_shake_take(caller, slice_of(said.octets, said.len), &hello) == said.len);

    uint8_t code = 0, mac[HMAC_BYTES], message[LINK_PROOF_MAX];
    if (role == LINK_CALLER && in.len != 0) {
        code = in.ptr[0];
        in = slice_from(in, 1);
    }
    const struct slice parts[] = {
        slice_str(his == LINK_CALLER ? "warren link caller" : "warren link answerer"),
        slice_of(side.caller_hello, side.caller_hello_len),
        slice_of(side.answerer_hello, side.answerer_hello_len),
        slice_of(exporter, sizeof exporter),
        slice_of(&code, 1),
        in,
    };
    hmac_sha256(slice_str(COOKIE), parts, ARRAY_COUNT(parts), mac);
    struct wire_out w = wire_out_over(message, sizeof message);
    wire_put_u16(&w, (uint16_t)(2 + (role == LINK_CALLER) + HMAC_BYTES + in.len));
    if (role == LINK_CALLER)
        wire_put_u8(&w, code);
    wire_put_bytes(&w, slice_of(mac, sizeof mac));
    wire_put_bytes(&w, in);
    if (!w.overflow)
        take_all(&side, wire_out_slice(&w), &said);
}

/* Shown whole, or with only so much at first: the same frames. */
static uint64_t cut_frames(struct slice in, size_t shown)
{
    struct link_flow f;
    uint64_t sum = 0;
    link_flow_init(&f, true);
    for (;;) {
        uint8_t type;
        struct slice payload;
        enum link_cut cut =
            link_flow_take(&f, slice_head(in, shown < in.len ? shown : in.len), &type, &payload);
        if (cut == LINK_CUT_MORE && shown < in.len) {
            shown++;
            continue;
        }
        if (cut != LINK_CUT_FRAME) {
            sum = sum * 31 + cut + f.heard;
            link_flow_fini(&f);
            return sum;
        }
        CHECK(payload.len <= LINK_FRAME_MAX && payload.len + LINK_HEAD_BYTES <= in.len);
        sum = sum * 31 + type + payload.len;
        in = slice_from(in, LINK_HEAD_BYTES + payload.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice in = slice_of(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        without_the_cookie(LINK_ANSWERER, in);
        break;
    case 1:
        without_the_cookie(LINK_CALLER, in);
        break;
    case 2:
        with_the_cookie(LINK_ANSWERER, in);
        break;
    case 3:
        with_the_cookie(LINK_CALLER, in);
        break;
    default:
        CHECK(cut_frames(in, SIZE_MAX) == cut_frames(in, 0));
        break;
    }
    return 0;
}
