#include "cluster/grant.h"

#include "base/mem.h"
#include "expect.h"

#define MS 1000

/* Node 1 with the others 2 and 3, all known in incarnation 1. */
static struct grant *g;
static struct grant_effects fx;
static int64_t now_us;

static const struct grant_effect *effect(enum grant_effect_kind kind, uint16_t node)
{
    for (size_t i = 0; i < fx.count; i++)
        if (fx.list[i].kind == kind && fx.list[i].node == node)
            return &fx.list[i];
    return NULL;
}

static void step(const struct grant_event *ev)
{
    struct grant_event timed = *ev;
    timed.now_us = now_us;
    grant_step(g, &timed, &fx);
}

static void pass(int64_t us)
{
    now_us += us;
    step(&(struct grant_event){ .kind = GRANT_EV_TIME });
}

static void node_is(uint16_t node, uint32_t inc)
{
    step(&(struct grant_event){ .kind = GRANT_EV_NODE, .node = node, .member = { inc } });
}

static void applied(uint64_t index)
{
    step(&(struct grant_event){ .kind = GRANT_EV_APPLIED,
                                .applied = { .index = index, .is_up = true } });
}

static void moved(uint16_t from, uint16_t to, uint64_t index)
{
    step(&(struct grant_event){ .kind = GRANT_EV_MOVED, .node = from, .moved = { to, index } });
}

static void need(uint16_t node, uint64_t epoch)
{
    step(&(struct grant_event){ .kind = GRANT_EV_NEED, .node = node, .need = { epoch } });
}

static void gone(uint16_t node, uint32_t inc)
{
    step(&(struct grant_event){ .kind = GRANT_EV_GONE, .node = node, .member = { inc } });
}

/* What comes of a question by another node; GRANT_VERDICT_COUNT: nothing yet. */
static unsigned asked_by(uint16_t node, uint32_t inc, uint64_t number, uint64_t index)
{
    step(&(struct grant_event){ .kind = GRANT_EV_ASK,
                                .node = node,
                                .ask = { .inc = inc, .number = number, .index = index } });
    const struct grant_effect *e = effect(GRANT_DO_ANSWER, node);
    if (e == NULL)
        return GRANT_VERDICT_COUNT;
    cr_expect(eq(u32, e->answer.inc, inc));
    cr_expect(eq(u64, e->answer.number, number));
    return e->answer.verdict;
}

static void answered(uint16_t node, uint32_t inc, uint64_t number, enum grant_verdict verdict)
{
    step(&(struct grant_event){
        .kind = GRANT_EV_ANSWER, .node = node, .answer = { inc, number, verdict } });
}

static void begin(bool is_first)
{
    now_us = 5000 * MS;
    g = grant_new(1, 1, 10, is_first, now_us);
    node_is(2, 1);
    node_is(3, 1);
}

static void open_one(void)
{
    begin(true);
    applied(10);
}

static void end_one(void)
{
    grant_free(&g);
    cr_expect(g == NULL);
}

static int64_t begins(uint64_t epoch, uint16_t earlier)
{
    return grant_begins_us(g, epoch, &earlier, earlier != 0);
}

/* ---- the master ---- */

Test(grant, asks_nobody_whose_grant_is_not_needed)
{
    open_one();
    cr_expect(eq(i64, grant_deadline_us(g), INT64_MAX));
    pass(1000 * MS);
    cr_expect(eq(sz, fx.count, 0));
    need(2, 5);
    cr_expect(effect(GRANT_DO_ASK, 2) != NULL);
    cr_expect(effect(GRANT_DO_ASK, 3) == NULL);
    cr_expect(eq(i64, grant_deadline_us(g), now_us + GRANT_ASK_US));
    pass(GRANT_ASK_US);
    cr_expect(eq(u64, effect(GRANT_DO_ASK, 2)->ask.number, 2));
    pass(GRANT_IDLE_US + 1);
    cr_expect(eq(sz, fx.count, 0));
    cr_expect(eq(i64, grant_deadline_us(g), INT64_MAX));
    end_one();
}

Test(grant, is_held_from_the_question_on)
{
    open_one();
    need(2, 5);
    int64_t asked_us = now_us;
    pass(40 * MS);
    answered(2, 1, 1, GRANT_GIVEN);
    const struct grant_effect *e = effect(GRANT_DO_HOLD, 2);
    cr_assert(e != NULL);
    cr_expect(eq(u64, e->hold.index, 10));
    cr_expect(eq(i64, e->hold.until_us, asked_us + GRANT_LENGTH_US));
    cr_expect(eq(i64, grant_held(g, 2).until_us, asked_us + GRANT_LENGTH_US));
    end_one();
}

