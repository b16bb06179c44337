/* What becomes of messages: settled, returned, shown. */
#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "ledger_inner.h"
#include "marks.h"
#include "mirrored_lead.h"

#include <stdlib.h>

#define RANGES_KEPT 64u /* room for more is given back: there may be a million queues */

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

/* Somebody is to know what becomes of its messages: the journal, or mirrors. */
static bool is_told(const struct hosted *h)
{
    return h->book.durable || mirrored_is_lead(h->mirrored);
}

static void note_state(struct hosted *h, struct place p)
{
    if (!place_is_none(p))
        hosted_note_state(h, p.seg);
}

/* What stands in the room. A queue that does not outlive the node is known to its mirrors alone. */
static uint64_t write_state(struct ledger *l, struct hosted *h, size_t len, enum journal_need need)
{
    struct slice record = slice_of(l->room, len);
    uint64_t lsn = 0;
    if (h->book.durable) {
        struct place p = ledger_append(l, &record, 1, need, &lsn);
        note_state(h, p);
        l->settled_lsn = lsn;
    }
    if (mirrored_is_lead(h->mirrored))
        mirrored_lead_note(l->shard, h, record, lsn);
    return lsn;
}

static uint64_t write_settles(struct ledger *l, struct hosted *h, unsigned flags,
                              const uint64_t *marks, unsigned mark_count)
{
    struct ledger_queue *b = &h->book;
    if (mirrored_is_lead(h->mirrored))
        mirrored_lead_say_first(l->shard);
    merge(b);
    size_t len = record_put_settle(l->room, flags, h->queue.qid, b->ranges, b->range_count, marks,
                                   mark_count);
    b->range_count = 0;
    uint64_t lsn = write_state(l, h, len, mark_count != 0 ? JOURNAL_SOON : l->need);
    if (mark_count != 0 && (flags & SETTLE_AHEAD) != 0 && mirrored_is_lead(h->mirrored))
        mirrored_lead_marks_said(h);
    return lsn;
}

static uint64_t write_returns(struct ledger *l, struct hosted *h)
{
    struct ledger_queue *b = &h->book;
    if (mirrored_is_lead(h->mirrored))
        mirrored_lead_say_first(l->shard);
    size_t len = record_put_returns(l->room, h->queue.qid, b->returns, b->return_count);
    b->return_count = 0;
    return write_state(l, h, len, l->need);
}

void ledger_settle(struct ledger *l, struct hosted *h, uint64_t first, uint64_t last)
{
    struct ledger_queue *b = &h->book;
    if (UNLIKELY(l->journal == NULL) || !is_told(h))
        return;
    if (LIKELY(b->expects_out))
        ledger_out(l, h, last); /* purged, expired or dropped: what comes next stands behind it */
    if (b->range_count != 0 && b->ranges[b->range_count - 1].last + 1 == first) {
        b->ranges[b->range_count - 1].last = last;
        return;
    }
    if (b->range_count == LEDGER_RANGES_MAX) {
        merge(b);
        if (b->range_count > LEDGER_RANGES_MAX / 2)
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
    if (UNLIKELY(l->journal == NULL) || !is_told(h))
        return;
    if (b->return_count == LEDGER_RANGES_MAX)
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
    if (UNLIKELY(l->journal == NULL) || !is_told(h))
        return;
    if (UNLIKELY(marks_out(h, qseq)))
        is_due(l, h);
}

void ledger_marks_are_due(struct ledger *l, struct hosted *h)
{
    if (l->journal != NULL)
        is_due(l, h);
}

uint64_t ledger_expect_out(struct ledger *l, struct hosted *h)
{
    struct ledger_queue *b = &h->book;
    if (LIKELY(b->expects_out && b->mark_lsn == 0) || l->journal == NULL || !is_told(h))
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
    bool is_ahead;
    h->book.is_due = false;
    if (UNLIKELY(mirrored_lead_takes_marks(h)))
        mark_count = marks_all(h, &is_ahead, marks);
    if (h->book.range_count != 0 || mark_count != 0)
        lsn = write_settles(l, h, SETTLE_AHEAD, marks, mark_count);
    if (h->book.return_count != 0)
        lsn = write_returns(l, h);
    give_back_room(&h->book);
    return lsn;
}

uint64_t ledger_write_all(struct ledger *l)
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
    uint64_t lsn = ledger_write_all(l);
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
