/* A master and a mirror of one queue on one loop, their cores and links the real ones. */
#include "mirror_link/mirror_streams.h"

#include "base/mem.h"
#include "expect.h"
#include "link_kit.h"

#define QID     7u
#define FILLER  200u
#define IDLE_MS 200u

static struct loop *loop;
static struct link_node *node_a, *node_b;
static struct link_door *door;
static struct kit_relay *relay;
static uint16_t port_b;

/* Node 1, with a queue of as many messages as were published. */
static struct {
    struct mirror_streams *streams;
    struct mirror_master *m;
    struct mirror_replica *r; /* of nothing */
    struct mirror_queue *q;
    struct mirror_place place;
    uint64_t next;
    uint64_t answered; /* the same as `next` when all is safe */
    size_t joins;
    size_t added; /* the mirror is proposed for the in-sync set */
    uint32_t added_inc;
    bool is_lost;
    bool is_unknown; /* nobody knows where the mirror is */
} a;

/* Node 2: each position came once. */
static struct {
    struct mirror_streams *streams;
    struct mirror_master *m; /* of nothing */
    struct mirror_replica *r;
    struct mirror_copy *copy;
    uint64_t lsn;
    struct loop_task journal; /* it is durable a turn later */
    uint64_t next;            /* positions below have come */
    size_t octets;            /* of the last one */
    size_t sources;
    size_t seen; /* records that were shown, taken or not */
    bool is_wrong;
    bool is_busy;
    bool is_behind;
} b;

/* ---- the master's queue ---- */

static struct mirror_stream *on_stream(void *arg, uint16_t node, uint64_t qid)
{
    (void)arg;
    return mirror_streams_get(a.streams, node, qid);
}

static void on_say(void *arg, struct mirror_stream *to, const struct mirror_record *r)
{
    (void)arg;
    a.joins += r->op == MIRROR_JOIN;
    mirror_out_record(mirror_streams_out(to), r);
}

static void say_one(struct mirror_stream *to, uint64_t pos, uint64_t position, size_t octets)
{
    struct buf *block = buf_new(octets);
    uint8_t head[8];
    struct wire_out w = wire_out_over(head, sizeof head);
    wire_put_u64(&w, position);
    memset(block->data, (int)position, octets);
    block->len_bytes = (uint32_t)octets;
    struct mirror_part parts[] = { { wire_out_slice(&w), NULL }, { buf_slice(block), block } };
    mirror_out_data(mirror_streams_out(to), pos, &(struct mirror_data){ .type = 1 }, parts, 2);
    buf_unref(&block);
}

static size_t publish_octets;

static void on_say_message(void *arg, struct mirror_stream *to, uint64_t pos, const void *message,
                           const unsigned *which, unsigned count)
{
    (void)arg;
    (void)which;
    (void)count;
    say_one(to, pos, *(const uint64_t *)message, publish_octets);
}

static void on_say_state(void *arg, struct mirror_stream *to, uint64_t pos, struct mirror_queue *q,
                         const void *what)
{
    (void)arg, (void)to, (void)pos, (void)q, (void)what;
    cr_assert(false, "nothing is settled");
}

static void on_say_settled(void *arg, struct mirror_stream *to, uint64_t pos,
                           struct mirror_queue *q, const struct mirror_run *runs, unsigned count)
{
    (void)runs, (void)count;
    on_say_state(arg, to, pos, q, NULL);
}

static enum mirror_old on_say_old(void *arg, struct mirror_stream *to, uint64_t pos,
                                  struct mirror_queue *q, uint64_t position, uint64_t *bytes)
{
    (void)arg, (void)q;
    say_one(to, pos, position, FILLER);
    *bytes = FILLER;
    return MIRROR_OLD_SAID;
}

static enum mirror_look on_live(void *arg, struct mirror_queue *q, uint64_t at,
                                struct mirror_run *out)
{
    (void)arg, (void)q;
    *out = (struct mirror_run){ at, a.next - 1 };
    return at < a.next ? MIRROR_LOOK_HERE : MIRROR_LOOK_NONE;
}

