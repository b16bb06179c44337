#include "sim_books.h"

#include "base/check.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WHY_MAX 300u

/* The last that was looked at of a queue, a publisher and a priority: its content, or where it
 * stood. */
struct last {
    uint64_t qid;
    uint64_t publisher;
    uint8_t priority;
    uint64_t value;
};

struct qids {
    uint64_t *list;
    size_t count;
};

struct sim_books {
    struct sim_item *items; /* by content */
    size_t count;
    size_t room;
    struct last *lasts;
    size_t last_count;
    size_t last_room;
    struct qids asked;
    struct qids dropped;
    struct qids purging; /* once for each that is under way */
    bool was_closed;
    bool is_draining;
    bool has_parted;
    char why[WHY_MAX];
};

struct sim_books *sim_books_new(void)
{
    return mem_zalloc(sizeof(struct sim_books));
}

void sim_books_free(struct sim_books **bp)
{
    struct sim_books *b = *bp;
    *bp = NULL;
    if (b == NULL)
        return;
    mem_free(b->items);
    mem_free(b->lasts);
    mem_free(b->asked.list);
    mem_free(b->dropped.list);
    mem_free(b->purging.list);
    mem_free(b);
}

const char *sim_books_why(const struct sim_books *b)
{
    return b->why[0] != '\0' ? b->why : NULL;
}

void sim_books_fail(struct sim_books *b, const char *fmt, ...)
{
    if (b->why[0] != '\0')
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(b->why, sizeof b->why, fmt, args);
    va_end(args);
}

static void complain(struct sim_books *b, const struct sim_item *i, const char *what)
{
    sim_books_fail(b, "queue %" PRIu64 ": message %" PRIu64 " (at %" PRIx64 ") %s", i->qid,
                   i->content, i->qseq, what);
}

static bool has_qid(const struct qids *q, uint64_t qid)
{
    for (size_t i = 0; i < q->count; i++)
        if (q->list[i] == qid)
            return true;
    return false;
}

static void add_qid(struct qids *q, uint64_t qid)
{
    q->list = mem_realloc(q->list, (q->count + 1) * sizeof *q->list);
    q->list[q->count++] = qid;
}

void sim_books_send(struct sim_books *b, const struct sim_item *item)
{
    if (b->count == b->room) {
        b->room = b->room * 2 + 64;
        b->items = mem_realloc(b->items, b->room * sizeof *b->items);
    }
    /* Channels enter theirs when their turn has come. */
    size_t at = b->count++;
    for (; at != 0 && b->items[at - 1].content > item->content; at--)
        b->items[at] = b->items[at - 1];
    b->items[at] = *item;
    if (has_qid(&b->purging, item->qid))
        b->items[at].may_be_gone = true;
}

