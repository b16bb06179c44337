#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"
#include "model/queue.h"
#include "queue_kit.h"

#include <stdio.h>

#define SEEN_MAX 4096

/* ---- what happens to messages -----------------------------------------------------------------
 */

static struct {
    unsigned released;
    unsigned deaths;
    uint64_t dead[SEEN_MAX];
    enum queue_death why[SEEN_MAX];
    uint64_t wake_at_ms;
    uint32_t returns;
    bool goes_on;
} seen;

static void release(struct message *m, void *arg)
{
    (void)arg;
    message_unref(&m);
    seen.released++;
}

static void die(struct queue *q, struct message *m, enum queue_death why, uint64_t qseq,
                const struct qentry *e, void *arg)
{
    (void)qseq;
    (void)e;
    (void)q;
    (void)arg;
    cr_assert(lt(uint, seen.deaths, SEEN_MAX));
    seen.dead[seen.deaths] = kit_number(m);
    seen.why[seen.deaths++] = why;
    message_unref(&m);
}

static struct message *counted(struct message *m, uint32_t returns, void *arg)
{
    (void)arg;
    seen.returns = returns;
    return message_ref(m);
}

static void wake_at(struct queue *q, uint64_t at_ms, void *arg)
{
    (void)q;
    (void)arg;
    seen.wake_at_ms = at_ms;
}

static void go_on(struct queue *q, void *arg)
{
    (void)q;
    (void)arg;
    seen.goes_on = true;
}

static const struct queue_ops ops = {
    .release = release, .dead = die, .counted = counted, .wake_at = wake_at, .go_on = go_on
};

struct taker {
    struct consumer c;
    unsigned room;
    unsigned count;
    uint64_t numbers[SEEN_MAX];
    uint64_t qseqs[SEEN_MAX];
};

static bool has_room(struct consumer *c)
{
    return CONTAINER_OF(c, struct taker, c)->room != 0;
}

static void deliver(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered)
{
    struct taker *t = CONTAINER_OF(c, struct taker, c);
    (void)redelivered;
    cr_assert(lt(uint, t->count, SEEN_MAX));
    t->numbers[t->count] = kit_number(m);
    t->qseqs[t->count++] = qseq;
    t->room--;
}

static const struct consumer_ops taker_ops = { has_room, deliver };

static struct taker *taker(struct queue *q, unsigned room, int64_t priority)
{
    struct taker *t = mem_zalloc(sizeof *t);
    t->c = (struct consumer){ .ops = &taker_ops, .priority = priority };
    t->room = room;
    cr_assert(eq(int, queue_consume(q, &t->c), QUEUE_CONSUME_OK));
    queue_run(q, 0);
    return t;
}

static void leave(struct taker **t)
{
    if ((*t)->c.queue != NULL)
        queue_cancel(&(*t)->c, 0);
    mem_free(*t);
    *t = NULL;
}

static struct queue_settings settings;
static struct queue q;

static void start(void)
{
    memset(&seen, 0, sizeof seen);
    seen.wake_at_ms = UINT64_MAX;
    settings = (struct queue_settings)QUEUE_SETTINGS_NONE;
}

static void open_queue(void)
{
    queue_init(&q, 1, &ops, &settings, 0);
}

static bool publish(uint64_t number, uint64_t now_ms)
{
    struct message *m = kit_message(number);
    struct queue_put put;
    return queue_publish(&q, &m, now_ms, &put) != QUEUE_REFUSED;
}

static bool publish_with(uint64_t number, uint8_t priority, const char *expiration, uint64_t now_ms)
{
    struct message *m = kit_message_with(number, priority, expiration);
    struct queue_put put;
    return queue_publish(&q, &m, now_ms, &put) != QUEUE_REFUSED;
}

/* The number of the next message, which is gone then; UINT64_MAX when there is none. */
static uint64_t get(uint64_t now_ms)
{
    struct queue_got got;
    if (queue_get(&q, true, now_ms, &got) != QUEUE_GOT)
        return UINT64_MAX;
    uint64_t number = kit_number(got.message);
    message_unref(&got.message);
    return number;
}

