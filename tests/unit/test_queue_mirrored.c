/* A queue that copies on other nodes follow: they are told of all, and it may have to wait. */
#include "model/queue.h"

#include "base/mem.h"
#include "expect.h"
#include "queue_kit.h"

#define POSITIONS 2048u

static struct {
    unsigned outs[POSITIONS], gones[POSITIONS];
    unsigned released, given, asked;
    uint64_t given_qseq;
    bool may_serve, has_room, may_pass;
    uint64_t shown_end; /* what stands before may be shown */
} w;

static void release(struct message *m, void *arg)
{
    (void)arg;
    message_unref(&m);
    w.released++;
}

static void on_dead(struct queue *of, struct message *m, enum queue_death why, uint64_t qseq,
                    const struct qentry *e, void *arg)
{
    (void)of;
    (void)why;
    (void)e;
    cr_assert(lt(u64, qseq, POSITIONS));
    w.gones[qseq]++;
    release(m, arg);
}

static void on_wake_at(struct queue *of, uint64_t at_ms, void *arg)
{
    (void)arg;
    cr_assert(eq(u64, of->wake_at_ms, at_ms));
}

static void on_go_on(struct queue *of, void *arg)
{
    (void)of;
    (void)arg;
}

static void on_gone(struct queue *of, uint64_t qseq, const struct qentry *e, void *arg)
{
    (void)of;
    (void)e;
    (void)arg;
    cr_assert(lt(u64, qseq, POSITIONS));
    w.gones[qseq]++;
}

static void on_out(struct queue *of, uint64_t qseq, void *arg)
{
    (void)of;
    (void)arg;
    cr_assert(lt(u64, qseq, POSITIONS));
    w.outs[qseq]++;
}

static bool may_serve(struct queue *of, void *arg)
{
    (void)arg;
    cr_assert(of->is_mirrored);
    return w.may_serve;
}

static bool may_show(struct queue *of, uint64_t qseq, void *arg)
{
    (void)arg;
    cr_assert(of->is_mirrored);
    w.asked++;
    return qseq < w.shown_end;
}

static bool may_pass(struct queue *of, void *arg)
{
    (void)arg;
    cr_assert(of->is_mirrored);
    return w.may_pass;
}

static const struct queue_ops ops = { .release = release,
                                      .dead = on_dead,
                                      .wake_at = on_wake_at,
                                      .go_on = on_go_on,
                                      .gone = on_gone,
                                      .out = on_out,
                                      .may_serve = may_serve,
                                      .may_show = may_show,
                                      .may_pass = may_pass };

static bool has_room(struct consumer *c)
{
    (void)c;
    return w.has_room;
}

static void deliver(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered)
{
    (void)c;
    (void)m;
    cr_assert(not(redelivered));
    w.given++;
    w.given_qseq = qseq;
}

static const struct consumer_ops consumer_ops = { has_room, deliver };

static struct queue q;
static struct consumer taker;

static void setup(void)
{
    static const struct queue_settings none = QUEUE_SETTINGS_NONE;
    memset(&w, 0, sizeof w);
    w.may_serve = w.has_room = w.may_pass = true;
    w.shown_end = POSITIONS;
    queue_init(&q, 1, &ops, &none, 0);
    q.is_mirrored = true;
    taker = (struct consumer){ .ops = &consumer_ops };
}

static void teardown(void)
{
    if (taker.queue != NULL)
        queue_cancel(&taker, 0);
    cr_assert(queue_fini(&q, POSITIONS));
}

TestSuite(queue_mirrored, .init = setup, .fini = teardown);

static void consume(bool no_ack)
{
    taker.no_ack = no_ack;
    cr_assert(eq(int, queue_consume(&q, &taker), QUEUE_CONSUME_OK));
    queue_run(&q, 0);
}

static struct queue_put publish(unsigned number, uint64_t now_ms)
{
    struct queue_put put = { 0 };
    struct message *m = kit_message(number);
    cr_assert(eq(int, queue_publish(&q, &m, now_ms, &put), QUEUE_KEPT));
    return put;
}

