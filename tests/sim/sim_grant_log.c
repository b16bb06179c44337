#include "sim_grant_log.h"

#include "base/check.h"
#include "base/mutation.h"

#include <string.h>

bool gl_has(const struct gl_queue *q, uint16_t node)
{
    for (unsigned i = 0; i < q->isr_count; i++)
        if (q->isr[i] == node)
            return true;
    return false;
}

void gl_init(struct gl *l, unsigned nodes)
{
    l->nodes = nodes;
    l->last = 1;
    memset(&l->states[1], 0, sizeof l->states[1]);
    for (unsigned i = 0; i < GL_QUEUES; i++) {
        struct gl_queue *q = &l->states[1].queues[i];
        q->master = q->isr[0] = (uint16_t)(i < nodes ? i + 1 : nodes);
        q->isr_count = 1;
        q->epoch = q->ver = 1;
    }
}

bool gl_is_full(const struct gl *l)
{
    return l->last == GL_INDEX_MAX;
}

/* ---- rules ---- */

static void strike(struct gl_queue *q, uint16_t node, uint64_t index)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < q->isr_count; i++)
        if (q->isr[i] != node) {
            q->isr_inc[kept] = q->isr_inc[i];
            q->isr[kept++] = q->isr[i];
        }
    q->isr_count = kept;
    q->ver = index;
}

static void appoint(struct gl_state *s, struct gl_queue *q, uint16_t node, uint64_t index)
{
    q->master = node;
    q->inc = s->inc[node];
    q->epoch = q->ver = index;
}

/* The eldest of those that are up, else the eldest. */
static uint16_t heir(const struct gl_state *s, const struct gl_queue *q)
{
    for (unsigned i = 0; i < q->isr_count; i++)
        if (s->is_up[q->isr[i]])
            return q->isr[i];
    return q->isr[0];
}

static void leave(struct gl_state *s, struct gl_queue *q, uint16_t node, uint64_t index)
{
    strike(q, node, index);
    if (q->master == node)
        appoint(s, q, heir(s, q), index);
}

static void up(struct gl_state *s, const struct gl_command *c, uint64_t index)
{
    if (c->inc < s->inc[c->node])
        return;
    bool is_new = c->inc > s->inc[c->node];
    s->inc[c->node] = c->inc;
    s->is_up[c->node] = true;
    for (unsigned i = 0; is_new && i < GL_QUEUES; i++) {
        struct gl_queue *q = &s->queues[i];
        if (!gl_has(q, c->node))
            continue;
        if (q->isr_count > 1 && !MUTATION(GRANT_RESTART_KEEPS_ISR))
            leave(s, q, c->node, index);
        else if (q->master == c->node && MUTATION(GRANT_RESTART_KEEPS_EPOCH))
            q->inc = c->inc;
        else if (q->master == c->node)
            appoint(s, q, c->node, index);
        if (q->isr_count == 1 && q->isr[0] == c->node)
            q->isr_inc[0] = c->inc;
    }
}

static void down(struct gl_state *s, const struct gl_command *c, uint64_t index)
{
    if (c->inc != s->inc[c->node] || !s->is_up[c->node])
        return;
    s->is_up[c->node] = false;
    for (unsigned i = 0; i < GL_QUEUES; i++)
        if (gl_has(&s->queues[i], c->node) && s->queues[i].isr_count > 1)
            leave(s, &s->queues[i], c->node, index);
}

static void change(struct gl_state *s, const struct gl_command *c, uint64_t index)
{
    struct gl_queue *q = &s->queues[c->queue];
    if (c->epoch != q->epoch || c->ver != q->ver)
        return;
    q->ver = index; /* refused or not: the proposer learns */
    if (c->op == GL_STRIKE && c->node != q->master && gl_has(q, c->node))
        strike(q, c->node, index);
    if (c->op == GL_ADD && !gl_has(q, c->node) && s->is_up[c->node] && s->is_up[q->master] &&
        s->inc[c->node] == c->inc) {
        q->isr_inc[q->isr_count] = c->inc;
        q->isr[q->isr_count++] = c->node;
    }
}

static void move(struct gl_state *s, const struct gl_command *c, uint64_t index)
{
    struct gl_queue *q = &s->queues[c->queue];
    if (c->epoch == q->epoch && c->node != q->master && gl_has(q, c->node) && s->is_up[c->node])
        appoint(s, q, c->node, index);
}

void gl_append(struct gl *l, const struct gl_command *c)
{
    CHECK(!gl_is_full(l));
    uint64_t index = ++l->last;
    struct gl_state *s = &l->states[index];
    *s = l->states[index - 1];
    switch (c->op) {
    case GL_UP:
        up(s, c, index);
        return;
    case GL_DOWN:
        down(s, c, index);
        return;
    case GL_ADD:
    case GL_STRIKE:
        change(s, c, index);
        return;
    case GL_MOVE:
        move(s, c, index);
        return;
    }
    UNREACHABLE("command");
}
