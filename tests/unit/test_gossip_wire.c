/* src/gossip/gossip_wire, gossip_info: each item as it was, each prefix refused. */
#include "gossip/gossip_info.h"

#include "expect.h"

static const struct gossip_word word = {
    .id = 7, .inc = 0x100000002, .state = GOSSIP_SUSPECT, .by = 3, .record = { NULL, 0 }
};
static const struct gossip_pulse pulse = {
    .boot = 2,
    .seq = 9,
    .meta_index = 12345,
    .digest_index = 12288,
    .digest = 0xABCDEF,
    .load = { .connections = 5,
              .channels = 6,
              .queues = 7,
              .messages = 1u << 31,
              .memory_permille = 400,
              .flags = GOSSIP_LOAD_DRAINING },
};

/* All three kinds, with one of a later version between them. */
static struct slice items(uint8_t *room, size_t size)
{
    struct wire_out w = wire_out_over(room, size);
    struct gossip_word with = word;
    with.record = slice_str("its own words");
    cr_assert(gossip_word_put(&w, &with));
    wire_put_u8(&w, 200);
    wire_put_u16(&w, 4);
    wire_put_u32(&w, 1);
    cr_assert(gossip_pulse_put(&w, 7, &pulse));
    cr_assert(gossip_rumour_put(
        &w, &(struct gossip_rumour){ .key = 1, .ver = 2, .bytes = slice_str("said") }));
    return wire_out_slice(&w);
}

Test(gossip_wire, items_are_read_as_they_were_written)
{
    uint8_t room[256];
    struct wire w = wire_over(items(room, sizeof room));
    struct gossip_item i;
    cr_assert(eq(int, gossip_item_take(&w, &i), GOSSIP_TAKE_ITEM));
    cr_expect(i.kind == GOSSIP_ITEM_WORD && i.word.id == 7 && i.word.inc == word.inc &&
              i.word.state == GOSSIP_SUSPECT && i.word.by == 3);
    cr_expect(slice_is(i.word.record, "its own words"));
    cr_assert(eq(int, gossip_item_take(&w, &i), GOSSIP_TAKE_ITEM), "what is unknown is passed");
    cr_expect(i.kind == GOSSIP_ITEM_PULSE && i.pulse_of == 7);
    cr_expect(memcmp(&i.pulse, &pulse, sizeof pulse) == 0);
    cr_assert(eq(int, gossip_item_take(&w, &i), GOSSIP_TAKE_ITEM));
    cr_expect(i.kind == GOSSIP_ITEM_RUMOUR && i.rumour.key == 1 && i.rumour.ver == 2);
    cr_expect(slice_is(i.rumour.bytes, "said"));
    cr_expect(eq(int, gossip_item_take(&w, &i), GOSSIP_TAKE_END));
}

Test(gossip_wire, a_torn_item_is_bad)
{
    uint8_t room[256];
    struct slice all = items(room, sizeof room);
    unsigned whole = 0;
    for (size_t n = 0; n < all.len; n++) {
        struct wire w = wire_over(slice_head(all, n));
        struct gossip_item i;
        enum gossip_take t;
        while ((t = gossip_item_take(&w, &i)) == GOSSIP_TAKE_ITEM)
            ;
        whole += t == GOSSIP_TAKE_END;
    }
    cr_expect(eq(u32, whole, 4), "only where an item ends");
}

Test(gossip_wire, heads_are_read_as_they_were_written)
{
    static const struct gossip_head heads[] = { { GOSSIP_PING, 5, 6 },
                                                { GOSSIP_ACK, 5, 0 },
                                                { GOSSIP_NACK, 5, 0 },
                                                { GOSSIP_PING_REQ, 5, 6 },
                                                { GOSSIP_ITEMS, 0, 0 } };
    for (size_t k = 0; k < ARRAY_COUNT(heads); k++) {
        uint8_t room[32];
        struct gossip_head got;
        struct wire_out o = wire_out_over(room, sizeof room);
        gossip_head_put(&o, &heads[k]);
        for (size_t n = 0; n <= wire_out_len(&o); n++) {
            struct wire w = wire_over(slice_of(room, n));
            cr_expect(eq(int, gossip_head_take(&w, &got), n == wire_out_len(&o)), "%zu", n);
        }
        cr_expect(got.kind == heads[k].kind && got.seq == heads[k].seq &&
                  got.target == heads[k].target);
    }
}

Test(gossip_wire, what_does_not_fit_is_not_begun)
{
    uint8_t room[128];
    for (size_t size = 0; size < 28; size++) {
        struct wire_out w = wire_out_over(room, size);
        cr_expect(not(gossip_word_put(&w, &word)));
        cr_expect(eq(sz, wire_out_len(&w), 0));
    }
    struct wire_out w = wire_out_over(room, 28);
    cr_expect(gossip_word_put(&w, &word));
}

Test(gossip_wire, nonsense_is_refused)
{
    uint8_t room[64];
    struct gossip_item i;
    struct gossip_head h;
    struct wire_out o = wire_out_over(room, sizeof room);
    cr_assert(gossip_word_put(&o, &word));
    room[3 + 16] = GOSSIP_STATE_COUNT;
    struct wire w = wire_over(wire_out_slice(&o));
    cr_expect(eq(int, gossip_item_take(&w, &i), GOSSIP_TAKE_BAD), "no such state");
    room[3 + 16] = GOSSIP_ALIVE;
    memset(room + 3, 0, 8);
    w = wire_over(wire_out_slice(&o));
    cr_expect(eq(int, gossip_item_take(&w, &i), GOSSIP_TAKE_BAD), "nobody has number 0");
    room[0] = 99;
    w = wire_over(slice_of(room, 20));
    cr_expect(not(gossip_head_take(&w, &h)));
}

Test(gossip_info, is_read_as_it_was_written)
{
    struct gossip_info info = { .role = GOSSIP_ROLE_PROXY,
                                .protocol_least = 1,
                                .protocol_most = 2,
                                .boot = 99,
                                .name = slice_str("proxy@host"),
                                .version = slice_str("0.4.0"),
                                .amqp = slice_str("127.0.0.1:5672"),
                                .cluster = slice_str(":25672"),
                                .management = slice_str("") };
    struct gossip_info got;
    uint8_t room[GOSSIP_RECORD_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    gossip_info_write(&w, &info);
    cr_assert(not(w.overflow));
    for (size_t n = 0; n < wire_out_len(&w); n++)
        cr_expect(not(gossip_info_read(slice_of(room, n), &got)), "%zu octets", n);
    cr_assert(gossip_info_read(wire_out_slice(&w), &got));
    cr_expect(got.role == info.role && got.boot == 99 && got.protocol_most == 2);
    cr_expect(slice_is(got.name, "proxy@host") && slice_is(got.cluster, ":25672") &&
              got.management.len == 0);
    room[1] = 9;
    cr_expect(not(gossip_info_read(wire_out_slice(&w), &got)), "no such role");
}

Test(gossip_info, what_is_too_long_overflows)
{
    uint8_t room[2048];
    char text[255];
    memset(text, 'x', sizeof text);
    struct slice longest = slice_of(text, sizeof text);
    struct gossip_info info = {
        .role = GOSSIP_ROLE_BROKER, .name = longest, .amqp = longest, .cluster = longest
    };
    struct wire_out w = wire_out_over(room, sizeof room);
    gossip_info_write(&w, &info);
    cr_expect(w.overflow);
}
