/* The rules: see design.md 2.14. */
#include "sim_mirror_inner.h"

/* I1: one node in one epoch. */
void smr_check_master(struct smr_node *n, unsigned queue)
{
    uint64_t epoch = n->queues[queue].master->epoch;
    uint8_t *who = &n->world->acted[queue][epoch];
    if (*who != 0 && *who != n->number + 1)
        smr_fail(n->world, "nodes %d and %d lead queue %u in one epoch", *who - 1, n->number,
                 queue);
    *who = (uint8_t)(n->number + 1);
}

static bool has_in_memory(const struct smr_copy *c, unsigned priority, struct smr_msg m)
{
    for (uint32_t i = 0; i < c->next[priority]; i++)
        if (c->at[priority][i].pid == m.pid && c->at[priority][i].seq == m.seq)
            return true;
    return false;
}

static void check_has(struct smr *w, unsigned queue, unsigned pid, unsigned seq, const char *how)
{
    const struct smr_publish *p = &w->producers[pid].publishes[seq];
    struct smr_msg m = { (uint8_t)pid, w->producers[pid].is_persistent, (uint16_t)seq };
    const struct smr_placement *now = &smr_head(w)->queues[queue];
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct smr_node *other = &w->nodes[i];
        if (!now->is_in_sync[i] || (p->settled & 1u << queue) != 0)
            continue;
        /* A transient one may have gone with the memory of all that had it. */
        bool has = m.is_persistent
                       ? smr_disk_has(&other->disk, queue, m)
                       : w->has_crashed || has_in_memory(&other->queues[queue], p->priority, m);
        if (!has)
            smr_fail(w, "%u of producer %u is %s, and node %u, in sync, does not have it", seq, pid,
                     how, i);
    }
}

/* I3: what is confirmed is durable on all that are in sync. */
void smr_check_confirmed(struct smr_node *n, unsigned queue, unsigned pid, unsigned seq)
{
    n->world->producers[pid].publishes[seq].confirmed |= (uint8_t)(1u << queue);
    smr_say(n->world, "node %u confirms %u of producer %u in queue %u", n->number, seq, pid, queue);
    check_has(n->world, queue, pid, seq, "confirmed");
}

/* So is what is shown; and what was seen before is known by its position, which marks are about: at
 * another one it would come as if nobody had seen it. */
static void check_shown(struct smr *w, unsigned queue, struct smr_msg m, uint64_t position)
{
    const struct smr_producer *from = &w->producers[m.pid];
    struct smr_publish *p = &w->producers[m.pid].publishes[m.seq];
    bool is_sure = from->is_persistent || !w->has_crashed;
    if ((p->shown & 1u << queue) != 0 && p->shown_at[queue] != position && is_sure)
        smr_fail(w, "%u of producer %u is shown at two places of queue %u", m.seq, m.pid, queue);
    p->shown |= (uint8_t)(1u << queue);
    p->shown_at[queue] = position;
    check_has(w, queue, m.pid, m.seq, "shown");
}

void smr_check_shown(struct smr_node *n, unsigned queue)
{
    const struct smr_copy *c = &n->queues[queue];
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        for (uint32_t i = 0; i < c->asked[p]; i++)
            if (c->at[p][i].pid != 0)
                check_shown(n->world, queue, c->at[p][i], smr_base(p) + i);
}

/* ---- what is handed out ---- */

static const struct smr_given *given_in(const struct smr *w, unsigned queue, uint64_t epoch)
{
    for (unsigned i = 0; i < w->node_count; i++)
        for (unsigned k = 0; k < SMR_GIVEN; k++)
            if (w->given[queue][i][k].epoch == epoch)
                return &w->given[queue][i][k];
    return NULL;
}

/* Who believes it is far behind: whoever said it has said as many others since. */
static bool is_forgotten(const struct smr *w, unsigned queue, uint64_t epoch)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        unsigned later = 0;
        for (unsigned k = 0; k < SMR_GIVEN; k++)
            later += w->given[queue][i][k].epoch > epoch;
        if (later == SMR_GIVEN)
            return true;
    }
    return false;
}

