/* proxy/leg_map, by a model: random operations on a channel that is spread over several brokers
 * against the same on one broker's channel. Every answer is equal, numbers and order included, also
 * when brokers crash on which nothing was in flight, and when consumers follow their queues. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "leg_map_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the client and what is between ---------------------------------------------------------- */

/* The next word of a broker's. True: the client has heard something. */
static bool hear_one(struct world *w)
{
    struct out *o = &w->outs[w->out_first++];
    uint64_t tag;
    size_t tag_at;
    if (w->map != NULL && !leg_map_is_fixed(w->map)) {
        enum leg_map_heard h = leg_map_broker(w->map, o->leg, view(&o->payload), &tag, &tag_at);
        cr_assert(h != LEG_MAP_BURST);
        if (h == LEG_MAP_SILENCE)
            return false;
        for (unsigned i = 0; h == LEG_MAP_NUMBER && i < 8; i++)
            o->payload.room[tag_at + i] = (uint8_t)(tag >> (56 - 8 * i));
    }
    struct amqp_method m;
    char room[96];
    struct text t = text_over(room, sizeof room);
    cr_assert(eq(int, amqp_method_decode(view(&o->payload), &m), AMQP_DECODE_OK));
    text_put(&t, "%s", amqp_method_name(m.id));
    if (m.id == AMQP_BASIC_DELIVER) {
        w->seen = m.basic_deliver.delivery_tag;
        text_put(&t, " %" PRIu64 " to %.*s of %zu: %.*s%s", w->seen,
                 SLICE_ARG(m.basic_deliver.consumer_tag), m.basic_deliver.exchange.len,
                 SLICE_ARG(m.basic_deliver.routing_key),
                 m.basic_deliver.redelivered ? " again" : "");
    } else if (m.id == AMQP_BASIC_GET_OK) {
        w->seen = m.basic_get_ok.delivery_tag;
        text_put(&t, " %" PRIu64 " of %zu: %.*s%s", w->seen, m.basic_get_ok.exchange.len,
                 SLICE_ARG(m.basic_get_ok.routing_key), m.basic_get_ok.redelivered ? " again" : "");
    } else if (m.id == AMQP_BASIC_CONSUME_OK || m.id == AMQP_BASIC_CANCEL_OK) { /* one shape */
        text_put(&t, " %.*s", SLICE_ARG(m.basic_consume_ok.consumer_tag));
    }
    world_line(w, room);
    return true;
}

static void hear(struct world *w, unsigned count)
{
    while (count > 0 && w->out_first < w->out_last)
        count -= hear_one(w);
    if (w->out_first == w->out_last)
        w->out_first = w->out_last = 0;
}

static bool has_leg(const struct world *w, unsigned leg)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (w->leg_at[i] == (int)leg)
            return true;
    }
    return false;
}

static unsigned wish_of(struct world *w, int queue)
{
    if (queue < 0)
        return LEG_MAP_MAIN;
    unsigned node = w->node_of[queue];
    if (w->leg_at[node] < 0 && leg_map_may_add(w->map)) {
        w->leg_at[node] = (int)leg_map_add(w->map);
        w->chans[w->leg_at[node]].prefetch = w->chans[0].prefetch;
    }
    return w->leg_at[node] >= 0 ? (unsigned)w->leg_at[node] : LEG_MAP_MAIN;
}

