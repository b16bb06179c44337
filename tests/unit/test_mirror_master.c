#include "mirror/mirror_master.h"

#include "expect.h"
#include "mirror/mirror_replica.h"

#define QID  7u
#define HERE 10u /* positions 0 .. 9 are in the queue, unless a test settles some */

/* A host of both cores: what they say, and what they asked for last. */
struct host {
    struct mirror_master *m;
    struct mirror_stream *stream;
    struct mirror_queue *q;
    uint64_t now_ms;
    uint64_t live_from; /* positions from here to HERE are there */
    enum mirror_op said;
    unsigned said_count, messages, states, olds, drops;
    uint64_t said_pos;
    uint64_t join_pos;
    unsigned safe, lost;
    uint8_t awaited[4];
    unsigned awaited_count;
    unsigned proposals, lags, rooms;
    bool added;
};

static struct mirror_stream *on_stream(void *arg, uint16_t node, uint64_t qid)
{
    struct host *h = arg;
    cr_expect(eq(u64, qid, QID));
    cr_expect(eq(u16, node, 2));
    return h->stream;
}

static void on_say(void *arg, struct mirror_stream *to, const struct mirror_record *r)
{
    struct host *h = arg;
    (void)to;
    if (r->op == MIRROR_AWAITED) {
        h->awaited[h->awaited_count++ % 4] = r->flags;
        return;
    }
    h->said = r->op;
    h->said_pos = r->pos;
    h->join_pos = r->op == MIRROR_JOIN ? r->pos : h->join_pos;
    h->said_count++;
}

static void on_say_message(void *arg, struct mirror_stream *to, uint64_t pos, const void *message,
                           const unsigned *which, unsigned count)
{
    struct host *h = arg;
    (void)to;
    (void)message;
    cr_expect(eq(u32, count, 1));
    cr_expect(eq(u32, which[0], 0));
    h->said_pos = pos;
    h->messages++;
}

static void on_say_state(void *arg, struct mirror_stream *to, uint64_t pos, struct mirror_queue *q,
                         const void *what)
{
    struct host *h = arg;
    (void)to;
    (void)q;
    (void)what;
    h->said_pos = pos;
    h->states++;
}

static void on_say_settled(void *arg, struct mirror_stream *to, uint64_t pos,
                           struct mirror_queue *q, const struct mirror_run *runs, unsigned count)
{
    struct host *h = arg;
    (void)to;
    (void)q;
    (void)runs;
    h->said_pos = pos;
    h->drops += count;
}

static enum mirror_old on_say_old(void *arg, struct mirror_stream *to, uint64_t pos,
                                  struct mirror_queue *q, uint64_t position, uint64_t *bytes)
{
    struct host *h = arg;
    (void)to;
    (void)q;
    cr_expect(ge(u64, position, h->live_from));
    h->said_pos = pos;
    h->olds++;
    *bytes = 10;
    return MIRROR_OLD_SAID;
}

static enum mirror_look on_live(void *arg, struct mirror_queue *q, uint64_t at,
                                struct mirror_run *out)
{
    struct host *h = arg;
    (void)q;
    if (at >= HERE || h->live_from >= HERE)
        return MIRROR_LOOK_NONE;
    *out = (struct mirror_run){ at > h->live_from ? at : h->live_from, HERE - 1 };
    return MIRROR_LOOK_HERE;
}

static void on_starts(void *arg, struct mirror_queue *q, struct mirror_starts *out)
{
    (void)arg;
    (void)q;
    mirror_starts_raise(out, HERE);
}

static void on_answer(void *arg, const struct mirror_confirm *c, bool is_safe)
{
    struct host *h = arg;
    *(is_safe ? &h->safe : &h->lost) += c->count;
}

static void on_propose(void *arg, struct mirror_queue *q, uint16_t node, uint32_t inc, bool adds)
{
    struct host *h = arg;
    (void)q;
    cr_expect(eq(u16, node, 2));
    cr_expect(eq(u32, inc, adds ? 5 : 0));
    h->proposals++;
    h->added = adds;
}

