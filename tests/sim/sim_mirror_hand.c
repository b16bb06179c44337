/* What a master hands out, and what of that it tells the next one of: broker/mirrored_handed.c in
 * small. The core is the broker's. */
#include "base/check.h"
#include "base/mem.h"
#include "sim_mirror_inner.h"

#define WAIT_MS 2000u /* in calm histories: nobody is that slow */
#define SOON_MS 600u  /* at most, in others */

static struct smr_hand *hand_of(struct smr_node *n, unsigned queue)
{
    return &n->hand[queue];
}

static uint32_t *out_at(struct smr_hand *h, uint64_t position)
{
    unsigned priority = (unsigned)(position >> MIRROR_PRIORITY_SHIFT);
    CHECK(priority < SMR_PRIORITIES && position - smr_base(priority) < SMR_POSITIONS);
    return &h->out[priority][position - smr_base(priority)];
}

void smr_hand_forget(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    mirror_handed_fini(&h->word);
    h->until_ms = 0;
    h->is_due = false;
}

static void start_timer(struct smr_node *n, struct smr_hand *h)
{
    struct smr *w = n->world;
    h->until_ms = w->now_ms + 1 + (w->is_calm ? WAIT_MS : smr_below(w, SOON_MS));
}

/* Who was the master before, as far as this node has seen. */
void smr_hand_see(struct smr_node *n, unsigned queue, const struct smr_placement *p)
{
    struct smr_hand *h = hand_of(n, queue);
    if (h->epoch == p->epoch)
        return;
    h->earlier = h->epoch != 0 ? h->master : n->number;
    h->epoch = p->epoch;
    h->master = p->master;
}

/* ---- the master that was ---- */

static void remember(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    struct smr_given *all = n->world->given[queue][n->number], *g = all;
    for (unsigned i = 1; i < SMR_GIVEN; i++)
        if (all[i].epoch < g->epoch)
            g = &all[i];
    g->epoch = n->queues[queue].master->epoch;
    memcpy(g->at, n->queues[queue].at, sizeof g->at);
    memcpy(g->fresh, h->fresh, sizeof g->fresh);
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        for (unsigned i = 0; i < SMR_POSITIONS; i++)
            g->is_out[p][i] = h->out[p][i] != SMR_READY;
}

static size_t list_out(const struct smr_hand *h, uint64_t *out)
{
    size_t count = 0;
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        for (unsigned i = 0; i < SMR_POSITIONS; i++)
            if (h->out[p][i] != SMR_READY)
                out[count++] = smr_base(p) + i;
    return count;
}

static void end_handing_out(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    for (unsigned i = 0; i < SMR_TAKERS; i++)
        if (h->subs[i] != 0)
            smr_taker_hear(n, i,
                           &(struct smr_word){ .op = SMR_MOVED,
                                               .queue = (uint8_t)queue,
                                               .taker = (uint8_t)i,
                                               .sub = h->subs[i] });
    memset(h->out, 0, sizeof h->out);
    memset(h->subs, 0, sizeof h->subs);
}

void smr_hand_over(struct smr_node *n, unsigned queue, unsigned to, bool goes_on)
{
    static uint64_t out[SMR_PRIORITIES * SMR_POSITIONS];
    struct smr_hand *h = hand_of(n, queue);
    struct mirror_starts fresh = { 0 };
    size_t count = list_out(h, out);
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        if (h->fresh[p] != 0)
            mirror_starts_raise(&fresh, smr_base(p) + h->fresh[p]);
    h->goes_on = goes_on;
    if (to != n->number && mirror_master_hand_over(n->master, n->queues[queue].master,
                                                   (uint16_t)(to + 1), out, count, &fresh)) {
        remember(n, queue);
        smr_say(n->world, "node %u gives queue %u to node %u, %zu out", n->number, queue, to,
                count);
    }
    mirror_starts_fini(&fresh);
    memset(h->may, 0, sizeof h->may);
    if (goes_on)
        return;
    smr_hand_forget(n, queue);
    end_handing_out(n, queue);
}

