#include "ledger.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "hosted.h"
#include "io/clock.h"
#include "larges.h"
#include "marks.h"
#include "promise.h"
#include "shard.h"
#include "store/journal.h"
#include "store/large.h"
#include "store/segs.h"

#include <stdlib.h>
#include <string.h>

#define RANGES_MAX   1024u /* of a queue, gathered; then they are written at once */
#define RANGES_KEPT  64u   /* room for more is given back: there may be a million queues */
#define PARTS_MAX    12u   /* of a record: head, names, properties, and a body in parts */
#define SEG_COUNTERS 4u

/* Entries of a segment that came and went in this turn. */
struct seg_counter {
    uint32_t seg; /* 0: free */
    int64_t put_count;
    int64_t put_bytes;
    int64_t gone_count;
    int64_t gone_bytes;
};

struct target {
    struct hosted *hosted;
    uint64_t qseq;
};

TAILQ_HEAD(hosted_list, hosted);

struct ledger {
    struct shard *shard;
    struct journal *journal; /* NULL: nothing is written */
    struct segs *segs;
    struct loop_task turn_end;
    bool appended; /* since the last kick */
    /* The message that is being given to queues. */
    struct message *message; /* a reference, or NULL */
    unsigned target_count;
    unsigned flags;
    bool awaited;
    larges_fn large_fn; /* for the last part of a large one */
    void *large_arg;
    bool told_too_long;
    uint64_t lsn;           /* of the last part of its targets that was written */
    uint64_t settled_lsn;   /* of the last record of what was settled */
    enum journal_need need; /* of what is settled */
    struct hosted_list due;
    struct seg_counter counters[SEG_COUNTERS];
    struct hosted *queues[MSG_TARGETS_MAX];
    struct msg_target targets[MSG_TARGETS_MAX];
    uint8_t room[RECORD_MSG_ROOM(MSG_TARGETS_MAX)]; /* for the head of a record */
};

_Static_assert(RECORD_SETTLE_ROOM(RANGES_MAX, LEDGER_MARKS_MAX) <= RECORD_MSG_ROOM(MSG_TARGETS_MAX),
               "the room is for settlements too");
_Static_assert(RECORD_RETURNS_ROOM(RANGES_MAX) <= RECORD_MSG_ROOM(MSG_TARGETS_MAX),
               "the room is for returns too");

static void on_turn_end(void *arg);

struct ledger *ledger_new(struct shard *s)
{
    struct ledger *l = mem_zalloc(sizeof *l);
    l->shard = s;
    l->need = JOURNAL_LAZY;
    TAILQ_INIT(&l->due);
    loop_task_init(&l->turn_end, on_turn_end, l);
    return l;
}

void ledger_start(struct ledger *l, struct journal *journal, struct segs *segs)
{
    l->journal = journal;
    l->segs = segs;
}

void ledger_stop(struct ledger *l)
{
    l->journal = NULL;
    memset(l->counters, 0, sizeof l->counters);
    loop_task_cancel(l->shard->loop, &l->turn_end);
}

void ledger_free(struct ledger **ledger)
{
    struct ledger *l = *ledger;
    *ledger = NULL;
    CHECK(l->message == NULL && TAILQ_EMPTY(&l->due));
    loop_task_cancel(l->shard->loop, &l->turn_end);
    mem_free(l);
}

/* ---- what is alive in the segments ------------------------------------------------------------
 */

static void count_now(struct ledger *l, struct seg_counter *c)
{
    if (c->put_count != 0)
        segs_put(l->segs, c->seg, c->put_count, c->put_bytes);
    if (c->gone_count != 0)
        segs_drop(l->segs, c->seg, c->gone_count, c->gone_bytes);
    *c = (struct seg_counter){ 0 };
}

static struct seg_counter *counter(struct ledger *l, uint32_t seg)
{
    struct seg_counter *c = &l->counters[seg % SEG_COUNTERS];
    if (UNLIKELY(c->seg != seg)) {
        count_now(l, c);
        c->seg = seg;
        loop_at_turn_end(l->shard->loop, &l->turn_end);
    }
    return c;
}

void ledger_leave(struct ledger *l, uint32_t seg, int64_t count, int64_t cost_bytes)
{
    if (UNLIKELY(l->journal == NULL))
        return;
    struct seg_counter *c = counter(l, seg);
    c->gone_count += count;
    c->gone_bytes += cost_bytes;
}