static void on_starts(void *arg, struct mirror_queue *q, struct mirror_starts *out)
{
    (void)arg, (void)q;
    if (a.next != 0)
        mirror_starts_raise(out, a.next);
}

static void on_answer(void *arg, const struct mirror_confirm *c, bool is_safe)
{
    (void)arg;
    a.answered += c->count;
    a.is_lost = a.is_lost || !is_safe;
}

static void on_propose(void *arg, struct mirror_queue *q, uint16_t node, uint32_t inc, bool adds)
{
    (void)arg, (void)q;
    cr_expect(eq(u16, node, 2));
    cr_expect(adds);
    a.added++;
    a.added_inc = inc;
}

static void on_propose_lag(void *arg, struct mirror_stream *of)
{
    (void)arg, (void)of;
}

static const struct mirror_master_ops master_ops = {
    .stream = on_stream,
    .say = on_say,
    .say_message = on_say_message,
    .say_state = on_say_state,
    .say_settled = on_say_settled,
    .say_old = on_say_old,
    .live = on_live,
    .starts = on_starts,
    .answer = on_answer,
    .propose = on_propose,
    .propose_lag = on_propose_lag,
};

/* ---- the mirror's ---- */

static void on_say_back(void *arg, struct mirror_source *to, const struct mirror_record *r)
{
    (void)arg;
    mirror_out_record(mirror_streams_back(to), r);
}

static void on_copy_starts(void *arg, struct mirror_copy *c, struct mirror_starts *out)
{
    (void)arg, (void)c;
    if (b.next != 0)
        mirror_starts_raise(out, b.next);
}

static enum mirror_taken on_cut(void *arg, struct mirror_copy *c, const struct mirror_starts *cut,
                                const struct producers *producers)
{
    (void)arg, (void)c, (void)producers;
    b.next = mirror_starts_of(cut, 0);
    return MIRROR_TAKEN;
}

static uint64_t written(void)
{
    loop_again(loop, &b.journal);
    return ++b.lsn;
}

static void on_journal(void *arg)
{
    (void)arg;
    mirror_replica_durable(b.r, b.lsn);
    mirror_streams_soon(b.streams);
}

static uint64_t on_history(void *arg, struct mirror_copy *c, const struct mirror_starts *next)
{
    (void)arg, (void)c, (void)next;
    return written();
}

static void on_hurry(void *arg)
{
    (void)arg;
}

static enum mirror_taken on_data(void *arg, struct mirror_source *from, uint64_t pos,
                                 const struct mirror_data *d, uint64_t *lsn)
{
    (void)pos;
    (void)arg;
    struct wire w = wire_over(d->payload);
    uint64_t position = wire_u64(&w);
    b.seen++;
    if (b.is_busy)
        return MIRROR_TAKEN_LATER;
    if (mirror_replica_takes(b.r, from, QID) == NULL)
        return MIRROR_TAKEN;
    b.is_wrong = b.is_wrong || position != b.next;
    b.next = position + 1;
    b.octets = wire_left(&w);
    for (size_t i = 0; i < b.octets; i++)
        b.is_wrong = b.is_wrong || d->payload.ptr[8 + i] != (uint8_t)position;
    *lsn = written();
    return MIRROR_TAKEN;
}

static bool on_held(void *arg, struct mirror_copy *c, uint64_t from, struct mirror_run *out,
                    uint32_t *count, uint64_t *to)
{
    (void)arg, (void)c;
    *count = from < b.next;
    out[0] = (struct mirror_run){ from, b.next - 1 };
    *to = MIRROR_TO_END;
    return true;
}

static const struct mirror_replica_ops replica_ops = { .say = on_say_back,
                                                       .starts = on_copy_starts,
                                                       .cut = on_cut,
                                                       .history = on_history,
                                                       .hurry = on_hurry,
                                                       .data = on_data,
                                                       .held = on_held };

/* ---- what the streams ask ---- */

