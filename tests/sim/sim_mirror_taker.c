/* Those who take what masters hand out: channel_carry.c and channel_claim.c in small. Each lives
 * beside the nodes and has a session with each of them. */
#include "base/check.h"
#include "base/mem.h"
#include "sim_mirror_inner.h"

static unsigned queue_at(const struct smr *w, const struct smr_taker *t)
{
    return (unsigned)(t - &w->takers[0][0]) / SMR_TAKERS;
}

static void say(struct smr *w, struct smr_taker *t, unsigned node, struct smr_word said)
{
    said.queue = (uint8_t)queue_at(w, t);
    said.taker = (uint8_t)(t - w->takers[said.queue]);
    smr_line_push(&t->to[node], &said, sizeof said);
}

void smr_taker_hear(struct smr_node *n, unsigned taker, const struct smr_word *said)
{
    smr_line_push(&n->world->takers[said->queue][taker].from[n->number], said, sizeof *said);
}

/* With what it has, to whom it thinks is the master. */
static void ask(struct smr *w, struct smr_taker *t)
{
    struct smr_word said = { .op = SMR_SUBSCRIBE, .sub = t->sub, .count = t->count };
    t->is_asking = true;
    t->is_due = false;
    t->node = w->log[t->view].queues[queue_at(w, t)].master;
    for (unsigned i = 0; i < t->count; i++)
        said.claims[i] = t->taken[i].position;
    say(w, t, t->node, said);
}

/* By another name: what a former master sends still is for nobody. */
static void ask_anew(struct smr *w, struct smr_taker *t)
{
    t->sub = ++w->last_sub;
    ask(w, t);
}

/* That the queue has moved it hears of the master that was, or its session ends. */
static void look(struct smr *w, struct smr_taker *t)
{
    if (t->view + 1 != w->log_count)
        t->view += 1 + (size_t)smr_below(w, w->log_count - 1 - t->view);
    if (t->sub == 0)
        ask_anew(w, t);
    else if (t->is_due)
        ask(w, t);
}

/* ---- what it is told ---- */

static struct smr_fate *fate_of(struct smr *w, struct smr_msg m)
{
    return &w->producers[m.pid].publishes[m.seq].fate;
}

static void lose(struct smr *w, struct smr_taker *t, unsigned index)
{
    fate_of(w, t->taken[index].msg)->kept &= (uint8_t) ~(1u << queue_at(w, t));
    t->taken[index] = t->taken[--t->count];
}

static void settle(struct smr *w, struct smr_taker *t, const struct smr_taken *it)
{
    say(w, t, t->node,
        (struct smr_word){ .op = SMR_SETTLE_IT,
                           .how = it->how,
                           .sub = t->sub,
                           .position = it->position,
                           .msg = it->msg });
}

/* What is not its own any more means nothing. */
static void on_subscribed(struct smr *w, struct smr_taker *t, const struct smr_word *said)
{
    unsigned queue = queue_at(w, t);
    CHECK(said->count == t->count);
    t->is_asking = false;
    for (unsigned i = t->count; i-- != 0;) {
        CHECK(t->taken[i].position == said->claims[i]);
        /* What comes when its queue has moved on, and is back, may settle what is out anew. */
        bool may_be_missed = (fate_of(w, t->taken[i].msg)->missed & (1u << queue)) != 0;
        if (said->is_refused[i] && w->is_calm && !may_be_missed)
            smr_fail(w, "what a taker has of queue %u is not its own at the next master", queue);
        bool is_over = said->is_refused[i] || t->taken[i].is_settled;
        if (!said->is_refused[i] && is_over)
            settle(w, t, &t->taken[i]);
        if (said->is_refused[i])
            lose(w, t, i);
        else if (is_over)
            t->taken[i] = t->taken[--t->count];
    }
}

