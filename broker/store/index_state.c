#include "store/index_state.h"

#include "base/idmap.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "mirror/producers.h"
#include "store/ranges.h"

#include <stdlib.h>

#define VARINT_MAX 10u
#define GROUP_MAX  (1 + 2 * VARINT_MAX)
#define OTHER_MAX  (GROUP_MAX + 5 * VARINT_MAX + 1)

/* Of one priority, the one in its top octet. */
struct mark {
    uint64_t qseq;
    bool ahead;
};

/* What only queues have that are or were mirrored, or whose producers number what they publish. */
struct mirrored_state {
    struct ranges again;
    struct ranges again_now; /* since something was settled last */
    uint64_t *cuts;          /* of each priority, the next position */
    size_t cut_count;
    uint8_t *history;
    size_t history_bytes; /* 0: none */
    struct producers producers;
};

struct queue_state {
    uint64_t qid;
    bool is_told; /* there is more than what came again */
    struct ranges settled;
    struct mirrored_state *mirrored; /* may be NULL */
    struct mark *marks;              /* the highest of each priority and kind */
    size_t mark_count;
    struct msg_return *returns;
    size_t return_count;
    size_t return_cap;
    struct queue_state *next;
};

struct index_states {
    struct idmap by_qid;
    struct queue_state *first;
    struct queue_state **end;
    struct queue_state *last; /* that was asked for */
    bool has_cuts;
    uint64_t last_pid; /* while it is written */
    struct index_state *others;
    size_t other_count;
    size_t other_cap;
};

struct index_states *index_states_new(void)
{
    struct index_states *s = mem_zalloc(sizeof *s);
    idmap_init(&s->by_qid);
    s->end = &s->first;
    return s;
}

static void free_mirrored(struct mirrored_state *m)
{
    if (m == NULL)
        return;
    ranges_fini(&m->again);
    ranges_fini(&m->again_now);
    producers_fini(&m->producers);
    mem_free(m->cuts);
    mem_free(m->history);
    mem_free(m);
}

void index_states_free(struct index_states **states)
{
    struct index_states *s = *states;
    *states = NULL;
    if (s == NULL)
        return;
    while (s->first != NULL) {
        struct queue_state *q = s->first;
        s->first = q->next;
        ranges_fini(&q->settled);
        free_mirrored(q->mirrored);
        mem_free(q->marks);
        mem_free(q->returns);
        mem_free(q);
    }
    idmap_fini(&s->by_qid);
    mem_free(s->others);
    mem_free(s);
}

static struct queue_state *find_queue(struct index_states *s, uint64_t qid)
{
    return s->last != NULL && s->last->qid == qid ? s->last : idmap_get(&s->by_qid, qid);
}

static struct queue_state *queue_of(struct index_states *s, uint64_t qid)
{
    struct queue_state *q = find_queue(s, qid);
    if (q == NULL) {
        q = mem_zalloc(sizeof *q);
        q->qid = qid;
        idmap_put(&s->by_qid, qid, q);
        *s->end = q;
        s->end = &q->next;
    }
    return s->last = q;
}

static struct mirrored_state *mirrored_of(struct queue_state *q)
{
    if (q->mirrored == NULL)
        q->mirrored = mem_zalloc(sizeof *q->mirrored);
    return q->mirrored;
}

static void add_mark(struct queue_state *q, uint64_t qseq, bool ahead)
{
    for (size_t i = 0; i < q->mark_count; i++) {
        struct mark *m = &q->marks[i];
        if (m->ahead == ahead && m->qseq >> 56 == qseq >> 56) {
            if (qseq > m->qseq)
                m->qseq = qseq;
            return;
        }
    }
    q->marks = mem_realloc(q->marks, (q->mark_count + 1) * sizeof *q->marks);
    q->marks[q->mark_count++] = (struct mark){ qseq, ahead };
}

/* What came again so far is not settled by what stands before it, nor has it been returned. */
static void fold(struct queue_state *q)
{
    struct mirrored_state *m = q->mirrored;
    if (m == NULL || m->again_now.count == 0)
        return;
    ranges_remove(&q->settled, &m->again_now);
    q->return_count = returns_without(q->returns, q->return_count, &m->again_now);
    for (size_t i = 0; i < m->again_now.count; i++)
        ranges_add(&m->again, m->again_now.items[i].first, m->again_now.items[i].last);
    m->again_now.count = 0;
}

static uint64_t *cut_of(const struct mirrored_state *m, uint64_t qseq)
{
    for (size_t i = 0; i < m->cut_count; i++)
        if (m->cuts[i] >> 56 == qseq >> 56)
            return &m->cuts[i];
    return NULL;
}