void ledger_leave_one(struct ledger *l, struct place place, uint64_t body_bytes)
{
    ledger_leave(l, place.seg, 1, segs_cost(body_bytes));
    if (UNLIKELY(body_bytes >= LARGE_BODY_LEAST))
        larges_gone(l->shard->larges, place, 1);
}

/* ---- appending --------------------------------------------------------------------------------
 */

static struct place append(struct ledger *l, const struct slice *parts, size_t count,
                           enum journal_need need, uint64_t *lsn)
{
    l->appended = true;
    loop_at_turn_end(l->shard->loop, &l->turn_end);
    return journal_append(l->journal, parts, count, need, lsn);
}

void ledger_begin(struct ledger *l)
{
    if (l->journal != NULL)
        loop_at_turn_end(l->shard->loop, &l->turn_end);
}

bool ledger_is_behind(struct ledger *l)
{
    if (l->journal == NULL || LIKELY(!journal_is_behind(l->journal)))
        return false;
    promises_watch(l->shard->promises);
    return true;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static size_t body_slices(const struct message *m, struct slice *out)
{
    if (!message_is_in_parts(m)) {
        out[0] = message_body(m);
        return 1;
    }
    const struct message_more *more = message_more(m);
    for (uint32_t i = 0; i < more->part_count; i++)
        out[i] = slice_of(more->parts[i]->data, more->parts[i]->len_bytes);
    return more->part_count;
}

static bool is_large(const struct message *m)
{
    return UNLIKELY(m->body_bytes >= LARGE_BODY_LEAST);
}

static enum journal_need need_of(const struct ledger *l)
{
    return l->awaited ? JOURNAL_SOON : JOURNAL_LAZY;
}

static void nobody_waits(void *arg, uint64_t lsn)
{
    (void)arg;
    (void)lsn;
}

/* Its properties and body are in a file of its own, which is to be written. */
static struct place append_large(struct ledger *l, uint64_t *lsn)
{
    struct message *m = l->message;
    uint8_t id[8];
    size_t head = record_put_msg(l->room, l->flags | MSG_LARGE, l->targets, l->target_count,
                                 m->names_bytes, m->props_bytes, (size_t)m->body_bytes);
    record_put_large_id(id, message_large_id(m));
    struct slice parts[] = { slice_of(l->room, head), message_names(m), slice_of(id, sizeof id) };
    struct place p = append(l, parts, ARRAY_COUNT(parts), need_of(l), lsn);
    if (!place_is_none(p))
        larges_publish(l->shard->larges, m, p, l->targets, l->target_count,
                       l->large_fn != NULL ? l->large_fn : nobody_waits, l->large_arg);
    return p;
}

/* What clients send fits, see broker_conf.c; dead letters and the management can make more. */
static bool fits(struct ledger *l)
{
    const struct message *m = l->message;
    size_t rest = is_large(m) ? 8 : (size_t)m->props_bytes + m->body_bytes;
    if (RECORD_MSG_ROOM(l->target_count) + m->names_bytes + rest <= journal_record_max(l->journal))
        return true;
    if (!l->told_too_long)
        log_warn("ledger", "-",
                 "a message is not on disk: its properties are too long; not reported again "
                 "octets=%u",
                 (unsigned)m->props_bytes);
    l->told_too_long = true;
    return false;
}

static struct place append_message(struct ledger *l, uint64_t *lsn)
{
    const struct message *m = l->message;
    if (UNLIKELY(!fits(l))) {
        *lsn = 0;
        return (struct place){ 0, 0 };
    }
    if (is_large(m))
        return append_large(l, lsn);
    struct slice few[PARTS_MAX];
    struct slice *parts = few;
    uint32_t body_parts = message_is_in_parts(m) ? message_more(m)->part_count : 1;
    if (UNLIKELY(body_parts + 3 > PARTS_MAX))
        parts = mem_array(body_parts + 3u, sizeof *parts);
    size_t head = record_put_msg(l->room, l->flags, l->targets, l->target_count, m->names_bytes,
                                 m->props_bytes, (size_t)m->body_bytes);
    parts[0] = slice_of(l->room, head);
    parts[1] = message_names(m);
    parts[2] = message_props(m);
    size_t count = 3 + body_slices(m, parts + 3);
    struct place p = append(l, parts, count, need_of(l), lsn);
    if (parts != few)
        mem_free(parts);
    return p;
}

static void count_put(struct ledger *l, uint32_t seg, unsigned count)
{
    struct seg_counter *c = counter(l, seg);
    c->put_count += count;
    c->put_bytes += count * segs_cost(l->message->body_bytes);
}

static void place_one(struct ledger *l, unsigned index, struct place p)
{
    struct hosted *h = l->queues[index];
    h->book.writes++;
    uint64_t qseq = l->targets[index].qseq;
    mover_note_message(&h->mover, p.seg);
    switch (queue_set_place(&h->queue, qseq, p)) {
    case QUEUE_PLACED_READY:
        return;
    case QUEUE_PLACED_OUT:
        ledger_out(l, h, qseq);
        return;
    case QUEUE_PLACED_GONE:
        if (hosted_dead_is_placed(h, qseq, p))
            return;
        ledger_settle(l, h, qseq, qseq);
        ledger_leave_one(l, p, l->message->body_bytes);
        return;
    }
    UNREACHABLE("placed");
}

static void write_targets(struct ledger *l)
{
    struct place p = append_message(l, &l->lsn);
    if (!place_is_none(p)) /* it has failed */
        count_put(l, p.seg, l->target_count);
    for (unsigned i = 0; i < l->target_count && !place_is_none(p); i++)
        place_one(l, i, p);
    l->target_count = 0;
    l->flags = 0;
}

bool ledger_wants(const struct hosted *h, const struct message *m)
{
    return h->book.durable && (m->persistent || h->settings.is_quorum);
}

static uint64_t wall_of(const struct ledger *l, uint64_t at_ms)
{
    uint64_t now_ms = loop_now_ms(l->shard->loop);
    uint64_t wall_ms = clock_wall_ms();
    return at_ms > now_ms ? wall_ms + (at_ms - now_ms) : wall_ms;
}

void ledger_add(struct ledger *l, struct hosted *h, struct message **m, const struct queue_put *put,
                bool awaited)
{
    CHECK(l->message == NULL || l->message == *m);
    if (UNLIKELY(l->journal == NULL || l->message != NULL))
        shard_message_drop(l->shard, m);
    else
        l->message = *m;
    if (UNLIKELY(l->journal == NULL))
        return;
    if (UNLIKELY(l->target_count == MSG_TARGETS_MAX))
        write_targets(l);
    l->queues[l->target_count] = h;
    struct msg_target *t = &l->targets[l->target_count++];
    *t = (struct msg_target){ .qid = h->queue.qid, .qseq = put->qseq };
    if (UNLIKELY(put->expires_ms != 0) && !MUTATION(EXPIRY_NOT_WRITTEN)) {
        t->expires_ms = wall_of(l, put->expires_ms);
        l->flags |= MSG_EXPIRES;
    }
    l->awaited = l->awaited || awaited;
}

struct place ledger_again(struct ledger *l, struct hosted *h, const struct queue_item *item)
{
    struct place p = { 0, 0 };
    uint64_t lsn;
    if (l->journal == NULL || !ledger_wants(h, item->message))
        return p;
    CHECK(l->message == NULL);
    l->message = item->message;
    l->targets[0] =
        (struct msg_target){ .qid = h->queue.qid, .qseq = item->qseq, .returns = item->returns };
    l->flags = item->returns != 0 ? MSG_RETURNS : 0;
    if (item->expires_ms != 0) {
        l->targets[0].expires_ms = wall_of(l, item->expires_ms);
        l->flags |= MSG_EXPIRES;
    }
    l->target_count = 1;
    p = append_message(l, &lsn);
    if (!place_is_none(p)) {
        count_put(l, p.seg, 1);
        mover_note_message(&h->mover, p.seg);
    }
    l->target_count = 0;
    l->flags = 0;
    l->message = NULL;
    return p;
}

uint64_t ledger_write(struct ledger *l)
{
    if (l->message == NULL)
        return 0;
    write_targets(l);
    shard_message_drop(l->shard, &l->message);
    l->awaited = false;
    return l->lsn;
}

bool ledger_has_large(const struct ledger *l)
{
    return l->message != NULL && is_large(l->message);
}

uint64_t ledger_write_large(struct ledger *l, larges_fn fn, void *arg)
{
    CHECK(ledger_has_large(l));
    l->large_fn = fn;
    l->large_arg = arg;
    uint64_t lsn = ledger_write(l);
    l->large_fn = NULL;
    l->large_arg = NULL;
    return lsn;
}

/* ---- what is done with ------------------------------------------------------------------------
 */

static void is_due(struct ledger *l, struct hosted *h)
{
    if (h->book.is_due)
        return;
    h->book.is_due = true;
    TAILQ_INSERT_TAIL(&l->due, h, book.due_entry);
    loop_at_turn_end(l->shard->loop, &l->turn_end);
}

static int by_first(const void *a, const void *b)
{
    const struct settle_range *x = a;
    const struct settle_range *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static void merge(struct ledger_queue *b)
{
    if (b->range_count < 2)
        return;
    qsort(b->ranges, b->range_count, sizeof *b->ranges, by_first);
    uint32_t n = 0;
    for (uint32_t i = 1; i < b->range_count; i++) {
        if (b->ranges[i].first <= b->ranges[n].last + 1) {
            if (b->ranges[i].last > b->ranges[n].last)
                b->ranges[n].last = b->ranges[i].last;
        } else {
            b->ranges[++n] = b->ranges[i];
        }
    }
    b->range_count = n + 1;
}

static void note_state(struct hosted *h, struct place p)
{
    if (!place_is_none(p))
        hosted_note_state(h, p.seg);
}

static uint64_t write_settles(struct ledger *l, struct hosted *h, unsigned flags,
                              const uint64_t *marks, unsigned mark_count)
{
    struct ledger_queue *b = &h->book;
    uint64_t lsn;
    merge(b);
    size_t len = record_put_settle(l->room, flags, h->queue.qid, b->ranges, b->range_count, marks,
                                   mark_count);
    struct slice record = slice_of(l->room, len);
    struct place p = append(l, &record, 1, mark_count != 0 ? JOURNAL_SOON : l->need, &lsn);
    note_state(h, p);
    b->range_count = 0;
    l->settled_lsn = lsn;
    return lsn;
}

static uint64_t write_returns(struct ledger *l, struct hosted *h)
{
    struct ledger_queue *b = &h->book;
    uint64_t lsn;
    size_t len = record_put_returns(l->room, h->queue.qid, b->returns, b->return_count);
    struct slice record = slice_of(l->room, len);
    struct place p = append(l, &record, 1, l->need, &lsn);
    note_state(h, p);
    b->return_count = 0;
    l->settled_lsn = lsn;
    return lsn;
}

void ledger_settle(struct ledger *l, struct hosted *h, uint64_t first, uint64_t last)
{
    struct ledger_queue *b = &h->book;
    if (UNLIKELY(l->journal == NULL) || !b->durable)
        return;
    if (LIKELY(b->expects_out))
        ledger_out(l, h, last); /* purged, expired or dropped: what comes next stands behind it */
    if (b->range_count != 0 && b->ranges[b->range_count - 1].last + 1 == first) {
        b->ranges[b->range_count - 1].last = last;
        return;
    }
    if (b->range_count == RANGES_MAX) {
        merge(b);
        if (b->range_count > RANGES_MAX / 2)
            (void)write_settles(l, h, 0, NULL, 0);
    }
    if (b->range_count == b->range_cap) {
        b->range_cap = b->range_cap != 0 ? b->range_cap * 2 : 4;
        b->ranges = mem_realloc(b->ranges, b->range_cap * sizeof *b->ranges);
    }
    b->ranges[b->range_count++] = (struct settle_range){ first, last };
    is_due(l, h);
}

void ledger_returned(struct ledger *l, struct hosted *h, uint64_t qseq, uint32_t returns)
{
    struct ledger_queue *b = &h->book;
    if (UNLIKELY(l->journal == NULL) || !b->durable)
        return;
    if (b->return_count == RANGES_MAX)
        (void)write_returns(l, h);
    if (b->return_count == b->return_cap) {
        b->return_cap = b->return_cap != 0 ? b->return_cap * 2 : 4;
        b->returns = mem_realloc(b->returns, b->return_cap * sizeof *b->returns);
    }
    b->returns[b->return_count++] = (struct msg_return){ qseq, returns };
    is_due(l, h);
}

/* ---- marks ------------------------------------------------------------------------------------
 */

void ledger_out(struct ledger *l, struct hosted *h, uint64_t qseq)
{
    if (UNLIKELY(l->journal == NULL) || !h->book.durable)
        return;
    if (UNLIKELY(marks_out(h, qseq)))
        is_due(l, h);
}

uint64_t ledger_expect_out(struct ledger *l, struct hosted *h)
{
    struct ledger_queue *b = &h->book;
    if (LIKELY(b->expects_out && b->mark_lsn == 0) || l->journal == NULL || !b->durable)
        return 0;
    if (!b->expects_out) {
        b->expects_out = true;
        marks_restore(h);
        is_due(l, h);
        uint64_t lsn = ledger_flush(l); /* now: what is published later stands behind it */
        b->mark_lsn = queue_is_empty(&h->queue) || MUTATION(MARK_NOT_AWAITED) ? 0 : lsn;
    }
    if (b->mark_lsn <= journal_durable(l->journal))
        b->mark_lsn = 0;
    return b->mark_lsn;
}

void ledger_write_marks(struct ledger *l)
{
    size_t at = 0;
    struct hosted *h;
    uint64_t marks[LEDGER_MARKS_MAX];
    (void)ledger_flush(l);
    while (l->journal != NULL && (h = idmap_next(&l->shard->queues, &at)) != NULL) {
        unsigned n = marks_exact(h, marks);
        if (n != 0)
            (void)write_settles(l, h, 0, marks, n);
    }
}

/* ---- the turn's end ---------------------------------------------------------------------------
 */

static void give_back_room(struct ledger_queue *b)
{
    if (b->range_cap > RANGES_KEPT) {
        mem_free(b->ranges);
        b->ranges = NULL;
        b->range_cap = 0;
    }
    if (b->return_cap > RANGES_KEPT) {
        mem_free(b->returns);
        b->returns = NULL;
        b->return_cap = 0;
    }
}

static uint64_t write_queue(struct ledger *l, struct hosted *h)
{
    uint64_t lsn = 0;
    uint64_t marks[LEDGER_MARKS_MAX];
    unsigned mark_count = marks_renew(h, loop_now_ms(l->shard->loop), marks);
    h->book.is_due = false;
    if (h->book.range_count != 0 || mark_count != 0)
        lsn = write_settles(l, h, SETTLE_AHEAD, marks, mark_count);
    if (h->book.return_count != 0)
        lsn = write_returns(l, h);
    give_back_room(&h->book);
    return lsn;
}

static uint64_t write_all(struct ledger *l)
{
    struct hosted *h;
    uint64_t lsn = 0;
    CHECK(l->message == NULL);
    while ((h = TAILQ_FIRST(&l->due)) != NULL) {
        TAILQ_REMOVE(&l->due, h, book.due_entry);
        if (l->journal != NULL) {
            uint64_t last = write_queue(l, h);
            lsn = last != 0 ? last : lsn;
        }
    }
    return lsn;
}

uint64_t ledger_flush(struct ledger *l)
{
    l->need = JOURNAL_SOON;
    uint64_t lsn = write_all(l);
    l->need = JOURNAL_LAZY;
    return lsn;
}

uint64_t ledger_fence(struct ledger *l)
{
    uint64_t now = ledger_flush(l);
    if (l->journal == NULL || l->settled_lsn <= journal_durable(l->journal) ||
        MUTATION(FENCE_EARLY))
        return 0;
    if (now == 0)
        journal_want_sync(l->journal); /* it was written when nobody waited for it */
    return l->settled_lsn;
}

static void on_turn_end(void *arg)
{
    struct ledger *l = arg;
    (void)write_all(l);
    larges_settled(l->shard->larges);
    for (unsigned i = 0; i < SEG_COUNTERS; i++)
        count_now(l, &l->counters[i]);
    if (l->appended && l->journal != NULL)
        journal_kick(l->journal);
    l->appended = false;
}

void ledger_forget(struct ledger *l, struct hosted *h)
{
    struct ledger_queue *b = &h->book;
    if (b->is_due)
        TAILQ_REMOVE(&l->due, h, book.due_entry);
    mem_free(b->ranges);
    mem_free(b->returns);
    mem_free(b->marks);
    *b = (struct ledger_queue){ .durable = false };
}
