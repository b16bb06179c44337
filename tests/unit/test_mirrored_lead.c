/* broker/mirrored_lead and its neighbours: what a real node does with a queue that it masters. */
#include "mirrored_kit.h"

#include "io/clock.h"
#include "live.h"
#include "mirrored_lead_inner.h"
#include "port.h"

TestSuite(mirrored_lead, .timeout = 300);

#define PID  77u
#define MANY 300u /* more than one batch between shards */

/* Of a client that is gone when it is answered. */
static const struct port_channel_ref nobody = { .connection = (uint64_t)HOUSE_NODE << 48 | 9,
                                                .number = 1 };

/* A new queue: this node masters it and may begin at once, but for what it needs of the others. */
static struct hosted *open_led(struct house *h)
{
    house_init(h);
    house_decide(h, lasting(q_declare("other"))); /* so that the first node has one already */
    house_decide(h, lasting(q_declare("m")));
    HOLDERS(&h->w, "m", "2+1+3+");
    struct hosted *q = house_queue(h, "m");
    HOUSE_UNTIL(h, q->mirrored->state == MIRRORED_MASTER && q->mirrored->serves);
    return q;
}

/* The others are gone: nobody's leave is needed any more. */
static void be_alone(struct house *h)
{
    house_decide(h, node_cmd(META_NODE_DOWN, 1, 1));
    house_decide(h, node_cmd(META_NODE_DOWN, 3, 1));
    HOLDERS(&h->w, "m", "2+1-3-");
}

static enum port_published publish(struct house *h, uint64_t seq, uint64_t epoch)
{
    static const uint8_t props[] = { 0x10, 0, 2 };
    const struct port_origin origin = { PID, seq, epoch };
    struct message *m = message_new(slice_str(""), slice_str("m"), slice_of(props, sizeof props),
                                    slice_of(&seq, sizeof seq), true);
    shard_message_made(h->s, m);
    enum port_published done =
        port_publish_from(h->s, queue_now(&h->w, "m"), &m, &nobody, seq, &origin);
    cr_expect(not(port_published(h->s, &nobody, seq)), "its queue answers");
    return done;
}

/* In the order of their numbers, from 1 on. */
static void check_order(struct hosted *q, uint64_t count)
{
    struct queue_item it;
    struct qwant want;
    for (uint64_t n = 0; n < count; n++) {
        uint64_t seq;
        cr_assert(eq(int, queue_look(&q->queue, n, &it, &want), QHEAD_HERE));
        memcpy(&seq, message_body(it.message).ptr, sizeof seq);
        cr_assert(eq(u64, seq, n + 1));
    }
    cr_expect(eq(u64, queue_ready(&q->queue), count));
}

Test(mirrored_lead, publishes_wait_in_order_until_it_may_be_served)
{
    struct house h;
    struct hosted *q = open_led(&h);
    uint64_t epoch = q->mirrored->lead->epoch;
    for (uint64_t seq = 1; seq <= MANY; seq++)
        cr_assert(eq(int, publish(&h, seq, epoch), PORT_LATER));
    cr_expect(zero(u64, queue_ready(&q->queue)));
    be_alone(&h);
    HOUSE_UNTIL(&h, queue_ready(&q->queue) != 0 && q->held == NULL);
    check_order(q, MANY);
    cr_expect(eq(u64, producers_last(&q->mirrored->lead->history.now, PID), MANY));
    house_fini(&h);
}

Test(mirrored_lead, what_is_known_is_not_taken_again)
{
    struct house h;
    struct hosted *q = open_led(&h);
    uint64_t epoch = q->mirrored->lead->epoch;
    be_alone(&h);
    for (uint64_t seq = 1; seq <= 3; seq++)
        cr_assert(eq(int, publish(&h, seq, epoch), PORT_AWAITED));
    cr_expect(eq(int, publish(&h, 3, epoch), PORT_AWAITED), "it is told when that is safe");
    cr_expect(eq(int, publish(&h, 2, epoch), PORT_AWAITED));
    check_order(q, 3);
    cr_expect(eq(u64, mirror_master_waiting(h.s->mirrored->m), 5));
    HOUSE_UNTIL(&h, mirror_master_waiting(h.s->mirrored->m) == 0);
    house_fini(&h);
}