/* The position was given, behind what was cut off. */
static void saw(struct mirrored_state *m, uint64_t qseq)
{
    uint64_t *next = m != NULL ? cut_of(m, qseq) : NULL;
    if (next != NULL && qseq >= *next && (qseq + 1) >> 56 == qseq >> 56)
        *next = qseq + 1;
}

static void settle(struct queue_state *q, struct settle_range range)
{
    ranges_add(&q->settled, range.first, range.last);
    saw(q->mirrored, range.last);
}

void index_states_settle(struct index_states *s, const struct settle_record *r)
{
    struct queue_state *q = queue_of(s, r->qid);
    q->is_told = true;
    if (!MUTATION(AGAIN_OUTLIVES_SETTLED))
        fold(q);
    for (unsigned i = 0; i < r->range_count; i++)
        settle(q, settle_record_range(r, i));
    for (unsigned i = 0; i < r->mark_count; i++)
        add_mark(q, settle_record_mark(r, i), (r->flags & SETTLE_AHEAD) != 0);
}

/* Counts only rise: the last one said is the one. */
void index_states_returns(struct index_states *s, uint64_t qid, struct slice items)
{
    struct queue_state *q = queue_of(s, qid);
    q->is_told = true;
    fold(q);
    size_t count = items.len / (RECORD_RETURNS_ROOM(1) - RECORD_RETURNS_ROOM(0));
    if (q->return_count + count > q->return_cap) {
        q->return_cap = 2 * (q->return_count + count);
        q->returns = mem_realloc(q->returns, q->return_cap * sizeof *q->returns);
    }
    for (size_t i = 0; i < count; i++) {
        q->returns[q->return_count] = returns_item(items, (unsigned)i);
        saw(q->mirrored, q->returns[q->return_count++].qseq);
    }
}

static void set_cut(struct index_states *s, struct mirrored_state *m, uint64_t next)
{
    uint64_t *found = cut_of(m, next);
    s->has_cuts = true;
    if (found != NULL) {
        *found = next;
        return;
    }
    m->cuts = mem_realloc(m->cuts, (m->cut_count + 1) * sizeof *m->cuts);
    m->cuts[m->cut_count++] = next;
}

void index_states_epoch(struct index_states *s, const struct epoch_record *r)
{
    struct queue_state *q = queue_of(s, r->qid);
    struct mirrored_state *m = mirrored_of(q);
    q->is_told = true;
    fold(q);
    for (unsigned i = 0; i < r->cut_count; i++) {
        struct settle_range cut = epoch_record_cut(r, i);
        if (!MUTATION(CUT_NOT_SETTLED))
            ranges_add(&q->settled, cut.first, cut.last);
        set_cut(s, m, cut.first);
    }
    if (r->history.len != m->history_bytes)
        m->history = mem_realloc(m->history, r->history.len);
    m->history_bytes = r->history.len;
    memcpy(m->history, r->history.ptr, r->history.len);
    if (!MUTATION(NUMBERS_BEFORE_EPOCH))
        producers_fini(&m->producers);
}

bool index_states_has_cuts(const struct index_states *s)
{
    return s->has_cuts;
}

void index_states_message(struct index_states *s, const struct msg_target *t,
                          const struct msg_record *m)
{
    bool stays = (m->flags & MSG_TRANSIENT) == 0;
    bool is_again = (m->flags & MSG_AGAIN) != 0 && stays && !MUTATION(AGAIN_IGNORED);
    bool is_new = (m->flags & (MSG_PRODUCER | MSG_MOVED)) == MSG_PRODUCER && stays;
    struct queue_state *q = is_again || is_new ? queue_of(s, t->qid) : find_queue(s, t->qid);
    if (is_again)
        ranges_add(&mirrored_of(q)->again_now, t->qseq, t->qseq);
    if (is_new) {
        producers_saw(&mirrored_of(q)->producers, m->producer.pid, m->producer.seq);
        q->is_told = true;
    }
    if (q != NULL)
        saw(q->mirrored, t->qseq);
}

void index_states_add(struct index_states *s, const struct index_state *item)
{
    if (s->other_count == s->other_cap) {
        s->other_cap = s->other_cap != 0 ? 2 * s->other_cap : 16;
        s->others = mem_realloc(s->others, s->other_cap * sizeof *s->others);
    }
    s->others[s->other_count++] = *item;
}

