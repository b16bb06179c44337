/* A node: the driver of the core, the queues that it has, and what it asks the log for. */
#include "base/mutation.h"
#include "sim_grant_inner.h"

#include <inttypes.h>

/* ---- the core's driver ---- */

void sg_step(struct world *w, uint16_t node, const struct grant_event *ev)
{
    struct node *n = &w->nodes[node];
    struct grant_event timed = *ev;
    timed.now_us = sg_clock_of(w, n);
    grant_step(n->core, &timed, &w->fx);
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct grant_effect *e = &w->fx.list[i];
        struct act a = { .to = e->node, .from = node };
        if (e->kind == GRANT_DO_HOLD)
            grant_board_hold(n->board, e->node, e->hold.index, e->hold.until_us);
        if (e->kind != GRANT_DO_ASK && e->kind != GRANT_DO_ANSWER)
            continue;
        a.kind = e->kind == GRANT_DO_ASK ? ACT_ASK : ACT_ANSWER;
        if (e->kind == GRANT_DO_ASK)
            a.ask = e->ask;
        else
            a.answer = e->answer;
        sg_send(w, &a);
    }
}

void sg_tell_nodes(struct world *w, uint16_t node, const struct gl_state *was)
{
    const struct gl_state *is = sg_view(w, &w->nodes[node]);
    for (uint16_t i = 1; i <= w->log.nodes; i++)
        grant_board_know(w->nodes[node].board, i);
    for (uint16_t i = 1; i <= w->log.nodes; i++)
        if (i != node && (was == NULL || was->inc[i] != is->inc[i]))
            sg_step(w, node,
                    &(struct grant_event){
                        .kind = GRANT_EV_NODE, .node = i, .member = { is->inc[i] } });
}

static void tell_moved(struct world *w, uint16_t node, const struct gl_state *was)
{
    const struct node *n = &w->nodes[node];
    const struct gl_state *is = sg_view(w, n);
    for (unsigned i = 0; i < GL_QUEUES; i++)
        if (was->queues[i].master != is->queues[i].master)
            sg_step(w, node,
                    &(struct grant_event){ .kind = GRANT_EV_MOVED,
                                           .node = was->queues[i].master,
                                           .moved = { is->queues[i].master, n->applied } });
}

/* ---- queues at a node ---- */

static bool is_master(const struct world *w, uint16_t node, unsigned queue)
{
    const struct node *n = &w->nodes[node];
    const struct gl_queue *q = &sg_view(w, n)->queues[queue];
    return q->master == node && q->inc == n->inc;
}

static void look_at_role(struct world *w, uint16_t node, unsigned queue, uint16_t earlier)
{
    struct local *l = &w->nodes[node].queues[queue];
    const struct gl_queue *q = &sg_view(w, &w->nodes[node])->queues[queue];
    if (!is_master(w, node, queue)) {
        l->epoch = 0;
    } else if (l->epoch != q->epoch) {
        l->epoch = q->epoch;
        l->earlier = earlier;
        l->has_begun = false;
        sg_say(w, "%u is made master of %u, epoch %d, after %u", node, queue, (int)l->epoch,
               earlier);
    }
    if (l->proposed_ver != q->ver || l->epoch == 0)
        l->proposed_count = 0;
}

static void apply_to(struct world *w, uint16_t node, uint64_t index)
{
    struct node *n = &w->nodes[node];
    const struct gl_state *was = sg_view(w, n);
    bool is_jump = index != n->applied + 1;
    n->applied = index;
    tell_moved(w, node, was);
    sg_tell_nodes(w, node, was);
    sg_step(w, node,
            &(struct grant_event){
                .kind = is_jump ? GRANT_EV_JUMPED : GRANT_EV_APPLIED,
                .applied = { .index = index, .is_up = sg_view(w, n)->inc[node] == n->inc } });
    for (unsigned i = 0; i < GL_QUEUES; i++)
        look_at_role(w, node, i, was->queues[i].master);
}

void sg_apply(struct world *w, uint16_t node)
{
    struct node *n = &w->nodes[node];
    n->is_apply_due = false;
    uint64_t left = w->log.last - n->applied;
    if (left == 0 || n->deaf_until_us > w->now_us)
        return;
    bool was_deaf = n->was_deaf;
    n->was_deaf = false;
    if (left > 1 && ((was_deaf && w->chance.jump != 0) || sg_happens(w, w->chance.jump))) {
        apply_to(w, node, n->applied + 1 + (was_deaf ? left - 1 : sg_below(w, left)));
        return;
    }
    for (uint64_t i = 1 + sg_below(w, left); i > 0; i--)
        apply_to(w, node, n->applied + 1);
}

static bool may_begin(struct world *w, uint16_t node, unsigned queue)
{
    const struct node *n = &w->nodes[node];
    const struct local *l = &n->queues[queue];
    return grant_begins_us(n->core, l->epoch, &l->earlier, l->earlier != 0) <= sg_clock_of(w, n);
}

/* At hand-out. */
bool sg_may_serve(struct world *w, uint16_t node, unsigned queue)
{
    struct node *n = &w->nodes[node];
    const struct local *l = &n->queues[queue];
    const struct gl_queue *q = &sg_view(w, n)->queues[queue];
    uint16_t members[2 * GL_NODES];
    size_t count = 0;
    if (l->epoch == 0 || !l->has_begun)
        return false;
    for (unsigned i = 0; i < q->isr_count; i++)
        members[count++] = q->isr[i];
    for (unsigned i = 0; i < l->proposed_count && !MUTATION(GRANT_OF_AGREED_ALONE); i++)
        members[count++] = l->proposed[i];
    return grant_board_may_serve(n->board, node, l->epoch, members, count, sg_clock_of(w, n));
}

