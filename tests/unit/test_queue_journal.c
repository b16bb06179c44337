#include "base/mem.h"
#include "expect.h"
#include "model/queue.h"
#include "queue_kit.h"

#include <stdio.h>

/* What a journal would be told, in its words: "gone 3" and so on. */
static struct {
    char said[4096];
    size_t len;
} told;

#define SAY(...)                                                                                   \
    (told.len += (size_t)snprintf(told.said + told.len, sizeof told.said - told.len, __VA_ARGS__))

static void release(struct message *m, void *arg)
{
    (void)arg;
    message_unref(&m);
}

static void die(struct queue *q, struct message *m, enum queue_death why, uint64_t qseq,
                const struct qentry *e, void *arg)
{
    (void)q;
    (void)why;
    (void)arg;
    SAY("dead %u%s;", (unsigned)qseq, e != NULL && e->seg != 0 ? " placed" : "");
    message_unref(&m);
}

static struct message *counted(struct message *m, uint32_t returns, void *arg)
{
    (void)returns;
    (void)arg;
    return message_ref(m);
}

static void wake_at(struct queue *q, uint64_t at_ms, void *arg)
{
    (void)q;
    (void)at_ms;
    (void)arg;
}

static void go_on(struct queue *q, void *arg)
{
    (void)q;
    (void)arg;
}

static void gone(struct queue *q, uint64_t qseq, const struct qentry *e, void *arg)
{
    (void)q;
    (void)arg;
    cr_assert(eq(u64, qentry_body_bytes(e), 8));
    SAY("gone %u at %u/%u;", (unsigned)qseq, qentry_place(e).seg, qentry_place(e).offset);
}

static void gone_range(struct queue *q, uint64_t first, uint64_t last, void *arg)
{
    (void)q;
    (void)arg;
    SAY("gone %u-%u;", (unsigned)first, (unsigned)last);
}

static void freed(struct queue *q, const struct qentry *e, void *arg)
{
    (void)q;
    (void)arg;
    SAY("freed %u/%u;", qentry_place(e).seg, qentry_place(e).offset);
}

static void out(struct queue *q, uint64_t qseq, void *arg)
{
    (void)q;
    (void)arg;
    SAY("out %u;", (unsigned)qseq);
}

static void returned(struct queue *q, uint64_t qseq, uint32_t returns, void *arg)
{
    (void)q;
    (void)arg;
    SAY("returned %u %u;", (unsigned)qseq, returns);
}

static struct place again(struct queue *q, const struct queue_item *item, void *arg)
{
    (void)q;
    (void)arg;
    SAY("again %u %u;", (unsigned)item->qseq, item->returns);
    return (struct place){ 9, 8 };
}

static const struct queue_ops ops = { .release = release,
                                      .dead = die,
                                      .counted = counted,
                                      .wake_at = wake_at,
                                      .go_on = go_on,
                                      .gone = gone,
                                      .gone_range = gone_range,
                                      .freed = freed,
                                      .out = out,
                                      .returned = returned,
                                      .again = again };

static struct queue_settings settings;
static struct queue q;

static void start(void)
{
    memset(&told, 0, sizeof told);
    settings = (struct queue_settings)QUEUE_SETTINGS_NONE;
}

static void open_queue(void)
{
    queue_init(&q, 1, &ops, &settings, 0);
}

static enum queue_publish_verdict publish(uint64_t number, struct queue_put *put)
{
    struct message *m = kit_message(number);
    return queue_publish(&q, &m, 0, put);
}

/* With a place of its own. */
static uint64_t publish_placed(uint64_t number)
{
    struct queue_put put;
    cr_assert(eq(int, publish(number, &put), QUEUE_KEPT));
    struct place place = { 1, (uint32_t)(number + 1) * 8 };
    cr_assert(eq(int, queue_set_place(&q, put.qseq, place), QUEUE_PLACED_READY));
    return put.qseq;
}

static uint64_t get(bool no_ack)
{
    struct queue_got got;
    cr_assert(eq(int, queue_get(&q, no_ack, 0, &got), QUEUE_GOT));
    message_unref(&got.message);
    return got.qseq;
}

