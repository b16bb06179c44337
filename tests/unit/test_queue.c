#include "model/queue.h"

#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"
#include "queue_kit.h"

#define TAKEN_MAX 64

static unsigned released;

static void release(struct message *m, void *arg)
{
    (void)arg;
    message_unref(&m);
    released++;
}

static unsigned asked_to_go_on;

static void go_on(struct queue *q, void *arg)
{
    (void)q;
    (void)arg;
    asked_to_go_on++;
}

static void wake_at(struct queue *q, uint64_t at_ms, void *arg)
{
    (void)arg;
    cr_assert(eq(u64, q->wake_at_ms, at_ms));
}

/* The last ones that died. */
static unsigned deaths;
static uint64_t dead[256];
static enum queue_death death_reason;

static void die(struct queue *q, struct message *m, enum queue_death why, uint64_t qseq,
                const struct qentry *e, void *arg)
{
    (void)qseq;
    (void)e;
    (void)q;
    (void)arg;
    dead[deaths++ % ARRAY_COUNT(dead)] = kit_number(m);
    death_reason = why;
    message_unref(&m);
}

static unsigned last_count;

static struct message *counted_copy(struct message *m, uint32_t returns, void *arg)
{
    (void)arg;
    last_count = returns;
    return message_ref(m);
}

static const struct queue_ops ops = {
    .release = release, .dead = die, .counted = counted_copy, .wake_at = wake_at, .go_on = go_on
};

static uint64_t now_ms;

static void init(struct queue *q)
{
    static const struct queue_settings none = QUEUE_SETTINGS_NONE;
    queue_init(q, 1, &ops, &none, now_ms);
}

/* A consumer that notes what it gets. */
struct taker {
    struct consumer c;
    unsigned room; /* how many more it takes */
    unsigned count;
    uint64_t numbers[TAKEN_MAX];
    uint64_t qseqs[TAKEN_MAX];
    bool redelivered[TAKEN_MAX];
};

static bool has_room(struct consumer *c)
{
    return CONTAINER_OF(c, struct taker, c)->room != 0;
}

static void deliver(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered)
{
    struct taker *t = CONTAINER_OF(c, struct taker, c);
    cr_assert(lt(uint, 0, t->room));
    cr_assert(lt(uint, t->count, TAKEN_MAX));
    t->numbers[t->count] = kit_number(m);
    t->qseqs[t->count] = qseq;
    t->redelivered[t->count] = redelivered;
    t->count++;
    t->room--;
}

static const struct consumer_ops taker_ops = { has_room, deliver };

static struct taker taker(unsigned room, uint32_t prefetch, bool no_ack)
{
    return (struct taker){ .c = { .ops = &taker_ops, .prefetch = prefetch, .no_ack = no_ack },
                           .room = room };
}

static void consume(struct queue *q, struct taker *t)
{
    cr_assert(eq(int, queue_consume(q, &t->c), QUEUE_CONSUME_OK));
    queue_run(q, now_ms);
}

static void publish(struct queue *q, uint64_t number)
{
    struct message *m = kit_message(number);
    struct queue_put put;
    cr_assert(ne(int, queue_publish(q, &m, now_ms, &put), QUEUE_REFUSED));
    cr_assert(eq(ptr, m, NULL));
}

static void fini(struct queue *q)
{
    struct consumer *c;
    while ((c = queue_any_consumer(q)) != NULL)
        queue_cancel(c, now_ms);
    cr_assert(queue_fini(q, SIZE_MAX));
}

Test(queue, keeps_what_nobody_takes_and_hands_it_to_who_comes)
{
    struct queue q;
    init(&q);
    for (uint64_t n = 0; n < 3; n++)
        publish(&q, n);
    cr_expect(eq(u64, queue_ready(&q), 3));
    struct taker t = taker(10, 0, false);
    consume(&q, &t);
    cr_expect(eq(uint, t.count, 3));
    for (uint64_t n = 0; n < 3; n++)
        cr_expect(eq(u64, t.numbers[n], n));
    cr_expect(eq(u64, queue_ready(&q), 0));
    cr_expect(eq(u64, queue_unacked(&q), 3));
    fini(&q);
}

