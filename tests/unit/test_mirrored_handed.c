/* broker/mirrored_handed: a queue that is moved to a real node, with what is out with consumers. */
#include "mirrored_kit.h"

#include "mirrored_handed.h"

TestSuite(mirrored_handed, .timeout = 300);

#define PID 77u

/* A whole copy, and its master has said that these are out. */
static struct hosted *open_handed(struct house *h, uint64_t count, uint64_t first, uint64_t last)
{
    house_init(h);
    house_decide(h, lasting(q_declare("m")));
    HOLDERS(&h->w, "m", "1+2+3+");
    house_join(h, "m", 0, 0, NULL);
    for (uint64_t p = 0; p < count; p++)
        cr_assert(
            eq(int, house_message(h, "m", p, PID, p + 1, slice_str("a body"), true), MIRROR_TAKEN));
    house_done(h, "m", PID, count);
    house_until_durable(h);
    struct mirror_starts fresh = { 0 };
    struct mirror_run out = { first, last };
    mirror_starts_raise(&fresh, last + 1);
    cr_assert(eq(int,
                 house_say(h, &(struct mirror_record){ .op = MIRROR_HANDED,
                                                       .flags = MIRROR_HANDED_LAST,
                                                       .qid = queue_now(&h->w, "m")->qid,
                                                       .epoch = placement(&h->w, "m").epoch,
                                                       .to = MIRROR_TO_END,
                                                       .starts = &fresh,
                                                       .runs = &out,
                                                       .run_count = 1 }),
                 MIRROR_TAKEN));
    mirror_starts_fini(&fresh);
    return house_queue(h, "m");
}

#define HELD(h, text)                                                                              \
    cr_expect(eq(str, (char *)(uintptr_t)house_held((h), "m"), (char *)(uintptr_t)(text)))

Test(mirrored_handed, what_is_out_stays_out_until_it_is_settled)
{
    struct house h;
    struct hosted *q = open_handed(&h, 10, 3, 5);
    house_decide(&h, move_to(&h.w, 2));
    cr_assert(eq(int, q->mirrored->state, MIRRORED_MASTER));
    cr_expect(eq(u64, queue_unacked(&q->queue), 3));
    mirrored_handed_settle(q, 4, PORT_ACK);
    mirrored_handed_settle(q, 4, PORT_ACK);
    mirrored_handed_settle(q, 5, PORT_REQUEUE);
    mirrored_handed_settle(q, 6, PORT_ACK);
    cr_expect(queue_is_out(&q->queue, 3));
    HELD(&h, "0-3 5-9");
    cr_expect(eq(u64, queue_unacked(&q->queue), 1));
    house_fini(&h);
}

/* The metadata has moved it away and back before this node looked. */
Test(mirrored_handed, what_is_held_is_known_to_be_when_it_leads_on_in_another_epoch)
{
    struct house h;
    struct hosted *q = open_handed(&h, 10, 3, 5);
    house_decide(&h, move_to(&h.w, 2));
    cr_assert(eq(int, q->mirrored->state, MIRRORED_MASTER));
    uint64_t epoch = q->mirrored->lead->epoch;
    must(&h.w, move_to(&h.w, 3));
    house_decide(&h, move_to(&h.w, 2));
    cr_assert(eq(int, q->mirrored->state, MIRRORED_MASTER));
    cr_assert(gt(u64, q->mirrored->lead->epoch, epoch));
    cr_expect(eq(u64, queue_unacked(&q->queue), 3));
    mirrored_handed_settle(q, 4, PORT_ACK);
    HELD(&h, "0-3 5-9");
    house_fini(&h);
}

/* It was the master before the last one, has been told to lead once more, and does not yet. */
Test(mirrored_handed, what_is_settled_where_it_comes_back_to_counts)
{
    struct house h;
    struct hosted *q = open_handed(&h, 10, 3, 5);
    must(&h.w, move_to(&h.w, 2));
    cr_assert(eq(int, q->mirrored->state, MIRRORED_COPY));
    port_settle_moved(h.s, q->queue.qid, 4, PORT_ACK);
    port_settle_moved(h.s, q->queue.qid, 5, PORT_REQUEUE_SEEN);
    house_decide(&h, policy_put("other", "^z", "{\"ha-mode\":\"all\"}", 0));
    cr_assert(eq(int, q->mirrored->state, MIRRORED_MASTER));
    cr_expect(eq(u64, queue_unacked(&q->queue), 2));
    HELD(&h, "0-3 5-9");
    house_fini(&h);
}
