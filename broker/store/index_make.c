#include "store/index_make.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "mirror/mirror_history.h"
#include "store/segs.h"

#include <stdlib.h>

#define CAP_LEAST   256u
#define GAPS_MAX    4096u /* beyond them they are put together */
#define COST_LARGE  ((uint32_t)64 * 1024)
#define ROW_NONE    UINT32_MAX
#define PRIORITY(q) ((q) >> 56)

/* A row while it is gathered. Those of one queue (its priorities) hang together. */
struct growing {
    struct index_row row;
    uint32_t next;  /* of the same queue, or ROW_NONE */
    uint32_t count; /* of records, also those that the row will not list */
    uint32_t start; /* of its items among all, once they are sorted */
    uint64_t last;  /* put: is it above the one before? */
    bool is_sorted;
};

struct gathering {
    struct growing *rows;
    uint32_t row_count;
    uint32_t row_cap;
    uint32_t last_row;   /* most records are of the same queue as the one before */
    struct idmap by_qid; /* to the queue's first row, as its number + 1 */
    struct index_item *items;
    uint32_t *row_of;
    uint32_t item_count;
    uint32_t item_cap;
};

/* ---- gathering ----------------------------------------------------------------------------------
 */

static uint32_t add_row(struct gathering *g, uint64_t qid, uint64_t qseq)
{
    if (g->row_count == g->row_cap) {
        g->row_cap = g->row_cap != 0 ? 2 * g->row_cap : 16;
        g->rows = mem_realloc(g->rows, g->row_cap * sizeof *g->rows);
    }
    g->rows[g->row_count] = (struct growing){ .row = { .qid = qid, .first = qseq, .last = qseq },
                                              .next = ROW_NONE,
                                              .is_sorted = true };
    return g->row_count++;
}

static uint32_t find_row(struct gathering *g, uint64_t qid, uint64_t qseq)
{
    uint32_t first = (uint32_t)(uintptr_t)idmap_get(&g->by_qid, qid);
    if (first == 0) {
        first = add_row(g, qid, qseq);
        idmap_put(&g->by_qid, qid, (void *)((uintptr_t)first + 1));
        return first;
    }
    uint32_t at = first - 1;
    while (PRIORITY(g->rows[at].row.first) != PRIORITY(qseq)) {
        if (g->rows[at].next == ROW_NONE) {
            uint32_t added = add_row(g, qid, qseq);
            g->rows[at].next = added;
            return added;
        }
        at = g->rows[at].next;
    }
    return at;
}

static uint32_t row_for(struct gathering *g, uint64_t qid, uint64_t qseq)
{
    if (g->last_row < g->row_count) {
        const struct index_row *last = &g->rows[g->last_row].row;
        if (last->qid == qid && PRIORITY(last->first) == PRIORITY(qseq))
            return g->last_row;
    }
    return g->last_row = find_row(g, qid, qseq);
}

static uint8_t row_flags(const struct index_item *e)
{
    unsigned large = (e->flags & MSG_LARGE) != 0 || e->body_bytes >= COST_LARGE;
    return (uint8_t)((e->flags & MSG_EXPIRES ? INDEX_HAS_EXPIRING : 0) |
                     (e->flags & MSG_RETURNS ? INDEX_HAS_RETURNS : 0) |
                     (e->flags & MSG_TRANSIENT ? INDEX_HAS_TRANSIENT : 0) |
                     (large ? INDEX_HAS_LARGE : 0) |
                     (e->flags & (MSG_MOVED | MSG_AGAIN) ? INDEX_HAS_STRAY : 0));
}

static void add_item(struct gathering *g, uint64_t qid, const struct index_item *item)
{
    if (g->item_count == g->item_cap) {
        g->item_cap = g->item_cap != 0 ? 2 * g->item_cap : CAP_LEAST;
        g->items = mem_realloc(g->items, g->item_cap * sizeof *g->items);
        g->row_of = mem_realloc(g->row_of, g->item_cap * sizeof *g->row_of);
    }
    uint32_t at = row_for(g, qid, item->qseq);
    struct growing *row = &g->rows[at];
    row->is_sorted &= row->count == 0 || item->qseq > row->last;
    row->last = item->qseq;
    row->count++;
    if (item->qseq < row->row.first)
        row->row.first = item->qseq;
    if (item->qseq > row->row.last)
        row->row.last = item->qseq;
    row->row.flags |= row_flags(item);
    g->items[g->item_count] = *item;
    g->row_of[g->item_count++] = at;
}