/* ---- what must hold ---- */

static void check_server(struct world *w, unsigned queue, uint16_t node)
{
    uint64_t epoch = w->nodes[node].queues[queue].epoch;
    uint32_t inc = w->nodes[node].inc;
    if (epoch < w->served[queue].epoch)
        sg_fail(w, "%u may serve queue %u in epoch %" PRIu64 " after %" PRIu64, node, queue, epoch,
                w->served[queue].epoch);
    if (epoch == w->served[queue].epoch &&
        (node != w->served[queue].node || inc != w->served[queue].inc))
        sg_fail(w, "two processes serve queue %u in epoch %" PRIu64, queue, epoch);
    w->served[queue].epoch = epoch;
    w->served[queue].node = node;
    w->served[queue].inc = inc;
}

void sg_check(struct world *w)
{
    for (unsigned i = 0; i < GL_QUEUES; i++) {
        uint16_t who = 0;
        for (uint16_t k = 1; k <= w->log.nodes; k++) {
            if (w->nodes[k].core == NULL || !sg_may_serve(w, k, i))
                continue;
            if (who != 0)
                sg_fail(w, "%u and %u may serve queue %u", who, k, i);
            check_server(w, i, k);
            who = k;
        }
    }
}

/* What a process had that is gone is not what its successor has. */
void sg_check_members(struct world *w)
{
    const struct gl_state *s = &w->log.states[w->log.last];
    for (unsigned i = 0; i < GL_QUEUES; i++)
        for (unsigned k = 0; k < s->queues[i].isr_count; k++)
            if (s->queues[i].isr_inc[k] != s->inc[s->queues[i].isr[k]])
                sg_fail(w, "%u has restarted, and is in sync with queue %u", s->queues[i].isr[k],
                        i);
}

/* ---- commands ---- */

void sg_command(struct world *w, uint16_t from, const struct gl_command *c)
{
    if (!sg_happens(w, w->chance.lose))
        sg_later(w, sg_delay(w), &(struct act){ .kind = ACT_COMMAND, .from = from, .command = *c });
}

static void propose_add(struct world *w, uint16_t node, unsigned queue)
{
    struct local *l = &w->nodes[node].queues[queue];
    const struct gl_state *s = sg_view(w, &w->nodes[node]);
    uint16_t other = sg_some_node(w);
    if (gl_has(&s->queues[queue], other) || !s->is_up[other] || l->proposed_count == GL_NODES ||
        (!l->has_begun && !MUTATION(GRANT_ADDED_BEFORE_BEGUN)))
        return;
    l->proposed_ver = s->queues[queue].ver;
    l->proposed[l->proposed_count++] = other;
    sg_command(w, node,
               &(struct gl_command){ .op = GL_ADD,
                                     .node = other,
                                     .inc = s->inc[other],
                                     .queue = queue,
                                     .epoch = l->epoch,
                                     .ver = l->proposed_ver });
}

static void work_on(struct world *w, uint16_t node, unsigned queue)
{
    struct local *l = &w->nodes[node].queues[queue];
    const struct gl_state *s = sg_view(w, &w->nodes[node]);
    const struct gl_queue *q = &s->queues[queue];
    if (l->epoch == 0)
        return;
    if (!l->has_begun && may_begin(w, node, queue)) {
        l->has_begun = true;
        sg_say(w, "%u begins with %u, epoch %d", node, queue, (int)l->epoch);
    }
    (void)sg_may_serve(w, node, queue);
    if (sg_happens(w, w->chance.add))
        propose_add(w, node, queue);
    if (sg_happens(w, w->chance.strike))
        sg_command(w, node,
                   &(struct gl_command){ .op = GL_STRIKE,
                                         .node = q->isr[sg_below(w, q->isr_count)],
                                         .queue = queue,
                                         .epoch = l->epoch,
                                         .ver = q->ver });
    if (sg_happens(w, w->chance.move))
        sg_command(w, node,
                   &(struct gl_command){ .op = GL_MOVE,
                                         .node = q->isr[sg_below(w, q->isr_count)],
                                         .queue = queue,
                                         .epoch = l->epoch });
}

void sg_say_down(struct world *w, uint16_t node)
{
    const struct gl_state *s = &w->log.states[w->log.last];
    sg_command(w, 0, &(struct gl_command){ .op = GL_DOWN, .node = node, .inc = s->inc[node] });
}

struct needing {
    struct world *w;
    uint16_t node;
};

static void on_needed(void *arg, uint16_t node, uint64_t epoch)
{
    const struct needing *x = arg;
    sg_step(x->w, x->node,
            &(struct grant_event){ .kind = GRANT_EV_NEED, .node = node, .need = { epoch } });
}

/* A node looks after itself, now and then. */
void sg_look(struct world *w, uint16_t node)
{
    struct node *n = &w->nodes[node];
    const struct gl_state *s = sg_view(w, n);
    struct needing x = { w, node };
    grant_board_each_needed(n->board, on_needed, &x);
    sg_step(w, node, &(struct grant_event){ .kind = GRANT_EV_TIME });
    for (unsigned i = 0; i < GL_QUEUES; i++)
        work_on(w, node, i);
    if (s->inc[node] != n->inc || !s->is_up[node])
        sg_command(w, node, &(struct gl_command){ .op = GL_UP, .node = node, .inc = n->inc });
    if (!n->is_apply_due && n->applied < w->log.last) {
        n->is_apply_due = true;
        sg_later(w, w->is_healed ? 0 : (int64_t)sg_below(w, n->lag_us),
                 &(struct act){ .kind = ACT_APPLY, .to = node, .inc = n->inc });
    }
    sg_later(w, LOOKS * MS, &(struct act){ .kind = ACT_LOOK, .to = node, .inc = n->inc });
}
