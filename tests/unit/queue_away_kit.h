/*
 * queue_away_kit: a queue, a journal that remembers what was written where, and a list that says
 * what the queue must have. Whatever is done in whatever order, the three agree.
 */
#ifndef WARREN_TESTS_QUEUE_AWAY_KIT_H
#define WARREN_TESTS_QUEUE_AWAY_KIT_H

#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"
#include "model/queue.h"
#include "queue_kit.h"

#define RECORDS_MAX  20000u
#define MESSAGES_MAX 4000u
#define SEGS_MAX     400u
#define LEVELS       3u

enum known { KNOWN_GONE, KNOWN_READY, KNOWN_OUT };

struct written {
    uint64_t qseq;
    uint32_t seg;
    uint32_t offset;
    unsigned number;
};

/* One message, as the list knows it. */
struct known_message {
    enum known state;
    uint64_t qseq;
    bool persistent;
    bool redelivered;
    uint32_t returns;
    struct place place; /* the last one */
    bool was_settled;   /* its position is in what was told to be gone */
};

static struct {
    struct written records[RECORDS_MAX];
    unsigned record_count;
    struct known_message messages[MESSAGES_MAX];
    unsigned count;
    uint64_t next[LEVELS];
    uint32_t seg; /* that is being written */
    uint32_t seg_records;
    uint32_t records_a_seg;
    uint64_t durable_lsn;
    bool is_indexed[SEGS_MAX];
    int64_t alive[SEGS_MAX]; /* entries, as the table of segments would count them */
    unsigned wanted;
    uint64_t expires_ms; /* of all that is read */
    bool has_large;
    bool ends; /* the node stops: what is freed is not gone */
    bool loses;
} w;

static struct queue_settings settings;
static struct queue q;

/* ---- messages and records ---------------------------------------------------------------------
 */

static inline size_t bytes_of(unsigned number)
{
    return w.has_large && number % 499 == 7 ? MESSAGE_LARGE_BYTES + 1 : 8 + number % 40;
}

static inline struct message *make(unsigned number)
{
    static uint8_t body[MESSAGE_LARGE_BYTES + 8];
    uint64_t n = number;
    memcpy(body, &n, sizeof n);
    return message_new(slice_str("x"), slice_str("key"), slice_of("\0\0", 2),
                       slice_of(body, bytes_of(number)), w.messages[number].persistent);
}

static inline struct known_message *known_at(uint64_t qseq)
{
    for (unsigned n = 0; n < w.count; n++) {
        if (w.messages[n].qseq == qseq)
            return &w.messages[n];
    }
    cr_fatal("nothing was ever at that position");
    return NULL;
}

static inline unsigned number_of(const struct known_message *k)
{
    return (unsigned)(k - w.messages);
}

/* Write it; it is durable when the test says so. */
static inline struct place append(struct known_message *k)
{
    cr_assert(lt(uint, w.record_count, RECORDS_MAX));
    if (w.seg_records == w.records_a_seg) {
        w.seg++;
        w.seg_records = 0;
        cr_assert(lt(uint, w.seg, SEGS_MAX));
    }
    struct written *r = &w.records[w.record_count++];
    *r = (struct written){ k->qseq, w.seg, ++w.seg_records * 64, number_of(k) };
    k->place = (struct place){ r->seg, r->offset };
    w.alive[r->seg]++;
    return k->place;
}

static inline void drop_alive(uint32_t seg, uint64_t count)
{
    w.alive[seg] -= (int64_t)count;
    cr_assert(ge(i64, w.alive[seg], 0));
}

/* ---- what the queue says ----------------------------------------------------------------------
 */

static inline void release(struct message *m, void *arg)
{
    (void)arg;
    message_unref(&m);
}

static inline void die(struct queue *of, struct message *m, enum queue_death why, uint64_t qseq,
                       const struct qentry *e, void *arg)
{
    (void)of;
    (void)why;
    (void)arg;
    struct known_message *k = known_at(qseq);
    k->state = KNOWN_GONE;
    if (e->seg != 0)
        drop_alive(e->seg, 1);
    if (m != NULL)
        message_unref(&m);
}

