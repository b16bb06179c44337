#include "mover.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "broker.h"
#include "hosted.h"
#include "io/clock.h"
#include "larges.h"
#include "marks.h"
#include "mirrored.h"
#include "mirrored_journal.h"
#include "mover_anew.h"
#include "mover_refs.h"
#include "pager.h"
#include "policy.h"
#include "store/large.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EXPANDED_A_TURN 2048u
#define MOVED_A_TURN    128u                 /* records */
#define MOVED_BYTES     ((size_t)512 * 1024) /* of records, a turn */
#define CARRIED_A_TURN  32u                  /* queues */
#define BEHIND_MS       5u                   /* the journal is behind, or letters are many */
#define LETTERS_MAX     ((size_t)16 * 1024)  /* dead letters on their way, while one carries */

enum mover_step {
    MOVER_EXPAND, /* runs of the segment become entries */
    MOVER_MOVE,
    MOVER_CARRY,
};

struct asked {
    struct store_ask *ask;
    STAILQ_ENTRY(asked) entry;
};

struct mover {
    struct shard *shard;
    struct mover_refs states;
    struct idmap voids; /* of queues that have gone, where that was said again last: a segment */
    STAILQ_HEAD(, asked) asks;
    struct loop_task task;
    struct loop_timer again;
    /* Where it is in the first ask. */
    enum mover_step step;
    size_t at_queue;
    uint32_t at_item; /* of the queue */
    size_t at_order;
    size_t at_seg;
    size_t at_state;
    /* What is dead of a queue that is carried. */
    struct settle_range *ranges;
    size_t range_count;
    size_t range_cap;
    uint64_t *letters; /* what has left it and is not dead yet, in order */
    size_t letter_count;
    size_t at_letter;
    struct msg_return *returns;
    size_t return_count;
    size_t return_cap;
    uint64_t carried_bytes; /* for the first ask */
    bool expanding;         /* a run that is not dense is read */
};

static struct store *store_of(const struct mover *m)
{
    return m->shard->store;
}

/* Also one that is about to be deleted: until it is, it counts. */
static struct hosted *hosted_of(const struct mover *m, uint64_t qid)
{
    return idmap_get(&m->shard->queues, qid);
}

static int64_t to_loop_ms(const struct shard *s)
{
    return (int64_t)loop_now_ms(s->loop) - (int64_t)clock_wall_ms();
}

/* ---- which segments say something of which queue ----------------------------------------------
 */

void mover_note_void(struct hosted *h)
{
    if (h->mover.state_seg == 0)
        return;
    mover_note_message(&h->mover, segs_next(store_segs(h->shard->store), 0));
    mover_note_message(&h->mover, h->mover.state_seg);
}

void mover_note_state(struct hosted *h, uint32_t seg)
{
    if (seg == 0 || h->mover.state_seg == seg)
        return;
    h->mover.state_seg = seg;
    mover_refs_add(&h->shard->mover->states, seg, h->queue.qid);
}

/* One of this shard that has gone from here, and is elsewhere. */
static const struct meta_queue *gone_of(const struct mover *m, uint64_t qid)
{
    const struct meta_queue *q = meta_queue_get(broker_meta(m->shard->broker), qid);
    return q != NULL && q->shard == m->shard->index && q->durable ? q : NULL;
}

void mover_restore_refs(struct mover *m, const struct recovered_state_ref *refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (hosted_of(m, refs[i].qid) != NULL || gone_of(m, refs[i].qid) != NULL)
            mover_refs_add(&m->states, refs[i].seg, refs[i].qid);
    }
}

void mover_restore(struct hosted *h, const struct recovered_queue *found)
{
    h->mover = (struct mover_queue){ .first_seg = found->first_seg,
                                     .last_seg = found->last_seg,
                                     .state_seg = found->state_seg };
}

/* ---- moving -----------------------------------------------------------------------------------
 */

static bool is_behind(const struct mover *m)
{
    return journal_backlog(store_journal(store_of(m))) > JOURNAL_BACKLOG_MAX / 2;
}

