/* proxy/leg_map, by a model: random operations on a channel that is spread over several brokers
 * against the same on one broker's channel. Every answer is equal, numbers and order included. */
#include "leg_map.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "leg_map_kit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- brokers' channels over the same queues ---------------------------------------------------
 */

#define QUEUES    4u
#define NODES     3u
#define MESSAGES  400u
#define CONSUMERS 16u
#define UNACKED   400u
#define OUT_MAX   4096u
#define LINES_MAX 8192u

/* A queue is shown by that many of these, where its exchange would stand. */
#define QUEUE_MARKS "####"

struct consumer {
    char tag[16];
    unsigned queue;
    bool no_ack;
    unsigned prefetch, held;
    unsigned since; /* the first has the first message */
};

struct unacked {
    uint64_t tag; /* 0: none */
    unsigned queue, id;
    unsigned since; /* its consumer's; 0: a get */
    bool in_tx, requeue;
};

struct bchan {
    uint64_t next_tag;
    unsigned prefetch;
    bool tx;
    struct consumer consumers[CONSUMERS];
    unsigned consumer_count;
    struct unacked unacked[UNACKED];
};

struct out {
    unsigned leg;
    struct bytes payload;
};

struct world {
    bool ready[QUEUES][MESSAGES]; /* by id, which is the order in the queue */
    bool redelivered[QUEUES][MESSAGES];
    unsigned next_id[QUEUES];
    unsigned made_up, consumes;
    struct bchan chans[NODES];
    struct leg_map *map; /* NULL: one broker */
    int leg_at[NODES];   /* -1: none */
    unsigned node_of[QUEUES];
    struct out *outs; /* from brokers, not heard yet */
    unsigned out_first, out_last;
    char (*lines)[96]; /* what the client has heard */
    unsigned line_count;
    uint64_t seen; /* the highest delivery tag that the client has */
    bool over;
};

static void line(struct world *w, const char *text)
{
    cr_assert(w->line_count < LINES_MAX);
    snprintf(w->lines[w->line_count++], sizeof w->lines[0], "%s", text);
}

static void emit(struct world *w, unsigned leg, const struct amqp_method *m)
{
    cr_assert(w->out_last < OUT_MAX);
    w->outs[w->out_last++] = (struct out){ leg, encode(m) };
}

static void emit_bare(struct world *w, unsigned leg, enum amqp_method_id id)
{
    emit(w, leg, &(struct amqp_method){ .id = id });
}

static void end_channel(struct world *w, const char *why)
{
    if (!w->over)
        line(w, why);
    w->over = true;
}

static void give_back(struct world *w, struct bchan *b, struct unacked *u, bool requeue)
{
    for (unsigned i = 0; i < b->consumer_count; i++) {
        struct consumer *c = &b->consumers[i];
        c->held -= c->since == u->since && u->since != 0;
    }
    if (requeue) {
        w->ready[u->queue][u->id] = true;
        w->redelivered[u->queue][u->id] = true;
    }
    u->tag = 0;
}

static void b_settle(struct world *w, struct bchan *b, uint64_t tag, bool multiple, bool requeue)
{
    bool found = tag == 0 && multiple;
    for (unsigned i = 0; i < UNACKED; i++)
        found |= tag != 0 && b->unacked[i].tag == tag && !b->unacked[i].in_tx;
    if (!found) {
        char why[64];
        snprintf(why, sizeof why, "close 406 unknown delivery tag %" PRIu64, tag);
        end_channel(w, why);
        return;
    }
    for (unsigned i = 0; i < UNACKED; i++) {
        struct unacked *u = &b->unacked[i];
        if (u->tag == 0 || u->in_tx || (multiple ? tag != 0 && u->tag > tag : u->tag != tag))
            continue;
        u->in_tx = b->tx;
        u->requeue = requeue;
        if (!b->tx)
            give_back(w, b, u, requeue);
    }
}

static void b_end_tx(struct world *w, struct bchan *b, bool commit)
{
    for (unsigned i = 0; i < UNACKED; i++) {
        struct unacked *u = &b->unacked[i];
        if (u->tag == 0 || !u->in_tx)
            continue;
        u->in_tx = false;
        if (commit)
            give_back(w, b, u, u->requeue);
    }
}

static uint64_t b_take(struct world *w, struct bchan *b, unsigned queue, unsigned id,
                       unsigned since, bool no_ack)
{
    uint64_t tag = ++b->next_tag;
    w->ready[queue][id] = false;
    for (unsigned i = 0; !no_ack && i < UNACKED; i++) {
        struct unacked *u = &b->unacked[i];
        if (u->tag != 0)
            continue;
        *u = (struct unacked){ .tag = tag, .queue = queue, .id = id, .since = since };
        return tag;
    }
    cr_assert(no_ack);
    return tag;
}

