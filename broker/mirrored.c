#include "mirrored.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sm.h"
#include "base/text.h"
#include "broker.h"
#include "cluster/meta_mirrors.h"
#include "hosted.h"
#include "mirror_link/mirror_links.h"
#include "mirrored_handed.h"
#include "mirrored_journal.h"
#include "mirrored_keep.h"
#include "mirrored_lead.h"
#include "mirrored_leave.h"
#include "model/queue_copy.h"
#include "port.h"
#include "promise.h"
#include "store/store.h"

#include <inttypes.h>

#define ENTRIES_A_TURN ((size_t)16 * 1024) /* of queues that are changed, dropped or cut */
#define QUEUES_A_TURN  1024u

#define TO(name)       SM_BIT(MIRRORED_##name)
static const struct sm_row rows[] = {
#define X(name, moves) { #name, moves },
    MIRRORED_STATES(X)
#undef X
};

struct mirrored_work {
    struct shard *shard;
    TAILQ_HEAD(, hosted) due;
    struct loop_task task;
    struct loop_task turn_end;
    size_t budget; /* of this turn */
    uint64_t lsn;  /* the last that somebody waits for */
};

/* What the metadata says of a queue now, and what of that concerns this node. */
struct wanted {
    struct meta_placement p;
    uint64_t first_epoch; /* that the queue was made in */
    enum meta_role role;
    bool leads;
};

static void on_due(void *arg);
static void on_turn_end(void *arg);
static void advance(struct hosted *h);

struct mirrored *mirrored_new(struct shard *s)
{
    struct mirrored *m = mem_zalloc(sizeof *m);
    struct mirror_setup setup;
    uint16_t shards = (uint16_t)broker_shard_count(s->broker);
    mirror_setup_default(&setup);
    setup.shards = shards;
    setup.window_bytes = MIRROR_STREAM_WINDOW;
    m->m = mirror_master_new(&mirrored_lead_ops, s, &setup);
    m->r = mirror_replica_new(&mirrored_copy_ops, s, shards);
    m->work = mem_zalloc(sizeof *m->work);
    m->work->shard = s;
    m->work->budget = ENTRIES_A_TURN;
    TAILQ_INIT(&m->work->due);
    loop_task_init(&m->work->task, on_due, m->work);
    loop_task_init(&m->work->turn_end, on_turn_end, m->work);
    m->leads = mirrored_leads_new(s);
    s->mirror_links = mirror_links_new(s, m->m, m->r);
    return m;
}

/* Queues are gone by then. */
void mirrored_free(struct mirrored **mirrored, struct mirror_links **links)
{
    struct mirrored *m = *mirrored;
    *mirrored = NULL;
    CHECK(TAILQ_EMPTY(&m->work->due));
    mirror_links_free(links);
    mirror_master_free(&m->m);
    mirror_replica_free(&m->r);
    mirrored_leads_free(&m->leads);
    loop_task_cancel(m->work->shard->loop, &m->work->task);
    loop_task_cancel(m->work->shard->loop, &m->work->turn_end);
    mem_free(m->work);
    mem_free(m);
}

/* ---- turns ------------------------------------------------------------------------------------
 */

static void on_turn_end(void *arg)
{
    struct mirrored_work *w = arg;
    w->budget = ENTRIES_A_TURN;
    if (w->shard->store == NULL)
        return;
    if (w->lsn != 0)
        promises_follow(w->shard->promises, w->lsn);
    journal_kick(store_journal(w->shard->store));
}

void mirrored_appended(struct shard *s, uint64_t lsn)
{
    struct mirrored_work *w = s->mirrored->work;
    w->lsn = lsn > w->lsn ? lsn : w->lsn;
    loop_at_turn_end(s->loop, &s->mirrored->work->turn_end);
}

void mirrored_hurry(struct shard *s)
{
    if (s->store == NULL)
        return;
    journal_want(store_journal(s->store));
    loop_at_turn_end(s->loop, &s->mirrored->work->turn_end);
}