static struct message *counted(struct message *m, uint32_t returns, void *arg)
{
    (void)returns;
    (void)arg;
    return message_ref(m);
}

static inline void wake_at(struct queue *of, uint64_t at_ms, void *arg)
{
    (void)of;
    (void)at_ms;
    (void)arg;
}

static inline void go_on(struct queue *of, void *arg)
{
    (void)of;
    (void)arg;
}

static inline void gone(struct queue *of, uint64_t qseq, const struct qentry *e, void *arg)
{
    (void)of;
    (void)arg;
    struct known_message *k = known_at(qseq);
    cr_assert(place_eq(k->place, qentry_place(e)));
    cr_assert(eq(u64, qentry_body_bytes(e), bytes_of(number_of(k))));
    k->was_settled = true;
    drop_alive(e->seg, 1);
}

static inline void gone_range(struct queue *of, uint64_t first, uint64_t last, void *arg)
{
    (void)of;
    (void)arg;
    for (unsigned n = 0; n < w.count; n++) {
        struct known_message *k = &w.messages[n];
        if (k->qseq < first || k->qseq > last)
            continue;
        cr_assert(ne(int, k->state, KNOWN_OUT), "a range of what is gone has one that is out");
        if (w.loses)
            k->state = KNOWN_GONE;
        k->was_settled = true;
    }
}

static inline void freed(struct queue *of, const struct qentry *e, void *arg)
{
    (void)of;
    (void)arg;
    if (!w.ends)
        drop_alive(e->seg, 1);
}

static inline void freed_run(struct queue *of, const struct qrun *r, void *arg)
{
    (void)of;
    (void)arg;
    if (!w.ends)
        drop_alive(r->seg, r->count);
}

static inline void out(struct queue *of, uint64_t qseq, void *arg)
{
    (void)of;
    (void)qseq;
    (void)arg;
}

static inline void returned(struct queue *of, uint64_t qseq, uint32_t returns, void *arg)
{
    (void)of;
    (void)arg;
    cr_assert(eq(uint, known_at(qseq)->returns + 1, returns));
}

static struct place again(struct queue *of, const struct queue_item *item, void *arg)
{
    (void)of;
    (void)arg;
    uint64_t number = kit_number(item->message);
    w.messages[number].qseq = item->qseq;
    w.next[0]++;
    return append(&w.messages[number]);
}

static inline void want(struct queue *of, void *arg)
{
    (void)of;
    (void)arg;
    w.wanted++;
}

static const struct queue_ops ops = { .release = release,
                                      .dead = die,
                                      .counted = counted,
                                      .wake_at = wake_at,
                                      .go_on = go_on,
                                      .gone = gone,
                                      .gone_range = gone_range,
                                      .freed = freed,
                                      .freed_run = freed_run,
                                      .out = out,
                                      .returned = returned,
                                      .again = again,
                                      .want = want };

/* ---- what is done to it -----------------------------------------------------------------------
 */

static inline void start(uint32_t records_a_seg)
{
    memset(&w, 0, sizeof w);
    w.seg = 1;
    w.records_a_seg = records_a_seg;
    settings = (struct queue_settings)QUEUE_SETTINGS_NONE;
}

static inline void open_queue(void)
{
    queue_init(&q, 1, &ops, &settings, 0);
}

static inline void close_queue(void)
{
    w.ends = true;
    cr_assert(queue_fini(&q, SIZE_MAX));
    w.ends = false;
}

static inline void publish(unsigned priority, bool persistent, bool is_placed)
{
    uint8_t room[16];
    struct wire_out o = wire_out_over(room, sizeof room);
    struct amqp_props props = { .flags = AMQP_PROP_priority, .priority = (uint8_t)priority };
    unsigned number = w.count;
    cr_assert(lt(uint, number, MESSAGES_MAX));
    struct known_message *k = &w.messages[w.count++];
    *k = (struct known_message){ .state = KNOWN_READY,
                                 .qseq = (uint64_t)priority << 56 | w.next[priority]++,
                                 .persistent = persistent };
    struct message *plain = make(number);
    amqp_props_encode(&o, &props);
    struct message *m =
        message_with_props(plain, slice_str("x"), slice_str("k"),
                           priority != 0 ? wire_out_slice(&o) : slice_of("\0\0", 2));
    message_unref(&plain);
    struct queue_put put;
    cr_assert(eq(int, queue_publish(&q, &m, 0, &put), QUEUE_KEPT));
    cr_assert(eq(u64, put.qseq, k->qseq));
    if (is_placed)
        cr_assert(eq(int, queue_set_place(&q, k->qseq, append(k)), QUEUE_PLACED_READY));
}

