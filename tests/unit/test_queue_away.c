#include "queue_away_kit.h"

Test(queue_away, messages_leave_and_come_back_in_order)
{
    start(300);
    open_queue();
    publish_placed(1000);
    page_out_all(10);
    cr_expect(eq(u64, queue_away(&q), 0), "nothing is durable yet");
    make_durable();
    page_out_all(10);
    cr_expect(eq(u64, queue_away(&q), 990));
    cr_expect(eq(sz, q.store.first.away->runs.count, 3), "one for each segment but the open one");
    cr_expect(le(sz, q.store.first.chunks.count, 4), "the head, what is cut by segments, the end");
    expect_counts();
    for (unsigned n = 0; n < 1000; n++)
        ack(get());
    cr_expect(eq(ptr, get(), NULL));
    cr_expect(eq(u64, queue_away(&q), 0));
    cr_expect(eq(u64, q.store.counts.ready.bytes, 0));
    expect_segments();
    close_queue();
}

/* The figure that the issue asks for: under 8 octets for each message in order. */
Test(queue_away, what_is_in_runs_costs_next_to_nothing)
{
    start(1000);
    open_queue();
    publish_placed(MESSAGES_MAX);
    make_durable();
    w.is_indexed[w.seg] = true;
    page_out_all(1);
    const struct qindex *ix = &q.store.first;
    size_t bytes = ix->chunks.cap * sizeof(struct qslot) + sizeof *ix->away +
                   ix->chunks.count * sizeof(struct qchunk) +
                   ix->away->runs.cap * sizeof(struct qrun);
    cr_expect(lt(sz, bytes, MESSAGES_MAX * 2), "%zu octets for %u", bytes, MESSAGES_MAX);
    close_queue();
}

struct taker {
    struct consumer c;
    unsigned count;
};

static bool has_room(struct consumer *c)
{
    (void)c;
    return true;
}

static void deliver(struct consumer *c, uint64_t qseq, struct message *m, bool redelivered)
{
    (void)qseq;
    (void)redelivered;
    struct taker *t = CONTAINER_OF(c, struct taker, c);
    cr_assert(eq(u64, kit_number(m), t->count));
    t->count++;
}

static const struct consumer_ops taker_ops = { has_room, deliver };

Test(queue_away, a_consumer_waits_for_the_head_and_nothing_passes_by)
{
    struct taker t = { .c = { .ops = &taker_ops, .prefetch = 1000 } };
    start(100);
    open_queue();
    publish_placed(200);
    make_durable();
    page_out_all(1);
    cr_assert(eq(int, queue_consume(&q, &t.c), QUEUE_CONSUME_OK));
    queue_run(&q, 0);
    cr_expect(eq(uint, t.count, 1));
    cr_expect(ge(uint, w.wanted, 1));
    publish_placed(1);
    cr_expect(eq(uint, t.count, 1));
    cr_expect(not(q.goes_on), "it waits, and asks for no turn meanwhile");
    while (load_some()) {
        unsigned before = t.count;
        queue_run(&q, 0);
        cr_expect(lt(uint, before, t.count));
    }
    cr_expect(eq(uint, t.count, 201));
    queue_cancel(&t.c, 0);
    close_queue();
}

Test(queue_away, is_wanted_before_the_head_has_run_out)
{
    start(1000);
    open_queue();
    publish_placed(2000);
    make_durable();
    page_out_all(600);
    for (int n = 0; n < 90; n++)
        ack(get());
    struct taker t = { .c = { .ops = &taker_ops, .prefetch = 5 }, .count = 90 };
    cr_assert(eq(int, queue_consume(&q, &t.c), QUEUE_CONSUME_OK));
    w.wanted = 0;
    queue_run(&q, 0);
    cr_expect(eq(uint, t.count, 95));
    cr_expect(ge(uint, w.wanted, 1));
    queue_cancel(&t.c, 0);
    close_queue();
}

static unsigned dropped;

static void drop_dead(struct queue *of, struct message *m, enum queue_death why, uint64_t qseq,
                      const struct qentry *e, void *arg)
{
    (void)of;
    (void)arg;
    (void)e;
    cr_assert(eq(int, why, QUEUE_MAXLEN));
    cr_assert(eq(u64, qseq, dropped));
    if (m != NULL)
        message_unref(&m);
    dropped++;
}

/* Without a dead-letter exchange nobody needs the message; with one it has to be read. */
Test(queue_away, too_many_are_dropped_unread_unless_they_are_dead_letters)
{
    struct queue_ops own = ops;
    own.dead = drop_dead;
    for (int with = 0; with < 2; with++) {
        start(1000);
        dropped = 0;
        queue_init(&q, 1, &own, &settings, 0);
        publish_placed(300);
        make_durable();
        while (!page_out(1, false, 1000).is_done)
            ;
        struct queue_settings shorter = settings;
        shorter.max_length = 100;
        shorter.has_dlx = with != 0;
        queue_set(&q, &shorter, 0);
        cr_expect(eq(uint, dropped, with ? 1 : 200));
        cr_expect(eq(int, w.wanted != 0, with != 0));
        cr_expect(not(q.goes_on));
        while (with && load_some())
            queue_run(&q, 0);
        cr_expect(eq(uint, dropped, 200));
        cr_expect(eq(u64, queue_ready(&q), 100));
        close_queue();
    }
}

/* A message whose moment stands in its entry needs not be read to expire; one in a run does. */
Test(queue_away, what_is_away_expires)
{
    start(100);
    settings.message_ttl_ms = 1000;
    open_queue();
    publish_placed(300);
    make_durable();
    page_out_all(1);
    w.expires_ms = 1000;
    queue_run(&q, 999);
    cr_expect(eq(u64, queue_ready(&q), 300));
    unsigned loads = 0;
    for (queue_run(&q, 1000); !queue_is_empty(&q); queue_run(&q, 1000)) {
        cr_assert(lt(uint, 0, w.wanted));
        cr_assert(load_some());
        cr_assert(lt(uint, loads++, 20));
    }
    cr_expect(lt(uint, 0, loads));
    cr_expect(lt(uint, loads, 6), "what has an entry is not read");
    expect_segments();
    close_queue();
}

Test(queue_away, what_cannot_be_read_leaves_and_is_told)
{
    start(200);
    open_queue();
    publish_placed(250);
    make_durable();
    page_out_all(1);
    expect_counts();
    w.loses = true;
    /* One of those that have entries; some in a run that an index does not list; a whole range. */
    struct qwant wa;
    cr_assert(queue_wants(&q, &window, 0, &wa));
    cr_assert(eq(uint, wa.run_seg, 0));
    struct queue_item lost = { .qseq = wa.items[0].qseq,
                               .place = wa.items[0].place,
                               .is_lost = true };
    queue_loaded(&q, &lost, 1);
    cr_expect(eq(u64, queue_ready(&q), 249));
    expect_counts();
    size_t n = look_up(1, 70, 80, items, 100, true);
    message_unref(&items[3].message);
    items[3].is_lost = true;
    queue_loaded_run(&q, 1, 70, 80, items, n);
    cr_expect(eq(u64, queue_ready(&q), 248));
    expect_counts();
    n = look_up(1, 85, 86, items, 100, true);
    queue_loaded_run(&q, 1, 85, 88, items, n);
    cr_expect(eq(u64, queue_ready(&q), 246), "87 and 88 were not found");
    queue_lost(&q, 50, 150);
    cr_expect(eq(u64, queue_ready(&q), 246 - 14 - 6 - 4 - 62));
    w.loses = false;
    while (get() != NULL)
        ;
    expect_segments();
    close_queue();
}
