/* What a member hears, authentic but from a version or a mind that we do not know: packets and
 * comparisons. What is taken is written again as it was understood, and nothing breaks the core. */
#include "base/check.h"
#include "base/mem.h"
#include "gossip/gossip.h"
#include "gossip/gossip_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool put(struct wire_out *w, const struct gossip_item *item)
{
    switch (item->kind) {
    case GOSSIP_ITEM_WORD:
        return gossip_word_put(w, &item->word);
    case GOSSIP_ITEM_PULSE:
        return gossip_pulse_put(w, item->pulse_of, &item->pulse);
    case GOSSIP_ITEM_RUMOUR:
        return gossip_rumour_put(w, &item->rumour);
    }
    UNREACHABLE("item kind");
}

static bool is_same(const struct gossip_item *a, const struct gossip_item *b)
{
    return a->kind == b->kind && a->word.id == b->word.id && a->word.inc == b->word.inc &&
           a->word.state == b->word.state && a->word.by == b->word.by &&
           slice_eq(a->word.record, b->word.record) && a->pulse_of == b->pulse_of &&
           memcmp(&a->pulse, &b->pulse, sizeof a->pulse) == 0 && a->rumour.key == b->rumour.key &&
           a->rumour.ver == b->rumour.ver && slice_eq(a->rumour.bytes, b->rumour.bytes);
}

static void write_again(struct wire w)
{
    struct gossip_item item, again;
    uint8_t room[1024];
    while (gossip_item_take(&w, &item) == GOSSIP_TAKE_ITEM) {
        struct wire_out o = wire_out_over(room, sizeof room);
        CHECK(put(&o, &item));
        struct wire r = wire_over(wire_out_slice(&o));
        CHECK(gossip_item_take(&r, &again) == GOSSIP_TAKE_ITEM && is_same(&item, &again));
    }
}

static void read_record(struct slice in)
{
    struct gossip_info info, again;
    uint8_t room[2048];
    if (!gossip_info_read(in, &info))
        return;
    struct wire_out o = wire_out_over(room, sizeof room);
    gossip_info_write(&o, &info);
    if (!o.overflow)
        CHECK(gossip_info_read(wire_out_slice(&o), &again) && slice_eq(info.name, again.name) &&
              slice_eq(info.management, again.management) && info.role == again.role);
}

/* Octets: what kind of event, how long after the one before, length, then the event itself. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gossip_conf conf = { .id = 1, .boot = 1, .seed = 1 };
    struct gossip *g = gossip_new(&conf, slice_str("fuzz"), 0);
    struct gossip_effects *out = mem_zalloc(sizeof *out);
    struct wire w = wire_over(slice_of(data, size));
    struct gossip_event ev = { .now_us = 0 };
    read_record(slice_of(data, size));
    while (wire_left(&w) != 0) {
        uint8_t kind = wire_u8(&w);
        ev.now_us += (uint64_t)wire_u8(&w) * 5000;
        uint16_t len = wire_u16(&w);
        ev.bytes = wire_take(&w, len < wire_left(&w) ? len : wire_left(&w));
        ev.kind = kind % 4 == 0   ? GOSSIP_EV_TIME
                  : kind % 4 == 1 ? GOSSIP_EV_SYNC
                                  : GOSSIP_EV_PACKET;
        ev.from = 2 + kind % 5;
        if (ev.kind == GOSSIP_EV_SYNC)
            write_again(wire_over(slice_head(ev.bytes, GOSSIP_SYNC_MAX)));
        gossip_step(g, &ev, out);
        gossip_check(g);
    }
    mem_free(out);
    gossip_free(&g);
    return 0;
}