/* Runs of the queue in the segment become entries, a part at a time. True when it is done. */
static bool expand(struct mover *m, const struct store_ask *ask,
                   const struct store_moving_queue *mq)
{
    struct hosted *h = hosted_of(m, mq->qid);
    if (h == NULL || !queue_has_runs_in(&h->queue, ask->segs[0]))
        return true;
    const struct store_moving *from = ask->items + mq->first + m->at_item;
    uint32_t left = mq->count - m->at_item;
    uint32_t count = left < EXPANDED_A_TURN ? left : EXPANDED_A_TURN;
    int64_t to_loop = to_loop_ms(m->shard);
    struct queue_item *items = mem_array(count, sizeof *items);
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct queue_item){ .qseq = from[i].qseq,
                                        .body_bytes = from[i].body_bytes,
                                        .expires_ms = pager_moment(from[i].expires_ms, to_loop),
                                        .place = { ask->segs[0], from[i].offset },
                                        .returns = from[i].returns,
                                        .persistent = from[i].is_persistent };
    queue_loaded_run(&h->queue, ask->segs[0], m->at_item == 0 ? 0 : items[0].qseq,
                     count == left ? UINT64_MAX : from[count].qseq - 1, items, count);
    mem_free(items);
    m->at_item += count;
    return count == left;
}

static bool expand_some(struct mover *m, const struct store_ask *ask)
{
    if (m->at_queue == ask->queue_count)
        return true;
    if (expand(m, ask, &ask->queues[m->at_queue])) {
        m->at_queue++;
        m->at_item = 0;
    }
    return false;
}

static bool is_alive(const struct mover *m, const struct store_ask *ask,
                     const struct store_moving *it)
{
    struct hosted *h = hosted_of(m, it->qid);
    return h != NULL && queue_at(&h->queue, it->qseq, (struct place){ ask->segs[0], it->offset });
}

static void set_places(struct mover *m, struct place from, struct place to,
                       const struct msg_target *targets, unsigned count, uint64_t body_bytes)
{
    struct segs *segs = store_segs(store_of(m));
    for (unsigned i = 0; i < count; i++) {
        struct hosted *h = hosted_of(m, targets[i].qid);
        enum queue_placed placed = queue_set_place(&h->queue, targets[i].qseq, to);
        CHECK(placed != QUEUE_PLACED_GONE); /* it was there in this very turn */
        mover_note_message(&h->mover, to.seg);
    }
    segs_put(segs, to.seg, count, (int64_t)count * segs_cost(body_bytes));
    segs_drop(segs, from.seg, count, (int64_t)count * segs_cost(body_bytes));
    larges_moved(m->shard->larges, from, to, count);
}

/* One record, which may be for several queues: those that are next in the order. Returns its
 * octets; 0: nobody wants it any more. */
static size_t move_record(struct mover *m, const struct store_ask *ask)
{
    const struct store_moving *first = &ask->items[ask->order[m->at_order]];
    struct msg_target targets[MSG_TARGETS_MAX];
    unsigned count = 0;
    for (; m->at_order < ask->order_count; m->at_order++) {
        const struct store_moving *it = &ask->items[ask->order[m->at_order]];
        if (it->offset != first->offset)
            break;
        if (is_alive(m, ask, it))
            targets[count++] =
                (struct msg_target){ it->qid, it->qseq, it->expires_ms, it->returns };
    }
    if (count == 0)
        return 0;
    struct place to = mover_append_anew(m->shard, ask, first->offset, targets, count);
    if (place_is_none(to))
        return 0; /* the journal has failed: the node ends */
    set_places(m, (struct place){ ask->segs[0], first->offset }, to, targets, count,
               first->body_bytes);
    return (size_t)first->body_bytes < LARGE_BODY_LEAST ? (size_t)first->body_bytes : 0;
}

static bool move_some(struct mover *m, const struct store_ask *ask)
{
    size_t bytes = 0;
    for (unsigned n = 0; n < MOVED_A_TURN && bytes < MOVED_BYTES; n++) {
        if (m->at_order == ask->order_count)
            return true;
        bytes += move_record(m, ask);
    }
    return false;
}