Test(grant, old_answers_and_those_to_another_process_count_for_nothing)
{
    open_one();
    need(2, 5);
    answered(2, 2, 1, GRANT_GIVEN);
    cr_expect(eq(sz, fx.count, 0));
    answered(2, 1, 0, GRANT_GIVEN);
    answered(2, 1, 7, GRANT_GIVEN);
    answered(2, 1, 1, GRANT_DEPOSED);
    answered(3, 1, 1, GRANT_GIVEN);
    cr_expect(eq(sz, fx.count, 0));
    pass(GRANT_ASK_US);
    answered(2, 1, 2, GRANT_GIVEN);
    cr_expect(eq(sz, fx.count, 1));
    answered(2, 1, 1, GRANT_GIVEN); /* the one before it, overtaken */
    cr_expect(eq(sz, fx.count, 0));
    for (unsigned i = 0; i < GRANT_ASKED_MAX; i++)
        pass(GRANT_ASK_US);
    answered(2, 1, 2, GRANT_GIVEN);
    cr_expect(eq(sz, fx.count, 0));
    end_one();
}

Test(grant, a_queue_that_is_newer_than_the_last_question_is_asked_for_soon)
{
    open_one();
    need(2, 5);
    need(2, 20); /* that entry is not applied here */
    pass(GRANT_ASK_LEAST_US);
    cr_expect(effect(GRANT_DO_ASK, 2) == NULL);
    applied(20);
    cr_assert(effect(GRANT_DO_ASK, 2) != NULL);
    cr_expect(eq(u64, effect(GRANT_DO_ASK, 2)->ask.index, 20));
    need(2, 20);
    pass(GRANT_ASK_LEAST_US);
    cr_expect(eq(sz, fx.count, 0));
    end_one();
}

Test(grant, who_is_refused_asks_again_when_it_knows_more)
{
    open_one();
    need(2, 5);
    answered(2, 1, 1, GRANT_DEPOSED);
    pass(GRANT_ASK_LEAST_US);
    cr_expect(eq(sz, fx.count, 0));
    applied(11);
    cr_expect(effect(GRANT_DO_ASK, 2) != NULL);
    pass(GRANT_ASK_LEAST_US);
    cr_expect(eq(sz, fx.count, 0));
    step(&(struct grant_event){ .kind = GRANT_EV_OPEN, .node = 2 });
    cr_expect(effect(GRANT_DO_ASK, 2) != NULL);
    end_one();
}

Test(grant, asks_for_none_before_its_own_start_is_in_the_log)
{
    begin(false);
    need(2, 5);
    pass(GRANT_ASK_US);
    cr_expect(eq(sz, fx.count, 0));
    applied(12);
    cr_expect(effect(GRANT_DO_ASK, 2) != NULL);
    end_one();
}

/* ---- the one that is asked ---- */

Test(grant, gives_none_before_its_own_start_is_in_the_log)
{
    begin(false);
    cr_expect(eq(uint, asked_by(2, 1, 1, 10), GRANT_NOT_YET));
    applied(11);
    cr_expect(eq(uint, asked_by(2, 1, 2, 10), GRANT_GIVEN));
    end_one();
}

Test(grant, gives_none_to_another_process_than_the_log_says)
{
    open_one();
    cr_expect(eq(uint, asked_by(2, 2, 1, 10), GRANT_STRANGER));
    cr_expect(eq(uint, asked_by(4, 1, 1, 10), GRANT_VERDICT_COUNT));
    node_is(2, 2);
    cr_expect(eq(uint, asked_by(2, 1, 1, 10), GRANT_STRANGER));
    cr_expect(eq(uint, asked_by(2, 2, 1, 10), GRANT_GIVEN));
    node_is(2, 0);
    cr_expect(eq(uint, asked_by(2, 2, 2, 10), GRANT_STRANGER));
    end_one();
}

Test(grant, answers_who_is_ahead_when_it_has_come_as_far)
{
    open_one();
    cr_expect(eq(uint, asked_by(2, 1, 1, 12), GRANT_VERDICT_COUNT));
    applied(11);
    cr_expect(effect(GRANT_DO_ANSWER, 2) == NULL);
    applied(12);
    cr_assert(effect(GRANT_DO_ANSWER, 2) != NULL);
    cr_expect(eq(uint, effect(GRANT_DO_ANSWER, 2)->answer.verdict, GRANT_GIVEN));
    cr_expect(eq(uint, asked_by(3, 1, 1, 20), GRANT_VERDICT_COUNT));
    moved(3, 2, 15);
    applied(20);
    cr_expect(eq(uint, effect(GRANT_DO_ANSWER, 3)->answer.verdict, GRANT_GIVEN));
    end_one();
}

