#include "sim_oracle.h"

#include "base/check.h"
#include "base/mem.h"
#include "store/segs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct queue_of {
    uint64_t qid;
    struct sim_msg *list; /* by qseq */
    size_t count;
    size_t room;
    bool is_dropped;
};

struct mark {
    uint64_t qid;
    uint64_t mark;
    uint64_t lsn;
    bool is_ahead;
};

/* Octets of a segment that the simulator damaged. */
struct hurt {
    uint32_t seg;
    uint32_t from;
    uint32_t to;
};

struct sim_oracle {
    struct queue_of *queues;
    size_t queue_count;
    struct mark *marks; /* that are not safe yet */
    size_t mark_count;
    size_t mark_room;
    struct hurt *hurts;
    size_t hurt_count;
    struct sim_msg *former; /* at whose positions others came since the last restart */
    size_t former_count;
    size_t former_room;
    size_t named;
    uint64_t safe_lsn;
    enum sim_end end;
    char why[SIM_WHY_MAX];
};

struct sim_oracle *sim_oracle_new(void)
{
    return mem_zalloc(sizeof(struct sim_oracle));
}

void sim_oracle_free(struct sim_oracle **op)
{
    struct sim_oracle *o = *op;
    *op = NULL;
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->queue_count; i++)
        mem_free(o->queues[i].list);
    mem_free(o->queues);
    mem_free(o->marks);
    mem_free(o->former);
    mem_free(o->hurts);
    mem_free(o);
}

void sim_oracle_fail(struct sim_oracle *o, const char *fmt, ...)
{
    if (o->why[0] != '\0')
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(o->why, sizeof o->why, fmt, args);
    va_end(args);
}

const char *sim_oracle_why(const struct sim_oracle *o)
{
    return o->why[0] != '\0' ? o->why : NULL;
}

static struct queue_of *find_queue(const struct sim_oracle *o, uint64_t qid)
{
    for (size_t i = 0; i < o->queue_count; i++)
        if (o->queues[i].qid == qid)
            return &o->queues[i];
    return NULL;
}

void sim_oracle_add_queue(struct sim_oracle *o, uint64_t qid)
{
    CHECK(find_queue(o, qid) == NULL);
    o->queues = mem_realloc(o->queues, (o->queue_count + 1) * sizeof *o->queues);
    o->queues[o->queue_count++] = (struct queue_of){ .qid = qid };
}

void sim_oracle_drop_queue(struct sim_oracle *o, uint64_t qid)
{
    struct queue_of *q = find_queue(o, qid);
    q->is_dropped = true;
    for (size_t i = 0; i < q->count; i++)
        q->list[i].is_gone = true;
}