static void put_group(struct wire_out *w, enum index_state_kind kind, uint64_t qid, size_t count)
{
    wire_put_u8(w, (uint8_t)kind);
    index_put_varint(w, qid);
    index_put_varint(w, count);
}

static void put_marks(struct wire_out *w, const struct queue_state *q)
{
    for (size_t i = 0; i < q->mark_count; i++) {
        put_group(w, q->marks[i].ahead ? INDEX_AHEAD : INDEX_MARK, q->qid, 1);
        index_put_varint(w, q->marks[i].qseq);
    }
}

static void put_ranges(struct wire_out *w, enum index_state_kind kind, uint64_t qid,
                       struct ranges *ranges)
{
    ranges_tidy(ranges);
    uint64_t last = 0;
    put_group(w, kind, qid, ranges->count);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct settle_range *range = &ranges->items[i];
        index_put_varint(w, range->first - last);
        index_put_varint(w, range->last - range->first);
        last = range->last;
    }
}

static void put_returns(struct wire_out *w, const struct queue_state *q)
{
    if (q->return_count == 0)
        return;
    put_group(w, INDEX_RETURNS, q->qid, q->return_count);
    for (size_t i = 0; i < q->return_count; i++) {
        index_put_varint(w, q->returns[i].qseq);
        index_put_varint(w, q->returns[i].returns);
    }
}

static int by_use(const void *a, const void *b)
{
    const struct producer *x = a;
    const struct producer *y = b;
    return (x->used > y->used) - (x->used < y->used);
}

static void put_producers(struct index_states *s, struct wire_out *w, uint64_t qid,
                          struct producers *p)
{
    if (p->count == 0)
        return;
    put_group(w, INDEX_PRODUCER, qid, p->count);
    qsort(p->items, p->count, sizeof *p->items, by_use);
    for (uint32_t i = 0; i < p->count; i++) {
        index_put_varint(w, index_zigzag(p->items[i].pid - s->last_pid));
        index_put_varint(w, p->items[i].seq);
        s->last_pid = p->items[i].pid;
    }
    producers_fini(p); /* they are in no order that it knows */
}

static void put_again(struct wire_out *w, struct queue_state *q)
{
    struct mirrored_state *m = q->mirrored;
    for (size_t i = 0; i < m->cut_count; i++) {
        put_group(w, INDEX_CUT, q->qid, 1);
        index_put_varint(w, m->cuts[i]);
    }
    if (m->again.count != 0)
        put_ranges(w, INDEX_AGAIN, q->qid, &m->again);
}

static void put_history(struct index_states *s, struct wire_out *w, struct queue_state *q)
{
    struct mirrored_state *m = q->mirrored;
    if (m->history_bytes != 0) {
        put_group(w, INDEX_EPOCH, q->qid, 1);
        index_put_varint(w, m->history_bytes);
        wire_put_bytes(w, slice_of(m->history, m->history_bytes));
    }
    put_producers(s, w, q->qid, &m->producers);
}

static void put_queue(struct index_states *s, struct wire_out *w, struct queue_state *q)
{
    if (q->mirrored != NULL)
        put_again(w, q);
    /* Also with none: that the queue has a state here is worth knowing. */
    if (q->is_told)
        put_ranges(w, INDEX_RANGE, q->qid, &q->settled);
    put_marks(w, q);
    put_returns(w, q);
    if (q->mirrored != NULL)
        put_history(s, w, q);
}

static void put_other(struct wire_out *w, const struct index_state *item)
{
    put_group(w, item->kind, item->qid, 1);
    if (item->kind == INDEX_PROVEN) {
        index_put_varint(w, item->large_id);
    } else if (item->kind == INDEX_GAP) {
        index_put_varint(w, item->first);
        index_put_varint(w, item->last);
    } else {
        index_put_varint(w, item->first);
        index_put_varint(w, item->large_id);
        index_put_varint(w, item->offset);
        index_put_varint(w, item->length);
        index_put_varint(w, item->large_bytes);
        wire_put_u8(w, item->flags);
    }
}

static size_t mirrored_room(const struct mirrored_state *m)
{
    return 3 * GROUP_MAX + m->cut_count * (GROUP_MAX + VARINT_MAX) + VARINT_MAX + m->history_bytes +
           (m->again.count + m->producers.count) * 2 * VARINT_MAX;
}

static size_t room_for(const struct index_states *s)
{
    size_t room = s->other_count * OTHER_MAX;
    for (const struct queue_state *q = s->first; q != NULL; q = q->next)
        room += 2 * GROUP_MAX + q->mark_count * (GROUP_MAX + VARINT_MAX) +
                (q->settled.count + q->return_count) * 2 * VARINT_MAX +
                (q->mirrored != NULL ? mirrored_room(q->mirrored) : 0);
    return room;
}