static bool on_find(void *arg, uint16_t node, struct mirror_place *out)
{
    (void)arg;
    cr_expect(eq(u16, node, 2));
    *out = a.place;
    return !a.is_unknown;
}

static enum link_refusal on_judge(void *arg, const struct link_peer *peer)
{
    (void)arg;
    cr_expect(eq(u16, peer->id.node, 1));
    b.sources++;
    return LINK_REFUSED_NONE;
}

static bool on_behind(void *arg)
{
    (void)arg;
    return b.is_behind;
}

static void on_begins(void *arg)
{
    (void)arg;
}

static const struct mirror_streams_ops streams_ops = { on_find, on_judge, on_behind, on_begins };

/* ---- the house ---- */

struct job {
    struct loop_task task;
    void (*fn)(void);
};

static void run_job(void *arg)
{
    struct job *j = arg;
    j->fn();
    loop_stop(loop);
}

static void on_loop(void (*fn)(void))
{
    struct job j = { .fn = fn };
    loop_task_init(&j.task, run_job, &j);
    loop_again(loop, &j.task);
    loop_run(loop);
}

static struct mirror_streams *streams_of(struct link_node *node, const char *name)
{
    bool is_a = node == node_a;
    return mirror_streams_new(&(struct mirror_streams_setup){ .loop = loop,
                                                              .link_node = node,
                                                              .master = is_a ? a.m : b.m,
                                                              .replica = is_a ? a.r : b.r,
                                                              .name = name,
                                                              .idle_ms = IDLE_MS,
                                                              .ops = &streams_ops });
}

static void open_both(void)
{
    struct mirror_history none = { 0 };
    struct sock_addr at;
    struct err err;
    b.streams = streams_of(node_b, "rabbit@b");
    a.streams = streams_of(node_a, "rabbit@a");
    struct link_hall *hall = mirror_streams_open(b.streams);
    door = link_door_new(loop);
    link_door_serve(door, LINK_MIRROR, &hall, 1);
    cr_assert(sock_addr_ip("127.0.0.1", 0, &at));
    port_b = link_door_listen(door, &at, &err);
    cr_assert(ne(u16, port_b, 0));
    relay = kit_relay_new(loop, port_b);
    a.place = (struct mirror_place){ "127.0.0.1", "rabbit@b", kit_relay_port(relay), 1 };
    b.copy = mirror_replica_begin(b.r, QID, 4, &none, NULL);
}

static void set_up(void)
{
    struct mirror_setup setup;
    mirror_setup_default(&setup);
    setup.window_bytes = 256 * 1024;
    loop = kit_loop_new();
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    node_a = kit_link_node(KIT_COOKIE, 7, 1, 3, "rabbit@a");
    node_b = kit_link_node(KIT_COOKIE, 7, 2, 4, "rabbit@b");
    a.m = mirror_master_new(&master_ops, NULL, &setup);
    a.r = mirror_replica_new(&replica_ops, NULL, 1);
    b.m = mirror_master_new(&master_ops, NULL, &setup);
    b.r = mirror_replica_new(&replica_ops, NULL, 1);
    publish_octets = FILLER;
    loop_task_init(&b.journal, on_journal, NULL);
    on_loop(open_both);
}

static void close_door(void)
{
    loop_task_cancel(loop, &b.journal);
    kit_relay_free(&relay);
    link_door_free(&door);
}

static void close_both(void)
{
    mirror_streams_close(a.streams);
    mirror_streams_close(b.streams);
}

static void settle(void)
{
    while (loop_settle(loop))
        ;
}

/* Who has passed the door is still on the way to the hall of b's streams. */
static void tear_down(void)
{
    struct mirror_history history;
    on_loop(close_door);
    settle();
    on_loop(close_both);
    settle();
    mirror_streams_free(&a.streams);
    mirror_streams_free(&b.streams);
    if (a.q != NULL) {
        mirror_master_end(a.m, &a.q, &history);
        mirror_history_fini(&history);
    }
    mirror_master_free(&a.m);
    mirror_master_free(&b.m);
    mirror_replica_free(&a.r);
    mirror_replica_free(&b.r);
    loop_free(&loop);
    link_node_free(&node_a);
    link_node_free(&node_b);
}

