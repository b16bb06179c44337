/*
 * recover_damage: which positions lay in octets that were safe and are lost.
 *
 * An index file from before tells exactly. Without one the neighbours tell: positions of a queue
 * are given in order, so what is missing between those in front of the hole and those behind it,
 * and was never settled, is most likely what was in it.
 */
#include "base/mem.h"
#include "store/recover_inner.h"

#define ROWS_MAX 1000u /* of damages for one hole: beyond that it is only told as octets */

struct hole {
    struct recovery *r;
    struct found_seg *seg;
    struct octets at;
    size_t told;
};

void recover_add_damage(struct recovery *r, const struct recovered_damage *d)
{
    struct recovered *out = r->out;
    if ((out->damage_count & (out->damage_count - 1)) == 0)
        out->damages =
            mem_realloc(out->damages, (out->damage_count != 0 ? 2 * out->damage_count : 1) *
                                          sizeof *out->damages);
    out->damages[out->damage_count++] = *d;
}

static void tell(struct hole *h, uint64_t qid, uint64_t first, uint64_t last)
{
    if (h->told++ < ROWS_MAX)
        recover_add_damage(h->r, &(struct recovered_damage){ .seg = h->seg->seg,
                                                             .from = h->at.from,
                                                             .to = h->at.to,
                                                             .qid = qid,
                                                             .first_qseq = first,
                                                             .last_qseq = last });
}

/* ---- what is missing of a range -----------------------------------------------------------------
 */

/* All positions within `among` that a record is known of. */
static bool add_known(struct hole *h, const struct found_row *fr, struct settle_range among,
                      struct ranges *known, struct err *err)
{
    struct index_cursor c;
    const struct index_item *e;
    if (fr->row->last < among.first || fr->row->first > among.last)
        return true;
    bool ok =
        index_cursor_init(&c, fr->seg->ix, fr->row, err) && index_cursor_seek(&c, among.first, err);
    for (; ok && (e = index_cursor_peek(&c)) != NULL && e->qseq <= among.last;
         ok = index_cursor_next(&c, err))
        ranges_add(known, e->qseq, e->qseq);
    index_cursor_fini(&c);
    if (!ok)
        h->r->bad_index = fr->seg->seg;
    return ok;
}

static void tell_missing(struct hole *h, uint64_t qid, struct settle_range among,
                         const struct ranges *known)
{
    uint64_t at = among.first;
    for (;;) {
        const struct settle_range *range = ranges_from(known, at);
        if (range == NULL || range->first > among.last) {
            tell(h, qid, at, among.last);
            return;
        }
        if (range->first > at)
            tell(h, qid, at, range->first - 1);
        if (range->last >= among.last)
            return;
        at = range->last + 1;
    }
}

/* What of `among` was neither settled nor has a record that can be read. */
static bool tell_range(struct hole *h, const struct found_queue *q, struct settle_range among,
                       struct err *err)
{
    struct ranges known = { 0 };
    const struct settle_range *range = ranges_from(&q->settled, among.first);
    bool ok = true;
    for (; range != NULL && range->first <= among.last; range = ranges_next(&q->settled, range))
        ranges_add(&known, range->first, range->last);
    for (size_t i = 0; ok && i < q->row_count; i++)
        ok = add_known(h, &q->rows[i], among, &known, err);
    ranges_tidy(&known);
    if (ok)
        tell_missing(h, q->qid, among, &known);
    ranges_fini(&known);
    return ok;
}

/* ---- by its index of before ---------------------------------------------------------------------
 */

static bool is_in(const struct hole *h, const struct index_item *e)
{
    return e->offset >= h->at.from && e->offset < h->at.to && (e->flags & MSG_TRANSIENT) == 0;
}

static bool tell_row(struct hole *h, const struct index_row *row, const struct found_queue *q,
                     struct err *err)
{
    struct index_cursor c;
    const struct index_item *e;
    struct ranges inside = { 0 };
    bool ok = index_cursor_init(&c, h->seg->old, row, err);
    for (; ok && (e = index_cursor_peek(&c)) != NULL; ok = index_cursor_next(&c, err))
        if (is_in(h, e))
            ranges_add(&inside, e->qseq, e->qseq);
    index_cursor_fini(&c);
    ranges_tidy(&inside);
    for (size_t i = 0; ok && i < inside.count; i++)
        ok = tell_range(h, q, inside.items[i], err);
    ranges_fini(&inside);
    return ok;
}