/* The first with this position or a higher one. */
static size_t lower_bound(const struct queue_of *q, uint64_t qseq)
{
    size_t low = 0, high = q->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (q->list[mid].qseq < qseq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void keep_former(struct sim_oracle *o, const struct sim_msg *m)
{
    if (sim_msg_is_alive(m))
        sim_oracle_fail(o, "position %" PRIx64 " of queue %" PRIu64 " is taken", m->qseq, m->qid);
    if ((m->is_gone && !m->may_return) || m->is_settled_safe)
        return;
    if (o->former_count == o->former_room) {
        o->former_room = o->former_room * 2 + 16;
        o->former = mem_realloc(o->former, o->former_room * sizeof *o->former);
    }
    o->former[o->former_count++] = *m;
}

struct sim_msg *sim_oracle_put(struct sim_oracle *o, const struct sim_msg *m)
{
    struct queue_of *q = find_queue(o, m->qid);
    size_t at = lower_bound(q, m->qseq);
    /* Once nothing in the journal speaks of a position any more it may be given again. If something
     * does, the new message is taken for the old one, which will be noticed. */
    if (at < q->count && q->list[at].qseq == m->qseq) {
        if (m->is_again)
            keep_former(o, &q->list[at]);
        else if (!q->list[at].is_gone)
            sim_oracle_fail(o, "position %" PRIx64 " of queue %" PRIu64 " was given twice", m->qseq,
                            m->qid);
        q->list[at] = *m;
        return &q->list[at];
    }
    if (q->count == q->room) {
        q->room = q->room * 2 + 16;
        q->list = mem_realloc(q->list, q->room * sizeof *q->list);
    }
    memmove(&q->list[at + 1], &q->list[at], (q->count - at) * sizeof *q->list);
    q->count++;
    q->list[at] = *m;
    return &q->list[at];
}

struct sim_msg *sim_oracle_find(struct sim_oracle *o, uint64_t qid, uint64_t qseq)
{
    struct queue_of *q = find_queue(o, qid);
    size_t at = q != NULL ? lower_bound(q, qseq) : 0;
    return q != NULL && at < q->count && q->list[at].qseq == qseq ? &q->list[at] : NULL;
}

struct sim_msg *sim_oracle_at(struct sim_oracle *o, uint64_t qid, size_t index)
{
    struct queue_of *q = find_queue(o, qid);
    return q != NULL && index < q->count ? &q->list[index] : NULL;
}

void sim_oracle_move(struct sim_oracle *o, struct sim_msg *m, struct place to, uint64_t lsn)
{
    (void)o;
    m->from = m->place;
    m->place = to;
    m->moved_lsn = lsn;
    m->lsn = lsn < m->lsn ? lsn : m->lsn;
}

void sim_oracle_settle(struct sim_oracle *o, uint64_t qid, uint64_t first, uint64_t last,
                       uint64_t lsn)
{
    struct queue_of *q = find_queue(o, qid);
    for (size_t i = lower_bound(q, first); i < q->count && q->list[i].qseq <= last; i++)
        if (lsn < q->list[i].settle_lsn)
            q->list[i].settle_lsn = lsn;
}

void sim_oracle_mark(struct sim_oracle *o, uint64_t qid, uint64_t mark, bool is_ahead, uint64_t lsn)
{
    struct queue_of *q = find_queue(o, qid);
    for (size_t i = lower_bound(q, mark >> 56 << 56); i < q->count && q->list[i].qseq < mark; i++)
        q->list[i].may_be_marked = q->list[i].may_be_marked || !is_ahead;
    if (o->mark_count == o->mark_room) {
        o->mark_room = o->mark_room * 2 + 16;
        o->marks = mem_realloc(o->marks, o->mark_room * sizeof *o->marks);
    }
    o->marks[o->mark_count++] = (struct mark){ qid, mark, lsn, is_ahead };
}

void sim_oracle_returned(struct sim_oracle *o, uint64_t qid, uint64_t qseq, uint32_t returns,
                         uint64_t lsn)
{
    struct sim_msg *m = sim_oracle_find(o, qid, qseq);
    m->returns = returns;
    m->returns_lsn = lsn;
    m->may_be_marked = true;
}

static void make_marked(struct sim_oracle *o, const struct mark *m)
{
    struct queue_of *q = find_queue(o, m->qid);
    for (size_t i = lower_bound(q, m->mark >> 56 << 56); i < q->count && q->list[i].qseq < m->mark;
         i++)
        if (m->is_ahead)
            q->list[i].must_be_ahead = true;
        else
            q->list[i].must_be_marked = true;
}

static void make_safe(struct sim_msg *m, uint64_t lsn)
{
    m->is_safe = m->is_safe || (m->lsn <= lsn && !m->is_transient);
    m->is_settled_safe = m->is_settled_safe || m->settle_lsn <= lsn;
    if (m->returns_lsn <= lsn)
        m->returns_safe = m->returns;
}

void sim_oracle_safe(struct sim_oracle *o, uint64_t lsn)
{
    o->safe_lsn = lsn;
    size_t kept = 0;
    for (size_t i = 0; i < o->mark_count; i++)
        if (o->marks[i].lsn <= lsn)
            make_marked(o, &o->marks[i]);
        else
            o->marks[kept++] = o->marks[i];
    o->mark_count = kept;

    for (size_t k = 0; k < o->queue_count; k++)
        for (size_t i = 0; i < o->queues[k].count; i++)
            make_safe(&o->queues[k].list[i], lsn);
    for (size_t i = 0; i < o->former_count; i++)
        make_safe(&o->former[i], lsn);
}

/* ---- after a restart --------------------------------------------------------------------------
 */

void sim_oracle_begin(struct sim_oracle *o, enum sim_end end)
{
    o->end = end;
    for (size_t k = 0; k < o->queue_count; k++)
        for (size_t i = 0; i < o->queues[k].count; i++)
            o->queues[k].list[i].is_seen = o->queues[k].list[i].is_missed =
                o->queues[k].list[i].is_told = false;
}

#define NAMED(m) (m)->qid, (m)->qseq

/* The journal ends before what came there again. */
static void show_former(struct sim_oracle *o, struct sim_msg *m, uint64_t content)
{
    for (size_t i = 0; i < o->former_count; i++) {
        const struct sim_msg *f = &o->former[i];
        if (f->qid != m->qid || f->qseq != m->qseq || f->content != content)
            continue;
        *m = *f;
        m->is_seen = m->is_missed = m->is_told = false;
    }
}

/* Of what came again the record is damaged, and what was there before it was settled by what a
 * segment said that is gone: while the later message was there that meant nothing. */
static void adopt_older(struct sim_msg *m, const struct sim_seen *s)
{
    m->content = s->content;
    m->body_bytes = s->body_bytes;
    m->expires_ms = s->expires_ms;
    m->returns = m->returns_safe = s->returns;
    m->is_transient = m->must_be_marked = m->must_be_ahead = false;
    m->may_be_marked = true;
}

void sim_oracle_see(struct sim_oracle *o, const struct sim_seen *s)
{
    struct sim_msg *m = sim_oracle_find(o, s->qid, s->qseq);
    if (m == NULL) {
        sim_oracle_fail(o, "queue %" PRIu64 " has %" PRIx64 ", which nobody put", s->qid, s->qseq);
        return;
    }
    if (m->content != s->content && !m->is_safe)
        show_former(o, m, s->content);
    if (m->content != s->content && m->is_hurt && m->is_again)
        adopt_older(m, s);
    if (m->is_seen)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " is there twice", NAMED(m));
    m->is_seen = true;
    m->is_hurt = false;
    m->place = s->place;
    m->from = (struct place){ 0, 0 };
    if (m->is_settled_safe)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " is back, though settled for good",
                        NAMED(m));
    else if (m->is_gone && !m->may_return)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " is back, and was gone after a restart",
                        NAMED(m));
    else if (m->is_transient)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " is transient and there", NAMED(m));
    else if (s->content != m->content || s->body_bytes != m->body_bytes)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " has another content", NAMED(m));
    else if (s->expires_ms != m->expires_ms)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " expires at another time", NAMED(m));
    else if (s->returns < m->returns_safe || s->returns > m->returns)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " came back %u times, not %u to %u",
                        NAMED(m), s->returns, m->returns_safe, m->returns);
    else if (!s->redelivered && (m->must_be_marked ||
                                 (m->must_be_ahead && o->end == SIM_END_CRASH) || s->returns != 0))
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " is not marked as handed out", NAMED(m));
    else if (o->end == SIM_END_CLOSED && s->redelivered && !m->may_be_marked)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " is marked, and was not handed out",
                        NAMED(m));
    m->may_be_marked = s->redelivered;
    m->returns = m->returns_safe = s->returns;
}

