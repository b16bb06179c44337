#include "mirrored_journal.h"

#include "base/check.h"
#include "base/mem.h"
#include "hosted.h"
#include "mirror/mirror_line.h"
#include "model/message.h"
#include "store/large.h"
#include "store/store.h"

static struct store *store_of(const struct hosted *h)
{
    return h->book.durable ? h->shard->store : NULL;
}

static struct place append(struct shard *s, const struct slice *parts, size_t count,
                           enum journal_need need, uint64_t *lsn)
{
    struct place p = journal_append(store_journal(s->store), parts, count, need, lsn);
    if (!place_is_none(p))
        mirrored_appended(s, *lsn);
    return p;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

/* Those of one record. */
struct writing {
    struct shard *shard;
    struct message *message;
    struct hosted *queues[MSG_TARGETS_MAX];
    struct msg_target targets[MSG_TARGETS_MAX];
    unsigned count;
    unsigned flags;
};

static void add(struct writing *w, struct hosted *h, const struct msg_target *t)
{
    w->queues[w->count] = h;
    w->targets[w->count++] = *t;
    if (t->expires_ms != 0)
        w->flags |= MSG_EXPIRES;
    if (t->returns != 0)
        w->flags |= MSG_RETURNS;
    if (mirror_starts_has(&h->mirrored->tops, t->qseq))
        w->flags |= MSG_AGAIN;
}

static bool is_large(const struct message *m)
{
    return m->body_bytes >= LARGE_BODY_LEAST;
}

/* What is too long for a record is not written on its master either. */
static bool fits(const struct writing *w)
{
    const struct message *m = w->message;
    size_t rest = is_large(m) ? 8 : (size_t)m->props_bytes + m->body_bytes;
    return RECORD_MSG_ROOM(w->count) + m->names_bytes + rest <=
           journal_record_max(store_journal(w->shard->store));
}

static struct place append_message(const struct writing *w, const struct msg_producer *producer,
                                   uint64_t *lsn)
{
    const struct message *m = w->message;
    uint8_t *head = mem_alloc(RECORD_MSG_ROOM(w->count));
    uint8_t id[8];
    unsigned flags = w->flags | (is_large(m) ? MSG_LARGE : 0);
    size_t bytes = record_put_msg_of(head, flags, producer, w->targets, w->count, m->names_bytes,
                                     m->props_bytes, m->body_bytes);
    record_put_large_id(id, message_large_id(m));
    struct slice parts[] = { slice_of(head, bytes), message_names(m), message_props(m),
                             message_body(m) };
    if (is_large(m)) {
        parts[2] = slice_of(id, sizeof id);
        parts[3] = slice_of(NULL, 0);
    }
    struct place p = append(w->shard, parts, ARRAY_COUNT(parts), JOURNAL_LAZY, lsn);
    mem_free(head);
    return p;
}

static void give_places(const struct writing *w, struct place p, bool has_producer)
{
    segs_put(store_segs(w->shard->store), p.seg, w->count,
             (int64_t)w->count * segs_cost(w->message->body_bytes));
    for (unsigned i = 0; i < w->count; i++) {
        struct hosted *h = w->queues[i];
        enum queue_placed placed = queue_set_place(&h->queue, w->targets[i].qseq, p);
        CHECK(placed == QUEUE_PLACED_READY);
        h->book.writes++;
        mover_note_message(&h->mover, p.seg);
        if (has_producer)
            hosted_note_state(h, p.seg);
    }
}

static uint64_t write_one(struct writing *w, const struct msg_producer *producer, larges_fn fn,
                          void *arg, bool *is_late)
{
    uint64_t lsn = 0;
    *is_late = false;
    if (w->count == 0 || !fits(w))
        return 0;
    struct place p = append_message(w, producer, &lsn);
    if (place_is_none(p))
        return lsn; /* the journal has failed: the node ends */
    give_places(w, p, producer != NULL);
    if (!is_large(w->message))
        return lsn;
    *is_late = true;
    larges_publish(w->shard->larges, w->message, p, w->targets, w->count, fn, arg);
    return MIRROR_LSN_LATER;
}

uint64_t copies_write(struct hosted *const *queues, const struct msg_target *targets,
                      unsigned count, struct message *m, const struct msg_producer *producer,
                      larges_fn fn, void *arg, bool *is_late)
{
    CHECK(count <= MSG_TARGETS_MAX && !message_is_in_parts(m));
    struct writing *w = mem_alloc(sizeof *w);
    w->message = m;
    w->count = w->flags = 0;
    for (unsigned i = 0; i < count; i++) {
        w->shard = queues[i]->shard;
        if (ledger_wants(queues[i], m) && store_of(queues[i]) != NULL)
            add(w, queues[i], &targets[i]);
    }
    uint64_t lsn = write_one(w, producer, fn, arg, is_late);
    mem_free(w);
    return lsn;
}

/* ---- what was done with them ------------------------------------------------------------------
 */

static uint64_t append_state(struct hosted *h, const struct slice *parts, size_t count,
                             enum journal_need need)
{
    uint64_t lsn = 0;
    struct place p = append(h->shard, parts, count, need, &lsn);
    if (!place_is_none(p))
        hosted_note_state(h, p.seg);
    return lsn;
}

uint64_t copy_write_settle(struct hosted *h, const struct settle_record *said)
{
    if (store_of(h) == NULL)
        return 0;
    CHECK(said->range_count <= SETTLE_RANGES_MAX && said->mark_count <= LEDGER_MARKS_MAX);
    struct settle_range *ranges = mem_array(said->range_count + 1u, sizeof *ranges);
    uint64_t marks[LEDGER_MARKS_MAX];
    for (unsigned i = 0; i < said->range_count; i++)
        ranges[i] = settle_record_range(said, i);
    for (unsigned i = 0; i < said->mark_count; i++)
        marks[i] = settle_record_mark(said, i);
    uint8_t *room = mem_alloc(RECORD_SETTLE_ROOM(said->range_count, said->mark_count));
    struct slice record =
        slice_of(room, record_put_settle(room, said->flags & SETTLE_AHEAD, h->queue.qid, ranges,
                                         said->range_count, marks, said->mark_count));
    uint64_t lsn = append_state(h, &record, 1, JOURNAL_LAZY);
    mem_free(room);
    mem_free(ranges);
    return lsn;
}

uint64_t copy_write_returns(struct hosted *h, struct slice items, unsigned count)
{
    if (store_of(h) == NULL || count == 0)
        return 0;
    CHECK(count <= RETURNS_MAX);
    struct msg_return *returns = mem_array(count, sizeof *returns);
    for (unsigned i = 0; i < count; i++)
        returns[i] = returns_item(items, i);
    uint8_t *room = mem_alloc(RECORD_RETURNS_ROOM(count));
    struct slice record = slice_of(room, record_put_returns(room, h->queue.qid, returns, count));
    uint64_t lsn = append_state(h, &record, 1, JOURNAL_LAZY);
    mem_free(room);
    mem_free(returns);
    return lsn;
}

/* ---- histories --------------------------------------------------------------------------------
 */

void copy_raise_tops(struct hosted *h, uint64_t last)
{
    bool is_the_last = mirror_priority_base(last + 1) != mirror_priority_base(last);
    mirror_starts_raise(&h->mirrored->tops, is_the_last ? last : last + 1);
}

/* Of each priority what is not given, and was. */
static unsigned cuts_of(const struct hosted *h, struct settle_range *out)
{
    const struct mirror_starts *tops = &h->mirrored->tops;
    struct mirror_starts next = { 0 };
    unsigned count = 0;
    mirrored_starts(h, &next);
    CHECK(tops->count <= EPOCH_CUTS_MAX);
    for (uint32_t i = 0; i < tops->count; i++) {
        uint64_t from = mirror_starts_of(&next, tops->items[i]);
        if (from < tops->items[i])
            out[count++] = (struct settle_range){ from, tops->items[i] - 1 };
    }
    mirror_starts_fini(&next);
    return count;
}

static struct place append_epoch(struct shard *s, uint64_t qid, const struct settle_range *cuts,
                                 unsigned count, const struct mirror_history *history,
                                 uint64_t *lsn)
{
    size_t bytes = mirror_history_size(history, true);
    CHECK(bytes <= EPOCH_HISTORY_MAX);
    uint8_t *room = mem_alloc(RECORD_EPOCH_ROOM(count) + bytes);
    size_t head = record_put_epoch(room, qid, cuts, count, bytes);
    struct wire_out out = wire_out_over(room + head, bytes);
    mirror_history_put(&out, history, true);
    CHECK(!out.overflow);
    struct slice parts[] = { slice_of(room, head), wire_out_slice(&out) };
    struct place p = append(s, parts, ARRAY_COUNT(parts), JOURNAL_SOON, lsn);
    mem_free(room);
    return p;
}

uint64_t copy_write_history(struct hosted *h, const struct mirror_history *history)
{
    struct settle_range cuts[EPOCH_CUTS_MAX];
    uint64_t lsn = 0;
    if (store_of(h) == NULL)
        return 0;
    struct place p = append_epoch(h->shard, h->queue.qid, cuts, cuts_of(h, cuts), history, &lsn);
    if (!place_is_none(p))
        hosted_note_state(h, p.seg);
    return lsn;
}

static struct place append_void(struct shard *s, uint64_t qid, unsigned max_priority, uint64_t *lsn)
{
    static const struct mirror_history none;
    struct settle_range cuts[EPOCH_CUTS_MAX];
    for (unsigned p = 0; p <= max_priority; p++)
        cuts[p] =
            (struct settle_range){ (uint64_t)p << MIRROR_PRIORITY_SHIFT, mirror_priority_last(p) };
    return append_epoch(s, qid, cuts, max_priority + 1u, &none, lsn);
}

uint64_t copy_write_void(struct hosted *h)
{
    uint64_t lsn = 0;
    if (store_of(h) == NULL)
        return 0;
    struct place p = append_void(h->shard, h->queue.qid, h->settings.max_priority, &lsn);
    if (!place_is_none(p))
        hosted_note_state(h, p.seg);
    return lsn;
}

uint32_t gone_write_void(struct shard *s, uint64_t qid, unsigned max_priority, size_t *bytes)
{
    uint64_t lsn = 0;
    *bytes = RECORD_EPOCH_ROOM(max_priority + 1u);
    struct place p = append_void(s, qid, max_priority, &lsn);
    return place_is_none(p) ? 0 : p.seg;
}
