/* What was appended to a journal, and what that means when it is read: no order between messages
 * and settlements, but for those that came again. The store is compared with it. */
#include "base/check.h"
#include "base/mem.h"
#include "sim_mirror_inner.h"

void smr_disk_put(struct smr_disk *d, const struct smr_record *r)
{
    if (d->count == d->cap) {
        d->cap = d->cap != 0 ? d->cap * 2 : 64;
        d->records = mem_realloc(d->records, d->cap * sizeof *d->records);
    }
    d->records[d->count++] = *r;
}

void smr_disk_cut(struct smr_disk *d, size_t count)
{
    while (d->count > count)
        mirror_history_fini(&d->records[--d->count].history);
}

void smr_disk_fini(struct smr_disk *d)
{
    smr_disk_cut(d, 0);
    mem_free(d->records);
}

static void saw(struct smr_copy *c, uint64_t position)
{
    unsigned priority = (unsigned)(position >> MIRROR_PRIORITY_SHIFT);
    uint32_t at = (uint32_t)(position - smr_base(priority));
    if (c->next[priority] <= at)
        c->next[priority] = at + 1;
}

static void recover_settled(struct mirror_run run, size_t lsn, struct smr_copy *c,
                            size_t settled[SMR_PRIORITIES][SMR_POSITIONS])
{
    unsigned priority = (unsigned)(run.first >> MIRROR_PRIORITY_SHIFT);
    for (uint64_t p = run.first; p <= run.last; p++)
        settled[priority][p - smr_base(priority)] = lsn;
    saw(c, run.last);
}

void smr_disk_recover(const struct smr_disk *d, size_t count, unsigned queue, struct smr_copy *c)
{
    size_t settled[SMR_PRIORITIES][SMR_POSITIONS] = { 0 };
    size_t again[SMR_PRIORITIES][SMR_POSITIONS] = { 0 };
    for (size_t i = 0; i < count; i++) {
        const struct smr_record *r = &d->records[i];
        if (r->queue != queue)
            continue;
        if (r->type == SMR_HISTORY) {
            mirror_history_copy(&c->history, &r->history);
            for (unsigned k = 0; k < r->cut_count; k++)
                recover_settled(r->cut[k], i + 1, c, settled);
        } else if (r->type == SMR_SETTLE) {
            recover_settled((struct mirror_run){ r->first, r->last }, i + 1, c, settled);
        } else {
            unsigned priority = (unsigned)(r->first >> MIRROR_PRIORITY_SHIFT);
            size_t at = (size_t)(r->first - smr_base(priority));
            c->at[priority][at] = r->msg;
            again[priority][at] = r->is_again ? i + 1 : 0;
            saw(c, r->first);
            mirror_history_saw(&c->history, r->first, r->msg.pid, r->msg.seq);
        }
    }
    for (unsigned p = 0; p < SMR_PRIORITIES; p++)
        for (size_t at = 0; at < c->next[p]; at++)
            if (settled[p][at] > again[p][at])
                c->at[p][at] = (struct smr_msg){ 0 };
}

/* It is durable there, whatever became of it. */
bool smr_disk_has(const struct smr_disk *d, unsigned queue, struct smr_msg m)
{
    for (size_t i = d->durable; i-- != 0;) {
        const struct smr_record *r = &d->records[i];
        if (r->type == SMR_MSG && r->queue == queue && r->msg.pid == m.pid && r->msg.seq == m.seq)
            return true;
    }
    return false;
}