TestSuite(mirror_streams, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- what a master does ---- */

static const struct mirror_member mirrors[] = { { .node = 2 } };

static void lead(void)
{
    struct mirror_history none = { 0 };
    a.q = mirror_master_begin(a.m, QID, 4, &none, true, NULL,
                              &(struct mirror_placed){ .ver = 1, .members = mirrors, .count = 1 });
    mirror_master_written(a.m, a.q->last_pos, 0);
    mirror_master_activate(a.m, a.q, loop_now_ms(loop));
    mirror_streams_soon(a.streams);
}

static void end_queue(void)
{
    struct mirror_history history;
    mirror_master_end(a.m, &a.q, &history);
    mirror_history_fini(&history);
    mirror_streams_soon(a.streams);
}

static uint64_t publish_count;

/* Its own journal has nothing to wait for. */
static void publish(void)
{
    for (uint64_t i = 0; i < publish_count; i++) {
        uint64_t position = a.next++;
        uint64_t pos =
            mirror_master_message(a.m, &a.q, 1, &position, publish_octets, loop_now_ms(loop));
        mirror_master_await(a.m, a.q, pos, MIRROR_AWAIT_URGENT, &(struct mirror_token){ 1, 1 },
                            position);
    }
    mirror_streams_soon(a.streams);
}

static void publish_some(uint64_t count, size_t octets)
{
    publish_count = count;
    publish_octets = octets;
    on_loop(publish);
}

static void go_on(void)
{
    mirror_streams_go_on(b.streams);
}

static void lead_and_wait(void)
{
    on_loop(lead);
    kit_until_count(loop, &a.added, 1);
}

static bool all_is_safe(void *arg)
{
    (void)arg;
    return a.answered == a.next;
}

static void expect_all(void)
{
    kit_until(loop, all_is_safe, NULL);
    cr_expect(not(a.is_lost));
    cr_expect(not(b.is_wrong));
    cr_expect(eq(u64, b.next, a.next));
}

/* ---- */

Test(mirror_streams, a_mirror_that_has_all_is_proposed_and_waited_for)
{
    publish_count = 0;
    a.next = 10; /* from before */
    lead_and_wait();
    cr_expect(eq(u32, a.added_inc, 4));
    cr_expect(eq(u64, b.next, 10));
    a.answered = a.next;
    publish_some(1000, FILLER);
    expect_all();
    cr_expect(eq(sz, a.joins, 1));
}

Test(mirror_streams, a_large_message_travels_in_pieces)
{
    lead_and_wait();
    publish_some(3, 10);
    publish_some(1, 3 * 1024 * 1024);
    expect_all();
    cr_expect(eq(sz, b.octets, 3 * 1024 * 1024));
    publish_some(3, 10);
    expect_all();
}

static bool has_seen(void *arg)
{
    (void)arg;
    return b.seen != 0;
}

Test(mirror_streams, what_cannot_be_taken_yet_is_said_once_more_and_nothing_passes_it)
{
    lead_and_wait();
    b.is_busy = true;
    publish_some(100, 1000);
    kit_until(loop, has_seen, NULL);
    publish_some(100, 1000);
    kit_turns(loop, 20);
    cr_expect(eq(sz, b.seen, 1), "it is paused");
    cr_expect(eq(u64, a.answered, 0));
    on_loop(go_on);
    kit_turns(loop, 20);
    cr_expect(eq(sz, b.seen, 2), "it was tried again");
    b.is_busy = false;
    on_loop(go_on);
    expect_all();
    cr_expect(eq(sz, a.joins, 1));
}

Test(mirror_streams, more_than_the_window_is_not_held_for_a_mirror_that_does_not_take_it)
{
    lead_and_wait();
    b.is_busy = true;
    publish_some(2000, 1000); /* eight times the window */
    kit_turns(loop, 20);
    cr_expect(eq(u64, a.answered, 0));
    b.is_busy = false;
    on_loop(go_on);
    expect_all();
    cr_expect(gt(sz, a.joins, 1), "what did not fit was compared");
}

Test(mirror_streams, a_source_waits_while_the_journal_is_behind)
{
    lead_and_wait();
    b.is_behind = true;
    publish_some(1, FILLER);
    kit_until(loop, has_seen, NULL);
    publish_some(500, 1000);
    kit_turns(loop, 20);
    cr_expect(le(u64, b.next, 1 + 500));
    uint64_t before = b.next;
    kit_turns(loop, 20);
    cr_expect(eq(u64, b.next, before), "nothing is shown");
    cr_expect(lt(u64, b.next, a.next));
    b.is_behind = false;
    on_loop(go_on);
    expect_all();
}

static void cut_soon(void)
{
    kit_relay_cut_after(relay, 100 * 1000);
}

Test(mirror_streams, a_connection_that_breaks_is_no_new_session)
{
    lead_and_wait();
    on_loop(cut_soon);
    publish_some(1000, 200);
    expect_all();
    cr_expect(gt(sz, kit_relay_pairs(relay), 1), "it did break");
    cr_expect(eq(sz, a.joins, 1));
}

/* The master tries at once to come back. */
static void close_b(void)
{
    link_door_serve(door, LINK_MIRROR, NULL, 0);
    mirror_streams_close(b.streams);
}

static void open_b_again(void)
{
    struct link_hall *hall = mirror_streams_open(b.streams);
    link_door_serve(door, LINK_MIRROR, &hall, 1);
}

Test(mirror_streams, a_new_session_compares_anew)
{
    lead_and_wait();
    publish_some(10, FILLER);
    expect_all();
    on_loop(close_b);
    publish_some(10, FILLER);
    on_loop(open_b_again);
    expect_all();
    cr_expect(eq(sz, a.joins, 2));
}

/* ---- who disagrees ---- */

Test(mirror_streams, a_node_with_another_number_of_shards_is_given_up)
{
    struct mirror_history none = { 0 };
    mirror_streams_free(&b.streams);
    mirror_replica_free(&b.r);
    b.r = mirror_replica_new(&replica_ops, NULL, 3);
    b.copy = mirror_replica_begin(b.r, QID, 4, &none, NULL);
    b.streams = streams_of(node_b, "rabbit@b");
    on_loop(open_b_again);
    on_loop(lead);
    kit_until_count(loop, &b.sources, 3); /* it tries again, and again */
    cr_expect(eq(sz, a.added, 0));
}

Test(mirror_streams, a_shard_that_is_another_one_is_given_up)
{
    a.place.shards = 60000; /* the queue is said to live on another shard than the only one */
    on_loop(lead);
    kit_until_count(loop, &b.sources, 3);
    cr_expect(eq(sz, a.joins, 0));
    cr_expect(eq(sz, a.added, 0));
}

Test(mirror_streams, a_node_is_dialled_when_it_is_known_where_it_is)
{
    a.is_unknown = true;
    on_loop(lead);
    kit_turns(loop, 20);
    cr_expect(eq(sz, b.sources, 0));
    a.is_unknown = false;
    kit_until_count(loop, &a.added, 1);
    cr_expect(eq(sz, b.sources, 1));
}

/* ---- the end ---- */

static void count_link(void *arg, uint16_t node, const struct link_figure *f)
{
    size_t *connected = arg;
    (void)node;
    cr_expect(eq(int, f->class, LINK_MIRROR));
    *connected += f->is_connected;
}

static bool none_is_left(void *arg)
{
    (void)arg;
    size_t connected = 0;
    mirror_streams_each_link(a.streams, count_link, &connected);
    return connected == 0;
}

Test(mirror_streams, a_stream_ends_when_no_queue_is_mirrored_there)
{
    lead_and_wait();
    cr_expect(not(none_is_left(NULL)));
    on_loop(end_queue);
    kit_until(loop, none_is_left, NULL);
    a.added = 0;
    lead_and_wait();
    cr_expect(not(none_is_left(NULL)));
}
