/* proxy/balance: who is next. */
#include "balance.h"

#include "expect.h"

static struct balance_server up(uint32_t weight)
{
    return (struct balance_server){ .weight = weight, .usable = true };
}

static int pick(enum balance_kind kind, const struct balance_server *s, unsigned count,
                uint64_t ticket)
{
    struct rng rng;
    rng_init(&rng, ticket);
    return balance_pick(kind, s, count, ticket, &rng);
}

Test(balance, nobody_is_there)
{
    struct balance_server none[1] = { { .weight = 16 } };
    for (int kind = BALANCE_ROUNDROBIN; kind <= BALANCE_RANDOM; kind++) {
        cr_expect(eq(int, pick((enum balance_kind)kind, NULL, 0, 0), -1));
        cr_expect(eq(int, pick((enum balance_kind)kind, none, 1, 0), -1));
    }
}

Test(balance, roundrobin_takes_turns)
{
    struct balance_server s[3] = { up(16), up(16), up(16) };
    for (uint64_t t = 0; t < 300; t++)
        cr_expect(eq(int, pick(BALANCE_ROUNDROBIN, s, 3, t), (int)(t % 3)));
}

Test(balance, roundrobin_leaves_out_who_is_down)
{
    struct balance_server s[3] = { up(16), up(16), up(16) };
    s[1].usable = false;
    for (uint64_t t = 0; t < 100; t++)
        cr_expect(eq(int, pick(BALANCE_ROUNDROBIN, s, 3, t), t % 2 == 0 ? 0 : 2));
}

/* In a cycle each gets its weight, exactly, whatever the weights are. */
Test(balance, roundrobin_is_exact_over_a_cycle)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct rng rng;
        struct balance_server s[5];
        uint64_t got[5] = { 0 };
        uint64_t total = 0;
        rng_init(&rng, seed);
        for (unsigned i = 0; i < 5; i++) {
            s[i] = up((uint32_t)rng_below(&rng, 200));
            total += s[i].weight;
        }
        for (uint64_t t = 0; t < total; t++)
            got[pick(BALANCE_ROUNDROBIN, s, 5, t)]++;
        for (unsigned i = 0; i < 5; i++)
            cr_expect(eq(u64, got[i], s[i].weight), "seed %d server %u", (int)seed, i);
    }
}

/* The heavy one does not get all its turns in a row. */
Test(balance, roundrobin_spreads_turns_evenly)
{
    struct balance_server s[2] = { up(3), up(1) };
    int light_before = -1;
    for (int t = 0; t < 400; t++) {
        if (pick(BALANCE_ROUNDROBIN, s, 2, (uint64_t)t) != 1)
            continue;
        if (light_before >= 0)
            cr_expect(eq(int, t - light_before, 4));
        light_before = t;
    }
    cr_expect(light_before > 0);
}

Test(balance, roundrobin_stands_the_largest_weights_and_tickets)
{
    struct balance_server s[BALANCE_SERVERS_MAX];
    for (unsigned i = 0; i < BALANCE_SERVERS_MAX; i++)
        s[i] = up(BALANCE_WEIGHT_MAX);
    cr_expect(pick(BALANCE_ROUNDROBIN, s, BALANCE_SERVERS_MAX, UINT64_MAX) >= 0);
    cr_expect(eq(int, pick(BALANCE_ROUNDROBIN, s, BALANCE_SERVERS_MAX, 0), 0));
}

Test(balance, leastconn_takes_the_lightest)
{
    struct balance_server s[3] = { up(16), up(16), up(16) };
    s[0].load = 5;
    s[1].load = 2;
    s[2].load = 4;
    for (uint64_t t = 0; t < 10; t++)
        cr_expect(eq(int, pick(BALANCE_LEASTCONN, s, 3, t), 1));
}

Test(balance, leastconn_counts_weight)
{
    struct balance_server s[2] = { up(16), up(160) };
    s[0].load = 1;
    s[1].load = 9; /* with one more: 2/16 and 10/160 */
    cr_expect(eq(int, pick(BALANCE_LEASTCONN, s, 2, 0), 1));
    s[1].load = 30; /* 31/160 */
    cr_expect(eq(int, pick(BALANCE_LEASTCONN, s, 2, 0), 0));
}

