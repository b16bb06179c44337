/* The journal of a node: the store's own, on a disk that keeps what it likes of what is not synced.
 */
#include "base/check.h"
#include "base/mem.h"
#include "sim_content.h"
#include "sim_found.h"
#include "sim_mirror_inner.h"
#include "store/recover.h"

#include <inttypes.h>

#define SEGMENT_UNIT     4096u
#define RECOVERY_TRIES   4 /* that the power may cut short, one after the other */
#define PRIORITY_OF(pos) ((unsigned)((pos) >> MIRROR_PRIORITY_SHIFT))

/* ---- contents ---------------------------------------------------------------------------------
 */

static uint64_t content_of(unsigned queue, struct smr_msg m)
{
    return (uint64_t)queue << 32 | (uint64_t)m.pid << 16 | m.seq;
}

static uint64_t body_bytes_of(uint64_t content)
{
    return content % 97 == 0 ? 3000 : content % 90;
}

/* ---- appending --------------------------------------------------------------------------------
 */

static uint64_t append(struct smr_node *n, const struct slice *parts, size_t count)
{
    struct err err;
    uint64_t lsn;
    enum journal_need need = smr_below(n->world, 2) == 0 ? JOURNAL_LAZY : JOURNAL_SOON;
    (void)journal_append(n->journal.journal, parts, count, need, &lsn);
    if (journal_wants_prepare(n->journal.journal) && !journal_prepare(n->journal.journal, &err))
        smr_fail(n->world, "node %u can make no segment: %s", n->number, err.text);
    return lsn;
}

static uint64_t append_message(struct smr_node *n, const struct smr_record *r)
{
    uint8_t head[RECORD_MSG_ROOM(1)], names[SIM_NAMES_BYTES], props[SIM_PROPS_MAX], body[3000];
    uint64_t content = content_of(r->queue, r->msg);
    size_t body_bytes = (size_t)body_bytes_of(content), props_bytes = sim_props_bytes(content);
    struct msg_producer by = { r->msg.pid, r->msg.seq };
    struct msg_target to = { .qid = r->queue + 1u, .qseq = r->first };
    sim_names(names, content);
    sim_props(props, content);
    sim_fill(body, body_bytes, content, 2);
    size_t head_bytes = record_put_msg_of(head, r->is_again ? MSG_AGAIN : 0, &by, &to, 1,
                                          sizeof names, props_bytes, body_bytes);
    struct slice parts[] = {
        { head, head_bytes }, { names, sizeof names }, { props, props_bytes }, { body, body_bytes }
    };
    return append(n, parts, ARRAY_COUNT(parts));
}

static uint64_t append_settle(struct smr_node *n, const struct smr_record *r)
{
    uint8_t room[RECORD_SETTLE_ROOM(1, 0)];
    struct settle_range range = { r->first, r->last };
    struct slice part =
        slice_of(room, record_put_settle(room, 0, r->queue + 1u, &range, 1, NULL, 0));
    return append(n, &part, 1);
}

static uint64_t append_epoch(struct smr_node *n, const struct smr_record *r, struct slice history)
{
    uint8_t head[RECORD_EPOCH_ROOM(SMR_PRIORITIES)];
    struct settle_range cuts[SMR_PRIORITIES];
    for (unsigned i = 0; i < r->cut_count; i++)
        cuts[i] = (struct settle_range){ r->cut[i].first, r->cut[i].last };
    size_t head_bytes = record_put_epoch(head, r->queue + 1u, cuts, r->cut_count, history.len);
    struct slice parts[] = { { head, head_bytes }, history };
    return append(n, parts, ARRAY_COUNT(parts));
}

uint64_t smr_journal_put(struct smr_node *n, const struct smr_record *r)
{
    struct smr_record kept = *r;
    kept.lsn = r->type == SMR_MSG ? append_message(n, r) : append_settle(n, r);
    smr_disk_put(&n->disk, &kept);
    return kept.lsn;
}

static uint8_t *octets_of(const struct mirror_history *h, size_t *size)
{
    *size = mirror_history_size(h, true);
    uint8_t *room = mem_alloc(*size);
    struct wire_out out = wire_out_over(room, *size);
    mirror_history_put(&out, h, true);
    CHECK(!out.overflow && wire_out_len(&out) == *size);
    return room;
}

uint64_t smr_journal_put_history(struct smr_node *n, unsigned queue, const struct mirror_history *h,
                                 const struct mirror_run *cut, unsigned cut_count)
{
    struct smr_record r = { .type = SMR_HISTORY,
                            .queue = (uint8_t)queue,
                            .cut_count = (uint8_t)cut_count };
    size_t size;
    uint8_t *room = octets_of(h, &size);
    for (unsigned i = 0; i < cut_count; i++)
        r.cut[i] = cut[i];
    struct wire in = wire_over(slice_of(room, size));
    bool is_good = mirror_history_take(&in, true, &r.history);
    CHECK(is_good);
    r.lsn = append_epoch(n, &r, slice_of(room, size));
    mem_free(room);
    smr_disk_put(&n->disk, &r);
    return r.lsn;
}