static void check_held_at(struct smr_node *n, unsigned queue, const struct smr_given *g,
                          unsigned priority, unsigned index)
{
    struct smr_msg theirs = g->at[priority][index];
    struct smr_msg ours = n->queues[queue].at[priority][index];
    bool is_out = n->hand[queue].out[priority][index] != SMR_READY;
    if (theirs.pid != ours.pid || theirs.seq != ours.seq)
        smr_fail(n->world, "node %u, told what is out, has another queue %u at %u:%u than it had",
                 n->number, queue, priority, index);
    if (is_out != g->is_out[priority][index])
        smr_fail(n->world, "node %u has another word of what is out of queue %u at %u:%u",
                 n->number, queue, priority, index);
}

/* A word that is believed is the truth: what the former master had when it gave the queue away. */
void smr_check_held(struct smr_node *n, unsigned queue)
{
    const struct smr_hand *h = &n->hand[queue];
    const struct smr_given *g = given_in(n->world, queue, h->word.epoch);
    if (g == NULL) {
        if (!is_forgotten(n->world, queue, h->word.epoch))
            smr_fail(n->world, "node %u believes of queue %u what nobody has said", n->number,
                     queue);
        return;
    }
    for (unsigned p = 0; p < SMR_PRIORITIES; p++) {
        for (unsigned i = 0; i < SMR_POSITIONS; i++)
            check_held_at(n, queue, g, p, i);
        if (h->fresh[p] != g->fresh[p])
            smr_fail(n->world, "node %u takes other messages of queue %u for new ones", n->number,
                     queue);
    }
}

/* By a master. What comes as new keeps its order. */
void smr_check_handed_out(struct smr_node *n, unsigned queue, const struct smr_word *said)
{
    struct smr *w = n->world;
    struct smr_msg m = said->msg;
    struct smr_publish *p = &w->producers[m.pid].publishes[m.seq];
    uint16_t *newest = &w->newest[queue][m.pid][said->position >> MIRROR_PRIORITY_SHIFT];
    uint8_t bit = (uint8_t)(1u << queue);
    smr_say(w, "node %u hands %u of producer %u of queue %u to taker %u%s", n->number, m.seq, m.pid,
            queue, said->taker, said->is_redelivered ? ", again" : "");
    if ((p->final & bit) != 0)
        smr_fail(w, "%u of producer %u was settled for good and comes again", m.seq, m.pid);
    if (w->is_calm && said->is_redelivered && (p->fate.given & bit) == 0)
        smr_fail(w, "%u of producer %u never came and is said to come again", m.seq, m.pid);
    if (!said->is_redelivered && m.seq <= *newest)
        smr_fail(w, "%u of producer %u comes as new behind %u", m.seq, m.pid, *newest);
    if (!said->is_redelivered)
        *newest = m.seq;
    p->fate.given |= bit;
}

/* Word that it was settled has come to where the queue has been, and is not any more: it was moved
 * on before. Nobody sends it after that, and the message comes once more. */
void smr_check_missed(struct smr *w, unsigned queue, struct smr_msg m)
{
    struct smr_fate *f = &w->producers[m.pid].publishes[m.seq].fate;
    f->kept &= (uint8_t) ~(1u << queue);
    f->missed |= (uint8_t)(1u << queue);
}

/* By who is given it. What a former master has sent as new may come after what the next one sends
 * again, to another one: as new it comes once, and not from who has sent it again. */
void smr_check_taken(struct smr *w, unsigned queue, const struct smr_word *said)
{
    struct smr_msg m = said->msg;
    struct smr_publish *p = &w->producers[m.pid].publishes[m.seq];
    uint8_t bit = (uint8_t)(1u << queue);
    uint64_t *had = &p->fate.had_epoch[queue];
    bool was_had = (p->fate.was_new & bit) != 0 || (*had != 0 && *had <= said->epoch);
    if (was_had && !said->is_redelivered)
        smr_fail(w, "%u of producer %u comes again and does not say so", m.seq, m.pid);
    if (w->is_calm && (p->fate.kept & bit) != 0)
        smr_fail(w, "%u of producer %u comes again though nothing has gone wrong", m.seq, m.pid);
    if (!said->is_redelivered)
        p->fate.was_new |= bit;
    if (*had == 0 || said->epoch < *had)
        *had = said->epoch;
    p->fate.kept |= bit;
}

/* ---- at the end ---- */