Test(grant, gives_none_to_a_node_that_has_not_seen_what_was_taken_from_it)
{
    open_one();
    moved(2, 3, 15);
    applied(15);
    cr_expect(eq(uint, asked_by(2, 1, 1, 14), GRANT_DEPOSED));
    cr_expect(eq(uint, asked_by(3, 1, 1, 14), GRANT_GIVEN));
    cr_expect(eq(uint, asked_by(2, 1, 2, 15), GRANT_GIVEN));
    end_one();
}

Test(grant, what_a_snapshot_skips_may_have_taken_a_queue_from_anybody)
{
    open_one();
    step(&(struct grant_event){ .kind = GRANT_EV_JUMPED,
                                .applied = { .index = 30, .is_up = true } });
    cr_expect(eq(uint, asked_by(3, 1, 1, 29), GRANT_DEPOSED));
    cr_expect(eq(uint, asked_by(3, 1, 2, 30), GRANT_GIVEN));
    end_one();
}

/* ---- when it may begin ---- */

Test(grant, begins_at_once_when_nothing_was_given)
{
    open_one();
    cr_expect(eq(i64, begins(20, 2), INT64_MIN));
    cr_expect(eq(i64, begins(20, 0), INT64_MIN));
    cr_expect(eq(i64, begins(20, 77), INT64_MIN));
    cr_expect(eq(i64, begins(20, 1), INT64_MIN));
    end_one();
}

Test(grant, begins_when_what_it_gave_before_the_entry_has_run_out)
{
    open_one();
    cr_expect(eq(uint, asked_by(2, 1, 1, 10), GRANT_GIVEN));
    int64_t given_us = now_us;
    moved(2, 1, 20);
    applied(20);
    pass(100 * MS);
    cr_expect(eq(uint, asked_by(2, 1, 2, 20), GRANT_GIVEN)); /* for other queues */
    cr_expect(eq(i64, begins(20, 2), given_us + GRANT_WAIT_US));
    cr_expect(eq(i64, begins(20, 3), INT64_MIN));
    pass(GRANT_WAIT_US);
    cr_expect(le(i64, begins(20, 2), now_us));
    end_one();
}

Test(grant, waits_for_whoever_lost_queues_to_the_last_master)
{
    open_one();
    cr_expect(eq(uint, asked_by(2, 1, 1, 10), GRANT_GIVEN));
    int64_t given_us = now_us;
    moved(2, 3, 12);
    applied(12);
    moved(3, 1, 13);
    applied(13);
    cr_expect(eq(i64, begins(13, 3), given_us + GRANT_WAIT_US));
    end_one();
}

/* 2 lost it to this node, that to 3, and that to this node again. */
Test(grant, waits_for_those_before_its_own_last_time)
{
    open_one();
    cr_expect(eq(uint, asked_by(2, 1, 1, 10), GRANT_GIVEN));
    int64_t given_us = now_us;
    moved(2, 1, 12);
    moved(1, 3, 13);
    moved(3, 1, 14);
    applied(14);
    cr_expect(eq(i64, begins(14, 3), given_us + GRANT_WAIT_US));
    end_one();
}

/* It lost the queue and got it back within what a snapshot has skipped. */
Test(grant, waits_when_the_master_before_was_itself_and_had_not_begun)
{
    open_one();
    cr_expect(eq(uint, asked_by(2, 1, 1, 10), GRANT_GIVEN));
    int64_t given_us = now_us;
    moved(2, 1, 12);
    applied(12);
    step(&(struct grant_event){ .kind = GRANT_EV_JUMPED,
                                .applied = { .index = 30, .is_up = true } });
    cr_expect(eq(i64, begins(25, 1), given_us + GRANT_WAIT_US));
    end_one();
}

Test(grant, does_not_wait_for_what_it_gave_behind_an_earlier_move)
{
    open_one();
    moved(2, 3, 12);
    applied(12);
    cr_expect(eq(uint, asked_by(2, 1, 1, 12), GRANT_GIVEN));
    moved(3, 1, 13);
    applied(13);
    cr_expect(eq(i64, begins(13, 3), INT64_MIN));
    end_one();
}

