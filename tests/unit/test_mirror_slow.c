/* A mirror that takes long: who waits for it, and in what order its queues join. */
#include "mirror/mirror_master.h"

#include "expect.h"

#define QUEUES 6u
#define SYNCS  2u /* at a time */

/* A host of the master's core with one mirror: node 2. No queue holds anything yet. */
struct host {
    struct mirror_master *m;
    struct mirror_stream *stream;
    struct mirror_queue *q[QUEUES];
    uint64_t now_ms;
    uint64_t join_pos[QUEUES];
    unsigned joins[QUEUES]; /* the n-th that was called is `joins[n]` */
    unsigned join_count;
    uint64_t said_pos; /* the last */
    uint64_t done_pos;
    unsigned safe;
    unsigned rooms;
};

static struct mirror_stream *on_stream(void *arg, uint16_t node, uint64_t qid)
{
    struct host *h = arg;
    (void)node;
    (void)qid;
    return h->stream;
}

static void on_say(void *arg, struct mirror_stream *to, const struct mirror_record *r)
{
    struct host *h = arg;
    (void)to;
    if (r->op == MIRROR_JOIN) {
        h->join_pos[r->qid] = r->pos;
        h->joins[h->join_count++] = (unsigned)r->qid;
    }
    if (r->op == MIRROR_DONE)
        h->done_pos = r->pos;
    if (r->pos != 0)
        h->said_pos = r->pos;
}

static void on_say_message(void *arg, struct mirror_stream *to, uint64_t pos, const void *message,
                           const unsigned *which, unsigned count)
{
    struct host *h = arg;
    (void)to;
    (void)message;
    (void)which;
    (void)count;
    h->said_pos = pos;
}

static enum mirror_look on_live(void *arg, struct mirror_queue *q, uint64_t at,
                                struct mirror_run *out)
{
    (void)arg;
    (void)q;
    (void)at;
    (void)out;
    return MIRROR_LOOK_NONE;
}

static void on_starts(void *arg, struct mirror_queue *q, struct mirror_starts *out)
{
    (void)arg;
    (void)q;
    mirror_starts_raise(out, 1);
}

static void on_answer(void *arg, const struct mirror_confirm *c, bool is_safe)
{
    struct host *h = arg;
    cr_expect(is_safe);
    h->safe += c->count;
}

static void on_propose(void *arg, struct mirror_queue *q, uint16_t node, uint32_t inc, bool adds)
{
    (void)arg;
    (void)q;
    (void)node;
    (void)inc;
    (void)adds;
}

static void on_propose_lag(void *arg, struct mirror_stream *of)
{
    (void)arg;
    (void)of;
}

static void on_room(void *arg)
{
    struct host *h = arg;
    h->rooms++;
}

static const struct mirror_master_ops ops = {
    .stream = on_stream,
    .say = on_say,
    .say_message = on_say_message,
    .live = on_live,
    .starts = on_starts,
    .answer = on_answer,
    .propose = on_propose,
    .propose_lag = on_propose_lag,
    .room = on_room,
};

static void flush(struct host *h)
{
    bool has_more = mirror_master_flush(h->m, h->now_ms);
    cr_expect(eq(int, has_more, false));
}

static void begin(struct host *h, uint64_t qid)
{
    static const struct mirror_member members[1] = { { .node = 2, .is_in_sync = true } };
    const struct mirror_placed p = { .ver = 1, .members = members, .count = 1 };
    struct mirror_history none = { 0 };
    h->q[qid] = mirror_master_begin(h->m, qid, 4, &none, true, NULL, &p);
    mirror_master_activate(h->m, h->q[qid], h->now_ms);
    mirror_master_written(h->m, h->q[qid]->last_pos, 1);
    mirror_master_durable(h->m, 1);
}

static struct host *host_new(uint64_t window, unsigned queues)
{
    static struct host h;
    struct mirror_setup setup;
    mirror_setup_default(&setup);
    setup.window_bytes = window;
    setup.syncs = SYNCS;
    h = (struct host){ .m = mirror_master_new(&ops, &h, &setup), .now_ms = 1 };
    h.stream = mirror_stream_new(h.m, 2, NULL, 1);
    for (uint64_t qid = 0; qid < queues; qid++)
        begin(&h, qid);
    mirror_stream_up(h.stream, 5, 1);
    return &h;
}