static uint64_t get_out(uint64_t now_ms, uint64_t *qseq)
{
    struct queue_got got;
    cr_assert(eq(int, queue_get(&q, false, now_ms, &got), QUEUE_GOT));
    uint64_t number = kit_number(got.message);
    message_unref(&got.message);
    *qseq = got.qseq;
    return number;
}

static void finish(void)
{
    cr_assert(queue_fini(&q, SIZE_MAX));
}

/* ---- time -------------------------------------------------------------------------------------
 */

TestSuite(queue_ttl, .init = start);

Test(queue_ttl, expires_at_its_moment_and_asks_to_be_woken_then)
{
    settings.message_ttl_ms = 100;
    open_queue();
    publish(1, 1000);
    publish(2, 1050);
    cr_expect(eq(u64, seen.wake_at_ms, 1100));
    cr_expect(not(queue_on_time(&q, 1099)));
    cr_expect(eq(u64, queue_ready(&q), 2));
    cr_expect(eq(u64, seen.wake_at_ms, 1100), "asked again");
    cr_expect(not(queue_on_time(&q, 1100)));
    cr_expect(eq(u64, queue_ready(&q), 1));
    cr_expect(eq(uint, seen.deaths, 1));
    cr_expect(eq(int, seen.why[0], QUEUE_EXPIRED));
    cr_expect(eq(u64, seen.wake_at_ms, 1150));
    finish();
}

Test(queue_ttl, the_shorter_of_queue_and_message_counts)
{
    settings.message_ttl_ms = 100;
    open_queue();
    publish_with(1, 0, "50", 0);
    cr_expect(eq(u64, seen.wake_at_ms, 50));
    finish();
    start();
    settings.message_ttl_ms = 100;
    open_queue();
    publish_with(1, 0, "500", 0);
    cr_expect(eq(u64, seen.wake_at_ms, 100));
    finish();
}

Test(queue_ttl, behind_a_lasting_one_nothing_expires_and_nothing_expired_is_handed_out)
{
    open_queue();
    publish(1, 0);
    publish_with(2, 0, "10", 0);
    publish(3, 0);
    cr_expect(not(queue_on_time(&q, 1000)));
    cr_expect(eq(u64, queue_ready(&q), 3));
    cr_expect(eq(u64, get(1000), 1));
    cr_expect(eq(u64, get(1000), 3));
    cr_expect(eq(uint, seen.deaths, 1));
    finish();
}

Test(queue_ttl, consumers_never_get_what_has_expired)
{
    open_queue();
    for (uint64_t n = 0; n < 10; n++)
        publish_with(n, 0, n % 2 == 0 ? "10" : "1000", 0);
    struct taker *t = taker(&q, 100, 0);
    cr_expect(eq(uint, t->count, 10), "all are fresh at 0");
    for (uint64_t n = 0; n < 10; n++)
        cr_assert(queue_requeue(&q, t->qseqs[n], &t->c, true));
    queue_run(&q, 500);
    cr_expect(eq(uint, t->count, 15), "back after the time of half of them");
    cr_expect(eq(uint, seen.deaths, 5));
    leave(&t);
    finish();
}

Test(queue_ttl, zero_goes_to_who_waits_or_nowhere)
{
    settings.message_ttl_ms = 0;
    open_queue();
    struct taker *t = taker(&q, 1, 0);
    publish(1, 5);
    publish(2, 5);
    cr_expect(eq(uint, t->count, 1));
    cr_expect(eq(uint, seen.deaths, 1));
    cr_expect(eq(u64, seen.dead[0], 2));
    leave(&t);
    finish();
}