static void tell(struct world *w, const struct amqp_method *m, int queue)
{
    struct bytes b = encode(m);
    struct leg_map_said out;
    if (w->map == NULL || leg_map_is_fixed(w->map)) {
        world_b_apply(w, 0, view(&b));
        return;
    }
    leg_map_client(w->map, view(&b), wish_of(w, queue), &out);
    if (out.verdict == LEG_MAP_WAIT) {
        hear(w, UINT32_MAX);
        leg_map_client(w->map, view(&b), wish_of(w, queue), &out);
    }
    leg_map_check(w->map);
    struct bytes other;
    switch (out.verdict) {
    case LEG_MAP_PASS:
        world_b_apply(w, out.to, view(&b));
        return;
    case LEG_MAP_ALL:
        for (unsigned leg = 0; leg < leg_map_count(w->map); leg++) {
            if (has_leg(w, leg))
                world_b_apply(w, leg, view(&b));
        }
        return;
    case LEG_MAP_SAY:
        other = encode(&out.method);
        for (unsigned leg = 0; leg < leg_map_count(w->map); leg++) {
            if (out.to == leg || (out.to == LEG_MAP_TO_ALL && has_leg(w, leg)))
                world_b_apply(w, leg, view(&other));
        }
        return;
    case LEG_MAP_SETTLE:
        for (unsigned i = 0; i < out.settle_count; i++) {
            other = encode(&out.settle[i].method);
            world_b_apply(w, out.settle[i].leg, view(&other));
        }
        return;
    case LEG_MAP_WAIT:
        cr_assert(false, "it waits for nothing");
        return;
    case LEG_MAP_CANCELLED:
    case LEG_MAP_NOTHING:
        cr_assert(false, "nobody is astray");
        return;
    case LEG_MAP_REFUSE: {
        char why[96];
        snprintf(why, sizeof why, "close %d %s", (int)out.code, out.text);
        world_end_channel(w, why);
        return;
    }
    }
}

static struct world *world_new(bool spread, const unsigned *node_of)
{
    struct world *w = mem_zalloc(sizeof *w);
    w->outs = mem_array(OUT_MAX, sizeof *w->outs);
    w->lines = mem_array(LINES_MAX, sizeof *w->lines);
    memcpy(w->node_of, node_of, sizeof w->node_of);
    for (unsigned i = 0; i < NODES; i++)
        w->leg_at[i] = i == 0 ? 0 : -1;
    if (spread)
        w->map = leg_map_new(0, 0);
    return w;
}

static void world_free(struct world *w)
{
    leg_map_free(&w->map);
    mem_free(w->outs);
    mem_free(w->lines);
    mem_free(w);
}

struct run {
    struct world *both[2];
    struct rng rng;
    unsigned crashes, moves;
};

static uint64_t chance(struct run *r, uint64_t n)
{
    return rng_below(&r->rng, n);
}

static void both_tell(struct run *r, const struct amqp_method *m, int queue)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!r->both[i]->over)
            tell(r->both[i], m, queue);
    }
}

static void both_hear(struct run *r, unsigned count)
{
    for (unsigned i = 0; i < 2; i++)
        hear(r->both[i], count);
}

static const char *const queue_names[QUEUES] = { "0", "1", "2", "3", "4", "5", "6" };
static const char *const tags[] = { "", "x", "y", "z", "u", "v" };

/* A tag that the client has seen in both worlds; seldom one that is wrong. */
static uint64_t some_tag(struct run *r)
{
    uint64_t seen = r->both[0]->seen < r->both[1]->seen ? r->both[0]->seen : r->both[1]->seen;
    if (chance(r, 200) == 0)
        return chance(r, 3) != 0 ? seen : r->both[0]->chans[0].next_tag + 1 + chance(r, 3);
    /* One that is outstanding, so that a run lasts. */
    const struct bchan *b = &r->both[0]->chans[0];
    uint64_t from = chance(r, UNACKED);
    for (unsigned i = 0; i < UNACKED; i++) {
        const struct unacked *u = &b->unacked[(from + i) % UNACKED];
        if (u->tag != 0 && u->tag <= seen && !u->in_tx)
            return u->tag;
    }
    return 0;
}

static void step_settle(struct run *r)
{
    struct amqp_method m = { .id = AMQP_BASIC_ACK };
    uint64_t tag = some_tag(r);
    bool multiple = chance(r, 3) == 0;
    if (chance(r, 10) == 0 || tag == 0) { /* all that there is: brokers mean more than was heard */
        both_hear(r, UINT32_MAX);
        tag = 0;
        multiple = true;
    }
    unsigned how = (unsigned)chance(r, 4);
    if (how == 0) {
        m.id = AMQP_BASIC_NACK;
        m.basic_nack.delivery_tag = tag;
        m.basic_nack.multiple = multiple;
        m.basic_nack.requeue = chance(r, 2) == 0;
    } else if (how == 1 && tag != 0) {
        m.id = AMQP_BASIC_REJECT;
        m.basic_reject.delivery_tag = tag;
        m.basic_reject.requeue = chance(r, 2) == 0;
    } else {
        m.basic_ack.delivery_tag = tag;
        m.basic_ack.multiple = multiple;
    }
    both_tell(r, &m, -1);
}