static bool take_msg(struct index_make *m, struct gathering *g, const struct record *r)
{
    struct msg_record msg;
    if (!record_read_msg(r, &msg))
        return false;
    struct index_item item = { .offset = r->place.offset,
                               .length = r->length,
                               .body_bytes = (uint32_t)msg.body_bytes,
                               .flags = (uint8_t)msg.flags };
    bool is_state =
        (msg.flags & (MSG_AGAIN | MSG_PRODUCER)) != 0 || index_states_has_cuts(m->states);
    for (unsigned i = 0; i < msg.target_count; i++) {
        struct msg_target t = msg_record_target(&msg, i);
        item.qseq = t.qseq;
        item.expires_ms = t.expires_ms;
        item.returns = t.returns;
        add_item(g, t.qid, &item);
        if (is_state)
            index_states_message(m->states, &t, &msg);
        if (msg.flags & MSG_LARGE)
            index_states_add(m->states,
                             &(struct index_state){ .kind = INDEX_LARGE,
                                                    .qid = t.qid,
                                                    .first = t.qseq,
                                                    .large_id = msg.large_id,
                                                    .offset = item.offset,
                                                    .length = item.length,
                                                    .large_bytes = msg.body_bytes + msg.props_bytes,
                                                    .flags = item.flags });
    }
    m->header.put_count += msg.target_count;
    m->header.put_cost += msg.target_count * (uint64_t)segs_cost(msg.body_bytes);
    return true;
}

static bool take_epoch(struct index_make *m, const struct record *r)
{
    struct epoch_record epoch;
    if (!record_read_epoch(r, &epoch))
        return false;
    struct mirror_history history;
    struct wire w = wire_over(epoch.history);
    if (!mirror_history_take(&w, true, &history))
        return false;
    mirror_history_fini(&history);
    if (wire_left(&w) != 0)
        return false;
    index_states_epoch(m->states, &epoch);
    return true;
}

static bool take_state(struct index_make *m, const struct record *r)
{
    struct settle_record settle;
    struct slice items;
    uint64_t id;
    if (r->type == RECORD_EPOCH)
        return take_epoch(m, r);
    if (r->type == RECORD_SETTLE) {
        if (!record_read_settle(r, &settle))
            return false;
        index_states_settle(m->states, &settle);
        return true;
    }
    if (r->type == RECORD_RETURNS) {
        if (!record_read_returns(r, &id, &items))
            return false;
        index_states_returns(m->states, id, items);
        return true;
    }
    if (!record_read_large(r, &id, &items))
        return false;
    struct index_state proven = { .kind = INDEX_PROVEN, .large_id = id };
    if (r->count == 0)
        index_states_add(m->states, &proven);
    for (unsigned i = 0; i < r->count; i++) {
        proven.qid = large_record_qid(items, i);
        index_states_add(m->states, &proven);
    }
    return true;
}

/* False: what has a good check makes no sense. */
static bool take_record(struct index_make *m, struct gathering *g, const struct record *r)
{
    struct batch_record batch;
    switch (r->type) {
    case RECORD_MSG:
        return take_msg(m, g, r);
    case RECORD_SETTLE:
    case RECORD_RETURNS:
    case RECORD_LARGE:
    case RECORD_EPOCH:
        return take_state(m, r);
    case RECORD_BATCH:
        if (!record_read_batch(r, &batch))
            return false;
        if (batch.durable_lsn > m->header.durable_lsn)
            m->header.durable_lsn = batch.durable_lsn;
        return true;
    case RECORD_END:
        return true;
    }
    return false;
}

static void add_gap(struct index_make *m, const struct scan_gap *gap)
{
    struct scan_gap *last = m->gap_count != 0 ? &m->gaps[m->gap_count - 1] : NULL;
    if (last != NULL && (last->to == gap->from || m->gap_count == GAPS_MAX)) {
        last->to = gap->to;
        last->is_blank &= gap->is_blank;
        return;
    }
    m->gaps = mem_realloc(m->gaps, (m->gap_count + 1) * sizeof *m->gaps);
    m->gaps[m->gap_count++] = *gap;
}

static void note_durable(struct index_make *m, uint32_t offset)
{
    uint64_t lsn = place_lsn((struct place){ m->header.segment.seg, offset });
    if (lsn > m->header.durable_lsn)
        m->header.durable_lsn = lsn;
}