static inline void make_durable(void)
{
    w.durable_lsn = place_lsn((struct place){ w.seg, w.seg_records * 64 + 1 });
    for (uint32_t seg = 1; seg < w.seg; seg++)
        w.is_indexed[seg] = true;
}

static inline bool is_indexed(uint32_t seg, void *arg)
{
    (void)arg;
    cr_assert(lt(uint, 0, seg));
    return w.is_indexed[seg];
}

static inline struct qpaging page_out(uint64_t keep_count, bool in_runs, size_t budget)
{
    struct qpaging p = { .keep_count = keep_count,
                         .keep_bytes = UINT64_MAX,
                         .durable_lsn = w.durable_lsn,
                         .is_indexed = in_runs ? is_indexed : NULL,
                         .budget = budget };
    queue_page_out(&q, &p);
    return p;
}

static inline void page_out_all(uint64_t keep_count)
{
    while (!page_out(keep_count, true, 1000).is_done)
        ;
}

/* What the index of a segment says of these positions, with messages or without. */
static inline size_t look_up(uint32_t seg, uint64_t first, uint64_t last, struct queue_item *items,
                             size_t max, bool with_messages)
{
    size_t n = 0;
    for (unsigned i = 0; i < w.record_count && n < max; i++) {
        const struct written *r = &w.records[i];
        if (r->seg != seg || r->qseq < first || r->qseq > last)
            continue;
        size_t at = n++;
        for (; at > 0 && items[at - 1].qseq > r->qseq; at--)
            items[at] = items[at - 1];
        items[at] = (struct queue_item){ .qseq = r->qseq,
                                         .message = with_messages ? make(r->number) : NULL,
                                         .body_bytes = bytes_of(r->number),
                                         .persistent = w.messages[r->number].persistent,
                                         .expires_ms = w.expires_ms,
                                         .place = { r->seg, r->offset } };
    }
    return n;
}

static inline unsigned record_at(struct place p)
{
    for (unsigned i = w.record_count; i-- > 0;) {
        if (w.records[i].seg == p.seg && w.records[i].offset == p.offset)
            return w.records[i].number;
    }
    cr_fatal("no record there");
    return 0;
}

static struct queue_item items[RECORDS_MAX];

static inline void answer(const struct qwant *wa)
{
    if (wa->run_seg != 0) {
        size_t n = look_up(wa->run_seg, wa->first, wa->last, items, RECORDS_MAX, true);
        queue_loaded_run(&q, wa->run_seg, wa->first, wa->last, items, n);
        return;
    }
    for (size_t i = 0; i < wa->count; i++)
        items[i] = (struct queue_item){ .qseq = wa->items[i].qseq,
                                        .message = make(record_at(wa->items[i].place)),
                                        .place = wa->items[i].place };
    queue_loaded(&q, items, wa->count);
}

static const struct qwindow window = { .count = 100, .max_count = 50, .max_bytes = 2000 };

static inline bool load_some(void)
{
    struct qwant wa;
    if (!queue_wants(&q, &window, 0, &wa))
        return false;
    answer(&wa);
    return true;
}

/* ---- what must be -----------------------------------------------------------------------------
 */

static inline struct known_message *next_ready(void)
{
    struct known_message *best = NULL;
    for (unsigned n = 0; n < w.count; n++) {
        struct known_message *k = &w.messages[n];
        if (k->state != KNOWN_READY)
            continue;
        if (best == NULL || k->qseq >> 56 > best->qseq >> 56 ||
            (k->qseq >> 56 == best->qseq >> 56 && k->qseq < best->qseq))
            best = k;
    }
    return best;
}