Test(grant, waits_for_no_process_that_is_gone_and_for_all_others)
{
    open_one();
    cr_expect(eq(uint, asked_by(2, 1, 1, 10), GRANT_GIVEN));
    cr_expect(eq(uint, asked_by(3, 1, 1, 10), GRANT_GIVEN));
    int64_t at_us = now_us + GRANT_WAIT_US;
    step(&(struct grant_event){ .kind = GRANT_EV_BROKEN, .node = 2 });
    cr_expect(eq(i64, begins(20, 2), at_us));
    gone(2, 1);
    cr_expect(effect(GRANT_DO_LOOK, 0) != NULL);
    cr_expect(eq(i64, begins(20, 2), INT64_MIN));
    cr_expect(eq(i64, begins(20, 3), at_us));
    node_is(2, 2);
    cr_expect(eq(uint, asked_by(2, 2, 1, 10), GRANT_GIVEN));
    gone(2, 1); /* late word of the one before */
    cr_expect(eq(i64, begins(20, 2), at_us));
    end_one();
}

Test(grant, counts_as_having_given_to_all_at_its_start)
{
    begin(false);
    int64_t started_us = now_us;
    applied(11);
    cr_expect(eq(i64, begins(11, 0), started_us + GRANT_WAIT_US));
    gone(2, 1);
    cr_expect(eq(i64, begins(11, 2), started_us + GRANT_WAIT_US));
    end_one();
}

/* ---- bounds ---- */

Test(grant, what_is_not_told_apart_any_more_is_waited_for_longer)
{
    open_one();
    for (unsigned i = 0; i < 3 * GRANT_GIVEN_MAX; i++) {
        cr_expect(eq(uint, asked_by(2, 1, i + 1, 10 + i), GRANT_GIVEN));
        pass(1 * MS);
        applied(11 + i);
    }
    cr_expect(ge(i64, begins(12, 2), 5000 * MS + 1 * MS + GRANT_WAIT_US));
    cr_expect(eq(i64, begins(11 + 3 * GRANT_GIVEN_MAX, 2), now_us - 1 * MS + GRANT_WAIT_US));
    end_one();
}

Test(grant, too_many_moves_make_it_wait_for_everybody)
{
    open_one();
    for (uint16_t i = 0; i <= GRANT_MOVES_MAX; i++)
        moved((uint16_t)(100 + i), (uint16_t)(200 + i), 20);
    applied(20);
    cr_expect(eq(i64, begins(20, 0), now_us + GRANT_WAIT_US));
    end_one();
}

Test(grant, nodes_that_are_no_more_make_room_when_nothing_of_theirs_can_matter)
{
    open_one();
    for (unsigned i = 0; i < 3 * GRANT_PEERS_MAX; i++) {
        uint16_t node = (uint16_t)(10 + i);
        node_is(node, 1);
        cr_expect(eq(uint, asked_by(node, 1, 1, 10), GRANT_GIVEN));
        node_is(node, 0);
    }
    cr_expect(eq(i64, begins(20, 0), now_us + GRANT_WAIT_US)); /* some had to go early */
    pass(GRANT_WAIT_US + 1);
    cr_expect(eq(i64, begins(20, 10 + 3 * GRANT_PEERS_MAX - 1), now_us - 1));
    end_one();
}

Test(grant, travels_as_octets)
{
    uint8_t room[64];
    struct grant_ask ask = { 7, UINT64_MAX - 1, 9 }, ask_is;
    struct grant_answer answer = { 7, 8, GRANT_STRANGER }, answer_is;
    struct wire_out w = wire_out_over(room, sizeof room);
    grant_put_ask(&w, &ask);
    cr_expect(eq(sz, wire_out_len(&w), GRANT_ASK_BYTES));
    for (size_t n = 0; n < GRANT_ASK_BYTES; n++)
        cr_expect(not(grant_take_ask(slice_of(room, n), &ask_is)));
    cr_expect(grant_take_ask(wire_out_slice(&w), &ask_is));
    cr_expect(ask_is.inc == 7 && ask_is.number == UINT64_MAX - 1 && ask_is.index == 9);
    w = wire_out_over(room, sizeof room);
    grant_put_answer(&w, &answer);
    cr_expect(eq(sz, wire_out_len(&w), GRANT_ANSWER_BYTES));
    for (size_t n = 0; n < GRANT_ANSWER_BYTES; n++)
        cr_expect(not(grant_take_answer(slice_of(room, n), &answer_is)));
    cr_expect(grant_take_answer(wire_out_slice(&w), &answer_is));
    cr_expect(answer_is.inc == 7 && answer_is.number == 8 && answer_is.verdict == GRANT_STRANGER);
    room[GRANT_ANSWER_BYTES - 1] = GRANT_VERDICT_COUNT;
    cr_expect(not(grant_take_answer(wire_out_slice(&w), &answer_is)));
}