/* END_CLOSED was written when all was safe that stands before its group, which is that and a BATCH
 * at most. `last` is the last record before it that can be read; where octets between cannot, they
 * may be that BATCH, which was under way with it. */
static uint32_t last_group(const struct record *last, uint32_t end)
{
    const uint32_t batch_bytes = record_padded(RECORD_BATCH_BYTES);
    bool is_next = last->place.offset + record_padded(last->length) == end;
    if (is_next && last->type == RECORD_BATCH)
        return last->place.offset;
    return is_next || end < SEGMENT_HEADER_BYTES + batch_bytes ? end : end - batch_bytes;
}

static void gather(struct index_make *m, struct gathering *g, struct slice whole)
{
    struct scan s;
    struct record r;
    struct scan_gap gap;
    enum scan_found found;
    struct record last = { .type = RECORD_END }; /* before `r` */
    scan_init(&s, whole, &m->header.segment);
    while ((found = scan_next(&s, &r, &gap)) == SCAN_RECORD || found == SCAN_GAP) {
        if (found == SCAN_RECORD)
            last = r;
        if (found == SCAN_RECORD && take_record(m, g, &r))
            m->header.record_count++;
        else
            add_gap(m, found == SCAN_GAP
                           ? &gap
                           : &(struct scan_gap){ .from = r.place.offset, .to = s.offset });
    }
    m->header.end = s.offset;
    m->header.is_closed = found == SCAN_END && (r.flags & END_CLOSED) != 0;
    if (m->header.is_closed)
        note_durable(m, last_group(&last, r.place.offset));
    m->is_ended = found == SCAN_END || scan_is_full(&m->header.segment, s.offset);
    m->rest = m->is_ended ? (struct scan_gap){ s.offset, s.offset, true } : gap;
}

/* ---- sorting ------------------------------------------------------------------------------------
 */