uint8_t *index_states_take(struct index_states *s, size_t *len)
{
    *len = 0;
    for (struct queue_state *q = s->first; q != NULL; q = q->next)
        fold(q);
    size_t room = room_for(s);
    if (room == 0)
        return NULL;
    uint8_t *bytes = mem_alloc(room);
    struct wire_out w = wire_out_over(bytes, room);
    for (struct queue_state *q = s->first; q != NULL; q = q->next)
        put_queue(s, &w, q);
    for (size_t i = 0; i < s->other_count; i++)
        put_other(&w, &s->others[i]);
    *len = wire_out_len(&w);
    return mem_realloc(bytes, *len);
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static bool bad(struct index_state_reader *r)
{
    r->w.ran_out = true;
    return false;
}

static bool read_group(struct index_state_reader *r)
{
    uint8_t kind = wire_u8(&r->w);
    r->now = (struct index_state){ .kind = (enum index_state_kind)kind };
    r->now.qid = index_varint(&r->w);
    r->left = index_varint(&r->w);
    /* An item has an octet at least: a count that cannot be true ends here. */
    return !r->w.ran_out && kind >= INDEX_RANGE && kind <= INDEX_PRODUCER &&
           r->left <= wire_left(&r->w);
}

static bool read_range(struct index_state_reader *r)
{
    uint64_t first = index_varint(&r->w);
    uint64_t span = index_varint(&r->w);
    if (first > UINT64_MAX - r->now.last)
        return false;
    r->now.first = r->now.last + first;
    if (span > UINT64_MAX - r->now.first)
        return false;
    r->now.last = r->now.first + span;
    return true;
}

static bool read_large(struct index_state_reader *r)
{
    r->now.first = r->now.last = index_varint(&r->w);
    r->now.large_id = index_varint(&r->w);
    uint64_t offset = index_varint(&r->w);
    uint64_t length = index_varint(&r->w);
    r->now.large_bytes = index_varint(&r->w);
    r->now.flags = wire_u8(&r->w);
    r->now.offset = (uint32_t)offset;
    r->now.length = (uint32_t)length;
    return offset <= SEGMENT_BYTES_MAX && length <= SEGMENT_BYTES_MAX;
}

static bool read_producer(struct index_state_reader *r)
{
    r->last_pid += index_unzigzag(index_varint(&r->w));
    r->now.producer.pid = r->last_pid;
    r->now.producer.seq = index_varint(&r->w);
    return true;
}

static bool read_history(struct index_state_reader *r)
{
    uint64_t bytes = index_varint(&r->w);
    if (bytes == 0 || bytes > EPOCH_HISTORY_MAX)
        return false;
    r->now.history = wire_take(&r->w, (size_t)bytes);
    return true;
}

static bool read_item(struct index_state_reader *r)
{
    uint64_t returns;
    switch (r->now.kind) {
    case INDEX_RANGE:
    case INDEX_AGAIN:
        return read_range(r);
    case INDEX_PRODUCER:
        return read_producer(r);
    case INDEX_EPOCH:
        return read_history(r);
    case INDEX_CUT:
    case INDEX_MARK:
    case INDEX_AHEAD:
        r->now.first = r->now.last = index_varint(&r->w);
        return true;
    case INDEX_RETURNS:
        r->now.first = r->now.last = index_varint(&r->w);
        returns = index_varint(&r->w);
        r->now.returns = (uint32_t)returns;
        return returns <= UINT32_MAX;
    case INDEX_PROVEN:
        r->now.large_id = index_varint(&r->w);
        return true;
    case INDEX_LARGE:
        return read_large(r);
    case INDEX_GAP:
        r->now.first = index_varint(&r->w);
        r->now.last = index_varint(&r->w);
        return r->now.first < r->now.last && r->now.last <= SEGMENT_BYTES_MAX;
    }
    return false;
}

bool index_state_next(struct index_state_reader *r, struct index_state *out)
{
    while (r->left == 0) {
        if (wire_left(&r->w) == 0)
            return false;
        if (!read_group(r))
            return bad(r);
        if (r->left == 0 && r->now.kind == INDEX_RANGE) {
            /* A queue that has a state here, and no ranges: shown as a range of nothing. */
            *out = r->now;
            out->first = 1;
            out->last = 0;
            return true;
        }
    }
    r->left--;
    if (!read_item(r) || r->w.ran_out)
        return bad(r);
    *out = r->now;
    return true;
}