Test(queue_ttl, many_go_in_turns)
{
    settings.message_ttl_ms = 10;
    settings.has_dlx = true;
    open_queue();
    for (uint64_t n = 0; n < SEEN_MAX + 100; n++)
        publish(n, 0);
    cr_expect(not(queue_on_time(&q, 10)));
    cr_expect(seen.goes_on);
    cr_expect(eq(uint, seen.deaths, SEEN_MAX));
    seen.deaths = 0;
    struct queue_got got;
    cr_expect(eq(int, queue_get(&q, true, 10, &got), QUEUE_GET_EMPTY), "the last hundred");
    cr_expect(eq(uint, seen.deaths, 100));
    finish();
}

Test(queue_ttl, a_get_that_finds_too_many_dead_comes_again)
{
    settings.message_ttl_ms = 10;
    open_queue();
    for (uint64_t n = 0; n < SEEN_MAX + 1; n++)
        publish(n, 0);
    struct queue_got got;
    cr_expect(eq(int, queue_get(&q, true, 10, &got), QUEUE_GET_LATER));
    seen.deaths = 0;
    cr_expect(eq(int, queue_get(&q, true, 10, &got), QUEUE_GET_EMPTY));
    finish();
}

Test(queue_ttl, a_queue_lives_as_long_as_it_is_used)
{
    settings.expires_ms = 100;
    open_queue();
    cr_expect(eq(u64, seen.wake_at_ms, 100));
    publish(1, 50);
    queue_use(&q, 60);
    cr_expect(not(queue_on_time(&q, 100)));
    cr_expect(eq(u64, seen.wake_at_ms, 160));
    struct taker *t = taker(&q, 0, 0);
    cr_expect(not(queue_on_time(&q, 1000)), "it has a consumer");
    queue_cancel(&t->c, 2000);
    leave(&t);
    cr_expect(eq(u64, seen.wake_at_ms, 2100));
    cr_expect(not(queue_on_time(&q, 2099)));
    cr_expect(queue_on_time(&q, 2100));
    finish();
}

/* ---- length -----------------------------------------------------------------------------------
 */

TestSuite(queue_length, .init = start);

Test(queue_length, drops_its_head)
{
    settings.max_length = 2;
    open_queue();
    for (uint64_t n = 0; n < 5; n++)
        cr_expect(publish(n, 0));
    cr_expect(eq(u64, queue_ready(&q), 2));
    cr_expect(eq(uint, seen.deaths, 3));
    cr_expect(eq(u64, seen.dead[2], 2));
    cr_expect(eq(int, seen.why[0], QUEUE_MAXLEN));
    finish();
}

Test(queue_length, counts_octets_of_what_is_ready)
{
    settings.max_length_bytes = 24; /* three */
    open_queue();
    uint64_t qseq;
    for (uint64_t n = 0; n < 3; n++)
        publish(n, 0);
    cr_expect(eq(u64, get_out(0, &qseq), 0));
    publish(3, 0);
    cr_expect(eq(uint, seen.deaths, 0));
    queue_requeue(&q, qseq, NULL, true);
    queue_run(&q, 0);
    cr_expect(eq(uint, seen.deaths, 1));
    cr_expect(eq(u64, seen.dead[0], 0), "what came back is the head");
    finish();
}

Test(queue_length, or_refuses_what_is_new)
{
    settings.max_length = 1;
    settings.overflow = QUEUE_REJECT_PUBLISH;
    open_queue();
    cr_expect(publish(0, 0));
    cr_expect(not(publish(1, 0)));
    cr_expect(eq(uint, seen.released, 1));
    settings.overflow = QUEUE_REJECT_PUBLISH_DLX;
    cr_expect(not(publish(2, 0)));
    cr_expect(eq(uint, seen.deaths, 1));
    cr_expect(eq(u64, get(0), 0));
    cr_expect(publish(3, 0));
    finish();
}