/* What is said is durable here at once. */
static void say(struct host *h, uint64_t qid, unsigned flags)
{
    uint64_t pos = mirror_master_message(h->m, &h->q[qid], 1, h, 100, h->now_ms);
    mirror_master_await(h->m, h->q[qid], pos, flags, &(struct mirror_token){ 1, 1 }, pos);
    flush(h);
}

static void publish(struct host *h, uint64_t qid)
{
    say(h, qid, MIRROR_AWAIT_DURABLE | MIRROR_AWAIT_URGENT);
}

static void take(struct host *h, const struct mirror_record *r)
{
    cr_expect(mirror_stream_take(h->stream, r, h->now_ms));
    flush(h);
}

static void ack(struct host *h, uint64_t pos)
{
    take(h, &(struct mirror_record){ .op = MIRROR_ACK, .from = pos, .to = pos });
}

static void offer(struct host *h, uint64_t qid)
{
    take(h, &(struct mirror_record){
                .op = MIRROR_OFFER, .pos = h->join_pos[qid], .qid = qid, .to = MIRROR_TO_END });
}

static void tick(struct host *h, uint64_t now_ms)
{
    h->now_ms = now_ms;
    mirror_master_tick(h->m, now_ms);
    flush(h);
}

/* ---- which queue joins first ------------------------------------------------------------------
 */

Test(mirror_slow, a_queue_of_which_confirms_wait_joins_before_others)
{
    struct host *h = host_new(100000, QUEUES);
    publish(h, 4);
    publish(h, 2);
    cr_assert(eq(u32, h->join_count, 3), "two, and one more that a confirm waits for");
    cr_expect(eq(u32, h->joins[0], 4));
    cr_expect(eq(u32, h->joins[1], 0));
    cr_expect(eq(u32, h->joins[2], 2));
    mirror_master_free(&h->m);
}

Test(mirror_slow, what_no_client_waits_for_joins_in_its_turn)
{
    struct host *h = host_new(100000, QUEUES);
    say(h, 4, MIRROR_AWAIT_DURABLE);
    cr_assert(eq(u32, h->join_count, SYNCS));
    cr_expect(eq(u32, h->joins[0], 0));
    cr_expect(eq(u32, h->joins[1], 1));
    mirror_master_free(&h->m);
}

Test(mirror_slow, when_a_client_comes_to_wait_for_it_it_joins_before_others)
{
    struct host *h = host_new(100000, QUEUES);
    say(h, 4, MIRROR_AWAIT_DURABLE);
    mirror_master_hurry(h->m, h->q[4]);
    flush(h);
    cr_assert(eq(u32, h->join_count, SYNCS + 1));
    cr_expect(eq(u32, h->joins[SYNCS], 4));
    offer(h, 4);
    ack(h, h->done_pos);
    cr_expect(eq(u32, h->safe, 1));
    mirror_master_free(&h->m);
}

/* The node was started anew, with other shards: what was struck is a new mirror there. */
Test(mirror_slow, one_that_was_struck_goes_where_its_node_has_it_now)
{
    struct host *h = host_new(100000, QUEUES);
    struct mirror_stream *old = h->stream;
    static const struct mirror_member out[1] = { { .node = 2, .is_in_sync = false } };
    publish(h, 5);
    mirror_stream_down(old, h->now_ms);
    struct mirror_placed p = { .ver = 2, .members = out, .count = 1 };
    mirror_master_place(h->m, h->q[5], &p);
    flush(h);
    cr_expect(eq(u32, h->safe, 1), "nobody waits for it");
    h->stream = mirror_stream_new(h->m, 2, NULL, h->now_ms);
    mirror_stream_rehome(old);
    h->join_count = 0;
    mirror_stream_up(h->stream, 6, h->now_ms);
    flush(h);
    cr_assert(eq(u32, h->join_count, 1));
    cr_expect(eq(u32, h->joins[0], 5));
    mirror_master_free(&h->m);
}