/* ---- carrying ---------------------------------------------------------------------------------
 */

static bool is_leaving(const struct store_ask *ask, uint32_t seg)
{
    for (uint32_t i = 0; i < ask->seg_count; i++) {
        if (ask->segs[i] == seg)
            return true;
    }
    return false;
}

/* Whether what an older statement says of the queue can still matter: a message that it speaks of
 * may stand in a segment that stays. */
static bool is_to_be_carried(const struct mover *m, const struct store_ask *ask,
                             const struct hosted *h, uint32_t seg)
{
    const struct mover_queue *q = &h->mover;
    if (!h->book.durable || q->carried_seg > seg || q->last_seg == 0 || MUTATION(STATE_NOT_CARRIED))
        return false;
    struct segs *segs = store_segs(store_of(m));
    uint32_t n = q->first_seg - 1;
    while ((n = segs_next(segs, n)) != 0 && n <= q->last_seg) {
        if (!is_leaving(ask, n))
            return true;
    }
    return false;
}

static void push_range(struct mover *m, uint64_t first, uint64_t last)
{
    if (m->range_count == m->range_cap) {
        m->range_cap = m->range_cap != 0 ? 2 * m->range_cap : 64;
        m->ranges = mem_realloc(m->ranges, m->range_cap * sizeof *m->ranges);
    }
    m->ranges[m->range_count++] = (struct settle_range){ first, last };
}

/* They come in order. A dead letter of the queue that is on its way has left it, and is not
 * settled: to say now that all positions where nothing is are dead would be to settle it. */
static void add_range(uint64_t first, uint64_t last, void *arg)
{
    struct mover *m = arg;
    while (m->at_letter < m->letter_count && m->letters[m->at_letter] <= last) {
        uint64_t letter = m->letters[m->at_letter++];
        if (letter < first)
            continue;
        if (letter > first)
            push_range(m, first, letter - 1);
        first = letter + 1;
    }
    if (first <= last)
        push_range(m, first, last);
}