/* A mirror gets the message by a position, and must hear by that position that it is done with. */
Test(queue_mirrored, what_goes_by_has_a_position_that_is_told)
{
    consume(true);
    struct queue_put put = publish(1, 0);
    cr_assert(eq(uint, w.given, 1));
    cr_assert(eq(uint, w.gones[put.qseq], 1));
    cr_assert(eq(u64, queue_ready(&q) + queue_unacked(&q), 0));
    cr_assert(eq(uint, w.released, 1));
}

Test(queue_mirrored, what_goes_out_at_once_is_told_though_it_has_no_place)
{
    consume(false);
    struct queue_put put = publish(1, 0);
    cr_assert(eq(u64, w.given_qseq, put.qseq));
    cr_assert(eq(uint, w.outs[put.qseq], 1));
    cr_assert(eq(uint, w.gones[put.qseq], 0));
    cr_assert(queue_ack(&q, put.qseq, &taker));
    cr_assert(eq(uint, w.gones[put.qseq], 1));
}

Test(queue_mirrored, nothing_is_handed_out_while_it_may_not_be_served)
{
    consume(false);
    w.may_serve = false;
    publish(1, 0);
    publish(2, 0);
    queue_run(&q, 0);
    cr_assert(eq(uint, w.given, 0));
    w.may_serve = true;
    queue_run(&q, 0);
    cr_assert(eq(uint, w.given, 2));
}

/* What waited; what passes by does not ask. */
Test(queue_mirrored, nothing_is_shown_that_mirrors_would_not_flag)
{
    struct queue_got got;
    for (unsigned i = 0; i < 3; i++)
        publish(i, 0);
    w.shown_end = 1;
    consume(false);
    cr_assert(eq(uint, w.given, 1));
    cr_assert(eq(int, queue_get(&q, true, 0, &got), QUEUE_GET_AWAY));
    cr_assert(eq(u64, queue_ready(&q), 2));
    w.shown_end = 3;
    queue_run(&q, 0);
    cr_assert(eq(uint, w.given, 3));
    cr_assert(eq(u64, publish(4, 0).qseq, 3));
    cr_assert(eq(uint, w.given, 4));
}

/* Mirrors are to have what comes before anybody sees it: from now on. */
static void be_late(const struct queue_settings *settings)
{
    static struct queue_settings kept; /* the queue outlives the test */
    if (settings != NULL) {
        kept = *settings;
        queue_set(&q, &kept, 0);
    }
    w.may_pass = false;
    w.shown_end = 0;
    consume(false);
}

Test(queue_mirrored, what_comes_waits_until_mirrors_have_it)
{
    struct queue_got got;
    be_late(NULL);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(eq(u64, publish(i, 0).qseq, i));
    cr_assert(eq(uint, w.given, 0));
    cr_assert(eq(u64, queue_ready(&q), 3));
    cr_assert(eq(int, queue_get(&q, false, 0, &got), QUEUE_GET_AWAY));
    w.shown_end = 2;
    queue_run(&q, 0);
    cr_assert(eq(uint, w.given, 2));
    cr_assert(eq(uint, w.outs[1], 1));
    cr_assert(queue_return(&q, 0, &taker));
    w.has_room = false;
    queue_run(&q, 0);
    cr_assert(eq(int, queue_get(&q, false, 0, &got), QUEUE_GOT), "they have what comes back");
    cr_assert(eq(u64, got.qseq, 0));
    message_unref(&got.message);
    cr_assert(eq(int, queue_get(&q, false, 0, &got), QUEUE_GET_AWAY));
}

/* It is asked once of a head, however much comes behind it; and of another one again. */
Test(queue_mirrored, what_comes_behind_what_waits_for_mirrors_asks_for_nothing)
{
    be_late(NULL);
    for (unsigned i = 0; i < 3; i++)
        publish(i, 0);
    cr_assert(eq(uint, w.asked, 1));
    (void)queue_purge(&q);
    publish(3, 0);
    cr_assert(eq(uint, w.asked, 2));
}