static int next_ready(const struct world *w, unsigned queue)
{
    for (unsigned id = 0; id < w->next_id[queue]; id++) {
        if (w->ready[queue][id])
            return (int)id;
    }
    return -1;
}

static void b_get(struct world *w, unsigned leg, unsigned queue, bool no_ack)
{
    int id = next_ready(w, queue);
    if (id < 0) {
        emit_bare(w, leg, AMQP_BASIC_GET_EMPTY);
        return;
    }
    char name[16];
    snprintf(name, sizeof name, "%d", id);
    struct amqp_method m = { .id = AMQP_BASIC_GET_OK };
    m.basic_get_ok.redelivered = w->redelivered[queue][id];
    m.basic_get_ok.delivery_tag = b_take(w, &w->chans[leg], queue, (unsigned)id, 0, no_ack);
    m.basic_get_ok.exchange = slice_of(QUEUE_MARKS, queue);
    m.basic_get_ok.routing_key = slice_str(name);
    emit(w, leg, &m);
}

/* One message of the queue to its oldest consumer that has room, whatever channel it is on. True:
 * there was one. */
static bool feed(struct world *w, unsigned queue)
{
    int id = next_ready(w, queue);
    struct consumer *to = NULL;
    unsigned at = 0;
    for (unsigned i = 0; id >= 0 && i < NODES * CONSUMERS; i++) {
        struct bchan *b = &w->chans[i / CONSUMERS];
        struct consumer *c = &b->consumers[i % CONSUMERS];
        if (i % CONSUMERS >= b->consumer_count || c->queue != queue ||
            (!c->no_ack && c->prefetch != 0 && c->held >= c->prefetch) ||
            (to != NULL && to->since < c->since))
            continue;
        to = c;
        at = i / CONSUMERS;
    }
    if (to == NULL)
        return false;
    char name[16];
    snprintf(name, sizeof name, "%d", id);
    struct amqp_method m = { .id = AMQP_BASIC_DELIVER };
    m.basic_deliver.consumer_tag = slice_str(to->tag);
    m.basic_deliver.redelivered = w->redelivered[queue][id];
    m.basic_deliver.delivery_tag =
        b_take(w, &w->chans[at], queue, (unsigned)id, to->since, to->no_ack);
    m.basic_deliver.exchange = slice_of(QUEUE_MARKS, queue);
    m.basic_deliver.routing_key = slice_str(name);
    to->held += !to->no_ack;
    emit(w, at, &m);
    return true;
}

static void b_consume(struct world *w, unsigned leg, const struct amqp_basic_consume *q)
{
    struct bchan *b = &w->chans[leg];
    char tag[16];
    if (q->consumer_tag.len == 0)
        snprintf(tag, sizeof tag, "made-up-%u", w->made_up++);
    else
        snprintf(tag, sizeof tag, "%.*s", SLICE_ARG(q->consumer_tag));
    for (unsigned i = 0; i < b->consumer_count; i++) {
        if (strcmp(b->consumers[i].tag, tag) == 0) {
            end_channel(w, "close 530");
            return;
        }
    }
    cr_assert(b->consumer_count < CONSUMERS);
    struct consumer *c = &b->consumers[b->consumer_count++];
    *c = (struct consumer){ .queue = q->queue.ptr[0] - '0',
                            .no_ack = q->no_ack,
                            .prefetch = b->prefetch,
                            .since = ++w->consumes };
    snprintf(c->tag, sizeof c->tag, "%s", tag);
    if (q->nowait)
        return;
    struct amqp_method ok = { .id = AMQP_BASIC_CONSUME_OK };
    ok.basic_consume_ok.consumer_tag = slice_str(tag);
    emit(w, leg, &ok);
}

static void b_cancel(struct world *w, unsigned leg, const struct amqp_basic_cancel *q)
{
    struct bchan *b = &w->chans[leg];
    for (unsigned i = 0; i < b->consumer_count; i++) {
        if (slice_is(q->consumer_tag, b->consumers[i].tag)) {
            memmove(&b->consumers[i], &b->consumers[i + 1],
                    (b->consumer_count - i - 1) * sizeof b->consumers[0]);
            b->consumer_count--;
            break;
        }
    }
    if (q->nowait)
        return;
    struct amqp_method ok = { .id = AMQP_BASIC_CANCEL_OK };
    ok.basic_cancel_ok.consumer_tag = q->consumer_tag;
    emit(w, leg, &ok);
}