/* It may have refused an earlier one, but not the last that it knows. */
Test(mirrored_lead, what_a_queue_that_refuses_took_last_is_known_to_be_there)
{
    struct house h;
    struct hosted *q = open_led(&h);
    uint64_t epoch = q->mirrored->lead->epoch;
    be_alone(&h);
    q->settings.overflow = QUEUE_REJECT_PUBLISH;
    for (uint64_t seq = 1; seq <= 3; seq++)
        cr_assert(eq(int, publish(&h, seq, epoch), PORT_AWAITED));
    cr_expect(eq(int, publish(&h, 3, epoch), PORT_AWAITED));
    cr_expect(eq(int, publish(&h, 2, epoch), PORT_REFUSED), "nobody knows");
    check_order(q, 3);
    HOUSE_UNTIL(&h, mirror_master_waiting(h.s->mirrored->m) == 0);
    house_fini(&h);
}

Test(mirrored_lead, what_was_for_an_earlier_master_is_not_taken)
{
    struct house h;
    struct hosted *q = open_led(&h);
    be_alone(&h);
    cr_expect(eq(int, publish(&h, 1, q->mirrored->lead->epoch - 1), PORT_MOVED));
    cr_expect(zero(u64, queue_ready(&q->queue)));
    house_fini(&h);
}

Test(mirrored_lead, what_waits_is_moved_when_another_node_masters_it)
{
    struct house h;
    struct hosted *q = open_led(&h);
    for (uint64_t seq = 1; seq <= 5; seq++)
        cr_assert(eq(int, publish(&h, seq, q->mirrored->lead->epoch), PORT_LATER));
    cr_expect(q->held != NULL);
    house_decide(&h, node_cmd(META_NODE_DOWN, HOUSE_NODE, store_incarnation(h.s->store)));
    HOUSE_UNTIL(&h, q->mirrored->state == MIRRORED_COPY);
    cr_expect(q->held == NULL);
    cr_expect(zero(u64, queue_ready(&q->queue)));
    house_fini(&h);
}

static bool is_posted, is_lost;

static void on_mail(struct mail *mail)
{
    (void)mail;
    is_posted = true;
}

Test(mirrored_lead, a_fence_waits_for_what_was_settled)
{
    struct house h;
    struct hosted *q = open_led(&h);
    struct mail mail = { NULL, on_mail };
    be_alone(&h);
    cr_assert(eq(int, publish(&h, 1, q->mirrored->lead->epoch), PORT_AWAITED));
    HOUSE_UNTIL(&h, mirror_master_waiting(h.s->mirrored->m) == 0);
    is_posted = is_lost = false;
    cr_expect(eq(u64, queue_purge(&q->queue), 1));
    uint64_t lsn = ledger_fence(h.s->ledger);
    cr_assert(ne(u64, lsn, 0));
    cr_assert(mirrored_lead_fence(h.s, lsn, &mail, &is_lost));
    cr_expect(not(is_posted));
    HOUSE_UNTIL(&h, is_posted);
    cr_expect(not(is_lost));
    cr_expect(not(mirrored_lead_fence(h.s, 0, &mail, &is_lost)), "nothing was settled since");
    house_fini(&h);
}

/* Its mirrors have not said that they know when one of them becomes the master. */
Test(mirrored_lead, a_fence_says_what_another_master_may_not_know)
{
    struct house h;
    struct hosted *q = open_led(&h);
    struct mail mail = { NULL, on_mail };
    struct queue_put put;
    struct message *m =
        message_new(slice_str(""), slice_str("m"), slice_str(""), slice_str("x"), false);
    shard_message_made(h.s, m);
    cr_assert(eq(int, queue_publish(&q->queue, &m, 0, &put), QUEUE_KEPT));
    is_posted = is_lost = false;
    cr_expect(eq(u64, queue_purge(&q->queue), 1));
    uint64_t lsn = ledger_fence(h.s->ledger);
    cr_assert(mirrored_lead_fence(h.s, lsn, &mail, &is_lost));
    house_decide(&h, node_cmd(META_NODE_DOWN, HOUSE_NODE, store_incarnation(h.s->store)));
    HOUSE_UNTIL(&h, is_posted);
    cr_expect(is_lost);
    house_fini(&h);
}