static void step_consume(struct run *r)
{
    struct amqp_method m = { .id = AMQP_BASIC_CONSUME };
    unsigned queue = (unsigned)chance(r, QUEUES);
    if (r->both[0]->chans[0].consumer_count >= CONSUMERS / 2)
        return;
    const char *tag = tags[chance(r, sizeof tags / sizeof tags[0])];
    for (unsigned i = 0; i < r->both[0]->chans[0].consumer_count; i++) {
        if (strcmp(r->both[0]->chans[0].consumers[i].tag, tag) == 0 && chance(r, 60) != 0)
            return;
    }
    m.basic_consume.queue = slice_str(queue_names[queue]);
    m.basic_consume.consumer_tag = slice_str(tag);
    m.basic_consume.no_ack = chance(r, 4) == 0;
    m.basic_consume.nowait = chance(r, 20) == 0;
    if (chance(r, 3) != 0)
        both_hear(r, UINT32_MAX); /* so that a leg may be added */
    both_tell(r, &m, (int)queue);
}

static void step_cancel(struct run *r)
{
    struct amqp_method m = { .id = AMQP_BASIC_CANCEL };
    const struct bchan *b = &r->both[0]->chans[0];
    char tag[16] = "nobody";
    if (b->consumer_count != 0)
        snprintf(tag, sizeof tag, "%s", b->consumers[chance(r, b->consumer_count)].tag);
    if (strncmp(tag, "made", 4) == 0)
        both_hear(r, UINT32_MAX); /* else the client does not know it */
    m.basic_cancel.consumer_tag = slice_str(tag);
    m.basic_cancel.nowait = chance(r, 6) == 0;
    both_tell(r, &m, -1);
}

static void step_rare(struct run *r)
{
    struct amqp_method m = { .id = AMQP_BASIC_RECOVER };
    bool tx = r->both[0]->chans[0].tx;
    switch (chance(r, 8)) {
    case 0:
        if (chance(r, 8) == 0)
            m.id = AMQP_TX_SELECT;
        break;
    case 1:
    case 2:
        if (tx)
            m.id = chance(r, 2) == 0 ? AMQP_TX_COMMIT : AMQP_TX_ROLLBACK;
        break;
    case 3:
    case 4:
        m.id = AMQP_BASIC_QOS;
        m.basic_qos.prefetch_count = (uint16_t)chance(r, 6);
        break;
    case 5:
        m.id = chance(r, 16) == 0 ? AMQP_BASIC_RECOVER_ASYNC : AMQP_BASIC_RECOVER;
        m.basic_recover.requeue = true;
        break;
    default:
        return;
    }
    both_tell(r, &m, -1);
}

static void step_get(struct run *r)
{
    struct amqp_method m = { .id = AMQP_BASIC_GET };
    unsigned queue = (unsigned)chance(r, QUEUES);
    m.basic_get.queue = slice_str(queue_names[queue]);
    m.basic_get.no_ack = chance(r, 3) == 0;
    both_tell(r, &m, (int)queue);
}

/* The main leg is gone: another takes its place, or one that is new, at a node that is up. */
static void replace_main(struct world *w, unsigned down, uint16_t prefetch)
{
    for (unsigned node = 0; node < NODES; node++) {
        int leg = w->leg_at[node];
        if (leg < 0)
            continue;
        leg_map_promote(w->map, (unsigned)leg);
        w->chans[LEG_MAP_MAIN] = w->chans[leg];
        w->chans[leg] = (struct bchan){ 0 };
        w->leg_at[node] = LEG_MAP_MAIN;
        return;
    }
    leg_map_restore(w->map);
    w->chans[LEG_MAP_MAIN].prefetch = prefetch;
    w->leg_at[(down + 1) % NODES] = LEG_MAP_MAIN;
}