/* A broker's channel takes a method. */
static void b_apply(struct world *w, unsigned leg, struct slice payload)
{
    struct bchan *b = &w->chans[leg];
    struct amqp_method m;
    cr_assert(eq(int, amqp_method_decode(payload, &m), AMQP_DECODE_OK));
    switch ((uint32_t)m.id) {
    case AMQP_BASIC_ACK:
        b_settle(w, b, m.basic_ack.delivery_tag, m.basic_ack.multiple, false);
        return;
    case AMQP_BASIC_NACK:
        b_settle(w, b, m.basic_nack.delivery_tag, m.basic_nack.multiple, m.basic_nack.requeue);
        return;
    case AMQP_BASIC_REJECT:
        b_settle(w, b, m.basic_reject.delivery_tag, false, m.basic_reject.requeue);
        return;
    case AMQP_BASIC_RECOVER:
    case AMQP_BASIC_RECOVER_ASYNC:
        for (unsigned i = 0; i < UNACKED; i++) {
            if (b->unacked[i].tag != 0 && !b->unacked[i].in_tx)
                give_back(w, b, &b->unacked[i], true);
        }
        if (m.id == AMQP_BASIC_RECOVER)
            emit_bare(w, leg, AMQP_BASIC_RECOVER_OK);
        return;
    case AMQP_BASIC_QOS:
        b->prefetch = m.basic_qos.prefetch_count;
        emit_bare(w, leg, AMQP_BASIC_QOS_OK);
        return;
    case AMQP_BASIC_CONSUME:
        b_consume(w, leg, &m.basic_consume);
        return;
    case AMQP_BASIC_CANCEL:
        b_cancel(w, leg, &m.basic_cancel);
        return;
    case AMQP_BASIC_GET:
        b_get(w, leg, m.basic_get.queue.ptr[0] - '0', m.basic_get.no_ack);
        return;
    case AMQP_TX_SELECT:
        b->tx = true;
        emit_bare(w, leg, AMQP_TX_SELECT_OK);
        return;
    case AMQP_TX_COMMIT:
    case AMQP_TX_ROLLBACK:
        b_end_tx(w, b, m.id == AMQP_TX_COMMIT);
        emit_bare(w, leg, m.id == AMQP_TX_COMMIT ? AMQP_TX_COMMIT_OK : AMQP_TX_ROLLBACK_OK);
        return;
    default:
        cr_assert(false, "the model does not say %s", amqp_method_name(m.id));
    }
}

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
    line(w, room);
    return true;
}

static void hear(struct world *w, unsigned count)
{
    while (count > 0 && w->out_first < w->out_last)
        count -= hear_one(w);
    if (w->out_first == w->out_last)
        w->out_first = w->out_last = 0;
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
        b_apply(w, 0, view(&b));
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
        b_apply(w, out.to, view(&b));
        return;
    case LEG_MAP_ALL:
        for (unsigned leg = 0; leg < leg_map_count(w->map); leg++)
            b_apply(w, leg, view(&b));
        return;
    case LEG_MAP_SAY:
        other = encode(&out.method);
        for (unsigned leg = 0; leg < leg_map_count(w->map); leg++) {
            if (out.to == leg || out.to == LEG_MAP_TO_ALL)
                b_apply(w, leg, view(&other));
        }
        return;
    case LEG_MAP_SETTLE:
        for (unsigned i = 0; i < out.settle_count; i++) {
            other = encode(&out.settle[i].method);
            b_apply(w, out.settle[i].leg, view(&other));
        }
        return;
    case LEG_MAP_WAIT:
        cr_assert(false, "it waits for nothing");
        return;
    case LEG_MAP_REFUSE: {
        char why[96];
        snprintf(why, sizeof why, "close %d %s", (int)out.code, out.text);
        end_channel(w, why);
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
        w->map = leg_map_new(0);
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
    unsigned legs_seen;
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

static const char *const queue_names[QUEUES] = { "0", "1", "2", "3" };
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
        cr_assert(eq(int, feed(r->both[0], queue), feed(r->both[1], queue)));
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

static unsigned run_seed(uint64_t seed)
{
    struct run r = { .legs_seen = 0 };
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
    for (uint64_t seed = first; seed < first + count; seed++)
        with_legs[run_seed(seed)]++;
    cr_expect(chosen != NULL || with_legs[1] + with_legs[2] < count / 2, "%u have one leg, %u two",
              with_legs[1], with_legs[2]);
}
