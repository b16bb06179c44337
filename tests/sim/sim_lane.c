#include "sim_lane_inner.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

bool sim_lane_fail(struct lane_world *w, const char *fmt, ...)
{
    va_list args;
    if (w->has_failed)
        return false;
    va_start(args, fmt);
    (void)vsnprintf(w->out->why, sizeof w->out->why, fmt, args);
    va_end(args);
    w->has_failed = true;
    return false;
}

void sim_lane_say(struct lane_world *w, const char *fmt, ...)
{
    char line[200];
    va_list args;
    if (w->trace == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    w->trace(line, w->trace_arg);
}

static uint64_t below(struct lane_world *w, uint64_t bound)
{
    return sim_lane_below(w, bound);
}

/* ---- publishers -------------------------------------------------------------------------------
 */

static struct message *make(struct lane_world *w, unsigned id, bool is_large)
{
    static const uint8_t no_props[] = { 0, 0 };
    struct slice key = slice_of((const uint8_t *)&id, sizeof id);
    struct slice props = slice_of(no_props, sizeof no_props);
    if (!is_large)
        return message_new(slice_str(""), key, props, slice_str("body"), true);
    uint32_t count = (uint32_t)(LANE_LARGE / w->block->len_bytes);
    struct buf **parts = mem_array(count, sizeof *parts);
    for (uint32_t i = 0; i < count; i++)
        parts[i] = buf_ref(w->block);
    return message_new_parts(slice_str(""), key, props, parts, count, LANE_LARGE, true);
}

/* Number 1 and up; a channel's number and its connection are the same. */
static struct port_channel_ref ref_of(unsigned channel)
{
    return (struct port_channel_ref){ .connection = channel + 1, .number = 1 };
}

static void publish(struct lane_world *w)
{
    unsigned c = (unsigned)below(w, LANE_CHANNELS), id = w->message_count;
    if (id == LANE_MESSAGES || w->charged[c] > LANE_WINDOW)
        return;
    struct lane_message *m = &w->messages[w->message_count++];
    struct message *made = make(w, id, below(w, 1000) < w->weights[15]);
    bool waits = c != 0 || below(w, 2) == 0;
    *m = (struct lane_message){ .channel = c,
                                .number = waits ? ++w->numbers[c] : 0,
                                .octets = message_cost_bytes(made) };
    struct port_channel_ref from = ref_of(c);
    unsigned first = (unsigned)below(w, LANE_QUEUES);
    sim_lane_say(w, "channel %u publishes message %u, number %" PRIu64, c, id, m->number);
    for (unsigned i = 0; i < LANE_QUEUES; i++) {
        unsigned q = (first + i) % LANE_QUEUES;
        if (i != 0 && below(w, 4) != 0)
            continue;
        struct message *one = message_ref(made);
        m->at[q].wanted = true;
        m->answers++;
        w->charged[c] += m->octets;
        remote_lane_publish(w->lane, LANE_QID + q, &one, &from, m->number, w->now);
    }
    remote_lane_published(w->lane);
    (void)message_unref(&made);
}

/* ---- what the lane says -----------------------------------------------------------------------
 */

static bool has(const struct lane_era *e, unsigned id)
{
    for (unsigned i = 0; i < e->len; i++)
        if (e->ids[i] == id)
            return true;
    return false;
}

/* Which queue a copy's answer is of nobody says: of as many as are confirmed it must be true. */
static void answer(void *arg, const struct port_channel_ref *from, uint64_t number, bool ok,
                   bool lost)
{
    struct lane_world *w = arg;
    unsigned channel = (unsigned)from->connection - 1;
    (void)lost;
    for (unsigned id = 0; id < w->message_count; id++) {
        struct lane_message *m = &w->messages[id];
        if (m->channel != channel || m->number != number)
            continue;
        if (m->answers == 0)
            (void)sim_lane_fail(w, "message %u is answered once too often", id);
        m->answers -= m->answers != 0;
        m->confirms += ok;
        sim_lane_say(w, "message %u is %s", id, ok ? "confirmed" : "not confirmed");
        return;
    }
    (void)sim_lane_fail(w, "an answer to nothing");
}

static void relieve(void *arg, uint64_t connection, uint64_t octets)
{
    struct lane_world *w = arg;
    if (w->charged[connection - 1] < octets)
        (void)sim_lane_fail(w, "a publisher is relieved of more than it was charged");
    w->charged[connection - 1] -= octets;
}

/* What nobody waits for goes when it is answered, when a copy waited too long (then more is not
 * told), or over the bound; then its masters have read it. */
static void drop(void *arg, struct message **m)
{
    struct lane_world *w = arg;
    const struct lane_message *is = &w->messages[sim_lane_id(*m)];
    bool is_last = message_is_sole(*m);
    for (unsigned q = 0; is_last && q < LANE_QUEUES; q++) {
        if (is->at[q].wanted && is->number == 0 && !is->at[q].read && w->lane != NULL &&
            w->lane->expired == 0 && w->queues[q].deleted_at == 0)
            (void)sim_lane_fail(w, "message %u is forgotten, and its master has not read it",
                                sim_lane_id(*m));
    }
    (void)message_unref(m);
}

static void soon(void *arg)
{
    (void)arg; /* each step ends with it */
}

/* ---- rules ------------------------------------------------------------------------------------
 */

static void check_queue(struct lane_world *w, unsigned q)
{
    const struct lane_era *e = sim_lane_era(w, q);
    unsigned last[LANE_CHANNELS] = { 0 };
    for (unsigned i = 0; i < e->len; i++) {
        const struct lane_message *m = &w->messages[e->ids[i]];
        unsigned *before = &last[m->channel];
        if (e->ids[i] + 1 == *before)
            (void)sim_lane_fail(w, "message %u is in queue %u twice", e->ids[i], q);
        else if (e->ids[i] + 1 < *before)
            (void)sim_lane_fail(w, "message %u is in queue %u behind message %u", e->ids[i], q,
                                *before - 1);
        *before = e->ids[i] + 1;
    }
}

/* So many copies of it were confirmed: in so many queues it is. */
static void check_confirmed(struct lane_world *w, unsigned id)
{
    const struct lane_message *m = &w->messages[id];
    unsigned there = 0;
    for (unsigned q = 0; q < LANE_QUEUES; q++)
        there += m->at[q].wanted && (w->queues[q].deleted_at != 0 || has(sim_lane_era(w, q), id));
    if (there < m->confirms)
        (void)sim_lane_fail(w, "message %u was confirmed by %u queues, and is in %u", id,
                            m->confirms, there);
}

static void check(struct lane_world *w)
{
    for (unsigned q = 0; q < LANE_QUEUES; q++)
        if (w->queues[q].deleted_at == 0)
            check_queue(w, q);
    for (unsigned id = 0; id < w->message_count; id++)
        check_confirmed(w, id);
}

/* Two sides, each with its bound, and what publishers have sent since they were relieved last. */
static void check_bound(struct lane_world *w)
{
    uint64_t slack = LANE_CHANNELS * (LANE_WINDOW + 2 * LANE_QUEUES * LANE_LARGE);
    uint64_t kept = 0;
    for (unsigned i = 0; i < LANE_SIDES; i++)
        kept += w->lane->shares[i].octets;
    if (kept > 2 * LANE_BYTES + slack)
        (void)sim_lane_fail(w, "%" PRIu64 " octets are kept", kept);
}

static void check_end(struct lane_world *w)
{
    if (w->lane->queues.count != 0)
        (void)sim_lane_fail(w, "all is well, and something is kept still");
    for (unsigned id = 0; id < w->message_count; id++) {
        const struct lane_message *m = &w->messages[id];
        if (m->number != 0 && m->answers != 0)
            (void)sim_lane_fail(w, "message %u has no answer", id);
        for (unsigned q = 0; q < LANE_QUEUES; q++) {
            if (m->number == 0 && m->at[q].wanted && !m->at[q].refused && !w->was_full &&
                w->lane->expired == 0 && w->queues[q].deleted_at == 0 &&
                !has(sim_lane_era(w, q), id))
                (void)sim_lane_fail(w, "message %u is lost without need", id);
        }
    }
    for (unsigned c = 0; c < LANE_CHANNELS; c++)
        if (w->charged[c] != 0)
            (void)sim_lane_fail(w, "channel %u is charged still", c);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

enum step_kind {
    STEP_PUBLISH,
    STEP_CARRY,
    STEP_APPLY,
    STEP_HEAR,
    STEP_REPLICATE,
    STEP_SERVE,
    STEP_LEARN,
    STEP_MOVE,
    STEP_KILL,
    STEP_PROMOTE,
    STEP_BREAK,
    STEP_NOTICE,
    STEP_TICK,
    STEP_REFUSE,
    STEP_DELETE,
    STEP_KINDS,
};

static uint16_t any_up(struct lane_world *w)
{
    unsigned n;
    do
        n = (unsigned)below(w, LANE_NODES);
    while (!w->is_up[n]);
    return (uint16_t)n;
}

/* Queues whose master is down, or who have none. */
static void promote(struct lane_world *w, bool at_once)
{
    for (unsigned q = 0; q < LANE_QUEUES; q++) {
        uint16_t node = sim_lane_era(w, q)->node;
        if (node == LANE_NOBODY ? at_once || below(w, 4) == 0 : !w->is_up[node])
            sim_lane_appoint(w, q, at_once || below(w, 3) != 0 ? any_up(w) : LANE_NOBODY);
    }
    for (unsigned n = 1; n < LANE_NODES; n++) {
        w->is_known_down[n] = !w->is_up[n];
        if (at_once || below(w, 2) == 0)
            sim_lane_revive(w, n);
    }
}

static void tick(struct lane_world *w, uint64_t ms)
{
    w->now += ms;
    remote_lane_tick(w->lane, w->now);
}

static void flush(struct lane_world *w)
{
    for (unsigned i = 0; i < LANE_SIDES; i++)
        w->was_full |= remote_lane_is_full(w->lane, (enum lane_side)i);
    remote_lane_flush(w->lane);
}

static enum step_kind choose(struct lane_world *w)
{
    uint64_t sum = 0, at;
    for (unsigned i = 0; i < STEP_KINDS; i++)
        sum += w->weights[i];
    at = below(w, sum);
    for (unsigned i = 0; i < STEP_KINDS; i++) {
        if (at < w->weights[i])
            return (enum step_kind)i;
        at -= w->weights[i];
    }
    UNREACHABLE("step");
}

static void step(struct lane_world *w)
{
    unsigned n = (unsigned)below(w, LANE_NODES), q = (unsigned)below(w, LANE_QUEUES);
    switch (choose(w)) {
    case STEP_PUBLISH:
        publish(w);
        break;
    case STEP_CARRY:
        sim_lane_carry(w, n);
        break;
    case STEP_APPLY:
        sim_lane_apply(w, n);
        break;
    case STEP_HEAR:
        sim_lane_hear(w, n);
        break;
    case STEP_REPLICATE:
        sim_lane_replicate(w, q);
        break;
    case STEP_SERVE:
        sim_lane_serve(w, q);
        break;
    case STEP_LEARN:
        sim_lane_learn(w, n);
        break;
    case STEP_MOVE:
        if (sim_lane_era(w, q)->node != LANE_NOBODY)
            sim_lane_appoint(w, q, any_up(w));
        break;
    case STEP_KILL:
        if (n != 0)
            sim_lane_kill(w, n);
        break;
    case STEP_PROMOTE:
        promote(w, false);
        break;
    case STEP_BREAK:
        if (n != 0)
            sim_lane_break(w, n);
        break;
    case STEP_NOTICE:
        sim_lane_notice(w, n);
        break;
    case STEP_TICK:
        tick(w, below(w, 20) == 0 ? 20000 : 100);
        break;
    case STEP_REFUSE:
        w->queues[q].refuses = w->queues[q].may_refuse && !w->queues[q].refuses;
        break;
    case STEP_DELETE:
        sim_lane_delete(w, q);
        break;
    case STEP_KINDS:
        UNREACHABLE("step");
    }
    flush(w);
    check_bound(w);
}

/* For reigns more, and one for all in the end. */
static bool has_room(const struct lane_world *w)
{
    for (unsigned q = 0; q < LANE_QUEUES; q++)
        if (w->queues[q].era_count + 2 > LANE_ERAS)
            return false;
    return true;
}

static void heal(struct lane_world *w)
{
    sim_lane_say(w, "all is healed");
    for (unsigned q = 0; q < LANE_QUEUES; q++)
        w->queues[q].refuses = false;
    promote(w, true);
    for (unsigned i = 0; i < 200000 && !w->has_failed; i++) {
        for (unsigned n = 0; n < LANE_NODES; n++) {
            sim_lane_notice(w, n);
            sim_lane_learn(w, n);
            sim_lane_carry(w, n);
            sim_lane_apply(w, n);
            sim_lane_hear(w, n);
        }
        for (unsigned q = 0; q < LANE_QUEUES; q++) {
            sim_lane_serve(w, q);
            sim_lane_replicate(w, q);
        }
        if (i % 50 == 0)
            tick(w, 1);
        flush(w);
        if (i % 50 == 1 && w->lane->queues.count == 0 && sim_lane_is_quiet(w))
            return;
    }
}

/* ---- a history --------------------------------------------------------------------------------
 */

static void choose_weights(struct lane_world *w)
{
    static const uint16_t most[STEP_KINDS] = {
        [STEP_PUBLISH] = 60, [STEP_CARRY] = 100,    [STEP_APPLY] = 100, [STEP_HEAR] = 100,
        [STEP_SERVE] = 40,   [STEP_REPLICATE] = 60, [STEP_LEARN] = 60,  [STEP_MOVE] = 8,
        [STEP_KILL] = 4,     [STEP_PROMOTE] = 12,   [STEP_BREAK] = 4,   [STEP_NOTICE] = 20,
        [STEP_TICK] = 20,    [STEP_REFUSE] = 6,     [STEP_DELETE] = 1,
    };
    for (unsigned i = 0; i < STEP_KINDS; i++)
        w->weights[i] = 1 + (unsigned)below(w, most[i]);
    if (below(w, 4) != 0)
        w->weights[STEP_DELETE] = 0;
    w->weights[15] = below(w, 3) == 0 ? 300 : 20; /* large ones, of a thousand */
    for (unsigned q = 0; q < LANE_QUEUES; q++)
        w->queues[q].may_refuse = below(w, 3) == 0;
}

bool sim_lane_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct lane_world *w = mem_zalloc(sizeof *w);
    *out = (struct sim_report){ 0 };
    w->out = out;
    w->trace = trace;
    w->trace_arg = arg;
    rng_init(&w->rng, seed ^ 0x1A9E);
    w->block = buf_new(1 << 20);
    w->block->len_bytes = 1 << 20;
    w->now = 1000;
    struct lane_ops ops = sim_lane_ops_far;
    ops.answer = answer;
    ops.relieve = relieve;
    ops.drop = drop;
    ops.soon = soon;
    choose_weights(w);
    sim_lane_open(w);
    w->lane = remote_lane_new(&ops, w);
    uint64_t steps = 300 + below(w, 4000);
    for (uint64_t i = 0; i < steps && !w->has_failed && has_room(w); i++, out->steps++) {
        step(w);
        if (i % 64 == 0)
            check(w);
    }
    if (!w->has_failed)
        heal(w);
    if (!w->has_failed) {
        check(w);
        check_end(w);
    }
    struct remote_lane *lane = w->lane;
    w->lane = NULL;
    remote_lane_free(&lane);
    sim_lane_close(w);
    buf_unref(&w->block);
    bool ok = !w->has_failed;
    mem_free(w);
    return ok;
}