static void on_delivery(struct smr *w, struct smr_taker *t, unsigned node,
                        const struct smr_word *said)
{
    if (said->sub != t->sub) {
        say(w, t, node,
            (struct smr_word){ .op = SMR_SETTLE_IT,
                               .how = SMR_NOT_SEEN,
                               .sub = said->sub,
                               .position = said->position,
                               .msg = said->msg });
        return;
    }
    smr_check_taken(w, queue_at(w, t), said);
    CHECK(!t->is_asking && t->count < SMR_TAKEN_MAX);
    t->taken[t->count++] = (struct smr_taken){ .position = said->position, .msg = said->msg };
}

static void hear(struct smr *w, struct smr_taker *t, unsigned node, const struct smr_word *said)
{
    bool is_for_it = said->sub == t->sub && t->is_asking && node == t->node;
    if (said->op == SMR_DELIVERY)
        on_delivery(w, t, node, said);
    else if (said->op == SMR_SUBSCRIBED && is_for_it)
        on_subscribed(w, t, said);
    else if (said->op == SMR_MOVED && said->sub == t->sub)
        ask_anew(w, t);
    else if (said->op == SMR_ELSEWHERE && is_for_it)
        t->is_due = true;
}

/* ---- what it does ---- */

/* It acknowledges one, or gives it back; the master hears of what is being claimed when that is
 * answered. */
static void act(struct smr *w, struct smr_taker *t)
{
    if (t->count == 0)
        return;
    unsigned index = (unsigned)smr_below(w, t->count);
    struct smr_taken *it = &t->taken[index];
    if (it->is_settled)
        return;
    it->is_settled = true;
    it->how = w->is_healing || smr_below(w, 4) != 0 ? SMR_ACKED : SMR_GIVEN_BACK;
    smr_say(w, "a taker of queue %u %s %u of producer %u", queue_at(w, t),
            it->how == SMR_ACKED ? "acknowledges" : "gives back", it->msg.seq, it->msg.pid);
    if (it->how == SMR_GIVEN_BACK)
        fate_of(w, it->msg)->kept &= (uint8_t) ~(1u << queue_at(w, t));
    if (t->is_asking)
        return;
    settle(w, t, it);
    *it = t->taken[--t->count];
}

static bool deliver_to(struct smr *w, struct smr_taker *t, unsigned node)
{
    struct smr_node *n = &w->nodes[node];
    struct smr_packet p;
    if (!smr_is_awake(n) || !smr_line_pop(&t->to[node], &p))
        return false;
    if (!smr_hand_take(n, (const struct smr_word *)(const void *)p.bytes)) {
        smr_line_put_back(&t->to[node], &p);
        return false;
    }
    mem_free(p.bytes);
    return true;
}

static bool deliver_from(struct smr *w, struct smr_taker *t, unsigned node)
{
    struct smr_packet p;
    if (!smr_line_pop(&t->from[node], &p))
        return false;
    hear(w, t, node, (const struct smr_word *)(const void *)p.bytes);
    mem_free(p.bytes);
    return true;
}

/* Where it was, what it had is gone; of what it claims elsewhere it is not. */
static void lose_session(struct smr *w, struct smr_taker *t, unsigned node)
{
    smr_line_clear(&t->to[node]);
    smr_line_clear(&t->from[node]);
    if (t->sub == 0 || t->node != node)
        return;
    while (!t->is_asking && t->count != 0)
        lose(w, t, 0);
    t->is_asking = true;
    t->is_due = true;
    t->sub = ++w->last_sub;
}

static void lose_passed(struct smr *w, unsigned node)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        smr_line_clear(&w->passed[node][i]);
        smr_line_clear(&w->passed[i][node]);
    }
}

void smr_taker_lose(struct smr *w, unsigned node)
{
    if (!w->nodes[node].is_alive)
        lose_passed(w, node);
    for (unsigned q = 0; q < w->queue_count; q++)
        for (unsigned i = 0; i < SMR_TAKERS; i++) {
            smr_hand_lose(&w->nodes[node], q, i);
            lose_session(w, &w->takers[q][i], node);
        }
}

/* ---- steps ---- */