static void on_propose_lag(void *arg, struct mirror_stream *of)
{
    struct host *h = arg;
    (void)of;
    h->lags++;
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
    .say_state = on_say_state,
    .say_settled = on_say_settled,
    .say_old = on_say_old,
    .live = on_live,
    .starts = on_starts,
    .answer = on_answer,
    .propose = on_propose,
    .propose_lag = on_propose_lag,
    .room = on_room,
};

static struct mirror_placed placed(uint64_t ver, bool is_in_sync, bool is_manual)
{
    static struct mirror_member members[1];
    members[0] = (struct mirror_member){ .node = 2, .is_in_sync = is_in_sync };
    return (
        struct mirror_placed){ .ver = ver, .members = members, .count = 1, .is_manual = is_manual };
}

static void begin(struct host *h, uint64_t epoch, bool is_in_sync, bool is_manual)
{
    struct mirror_history none = { 0 };
    struct mirror_placed p = placed(1, is_in_sync, is_manual);
    h->q = mirror_master_begin(h->m, QID, epoch, &none, true, NULL, &p);
    mirror_master_activate(h->m, h->q, 0);
    mirror_master_written(h->m, h->q->last_pos, 1);
    mirror_master_durable(h->m, 1);
}

static void flush(struct host *h, uint64_t now_ms)
{
    bool has_more = mirror_master_flush(h->m, now_ms);
    cr_expect(eq(int, has_more, false));
}

static struct host *host_new(uint64_t window, bool is_in_sync, bool is_manual)
{
    static struct host h;
    struct mirror_setup setup;
    mirror_setup_default(&setup);
    setup.window_bytes = window;
    h = (struct host){ .m = mirror_master_new(&ops, &h, &setup) };
    h.stream = mirror_stream_new(h.m, 2, NULL, 0);
    begin(&h, 4, is_in_sync, is_manual);
    mirror_stream_up(h.stream, 5, 0);
    cr_expect(eq(int, h.said, MIRROR_HELLO));
    flush(&h, 0);
    return &h;
}

static void take(struct host *h, const struct mirror_record *r)
{
    cr_expect(mirror_stream_take(h->stream, r, h->now_ms));
    flush(h, h->now_ms);
}

static void ack(struct host *h, uint64_t received, uint64_t durable)
{
    take(h, &(struct mirror_record){ .op = MIRROR_ACK, .from = received, .to = durable });
}

/* It answers a JOIN: with these first positions. */
static void offer(struct host *h, uint64_t count)
{
    struct mirror_run run = { 0, count - 1 };
    cr_expect(eq(int, h->said, MIRROR_JOIN));
    take(h, &(struct mirror_record){ .op = MIRROR_OFFER,
                                     .pos = h->join_pos,
                                     .qid = QID,
                                     .to = MIRROR_TO_END,
                                     .runs = &run,
                                     .run_count = count != 0 });
}

static void publish(struct host *h, uint64_t lsn)
{
    uint64_t pos = mirror_master_message(h->m, &h->q, 1, h, 100, h->now_ms);
    mirror_master_written(h->m, pos, lsn);
    mirror_master_await(h->m, h->q, pos, MIRROR_AWAIT_DURABLE | MIRROR_AWAIT_URGENT,
                        &(struct mirror_token){ 1, 1 }, lsn);
    flush(h, h->now_ms);
}

Test(mirror_master, brings_a_mirror_up_and_proposes_it)
{
    struct host *h = host_new(100000, false, false);
    offer(h, 4);
    cr_expect(eq(u32, h->olds, HERE - 4));
    cr_expect(eq(int, h->said, MIRROR_DONE));
    uint64_t done = h->said_pos;
    ack(h, done, done - 1);
    cr_expect(eq(u32, h->proposals, 0), "it is not durable there");
    ack(h, done, done);
    cr_expect(eq(u32, h->proposals, 1));
    cr_expect(h->added);
    mirror_master_tick(h->m, 1000);
    cr_expect(eq(u32, h->proposals, 2), "said again until it is decided");
    struct mirror_placed p = placed(2, true, false);
    mirror_master_place(h->m, h->q, &p);
    mirror_master_tick(h->m, 5000);
    cr_expect(eq(u32, h->proposals, 2));
    mirror_master_free(&h->m);
}