Test(queue, consumers_take_turns)
{
    struct queue q;
    init(&q);
    struct taker a = taker(10, 0, true), b = taker(10, 0, true), c = taker(0, 0, true);
    consume(&q, &a);
    consume(&q, &b);
    consume(&q, &c);
    for (uint64_t n = 0; n < 4; n++)
        publish(&q, n);
    cr_expect(eq(uint, a.count, 2));
    cr_expect(eq(uint, b.count, 2));
    cr_expect(eq(u64, a.numbers[1], 2));
    cr_expect(eq(u64, b.numbers[1], 3));
    cr_expect(eq(uint, c.count, 0));
    fini(&q);
}

Test(queue, prefetch_holds_until_something_is_settled)
{
    struct queue q;
    init(&q);
    struct taker t = taker(10, 2, false);
    consume(&q, &t);
    for (uint64_t n = 0; n < 5; n++)
        publish(&q, n);
    cr_expect(eq(uint, t.count, 2));
    cr_expect(queue_ack(&q, t.qseqs[0], &t.c));
    queue_run(&q, now_ms);
    cr_expect(eq(uint, t.count, 3));
    cr_expect(eq(u64, t.numbers[2], 2));
    cr_expect(not(queue_ack(&q, t.qseqs[0], NULL)), "settled twice");
    fini(&q);
}

Test(queue, one_without_room_is_passed_over_until_it_is_woken)
{
    struct queue q;
    init(&q);
    struct taker t = taker(1, 0, true);
    consume(&q, &t);
    for (uint64_t n = 0; n < 3; n++)
        publish(&q, n);
    cr_expect(eq(uint, t.count, 1));
    t.room = 10;
    publish(&q, 3); /* nobody said that it has room again */
    cr_expect(eq(uint, t.count, 1));
    queue_wake(&t.c);
    queue_run(&q, now_ms);
    cr_expect(eq(uint, t.count, 4));
    cr_expect(eq(u64, t.numbers[3], 3));
    fini(&q);
}

/* Its channel's room is not the queue's to judge: others of that channel may have waited longer. */
Test(queue, one_without_room_is_not_woken_by_what_it_acknowledges)
{
    struct queue q;
    init(&q);
    struct taker t = taker(1, 5, false);
    consume(&q, &t);
    publish(&q, 0);
    publish(&q, 1);
    t.room = 10;
    cr_assert(queue_ack(&q, t.qseqs[0], &t.c));
    queue_run(&q, now_ms);
    cr_expect(eq(uint, t.count, 1));
    queue_wake(&t.c);
    queue_run(&q, now_ms);
    cr_expect(eq(uint, t.count, 2));
    fini(&q);
}

Test(queue, what_is_requeued_comes_again_before_the_rest_and_says_so)
{
    struct queue q;
    init(&q);
    struct taker first = taker(2, 0, false), second = taker(10, 0, false);
    consume(&q, &first);
    for (uint64_t n = 0; n < 4; n++)
        publish(&q, n);
    queue_cancel(&first.c, now_ms);
    cr_expect(queue_requeue(&q, first.qseqs[1], NULL, true));
    cr_expect(queue_requeue(&q, first.qseqs[0], NULL, false));
    consume(&q, &second);
    cr_expect(eq(uint, second.count, 4));
    for (uint64_t n = 0; n < 4; n++)
        cr_expect(eq(u64, second.numbers[n], n));
    cr_expect(not(second.redelivered[0]));
    cr_expect(second.redelivered[1]);
    cr_expect(not(second.redelivered[2]));
    fini(&q);
}

Test(queue, an_exclusive_consumer_is_alone)
{
    struct queue q;
    init(&q);
    struct taker a = taker(1, 0, true), b = taker(1, 0, true), sole = taker(1, 0, true);
    sole.c.exclusive = true;
    consume(&q, &a);
    cr_expect(eq(int, queue_consume(&q, &sole.c), QUEUE_CONSUME_EXCLUSIVE));
    queue_cancel(&a.c, now_ms);
    consume(&q, &sole);
    cr_expect(eq(int, queue_consume(&q, &b.c), QUEUE_CONSUME_EXCLUSIVE));
    queue_cancel(&sole.c, now_ms);
    consume(&q, &b);
    fini(&q);
}

