#include "client/confirm.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "expect.h"

/* "+3*" is an ack of all up to 3, "-2" a nack of 2. */
static void write_down(uint64_t number, bool multiple, bool ok, void *arg)
{
    struct text *t = arg;
    text_put(t, "%s%s%u%s", t->len != 0 ? " " : "", ok ? "+" : "-", (unsigned)number,
             multiple ? "*" : "");
}

#define expect_told(c, want)                                                                       \
    do {                                                                                           \
        char room[256];                                                                            \
        struct text t = text_over(room, sizeof room);                                              \
        confirm_tell((c), write_down, &t);                                                         \
        expect_text(room, want);                                                                   \
    } while (0)

Test(confirm, what_is_done_at_once_is_told_with_one_ack)
{
    struct confirm c;
    confirm_init(&c);
    cr_expect(not(confirm_is_due(&c)));
    expect_told(&c, "");
    cr_expect(eq(u64, confirm_begin(&c, 0), 1));
    cr_expect(confirm_is_due(&c));
    expect_told(&c, "+1");
    for (int n = 0; n < 3; n++)
        confirm_begin(&c, 0);
    expect_told(&c, "+4*");
    cr_expect(not(confirm_is_due(&c)));
    confirm_fini(&c);
}

Test(confirm, what_waits_holds_back_the_multiple_ack)
{
    struct confirm c;
    confirm_init(&c);
    confirm_begin(&c, 0);
    uint64_t two = confirm_begin(&c, 2);
    confirm_begin(&c, 0);
    confirm_begin(&c, 1);
    expect_told(&c, "+1 +3");
    confirm_answer(&c, two, true);
    expect_told(&c, "");
    confirm_answer(&c, two, true);
    expect_told(&c, "+2");
    confirm_answer(&c, 4, true);
    expect_told(&c, "+4");
    confirm_fini(&c);
}

Test(confirm, a_nack_is_never_covered_by_an_ack)
{
    struct confirm c;
    confirm_init(&c);
    for (int n = 0; n < 3; n++)
        confirm_begin(&c, 1);
    confirm_answer(&c, 1, true);
    confirm_answer(&c, 2, false);
    confirm_answer(&c, 3, true);
    expect_told(&c, "+1 +3 -2");
    confirm_begin(&c, 2);
    confirm_answer(&c, 4, false);
    confirm_answer(&c, 4, true);
    expect_told(&c, "-4");
    expect_told(&c, "");
    confirm_fini(&c);
}

enum verdict { NOTHING, ACKED, NACKED };

struct ledger {
    uint8_t *said;
    uint64_t told_up_to;
};

static void note(uint64_t number, bool multiple, bool ok, void *arg)
{
    struct ledger *l = arg;
    for (uint64_t n = multiple ? 1 : number; n <= number; n++) {
        if (l->said[n] == NOTHING)
            l->said[n] = ok ? ACKED : NACKED;
        else
            cr_assert(multiple, "%u is answered twice", (unsigned)n);
    }
}

/* Whatever the order of answers: each publish hears the right verdict, and none before its time. */
Test(confirm, every_number_is_answered_once_and_rightly)
{
    enum { COUNT = 500 };
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct confirm c;
        struct rng r;
        uint8_t waits[COUNT + 1] = { 0 };
        uint8_t failed[COUNT + 1] = { 0 };
        uint8_t said[COUNT + 1] = { 0 };
        struct ledger l = { said, 0 };
        confirm_init(&c);
        rng_init(&r, seed);
        uint64_t made = 0, open = 0;
        while (made < COUNT || open != 0) {
            if (made < COUNT && rng_chance(&r, 600)) {
                unsigned targets = (unsigned)rng_below(&r, 3);
                uint64_t n = confirm_begin(&c, targets);
                waits[n] = (uint8_t)targets;
                open += targets != 0;
                made++;
            } else if (open != 0) {
                uint64_t n = 1 + rng_below(&r, made);
                while (waits[n] == 0)
                    n = n % made + 1;
                bool ok = !rng_chance(&r, 100);
                failed[n] |= !ok;
                open -= --waits[n] == 0;
                confirm_answer(&c, n, ok);
            }
            if (rng_chance(&r, 200))
                confirm_tell(&c, note, &l);
            for (uint64_t n = 1; n <= made; n++)
                cr_assert(not(waits[n] != 0 && said[n] != NOTHING), "%u too early", (unsigned)n);
        }
        confirm_tell(&c, note, &l);
        for (uint64_t n = 1; n <= COUNT; n++)
            cr_assert(eq(int, said[n], failed[n] ? NACKED : ACKED), "seed %u number %u",
                      (unsigned)seed, (unsigned)n);
        confirm_fini(&c);
    }
}

/* A fanout exchange may have any number of queues. */
Test(confirm, waits_for_more_queues_than_a_short_counts)
{
    struct confirm c;
    confirm_init(&c);
    const uint32_t queues = 70000;
    uint64_t number = confirm_begin(&c, queues);
    for (uint32_t i = 1; i < queues; i++)
        confirm_answer(&c, number, true);
    expect_told(&c, "");
    confirm_answer(&c, number, true);
    expect_told(&c, "+1");
    confirm_fini(&c);
}