/* So many queues come to this node; and the mirror comes anew. */
static struct host *taken_over(unsigned count)
{
    struct host *h = host_new(100000, true, false);
    mirror_stream_down(h->stream, 4000);
    for (unsigned i = 0; i < count; i++)
        mirror_master_takes_over(h->m, 5000);
    mirror_stream_up(h->stream, 5, 5000);
    flush(h, 5000);
    return h;
}

Test(mirror_master, of_many_queues_that_come_all_are_served_before_their_mirrors_join)
{
    struct host *h = taken_over(1000);
    cr_expect(eq(int, h->said, MIRROR_JOIN), "a few");
    mirror_master_free(&h->m);
    h = taken_over(5000);
    cr_expect(eq(int, h->said, MIRROR_HELLO), "more of them may come");
    mirror_master_takes_over(h->m, 5020);
    flush(h, 5045);
    cr_expect(eq(int, h->said, MIRROR_HELLO), "and did");
    flush(h, 5060);
    cr_expect(eq(int, h->said, MIRROR_JOIN), "those were all");
    mirror_master_free(&h->m);
}

Test(mirror_master, mirrors_of_queues_that_come_wait_for_a_second_at_most)
{
    struct host *h = taken_over(5000);
    for (uint64_t now_ms = 5000; now_ms <= 6020; now_ms += 20) {
        mirror_master_takes_over(h->m, now_ms);
        flush(h, now_ms);
        cr_expect(eq(int, h->said, now_ms <= 6000 ? MIRROR_HELLO : MIRROR_JOIN));
    }
    mirror_master_free(&h->m);
}

Test(mirror_master, drops_what_was_settled_here)
{
    struct host *h = host_new(100000, true, false);
    h->live_from = 3;
    offer(h, 8);
    cr_expect(eq(u32, h->drops, 1));
    cr_expect(eq(u32, h->olds, 2));
    mirror_master_free(&h->m);
}

Test(mirror_master, confirms_what_both_disks_have)
{
    struct host *h = host_new(100000, true, false);
    publish(h, 2); /* while it joins */
    mirror_master_durable(h->m, 2);
    offer(h, HERE);
    uint64_t done = h->said_pos;
    ack(h, done, done - 1);
    cr_expect(eq(u32, h->safe, 0), "its acknowledgement says nothing before it is whole");
    ack(h, done, done);
    cr_expect(eq(u32, h->safe, 1));
    publish(h, 3);
    cr_expect(eq(u32, h->messages, 2));
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->safe, 1), "our own disk has it not");
    mirror_master_durable(h->m, 3);
    cr_expect(eq(u32, h->safe, 2));
    publish(h, 4);
    mirror_master_durable(h->m, 4);
    cr_expect(eq(u32, h->safe, 2), "theirs");
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->safe, 3));
    cr_expect(eq(u64, mirror_master_waiting(h->m), 0));
    mirror_master_free(&h->m);
}