static bool deliver(struct smr *w, struct smr_taker *t)
{
    unsigned first = (unsigned)smr_below(w, w->node_count);
    for (unsigned i = 0; i < w->node_count; i++) {
        unsigned node = (first + i) % w->node_count;
        bool to = smr_below(w, 2) == 0;
        if (to ? deliver_to(w, t, node) : deliver_from(w, t, node))
            return true;
        if (to ? deliver_from(w, t, node) : deliver_to(w, t, node))
            return true;
    }
    return false;
}

void smr_takers_step(struct smr *w)
{
    unsigned from = (unsigned)smr_below(w, w->node_count);
    unsigned to = (unsigned)smr_below(w, w->node_count);
    struct smr_taker *t = &w->takers[smr_below(w, w->queue_count)][smr_below(w, SMR_TAKERS)];
    unsigned dice = (unsigned)smr_below(w, 16);
    if (dice < 2)
        look(w, t);
    else if (dice < 5)
        act(w, t);
    else if (dice < 7)
        (void)smr_hand_deliver_passed(w, from, to);
    else
        (void)deliver(w, t);
    for (unsigned i = 0; i < w->node_count; i++)
        if (smr_is_awake(&w->nodes[i]) && smr_below(w, 2) == 0)
            smr_node_flush(&w->nodes[i]);
}

static void heal_taker(struct smr *w, struct smr_taker *t)
{
    do
        look(w, t);
    while (t->view + 1 != w->log_count);
    while (deliver(w, t))
        ;
    for (unsigned i = 0; i < SMR_TAKEN_MAX; i++)
        act(w, t);
    while (deliver(w, t))
        ;
}

void smr_takers_heal(struct smr *w)
{
    for (unsigned q = 0; q < w->queue_count; q++)
        for (unsigned i = 0; i < SMR_TAKERS; i++)
            heal_taker(w, &w->takers[q][i]);
    for (unsigned a = 0; a < w->node_count; a++) {
        for (unsigned b = 0; b < w->node_count; b++)
            while (smr_hand_deliver_passed(w, a, b))
                ;
        for (unsigned i = 0; i < 4 * SMR_TAKEN_MAX * w->queue_count; i++)
            smr_node_settle(&w->nodes[a], i % w->queue_count);
        smr_node_flush(&w->nodes[a]);
    }
}

static bool is_idle(const struct smr *w, const struct smr_taker *t)
{
    for (unsigned i = 0; i < w->node_count; i++)
        if (t->to[i].count != 0 || t->from[i].count != 0)
            return false;
    return !t->is_asking;
}

bool smr_takers_are_idle(const struct smr *w, unsigned queue)
{
    for (unsigned i = 0; i < SMR_TAKERS; i++)
        if (!is_idle(w, &w->takers[queue][i]))
            return false;
    for (unsigned a = 0; a < w->node_count; a++)
        for (unsigned b = 0; b < w->node_count; b++)
            if (w->passed[a][b].count != 0)
                return false;
    return true;
}

/* Nothing is left, with anybody. */
bool smr_takers_are_quiet(const struct smr *w)
{
    for (unsigned q = 0; q < w->queue_count; q++) {
        const struct smr_node *n = &w->nodes[smr_head(w)->queues[q].master];
        for (unsigned p = 0; p < SMR_PRIORITIES; p++)
            for (unsigned i = 0; i < SMR_POSITIONS; i++)
                if (n->queues[q].at[p][i].pid != 0 || n->hand[q].out[p][i] != SMR_READY)
                    return false;
        for (unsigned i = 0; i < SMR_TAKERS; i++)
            if (w->takers[q][i].is_asking || w->takers[q][i].count != 0)
                return false;
    }
    return true;
}

void smr_takers_fini(struct smr *w)
{
    for (unsigned i = 0; i < SMR_NODES; i++) {
        for (unsigned k = 0; k < SMR_NODES; k++)
            smr_line_fini(&w->passed[i][k]);
        for (unsigned q = 0; q < SMR_QUEUES; q++)
            for (unsigned t = 0; t < SMR_TAKERS; t++) {
                smr_line_fini(&w->takers[q][t].to[i]);
                smr_line_fini(&w->takers[q][t].from[i]);
            }
    }
}
