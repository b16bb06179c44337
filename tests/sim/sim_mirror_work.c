/* Producers: they publish along paths, and send again what was not confirmed. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "sim_mirror_inner.h"

/* Each of its queues to the node that it thinks masters it. */
static void send(struct smr *w, unsigned pid, unsigned seq)
{
    struct smr_producer *p = &w->producers[pid];
    const struct smr_state *s = &w->log[p->view];
    for (unsigned node = 0; node < w->node_count; node++) {
        struct smr_order o = { .seq = (uint16_t)seq, .path = p->path };
        for (unsigned q = 0; q < w->queue_count; q++)
            if ((p->publishes[seq].queues & 1u << q) != 0 && s->queues[q].master == node)
                o.queues |= (uint8_t)(1u << q);
        if (o.queues == 0)
            continue;
        o.n = ++p->n[node];
        smr_line_push(&p->to[node], &o, sizeof o);
    }
}

static bool is_open(const struct smr_publish *p)
{
    return p->heard != p->queues;
}

void smr_producer_again(struct smr *w, unsigned pid)
{
    struct smr_producer *p = &w->producers[pid];
    p->path++;
    p->is_due = false;
    memset(p->n, 0, sizeof p->n);
    for (unsigned seq = p->first_open; seq <= p->seq; seq++)
        if (is_open(&p->publishes[seq]))
            send(w, pid, seq);
}

void smr_produce(struct smr *w, unsigned pid)
{
    struct smr_producer *p = &w->producers[pid];
    if (p->is_due)
        smr_producer_again(w, pid);
    if (p->seq == SMR_SEQS - 1 || (unsigned)p->seq + 1 - p->first_open >= SMR_UNCONFIRMED)
        return;
    struct smr_publish *m = &p->publishes[++p->seq];
    m->queues = (uint8_t)(1 + smr_below(w, (1u << w->queue_count) - 1));
    m->priority = (uint8_t)(smr_below(w, 8) == 0);
    send(w, pid, p->seq);
    w->report->messages++;
}

/* It hears where queues are now. */
void smr_producer_look(struct smr *w, unsigned pid)
{
    struct smr_producer *p = &w->producers[pid];
    if (p->view + 1 == w->log_count)
        return;
    size_t was = p->view;
    p->view += 1 + (size_t)smr_below(w, w->log_count - 1 - p->view);
    for (unsigned q = 0; q < w->queue_count; q++)
        p->is_due = p->is_due || w->log[was].queues[q].epoch != w->log[p->view].queues[q].epoch;
    if (p->is_due)
        smr_producer_again(w, pid);
}

void smr_answer(struct smr_node *n, unsigned pid, const struct smr_answer *a)
{
    smr_line_push(&n->world->producers[pid].from[n->number], a, sizeof *a);
}

static void hear(struct smr *w, unsigned pid, const struct smr_answer *a)
{
    struct smr_producer *p = &w->producers[pid];
    if (a->is_broken) {
        p->is_due = p->is_due || a->path == p->path;
        return;
    }
    p->publishes[a->seq].heard |= (uint8_t)(1u << a->queue);
    while (p->first_open <= p->seq && !is_open(&p->publishes[p->first_open]))
        p->first_open++;
}

static void take(struct smr_node *n, unsigned pid, const struct smr_order *o)
{
    struct producer_path *path = &n->paths[pid];
    enum producer_verdict verdict = producer_path_take(path, o->path, o->n);
    if (MUTATION(MIRROR_NO_PATHS))
        path->path = o->path;
    if (verdict == PRODUCER_LATE)
        return;
    if (verdict == PRODUCER_NEXT && smr_node_publish(n, pid, o->seq, o->queues))
        return;
    producer_path_break(path);
    smr_answer(n, pid, &(struct smr_answer){ .is_broken = true, .path = o->path });
}

bool smr_producer_deliver(struct smr *w, unsigned pid, unsigned node)
{
    struct smr_producer *p = &w->producers[pid];
    struct smr_node *n = &w->nodes[node];
    struct smr_packet packet;
    bool to = p->to[node].count != 0 && smr_is_awake(n);
    bool from = p->from[node].count != 0;
    if (to && from)
        to = smr_below(w, 2) == 0;
    if (to && smr_line_pop(&p->to[node], &packet)) {
        struct smr_order o;
        memcpy(&o, packet.bytes, sizeof o);
        take(n, pid, &o);
        if (smr_below(w, 2) == 0 || w->is_healing)
            smr_node_flush(n);
    } else if (from && smr_line_pop(&p->from[node], &packet)) {
        struct smr_answer a;
        memcpy(&a, packet.bytes, sizeof a);
        hear(w, pid, &a);
    } else {
        return false;
    }
    mem_free(packet.bytes);
    return true;
}

void smr_producer_lose(struct smr *w, unsigned pid, unsigned node)
{
    smr_line_clear(&w->producers[pid].to[node]);
    smr_line_clear(&w->producers[pid].from[node]);
}