/* A mirror asks its disk when somebody waits, and not before. */
Test(mirror_master, says_once_a_turn_that_somebody_waits)
{
    struct host *h = host_new(100000, true, false);
    offer(h, HERE);
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->awaited_count, 0));
    uint64_t pos = mirror_master_note(h->m, h->q, h, 20, 0);
    mirror_master_written(h->m, pos, 2);
    flush(h, 0);
    cr_expect(eq(u32, h->awaited_count, 0), "nobody does");
    for (unsigned i = 0; i < 3; i++)
        mirror_master_await(h->m, h->q, pos, MIRROR_AWAIT_DURABLE | MIRROR_AWAIT_URGENT,
                            &(struct mirror_token){ 1, 1 }, i);
    flush(h, 0);
    cr_assert(eq(u32, h->awaited_count, 1));
    cr_expect(eq(u8, h->awaited[0], MIRROR_AWAITED_DURABLE));
    flush(h, 0);
    cr_expect(eq(u32, h->awaited_count, 1), "that was said");
    pos = mirror_master_message(h->m, &h->q, 1, h, 100, 0);
    mirror_master_written(h->m, pos, 3);
    mirror_master_await(h->m, h->q, pos, MIRROR_AWAIT_URGENT, &(struct mirror_token){ 1, 1 }, 3);
    flush(h, 0);
    cr_assert(eq(u32, h->awaited_count, 2));
    cr_expect(eq(u8, h->awaited[1], MIRROR_AWAITED_RECEIVED));
    ack(h, pos, pos);
    mirror_master_durable(h->m, 3);
    mirror_master_await(h->m, h->q, pos, MIRROR_AWAIT_DURABLE | MIRROR_AWAIT_URGENT,
                        &(struct mirror_token){ 1, 1 }, 4);
    flush(h, 0);
    cr_expect(eq(u32, h->awaited_count, 2), "it was acknowledged");
    cr_expect(eq(u32, h->safe, 5));
    mirror_stream_down(h->stream, 0);
    mirror_master_free(&h->m);
}

Test(mirror_master, waits_for_one_that_is_gone_until_that_is_decided)
{
    struct host *h = host_new(100000, true, false);
    offer(h, HERE);
    ack(h, h->said_pos, h->said_pos);
    publish(h, 2);
    mirror_master_durable(h->m, 2);
    mirror_stream_down(h->stream, 0);
    mirror_master_expel(h->m, h->q, 2, 0);
    cr_expect(eq(u32, h->proposals, 1));
    cr_expect(eq(u32, h->safe, 0));
    struct mirror_placed p = placed(2, false, false);
    mirror_master_place(h->m, h->q, &p);
    flush(h, 0);
    cr_expect(eq(u32, h->safe, 1));
    mirror_master_free(&h->m);
}

Test(mirror_master, one_that_was_struck_is_not_waited_for)
{
    struct host *h = host_new(100000, true, false);
    offer(h, HERE);
    ack(h, h->said_pos, h->said_pos);
    publish(h, 2);
    mirror_master_durable(h->m, 2);
    cr_expect(eq(u32, h->safe, 0));
    struct mirror_placed p = placed(2, false, false);
    mirror_master_place(h->m, h->q, &p);
    flush(h, 0);
    cr_expect(eq(u32, h->safe, 1));
    publish(h, 3);
    mirror_master_durable(h->m, 3);
    cr_expect(eq(u32, h->safe, 2));
    cr_expect(eq(int, h->said, MIRROR_JOIN), "it begins anew");
    mirror_master_free(&h->m);
}

/* The acknowledgements of the next session begin behind what the last one may never have brought.
 */
Test(mirror_master, another_session_is_another_mirror_at_first)
{
    struct host *h = host_new(100000, true, false);
    offer(h, HERE);
    ack(h, h->said_pos, h->said_pos);
    publish(h, 2);
    mirror_master_durable(h->m, 2);
    mirror_stream_down(h->stream, 0);
    mirror_stream_up(h->stream, 5, 0);
    flush(h, 0);
    ack(h, h->said_pos, h->said_pos); /* of the JOIN */
    cr_expect(eq(u32, h->safe, 0));
    offer(h, HERE);
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->safe, 1));
    mirror_master_free(&h->m);
}

Test(mirror_master, what_an_earlier_role_awaited_is_lost)
{
    struct host *h = host_new(100000, false, false);
    struct mirror_history history;
    uint64_t pos = mirror_master_message(h->m, &h->q, 1, h, 100, 0);
    mirror_master_written(h->m, pos, 2);
    mirror_master_await(h->m, h->q, pos, MIRROR_AWAIT_DURABLE | MIRROR_AWAIT_URGENT,
                        &(struct mirror_token){ 1, 1 }, 1);
    mirror_master_end(h->m, &h->q, &history);
    mirror_history_fini(&history);
    begin(h, 9, false, false); /* in the same turn */
    mirror_master_durable(h->m, 5);
    cr_expect(eq(u32, h->safe, 0));
    cr_expect(eq(u32, h->lost, 1));
    mirror_master_free(&h->m);
}

