#include "leg_map_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void world_line(struct world *w, const char *text)
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

void world_end_channel(struct world *w, const char *why)
{
    if (!w->over)
        world_line(w, why);
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
        world_end_channel(w, why);
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

bool world_feed(struct world *w, unsigned queue)
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

void world_b_consume(struct world *w, unsigned leg, const struct amqp_basic_consume *q)
{
    struct bchan *b = &w->chans[leg];
    char tag[16];
    if (q->consumer_tag.len == 0)
        snprintf(tag, sizeof tag, "made-up-%u", w->made_up++);
    else
        snprintf(tag, sizeof tag, "%.*s", SLICE_ARG(q->consumer_tag));
    for (unsigned i = 0; i < b->consumer_count; i++) {
        if (strcmp(b->consumers[i].tag, tag) == 0) {
            world_end_channel(w, "close 530");
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

void world_b_apply(struct world *w, unsigned leg, struct slice payload)
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
        world_b_consume(w, leg, &m.basic_consume);
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