Test(balance, leastconn_takes_turns_among_equals)
{
    struct balance_server s[3] = { up(16), up(16), up(16) };
    bool seen[3] = { false };
    for (uint64_t t = 0; t < 3; t++)
        seen[pick(BALANCE_LEASTCONN, s, 3, t)] = true;
    cr_expect(seen[0] && seen[1] && seen[2]);
}

Test(balance, first_fills_one_after_the_other)
{
    struct balance_server s[2] = { up(16), up(16) };
    s[0].load_max = 10;
    s[0].load = 9;
    cr_expect(eq(int, pick(BALANCE_FIRST, s, 2, 7), 0));
    s[0].load = 10;
    cr_expect(eq(int, pick(BALANCE_FIRST, s, 2, 7), 1));
}

Test(balance, random_keeps_to_the_weights)
{
    struct balance_server s[2] = { up(16), up(48) };
    struct rng rng;
    unsigned got[2] = { 0 };
    rng_init(&rng, 1);
    for (unsigned n = 0; n < 4000; n++) {
        int i = balance_pick(BALANCE_RANDOM, s, 2, 0, &rng);
        got[i]++;
        s[i].load++;
    }
    cr_expect(got[1] > 2 * got[0] && got[1] < 4 * got[0], "%u and %u", got[0], got[1]);
}

Test(balance, full_and_weightless_servers_take_nothing)
{
    struct balance_server s[2] = { up(16), up(0) };
    s[0].load_max = 3;
    s[0].load = 3;
    for (int kind = BALANCE_ROUNDROBIN; kind <= BALANCE_RANDOM; kind++)
        cr_expect(eq(int, pick((enum balance_kind)kind, s, 2, 0), -1));
    s[0].load = 2;
    for (int kind = BALANCE_ROUNDROBIN; kind <= BALANCE_RANDOM; kind++)
        cr_expect(eq(int, pick((enum balance_kind)kind, s, 2, 5), 0));
}

Test(balance, the_first_backup_serves_when_nobody_else_can)
{
    struct balance_server s[3] = { up(16), up(16), up(16) };
    s[1].backup = true;
    s[2].backup = true;
    for (uint64_t t = 0; t < 6; t++)
        cr_expect(eq(int, pick(BALANCE_ROUNDROBIN, s, 3, t), 0));
    s[0].usable = false;
    for (uint64_t t = 0; t < 6; t++)
        cr_expect(eq(int, pick(BALANCE_ROUNDROBIN, s, 3, t), 1));
    s[1].usable = false;
    cr_expect(eq(int, pick(BALANCE_ROUNDROBIN, s, 3, 0), 2));
}

Test(balance, a_full_server_does_not_call_the_backup)
{
    struct balance_server s[2] = { up(16), up(16) };
    s[0].load_max = 1;
    s[0].load = 1;
    s[1].backup = true;
    cr_expect(eq(int, pick(BALANCE_ROUNDROBIN, s, 2, 0), -1));
}

Test(balance, a_slow_start_grows_to_the_full_weight)
{
    cr_expect(eq(u32, balance_weight(100, 0, 0), 1600));
    cr_expect(eq(u32, balance_weight(100, 0, 10000), 1), "a little from the first moment");
    cr_expect(eq(u32, balance_weight(100, 5000, 10000), 800));
    cr_expect(eq(u32, balance_weight(100, 10000, 10000), 1600));
    cr_expect(eq(u32, balance_weight(100, UINT64_MAX, 10000), 1600));
    cr_expect(eq(u32, balance_weight(0, 0, 10000), 0));
    cr_expect(eq(u32, balance_weight(256, 1, 0), BALANCE_WEIGHT_MAX));
}

Test(balance, kinds_have_words)
{
    expect_text(balance_kind_word(BALANCE_ROUNDROBIN), "roundrobin");
    expect_text(balance_kind_word(BALANCE_RANDOM), "random");
}
