#include "store/index_state.h"

#include "base/idmap.h"
#include "base/mem.h"
#include "store/ranges.h"

#define VARINT_MAX 10u
#define GROUP_MAX  (1 + 2 * VARINT_MAX)
#define OTHER_MAX  (GROUP_MAX + 5 * VARINT_MAX + 1)

/* Of one priority, the one in its top octet. */
struct mark {
    uint64_t qseq;
    bool ahead;
};

struct queue_state {
    uint64_t qid;
    struct ranges settled;
    struct mark *marks; /* the highest of each priority and kind */
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
        mem_free(q->marks);
        mem_free(q->returns);
        mem_free(q);
    }
    idmap_fini(&s->by_qid);
    mem_free(s->others);
    mem_free(s);
}

static struct queue_state *queue_of(struct index_states *s, uint64_t qid)
{
    struct queue_state *q = idmap_get(&s->by_qid, qid);
    if (q == NULL) {
        q = mem_zalloc(sizeof *q);
        q->qid = qid;
        idmap_put(&s->by_qid, qid, q);
        *s->end = q;
        s->end = &q->next;
    }
    return q;
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

void index_states_settle(struct index_states *s, const struct settle_record *r)
{
    struct queue_state *q = queue_of(s, r->qid);
    for (unsigned i = 0; i < r->range_count; i++) {
        struct settle_range range = settle_record_range(r, i);
        ranges_add(&q->settled, range.first, range.last);
    }
    for (unsigned i = 0; i < r->mark_count; i++)
        add_mark(q, settle_record_mark(r, i), (r->flags & SETTLE_AHEAD) != 0);
}

/* Counts only rise: the last one said is the one. */
void index_states_returns(struct index_states *s, uint64_t qid, struct slice items)
{
    struct queue_state *q = queue_of(s, qid);
    size_t count = items.len / (RECORD_RETURNS_ROOM(1) - RECORD_RETURNS_ROOM(0));
    if (q->return_count + count > q->return_cap) {
        q->return_cap = 2 * (q->return_count + count);
        q->returns = mem_realloc(q->returns, q->return_cap * sizeof *q->returns);
    }
    for (size_t i = 0; i < count; i++)
        q->returns[q->return_count++] = returns_item(items, (unsigned)i);
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

static void put_queue(struct wire_out *w, struct queue_state *q)
{
    ranges_tidy(&q->settled);
    uint64_t last = 0;
    /* Also with none: that the queue has a state here is worth knowing. */
    put_group(w, INDEX_RANGE, q->qid, q->settled.count);
    for (size_t i = 0; i < q->settled.count; i++) {
        const struct settle_range *range = &q->settled.items[i];
        index_put_varint(w, range->first - last);
        index_put_varint(w, range->last - range->first);
        last = range->last;
    }
    put_marks(w, q);
    if (q->return_count == 0)
        return;
    put_group(w, INDEX_RETURNS, q->qid, q->return_count);
    for (size_t i = 0; i < q->return_count; i++) {
        index_put_varint(w, q->returns[i].qseq);
        index_put_varint(w, q->returns[i].returns);
    }
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

static size_t room_for(const struct index_states *s)
{
    size_t room = s->other_count * OTHER_MAX;
    for (const struct queue_state *q = s->first; q != NULL; q = q->next)
        room += 2 * GROUP_MAX + q->mark_count * (GROUP_MAX + VARINT_MAX) +
                (q->settled.count + q->return_count) * 2 * VARINT_MAX;
    return room;
}

uint8_t *index_states_take(struct index_states *s, size_t *len)
{
    *len = 0;
    size_t room = room_for(s);
    if (room == 0)
        return NULL;
    uint8_t *bytes = mem_alloc(room);
    struct wire_out w = wire_out_over(bytes, room);
    for (struct queue_state *q = s->first; q != NULL; q = q->next)
        put_queue(&w, q);
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
    return !r->w.ran_out && kind >= INDEX_RANGE && kind <= INDEX_GAP && r->left <= wire_left(&r->w);
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

static bool read_item(struct index_state_reader *r)
{
    uint64_t returns;
    switch (r->now.kind) {
    case INDEX_RANGE:
        return read_range(r);
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