Test(queue_mirrored, who_acknowledges_nothing_waits_too)
{
    w.may_pass = false;
    w.shown_end = 0;
    consume(true);
    publish(1, 0);
    cr_assert(eq(uint, w.given, 0));
    w.shown_end = 1;
    queue_run(&q, 0);
    cr_assert(eq(uint, w.given, 1));
    cr_assert(eq(uint, w.gones[0], 1));
}

/* Else it would be gone before anybody could have it. */
Test(queue_mirrored, what_may_not_wait_does_not_wait_for_mirrors)
{
    struct queue_settings at_once = QUEUE_SETTINGS_NONE;
    at_once.message_ttl_ms = 0;
    be_late(&at_once);
    publish(1, 1000);
    cr_assert(eq(uint, w.given, 1));
}

/* A consumer has room for it. */
Test(queue_mirrored, what_waits_for_mirrors_is_not_too_much)
{
    struct queue_settings brief = QUEUE_SETTINGS_NONE;
    brief.max_length = 1;
    be_late(&brief);
    for (unsigned i = 0; i < 4; i++)
        publish(i, 0);
    cr_assert(eq(u64, queue_ready(&q), 4));
    taker.prefetch = 2;
    w.shown_end = 4;
    queue_run(&q, 0);
    cr_assert(eq(uint, w.given, 2));
    cr_assert(eq(uint, w.gones[2], 1), "nobody has room for two");
    cr_assert(eq(u64, queue_ready(&q), 1));
}

Test(queue_mirrored, the_first_that_waits_for_mirrors_is_not_too_much)
{
    struct queue_settings none = QUEUE_SETTINGS_NONE;
    none.max_length = 0;
    be_late(&none);
    publish(1, 0);
    cr_assert(eq(uint, w.gones[0], 0));
    w.shown_end = 1;
    queue_run(&q, 0);
    cr_assert(eq(uint, w.given, 1));
}

Test(queue_mirrored, nothing_is_refused_for_what_waits_for_mirrors)
{
    struct queue_put put;
    struct queue_settings brief = QUEUE_SETTINGS_NONE;
    brief.max_length = 1;
    brief.overflow = QUEUE_REJECT_PUBLISH;
    be_late(&brief);
    publish(1, 0);
    publish(2, 0);
    while (queue_ready(&q) < 1024)
        publish(3, 0);
    struct message *more = kit_message(3);
    cr_assert(eq(int, queue_publish(&q, &more, 0, &put), QUEUE_REFUSED), "not for ever");
    w.has_room = false;
    w.shown_end = 2;
    queue_run(&q, 0);
    struct message *m = kit_message(3);
    cr_assert(eq(int, queue_publish(&q, &m, 0, &put), QUEUE_REFUSED), "nobody has room");
}

Test(queue_mirrored, nothing_expires_while_it_may_not_be_served)
{
    struct queue_settings brief = QUEUE_SETTINGS_NONE;
    brief.message_ttl_ms = 100;
    queue_set(&q, &brief, 0);
    struct queue_put put = publish(1, 0);
    w.may_serve = false;
    cr_assert(not(queue_on_time(&q, 200)));
    cr_assert(eq(uint, w.gones[put.qseq], 0));
    w.may_serve = true;
    queue_run(&q, 200);
    cr_assert(eq(uint, w.gones[put.qseq], 1));
}

/* A queue that is not used goes: that, too, is for its master alone to say. */
Test(queue_mirrored, it_is_not_unused_while_it_may_not_be_served)
{
    struct queue_settings brief = QUEUE_SETTINGS_NONE;
    brief.expires_ms = 100;
    queue_set(&q, &brief, 0);
    w.may_serve = false;
    cr_assert(not(queue_on_time(&q, 200)));
    w.may_serve = true;
    queue_run(&q, 200);
    cr_assert(eq(u64, q.wake_at_ms, 100));
    cr_assert(queue_on_time(&q, 200));
}