Test(mirror_master, one_that_refuses_is_asked_again)
{
    struct host *h = host_new(100000, true, false);
    unsigned said = h->said_count;
    take(h,
         &(struct mirror_record){ .op = MIRROR_REFUSED, .kind = MIRROR_REFUSED_LATER, .qid = QID });
    cr_expect(eq(u32, h->said_count, said));
    mirror_master_tick(h->m, 1000);
    flush(h, 1000);
    cr_expect(eq(u32, h->said_count, said + 1));
    cr_expect(eq(int, h->said, MIRROR_JOIN));
    mirror_master_free(&h->m);
}

Test(mirror_master, what_does_not_fit_is_compared_later)
{
    struct host *h = host_new(2000, true, false);
    offer(h, HERE);
    uint64_t done = h->said_pos;
    ack(h, done, done);
    for (uint64_t lsn = 2; lsn < 60; lsn++)
        publish(h, lsn);
    cr_expect(lt(u32, h->messages, 30), "the window is full");
    mirror_master_durable(h->m, 60);
    uint64_t last = h->said_pos;
    ack(h, last, last);
    cr_expect(gt(u32, h->safe, 0));
    cr_expect(lt(u32, h->safe, 58));
    offer(h, HERE);
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->safe, 58));
    mirror_master_free(&h->m);
}

Test(mirror_master, by_hand_a_mirror_is_whole_when_what_it_lacks_is_gone)
{
    struct host *h = host_new(100000, false, true);
    struct mirror_run run = { 0, 0 };
    offer(h, 4);
    cr_expect(eq(u32, h->olds, 0));
    cr_expect(eq(int, h->said, MIRROR_JOIN), "it is not told that this was all");
    publish(h, 2);
    cr_expect(eq(u32, h->messages, 1), "what is published it gets");
    mirror_master_tick(h->m, 100);
    cr_expect(eq(int, h->said, MIRROR_JOIN));
    h->live_from = HERE;
    (void)mirror_master_note(h->m, h->q, &run, 10, 200);
    cr_expect(eq(u32, h->states, 1));
    mirror_master_tick(h->m, 200);
    cr_expect(eq(int, h->said, MIRROR_DONE));
    mirror_master_free(&h->m);
}

Test(mirror_master, it_gets_what_it_lacks_when_that_is_not_done_by_hand_any_more)
{
    struct host *h = host_new(100000, false, true);
    offer(h, 0);
    cr_expect(eq(u32, h->olds, 0));
    struct mirror_placed p = placed(1, false, false);
    mirror_master_place(h->m, h->q, &p);
    flush(h, 0);
    offer(h, 0);
    cr_expect(eq(u32, h->olds, HERE));
    cr_expect(eq(int, h->said, MIRROR_DONE));
    mirror_master_free(&h->m);
}

Test(mirror_master, on_command_it_gets_what_it_lacks)
{
    struct host *h = host_new(100000, false, true);
    struct mirror_progress how;
    offer(h, 4);
    mirror_master_sync(h->m, h->q);
    flush(h, 0);
    offer(h, 4);
    cr_expect(eq(u32, h->olds, HERE - 4));
    cr_expect(eq(int, h->said, MIRROR_DONE));
    mirror_queue_progress(h->q, 0, &how);
    cr_expect(eq(u64, how.said, HERE - 4));
    cr_expect(not(how.is_whole));
    mirror_master_free(&h->m);
}

/* What it may lack of the only priority there is: so many positions, from the first on. */
static uint64_t lacks(const struct host *h, uint64_t *first)
{
    struct mirror_run rows[MIRROR_STARTS_MAX];
    unsigned count = mirror_queue_lacks(h->q, 0, rows);
    cr_expect(le(u32, count, 1));
    *first = count != 0 ? rows[0].first : 0;
    return count != 0 ? rows[0].last - rows[0].first + 1 : 0;
}