Test(queue, get_and_purge)
{
    struct queue q;
    struct queue_got got;
    init(&q);
    cr_expect(eq(int, queue_get(&q, true, now_ms, &got), QUEUE_GET_EMPTY));
    for (uint64_t n = 0; n < 5; n++)
        publish(&q, n);
    cr_expect(eq(int, queue_get(&q, true, now_ms, &got), QUEUE_GOT));
    cr_expect(eq(u64, kit_number(got.message), 0));
    message_unref(&got.message);
    cr_expect(eq(int, queue_get(&q, false, now_ms, &got), QUEUE_GOT));
    cr_expect(eq(u64, kit_number(got.message), 1));
    message_unref(&got.message);
    cr_expect(eq(u64, queue_purge(&q), 3));
    cr_expect(eq(u64, queue_unacked(&q), 1), "what is out is not purged");
    cr_expect(queue_ack(&q, got.qseq, NULL));
    fini(&q);
}

static unsigned counted_up;

static bool always_has_room(struct consumer *c)
{
    (void)c;
    return true;
}

static void count(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered)
{
    (void)c;
    (void)qseq;
    (void)redelivered;
    cr_assert(eq(u64, kit_number(m), counted_up));
    counted_up++;
}

/* A consumer as fast as the queue must not keep a shard's other clients waiting. */
Test(queue, lets_others_have_their_turn)
{
    static const struct consumer_ops insatiable = { always_has_room, count };
    struct consumer c = { .ops = &insatiable, .no_ack = true };
    struct queue q;
    const unsigned messages = 100000;
    init(&q);
    for (unsigned n = 0; n < messages; n++)
        publish(&q, n);
    cr_assert(eq(int, queue_consume(&q, &c), QUEUE_CONSUME_OK));
    queue_run(&q, now_ms);
    unsigned first = counted_up;
    cr_expect(lt(uint, 0, first));
    cr_expect(lt(uint, first, messages / 10));
    cr_expect(eq(uint, asked_to_go_on, 1));
    queue_run(&q, now_ms);
    cr_expect(eq(uint, counted_up, first), "until its turn comes it hands out nothing");
    publish(&q, messages);
    cr_expect(eq(uint, counted_up, first + 2), "but publishers must not make it longer");
    for (unsigned turn = 1; turn == asked_to_go_on; turn++)
        queue_go_on(&q, now_ms);
    cr_expect(eq(uint, counted_up, messages + 1));
    fini(&q);
}

/* Whatever happens: each message is with exactly one holder, or was released, and order holds. */
Test(queue, nothing_is_lost_or_doubled_through_random_histories)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct queue q;
        struct rng r;
        rng_init(&r, seed);
        init(&q);
        released = 0;
        struct taker t[3] = { taker(5, 2, false), taker(5, 0, false), taker(5, 0, true) };
        unsigned settled[3] = { 0, 0, 0 };
        uint64_t published = 0;
        for (int i = 0; i < 3; i++)
            consume(&q, &t[i]);
        for (int step = 0; step < 400; step++) {
            unsigned i = (unsigned)rng_below(&r, 3);
            switch (rng_below(&r, 4)) {
            case 0:
                publish(&q, published++);
                break;
            case 1: /* settle its oldest */
                if (!t[i].c.no_ack && settled[i] < t[i].count) {
                    if (rng_chance(&r, 500))
                        cr_assert(queue_ack(&q, t[i].qseqs[settled[i]], &t[i].c));
                    else
                        cr_assert(queue_requeue(&q, t[i].qseqs[settled[i]], &t[i].c, true));
                    settled[i]++;
                    queue_run(&q, now_ms);
                }
                break;
            case 2:
                if (t[i].count + t[i].room < TAKEN_MAX)
                    t[i].room++;
                queue_wake(&t[i].c);
                queue_run(&q, now_ms);
                break;
            default:
                cr_assert(le(uint, t[0].c.out, 2));
            }
            uint64_t held = queue_ready(&q) + queue_unacked(&q);
            cr_assert(eq(u64, held + released, published), "seed %u", (unsigned)seed);
            cr_assert(eq(u64, queue_unacked(&q), t[0].c.out + t[1].c.out));
        }
        fini(&q);
        cr_assert(eq(u64, released, published));
    }
}