Test(queue_length, a_lower_limit_takes_effect_in_turns)
{
    open_queue();
    for (uint64_t n = 0; n < SEEN_MAX + 10; n++)
        publish(n, 0);
    settings.max_length = 1;
    queue_set(&q, &settings, 0);
    cr_expect(seen.goes_on);
    cr_expect(eq(u64, queue_ready(&q), 10));
    seen.deaths = 0;
    queue_go_on(&q, 0);
    cr_expect(eq(u64, queue_ready(&q), 1));
    cr_expect(eq(u64, get(0), SEEN_MAX + 9));
    finish();
}

/* ---- priorities -------------------------------------------------------------------------------
 */

TestSuite(queue_priority, .init = start);

Test(queue_priority, the_higher_first_and_each_in_order)
{
    settings.max_priority = 5;
    open_queue();
    const uint8_t priorities[] = { 0, 3, 5, 3, 200, 1 };
    const uint64_t order[] = { 2, 4, 1, 3, 5, 0 };
    for (uint64_t n = 0; n < ARRAY_COUNT(priorities); n++)
        publish_with(n, priorities[n], NULL, 0);
    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        cr_expect(eq(u64, get(0), order[i]));
    cr_expect(eq(u64, get(0), UINT64_MAX));
    finish();
}

Test(queue_priority, mean_nothing_to_a_queue_without)
{
    open_queue();
    for (uint64_t n = 0; n < 4; n++)
        publish_with(n, (uint8_t)(n * 80), NULL, 0);
    for (uint64_t n = 0; n < 4; n++)
        cr_expect(eq(u64, get(0), n));
    finish();
}

Test(queue_priority, requeued_ones_keep_their_place)
{
    settings.max_priority = 255;
    open_queue();
    uint64_t qseq[3];
    publish_with(0, 255, NULL, 0);
    publish_with(1, 255, NULL, 0);
    publish_with(2, 64, NULL, 0);
    for (uint64_t n = 0; n < 3; n++)
        cr_expect(eq(u64, get_out(0, &qseq[n]), n));
    for (int n = 3; n-- > 0;)
        queue_requeue(&q, qseq[n], NULL, true);
    for (uint64_t n = 0; n < 3; n++)
        cr_expect(eq(u64, get(0), n));
    finish();
}

Test(queue_priority, of_consumers_those_with_room_and_the_highest_take_turns)
{
    open_queue();
    struct taker *low = taker(&q, 100, -1), *plain = taker(&q, 100, 0);
    struct taker *high[2] = { taker(&q, 2, 7), taker(&q, 2, 7) };
    for (uint64_t n = 0; n < 4; n++)
        publish(n, 0);
    cr_expect(eq(uint, high[0]->count, 2));
    cr_expect(eq(u64, high[0]->numbers[1], 2));
    cr_expect(eq(uint, high[1]->count, 2));
    publish(4, 0);
    cr_expect(eq(uint, plain->count, 1));
    high[0]->room = 1;
    queue_wake(&high[0]->c);
    publish(5, 0);
    cr_expect(eq(u64, high[0]->numbers[2], 5));
    plain->room = 0;
    publish(6, 0);
    cr_expect(eq(uint, low->count, 1));
    leave(&low);
    leave(&plain);
    leave(&high[0]);
    leave(&high[1]);
    finish();
}

/* ---- one at a time ----------------------------------------------------------------------------
 */

TestSuite(queue_single, .init = start);

Test(queue_single, takes_all_until_it_goes_and_then_the_next_does)
{
    settings.single_active = true;
    open_queue();
    struct taker *a = taker(&q, 3, 0), *b = taker(&q, 100, 0), *c = taker(&q, 100, 9);
    for (uint64_t n = 0; n < 5; n++)
        publish(n, 0);
    cr_expect(eq(uint, a->count, 3), "and no other, while it has no room");
    cr_expect(eq(uint, b->count + c->count, 0));
    leave(&a);
    queue_run(&q, 0);
    cr_expect(eq(uint, c->count, 2), "the highest priority follows");
    struct taker *d = taker(&q, 100, 99);
    publish(5, 0);
    cr_expect(eq(uint, c->count, 3), "nobody is pushed out");
    leave(&c);
    publish(6, 0);
    cr_expect(eq(uint, d->count, 1));
    leave(&d);
    publish(7, 0);
    cr_expect(eq(uint, b->count, 1));
    leave(&b);
    publish(8, 0);
    cr_expect(eq(u64, queue_ready(&q), 1));
    finish();
}