static bool tell_by_index(struct hole *h, struct err *err)
{
    size_t rows;
    const struct index_row *row = seg_index_rows(h->seg->old, &rows);
    for (size_t i = 0; i < rows; i++) {
        const struct found_queue *q = idmap_get(&h->r->by_qid, row[i].qid);
        if (q != NULL && q->is_known && !tell_row(h, &row[i], q, err))
            return false;
    }
    return true;
}

/* ---- by neighbours ------------------------------------------------------------------------------
 */

/* The positions on both sides, of one queue and priority. */
struct sides {
    uint64_t before;
    uint64_t behind;
    bool has_before;
    bool has_behind;
};

static void note(struct sides *s, uint64_t qseq, bool is_before)
{
    if (is_before && (!s->has_before || qseq > s->before)) {
        s->before = qseq;
        s->has_before = true;
    }
    if (!is_before && (!s->has_behind || qseq < s->behind)) {
        s->behind = qseq;
        s->has_behind = true;
    }
}

static bool note_here(const struct hole *h, const struct index_row *row, struct sides *s,
                      struct err *err)
{
    struct index_cursor c;
    const struct index_item *e;
    bool ok = index_cursor_init(&c, h->seg->ix, row, err);
    for (; ok && (e = index_cursor_peek(&c)) != NULL; ok = index_cursor_next(&c, err))
        if ((e->flags & (MSG_MOVED | MSG_AGAIN)) == 0)
            note(s, e->qseq, e->offset < h->at.from);
    index_cursor_fini(&c);
    if (!ok)
        h->r->bad_index = h->seg->seg;
    return ok;
}

/* What was moved, or came again, stands out of order and says nothing here. */
static bool note_row(const struct hole *h, const struct found_row *fr, struct sides *s,
                     struct err *err)
{
    if (fr->seg == h->seg)
        return note_here(h, fr->row, s, err);
    if ((fr->row->flags & INDEX_HAS_STRAY) != 0)
        return true;
    bool is_before = fr->seg->seg < h->seg->seg;
    note(s, is_before ? fr->row->last : fr->row->first, is_before);
    return true;
}

static bool tell_level(struct hole *h, const struct found_queue *q, size_t from, size_t to,
                       struct err *err)
{
    struct sides s = { 0 };
    bool ok = true;
    for (size_t i = from; ok && i < to; i++)
        ok = note_row(h, &q->rows[i], &s, err);
    if (!ok || !s.has_before || !s.has_behind || s.behind <= s.before || s.behind - s.before == 1)
        return ok;
    return tell_range(h, q, (struct settle_range){ s.before + 1, s.behind - 1 }, err);
}

static bool tell_queue(struct hole *h, const struct found_queue *q, struct err *err)
{
    for (size_t from = 0; from < q->row_count;) {
        size_t to = from;
        while (to < q->row_count && q->rows[to].row->first >> 56 == q->rows[from].row->first >> 56)
            to++;
        if (!tell_level(h, q, from, to, err))
            return false;
        from = to;
    }
    return true;
}

static bool tell_hole(struct recovery *r, struct found_seg *s, struct octets at, struct err *err)
{
    struct hole h = { .r = r, .seg = s, .at = at };
    bool ok = true;
    if (s->old != NULL && tell_by_index(&h, err) && h.told != 0)
        return true;
    if (h.told == 0) /* or what its index says cannot be read: by neighbours all the same */
        for (size_t i = 0; ok && i < r->queue_count; i++)
            ok = tell_queue(&h, r->queues[i], err);
    h.told = 0; /* neighbours need not tell all there was */
    tell(&h, 0, 0, 0);
    return ok;
}

bool recover_damages(struct recovery *r, struct err *err)
{
    for (size_t i = 0; i < r->seg_count; i++)
        for (size_t j = 0; j < r->segs[i].lost_count; j++)
            if (!tell_hole(r, &r->segs[i], r->segs[i].lost[j], err))
                return false;
    return true;
}