/* Subscribed again, as it was, at the node that has its queue now. */
static void say_again(struct world *w, struct leg_consumer *astray, unsigned since)
{
    struct amqp_basic_consume q = leg_consumer_method(astray);
    unsigned leg = wish_of(w, q.queue.ptr[0] - '0');
    struct bchan *b = &w->chans[leg];
    unsigned prefetch = b->prefetch;
    leg_map_say_again(w->map, astray, leg, astray->prefetch);
    b->prefetch = astray->prefetch;
    world_b_consume(w, leg, &q);
    b->prefetch = prefetch;
    b->consumers[b->consumer_count - 1].since = since;
    hear(w, UINT32_MAX);
}

/* A node crashes on which nothing is in flight: its queues and consumers go to others. */
static void step_crash(struct run *r)
{
    struct world *w = r->both[1];
    unsigned node = (unsigned)chance(r, NODES);
    both_hear(r, UINT32_MAX);
    int leg = w->leg_at[node];
    if (leg < 0 || leg_map_is_fixed(w->map) || !leg_map_can_lose(w->map, (unsigned)leg))
        return;
    struct bchan was = w->chans[leg];
    for (unsigned i = 0; i < UNACKED; i++)
        cr_assert(eq(u64, was.unacked[i].tag, 0));
    leg_map_lose(w->map, (unsigned)leg);
    w->chans[leg] = (struct bchan){ 0 };
    w->leg_at[node] = -1;
    r->crashes++;
    for (unsigned q = 0; q < QUEUES; q++) {
        if (w->node_of[q] == node)
            w->node_of[q] = (node + 1 + (unsigned)chance(r, NODES - 1)) % NODES;
    }
    if (leg == LEG_MAP_MAIN)
        replace_main(w, node, (uint16_t)was.prefetch);
    leg_map_check(w->map);
    for (unsigned i = 0; i < was.consumer_count; i++) {
        struct leg_consumer *astray = leg_map_astray(w->map, NULL);
        while (!slice_is(leg_consumer_tag(astray), was.consumers[i].tag))
            astray = leg_map_astray(w->map, astray);
        say_again(w, astray, was.consumers[i].since);
    }
    cr_assert(eq(u32, leg_map_astray_count(w->map), 0));
    leg_map_check(w->map);
}

/* A queue is moved to another node, and one of its consumers goes after it. With less than its
 * limit it would get its messages later than from one broker: so that is left to other tests. */
static void step_move(struct run *r)
{
    struct world *w = r->both[1];
    both_hear(r, UINT32_MAX);
    if (leg_map_is_fixed(w->map))
        return;
    struct leg_consumer *c = leg_map_consumer(w->map, NULL);
    for (uint64_t n = chance(r, 4); n > 0 && c != NULL && c->next != NULL; n--)
        c = c->next;
    if (c == NULL || !leg_map_may_take_off(w->map, c) ||
        (c->prefetch != 0 && leg_map_held(w->map, c) != 0))
        return;
    unsigned queue = leg_consumer_queue(c).ptr[0] - (unsigned)'0', since = 0;
    struct bchan *b = &w->chans[c->leg];
    for (unsigned i = 0; i < b->consumer_count; i++) {
        if (slice_is(leg_consumer_tag(c), b->consumers[i].tag))
            since = b->consumers[i].since;
    }
    w->node_of[queue] = (unsigned)chance(r, NODES);
    struct amqp_method m = { .id = AMQP_BASIC_CANCEL };
    m.basic_cancel.consumer_tag = leg_consumer_tag(c);
    struct bytes word = encode(&m);
    unsigned from = c->leg;
    leg_map_take_off(w->map, c);
    leg_map_check(w->map);
    world_b_apply(w, from, view(&word));
    unsigned lines = w->line_count;
    hear(w, UINT32_MAX);
    cr_assert(eq(u32, w->line_count, lines), "the client hears nothing of it");
    cr_assert(leg_map_astray(w->map, NULL) == c);
    say_again(w, c, since);
    leg_map_check(w->map);
    r->moves++;
}

static void step_message(struct run *r)
{
    unsigned queue = (unsigned)chance(r, QUEUES);
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = r->both[i];
        if (w->next_id[queue] < MESSAGES)
            w->ready[queue][w->next_id[queue]++] = true;
    }
}