size_t *mirrored_budget(struct shard *s)
{
    loop_at_turn_end(s->loop, &s->mirrored->work->turn_end);
    return &s->mirrored->work->budget;
}

void mirrored_is_due(struct hosted *h)
{
    struct mirrored_work *w = h->shard->mirrored->work;
    if (h->mirrored->is_due)
        return;
    h->mirrored->is_due = true;
    TAILQ_INSERT_TAIL(&w->due, h, mirrored->due_entry);
    loop_again(h->shard->loop, &w->task);
}

static void not_due(struct hosted *h)
{
    if (h->mirrored->is_due)
        TAILQ_REMOVE(&h->shard->mirrored->work->due, h, mirrored->due_entry);
    h->mirrored->is_due = false;
}

static void on_due(void *arg)
{
    struct mirrored_work *w = arg;
    struct hosted *h;
    for (unsigned n = 0; n < QUEUES_A_TURN && w->budget != 0; n++) {
        if ((h = TAILQ_FIRST(&w->due)) == NULL)
            return;
        not_due(h);
        bool is_copy = h->mirrored->state == MIRRORED_COPY;
        if (!is_copy || h->mirrored->is_wanted || mirrored_handed_is_decided(h))
            advance(h);
        if (is_copy)
            mirror_links_go_on(w->shard);
    }
    if (!TAILQ_EMPTY(&w->due))
        loop_again(w->shard->loop, &w->task);
}

void mirrored_want(struct hosted *h, const struct qwant *want)
{
    if (h->mirrored->wants)
        return; /* whoever asks is called when that is there, and asks again */
    h->mirrored->wants = pager_read(h, want);
    CHECK(h->mirrored->wants); /* nothing is away where there is no store */
}

void mirrored_loaded(struct hosted *h)
{
    struct mirrored_queue *mq = h->mirrored;
    struct shard *s = h->shard;
    mq->wants = false;
    if (mq->state == MIRRORED_COPY) {
        mirror_replica_loaded(s->mirrored->r, mq->copy);
        mirror_links_go_on(s);
    } else if (mq->state == MIRRORED_MASTER) {
        mirror_master_loaded(s->mirrored->m, mq->lead, loop_now_ms(s->loop));
    } else {
        mirrored_is_due(h);
    }
    mirror_links_soon(s);
}

void mirrored_durable(struct shard *s, uint64_t lsn)
{
    mirror_master_durable(s->mirrored->m, lsn);
    mirror_replica_durable(s->mirrored->r, lsn);
    mirror_links_soon(s);
}

/* ---- positions --------------------------------------------------------------------------------
 */

static void take_start(uint64_t next_new, void *arg)
{
    mirror_starts_raise(arg, next_new);
}

void mirrored_starts(const struct hosted *h, struct mirror_starts *out)
{
    queue_starts(&h->queue, take_start, out);
}

void mirrored_raise(struct hosted *h, const struct mirror_starts *least)
{
    for (uint32_t i = 0; i < least->count; i++)
        queue_raise(&h->queue, least->items[i]);
}

/* Of one priority. */
static enum qcopy cut_one(struct hosted *h, uint64_t from, uint64_t end)
{
    struct qwant want;
    enum qcopy dropped = queue_drop(&h->queue, from, end - 1, mirrored_budget(h->shard), &want);
    if (dropped == QCOPY_LATER)
        mirrored_want(h, &want);
    else if (dropped == QCOPY_MORE)
        mirrored_is_due(h);
    if (dropped != QCOPY_DONE)
        return dropped;
    queue_lower(&h->queue, from);
    copy_raise_tops(h, end - 1);
    return QCOPY_DONE;
}