Test(queue_single, nobody_is_exclusive)
{
    settings.single_active = true;
    open_queue();
    struct taker t = { .c = { .ops = &taker_ops, .exclusive = true } };
    cr_expect(eq(int, queue_consume(&q, &t.c), QUEUE_CONSUME_EXCLUSIVE));
    finish();
}

/* ---- returns ----------------------------------------------------------------------------------
 */

TestSuite(queue_returns, .init = start);

Test(queue_returns, are_told_and_limited_in_a_quorum_queue)
{
    settings.is_quorum = true;
    settings.delivery_limit = 2;
    open_queue();
    publish(1, 0);
    uint64_t qseq;
    for (uint32_t n = 0; n < 3; n++) {
        seen.returns = 0;
        cr_expect(eq(u64, get_out(0, &qseq), 1));
        cr_expect(eq(u32, seen.returns, n));
        queue_requeue(&q, qseq, NULL, false);
        get_out(0, &qseq);
        queue_requeue(&q, qseq, NULL, true);
    }
    cr_expect(eq(uint, seen.deaths, 1));
    cr_expect(eq(int, seen.why[0], QUEUE_DELIVERY_LIMIT));
    cr_expect(eq(u64, get(0), UINT64_MAX));
    finish();
}

Test(queue_returns, wait_behind_all_others_where_there_is_no_limit)
{
    settings.is_quorum = true;
    open_queue();
    for (uint64_t n = 0; n < 3; n++)
        publish(n, 0);
    uint64_t qseq;
    get_out(0, &qseq);
    cr_expect(queue_return(&q, qseq, NULL));
    cr_expect(not(queue_return(&q, qseq, NULL)));
    cr_expect(eq(u64, get_out(0, &qseq), 1));
    cr_expect(queue_requeue(&q, qseq, NULL, true));
    const uint64_t order[] = { 1, 2, 0 };
    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        cr_expect(eq(u64, get(0), order[i]));
    cr_expect(eq(u32, seen.returns, 1));
    finish();
}

Test(queue_returns, rejected_is_dead)
{
    open_queue();
    publish(1, 0);
    uint64_t qseq;
    get_out(0, &qseq);
    cr_expect(queue_reject(&q, qseq, NULL));
    cr_expect(not(queue_reject(&q, qseq, NULL)));
    cr_expect(eq(int, seen.why[0], QUEUE_REJECTED));
    finish();
}

/* ---- all together, against a plain list -------------------------------------------------------
 */

enum { MODEL_MAX = 3000 };

static struct entry {
    uint64_t number;
    uint64_t expires_ms;
    uint8_t priority;
    enum { GONE, READY, OUT } state;
    uint64_t qseq;
} model[MODEL_MAX];
static unsigned model_count;

/* The next in order, or -1. */
static int model_head(void)
{
    int best = -1;
    for (unsigned i = 0; i < model_count; i++) {
        if (model[i].state == READY && (best < 0 || model[i].priority > model[best].priority))
            best = (int)i;
    }
    return best;
}

static unsigned model_ready(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < model_count; i++)
        n += model[i].state == READY;
    return n;
}

static void model_tidy(uint64_t now_ms)
{
    while (settings.max_length >= 0 && settings.overflow == QUEUE_DROP_HEAD &&
           model_ready() > settings.max_length)
        model[model_head()].state = GONE;
    int head;
    while ((head = model_head()) >= 0 && model[head].expires_ms != 0 &&
           model[head].expires_ms <= now_ms)
        model[head].state = GONE;
}