bool smr_check_is_quiet(const struct smr *w)
{
    const struct smr_state *s = smr_head(w);
    if (w->flight_count != 0)
        return false;
    for (unsigned q = 0; q < w->queue_count; q++) {
        const struct smr_placement *p = &s->queues[q];
        for (unsigned i = 0; i < w->node_count; i++)
            if (!p->is_in_sync[i] || w->nodes[i].view + 1 != w->log_count)
                return false;
        const struct mirror_queue *m = w->nodes[p->master].queues[q].master;
        if (m == NULL || !m->is_active)
            return false;
        for (unsigned i = 0; i < m->pair_count; i++) {
            struct mirror_progress how;
            mirror_queue_progress(m, i, &how);
            if (!how.is_whole)
                return false;
        }
    }
    for (unsigned i = 0; i < w->node_count; i++)
        for (unsigned k = 0; k < w->node_count; k++)
            if (w->links[i][k].forth.count != 0 || w->links[i][k].back.count != 0)
                return false;
    for (unsigned pid = 1; pid <= w->producer_count; pid++)
        if (w->producers[pid].first_open <= w->producers[pid].seq)
            return false;
    return true;
}

static void check_equal(struct smr *w, unsigned queue, unsigned a, unsigned b)
{
    const struct smr_copy *x = &w->nodes[a].queues[queue], *y = &w->nodes[b].queues[queue];
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        for (unsigned i = 0; i < SMR_POSITIONS; i++)
            if (x->at[p][i].pid != y->at[p][i].pid || x->at[p][i].seq != y->at[p][i].seq) {
                smr_fail(w, "replicas of queue %u differ at %u on nodes %u and %u", queue, i, a, b);
                return;
            }
}

/* The last number of each producer must be the same, too: the next master judges by it. */
static void check_numbers(struct smr *w, unsigned queue, unsigned node, unsigned master)
{
    const struct producers *theirs = &w->nodes[master].queues[queue].master->history.now;
    const struct producers *ours = &w->nodes[node].queues[queue].copy->history.now;
    for (unsigned pid = 1; pid <= w->producer_count; pid++)
        if (producers_last(theirs, pid) != producers_last(ours, pid))
            smr_fail(w, "node %u has another last number of producer %u than the master", node,
                     pid);
}

static void check_content(struct smr *w, unsigned queue, unsigned master)
{
    const struct smr_copy *c = &w->nodes[master].queues[queue];
    static uint8_t times[SMR_PRODUCERS + 1][SMR_SEQS + 1];
    memset(times, 0, sizeof times);
    for (unsigned p = 0; p < SMR_PRIORITIES; p++) {
        uint16_t last[SMR_PRODUCERS + 1] = { 0 };
        for (unsigned i = 0; i < SMR_POSITIONS; i++) {
            struct smr_msg m = c->at[p][i];
            if (m.pid == 0)
                continue;
            if (m.seq <= last[m.pid])
                smr_fail(w, "%u of producer %u comes behind %u in queue %u", m.seq, m.pid,
                         last[m.pid], queue);
            last[m.pid] = m.seq;
            times[m.pid][m.seq]++;
        }
    }
    for (unsigned pid = 1; pid <= w->producer_count; pid++) {
        const struct smr_producer *from = &w->producers[pid];
        for (unsigned seq = 1; seq <= from->seq; seq++) {
            const struct smr_publish *p = &from->publishes[seq];
            unsigned bit = 1u << queue;
            bool is_sure = from->is_persistent || !w->has_crashed;
            if (times[pid][seq] > 1)
                smr_fail(w, "%u of producer %u is in queue %u twice", seq, pid, queue);
            if ((p->confirmed & bit) != 0 && (p->settled & bit) == 0 && times[pid][seq] == 0 &&
                is_sure)
                smr_fail(w, "%u of producer %u was confirmed and is not in queue %u", seq, pid,
                         queue);
            if ((p->final & bit) != 0 && times[pid][seq] != 0 && is_sure)
                smr_fail(w, "%u of producer %u was settled for good and is in queue %u", seq, pid,
                         queue);
        }
    }
}

void smr_check_end(struct smr *w)
{
    for (unsigned q = 0; q < w->queue_count; q++) {
        unsigned master = smr_head(w)->queues[q].master;
        for (unsigned i = 0; i < w->node_count && !w->has_failed; i++) {
            if (i == master)
                continue;
            check_equal(w, q, master, i);
            check_numbers(w, q, i, master);
        }
        if (!w->has_failed)
            check_content(w, q, master);
    }
}