/* ---- syncing ----------------------------------------------------------------------------------
 */

static void note_durable(struct smr_node *n)
{
    uint64_t durable = journal_durable(n->journal.journal);
    while (n->disk.durable < n->disk.count && n->disk.records[n->disk.durable].lsn <= durable)
        n->disk.durable++;
}

uint64_t smr_journal_sync(struct smr_node *n, bool is_partial)
{
    while (journal_pump(n->journal.journal, n->world->now_ms) && !is_partial)
        ;
    note_durable(n);
    return journal_durable(n->journal.journal);
}

/* ---- lives ------------------------------------------------------------------------------------
 */

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_sealed(uint32_t seg, void *arg)
{
    (void)seg;
    (void)arg;
}

static void on_failed(const struct err *err, void *arg)
{
    struct smr_node *n = arg;
    if (!sim_disk_is_down(n->journal.disk))
        smr_fail(n->world, "the journal of node %u fails: %s", n->number, err->text);
}

void smr_journal_init(struct smr_node *n)
{
    struct smr_journal *j = &n->journal;
    struct err err;
    j->segment_bytes = SEGMENT_UNIT * (2 + (uint32_t)smr_below(n->world, 15));
    j->disk = sim_disk_new(smr_below(n->world, UINT64_MAX), NULL, NULL);
    CHECK(sim_disk_of(j->disk)->ops->make_folder(sim_disk_of(j->disk), JOURNAL_FOLDER, &err));
    CHECK(sim_disk_of(j->disk)->ops->sync_folder(sim_disk_of(j->disk), "", &err));
}

static void close_journal(struct smr_journal *j)
{
    if (j->journal != NULL)
        journal_stop(j->journal);
    journal_free(&j->journal);
    segs_free(&j->segs);
}

void smr_journal_fini(struct smr_node *n)
{
    close_journal(&n->journal);
    sim_disk_free(&n->journal.disk);
}

static enum sim_survival a_survival(struct smr *w)
{
    return (enum sim_survival)smr_below(w, SIM_SURVIVES_RUBBISH);
}

/* Now and then in the midst of writing. */
void smr_journal_crash(struct smr_node *n)
{
    struct smr_journal *j = &n->journal;
    if (rng_chance(&n->world->rng, n->world->chance.torn_1000)) {
        sim_disk_arm(j->disk, &(struct sim_faults){ .crash_at = 1 + smr_below(n->world, 6) });
        while (journal_pump(j->journal, n->world->now_ms) && !sim_disk_is_down(j->disk))
            ;
        note_durable(n); /* nobody has heard of it */
    }
    sim_disk_cut(j->disk);
    close_journal(j);
    sim_disk_reboot(j->disk, a_survival(n->world));
}

static void start_journal(struct smr_node *n, uint32_t first_seg)
{
    struct smr_journal *j = &n->journal;
    struct err err;
    j->journal = journal_new(&(struct journal_setup){ .disk = sim_disk_of(j->disk),
                                                      .segs = j->segs,
                                                      .segment_bytes = j->segment_bytes,
                                                      .first_seg = first_seg,
                                                      .spare = 2,
                                                      .sync = JOURNAL_SYNC_ALWAYS,
                                                      .interval_ms = 100,
                                                      .slow_ms = 1000,
                                                      .store_id = { n->number },
                                                      .on_durable = on_nothing,
                                                      .on_sealed = on_sealed,
                                                      .on_failed = on_failed,
                                                      .arg = n },
                             &err);
    CHECK(j->journal != NULL);
}

/* ---- what a start finds -----------------------------------------------------------------------
 */

static void on_seen(const struct sim_seen *s, void *arg)
{
    struct smr_node *n = arg;
    unsigned queue = (unsigned)s->qid - 1, priority = PRIORITY_OF(s->qseq);
    struct smr_msg m = { (uint8_t)(s->content >> 16), true, (uint16_t)s->content };
    uint64_t at = s->qseq - smr_base(priority);
    if (queue >= n->world->queue_count || priority >= SMR_PRIORITIES || at >= SMR_POSITIONS ||
        s->content != content_of(queue, m) || s->body_bytes != body_bytes_of(s->content))
        smr_fail(n->world, "node %u finds at %" PRIx64 " of queue %u what nobody put there",
                 n->number, s->qseq, queue);
    else
        n->queues[queue].at[priority][at] = m;
}

