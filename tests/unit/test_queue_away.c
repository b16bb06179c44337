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

/* It has expired, its letter cannot be written yet: to wake up for it at once, and again, would be
 * to spin. */
Test(queue_away, no_moment_is_asked_for_while_a_dead_letter_is_read)
{
    start(100);
    settings.message_ttl_ms = 1000;
    settings.has_dlx = true;
    open_queue();
    publish_placed(70);
    make_durable();
    while (!page_out(1, false, 1000).is_done)
        ;
    cr_expect(eq(u64, q.wake_at_ms, 1000));
    cr_expect(not(queue_on_time(&q, 1000)));
    cr_expect(eq(u64, queue_ready(&q), 69));
    cr_expect(eq(u64, q.wake_at_ms, UINT64_MAX));
    cr_expect(lt(uint, 0, w.wanted));
    struct queue_got got;
    cr_expect(eq(int, queue_get(&q, true, 1001, &got), QUEUE_GET_AWAY));
    cr_expect(eq(u64, q.wake_at_ms, UINT64_MAX));
    while (load_some())
        queue_run(&q, 1000);
    cr_expect(eq(u64, queue_ready(&q), 0));
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

static unsigned seen_returns;

static void on_returned(uint64_t qseq, uint32_t returns, void *arg)
{
    (void)arg;
    cr_assert(eq(uint, returns, w.messages[qseq].returns));
    seen_returns++;
}

/* Counts of a quorum queue live in their entries: these stay when their messages go. */
Test(queue_away, what_came_back_is_known_while_it_is_away)
{
    start(1000);
    settings.is_quorum = true;
    open_queue();
    publish_placed(400);
    for (unsigned n = 0; n < 300; n++)
        get();
    for (unsigned n = 0; n < 300; n += 3) {
        cr_assert(queue_requeue(&q, n, NULL, true));
        w.messages[n] = (struct known_message){ .state = KNOWN_READY,
                                                .qseq = n,
                                                .persistent = true,
                                                .redelivered = true,
                                                .returns = 1,
                                                .place = w.messages[n].place };
    }
    make_durable();
    w.is_indexed[w.seg] = true;
    page_out_all(1);
    cr_expect(lt(u64, 150, queue_away(&q)));
    queue_each_returned(&q, on_returned, NULL);
    cr_expect(eq(uint, seen_returns, 100));
    /* One of them cannot be read: it is not waited for. */
    w.loses = true;
    queue_lost(&q, 99, 99);
    w.loses = false;
    expect_counts();
    cr_expect(not(queue_at(&q, 99, w.messages[99].place)));
    while (get() != NULL)
        ;
    expect_segments();
    close_queue();
}

/* Two loads at a time: the second asks for what comes behind the first. */
Test(queue_away, what_was_asked_for_is_not_wanted_again)
{
    start(150);
    open_queue();
    publish_placed(700);
    make_durable();
    page_out_all(1);
    static struct qwant wants[64];
    unsigned n = 0;
    uint64_t after = 0;
    while (queue_wants(&q, &window, after, &wants[n])) {
        cr_assert(lt(u64, after, wants[n].first));
        after = wants[n].last;
        n++;
    }
    cr_expect(lt(uint, 1, n));
    cr_expect(ge(u64, after, window.count / 2));
    cr_expect(lt(u64, after, window.count + window.max_count));
    while (n-- > 0) /* the last one first */
        answer(&wants[n]);
    cr_expect(not(queue_wants(&q, &window, 0, &wants[0])));
    expect_counts();
    while (get() != NULL)
        ;
    close_queue();
}

Test(queue_away, higher_priorities_are_wanted_first)
{
    start(1000);
    settings.max_priority = 2;
    open_queue();
    for (unsigned n = 0; n < 60; n++)
        publish(n % 3, true, true);
    make_durable();
    while (!page_out(1, false, 1000).is_done)
        ;
    cr_expect(eq(u64, queue_away(&q), 57));
    struct qwant wa;
    const struct qwindow narrow = { .count = 30, .max_count = 100, .max_bytes = 1 << 20 };
    cr_assert(queue_wants(&q, &narrow, 0, &wa));
    cr_expect(eq(u64, wa.first >> 56, 2));
    cr_expect(eq(sz, wa.count, 19));
    cr_assert(queue_wants(&q, &narrow, wa.last, &wa));
    cr_expect(eq(u64, wa.first >> 56, 1));
    cr_expect(eq(sz, wa.count, 9), "the window ends there");
    cr_expect(not(queue_wants(&q, &narrow, wa.last, &wa)));
    while (get() != NULL)
        ;
    close_queue();
}

static void keep_mark(uint64_t mark, void *arg)
{
    *(uint64_t *)arg = mark;
}

/* Moments on disk are wall clock; those that came while the node was down have come. */
Test(queue_away, a_queue_that_is_restored_has_what_it_had)
{
    struct recovered_entry entries[] = {
        { .qseq = 5,
          .body_bytes = 8,
          .place = { 1, 64 },
          .expires_ms = 10000,
          .redelivered = true },
        { .qseq = 70, .body_bytes = 8, .place = { 1, 128 }, .expires_ms = 4000 },
        { .qseq = 1000, .body_bytes = 8, .place = { 1, 192 }, .returns = 2 },
    };
    struct qrun runs[] = { { .first = 71,
                             .last = 170,
                             .count = 100,
                             .body_bytes = 800,
                             .persistent_count = 100,
                             .persistent_bytes = 800,
                             .seg = 2 } };
    struct recovered_level levels[] = {
        { .priority = 0,
          .next_new = 2000,
          .entries = entries,
          .entry_count = ARRAY_COUNT(entries),
          .runs = runs,
          .run_count = ARRAY_COUNT(runs) },
        { .priority = 7, .next_new = UINT64_C(7) << 56 | 1, .entries = entries, .entry_count = 1 },
    };
    struct recovered_queue from = { .qid = 1, .levels = levels, .level_count = 1 };
    start(1000);
    settings.max_priority = 1;
    open_queue();
    cr_assert(queue_restore(&q, &from, -5000));
    cr_expect(eq(u64, queue_ready(&q), 103));
    cr_expect(eq(u64, queue_away(&q), 103));
    cr_expect(eq(u64, q.store.counts.ready.bytes, 824));
    cr_expect(eq(u64, qstore_expires_ms(&q.store, 5), 5000));
    cr_expect(eq(u64, qstore_expires_ms(&q.store, 70), 1), "long ago");
    cr_expect(eq(uint, qstore_returns(&q.store, 1000), 2));
    cr_expect(queue_at(&q, 100, (struct place){ 2, 8 }));
    cr_expect(not(queue_at(&q, 171, (struct place){ 2, 8 })));
    struct qwant wa;
    cr_assert(queue_wants(&q, &window, 0, &wa));
    cr_expect(eq(sz, wa.count, 2), "up to the run");
    cr_assert(queue_wants(&q, &window, wa.last, &wa));
    cr_expect(eq(uint, wa.run_seg, 2));
    cr_expect(eq(u64, wa.first, 71));
    uint64_t mark = 0;
    queue_marks(&q, keep_mark, &mark);
    cr_expect(eq(u64, mark, 70), "the first that nobody was handed");
    w.ends = true;
    cr_assert(queue_fini(&q, SIZE_MAX));
    open_queue();
    from.level_count = 2;
    cr_expect(not(queue_restore(&q, &from, 0)), "there is no priority 7 any more");
    cr_assert(queue_fini(&q, SIZE_MAX));
}

/* Marks run ahead from there: from 0 they would be behind all that is to come. */
Test(queue_away, a_mark_begins_where_the_first_message_is_or_will_be)
{
    struct recovered_level level = { .next_new = 50000 };
    struct recovered_queue from = { .qid = 1, .levels = &level, .level_count = 1 };
    uint64_t mark = 0;
    start(1000);
    open_queue();
    cr_assert(queue_restore(&q, &from, 0));
    queue_marks(&q, keep_mark, &mark);
    cr_expect(eq(u64, mark, 50000), "nothing is there");
    w.ends = true;
    cr_assert(queue_fini(&q, SIZE_MAX));

    struct recovered_entry entry = { .qseq = 40000, .body_bytes = 8, .place = { 1, 64 } };
    level.entries = &entry;
    level.entry_count = 1;
    w.ends = false;
    open_queue();
    cr_assert(queue_restore(&q, &from, 0));
    queue_marks(&q, keep_mark, &mark);
    cr_expect(eq(u64, mark, 40000), "one waits that nobody was handed");
    w.ends = true;
    cr_assert(queue_fini(&q, SIZE_MAX));

    entry.redelivered = true;
    w.ends = false;
    open_queue();
    cr_assert(queue_restore(&q, &from, 0));
    queue_marks(&q, keep_mark, &mark);
    cr_expect(eq(u64, mark, 50000), "all that are there were shown");
    w.ends = true;
    cr_assert(queue_fini(&q, SIZE_MAX));

    struct qrun run = { .first = 40500, .last = 40599, .count = 100, .body_bytes = 800, .seg = 2 };
    level.runs = &run;
    level.run_count = 1;
    w.ends = false;
    open_queue();
    cr_assert(queue_restore(&q, &from, 0));
    queue_marks(&q, keep_mark, &mark);
    cr_expect(eq(u64, mark, 40500), "the first of those that nobody was handed");
    w.ends = true;
    cr_assert(queue_fini(&q, SIZE_MAX));
}

Test(queue_away, what_is_not_durable_stays)
{
    start(1000);
    open_queue();
    publish_placed(10);
    make_durable();
    w.durable_lsn--; /* where the last record begins, which is not durable then */
    publish_placed(10);
    page_out_all(1);
    cr_expect(eq(u64, queue_away(&q), 8));
    publish(0, false, false);
    make_durable();
    page_out_all(1);
    cr_expect(eq(u64, queue_away(&q), 19), "one is the head, one has no place");
    close_queue();
}

Test(queue_away, what_stands_elsewhere_by_now_is_not_taken)
{
    start(1000);
    open_queue();
    publish_placed(3);
    make_durable();
    page_out_all(1);
    items[0] = (struct queue_item){ .qseq = 1,
                                    .message = make(1),
                                    .place = { 1, w.messages[1].place.offset + 8 } };
    queue_loaded(&q, items, 1);
    cr_expect(eq(u64, queue_away(&q), 2));
    items[0] = (struct queue_item){ .qseq = 1, .message = make(1), .place = w.messages[1].place };
    queue_loaded(&q, items, 1);
    cr_expect(eq(u64, queue_away(&q), 1));
    close_queue();
}

static void get_and_requeue(unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        get();
    for (unsigned n = 0; n < count; n++) {
        cr_assert(queue_requeue(&q, n, NULL, true));
        w.messages[n].state = KNOWN_READY;
        w.messages[n].redelivered = true;
    }
}

/* What came back stands in a heap of positions: its entries stay. */
Test(queue_away, what_came_back_is_in_no_run)
{
    start(1000);
    open_queue();
    publish_placed(400);
    get_and_requeue(200);
    make_durable();
    w.is_indexed[w.seg] = true;
    page_out_all(1);
    cr_expect(eq(u64, queue_away(&q), 399));
    cr_assert(eq(sz, q.store.first.away->runs.count, 1));
    cr_expect(ge(u64, qruns_at(&q.store.first.away->runs, 0)->first, 200));
    while (get() != NULL)
        ;
    cr_expect(eq(u64, queue_unacked(&q), 400));
    close_queue();
}

/* They are buried with their entries, which are freed in turns: a load that is late must not raise
 * them. */
Test(queue_away, a_late_load_does_not_touch_what_was_purged)
{
    start(1000);
    open_queue();
    publish_placed(500);
    get_and_requeue(400);
    make_durable();
    page_out_all(1);
    struct qwant wa;
    cr_assert(queue_wants(&q, &window, 0, &wa));
    cr_expect(eq(u64, queue_purge(&q), 500));
    cr_assert(q.has_buried);
    for (unsigned n = 0; n < w.count; n++)
        w.messages[n].state = KNOWN_GONE;
    answer(&wa);
    queue_lost(&q, 300, 350);
    publish_placed(5);
    page_out_all(1);
    cr_expect(eq(u64, queue_ready(&q), 5));
    cr_expect(eq(u64, queue_away(&q), 0));
    expect_counts();
    while (q.has_buried)
        queue_go_on(&q, 0);
    expect_counts();
    expect_segments();
    for (unsigned n = 0; n < 5; n++)
        cr_expect(ne(ptr, get(), NULL));
    close_queue();
}

Test(queue_away, counts_of_returns_are_in_no_run)
{
    start(1000);
    settings.is_quorum = true;
    open_queue();
    publish_placed(100);
    for (unsigned n = 0; n < 100; n++) {
        struct known_message *k = get();
        cr_assert(queue_return(&q, k->qseq, NULL));
        k->state = KNOWN_READY;
        k->redelivered = true;
        k->returns = 1;
    }
    make_durable();
    w.is_indexed[w.seg] = true;
    page_out_all(1);
    cr_expect(eq(u64, queue_away(&q), 99));
    cr_expect(eq(sz, q.store.first.away->runs.count, 0));
    close_queue();
}

Test(queue_away, large_bodies_are_in_no_run)
{
    enum { LARGE = 506 };
    start(1000);
    w.has_large = true;
    open_queue();
    publish_placed(640);
    make_durable();
    w.is_indexed[w.seg] = true;
    page_out_all(1);
    cr_expect(eq(sz, q.store.first.away->runs.count, 2));
    cr_expect(lt(sz, MESSAGE_LARGE_BYTES, bytes_of(LARGE)));
    cr_expect(ne(ptr, qchunks_find(&q.store.first.chunks, LARGE / QCHUNK_ENTRIES), NULL));
    close_queue();
}

/* Each run says of all its messages at once whether they have been out. */
Test(queue_away, runs_keep_what_was_out_apart)
{
    static struct recovered_entry entries[256];
    start(1000);
    open_queue();
    for (unsigned n = 0; n < 256; n++) {
        struct known_message *k = &w.messages[w.count++];
        *k = (struct known_message){
            .state = KNOWN_READY, .qseq = n, .persistent = true, .redelivered = n < 160
        };
        entries[n] = (struct recovered_entry){
            .qseq = n, .body_bytes = bytes_of(n), .place = append(k), .redelivered = n < 160
        };
    }
    struct recovered_level level = { .next_new = 256, .entries = entries, .entry_count = 256 };
    const struct recovered_queue from = { .qid = 1, .levels = &level, .level_count = 1 };
    cr_assert(queue_restore(&q, &from, 0));
    make_durable();
    w.is_indexed[w.seg] = true;
    page_out_all(1);
    cr_assert(eq(sz, q.store.first.away->runs.count, 2));
    cr_expect(eq(u64, qruns_at(&q.store.first.away->runs, 0)->last, 159));
    unsigned n = 0;
    while (get() != NULL)
        n++;
    cr_expect(eq(uint, n, 256));
    close_queue();
}