Test(mirror_master, what_it_lacks_is_what_was_not_compared)
{
    uint64_t first;
    struct host *h = host_new(100000, true, false);
    cr_expect(eq(u64, lacks(h, &first), HERE), "it was called");
    take(h, &(struct mirror_record){
                .op = MIRROR_OFFER, .pos = h->join_pos, .qid = QID, .to = 3 }); /* none of those */
    cr_expect(eq(u32, h->olds, 4));
    cr_expect(eq(int, h->said, MIRROR_NEED));
    cr_expect(eq(u64, lacks(h, &first), HERE - 4));
    cr_expect(eq(u64, first, 4));
    mirror_master_free(&h->m);
}

Test(mirror_master, what_it_lacks_is_what_is_not_to_be_sent)
{
    uint64_t first;
    struct host *h = host_new(100000, false, true);
    offer(h, 4);
    cr_expect(eq(u64, lacks(h, &first), HERE));
    mirror_master_sync(h->m, h->q);
    flush(h, 0);
    offer(h, 4);
    cr_expect(eq(int, h->said, MIRROR_DONE));
    cr_expect(eq(u64, lacks(h, &first), 0), "all is under way");
    mirror_master_free(&h->m);
}

Test(mirror_master, one_that_lags_is_to_be_struck)
{
    struct host *h = host_new(100000, true, false);
    mirror_master_tick(h->m, 9000);
    cr_expect(eq(u32, h->lags, 0));
    mirror_master_tick(h->m, 10000);
    cr_expect(eq(u32, h->lags, 1), "it was called, and does not answer");
    mirror_master_tick(h->m, 10500);
    cr_expect(eq(u32, h->lags, 1));
    mirror_master_tick(h->m, 11500);
    cr_expect(eq(u32, h->lags, 2), "said again until it is decided");
    mirror_master_free(&h->m);
}

/* Else it would be added and struck, added and struck. */
/* From when it is proposed on it counts as one whose leave is needed, until that is decided. */
Test(mirror_master, members_are_those_that_may_be_in_sync)
{
    uint16_t members[MIRROR_SET_MAX];
    struct host *h = host_new(100000, false, false);
    cr_expect(eq(u32, mirror_queue_members(h->q, members), 0));
    offer(h, HERE);
    cr_expect(eq(u32, mirror_queue_members(h->q, members), 0), "it is not whole");
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->proposals, 1));
    cr_expect(eq(u32, mirror_queue_members(h->q, members), 1));
    cr_expect(eq(u16, members[0], 2));
    struct mirror_placed refused = placed(2, false, false);
    mirror_master_place(h->m, h->q, &refused);
    cr_expect(eq(u32, mirror_queue_members(h->q, members), 0));
    struct mirror_placed added = placed(3, true, false);
    mirror_master_place(h->m, h->q, &added);
    cr_expect(eq(u32, mirror_queue_members(h->q, members), 1));
    mirror_master_free(&h->m);
}

Test(mirror_master, tells_when_there_is_room_again)
{
    struct host *h = host_new(2000, true, false);
    offer(h, HERE);
    ack(h, h->said_pos, h->said_pos);
    cr_expect(not(mirror_master_is_behind(h->m)));
    for (uint64_t i = 0; i < 12; i++)
        publish(h, 2 + i);
    cr_expect(mirror_master_is_behind(h->m));
    cr_expect(eq(u32, h->rooms, 0));
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->rooms, 1), "once");
    cr_expect(not(mirror_master_is_behind(h->m)));
    flush(h, 0);
    cr_expect(eq(u32, h->rooms, 1));
    mirror_master_free(&h->m);
}