enum mirror_taken mirrored_cut(struct hosted *h, const struct mirror_starts *cut)
{
    struct mirror_starts next = { 0 };
    enum qcopy dropped = QCOPY_DONE;
    mirrored_starts(h, &next);
    for (uint32_t i = 0; i < next.count && dropped == QCOPY_DONE; i++) {
        uint64_t from = mirror_starts_of(cut, next.items[i]);
        if (from < next.items[i])
            dropped = cut_one(h, from, next.items[i]);
    }
    mirror_starts_fini(&next);
    return dropped == QCOPY_DONE ? MIRROR_TAKEN : MIRROR_TAKEN_LATER;
}

/* ---- what is wanted ---------------------------------------------------------------------------
 */

/* Only the process that was made the master acts as it. */
static bool is_to_lead(const struct shard *s, const struct meta_version *v,
                       const struct meta_placement *p)
{
    uint16_t self = broker_node(s->broker);
    const struct meta_node *n = meta_node_get(v, self);
    uint32_t inc = store_incarnation(s->store);
    return p->master == self && p->master_inc == inc && n != NULL && n->inc == inc &&
           p->state != META_PLACED_DAMAGED;
}

/* False: it is not in the metadata; or the node is taken down, and leads nothing. */
static bool look(const struct shard *s, uint64_t qid, struct wanted *out)
{
    const struct meta_version *v = broker_meta(s->broker);
    const struct meta_queue *q = meta_queue_get(v, qid);
    if (q == NULL || s->store == NULL)
        return false;
    meta_placement_of(v, q, &out->p);
    out->first_epoch = q->epoch;
    out->role = meta_placement_role(&out->p, broker_node(s->broker));
    out->leads = is_to_lead(s, v, &out->p);
    return true;
}

/* Who was the master before, as far as this node has seen: itself, if it does not know. */
static void note_epoch(struct hosted *h, const struct wanted *w)
{
    struct mirrored_queue *mq = h->mirrored;
    if (mq->epoch != w->p.epoch) {
        mq->earlier = mq->master != 0 ? mq->master : broker_node(h->shard->broker);
        if (w->p.epoch == w->first_epoch)
            mq->earlier = 0;
    }
    mq->epoch = w->p.epoch;
    mq->master = w->p.master;
    if (w->p.master != broker_node(h->shard->broker))
        mq->is_wanted = false;
}

/* The other replicas. Returns how many. */
static unsigned list_members(const struct hosted *h, const struct meta_placement *p,
                             struct mirror_member *out)
{
    unsigned count = 0;
    uint16_t self = broker_node(h->shard->broker);
    for (unsigned i = 0; i < p->count && count < MIRROR_SET_MAX - 1; i++) {
        const struct meta_replica *r = meta_placement_replica(p, i);
        if (r->node != self)
            out[count++] = (struct mirror_member){ .node = r->node, .is_in_sync = r->inc != 0 };
    }
    return count;
}

/* ---- leading ----------------------------------------------------------------------------------
 */

static bool is_manual(const struct hosted *h)
{
    struct meta_mirror_rule rule;
    const struct meta_version *v = broker_meta(h->shard->broker);
    meta_mirror_rule_of(v, meta_queue_get(v, h->queue.qid), &rule);
    return rule.sync_is_manual;
}

static void place(struct hosted *h, const struct wanted *w, struct mirror_placed *out,
                  struct mirror_member *members)
{
    *out = (struct mirror_placed){ .ver = w->p.ver,
                                   .members = members,
                                   .count = list_members(h, &w->p, members),
                                   .is_manual = is_manual(h) };
}

/* The epoch begins with one record, behind all that was there before: a crash must not come between
 * what it says of positions and of their producers. */
static void begin_to_lead(struct hosted *h, const struct wanted *w)
{
    struct mirrored_queue *mq = h->mirrored;
    struct shard *s = h->shard;
    struct mirror_member members[MIRROR_SET_MAX];
    struct mirror_placed placed;
    place(h, w, &placed, members);
    (void)ledger_flush(s->ledger);
    if (mq->earlier != 0)
        mirror_master_takes_over(s->mirrored->m, loop_now_ms(s->loop));
    mq->lead = mirror_master_begin(s->mirrored->m, h->queue.qid, w->p.epoch, &mq->history,
                                   h->book.durable, h, &placed);
    mirrored_raise(h, mirror_history_starts(&mq->lead->history));
    uint64_t lsn = copy_write_history(h, &mq->lead->history);
    if (lsn != 0)
        mirror_master_written(s->mirrored->m, mq->lead->last_pos, lsn);
    sm_move(rows, &mq->state, MIRRORED_MASTER);
    mirrored_lead_began(s, h);
    mirrored_handed_began(h);
}

