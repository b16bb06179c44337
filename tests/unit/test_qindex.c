#include "model/qindex.h"

#include "base/rng.h"
#include "expect.h"
#include "queue_kit.h"

static void drop(const struct qentry *e, void *arg)
{
    unsigned *dropped = arg;
    struct message *m = e->message;
    message_unref(&m);
    (*dropped)++;
}

static void ignore_range(uint64_t first, uint64_t last, void *arg)
{
    (void)arg;
    cr_assert(le(u64, first, last));
}

static struct qsink sink(unsigned *dropped)
{
    return (struct qsink){ .range = ignore_range, .entry = drop, .arg = dropped };
}

static uint64_t push(struct qindex *ix, uint64_t number)
{
    struct message *m = kit_message(number);
    return qindex_push(ix, &m, 0);
}

/* The entry of the next ready one, which is in memory, or NULL. */
static struct qentry *peek(const struct qindex *ix, uint64_t *qseq)
{
    struct qentry *e = NULL;
    cr_assert(eq(int, qindex_head(ix, qseq, &e), e != NULL ? QHEAD_HERE : QHEAD_EMPTY));
    return e;
}

static void fini(struct qindex *ix, unsigned *dropped)
{
    size_t budget = SIZE_MAX;
    const struct qsink to = sink(dropped);
    cr_assert(qindex_fini(ix, &budget, &to));
}

static void settle(struct qindex *ix, uint64_t qseq)
{
    struct qentry was = qindex_settle(ix, qseq);
    message_unref(&was.message);
}

Test(qindex, hands_out_in_order_of_arrival)
{
    struct qcounts counts = { 0 };
    struct qindex ix;
    unsigned dropped = 0;
    qindex_init(&ix, &counts, 0);
    for (uint64_t n = 0; n < 300; n++)
        push(&ix, n);
    for (uint64_t n = 0; n < 300; n++) {
        uint64_t qseq;
        struct qentry *e = qindex_take(&ix, &qseq);
        cr_assert(eq(u64, kit_number(e->message), n));
        cr_assert(eq(u64, qseq, n));
        cr_assert(not(e->redelivered));
    }
    cr_expect(eq(u64, counts.out.count, 300));
    fini(&ix, &dropped);
    cr_expect(eq(uint, dropped, 300));
}

Test(qindex, requeued_ones_come_first_and_in_their_old_order)
{
    struct qcounts counts = { 0 };
    struct qindex ix;
    unsigned dropped = 0;
    uint64_t qseq;
    qindex_init(&ix, &counts, 0);
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
    cr_expect(eq(ptr, peek(&ix, &qseq), NULL));
    fini(&ix, &dropped);
    cr_expect(eq(uint, dropped, 6));
}

Test(qindex, knows_only_what_is_out)
{
    struct qcounts counts = { 0 };
    struct qindex ix;
    unsigned dropped = 0;
    uint64_t qseq;
    qindex_init(&ix, &counts, 0);
    push(&ix, 0);
    cr_expect(eq(ptr, qindex_out(&ix, 0), NULL));
    qindex_take(&ix, &qseq);
    cr_expect(ne(ptr, qindex_out(&ix, 0), NULL));
    settle(&ix, 0);
    cr_expect(eq(ptr, qindex_out(&ix, 0), NULL));
    cr_expect(eq(ptr, qindex_out(&ix, 1), NULL));
    cr_expect(eq(ptr, qindex_out(&ix, UINT64_MAX), NULL));
    fini(&ix, &dropped);
    cr_expect(eq(uint, dropped, 0));
}

/* One that nobody settles must not hold the memory of a million that came after it. */
Test(qindex, an_old_straggler_holds_one_chunk_only)
{
    struct qcounts counts = { 0 };
    struct qindex ix;
    unsigned dropped = 0;
    uint64_t qseq;
    qindex_init(&ix, &counts, 0);
    push(&ix, 0);
    qindex_take(&ix, &qseq);
    for (uint64_t n = 1; n < 100000; n++) {
        push(&ix, n);
        qindex_take(&ix, &qseq);
        settle(&ix, qseq);
    }
    cr_expect(le(sz, ix.chunks.count, 2));
    cr_expect(le(sz, ix.chunks.cap, 16), "nor does a row of them grow");
    settle(&ix, 0);
    cr_expect(eq(sz, ix.chunks.count, 0));
    fini(&ix, &dropped);
}