/* ---- the next one ---- */

static void forget_older(struct smr_node *n, unsigned queue, uint64_t epoch)
{
    if (mirror_handed_is_of_another(&hand_of(n, queue)->word, epoch))
        smr_hand_forget(n, queue);
}

void smr_hand_heard(struct smr_node *n, unsigned queue, const struct mirror_record *r)
{
    struct smr_hand *h = hand_of(n, queue);
    forget_older(n, queue, r->epoch);
    if (!mirror_handed_hear(&h->word, r))
        return;
    h->until_ms = 0;
    h->is_due = true;
}

void smr_hand_go_on(struct smr_node *n)
{
    bool is_due = false;
    for (unsigned q = 0; q < n->world->queue_count; q++) {
        is_due = is_due || hand_of(n, q)->is_due;
        hand_of(n, q)->is_due = false;
    }
    if (is_due)
        smr_node_look(n);
}

/* The node that was the master is there, and what it says reaches this copy. */
static bool may_be_said(struct smr_node *n, unsigned queue)
{
    const struct smr_hand *h = hand_of(n, queue);
    const struct mirror_source *s = n->queues[queue].copy->source;
    if (h->earlier == n->number || !n->world->log[n->view].is_up[h->earlier] || s == NULL)
        return false;
    const struct smr_link *l = mirror_source_owner(s);
    return l->from == h->earlier;
}

bool smr_hand_awaits(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    forget_older(n, queue, mirror_history_epoch(&n->queues[queue].copy->history));
    if (mirror_handed_is_decided(&h->word) || !may_be_said(n, queue))
        return false;
    bool was_awaited = h->word.is_awaited, is_awaited = mirror_handed_await(&h->word);
    if (is_awaited && !was_awaited)
        start_timer(n, h);
    return is_awaited;
}

void smr_hand_leads_not(struct smr_node *n, unsigned queue)
{
    if (hand_of(n, queue)->word.is_awaited)
        smr_hand_forget(n, queue);
}

/* Without a word all that is there may have been handed out. */
void smr_hand_hold(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    const struct smr_copy *c = &n->queues[queue];
    bool goes_on = h->goes_on;
    h->goes_on = false;
    if (goes_on)
        return;
    memcpy(h->fresh, c->next, sizeof h->fresh);
    if (!mirror_handed_hold(&h->word))
        return;
    h->until_ms = 0;
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        h->fresh[p] = (uint32_t)(mirror_starts_of(&h->word.fresh, smr_base(p)) - smr_base(p));
    for (size_t i = 0; i < h->word.count; i++)
        if (smr_copy_at(&n->queues[queue], h->word.positions[i])->pid != 0)
            *out_at(h, h->word.positions[i]) = SMR_NOBODY;
        else
            (void)mirror_handed_take(&h->word, h->word.positions[i]);
    smr_check_held(n, queue);
}

static void settle(struct smr_node *n, unsigned queue, uint64_t position, enum smr_how how)
{
    struct smr_hand *h = hand_of(n, queue);
    if (*out_at(h, position) == SMR_READY)
        return;
    *out_at(h, position) = SMR_READY;
    if (how == SMR_ACKED)
        smr_node_settle_at(n, queue, position);
}

void smr_hand_began(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    uint64_t position;
    uint8_t how;
    while (mirror_handed_next_early(&h->word, &position, &how))
        settle(n, queue, position, (enum smr_how)how);
    if (!h->word.is_held || h->word.left == 0)
        smr_hand_forget(n, queue);
    else
        start_timer(n, h);
}

static void on_timer(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    uint64_t position;
    h->until_ms = 0;
    if (!h->word.is_held) {
        smr_say(n->world, "node %u waits no more for what is out of queue %u", n->number, queue);
        mirror_handed_give_up(&h->word);
        h->is_due = true;
        return;
    }
    while (mirror_handed_next_left(&h->word, &position))
        settle(n, queue, position, SMR_GIVEN_BACK);
    smr_hand_forget(n, queue);
}

