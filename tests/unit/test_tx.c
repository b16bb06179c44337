#include "client/tx.h"

#include "base/rng.h"
#include "expect.h"

static struct message *message(void)
{
    return message_new(slice_str("x"), slice_str("key"), slice_of("\0\0", 2), slice_str("body"),
                       false);
}

static struct unacked_entry entry(uint64_t qseq)
{
    return (struct unacked_entry){ .qid = 9, .qseq = qseq };
}

Test(tx, keeps_messages_with_their_queues_in_order)
{
    enum { COUNT = 100 };
    struct tx t;
    tx_init(&t);
    size_t bytes = 0;
    for (uint64_t n = 0; n < COUNT; n++) {
        struct message *m = message();
        size_t queues = (size_t)n % 4;
        bytes += tx_publish_bytes(m, queues);
        uint64_t *qids = tx_add_publish(&t, &m, queues, n % 2 == 0);
        cr_expect(m == NULL);
        for (size_t i = 0; i < queues; i++)
            qids[i] = n * 10 + i;
    }
    cr_expect(eq(sz, t.held_bytes, bytes));
    cr_assert(eq(sz, t.publish_count, COUNT));
    for (size_t n = 0; n < COUNT; n++) {
        struct tx_publish *p = &t.publishes[n];
        cr_assert(eq(sz, p->qid_count, n % 4));
        cr_expect(eq(int, p->mandatory, n % 2 == 0));
        for (size_t i = 0; i < p->qid_count; i++)
            cr_expect(eq(u64, t.qids[p->first_qid + i], n * 10 + i));
        message_unref(&p->message);
    }
    tx_clear(&t);
    cr_expect(eq(sz, t.held_bytes, 0));
    cr_expect(eq(sz, t.publish_count, 0));
    tx_fini(&t);
}

Test(tx, sorts_only_what_says_the_same)
{
    static const struct {
        uint64_t tag;
        int how;
    } given[] = { { 5, 1 }, { 3, 1 }, { 4, 0 }, { 2, 1 }, { 1, 1 } };
    static const uint64_t want[] = { 3, 5, 4, 1, 2 };
    struct tx t;
    tx_init(&t);
    for (size_t i = 0; i < ARRAY_COUNT(given); i++) {
        struct unacked_entry e = entry(given[i].tag);
        tx_add_settle(&t, given[i].tag, &e, given[i].how);
    }
    tx_sort_for_commit(&t);
    for (size_t i = 0; i < ARRAY_COUNT(want); i++) {
        cr_expect(eq(u64, t.settles[i].tag, want[i]));
        cr_expect(eq(u64, t.settles[i].entry.qseq, want[i]));
    }
    tx_fini(&t);
}

/* Whatever was taken comes back in the order of the tags, and the tags go on from where they were.
 */
Test(tx, a_rollback_opens_tags_again_in_their_old_places)
{
    struct rng r;
    rng_init(&r, 7);
    for (unsigned round = 0; round < 200; round++) {
        struct tx t;
        struct unacked u;
        struct unacked_entry e;
        tx_init(&t);
        unacked_init(&u);
        uint64_t count = rng_below(&r, 100);
        for (uint64_t n = 1; n <= count; n++) {
            e = entry(n);
            unacked_add(&u, &e);
        }
        for (uint64_t n = rng_below(&r, 150); n > 0 && count != 0; n--) {
            uint64_t tag = 1 + rng_below(&r, count);
            if (unacked_take(&u, tag, &e))
                tx_add_settle(&t, tag, &e, (int)rng_below(&r, 3));
        }
        tx_reopen(&t, &u);
        cr_expect(eq(sz, t.settle_count, 0));
        cr_expect(eq(sz, t.held_bytes, 0));
        cr_assert(eq(u64, u.open, count));
        for (uint64_t n = 1; n <= count; n++) {
            cr_expect(eq(u64, unacked_oldest(&u, count), n));
            cr_assert(unacked_take_oldest(&u, count, &e));
            cr_expect(eq(u64, e.qseq, n));
        }
        cr_expect(eq(u64, unacked_oldest(&u, count), 0));
        e = entry(1);
        cr_expect(eq(u64, unacked_add(&u, &e), count + 1));
        unacked_fini(&u);
        tx_fini(&t);
    }
}
