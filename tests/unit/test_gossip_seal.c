/* src/gossip/gossip_seal: who may speak, and that nothing is heard twice. */
#include "gossip/gossip_seal.h"

#include "expect.h"

static struct gossip_seal *sealer(uint64_t id, uint64_t boot, const char *cookie, uint8_t cluster)
{
    struct gossip_seal_setup s = { .cookie = slice_str(cookie), .id = id, .boot = boot };
    s.cluster[0] = cluster;
    return gossip_seal_new(&s);
}

struct pair {
    struct gossip_seal *from, *to;
    uint8_t packet[GOSSIP_PACKET_MAX];
    uint8_t room[GOSSIP_PAYLOAD_MAX];
    size_t len;
    struct gossip_opening o;
};

static const char cookie[] = "a secret of more than twenty octets";

static void pair_begin(struct pair *p)
{
    p->from = sealer(1, 11, cookie, 5);
    p->to = sealer(2, 22, cookie, 5);
}

static void pair_end(struct pair *p)
{
    gossip_seal_free(&p->from);
    gossip_seal_free(&p->to);
}

static void make(struct pair *p, const char *text)
{
    p->len = gossip_seal_make(p->from, slice_str(text), p->packet);
}

static enum gossip_opened open(struct pair *p)
{
    return gossip_seal_open(p->to, slice_of(p->packet, p->len), p->room, &p->o);
}

Test(gossip_seal, opens_once_what_a_member_said)
{
    struct pair p;
    pair_begin(&p);
    cr_assert(gossip_seal_believe(p.to, 1, 11, gossip_seal_counter(p.from)));
    make(&p, "hello");
    cr_expect(memmem(p.packet, p.len, "hello", 5) == NULL, "it is hidden");
    cr_assert(eq(int, open(&p), GOSSIP_OPENED));
    cr_expect(p.o.from == 1 && p.o.boot == 11 && slice_is(p.o.payload, "hello"));
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_REPLAY));
    pair_end(&p);
}

Test(gossip_seal, the_longest_payload_makes_the_longest_packet)
{
    struct pair p;
    uint8_t most[GOSSIP_PAYLOAD_MAX];
    pair_begin(&p);
    memset(most, 'x', sizeof most);
    cr_assert(gossip_seal_believe(p.to, 1, 11, 1));
    p.len = gossip_seal_make(p.from, slice_of(most, sizeof most), p.packet);
    cr_expect(eq(sz, p.len, GOSSIP_PACKET_MAX));
    cr_expect(eq(int, open(&p), GOSSIP_OPENED));
    pair_end(&p);
}

Test(gossip_seal, a_boot_that_is_not_believed_is_a_stranger)
{
    struct pair p;
    pair_begin(&p);
    make(&p, "hello");
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_STRANGER));
    cr_expect(p.o.from == 1 && p.o.boot == 11);
    cr_assert(gossip_seal_believe(p.to, 1, 12, 1));
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_STRANGER), "a later boot is");
    cr_assert(gossip_seal_believe(p.to, 1, 11, 1));
    cr_expect(eq(int, open(&p), GOSSIP_OPENED));
    gossip_seal_forget(p.to, 1);
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_STRANGER));
    pair_end(&p);
}

Test(gossip_seal, what_was_said_before_we_met_does_not_count)
{
    struct pair p;
    pair_begin(&p);
    make(&p, "old");
    cr_assert(gossip_seal_believe(p.to, 1, 11, gossip_seal_counter(p.from)));
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_REPLAY));
    make(&p, "new");
    cr_expect(eq(int, open(&p), GOSSIP_OPENED));
    pair_end(&p);
}

Test(gossip_seal, any_octet_changed_is_noticed)
{
    struct pair p;
    pair_begin(&p);
    cr_assert(gossip_seal_believe(p.to, 1, 11, 1));
    make(&p, "hello");
    for (size_t i = 0; i < p.len; i++) {
        p.packet[i] ^= 0x40;
        enum gossip_opened got = open(&p);
        cr_expect(got == GOSSIP_OPENED_FALSE || got == GOSSIP_OPENED_FOREIGN, "octet %zu: %d", i,
                  (int)got);
        p.packet[i] ^= 0x40;
    }
    for (size_t whole = p.len; p.len > 0;) {
        p.len--;
        cr_expect(open(&p) != GOSSIP_OPENED, "%zu of %zu octets", p.len, whole);
    }
    pair_end(&p);
}

Test(gossip_seal, other_secrets_and_other_clusters_are_false)
{
    struct pair p;
    pair_begin(&p);
    cr_assert(gossip_seal_believe(p.to, 1, 11, 1));
    gossip_seal_free(&p.from);
    p.from = sealer(1, 11, "another secret of twenty octets", 5);
    make(&p, "hello");
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_FALSE));
    gossip_seal_free(&p.from);
    p.from = sealer(1, 11, cookie, 6);
    make(&p, "hello");
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_FALSE));
    gossip_seal_free(&p.from);
    p.from = sealer(2, 22, cookie, 5);
    make(&p, "hello");
    cr_expect(eq(int, open(&p), GOSSIP_OPENED_FOREIGN), "our own, come back");
    pair_end(&p);
}

/* Each of the last 1024 once, in any order; nothing older. */
Test(gossip_seal, the_window_tells_the_last_1024_apart)
{
    static uint8_t packets[1100][GOSSIP_PACKET_MAX];
    struct pair p;
    size_t len = 0;
    pair_begin(&p);
    cr_assert(gossip_seal_believe(p.to, 1, 11, 1));
    for (size_t i = 0; i < 1100; i++)
        len = gossip_seal_make(p.from, slice_str("x"), packets[i]);
#define OPEN(i) gossip_seal_open(p.to, slice_of(packets[i], len), p.room, &p.o)
    for (size_t i = 0; i < 50; i++)
        cr_expect(eq(int, OPEN(i), GOSSIP_OPENED));
    cr_expect(eq(int, OPEN(1099), GOSSIP_OPENED), "a jump");
    for (size_t i = 1099; i-- > 76;)
        cr_expect(eq(int, OPEN(i), GOSSIP_OPENED), "%zu", i);
    for (size_t i = 0; i < 1100; i++)
        cr_expect(eq(int, OPEN(i), GOSSIP_OPENED_REPLAY), "%zu", i);
    pair_end(&p);
}