void smr_hand_wait_anew(struct smr_node *n)
{
    for (unsigned q = 0; q < n->world->queue_count; q++)
        if (hand_of(n, q)->until_ms != 0)
            start_timer(n, hand_of(n, q));
}

/* In calm histories steps take no time: who is to claim something has all that it needs. */
static bool is_over(struct smr_node *n, unsigned queue)
{
    const struct smr_hand *h = hand_of(n, queue);
    if (n->world->is_calm && !n->world->is_healing)
        return h->word.is_held && smr_takers_are_idle(n->world, queue);
    return h->until_ms <= n->world->now_ms;
}

void smr_hand_tick(struct smr_node *n)
{
    for (unsigned q = 0; q < n->world->queue_count; q++) {
        struct smr_hand *h = hand_of(n, q);
        if (h->until_ms == 0 || !is_over(n, q))
            continue;
        on_timer(n, q);
    }
    smr_hand_go_on(n);
}

/* ---- handing out ---- */

void smr_hand_may(struct smr_node *n, unsigned queue, const uint32_t *may)
{
    memcpy(hand_of(n, queue)->may, may, sizeof hand_of(n, queue)->may);
}

static unsigned count_of(const struct smr_hand *h, uint32_t sub)
{
    unsigned count = 0;
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        for (unsigned i = 0; i < SMR_POSITIONS; i++)
            count += h->out[p][i] == sub;
    return count;
}

static bool find_ready(struct smr_node *n, unsigned queue, uint64_t *position)
{
    const struct smr_hand *h = hand_of(n, queue);
    for (unsigned p = SMR_PRIORITIES; p-- != 0;)
        for (unsigned i = 0; i < h->may[p]; i++)
            if (h->out[p][i] == SMR_READY && n->queues[queue].at[p][i].pid != 0) {
                *position = smr_base(p) + i;
                return true;
            }
    return false;
}

static void hand_out(struct smr_node *n, unsigned queue, unsigned taker, uint64_t position)
{
    struct smr_hand *h = hand_of(n, queue);
    unsigned priority = (unsigned)(position >> MIRROR_PRIORITY_SHIFT);
    uint32_t index = (uint32_t)(position - smr_base(priority));
    struct smr_word said = { .op = SMR_DELIVERY,
                             .queue = (uint8_t)queue,
                             .taker = (uint8_t)taker,
                             .sub = h->subs[taker],
                             .position = position,
                             .epoch = n->queues[queue].master->epoch,
                             .msg = *smr_copy_at(&n->queues[queue], position),
                             .is_redelivered = index < h->fresh[priority] };
    smr_check_handed_out(n, queue, &said);
    *out_at(h, position) = said.sub;
    if (h->fresh[priority] <= index)
        h->fresh[priority] = index + 1;
    smr_taker_hear(n, taker, &said);
}

void smr_hand_serve(struct smr_node *n, unsigned queue)
{
    struct smr_hand *h = hand_of(n, queue);
    unsigned taker = (unsigned)smr_below(n->world, SMR_TAKERS);
    uint64_t position;
    if (h->subs[taker] != 0 && count_of(h, h->subs[taker]) < SMR_TAKEN_MAX &&
        find_ready(n, queue, &position))
        hand_out(n, queue, taker, position);
}

/* ---- what is said to it ---- */

static void settle_moved(struct smr_node *n, unsigned queue, const struct smr_word *said)
{
    struct smr_hand *h = hand_of(n, queue);
    if (n->queues[queue].master == NULL) {
        if (said->epoch < hand_of(n, queue)->epoch)
            smr_check_missed(n->world, queue, said->msg);
        mirror_handed_put_early(&h->word, said->position, (uint8_t)said->how);
        return;
    }
    if (!mirror_handed_take(&h->word, said->position))
        return;
    settle(n, queue, said->position, said->how);
    if (h->word.left == 0)
        smr_hand_forget(n, queue);
}

