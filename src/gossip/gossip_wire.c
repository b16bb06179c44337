#include "gossip/gossip_wire.h"

#include "base/check.h"

#define ITEM_HEAD_BYTES ((size_t)3)

/* ---- heads ------------------------------------------------------------------------------------
 */

bool gossip_head_take(struct wire *w, struct gossip_head *out)
{
    *out = (struct gossip_head){ 0 };
    uint8_t kind = wire_u8(w);
    switch (kind) {
    case GOSSIP_PING:
    case GOSSIP_PING_REQ:
        out->seq = wire_u32(w);
        out->target = wire_u64(w);
        break;
    case GOSSIP_ACK:
    case GOSSIP_NACK:
        out->seq = wire_u32(w);
        break;
    case GOSSIP_ITEMS:
        break;
    default:
        return false;
    }
    out->kind = (enum gossip_packet_kind)kind;
    return !w->ran_out;
}

void gossip_head_put(struct wire_out *w, const struct gossip_head *h)
{
    wire_put_u8(w, (uint8_t)h->kind);
    switch (h->kind) {
    case GOSSIP_PING:
    case GOSSIP_PING_REQ:
        wire_put_u32(w, h->seq);
        wire_put_u64(w, h->target);
        return;
    case GOSSIP_ACK:
    case GOSSIP_NACK:
        wire_put_u32(w, h->seq);
        return;
    case GOSSIP_ITEMS:
        return;
    }
    UNREACHABLE("packet kind");
}

/* ---- reading items ----------------------------------------------------------------------------
 */

static bool take_word(struct wire *w, struct gossip_word *out)
{
    out->id = wire_u64(w);
    out->inc = wire_u64(w);
    uint8_t state = wire_u8(w);
    out->by = wire_u64(w);
    out->record = wire_rest(w);
    if (w->ran_out || state >= GOSSIP_STATE_COUNT || out->record.len > GOSSIP_RECORD_MAX ||
        out->id == 0)
        return false;
    out->state = (enum gossip_state)state;
    return true;
}

static bool take_pulse(struct wire *w, uint64_t *id, struct gossip_pulse *out)
{
    *id = wire_u64(w);
    out->boot = wire_u32(w);
    out->seq = wire_u32(w);
    out->meta_index = wire_u64(w);
    out->digest_index = wire_u64(w);
    out->digest = wire_u64(w);
    out->load.connections = wire_u32(w);
    out->load.channels = wire_u32(w);
    out->load.queues = wire_u32(w);
    out->load.messages = wire_u64(w);
    out->load.memory_permille = wire_u16(w);
    out->load.flags = wire_u16(w);
    return !w->ran_out && *id != 0;
}

static bool take_rumour(struct wire *w, struct gossip_rumour *out)
{
    out->key = wire_u64(w);
    out->ver = wire_u64(w);
    out->bytes = wire_rest(w);
    return !w->ran_out && out->bytes.len <= GOSSIP_RUMOUR_MAX;
}

enum gossip_take gossip_item_take(struct wire *w, struct gossip_item *out)
{
    *out = (struct gossip_item){ 0 };
    while (wire_left(w) != 0) {
        uint8_t kind = wire_u8(w);
        uint16_t len = wire_u16(w);
        struct wire body = wire_over(wire_take(w, len));
        if (w->ran_out)
            return GOSSIP_TAKE_BAD;
        bool ok;
        switch (kind) {
        case GOSSIP_ITEM_WORD:
            ok = take_word(&body, &out->word);
            break;
        case GOSSIP_ITEM_PULSE:
            ok = take_pulse(&body, &out->pulse_of, &out->pulse);
            break;
        case GOSSIP_ITEM_RUMOUR:
            ok = take_rumour(&body, &out->rumour);
            break;
        default:
            continue; /* of a later version */
        }
        out->kind = (enum gossip_item_kind)kind;
        return ok ? GOSSIP_TAKE_ITEM : GOSSIP_TAKE_BAD;
    }
    return GOSSIP_TAKE_END;
}

/* ---- writing items ----------------------------------------------------------------------------
 */

static bool item_begin(struct wire_out *w, enum gossip_item_kind kind, size_t bytes)
{
    if ((size_t)(w->end - w->at) < ITEM_HEAD_BYTES + bytes)
        return false;
    CHECK(bytes <= UINT16_MAX);
    wire_put_u8(w, (uint8_t)kind);
    wire_put_u16(w, (uint16_t)bytes);
    return true;
}

bool gossip_word_put(struct wire_out *w, const struct gossip_word *word)
{
    CHECK(word->record.len <= GOSSIP_RECORD_MAX && word->id != 0);
    if (!item_begin(w, GOSSIP_ITEM_WORD, 25 + word->record.len))
        return false;
    wire_put_u64(w, word->id);
    wire_put_u64(w, word->inc);
    wire_put_u8(w, (uint8_t)word->state);
    wire_put_u64(w, word->by);
    wire_put_bytes(w, word->record);
    CHECK(!w->overflow);
    return true;
}

bool gossip_pulse_put(struct wire_out *w, uint64_t id, const struct gossip_pulse *p)
{
    if (!item_begin(w, GOSSIP_ITEM_PULSE, 64))
        return false;
    wire_put_u64(w, id);
    wire_put_u32(w, p->boot);
    wire_put_u32(w, p->seq);
    wire_put_u64(w, p->meta_index);
    wire_put_u64(w, p->digest_index);
    wire_put_u64(w, p->digest);
    wire_put_u32(w, p->load.connections);
    wire_put_u32(w, p->load.channels);
    wire_put_u32(w, p->load.queues);
    wire_put_u64(w, p->load.messages);
    wire_put_u16(w, p->load.memory_permille);
    wire_put_u16(w, p->load.flags);
    CHECK(!w->overflow);
    return true;
}

bool gossip_rumour_put(struct wire_out *w, const struct gossip_rumour *r)
{
    CHECK(r->bytes.len <= GOSSIP_RUMOUR_MAX);
    if (!item_begin(w, GOSSIP_ITEM_RUMOUR, 16 + r->bytes.len))
        return false;
    wire_put_u64(w, r->key);
    wire_put_u64(w, r->ver);
    wire_put_bytes(w, r->bytes);
    CHECK(!w->overflow);
    return true;
}

const char *gossip_state_text(enum gossip_state s)
{
    static const char *const texts[] = {
#define X(name, text) text,
        GOSSIP_STATES(X)
#undef X
    };
    CHECK((unsigned)s < ARRAY_COUNT(texts));
    return texts[s];
}