/* Its mirrors say nothing for as long as they are waited for. */
Test(mirrored_lead, what_waits_is_shown_when_mirrors_know_that_it_may_have_been)
{
    struct house h;
    struct hosted *q = open_led(&h);
    struct queue_put put;
    for (unsigned i = 0; i < 2; i++) {
        struct message *m =
            message_new(slice_str(""), slice_str("m"), slice_str(""), slice_str("x"), false);
        shard_message_made(h.s, m);
        cr_assert(eq(int, queue_publish(&q->queue, &m, 0, &put), QUEUE_KEPT));
    }
    cr_expect(mirrored_lead_may_show(q, 0), "who only looks");
    cr_assert(ne(u64, ledger_expect_out(h.s->ledger, q), 0));
    cr_expect(not(mirrored_lead_may_show(q, 0)));
    HOUSE_UNTIL(&h, q->book.marks[0].written_ms != 0 && ledger_expect_out(h.s->ledger, q) == 0);
    cr_expect(not(mirrored_lead_may_show(q, 0)), "the own journal is not enough");
    be_alone(&h);
    HOUSE_UNTIL(&h, mirrored_lead_may_show(q, 1));
    uint64_t safe = q->book.marks[0].safe;
    cr_expect(eq(u64, safe, q->book.marks[0].written));
    cr_expect(not(mirrored_lead_may_show(q, safe)), "not farther than the mark");
    house_fini(&h);
}

static struct message *some_message(struct house *h)
{
    struct message *m =
        message_new(slice_str(""), slice_str("m"), slice_str(""), slice_str("x"), false);
    shard_message_made(h->s, m);
    return m;
}

/* Its marks are safe, and it has been asked for nothing since. */
static struct hosted *open_marked(struct house *h)
{
    struct hosted *q = open_led(h);
    HOUSE_UNTIL(h, ledger_expect_out(h->s->ledger, q) == 0 && !q->mirrored->own->asks);
    cr_assert(ne(u64, q->book.marks[0].safe, 0), "it is empty: whoever has more has heard");
    return q;
}

Test(mirrored_lead, what_comes_is_shown_when_mirrors_have_it)
{
    struct house h;
    struct hosted *q = open_marked(&h);
    struct queue_put put;
    struct message *m = some_message(&h);
    cr_expect(not(mirrored_lead_may_pass(q)));
    cr_assert(eq(int, queue_publish(&q->queue, &m, 0, &put), QUEUE_KEPT));
    cr_expect(not(mirrored_lead_may_show(q, put.qseq)));
    HOUSE_UNTIL(&h, mirror_master_waiting(h.s->mirrored->m) == 1);
    m = some_message(&h);
    cr_assert(eq(int, queue_publish(&q->queue, &m, 0, &put), QUEUE_KEPT));
    cr_expect(not(mirrored_lead_may_show(q, put.qseq)));
    house_turn(&h);
    cr_expect(eq(u64, mirror_master_waiting(h.s->mirrored->m), 1), "one answer at a time");
    be_alone(&h);
    cr_expect(mirrored_lead_may_show(q, put.qseq), "nobody is waited for");
    cr_expect(mirrored_lead_may_pass(q));
    HOUSE_UNTIL(&h, mirror_master_waiting(h.s->mirrored->m) == 0);
    cr_expect(eq(u64, q->book.marks[0].had, 1), "they were asked for one");
    house_fini(&h);
}

Test(mirrored_lead, what_comes_is_shown_at_once_if_the_operator_says_so)
{
    struct house h;
    struct hosted *q = open_marked(&h);
    broker_live(h.b)->conf->cluster.deliver_after_replication = false;
    cr_expect(mirrored_lead_may_pass(q));
    cr_expect(mirrored_lead_may_show(q, 0));
    house_fini(&h);
}

Test(mirrored_lead, a_queue_that_may_not_be_served_hands_out_nothing)
{
    struct house h;
    struct hosted *q = open_led(&h);
    cr_expect(not(queue_may_serve(&q->queue)));
    cr_expect(mirrored_must_wait(q, PORT_GET));
    cr_expect(mirrored_must_wait(q, PORT_PURGE));
    cr_expect(not(mirrored_must_wait(q, PORT_COUNT)));
    be_alone(&h);
    cr_expect(queue_may_serve(&q->queue));
    cr_expect(not(mirrored_must_wait(q, PORT_GET)));
    house_fini(&h);
}