static void step_publish(struct rng *r, uint64_t now_ms)
{
    if (model_count == MODEL_MAX)
        return;
    uint8_t priority = (uint8_t)rng_below(r, 6);
    uint64_t ttl = rng_below(r, 40);
    char text[8];
    snprintf(text, sizeof text, "%u", (unsigned)ttl);
    bool timed = rng_chance(r, 500);
    bool full = settings.overflow != QUEUE_DROP_HEAD && settings.max_length >= 0 &&
                model_ready() + 1 > settings.max_length;
    uint64_t number = model_count;
    cr_assert(eq(int, publish_with(number, priority, timed ? text : NULL, now_ms), !full));
    if (full)
        return;
    if (settings.message_ttl_ms >= 0 && (!timed || (uint64_t)settings.message_ttl_ms < ttl))
        ttl = (uint64_t)settings.message_ttl_ms, timed = true;
    model[model_count++] =
        (struct entry){ .number = number,
                        .expires_ms = timed ? now_ms + ttl : 0,
                        .priority =
                            priority > settings.max_priority ? settings.max_priority : priority,
                        .state = READY };
}

static void step_get(uint64_t now_ms)
{
    struct queue_got got;
    model_tidy(now_ms);
    int head = model_head();
    enum queue_get_verdict v = queue_get(&q, false, now_ms, &got);
    cr_assert(eq(int, v, head >= 0 ? QUEUE_GOT : QUEUE_GET_EMPTY));
    if (head < 0)
        return;
    cr_assert(eq(u64, kit_number(got.message), model[head].number));
    message_unref(&got.message);
    model[head].state = OUT;
    model[head].qseq = got.qseq;
}

static void step_settle(struct rng *r, uint64_t now_ms)
{
    unsigned at = (unsigned)rng_below(r, model_count);
    for (unsigned i = 0; i < model_count; i++, at = (at + 1) % model_count) {
        if (model[at].state != OUT)
            continue;
        if (rng_chance(r, 500)) {
            cr_assert(queue_ack(&q, model[at].qseq, NULL));
            model[at].state = GONE;
        } else {
            cr_assert(queue_requeue(&q, model[at].qseq, NULL, true));
            model[at].state = READY;
            queue_run(&q, now_ms);
        }
        return;
    }
}

Test(queue_rules, agree_with_a_plain_list_through_random_histories, .init = start, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rng r;
        rng_init(&r, seed);
        start();
        model_count = 0;
        settings.max_priority = (uint8_t)rng_below(&r, 5);
        settings.max_length = rng_chance(&r, 500) ? (int64_t)rng_below(&r, 20) : QUEUE_NO_LIMIT;
        settings.message_ttl_ms = rng_chance(&r, 300) ? 20 : QUEUE_NO_LIMIT;
        settings.overflow = rng_chance(&r, 300) ? QUEUE_REJECT_PUBLISH : QUEUE_DROP_HEAD;
        settings.has_dlx = true;
        open_queue();
        uint64_t now_ms = 1;
        for (int step = 0; step < 600; step++) {
            switch (rng_below(&r, 6)) {
            case 0:
            case 1:
                step_publish(&r, now_ms);
                break;
            case 2:
                step_get(now_ms);
                break;
            case 3:
                if (model_count != 0)
                    step_settle(&r, now_ms);
                break;
            case 4:
                now_ms += rng_below(&r, 8);
                cr_assert(not(queue_on_time(&q, now_ms)));
                break;
            default:
                if (rng_chance(&r, 10)) {
                    cr_assert(eq(u64, queue_purge(&q), model_ready()));
                    for (unsigned i = 0; i < model_count; i++)
                        model[i].state = model[i].state == READY ? GONE : model[i].state;
                }
                if (seen.goes_on) {
                    seen.goes_on = false;
                    queue_go_on(&q, now_ms);
                }
            }
            model_tidy(now_ms);
            queue_run(&q, now_ms);
            cr_assert(eq(u64, queue_ready(&q), model_ready()), "seed %u step %d", (unsigned)seed,
                      step);
            seen.deaths = 0;
        }
        finish();
    }
}