static size_t lower_bound(const struct sim_books *b, uint64_t content)
{
    size_t low = 0, high = b->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (b->items[mid].content < content)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct sim_item *find(const struct sim_books *b, uint64_t qid, uint64_t content)
{
    for (size_t i = lower_bound(b, content); i < b->count && b->items[i].content == content; i++)
        if (b->items[i].qid == qid)
            return &b->items[i];
    return NULL;
}

void sim_books_confirm(struct sim_books *b, uint64_t content, bool ok)
{
    for (size_t i = lower_bound(b, content); i < b->count && b->items[i].content == content; i++) {
        if (b->items[i].is_letter)
            continue;
        b->items[i].is_confirmed = ok;
        b->items[i].is_refused = !ok;
    }
}

/* ---- handed out and settled -------------------------------------------------------------------
 */

static struct last *last_of(struct sim_books *b, const struct sim_item *item)
{
    for (size_t i = 0; i < b->last_count; i++)
        if (b->lasts[i].qid == item->qid && b->lasts[i].publisher == item->publisher &&
            b->lasts[i].priority == item->priority)
            return &b->lasts[i];
    if (b->last_count == b->last_room) {
        b->last_room = b->last_room * 2 + 16;
        b->lasts = mem_realloc(b->lasts, b->last_room * sizeof *b->lasts);
    }
    struct last *l = &b->lasts[b->last_count++];
    *l = (struct last){ item->qid, item->publisher, item->priority, 0 };
    return l;
}

/* One publisher's messages come in the order in which they were sent, unless they were handed out
 * before. */
static void judge_order(struct sim_books *b, const struct sim_item *item)
{
    struct last *l = last_of(b, item);
    if (item->content < l->value)
        complain(b, item, "was handed out behind a later one");
    l->value = item->content;
}

/* The same of where they stand. Items are gone through by content. */
static void judge_place(struct sim_books *b, const struct sim_item *item)
{
    struct last *l = last_of(b, item);
    if (item->qseq < l->value)
        complain(b, item, "stands before an earlier one");
    l->value = item->qseq;
}

void sim_books_deliver(struct sim_books *b, uint64_t qid, uint64_t content, uint64_t qseq,
                       bool redelivered, bool no_ack, uint64_t now_us)
{
    struct sim_item *i = find(b, qid, content);
    if (has_qid(&b->dropped, qid))
        return; /* it was on its way when its queue went */
    if (i == NULL) {
        sim_books_fail(b, "queue %" PRIu64 " hands out %" PRIu64 ", which nobody sent", qid,
                       content);
        return;
    }
    i->qseq = qseq;
    i->has_come = true;
    if (i->is_twice)
        return;
    if (i->is_dead)
        complain(b, i, "is handed out, though rejected");
    else if (i->is_out)
        complain(b, i, "is handed out twice at a time");
    else if (i->is_settled_safe)
        complain(b, i, "is handed out, though settled for good");
    else if (i->is_settled)
        complain(b, i, "is handed out, though settled");
    else if (i->is_gone)
        complain(b, i, "is handed out, and was gone");
    else if (i->was_out && !redelivered)
        complain(b, i, "is handed out again without the mark");
    else if (i->expires_us != 0 && now_us > i->expires_us)
        complain(b, i, "is handed out, though expired");
    if (b->is_draining && !i->was_out && !i->is_last)
        judge_order(b, i);
    i->was_out = true;
    i->is_marked = i->is_marked || !b->has_parted;
    i->is_out = !no_ack;
    i->is_settled = no_ack;
}

static struct sim_item *find_out(struct sim_books *b, uint64_t qid, uint64_t qseq)
{
    for (size_t i = b->count; i-- != 0;)
        if (b->items[i].is_out && b->items[i].qid == qid && b->items[i].qseq == qseq)
            return &b->items[i];
    return NULL;
}

uint64_t sim_books_settle(struct sim_books *b, uint64_t qid, uint64_t qseq)
{
    if (has_qid(&b->dropped, qid))
        return 0;
    struct sim_item *i = find_out(b, qid, qseq);
    if (i == NULL)
        return 0; /* one of two */
    i->is_out = false;
    i->is_settled = true;
    return i->content;
}

uint64_t sim_books_reject(struct sim_books *b, uint64_t qid, uint64_t qseq)
{
    struct sim_item *i = has_qid(&b->dropped, qid) ? NULL : find_out(b, qid, qseq);
    if (i == NULL || i->letter_to == 0)
        return sim_books_settle(b, qid, qseq);
    i->is_out = false;
    i->is_dead = true;
    return 0;
}

void sim_books_settled(struct sim_books *b, uint64_t qid, uint64_t content)
{
    struct sim_item *i = find(b, qid, content);
    if (i != NULL && !i->is_twice)
        i->is_settled_safe = i->is_settled;
}

void sim_books_requeue(struct sim_books *b, uint64_t qid, uint64_t qseq, bool seen, bool to_end)
{
    if (has_qid(&b->dropped, qid))
        return;
    struct sim_item *i = find_out(b, qid, qseq);
    if (i == NULL)
        return; /* one of two */
    i->is_out = false;
    i->returns += seen;
    i->may_be_gone = i->may_be_gone || has_qid(&b->purging, qid);
    i->was_out = i->was_out && (seen || i->was_out_safe);
    i->is_marked = i->is_marked && seen;
    i->is_last = i->is_last || to_end || !seen;
}

void sim_books_ask(struct sim_books *b, uint64_t qid)
{
    if (!has_qid(&b->asked, qid))
        add_qid(&b->asked, qid);
}

static void purge_ready(struct sim_books *b, uint64_t qid)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].qid == qid && !b->items[i].is_out)
            b->items[i].may_be_gone = true;
}

void sim_books_purge(struct sim_books *b, uint64_t qid)
{
    add_qid(&b->purging, qid);
    purge_ready(b, qid);
}

void sim_books_purged(struct sim_books *b, uint64_t qid)
{
    purge_ready(b, qid);
    for (size_t i = 0; i < b->purging.count; i++)
        if (b->purging.list[i] == qid) {
            b->purging.list[i] = b->purging.list[--b->purging.count];
            return;
        }
}

void sim_books_loosen(struct sim_books *b, uint64_t qid)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].qid == qid)
            b->items[i].may_be_gone = true;
}

void sim_books_drop_queue(struct sim_books *b, uint64_t qid)
{
    add_qid(&b->dropped, qid);
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].qid == qid)
            b->items[i].is_gone = true;
}

void sim_books_part(struct sim_books *b)
{
    b->has_parted = true;
}

void sim_books_quiet(struct sim_books *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct sim_item *item = &b->items[i];
        item->is_settled_safe = item->is_settled;
        item->was_out_safe = item->was_out;
        item->returns_safe = item->returns;
        if (!item->is_confirmed && !item->is_refused && item->confirms && !item->is_gone)
            complain(b, item, "was never confirmed");
    }
}

/* ---- after a restart --------------------------------------------------------------------------
 */

