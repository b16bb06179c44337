/* What a node has of a queue, in memory and in its journal. */
#include "base/check.h"
#include "base/mutation.h"
#include "sim_mirror_inner.h"

struct smr_msg *smr_copy_at(struct smr_copy *c, uint64_t position)
{
    unsigned priority = (unsigned)(position >> MIRROR_PRIORITY_SHIFT);
    uint64_t index = position - smr_base(priority);
    CHECK(priority < SMR_PRIORITIES && index < SMR_POSITIONS);
    return &c->at[priority][index];
}

bool *smr_copy_settled_at(struct smr_copy *c, uint64_t position)
{
    unsigned priority = (unsigned)(position >> MIRROR_PRIORITY_SHIFT);
    return &c->was_settled[priority][position - smr_base(priority)];
}

uint64_t smr_copy_put(struct smr_node *n, unsigned queue, uint64_t position, struct smr_msg m)
{
    struct smr_copy *c = &n->queues[queue];
    unsigned priority = (unsigned)(position >> MIRROR_PRIORITY_SHIFT);
    struct smr_msg *to = smr_copy_at(c, position);
    if (to->pid != 0 && (to->pid != m.pid || to->seq != m.seq))
        smr_fail(n->world, "node %u has two messages at one position of queue %u", n->number,
                 queue);
    if (to->pid != 0)
        return 0;
    *to = m;
    uint32_t index = (uint32_t)(position - smr_base(priority));
    smr_say(n->world, "node %u has %u of producer %u at %u:%u of queue %u", n->number, m.seq, m.pid,
            priority, index, queue);
    if (c->next[priority] <= index)
        c->next[priority] = index + 1;
    if (!m.is_persistent)
        return 0;
    return smr_journal_put(n,
                           &(struct smr_record){ .type = SMR_MSG,
                                                 .queue = (uint8_t)queue,
                                                 .msg = m,
                                                 .first = position,
                                                 .is_again = *smr_copy_settled_at(c, position) &&
                                                             !MUTATION(MIRROR_SETTLEMENT_COUNTS) });
}

/* True: something of it is in the journal. */
bool smr_copy_take_out(struct smr_node *n, unsigned queue, struct mirror_run run)
{
    struct smr_copy *c = &n->queues[queue];
    bool is_written = false;
    smr_say(n->world, "node %u settles %u to %u of queue %u", n->number, (unsigned)run.first,
            (unsigned)run.last, queue);
    for (uint64_t p = run.first; p <= run.last; p++) {
        is_written = is_written || smr_copy_at(c, p)->is_persistent;
        *smr_copy_at(c, p) = (struct smr_msg){ 0 };
    }
    for (uint64_t p = run.first; is_written && p <= run.last; p++)
        *smr_copy_settled_at(c, p) = true;
    return is_written;
}

uint64_t smr_copy_settle(struct smr_node *n, unsigned queue, uint64_t position)
{
    if (!smr_copy_take_out(n, queue, (struct mirror_run){ position, position }))
        return 0;
    return smr_journal_put(
        n, &(struct smr_record){
               .type = SMR_SETTLE, .queue = (uint8_t)queue, .first = position, .last = position });
}

/* What is written of it goes into one record with the history that says so. */
void smr_copy_cut(struct smr_node *n, unsigned queue, const struct mirror_starts *at_or_behind)
{
    struct smr_copy *c = &n->queues[queue];
    for (unsigned p = 0; p < SMR_PRIORITIES; p++) {
        uint64_t from = mirror_starts_of(at_or_behind, smr_base(p));
        uint64_t end = smr_base(p) + c->next[p];
        if (from >= end)
            continue;
        c->next[p] = (uint32_t)(from - smr_base(p));
        if (smr_copy_take_out(n, queue, (struct mirror_run){ from, end - 1 }))
            c->cut[c->cut_count++] = (struct mirror_run){ from, end - 1 };
    }
}

uint64_t smr_copy_put_history(struct smr_node *n, unsigned queue, const struct mirror_history *h)
{
    struct smr_copy *c = &n->queues[queue];
    uint64_t lsn = smr_journal_put_history(n, queue, h, c->cut, c->cut_count);
    c->cut_count = 0;
    return lsn;
}

void smr_copy_raise(struct smr_copy *c, const struct mirror_starts *least)
{
    for (unsigned p = 0; p < SMR_PRIORITIES; p++) {
        uint32_t next = (uint32_t)(mirror_starts_of(least, smr_base(p)) - smr_base(p));
        if (c->next[p] < next)
            c->next[p] = next;
    }
}

void smr_copy_starts(const struct smr_copy *c, struct mirror_starts *out)
{
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        if (c->next[p] != 0)
            mirror_starts_raise(out, smr_base(p) + c->next[p]);
}

/* The first row of positions from `from` on. */
bool smr_copy_row(struct smr_copy *c, uint64_t from, struct mirror_run *out)
{
    unsigned first = (unsigned)(from >> MIRROR_PRIORITY_SHIFT);
    for (unsigned p = first; p < SMR_PRIORITIES; p++) {
        uint32_t i = p == first ? (uint32_t)(from - smr_base(p)) : 0;
        while (i < c->next[p] && c->at[p][i].pid == 0)
            i++;
        if (i >= c->next[p])
            continue;
        out->first = smr_base(p) + i;
        while (i < c->next[p] && c->at[p][i].pid != 0)
            i++;
        out->last = smr_base(p) + i - 1;
        return true;
    }
    return false;
}