static void on_missed(uint64_t qid, const struct recovered_entry *e, void *arg)
{
    struct smr_node *n = arg;
    smr_fail(n->world, "node %u cannot read %" PRIx64 " of queue %u, which is said to be there",
             n->number, e->qseq, (unsigned)qid - 1);
}

static void on_wrong(const char *why, void *arg)
{
    struct smr_node *n = arg;
    smr_fail(n->world, "node %u: %s", n->number, why);
}

static void take_queue(struct smr_copy *c, const struct recovered_queue *q)
{
    recovered_history_take(q, &c->history);
    for (size_t i = 0; i < q->level_count; i++) {
        const struct recovered_level *l = &q->levels[i];
        uint64_t base = smr_base(l->priority);
        c->next[l->priority] = (uint32_t)(l->next_new - base);
        uint64_t said = l->settled_end > l->next_new ? l->settled_end - base : l->next_new - base;
        for (uint64_t k = 0; k < said; k++)
            c->was_settled[l->priority][k] = true;
    }
}

static bool is_same_history(const struct mirror_history *a, const struct mirror_history *b)
{
    size_t a_size, b_size;
    uint8_t *x = octets_of(a, &a_size), *y = octets_of(b, &b_size);
    bool is_same = slice_eq(slice_of(x, a_size), slice_of(y, b_size));
    mem_free(x);
    mem_free(y);
    return is_same;
}

static bool is_what_was_appended(const struct smr_node *n, size_t count)
{
    static struct smr_copy want;
    bool is_same = true;
    for (unsigned q = 0; q < n->world->queue_count && is_same; q++) {
        const struct smr_copy *c = &n->queues[q];
        want = (struct smr_copy){ 0 };
        smr_disk_recover(&n->disk, count, q, &want);
        for (unsigned p = 0; p < SMR_PRIORITIES && is_same; p++)
            for (unsigned i = 0; i < SMR_POSITIONS && is_same; i++)
                is_same =
                    c->at[p][i].pid == want.at[p][i].pid && c->at[p][i].seq == want.at[p][i].seq;
        is_same = is_same && is_same_history(&c->history, &want.history);
        mirror_history_fini(&want.history);
    }
    return is_same;
}

/* All that was durable, and of the rest a beginning. From now on that is all there ever was. */
static void compare(struct smr_node *n)
{
    size_t count = n->disk.count;
    while (!is_what_was_appended(n, count)) {
        if (count-- == n->disk.durable) {
            smr_fail(n->world, "node %u does not find what its journal was given", n->number);
            return;
        }
    }
    smr_disk_cut(&n->disk, count);
    n->disk.durable = count;
    for (size_t i = 0; i < count; i++)
        n->disk.records[i].lsn = 0;
}

static bool recover(struct smr_node *n, uint32_t *first_seg)
{
    struct smr_journal *j = &n->journal;
    struct recovered r;
    struct err err;
    struct recover_setup setup = { .disk = sim_disk_of(j->disk), .segs = j->segs };
    struct sim_finder f = {
        .see = on_seen, .miss = on_missed, .fail = on_wrong, .arg = n, .is_plain = true
    };
    bool ok = recover_run(&setup, &r, &err);
    if (!ok && !sim_disk_is_down(j->disk))
        smr_fail(n->world, "node %u cannot read its journal: %s", n->number, err.text);
    if (!ok)
        return false;
    if (!sim_disk_is_down(j->disk)) {
        sim_disk_arm(j->disk, &(struct sim_faults){ 0 });
        if (r.damage_count != 0)
            smr_fail(n->world, "node %u tells of damage, and nothing was hurt", n->number);
        bool is_read = sim_found_walk(j->disk, &r, &f);
        CHECK(is_read || n->world->has_failed);
        for (size_t i = 0; i < r.queue_count && !n->world->has_failed; i++)
            take_queue(&n->queues[r.queues[i].qid - 1], &r.queues[i]);
        *first_seg = r.next_seg;
    }
    recovered_fini(&r);
    return !sim_disk_is_down(j->disk);
}

void smr_journal_start(struct smr_node *n)
{
    struct smr_journal *j = &n->journal;
    uint32_t first_seg = 1;
    for (int tries = 0;; tries++) {
        bool is_cut = tries < RECOVERY_TRIES && !n->world->is_healing &&
                      rng_chance(&n->world->rng, n->world->chance.torn_1000 / 4);
        sim_disk_arm(j->disk,
                     &(struct sim_faults){ .crash_at = is_cut ? 1 + smr_below(n->world, 40) : 0 });
        j->segs = segs_new();
        if (recover(n, &first_seg) || n->world->has_failed)
            break;
        segs_free(&j->segs);
        sim_disk_reboot(j->disk, a_survival(n->world));
    }
    if (!n->world->has_failed)
        compare(n);
    start_journal(n, first_seg);
}