static void pass_on(struct smr_node *n, unsigned queue, const struct smr_word *said)
{
    struct smr_word moved = *said;
    unsigned master = n->world->log[n->view].queues[queue].master;
    moved.op = SMR_SETTLE_MOVED;
    moved.epoch = n->world->log[n->view].queues[queue].epoch;
    if (master == n->number)
        settle_moved(n, queue, &moved);
    else
        smr_line_push(&n->world->passed[n->number][master], &moved, sizeof moved);
}

/* Another node may have led since it was handed out here: then it counts as if that passed it on.
 */
static void settle_it(struct smr_node *n, unsigned queue, const struct smr_word *said)
{
    if (n->queues[queue].master == NULL)
        pass_on(n, queue, said);
    else if (*out_at(hand_of(n, queue), said->position) == said->sub)
        settle(n, queue, said->position, said->how);
    else
        settle_moved(n, queue, said);
}

static void claim(struct smr_node *n, unsigned queue, struct smr_word *said)
{
    struct smr_hand *h = hand_of(n, queue);
    for (unsigned i = 0; i < said->count; i++) {
        said->is_refused[i] = !mirror_handed_take(&h->word, said->claims[i]);
        if (!said->is_refused[i] && *out_at(h, said->claims[i]) != SMR_READY)
            *out_at(h, said->claims[i]) = said->sub;
    }
    if (h->word.is_held && h->word.left == 0)
        smr_hand_forget(n, queue);
}

static bool subscribe(struct smr_node *n, unsigned queue, const struct smr_word *said)
{
    const struct mirror_queue *m = n->queues[queue].master;
    const struct smr_placement *p = &n->world->log[n->view].queues[queue];
    struct smr_word answer = *said;
    if (m == NULL ? p->master == n->number : !m->is_active)
        return false;
    answer.op = m != NULL ? SMR_SUBSCRIBED : SMR_ELSEWHERE;
    if (m != NULL) {
        claim(n, queue, &answer);
        hand_of(n, queue)->subs[said->taker] = said->sub;
    }
    smr_taker_hear(n, said->taker, &answer);
    return true;
}

static const char *op_text(const struct smr_word *said)
{
    static const char *const texts[] = { "subscribe", "settled", "settled elsewhere" };
    return texts[said->op];
}

bool smr_hand_take(struct smr_node *n, const struct smr_word *said)
{
    smr_say(n->world, "node %u, %s queue %u, is told: %s %u, position %u:%u", n->number,
            n->queues[said->queue].master != NULL ? "master of" : "with a copy of", said->queue,
            op_text(said), said->sub, (unsigned)(said->position >> MIRROR_PRIORITY_SHIFT),
            (unsigned)said->position);
    if (said->op == SMR_SUBSCRIBE)
        return subscribe(n, said->queue, said);
    if (said->op == SMR_SETTLE_MOVED)
        settle_moved(n, said->queue, said);
    else
        settle_it(n, said->queue, said);
    return true;
}

/* Its session is gone, and what it had goes back. */
void smr_hand_lose(struct smr_node *n, unsigned queue, unsigned taker)
{
    struct smr_hand *h = hand_of(n, queue);
    uint32_t sub = h->subs[taker];
    h->subs[taker] = 0;
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        for (unsigned i = 0; sub != 0 && i < SMR_POSITIONS; i++)
            if (h->out[p][i] == sub)
                h->out[p][i] = SMR_READY;
}

bool smr_hand_deliver_passed(struct smr *w, unsigned from, unsigned to)
{
    struct smr_packet p;
    if (!smr_is_awake(&w->nodes[to]) || !smr_line_pop(&w->passed[from][to], &p))
        return false;
    bool is_taken = smr_hand_take(&w->nodes[to], (const struct smr_word *)(const void *)p.bytes);
    CHECK(is_taken);
    mem_free(p.bytes);
    return true;
}