static void place_anew(struct hosted *h, const struct wanted *w)
{
    struct mirror_member members[MIRROR_SET_MAX];
    struct mirror_placed placed;
    place(h, w, &placed, members);
    mirror_master_place(h->shard->mirrored->m, h->mirrored->lead, &placed);
    mirrored_lead_placed(h->shard, h);
}

/* What was settled, and what has died, is written before anything may come anew; and said to the
 * next master, before what is out. Where it leads on in another epoch at once, nothing has gone
 * anywhere: what is held for those who may claim it still is. */
static void end_leading(struct hosted *h, uint16_t next, bool goes_on)
{
    struct mirrored_queue *mq = h->mirrored;
    struct shard *s = h->shard;
    hosted_settle_letters(h);
    (void)ledger_flush(s->ledger);
    mirrored_hand_over(h, next);
    if (!goes_on)
        mirrored_handed_forget(h);
    mirrored_lead_ends(s, h);
    mirror_master_end(s->mirrored->m, &mq->lead, &mq->history);
    sm_move(rows, &mq->state, MIRRORED_USED);
}

/* ---- following --------------------------------------------------------------------------------
 */

/* It may still be asked to be deleted, by who has promised that: its new master is to know of it
 * from the metadata. */
static void stop_using(struct hosted *h)
{
    port_move_all(h->shard, &h->queue);
    h->queue.is_mirrored = false;
    h->deleting = false;
    h->book.expects_out = false;
    h->book.mark_lsn = 0;
    hosted_settle_letters(h);
    (void)ledger_flush(h->shard->ledger);
    sm_move(rows, &h->mirrored->state, MIRRORED_FOLLOWING);
}

/* False: not done yet. */
static bool follow(struct hosted *h)
{
    size_t *budget = mirrored_budget(h->shard);
    if (queue_follow(&h->queue, budget) == QCOPY_MORE) {
        mirrored_is_due(h);
        return false;
    }
    sm_move(rows, &h->mirrored->state, MIRRORED_STILL);
    return true;
}

static void end_copy(struct hosted *h)
{
    struct mirrored_queue *mq = h->mirrored;
    mirror_replica_end(h->shard->mirrored->r, &mq->copy, &mq->history);
    sm_move(rows, &mq->state, MIRRORED_STILL);
}

static void begin_copy(struct hosted *h, const struct wanted *w)
{
    struct mirrored_queue *mq = h->mirrored;
    mirrored_handed_forget(h); /* of a move before the last */
    mq->copy =
        mirror_replica_begin(h->shard->mirrored->r, h->queue.qid, w->p.epoch, &mq->history, h);
    sm_move(rows, &mq->state, MIRRORED_COPY);
}

/* ---- from one to the other --------------------------------------------------------------------
 */

/* It goes back to where it has no holes. */
static void begin_to_cut(struct hosted *h)
{
    struct mirrored_queue *mq = h->mirrored;
    mirrored_keep_end(h);
    mq->before_cut = queue_ready(&h->queue);
    mq->was_cut = !mirror_history_back(&mq->history, &mq->cut);
    sm_move(rows, &mq->state, MIRRORED_CUTTING);
}

/* What it had got of its last master since it began to be compared with that: others who were in
 * sync had it all, the node that was the master has it still, and nobody has a confirm for it. */