Test(mirror_slow, a_confirm_waits_for_its_own_queue_and_for_no_other)
{
    struct host *h = host_new(100000, QUEUES);
    publish(h, 5);
    publish(h, 5);
    offer(h, 5);
    uint64_t done = h->done_pos;
    ack(h, done - 1);
    cr_expect(eq(u32, h->safe, 0), "what it was told last it may not have");
    ack(h, done);
    cr_expect(eq(u32, h->safe, 2), "five others have still to join");
    publish(h, 1);
    ack(h, h->said_pos);
    cr_expect(eq(u32, h->safe, 2));
    mirror_master_free(&h->m);
}

Test(mirror_slow, while_many_queues_come_those_join_of_which_confirms_wait)
{
    struct host *h = host_new(100000, QUEUES);
    for (unsigned i = 0; i < 5000; i++)
        mirror_master_takes_over(h->m, h->now_ms);
    flush(h);
    cr_expect(eq(u32, h->join_count, 0), "more may come");
    publish(h, 3);
    cr_expect(eq(u32, h->join_count, 1));
    cr_expect(eq(u32, h->joins[0], 3));
    mirror_master_free(&h->m);
}

/* What it had may be lost with the session. */
Test(mirror_slow, a_confirm_waits_anew_where_the_queue_has_to_join_again)
{
    struct host *h = host_new(100000, QUEUES);
    publish(h, 5);
    offer(h, 5);
    mirror_stream_down(h->stream, h->now_ms);
    mirror_stream_up(h->stream, 5, h->now_ms);
    flush(h);
    cr_expect(eq(u32, h->safe, 0));
    cr_expect(eq(u32, h->joins[2], 5), "first again, behind 5 and 0 of the session before");
    offer(h, 5);
    ack(h, h->done_pos);
    cr_expect(eq(u32, h->safe, 1));
    mirror_master_free(&h->m);
}

/* ---- who publishes ----------------------------------------------------------------------------
 */

#define SMALL_WINDOW 2000u /* ten messages are half of it */

static struct host *filled(void)
{
    struct host *h = host_new(SMALL_WINDOW, 1);
    flush(h);
    offer(h, 0);
    ack(h, h->said_pos);
    for (unsigned i = 0; i < 12; i++)
        publish(h, 0);
    return h;
}

Test(mirror_slow, who_publishes_waits_for_one_that_keeps_up)
{
    struct host *h = filled();
    cr_expect(mirror_master_is_behind(h->m));
    tick(h, 2900);
    cr_expect(mirror_master_is_behind(h->m));
    cr_expect(eq(u32, h->rooms, 0));
    ack(h, h->said_pos);
    cr_expect(eq(u32, h->rooms, 1));
    cr_expect(not(mirror_master_is_behind(h->m)));
    mirror_master_free(&h->m);
}

Test(mirror_slow, one_that_takes_long_holds_up_confirms_alone)
{
    struct host *h = filled();
    cr_expect(mirror_master_is_behind(h->m));
    tick(h, 3100);
    cr_expect(eq(u32, h->rooms, 1), "whoever waited goes on");
    cr_expect(not(mirror_master_is_behind(h->m)));
    for (unsigned i = 0; i < 100; i++)
        publish(h, 0);
    cr_expect(not(mirror_master_is_behind(h->m)), "what it cannot be told it will lack");
    cr_expect(eq(u32, h->safe, 0), "and nobody has a confirm");
    unsigned called = h->join_count;
    ack(h, h->said_pos);
    cr_expect(eq(u32, h->join_count, called + 1), "it begins anew");
    offer(h, 0);
    ack(h, h->said_pos);
    cr_expect(eq(u32, h->safe, 112));
    mirror_master_free(&h->m);
}

Test(mirror_slow, one_that_was_slow_is_waited_for_again_when_it_has_all)
{
    struct host *h = filled();
    tick(h, 3100);
    cr_expect(not(mirror_master_is_behind(h->m)));
    ack(h, h->said_pos);
    tick(h, 3200);
    for (unsigned i = 0; i < 12; i++)
        publish(h, 0);
    cr_expect(mirror_master_is_behind(h->m));
    mirror_master_free(&h->m);
}