static void step(struct run *r)
{
    unsigned queue;
    switch (chance(r, 16)) {
    case 0:
        step_consume(r);
        return;
    case 1:
        if (chance(r, 2) == 0)
            step_cancel(r);
        return;
    case 2:
        step_get(r);
        return;
    case 3:
        if (chance(r, 8) == 0)
            step_crash(r);
        else if (chance(r, 4) == 0)
            step_move(r);
        else
            step_rare(r);
        return;
    case 4:
    case 5:
    case 6:
        step_settle(r);
        return;
    case 7:
    case 8:
    case 9:
        step_message(r);
        return;
    case 10:
        both_hear(r, (unsigned)chance(r, 6));
        return;
    default:
        queue = (unsigned)chance(r, QUEUES);
        cr_assert(eq(int, world_feed(r->both[0], queue), world_feed(r->both[1], queue)));
    }
}

/* True when they have heard the same so far, and at the end in all. */
static void compare(const struct run *r, uint64_t seed, bool at_end)
{
    const struct world *a = r->both[0], *b = r->both[1];
    unsigned count = a->line_count < b->line_count ? a->line_count : b->line_count;
    for (unsigned i = 0; i < count; i++)
        cr_assert(strcmp(a->lines[i], b->lines[i]) == 0,
                  "seed %" PRIu64 " line %u: one broker: %s; several: %s", seed, i, a->lines[i],
                  b->lines[i]);
    cr_assert(at_end ? a->line_count == b->line_count : true, "seed %" PRIu64 ": %u lines, %u",
              seed, a->line_count, b->line_count);
    cr_assert(eq(int, a->over, b->over), "seed %" PRIu64, seed);
}

static const char *last_line(const struct world *w)
{
    return w->line_count != 0 ? w->lines[w->line_count - 1] : "nothing";
}

static unsigned run_seed(uint64_t seed, unsigned *crashes, unsigned *moves)
{
    struct run r = { .crashes = 0 };
    unsigned node_of[QUEUES];
    rng_init(&r.rng, seed);
    for (unsigned i = 0; i < QUEUES; i++)
        node_of[i] = (unsigned)(i + seed) % NODES;
    for (unsigned i = 0; i < 2; i++)
        r.both[i] = world_new(i == 1, node_of);
    for (unsigned n = 0; n < 1500 && !r.both[0]->over && !r.both[1]->over; n++) {
        step(&r);
        if (r.both[0]->over || r.both[1]->over) /* what comes behind a close is no matter */
            break;
        if (n % 64 == 0)
            compare(&r, seed, false);
    }
    if (!r.both[0]->over && !r.both[1]->over)
        both_hear(&r, UINT32_MAX);
    cr_assert(eq(int, r.both[0]->over, r.both[1]->over),
              "seed %" PRIu64 ": one broker: %s; several: %s", seed, last_line(r.both[0]),
              last_line(r.both[1]));
    if (r.both[0]->over)
        expect_text(last_line(r.both[1]), last_line(r.both[0]));
    else
        compare(&r, seed, true);
    unsigned legs = leg_map_count(r.both[1]->map);
    *crashes += r.crashes;
    *moves += r.moves;
    world_free(r.both[0]);
    world_free(r.both[1]);
    return legs;
}

Test(leg_map_model, a_spread_channel_answers_as_one_broker_s, .timeout = 300)
{
    const char *chosen = getenv("SIM_SEED");
    uint64_t first = chosen != NULL ? strtoull(chosen, NULL, 10) : 1;
    uint64_t count = chosen != NULL ? 1 : 600;
    unsigned with_legs[LEG_MAP_LEGS_MAX + 1] = { 0 };
    unsigned crashes = 0, moves = 0;
    for (uint64_t seed = first; seed < first + count; seed++)
        with_legs[run_seed(seed, &crashes, &moves)]++;
    cr_expect(chosen != NULL || with_legs[1] + with_legs[2] < count / 2, "%u have one leg, %u two",
              with_legs[1], with_legs[2]);
    cr_expect(chosen != NULL || crashes > count, "%u crashes", crashes);
    cr_expect(chosen != NULL || moves > count, "%u moves", moves);
}