void sim_books_begin(struct sim_books *b, bool was_closed)
{
    b->was_closed = was_closed;
    b->has_parted = false;
    b->purging.count = 0;
    b->last_count = 0;
    for (size_t i = 0; i < b->count; i++)
        b->items[i].is_seen = false;
}

void sim_books_see(struct sim_books *b, uint64_t qid, uint64_t content, uint64_t qseq,
                   uint64_t body_bytes, uint32_t returns, bool redelivered)
{
    struct sim_item *i = find(b, qid, content);
    if (i == NULL) {
        sim_books_fail(b, "queue %" PRIu64 " has %" PRIu64 " (at %" PRIx64 "), which nobody sent",
                       qid, content, qseq);
        return;
    }
    i->qseq = qseq;
    /* What went to the end of its queue is written there before it is settled where it was. */
    if (i->is_seen && (!i->is_last || b->was_closed) && !i->is_twice)
        complain(b, i, "is there twice");
    i->is_twice = i->is_twice || i->is_seen;
    i->is_seen = i->has_come = true;
    i->is_dead = false;
    if (i->is_twice)
        i->is_settled = i->is_settled_safe = i->was_out_safe = i->is_gone = false;
    if (!i->must_last && !i->may_last)
        complain(b, i, "is transient and there");
    else if (i->is_settled_safe)
        complain(b, i, "is back, though settled for good");
    else if (i->is_settled && b->was_closed)
        complain(b, i, "is back, though settled before the node was stopped");
    else if (i->is_gone)
        complain(b, i, "is back, and was gone");
    else if (i->body_bytes != body_bytes)
        complain(b, i, "has another length");
    else if (i->counts_returns && !i->is_twice && returns < i->returns_safe)
        complain(b, i, "came back more often than is known");
    else if ((i->was_out_safe || i->is_marked) && !redelivered)
        complain(b, i, "is back without the mark");
    else if (b->was_closed && redelivered && !i->was_out && !has_qid(&b->asked, qid))
        complain(b, i, "is marked, and was not handed out");
    i->returns = i->returns_safe = returns;
    i->was_out = redelivered;
    i->was_out_safe = i->was_out_safe || redelivered;
}

static bool is_owed(const struct sim_item *i)
{
    return i->must_last && !i->is_twice && i->is_confirmed && !i->is_settled && !i->may_be_gone &&
           !i->is_gone;
}

/* After a crash a dead message may be in both queues, never in none. What a client has had of the
 * letter is his. */
static bool has_left_letter(const struct sim_books *b, const struct sim_item *i)
{
    const struct sim_item *l = i->letter_to != 0 ? find(b, i->letter_to, i->content) : NULL;
    return l != NULL && (l->is_seen || !l->must_last || l->is_settled || l->is_twice);
}

/* It will die once more, and there will be another letter. */
static void excuse_letter(struct sim_books *b, const struct sim_item *i)
{
    struct sim_item *l = i->letter_to != 0 ? find(b, i->letter_to, i->content) : NULL;
    if (l != NULL && l->has_come)
        l->is_twice = true;
}

void sim_books_end(struct sim_books *b)
{
    for (size_t k = 0; k < b->count; k++) {
        struct sim_item *i = &b->items[k];
        if (!i->is_seen && is_owed(i) && !has_left_letter(b, i))
            complain(b, i,
                     i->letter_to != 0 ? "was confirmed, is lost, and left no letter"
                                       : "was confirmed and is lost");
        if (i->is_seen)
            excuse_letter(b, i);
        if (i->is_letter && !i->has_come)
            continue;
        i->is_out = i->is_marked = false;
        i->is_gone = i->is_gone || !i->is_seen;
        if (!i->is_seen)
            continue;
        if (!i->was_out && !i->is_last)
            judge_place(b, i);
        i->is_settled = false;
        i->may_be_gone = i->may_go;
        i->is_confirmed = true; /* what is there stays */
    }
}

void sim_books_count(const struct sim_books *b, uint64_t qid, uint64_t *least, uint64_t *most)
{
    *least = *most = 0;
    for (size_t k = 0; k < b->count; k++) {
        const struct sim_item *i = &b->items[k];
        if (i->qid != qid || i->is_gone || i->is_settled)
            continue;
        *most += 1;
        *least += i->is_confirmed && !i->may_be_gone;
    }
}

void sim_books_drain(struct sim_books *b)
{
    b->last_count = 0;
    b->is_draining = true;
}

void sim_books_drained(struct sim_books *b)
{
    for (size_t k = 0; k < b->count; k++) {
        struct sim_item *i = &b->items[k];
        const struct sim_item *l = i->letter_to != 0 ? find(b, i->letter_to, i->content) : NULL;
        if (i->is_confirmed && !i->is_settled && !i->is_gone && !i->may_be_gone && !i->is_twice &&
            (l == NULL || !l->has_come))
            complain(b, i, "did not come out of its queue");
    }
}