/* Nobody waits for one that is not in sync: it holds up nobody. */
Test(mirror_master, one_that_is_not_waited_for_holds_up_nobody)
{
    struct host *h = host_new(2000, false, false);
    for (uint64_t i = 0; i < 12; i++)
        publish(h, 2 + i);
    cr_expect(not(mirror_master_is_behind(h->m)));
    mirror_master_free(&h->m);
}

static void tick(struct host *h, uint64_t now_ms)
{
    h->now_ms = now_ms;
    mirror_master_tick(h->m, now_ms);
    flush(h, now_ms);
}

static void strike(struct host *h, uint64_t ver, bool is_in_sync)
{
    struct mirror_placed p = placed(ver, is_in_sync, false);
    mirror_master_place(h->m, h->q, &p);
    flush(h, h->now_ms);
}

/* The time was not said since the shard began: no queue had mirrors. */
Test(mirror_master, one_that_is_new_has_its_time_to_be_reached)
{
    static struct host h;
    struct mirror_setup setup;
    mirror_setup_default(&setup);
    h = (struct host){ .m = mirror_master_new(&ops, &h, &setup) };
    h.stream = mirror_stream_new(h.m, 2, NULL, 1000000);
    begin(&h, 4, true, false);
    mirror_master_tick(h.m, 1000100);
    cr_expect(eq(u32, h.lags, 0));
    mirror_master_tick(h.m, 1000000 + setup.lag_ms);
    cr_expect(eq(u32, h.lags, 1));
    mirror_master_free(&h.m);
}

Test(mirror_master, one_that_lagged_stays_out_for_a_while)
{
    struct host *h = host_new(100000, true, false);
    tick(h, 10000);
    cr_expect(eq(u32, h->lags, 1));
    strike(h, 2, false);
    offer(h, HERE);
    cr_expect(eq(int, h->said, MIRROR_JOIN), "it is not told that this was all");
    publish(h, 2);
    cr_expect(eq(u32, h->messages, 1), "what is published it gets");
    mirror_master_durable(h->m, 2);
    cr_expect(eq(u32, h->safe, 1), "and nobody waits for it");
    ack(h, h->said_pos, h->said_pos);
    tick(h, 19999);
    cr_expect(eq(int, h->said, MIRROR_JOIN));
    tick(h, 20000);
    cr_expect(eq(int, h->said, MIRROR_DONE));
    ack(h, h->said_pos, h->said_pos);
    cr_expect(eq(u32, h->proposals, 1));
    strike(h, 3, true);
    publish(h, 3);
    tick(h, 40000);
    cr_expect(eq(u32, h->lags, 2));
    strike(h, 4, false);
    offer(h, HERE);
    ack(h, h->join_pos, h->join_pos);
    tick(h, 59999);
    cr_expect(eq(int, h->said, MIRROR_JOIN), "twice as long the second time");
    tick(h, 60000);
    cr_expect(eq(int, h->said, MIRROR_DONE));
    mirror_master_free(&h->m);
}

Test(mirror_master, does_not_believe_what_cannot_be)
{
    struct host *h = host_new(100000, true, false);
    struct mirror_record r = { .op = MIRROR_ACK, .from = h->said_pos + 9, .to = 0 };
    cr_expect(not(mirror_stream_take(h->stream, &r, 0)), "what was never said");
    r = (struct mirror_record){ .op = MIRROR_ACK, .from = h->said_pos, .to = h->said_pos + 1 };
    cr_expect(not(mirror_stream_take(h->stream, &r, 0)), "more durable than received");
    r = (struct mirror_record){ .op = MIRROR_JOIN };
    cr_expect(not(mirror_stream_take(h->stream, &r, 0)), "a mirror's record it is not");
    r = (struct mirror_record){ .op = MIRROR_REFUSED, .kind = MIRROR_REFUSALS, .qid = QID };
    cr_expect(not(mirror_stream_take(h->stream, &r, 0)));
    r = (struct mirror_record){ .op = MIRROR_OFFER, .qid = QID + 1 };
    cr_expect(mirror_stream_take(h->stream, &r, 0), "it may be of one that is gone");
    mirror_master_free(&h->m);
}