static int by_position(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* False: there are too many. */
static bool list_letters(struct mover *m, const struct hosted *h)
{
    m->letter_count = m->at_letter = 0;
    if (h->letters == 0)
        return true;
    if (m->letters == NULL)
        m->letters = mem_array(LETTERS_MAX, sizeof *m->letters);
    if (!hosted_list_letters(h, m->letters, LETTERS_MAX, &m->letter_count))
        return false;
    if (m->letter_count > 1)
        qsort(m->letters, m->letter_count, sizeof *m->letters, by_position);
    return true;
}

static void add_return(uint64_t qseq, uint32_t returns, void *arg)
{
    struct mover *m = arg;
    if (m->return_count == m->return_cap) {
        m->return_cap = m->return_cap != 0 ? 2 * m->return_cap : 64;
        m->returns = mem_realloc(m->returns, m->return_cap * sizeof *m->returns);
    }
    m->returns[m->return_count++] = (struct msg_return){ qseq, returns };
}

static uint32_t append_one(struct mover *m, struct hosted *h, uint8_t *record, size_t len)
{
    struct slice part = slice_of(record, len);
    uint32_t seg = journal_append(store_journal(store_of(m)), &part, 1, JOURNAL_LAZY, NULL).seg;
    m->carried_bytes += record_padded(len);
    mover_note_state(h, seg);
    return seg;
}

/* What is dead, and the marks with the first of it. Returns the segment of the first record; 0:
 * there was nothing to say. */
static uint32_t append_settled(struct mover *m, struct hosted *h)
{
    uint64_t marks[LEDGER_MARKS_MAX];
    bool is_ahead;
    unsigned mark_count = marks_all(h, &is_ahead, marks);
    if (MUTATION(MARK_NOT_CARRIED))
        mark_count = 0;
    uint32_t seg = 0;
    uint8_t *room = mem_alloc(RECORD_SETTLE_ROOM(SETTLE_RANGES_MAX, LEDGER_MARKS_MAX));
    for (size_t at = 0; at < m->range_count || mark_count != 0;) {
        size_t left = m->range_count - at;
        unsigned count = left < SETTLE_RANGES_MAX ? (unsigned)left : SETTLE_RANGES_MAX;
        size_t len = record_put_settle(room, is_ahead ? SETTLE_AHEAD : 0, h->queue.qid,
                                       m->ranges + at, count, marks, mark_count);
        uint32_t to = append_one(m, h, room, len);
        seg = seg != 0 ? seg : to;
        at += count;
        mark_count = 0;
    }
    mem_free(room);
    return seg;
}

static void append_returns(struct mover *m, struct hosted *h)
{
    uint8_t *room = mem_alloc(RECORD_RETURNS_ROOM(RETURNS_MAX));
    for (size_t at = 0; at < m->return_count && !MUTATION(RETURNS_NOT_CARRIED);) {
        size_t left = m->return_count - at;
        unsigned count = left < RETURNS_MAX ? (unsigned)left : RETURNS_MAX;
        append_one(m, h, room, record_put_returns(room, h->queue.qid, m->returns + at, count));
        at += count;
    }
    mem_free(room);
}

/* Of a queue that other nodes hold, too: where its messages come from and what was cut off, which
 * also says up to which number each producer's have been here. Before what is settled: while it is
 * being cut off messages go that its history does not know any more, and rather are those there
 * again than their numbers without them. */
static uint32_t carry_history(struct mover *m, struct hosted *h)
{
    size_t bytes = 0;
    uint32_t seg = MUTATION(EPOCH_NOT_CARRIED) ? 0 : mirrored_carry(h, &bytes);
    m->carried_bytes += bytes;
    return seg;
}

static void expand_sparse(struct mover *m, uint64_t qid, const struct qrun *run);

enum carried { CARRIED, CARRY_LATER, CARRY_READS };

static enum carried carry(struct mover *m, struct hosted *h)
{
    struct qrun sparse;
    if (!list_letters(m, h))
        return CARRY_LATER;
    m->range_count = 0;
    m->return_count = 0;
    if (!queue_dead_ranges(&h->queue, add_range, m, &sparse)) {
        expand_sparse(m, h->queue.qid, &sparse);
        return CARRY_READS;
    }
    queue_each_returned(&h->queue, add_return, m);
    uint32_t seg = carry_history(m, h);
    uint32_t settled_seg = append_settled(m, h);
    append_returns(m, h);
    seg = seg != 0 ? seg : settled_seg;
    if (seg != 0)
        h->mover.carried_seg = seg;
    return CARRIED;
}

/* Nothing that was said of the queue's messages matters any more, but its marks speak of those to
 * come as well, and so do its epochs and the numbers of producers. */
static void carry_marks(struct mover *m, struct hosted *h, uint32_t seg)
{
    if (!h->book.durable || h->mover.carried_seg > seg)
        return;
    m->range_count = 0;
    uint32_t to = carry_history(m, h);
    uint32_t settled_seg = append_settled(m, h);
    to = to != 0 ? to : settled_seg;
    if (to != 0)
        h->mover.carried_seg = to;
}

static bool is_the_eldest(const struct mover *m, const struct store_ask *ask, uint32_t seg)
{
    struct segs *segs = store_segs(store_of(m));
    for (uint32_t n = 0; (n = segs_next(segs, n)) != 0 && n < seg;)
        if (!is_leaving(ask, n))
            return false;
    return true;
}

/* Of a queue that has gone older segments may have messages, which must not be found again: as long
 * as there are any it is said that nothing of it is here. */
static void carry_void(struct mover *m, const struct store_ask *ask, uint64_t qid, uint32_t seg)
{
    const struct meta_queue *q = gone_of(m, qid);
    struct queue_settings settings;
    if (q != NULL && (uint32_t)(uintptr_t)idmap_get(&m->voids, qid) > seg)
        return;
    (void)idmap_take(&m->voids, qid);
    if (q == NULL || is_the_eldest(m, ask, seg))
        return;
    policy_settings(broker_meta(m->shard->broker), q, &settings);
    size_t bytes;
    uint32_t to = gone_write_void(m->shard, qid, settings.max_priority, &bytes);
    m->carried_bytes += bytes;
    if (to == 0)
        return;
    mover_refs_add(&m->states, to, qid);
    idmap_put(&m->voids, qid, (void *)(uintptr_t)to);
}

/* True when all is carried. False: *result tells why not. */
static bool carry_some(struct mover *m, const struct store_ask *ask, enum carried *result)
{
    *result = CARRIED;
    for (unsigned n = 0; n < CARRIED_A_TURN; n++) {
        if (m->at_seg == ask->seg_count)
            return true;
        uint32_t seg = ask->segs[m->at_seg];
        const struct state_refs *r = mover_refs_of(&m->states, seg);
        if (r == NULL || m->at_state == r->count) {
            m->at_seg++;
            m->at_state = 0;
            continue;
        }
        struct hosted *h = hosted_of(m, r->qids[m->at_state]);
        bool is_whole = h != NULL && is_to_be_carried(m, ask, h, seg);
        if (h != NULL)
            (void)idmap_take(&m->voids, h->queue.qid);
        if (is_whole && (*result = carry(m, h)) != CARRIED)
            return false;
        if (h == NULL)
            carry_void(m, ask, r->qids[m->at_state], seg);
        else if (!is_whole)
            carry_marks(m, h, seg);
        m->at_state++;
    }
    return false;
}

/* ---- a run whose positions are not all there --------------------------------------------------
 */

struct sparse_read {
    struct load load;
    struct shard *shard;
};

static void on_sparse(struct mail *mail);

/* An index knows no moments at which messages expire: then the messages are read. */
static void read_sparse(struct mover *m, uint64_t qid, uint32_t seg, uint64_t first, uint64_t last,
                        bool has_expiring)
{
    struct sparse_read *r = mem_zalloc(sizeof *r);
    r->shard = m->shard;
    r->load.mail.fn = on_sparse;
    r->load.reply_to = m->shard->loop;
    r->load.only_index = !has_expiring;
    r->load.qid = qid;
    r->load.seg = seg;
    r->load.first = first;
    r->load.last = last;
    m->expanding = true;
    store_load(store_of(m), &r->load);
}

static void expand_sparse(struct mover *m, uint64_t qid, const struct qrun *run)
{
    read_sparse(m, qid, run->seg, run->first, run->last, run->has_expiring);
}

static void take_sparse(struct mover *m, struct hosted *h, const struct load *load)
{
    int64_t to_loop = to_loop_ms(m->shard);
    size_t count = load->count;
    struct queue_item *items = mem_array(count + 1, sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] =
            (struct queue_item){ .qseq = load->items[i].qseq,
                                 .body_bytes = load->items[i].body_bytes,
                                 .expires_ms = pager_moment(load->items[i].expires_ms, to_loop),
                                 .place = load->items[i].place,
                                 .persistent = load->items[i].is_persistent };
    queue_loaded_run(&h->queue, load->seg, load->first,
                     load->is_all || count == 0 ? load->last : items[count - 1].qseq, items, count);
    mem_free(items);
}

static void on_sparse(struct mail *mail)
{
    struct sparse_read *r = CONTAINER_OF(mail, struct sparse_read, load.mail);
    struct mover *m = r->shard->mover;
    struct hosted *h = m != NULL ? hosted_of(m, r->load.qid) : NULL;
    if (m != NULL)
        m->expanding = false;
    if (h != NULL && r->load.is_lost)
        queue_lost(&h->queue, r->load.first, r->load.last);
    else if (h != NULL && !r->load.is_cancelled)
        take_sparse(m, h, &r->load);
    if (h != NULL && !r->load.is_cancelled && !r->load.is_lost && !r->load.is_all &&
        r->load.count != 0)
        read_sparse(m, r->load.qid, r->load.seg, r->load.items[r->load.count - 1].qseq + 1,
                    r->load.last, !r->load.only_index);
    else if (m != NULL)
        loop_again(m->shard->loop, &m->task);
    load_fini(&r->load);
    mem_free(r);
}

/* ---- asks -------------------------------------------------------------------------------------
 */

static void begin(struct mover *m)
{
    const struct asked *a = STAILQ_FIRST(&m->asks);
    m->step = a != NULL && a->ask->bytes.len != 0 ? MOVER_EXPAND : MOVER_CARRY;
    m->at_queue = m->at_order = m->at_seg = m->at_state = 0;
    m->at_item = 0;
    if (a != NULL)
        loop_again(m->shard->loop, &m->task);
}

static void answer_first(struct mover *m)
{
    struct asked *a = STAILQ_FIRST(&m->asks);
    STAILQ_REMOVE_HEAD(&m->asks, entry);
    a->ask->carried_bytes = m->carried_bytes;
    m->carried_bytes = 0;
    store_answer(store_of(m), a->ask);
    mem_free(a);
    begin(m);
}

/* One piece of the work; false: it cannot go on for now. */
static bool work(struct mover *m, struct store_ask *ask)
{
    enum carried carried;
    switch (m->step) {
    case MOVER_EXPAND:
        if (expand_some(m, ask))
            m->step = MOVER_MOVE;
        return true;
    case MOVER_MOVE:
        if (move_some(m, ask))
            m->step = MOVER_CARRY;
        return true;
    case MOVER_CARRY:
        if (carry_some(m, ask, &carried))
            answer_first(m);
        else if (carried == CARRY_LATER)
            loop_timer_start(&m->again, BEHIND_MS);
        return carried == CARRIED;
    }
    UNREACHABLE("mover step");
}

static void on_task(void *arg)
{
    struct mover *m = arg;
    struct asked *a = STAILQ_FIRST(&m->asks);
    if (a == NULL || m->expanding)
        return;
    struct journal *j = store_journal(store_of(m));
    if (store_is_stopping(store_of(m)) || journal_has_failed(j)) {
        answer_first(m);
        return;
    }
    if (is_behind(m)) {
        loop_timer_start(&m->again, BEHIND_MS);
        return;
    }
    if (work(m, a->ask) && !STAILQ_EMPTY(&m->asks))
        loop_again(m->shard->loop, &m->task);
    journal_kick(j);
}

/* In a later turn: what this turn has appended is counted by then. */
void mover_on_ask(struct mover *m, struct store_ask *ask)
{
    struct asked *a = mem_alloc(sizeof *a);
    bool is_first = STAILQ_EMPTY(&m->asks);
    mover_refs_drop(&m->states, store_segs(store_of(m)));
    a->ask = ask;
    STAILQ_INSERT_TAIL(&m->asks, a, entry);
    if (is_first)
        begin(m);
}

static void on_again(void *arg)
{
    struct mover *m = arg;
    loop_again(m->shard->loop, &m->task);
}

struct mover *mover_new(struct shard *s)
{
    struct mover *m = mem_zalloc(sizeof *m);
    m->shard = s;
    mover_refs_init(&m->states);
    idmap_init(&m->voids);
    STAILQ_INIT(&m->asks);
    loop_task_init(&m->task, on_task, m);
    loop_timer_init(&m->again, s->loop, on_again, m);
    return m;
}

void mover_free(struct mover **mover)
{
    struct mover *m = *mover;
    *mover = NULL;
    if (m == NULL)
        return;
    for (struct asked *a; (a = STAILQ_FIRST(&m->asks)) != NULL;) {
        STAILQ_REMOVE_HEAD(&m->asks, entry);
        mem_free(a);
    }
    loop_task_cancel(m->shard->loop, &m->task);
    loop_timer_fini(&m->again);
    mover_refs_fini(&m->states);
    mem_free(m->ranges);
    mem_free(m->letters);
    mem_free(m->returns);
    idmap_fini(&m->voids);
    mem_free(m);
}