static void tell_cut(const struct hosted *h)
{
    uint64_t count = h->mirrored->before_cut - queue_ready(&h->queue);
    const struct meta_queue *q = meta_queue_get(broker_meta(h->shard->broker), h->queue.qid);
    char room[600];
    struct text t = text_over(room, sizeof room);
    text_escaped(&t, q != NULL ? meta_queue_name(q) : slice_str("(gone)"));
    if (count != 0)
        log_warn("mirror", broker_name(h->shard->broker),
                 "a copy that was being compared leads now, without what had come since: nobody "
                 "was given a confirm for that queue=\"%s\" count=%" PRIu64,
                 room, count);
}

static void unsee(uint64_t next_new, void *arg)
{
    queue_unseen(arg, next_new);
}

/* It was told ahead how far messages may have been shown. What comes now was shown to nobody, if
 * that waits until all have it who may lead; else it may be sent again by who had no confirm. */
static void expect_new(struct hosted *h)
{
    if (h->mirrored->was_cut && mirrored_lead_shows_late(h))
        queue_starts(&h->queue, unsee, &h->queue);
}

/* False: not done yet. */
static bool cut(struct hosted *h, const struct wanted *w)
{
    struct mirrored_queue *mq = h->mirrored;
    if (!mq->was_cut && mirrored_cut(h, &mq->cut) != MIRROR_TAKEN)
        return false;
    tell_cut(h);
    mirror_starts_fini(&mq->cut);
    if (!w->leads) {
        if (!mq->was_cut)
            (void)copy_write_history(h, &mq->history);
        sm_move(rows, &mq->state, MIRRORED_STILL);
        return true;
    }
    mq->since = w->p.epoch;
    expect_new(h);
    h->queue.is_mirrored = true; /* it hands out nothing before its master's side says so */
    queue_lead(&h->queue, loop_now_ms(h->shard->loop));
    mirrored_handed_hold(h);
    sm_move(rows, &mq->state, MIRRORED_USED);
    return true;
}

/* Not before what nobody else may have is safe elsewhere. */
static void leave(struct hosted *h, const struct wanted *w)
{
    if (!mirrored_leave(h, w->p.master, w->p.epoch))
        return;
    (void)copy_write_void(h);
    shard_drop_copy(h);
}

/* It is to be here after all, if it was not. */
static void stay(struct hosted *h)
{
    if (h->mirrored->leave == NULL)
        return;
    mirrored_leave_end(h);
    mirrored_keep_end(h);
}

/* One step. False: there is none for now; or the queue is gone. */
static bool step(struct hosted *h, const struct wanted *w)
{
    struct mirrored_queue *mq = h->mirrored;
    switch (mq->state) {
    case MIRRORED_USED:
        if (w->leads)
            begin_to_lead(h, w);
        else
            stop_using(h);
        return true;
    case MIRRORED_MASTER:
        if (!w->leads || mq->lead->epoch != w->p.epoch) {
            end_leading(h, w->p.master, w->leads);
            return true;
        }
        place_anew(h, w);
        return false;
    case MIRRORED_FOLLOWING:
        return follow(h);
    case MIRRORED_STILL:
        if (w->role == META_ROLE_NONE) {
            leave(h, w);
            return false;
        }
        stay(h);
        if (w->leads) {
            begin_to_cut(h);
            return true;
        }
        begin_copy(h, w);
        return false;
    case MIRRORED_COPY:
        if (w->leads && mirrored_handed_awaits(h))
            return false;
        if (w->leads || w->role == META_ROLE_NONE) {
            end_copy(h);
            return true;
        }
        mirrored_handed_leads_not(h);
        mirror_replica_fence(h->shard->mirrored->r, mq->copy, w->p.epoch);
        return false;
    case MIRRORED_CUTTING:
        return cut(h, w);
    }
    UNREACHABLE("state of a mirrored queue");
}

/* Whatever the metadata says by now. What is not in it any more is about to be deleted. */
static void advance(struct hosted *h)
{
    struct shard *s = h->shard;
    uint64_t qid = h->queue.qid;
    struct wanted w;
    if (!look(s, qid, &w))
        return;
    note_epoch(h, &w);
    while (step(h, &w))
        ;
    h = shard_kept(s, qid);
    if (h != NULL)
        mirrored_is_settled(h);
    mirror_links_soon(s);
}