/* A plain array says what every message's state must be. */
Test(qindex, agrees_with_a_model_through_random_histories)
{
    enum { MESSAGES = 2000 };
    static uint8_t state[MESSAGES]; /* enum qentry_state */
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct qcounts counts = { 0 };
        struct qindex ix;
        struct rng r;
        unsigned dropped = 0;
        const struct qsink to = sink(&dropped);
        uint64_t next = 0, ready = 0, out = 0, settled = 0, qseq;
        rng_init(&r, seed);
        qindex_init(&ix, &counts, 0);
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
                    settled++;
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
                    cr_assert(eq(u64, qindex_purge(&ix, &to), ready));
                    for (uint64_t n = 0; n < next; n++)
                        state[n] = state[n] == QENTRY_READY ? QENTRY_NONE : state[n];
                    ready = 0;
                    counts.ready = (struct qcount){ 0 };
                }
                if (rng_chance(&r, 20)) {
                    size_t budget = rng_below(&r, 200);
                    (void)qindex_sweep(&ix, &budget, &to);
                }
            }
            cr_assert(eq(u64, counts.ready.count, ready));
            cr_assert(eq(u64, counts.out.count, out));
            cr_assert(eq(u64, counts.ready.bytes, 8 * ready));
            cr_assert(eq(u64, counts.out.bytes, 8 * out));
        }
        fini(&ix, &dropped);
        cr_assert(eq(u64, dropped + settled, next), "all went once");
    }
}

/* A purge of a million takes no longer than one of a thousand: what it took away is freed later. */
Test(qindex, a_purge_buries_and_sweeps_in_slices)
{
    enum { MESSAGES = 100000, OUT = 1000 };
    struct qcounts counts = { 0 };
    struct qindex ix;
    unsigned dropped = 0;
    const struct qsink to = sink(&dropped);
    uint64_t qseq;
    qindex_init(&ix, &counts, 0);
    for (uint64_t n = 0; n < MESSAGES; n++)
        push(&ix, n);
    for (uint64_t n = 0; n < 2 * OUT; n++)
        qindex_take(&ix, &qseq);
    for (uint64_t n = 0; n < OUT; n++)
        qindex_requeue(&ix, 2 * n, true);
    cr_expect(eq(u64, qindex_purge(&ix, &to), MESSAGES - OUT));
    counts.ready = (struct qcount){ 0 };
    cr_expect(lt(uint, dropped, 256));
    cr_expect(eq(ptr, peek(&ix, &qseq), NULL));
    cr_expect(eq(u64, push(&ix, 7), MESSAGES));
    cr_expect(eq(u64, kit_number(peek(&ix, &qseq)->message), 7));
    size_t budget = 500;
    cr_expect(not(qindex_sweep(&ix, &budget, &to)));
    cr_expect(lt(uint, dropped, 1000));
    budget = SIZE_MAX;
    cr_expect(qindex_sweep(&ix, &budget, &to));
    cr_expect(eq(uint, dropped, MESSAGES - OUT));
    cr_expect(ne(ptr, qindex_out(&ix, 1), NULL), "what was out is still out");
    settle(&ix, 1);
    budget = 100;
    while (!qindex_fini(&ix, &budget, &to))
        budget = 100;
    cr_expect(eq(uint, dropped, MESSAGES));
}

Test(qindex, keeps_moments_only_where_there_are_any)
{
    struct qcounts counts = { 0 };
    struct qindex ix;
    unsigned dropped = 0;
    qindex_init(&ix, &counts, 0);
    for (uint64_t n = 0; n < 200; n++) {
        struct message *m = kit_message(n);
        qindex_push(&ix, &m, n == 100 ? 4711 : 0);
    }
    for (uint64_t n = 0; n < 200; n++)
        cr_assert(eq(u64, qindex_expires_ms(&ix, n), n == 100 ? 4711 : 0));
    cr_expect(eq(u64, qindex_expires_ms(&ix, 4000), 0));
    fini(&ix, &dropped);
}
