#include "model/qindex.h"

#include "base/rng.h"
#include "expect.h"
#include "queue_kit.h"

static void drop(struct message *m, void *arg)
{
    unsigned *dropped = arg;
    message_unref(&m);
    (*dropped)++;
}

static uint64_t push(struct qindex *ix, uint64_t number)
{
    struct message *m = kit_message(number);
    return qindex_push(ix, &m);
}

static void settle(struct qindex *ix, uint64_t qseq)
{
    struct message *m = qindex_settle(ix, qseq);
    message_unref(&m);
}

Test(qindex, hands_out_in_order_of_arrival)
{
    struct qindex ix;
    unsigned dropped = 0;
    qindex_init(&ix);
    for (uint64_t n = 0; n < 300; n++)
        push(&ix, n);
    for (uint64_t n = 0; n < 300; n++) {
        uint64_t qseq;
        struct qentry *e = qindex_take(&ix, &qseq);
        cr_assert(eq(u64, kit_number(e->message), n));
        cr_assert(eq(u64, qseq, n));
        cr_assert(not(e->redelivered));
    }
    cr_expect(eq(u64, ix.out_count, 300));
    qindex_fini(&ix, drop, &dropped);
    cr_expect(eq(uint, dropped, 300));
}

Test(qindex, requeued_ones_come_first_and_in_their_old_order)
{
    struct qindex ix;
    unsigned dropped = 0;
    uint64_t qseq;
    qindex_init(&ix);
    for (uint64_t n = 0; n < 6; n++)
        push(&ix, n);
    for (int n = 0; n < 4; n++)
        qindex_take(&ix, &qseq);
    qindex_requeue(&ix, 3, true);
    qindex_requeue(&ix, 1, false);
    const uint64_t order[] = { 1, 3, 4, 5 };
    const bool again[] = { false, true, false, false };
    for (size_t n = 0; n < ARRAY_COUNT(order); n++) {
        struct qentry *e = qindex_take(&ix, &qseq);
        cr_assert(eq(u64, qseq, order[n]));
        cr_assert(eq(int, e->redelivered, again[n]));
    }
    cr_expect(eq(ptr, qindex_peek(&ix, &qseq), NULL));
    qindex_fini(&ix, drop, &dropped);
    cr_expect(eq(uint, dropped, 6));
}

Test(qindex, knows_only_what_is_out)
{
    struct qindex ix;
    unsigned dropped = 0;
    uint64_t qseq;
    qindex_init(&ix);
    push(&ix, 0);
    cr_expect(eq(ptr, qindex_out(&ix, 0), NULL));
    qindex_take(&ix, &qseq);
    cr_expect(ne(ptr, qindex_out(&ix, 0), NULL));
    settle(&ix, 0);
    cr_expect(eq(ptr, qindex_out(&ix, 0), NULL));
    cr_expect(eq(ptr, qindex_out(&ix, 1), NULL));
    cr_expect(eq(ptr, qindex_out(&ix, UINT64_MAX), NULL));
    qindex_fini(&ix, drop, &dropped);
    cr_expect(eq(uint, dropped, 0));
}

/* One that nobody settles must not hold the memory of a million that came after it. */
Test(qindex, an_old_straggler_holds_one_chunk_only)
{
    struct qindex ix;
    unsigned dropped = 0;
    uint64_t qseq;
    qindex_init(&ix);
    push(&ix, 0);
    qindex_take(&ix, &qseq);
    for (uint64_t n = 1; n < 100000; n++) {
        push(&ix, n);
        qindex_take(&ix, &qseq);
        settle(&ix, qseq);
    }
    size_t held = 0;
    for (size_t i = 0; i < ix.count; i++)
        held += ix.chunks[(ix.head + i) & (ix.cap - 1)] != NULL;
    cr_expect(le(sz, held, 2));
    settle(&ix, 0);
    cr_expect(eq(sz, ix.count, 0));
    qindex_fini(&ix, drop, &dropped);
}

/* A plain array says what every message's state must be. */
Test(qindex, agrees_with_a_model_through_random_histories)
{
    enum { MESSAGES = 2000 };
    static uint8_t state[MESSAGES]; /* enum qentry_state */
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct qindex ix;
        struct rng r;
        unsigned dropped = 0;
        uint64_t next = 0, ready = 0, out = 0, qseq;
        rng_init(&r, seed);
        qindex_init(&ix);
        memset(state, QENTRY_NONE, sizeof state);
        for (int step = 0; step < 6000; step++) {
            uint64_t pick = next != 0 ? rng_below(&r, next) : 0;
            switch (rng_below(&r, 5)) {
            case 0:
                if (next < MESSAGES) {
                    cr_assert(eq(u64, push(&ix, next), next));
                    state[next++] = QENTRY_READY;
                    ready++;
                }
                break;
            case 1:
                if (ready != 0) {
                    uint64_t oldest = 0;
                    while (state[oldest] != QENTRY_READY)
                        oldest++;
                    struct qentry *e = qindex_take(&ix, &qseq);
                    cr_assert(eq(u64, qseq, oldest), "seed %u step %d", (unsigned)seed, step);
                    cr_assert(eq(u64, kit_number(e->message), oldest));
                    state[oldest] = QENTRY_OUT;
                    ready--, out++;
                }
                break;
            case 2:
                cr_assert(eq(int, qindex_out(&ix, pick) != NULL, state[pick] == QENTRY_OUT));
                if (state[pick] == QENTRY_OUT) {
                    settle(&ix, pick);
                    state[pick] = QENTRY_NONE;
                    out--;
                }
                break;
            case 3:
                if (state[pick] == QENTRY_OUT) {
                    qindex_requeue(&ix, pick, true);
                    state[pick] = QENTRY_READY;
                    out--, ready++;
                }
                break;
            default:
                if (rng_chance(&r, 10)) {
                    cr_assert(eq(u64, qindex_purge(&ix, drop, &dropped), ready));
                    for (uint64_t n = 0; n < next; n++)
                        state[n] = state[n] == QENTRY_READY ? QENTRY_NONE : state[n];
                    ready = 0;
                }
            }
            cr_assert(eq(u64, ix.ready_count, ready));
            cr_assert(eq(u64, ix.out_count, out));
            cr_assert(eq(u64, ix.ready_bytes, 8 * ready));
            cr_assert(eq(u64, ix.out_bytes, 8 * out));
        }
        dropped = 0;
        qindex_fini(&ix, drop, &dropped);
        cr_assert(eq(u64, dropped, ready + out));
    }
}