/* The same, where what was there before cannot be read: it was hurt by then. */
static void miss_former(struct sim_oracle *o, struct sim_msg *m, struct place place)
{
    for (size_t i = 0; i < o->former_count; i++) {
        const struct sim_msg *f = &o->former[i];
        if (f->qid == m->qid && f->qseq == m->qseq && (f->is_hurt || f->may_return) &&
            place_eq(f->place, place)) {
            *m = *f;
            m->is_seen = m->is_missed = m->is_told = false;
            m->is_hurt = true;
        }
    }
}

void sim_oracle_miss(struct sim_oracle *o, uint64_t qid, uint64_t qseq, struct place place,
                     uint64_t body_bytes)
{
    struct sim_msg *m = sim_oracle_find(o, qid, qseq);
    if (m != NULL && !m->is_hurt && !m->is_safe)
        miss_former(o, m, place);
    if (m != NULL && m->is_hurt) { /* the later one did not get there */
        m->place = place;
        m->body_bytes = body_bytes;
    }
    if (m == NULL || !m->is_hurt)
        sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " is not at %u/%u", qid, qseq, place.seg,
                        place.offset);
    else
        m->is_missed = m->is_told = m->may_return = true;
}

void sim_oracle_hurt(struct sim_oracle *o, struct place from, uint32_t to)
{
    o->hurts = mem_realloc(o->hurts, (o->hurt_count + 1) * sizeof *o->hurts);
    o->hurts[o->hurt_count++] = (struct hurt){ from.seg, from.offset, to };
    for (size_t i = 0; i < o->former_count; i++)
        o->former[i].is_hurt = o->former[i].is_hurt || place_eq(o->former[i].place, from);
    for (size_t k = 0; k < o->queue_count; k++) {
        struct queue_of *q = &o->queues[k];
        for (size_t i = 0; i < q->count; i++)
            if (place_eq(q->list[i].place, from) ||
                (place_eq(q->list[i].from, from) && q->list[i].moved_lsn > o->safe_lsn))
                q->list[i].is_hurt = true;
    }
}