/* The next one goes out; what is away is loaded first. */
static inline struct known_message *get(void)
{
    struct queue_got got;
    struct known_message *k = next_ready();
    enum queue_get_verdict v;
    unsigned loads = 0;
    while ((v = queue_get(&q, false, 0, &got)) == QUEUE_GET_AWAY) {
        cr_assert(lt(uint, 0, w.wanted), "it says that it waits");
        cr_assert(load_some(), "and says what for");
        cr_assert(lt(uint, loads++, 3), "which helps");
        w.wanted = 0;
    }
    cr_assert(eq(int, v, k != NULL ? QUEUE_GOT : QUEUE_GET_EMPTY));
    if (k == NULL)
        return NULL;
    cr_assert(eq(u64, got.qseq, k->qseq));
    cr_assert(eq(u64, kit_number(got.message), number_of(k)));
    cr_assert(eq(int, got.redelivered, k->redelivered));
    message_unref(&got.message);
    k->state = KNOWN_OUT;
    return k;
}

static uint64_t last_dead;

/* Each position in a range is dead. */
static inline void on_dead_range(uint64_t first, uint64_t last, void *arg)
{
    (void)arg;
    cr_assert(le(u64, first, last));
    cr_assert(le(u64, last_dead, first));
    last_dead = last + 1;
    for (unsigned n = 0; n < w.count; n++) {
        if (w.messages[n].qseq < first || w.messages[n].qseq > last)
            continue;
        cr_assert(eq(int, w.messages[n].state, KNOWN_GONE));
        w.messages[n].was_settled = true;
    }
}

static inline void expect_counts(void)
{
    struct qcounts c = { 0 };
    for (unsigned n = 0; n < w.count; n++) {
        const struct known_message *k = &w.messages[n];
        struct qcount *to = k->state == KNOWN_READY ? &c.ready : &c.out;
        if (k->state == KNOWN_GONE)
            continue;
        to->count++;
        to->bytes += bytes_of(n);
        to->persistent += k->persistent;
        to->persistent_bytes += k->persistent ? bytes_of(n) : 0;
    }
    const struct qcounts *is = &q.store.counts;
    cr_assert(eq(u64, is->ready.count, c.ready.count));
    cr_assert(eq(u64, is->out.count, c.out.count));
    cr_assert(eq(u64, is->out.bytes, c.out.bytes));
    cr_assert(eq(u64, is->out.persistent, c.out.persistent));
    cr_assert(eq(u64, is->ready.bytes, c.ready.bytes));
    cr_assert(le(u64, is->away.count, is->ready.count));
    cr_assert(le(u64, is->away.bytes, is->ready.bytes));
}

/* When nothing is buried: what the segments have is what the queue has there. */
static inline void expect_segments(void)
{
    static int64_t alive[SEGS_MAX];
    if (q.has_buried)
        return;
    memset(alive, 0, sizeof alive);
    for (unsigned n = 0; n < w.count; n++) {
        if (w.messages[n].state != KNOWN_GONE && w.messages[n].place.seg != 0) {
            alive[w.messages[n].place.seg]++;
            cr_assert(queue_at(&q, w.messages[n].qseq, w.messages[n].place));
        }
    }
    for (uint32_t seg = 1; seg <= w.seg; seg++)
        cr_assert(eq(i64, w.alive[seg], alive[seg]), "segment %u", seg);
}

static inline void expect_dead_ranges(void)
{
    struct qrun sparse;
    last_dead = 0;
    for (unsigned n = 0; n < w.count; n++)
        w.messages[n].was_settled = false;
    if (!queue_dead_ranges(&q, on_dead_range, NULL, &sparse)) {
        size_t n = look_up(sparse.seg, sparse.first, sparse.last, items, RECORDS_MAX, false);
        queue_loaded_run(&q, sparse.seg, sparse.first, sparse.last, items, n);
        return;
    }
    if (q.has_buried)
        return;
    for (unsigned n = 0; n < w.count; n++)
        cr_assert(eq(int, w.messages[n].state == KNOWN_GONE, w.messages[n].was_settled));
}

static inline void publish_placed(unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        publish(0, true, true);
}

static inline void ack(struct known_message *k)
{
    cr_assert(queue_ack(&q, k->qseq, NULL));
    k->state = KNOWN_GONE;
}

#endif