static int by_position(const void *a, const void *b)
{
    const struct index_item *x = a;
    const struct index_item *y = b;
    if (x->qseq != y->qseq)
        return x->qseq < y->qseq ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_queue(const void *a, const void *b)
{
    const struct index_row *x = &((const struct growing *)a)->row;
    const struct index_row *y = &((const struct growing *)b)->row;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* All items of a row beside each other, in the order they stand in the segment. */
static void group(struct gathering *g)
{
    uint32_t start = 0;
    for (uint32_t i = 0; i < g->row_count; i++) {
        g->rows[i].start = start;
        start += g->rows[i].count;
    }
    if (g->row_count > 1) {
        struct index_item *sorted = mem_array(g->item_count, sizeof *sorted);
        for (uint32_t i = 0; i < g->item_count; i++)
            sorted[g->rows[g->row_of[i]].start++] = g->items[i];
        mem_free(g->items);
        g->items = sorted;
        for (uint32_t i = 0; i < g->row_count; i++)
            g->rows[i].start -= g->rows[i].count;
    }
}

/* In order of position; of two records of one the later stays. */
static void finish_row(struct gathering *g, struct growing *row)
{
    struct index_item *items = &g->items[row->start];
    uint32_t kept = row->count;
    if (!row->is_sorted) {
        qsort(items, row->count, sizeof *items, by_position);
        kept = 0;
        for (uint32_t i = 0; i < row->count; i++) {
            if (kept != 0 && items[kept - 1].qseq == items[i].qseq)
                kept--;
            items[kept++] = items[i];
        }
    }
    row->row.count = kept;
    for (uint32_t i = 0; i < kept; i++)
        row->row.body_bytes += items[i].body_bytes;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static size_t list_room(const struct gathering *g)
{
    size_t room = 0;
    for (uint32_t i = 0; i < g->row_count; i++) {
        uint32_t count = g->rows[i].row.count;
        room += index_table_bytes(count) + index_blocks(count) * INDEX_CHECK_BYTES +
                (size_t)count * INDEX_ENTRY_MAX;
    }
    return room;
}

static void put_list(struct wire_out *w, const struct index_item *items, uint32_t count,
                     uint64_t salt)
{
    uint32_t table_bytes = index_table_bytes(count);
    size_t table_at = wire_out_len(w);
    uint8_t *room = wire_out_room(w, table_bytes);
    CHECK(room != NULL);
    struct wire_out table = wire_out_over(room, table_bytes);
    if (table_bytes != 0)
        wire_put_u32_le(&table, 0);
    for (uint32_t at = 0; at < count; at += INDEX_BLOCK_ENTRIES) {
        size_t start = wire_out_len(w);
        uint32_t left = count - at;
        index_block_put(w, &items[at], left < INDEX_BLOCK_ENTRIES ? left : INDEX_BLOCK_ENTRIES,
                        salt);
        if (table_bytes == 0)
            return;
        wire_put_u64_le(&table, items[at].qseq);
        wire_put_u32_le(&table, (uint32_t)(wire_out_len(w) - start));
    }
    CHECK(!table.overflow && wire_out_len(&table) == table_bytes);
    struct wire_out check = wire_out_over(w->start + table_at, INDEX_CHECK_BYTES);
    wire_put_u32_le(&check,
                    index_check(slice_from(wire_out_slice(&table), INDEX_CHECK_BYTES), salt));
}

static void put_rows(struct index_make *m, struct gathering *g)
{
    for (uint32_t i = 0; i < g->row_count; i++)
        finish_row(g, &g->rows[i]);
    if (g->row_count > 1)
        qsort(g->rows, g->row_count, sizeof *g->rows, by_queue);

    size_t room = list_room(g);
    size_t dir_room = (size_t)g->row_count * INDEX_ROW_MAX;
    m->lists = mem_alloc(room + 1);
    m->dir = mem_alloc(dir_room + 1);
    struct wire_out lists = wire_out_over(m->lists, room);
    struct wire_out dir = wire_out_over(m->dir, dir_room);
    uint64_t last_qid = 0;
    for (uint32_t i = 0; i < g->row_count; i++) {
        struct growing *row = &g->rows[i];
        size_t start = wire_out_len(&lists);
        put_list(&lists, &g->items[row->start], row->row.count, m->header.segment.salt);
        row->row.list_bytes = (uint32_t)(wire_out_len(&lists) - start);
        index_row_put(&dir, &row->row, &last_qid);
    }
    CHECK(!lists.overflow && !dir.overflow);
    m->header.row_count = g->row_count;
    m->header.list_bytes = wire_out_len(&lists);
    m->header.dir_bytes = wire_out_len(&dir);
    m->header.dir_check = index_check(wire_out_slice(&dir), m->header.segment.salt);
    m->lists = mem_realloc(m->lists, m->header.list_bytes + 1);
    m->dir = mem_realloc(m->dir, m->header.dir_bytes + 1);
}

void index_make_init(struct index_make *m, struct slice whole, const struct segment_header *h)
{
    struct gathering g = { .last_row = ROW_NONE };
    *m = (struct index_make){ .header.segment = *h, .states = index_states_new() };
    idmap_init(&g.by_qid);
    gather(m, &g, whole);
    group(&g);
    put_rows(m, &g);
    idmap_fini(&g.by_qid);
    mem_free(g.rows);
    mem_free(g.items);
    mem_free(g.row_of);
}

void index_make_fini(struct index_make *m)
{
    index_states_free(&m->states);
    mem_free(m->gaps);
    mem_free(m->lists);
    mem_free(m->dir);
    *m = (struct index_make){ 0 };
}

void index_make_lost(struct index_make *m, uint32_t from, uint32_t to)
{
    CHECK(from < to);
    index_states_add(m->states,
                     &(struct index_state){ .kind = INDEX_GAP, .first = from, .last = to });
}

uint8_t *index_make_take(struct index_make *m, size_t *len)
{
    size_t state_bytes;
    uint8_t *state = index_states_take(m->states, &state_bytes);
    struct slice parts[] = { slice_of(m->lists, m->header.list_bytes), slice_of(state, state_bytes),
                             slice_of(m->dir, m->header.dir_bytes) };
    m->header.state_bytes = state_bytes;
    m->header.state_check = index_check(parts[1], m->header.segment.salt);
    size_t room = INDEX_HEADER_BYTES + parts[0].len + parts[1].len + parts[2].len;
    uint8_t *bytes = mem_alloc(room);
    index_header_put(bytes, &m->header);
    struct wire_out w = wire_out_over(bytes + INDEX_HEADER_BYTES, room - INDEX_HEADER_BYTES);
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        wire_put_bytes(&w, parts[i]);
    CHECK(!w.overflow);
    mem_free(state);
    *len = room;
    return bytes;
}