static bool lies_in(struct place p, struct place from, uint32_t to)
{
    return p.seg == from.seg && p.offset >= from.offset && p.offset < to;
}

void sim_oracle_damage(struct sim_oracle *o, uint64_t qid, uint64_t first, uint64_t last,
                       struct place from, uint32_t to)
{
    bool fits = false;
    for (size_t i = 0; i < o->hurt_count; i++) {
        const struct hurt *h = &o->hurts[i];
        fits = fits || (h->seg == from.seg && h->from < to && h->to > from.offset);
    }
    if (!fits)
        sim_oracle_fail(o, "segment %u is said to be damaged at %u to %u, and is not", from.seg,
                        from.offset, to);

    for (size_t k = 0; k < o->queue_count; k++) {
        struct queue_of *q = &o->queues[k];
        for (size_t i = 0; i < q->count; i++) {
            struct sim_msg *m = &q->list[i];
            if (!m->is_hurt || !(lies_in(m->place, from, to) || lies_in(m->from, from, to)))
                continue;
            m->is_told = true;
            o->named += qid == m->qid && m->qseq >= first && m->qseq <= last;
        }
    }
}

void sim_oracle_next(struct sim_oracle *o, uint64_t qid, uint64_t next_new)
{
    struct queue_of *q = find_queue(o, qid);
    if (q == NULL || q->is_dropped)
        return;
    uint64_t level = next_new >> 56;
    for (size_t i = lower_bound(q, next_new); i < q->count && q->list[i].qseq >> 56 == level; i++)
        if (q->list[i].is_seen)
            sim_oracle_fail(o, "queue %" PRIu64 " goes on at %" PRIx64 ", and had %" PRIx64, qid,
                            next_new, q->list[i].qseq);
}

void sim_oracle_alive_in(const struct sim_oracle *o, uint32_t seg, int64_t *count, int64_t *bytes)
{
    *count = *bytes = 0;
    for (size_t k = 0; k < o->queue_count; k++) {
        const struct queue_of *q = &o->queues[k];
        for (size_t i = 0; i < q->count; i++) {
            const struct sim_msg *m = &q->list[i];
            if ((!m->is_seen && !m->is_missed) || m->place.seg != seg)
                continue;
            (*count)++;
            *bytes += segs_cost(m->body_bytes);
        }
    }
}

void sim_oracle_end(struct sim_oracle *o)
{
    for (size_t k = 0; k < o->queue_count; k++) {
        struct queue_of *q = &o->queues[k];
        for (size_t i = 0; i < q->count; i++) {
            struct sim_msg *m = &q->list[i];
            if (!m->is_seen && !m->is_gone && m->is_safe && m->settle_lsn == SIM_NEVER) {
                if (!m->is_hurt)
                    sim_oracle_fail(o, "queue %" PRIu64 ": %" PRIx64 " was promised and is lost",
                                    NAMED(m));
                else if (!m->is_told)
                    sim_oracle_fail(o, "queue %" PRIu64 ": the loss of %" PRIx64 " is not told",
                                    NAMED(m));
            }
            /* Marks that ran ahead mean nothing any more once it was closed in order. */
            m->must_be_ahead = m->must_be_ahead && o->end == SIM_END_CRASH;
            m->is_gone = m->is_gone || !m->is_seen;
            m->is_safe = m->is_safe || m->is_seen;
            m->is_gone = m->is_gone && !m->is_seen;
            m->returns_lsn = SIM_NEVER;
            if (!m->is_settled_safe)
                m->settle_lsn = SIM_NEVER;
        }
    }
    o->mark_count = 0;
    o->former_count = 0;
}