/* That, and nothing else since the last call. */
static void expect_told(const char *what)
{
    cr_expect(eq(str, told.said, (char *)(uintptr_t)what));
    memset(&told, 0, sizeof told);
}

static void close_queue(void)
{
    cr_assert(queue_fini(&q, SIZE_MAX));
}

TestSuite(queue_journal, .init = start);

Test(queue_journal, is_told_of_what_it_has_and_nothing_else)
{
    struct queue_put put;
    open_queue();
    publish_placed(0);
    cr_assert(eq(int, publish(1, &put), QUEUE_KEPT));
    cr_expect(eq(u64, put.expires_ms, 0));
    publish_placed(2);
    for (int n = 0; n < 3; n++)
        get(false);
    expect_told("out 0;out 2;");
    for (uint64_t n = 0; n < 3; n++)
        cr_assert(queue_ack(&q, n, NULL));
    expect_told("gone 0 at 1/8;gone 2 at 1/24;");
    close_queue();
    expect_told("");
}

Test(queue_journal, a_place_that_comes_late_says_what_happened_meanwhile)
{
    struct queue_put put;
    open_queue();
    publish(0, &put);
    publish(1, &put);
    get(false);
    cr_expect(eq(int, queue_set_place(&q, 0, (struct place){ 1, 8 }), QUEUE_PLACED_OUT));
    cr_expect(eq(int, queue_set_place(&q, 1, (struct place){ 1, 16 }), QUEUE_PLACED_READY));
    cr_expect(eq(int, queue_set_place(&q, 2, (struct place){ 1, 24 }), QUEUE_PLACED_GONE));
    cr_assert(queue_ack(&q, 0, NULL));
    cr_expect(eq(int, queue_set_place(&q, 0, (struct place){ 1, 8 }), QUEUE_PLACED_GONE));
    expect_told("gone 0 at 1/8;");
    close_queue();
    expect_told("freed 1/16;");
}

Test(queue_journal, one_that_dies_is_dead_and_not_gone)
{
    settings.max_length = 1;
    open_queue();
    publish_placed(0);
    publish_placed(1);
    expect_told("dead 0 placed;");
    get(false);
    cr_assert(queue_reject(&q, 1, NULL));
    expect_told("out 1;dead 1 placed;");
    close_queue();
}

Test(queue_journal, a_purge_is_ranges)
{
    open_queue();
    for (uint64_t n = 0; n < 5; n++)
        publish_placed(n);
    get(false);
    get(false);
    cr_assert(queue_requeue(&q, 0, NULL, true));
    expect_told("out 0;out 1;");
    cr_expect(eq(u64, queue_purge(&q), 4));
    expect_told("gone 0-0;freed 1/8;gone 2-4;freed 1/24;freed 1/32;freed 1/40;");
    close_queue();
    expect_told("freed 1/16;");
}

Test(queue_journal, a_quorum_queue_counts_returns)
{
    settings.is_quorum = true;
    settings.delivery_limit = 1;
    open_queue();
    publish_placed(0);
    get(false);
    cr_assert(queue_requeue(&q, 0, NULL, false));
    get(false);
    expect_told("out 0;out 0;");
    cr_assert(queue_requeue(&q, 0, NULL, true));
    expect_told("returned 0 1;");
    get(false);
    cr_assert(queue_requeue(&q, 0, NULL, true));
    expect_told("out 0;dead 0 placed;");
    close_queue();
}

Test(queue_journal, what_goes_to_the_end_is_written_anew)
{
    settings.is_quorum = true;
    open_queue();
    publish_placed(0);
    publish_placed(1);
    get(false);
    cr_assert(queue_return(&q, 0, NULL));
    expect_told("out 0;gone 0 at 1/8;again 2 1;");
    cr_expect(eq(u64, get(true), 1));
    cr_expect(eq(u64, get(true), 2));
    expect_told("gone 1 at 1/16;gone 2 at 9/8;");
    close_queue();
}