static void begin(struct hosted *h, enum mirrored_state state)
{
    h->mirrored = mem_zalloc(sizeof *h->mirrored);
    h->mirrored->state = state;
}

void mirrored_reconcile(struct shard *s, const struct meta_queue *q)
{
    struct hosted *h = idmap_get(&s->queues, q->qid);
    struct wanted w;
    if (!look(s, q->qid, &w))
        return;
    if (h == NULL && w.role != META_ROLE_NONE && meta_placement_cohort(&w.p) != 0)
        h = shard_add_copy(s, q);
    if (h == NULL)
        return;
    if (h->mirrored == NULL) {
        if (meta_placement_cohort(&w.p) == 0)
            return;
        begin(h, MIRRORED_USED);
        h->mirrored->master = broker_node(s->broker);
        h->mirrored->epoch = q->epoch;
    }
    advance(h);
}

void mirrored_is_wanted(struct hosted *h)
{
    struct mirrored_queue *mq = h->mirrored;
    if (mq->is_wanted)
        return;
    mq->is_wanted = true;
    if (mq->own != NULL)
        mirrored_lead_hurry(h);
    else
        mirrored_is_due(h);
}

/* ---- they come and go -------------------------------------------------------------------------
 */

void mirrored_arrives(struct hosted *h)
{
    size_t budget = 1;
    begin(h, MIRRORED_STILL);
    enum qcopy followed = queue_follow(&h->queue, &budget);
    CHECK(followed == QCOPY_DONE); /* it is empty */
}

static void take_top(uint64_t next_new, void *arg)
{
    copy_raise_tops(arg, next_new - 1);
}

void mirrored_restore(struct hosted *h, const struct recovered_queue *found)
{
    queue_starts(&h->queue, take_top, h);
    for (size_t i = 0; i < found->level_count; i++)
        if (found->levels[i].settled_end != 0)
            copy_raise_tops(h, found->levels[i].settled_end - 1);
    recovered_history_take(found, &h->mirrored->history);
}

/* Any position may have a record, alive or settled: from now on none of them counts. */
void mirrored_begins_anew(struct hosted *h)
{
    for (unsigned p = 0; p <= h->settings.max_priority; p++)
        copy_raise_tops(h, mirror_priority_last(p));
    (void)copy_write_void(h);
    mover_note_void(h);
}

/* All positions that were given and at which nothing is were said to be settled: of a copy that is
 * being compared some may come yet. */
uint32_t mirrored_carry(struct hosted *h, size_t *bytes)
{
    struct mirrored_queue *mq = h->mirrored;
    if (mq == NULL)
        return 0;
    queue_starts(&h->queue, take_top, h);
    const struct mirror_history *history = &mq->history;
    if (mq->lead != NULL)
        history = &mq->lead->history;
    else if (mq->copy != NULL)
        history = &mq->copy->history;
    *bytes = RECORD_EPOCH_ROOM(0) + mirror_history_size(history, true);
    return copy_write_history(h, history) != 0 ? h->mover.state_seg : 0;
}

void mirrored_forget(struct hosted *h)
{
    struct mirrored_queue *mq = h->mirrored;
    struct shard *s = h->shard;
    if (mq == NULL)
        return;
    not_due(h);
    mirrored_leave_end(h);
    mirrored_keep_forget(h);
    mirrored_handed_forget(h);
    if (mq->state == MIRRORED_MASTER)
        end_leading(h, 0, false);
    else if (mq->state == MIRRORED_COPY)
        end_copy(h);
    mirror_links_soon(s);
    mirror_history_fini(&mq->history);
    mirror_starts_fini(&mq->tops);
    mirror_starts_fini(&mq->cut);
    mem_free(mq);
    h->mirrored = NULL;
}
