/*
 * Random journals, with random damage, against a model that looks at every record by itself: what
 * can still be read counts, and what was never safe is not called lost.
 */
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"
#include "mem_disk.h"
#include "recover_kit.h"
#include "seg_kit.h"

#include <stdio.h>
#include <stdlib.h>

#define SEGS_MAX_HERE 6u
#define QUEUES        3u
#define LEVELS        (2 * QUEUES)
#define WROTE_MAX     20000u

enum wrote_kind {
    WROTE_MSG,
    WROTE_SETTLE,
    WROTE_MARK,
    WROTE_RETURNS,
    WROTE_EPOCH, /* what it cuts off is first .. last; last below first: nothing */
    WROTE_OTHER,
};

/* One target of a record, or all that a record of another kind says. */
struct wrote {
    enum wrote_kind kind;
    struct place place;
    uint32_t length;
    unsigned flags;
    uint64_t qid;
    uint64_t first;
    uint64_t last;
    uint32_t returns;
    uint64_t expires_ms;
    uint64_t body_bytes;
    uint64_t durable_lsn;
    struct msg_producer producer;
    struct mirror_history *history; /* of an EPOCH */
};

struct world {
    struct rng rng;
    struct seg_kit segs[SEGS_MAX_HERE];
    unsigned seg_count;
    struct wrote *wrote;
    size_t count;
    uint64_t next[LEVELS];
    uint64_t top[LEVELS]; /* the highest that next has been */
    uint64_t durable_lsn;
    uint64_t epoch;
    uint64_t seq;
};

static uint64_t below(struct world *w, uint64_t bound)
{
    return rng_below(&w->rng, bound);
}

static struct seg_kit *open_seg(struct world *w)
{
    return &w->segs[w->seg_count - 1];
}

static uint64_t qid_of(unsigned level)
{
    return 10 + level / 2;
}

static uint64_t base_of(unsigned level)
{
    return (uint64_t)(level % 2 * 4) << 56;
}

static void note(struct world *w, struct wrote what)
{
    struct seg_kit *k = open_seg(w);
    what.length = record_length(k->bytes + what.place.offset);
    CHECK(w->count < WROTE_MAX);
    w->wrote[w->count++] = what;
}

static void put_batch(struct world *w)
{
    struct seg_kit *k = open_seg(w);
    uint64_t durable = w->durable_lsn;
    if (rng_chance(&w->rng, 700))
        w->durable_lsn = seg_kit_lsn(k); /* what stands before it was synced meanwhile */
    note(w, (struct wrote){
                .kind = WROTE_OTHER, .durable_lsn = durable, .place = seg_kit_batch(k, durable) });
}

static void next_seg(struct world *w)
{
    if (w->seg_count != 0)
        note(w, (struct wrote){ .kind = WROTE_OTHER, .place = seg_kit_end(open_seg(w)) });
    seg_kit_init(&w->segs[w->seg_count], w->seg_count + 1, 0);
    w->seg_count++;
    put_batch(w);
}

static bool has_room(const struct world *w, size_t bytes)
{
    const struct seg_kit *k = &w->segs[w->seg_count - 1];
    return k->header.bytes - k->offset > bytes + 200 && w->count + 4 < WROTE_MAX;
}

static void put_msg(struct world *w, unsigned level, unsigned flags, size_t body)
{
    unsigned count = below(w, 10) == 0 ? 2 : 1;
    struct msg_target t[2] = { { 0 } };
    struct msg_producer by = { 1 + below(w, 4), 0 };
    bool is_numbered = rng_chance(&w->rng, 200);
    if (is_numbered)
        by.seq = ++w->seq - below(w, 3);
    for (unsigned i = 0; i < count; i++) {
        unsigned to = (level + 2 * i) % LEVELS;
        if (w->next[to] < w->top[to])
            flags |= MSG_AGAIN;
        t[i] =
            (struct msg_target){ .qid = qid_of(to),
                                 .qseq = base_of(to) + w->next[to]++,
                                 .expires_ms = flags & MSG_EXPIRES ? 1000 + below(w, 99) : 0,
                                 .returns = flags & MSG_RETURNS ? 1 + (uint32_t)below(w, 3) : 0 };
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned to = (level + 2 * i) % LEVELS;
        w->top[to] = w->next[to] > w->top[to] ? w->next[to] : w->top[to];
    }
    struct place at = seg_kit_msg_by(open_seg(w), flags, is_numbered ? &by : NULL, t, count, body);
    for (unsigned i = 0; i < count; i++)
        note(w, (struct wrote){ .kind = WROTE_MSG,
                                .place = at,
                                .flags = flags | (is_numbered ? MSG_PRODUCER : 0),
                                .qid = t[i].qid,
                                .first = t[i].qseq,
                                .returns = t[i].returns,
                                .expires_ms = t[i].expires_ms,
                                .body_bytes = body,
                                .producer = by });
}

/* At a position that was given, and may be settled or not. */
static void put_again(struct world *w)
{
    static const unsigned kinds[] = { 0, 0, 0, MSG_TRANSIENT, MSG_MOVED };
    const struct wrote old = w->wrote[below(w, w->count)];
    if (old.kind != WROTE_MSG)
        return;
    struct msg_target t = { .qid = old.qid, .qseq = old.first };
    struct wrote again = old;
    again.flags = MSG_AGAIN | kinds[below(w, ARRAY_COUNT(kinds))];
    again.body_bytes = below(w, 60);
    again.expires_ms = again.returns = 0;
    again.place = seg_kit_msg_to(open_seg(w), again.flags, &t, 1, (size_t)again.body_bytes);
    note(w, again);
}

/* One queue's next epoch; of one priority something may be cut off. */
static void put_epoch(struct world *w, unsigned level)
{
    struct mirror_history *h = mem_zalloc(sizeof *h);
    struct mirror_starts starts = { 0 };
    struct wrote x = { .kind = WROTE_EPOCH, .qid = qid_of(level), .first = 1, .history = h };
    struct settle_range cut = { 0, 0 };
    bool cuts = w->top[level] != 0 && rng_chance(&w->rng, 500);
    if (cuts) {
        uint64_t back = below(w, 8);
        w->next[level] -= back < w->next[level] ? back : w->next[level];
        cuts = w->next[level] < w->top[level];
    }
    if (cuts) {
        cut = (struct settle_range){ base_of(level) + w->next[level],
                                     base_of(level) + w->top[level] - 1 };
        x.first = cut.first;
        x.last = cut.last;
    }
    for (uint64_t i = below(w, 3); i != 0; i--)
        mirror_history_saw(h, 0, 1 + below(w, 4), below(w, w->seq + 1));
    mirror_starts_raise(&starts, base_of(level) + w->next[level]);
    if (rng_chance(&w->rng, 800))
        mirror_history_begin(h, ++w->epoch, &starts);
    x.place = seg_kit_epoch(open_seg(w), x.qid, &cut, cuts, h);
    mirror_starts_fini(&starts);
    note(w, x);
}

static void put_many(struct world *w, unsigned level)
{
    static const unsigned kinds[] = { 0, 0, 0, MSG_EXPIRES, MSG_RETURNS, MSG_TRANSIENT };
    size_t many = rng_chance(&w->rng, 100) ? 300 : (size_t)below(w, 10);
    size_t body = (size_t)below(w, 60);
    for (size_t i = 0; i < many && has_room(w, body); i++)
        put_msg(w, level, rng_chance(&w->rng, 20) ? kinds[below(w, ARRAY_COUNT(kinds))] : 0, body);
}

/* An old one once more, whether it is alive or not. */
static void put_moved(struct world *w)
{
    const struct wrote old = w->wrote[below(w, w->count)];
    if (old.kind != WROTE_MSG || (old.flags & MSG_TRANSIENT) != 0)
        return;
    struct msg_target t = { old.qid, old.first, old.expires_ms, old.returns };
    struct wrote moved = old;
    moved.flags |= MSG_MOVED;
    moved.place = seg_kit_msg_by(open_seg(w), moved.flags,
                                 (old.flags & MSG_PRODUCER) != 0 ? &old.producer : NULL, &t, 1,
                                 (size_t)old.body_bytes);
    note(w, moved);
}

static void put_settle(struct world *w, unsigned level)
{
    if (w->next[level] == 0)
        return;
    w->top[level] = w->next[level] > w->top[level] ? w->next[level] : w->top[level];
    uint64_t first = below(w, w->next[level]);
    uint64_t most = rng_chance(&w->rng, 100) ? w->next[level] - first : 4;
    uint64_t last = first + below(w, most < w->next[level] - first ? most : w->next[level] - first);
    first += base_of(level);
    last += base_of(level);
    note(w, (struct wrote){ .kind = WROTE_SETTLE,
                            .qid = qid_of(level),
                            .first = first,
                            .last = last,
                            .place = seg_kit_settle(open_seg(w), qid_of(level), first, last) });
}

static void put_mark(struct world *w, unsigned level)
{
    unsigned flags = rng_chance(&w->rng, 500) ? SETTLE_AHEAD : 0;
    uint64_t mark = base_of(level) + below(w, w->next[level] + 1);
    note(w, (struct wrote){ .kind = WROTE_MARK,
                            .flags = flags,
                            .qid = qid_of(level),
                            .first = mark,
                            .place = seg_kit_mark(open_seg(w), flags, qid_of(level), mark) });
}

static void put_returns(struct world *w, unsigned level)
{
    uint64_t qseq = base_of(level) + below(w, w->next[level] + 1);
    uint32_t returns = 1 + (uint32_t)below(w, 5);
    note(w, (struct wrote){ .kind = WROTE_RETURNS,
                            .qid = qid_of(level),
                            .first = qseq,
                            .returns = returns,
                            .place = seg_kit_returns(open_seg(w), qid_of(level), qseq, returns) });
}

static void write_history(struct world *w)
{
    unsigned steps = 1 + (unsigned)below(w, 300);
    next_seg(w);
    while (steps-- != 0 && w->count + 4 < WROTE_MAX) {
        unsigned level = (unsigned)below(w, rng_chance(&w->rng, 500) ? 1 : LEVELS);
        if (!has_room(w, 100) || rng_chance(&w->rng, 10)) {
            if (w->seg_count == SEGS_MAX_HERE)
                return;
            next_seg(w);
        }
        switch (below(w, 14)) {
        case 12:
            put_again(w);
            break;
        case 13:
            if (rng_chance(&w->rng, 300))
                put_epoch(w, level);
            break;
        case 0:
            put_batch(w);
            break;
        case 1:
            put_moved(w);
            break;
        case 2:
        case 3:
            put_settle(w, level);
            break;
        case 4:
            if (rng_chance(&w->rng, 200))
                put_mark(w, level);
            break;
        case 5:
            if (rng_chance(&w->rng, 300))
                put_returns(w, level);
            break;
        default:
            put_many(w, level);
        }
    }
}

/* ---- damage -----------------------------------------------------------------------------------
 */

static void spoil(struct world *w, struct seg_kit *k, uint32_t from, uint32_t to)
{
    if (from >= to)
        return;
    uint32_t at = from + (uint32_t)below(w, to - from);
    uint32_t n = 1 + (uint32_t)below(w, rng_chance(&w->rng, 500) ? 8 : 2000);
    if (n > to - at)
        n = to - at;
    memset(k->bytes + at, rng_chance(&w->rng, 500) ? 0 : 0xe5, n);
}

/* Only of what was not safe, or of anything. */
static void damage(struct world *w, bool anything)
{
    unsigned times = (unsigned)below(w, 4);
    for (unsigned i = 0; i < times; i++) {
        struct seg_kit *k = &w->segs[below(w, w->seg_count)];
        uint32_t from = SEGMENT_HEADER_BYTES;
        struct place durable = place_of_lsn(w->durable_lsn);
        if (!anything && k->header.seg < durable.seg)
            continue;
        if (!anything && k->header.seg == durable.seg)
            from = durable.offset;
        spoil(w, k, from, k->offset);
    }
}

/* ---- the model --------------------------------------------------------------------------------
 */

static bool is_readable(const struct world *w, const struct wrote *what)
{
    const struct seg_kit *k = &w->segs[what->place.seg - 1];
    struct record r;
    return record_cut(seg_kit_slice(k), &k->header, what->place.offset, &r) == RECORD_CUT_OK;
}

struct model {
    struct recover_alive *alive; /* by qid and position */
    size_t count;
    uint64_t marks[LEVELS];
    uint64_t next[LEVELS];
    struct mirror_history histories[QUEUES];
    bool has_history[QUEUES];
    uint64_t durable_lsn;
    uint64_t cut_lsn; /* the first record that was never safe and cannot be read: no more counts */
    bool any_lost;    /* a record below the durable LSN cannot be read */
};

static unsigned level_of(uint64_t qid, uint64_t qseq)
{
    return (unsigned)(qid - 10) * 2 + (qseq >> 56 != 0);
}

static int by_position(const void *a, const void *b)
{
    const struct recover_alive *x = a;
    const struct recover_alive *y = b;
    if (x->qid != y->qid)
        return x->qid < y->qid ? -1 : 1;
    if (x->qseq != y->qseq)
        return x->qseq < y->qseq ? -1 : 1;
    return place_lsn(x->place) < place_lsn(y->place) ? -1 : 1;
}

static void see(struct model *m, uint64_t qid, uint64_t next)
{
    uint64_t *at = &m->next[level_of(qid, next)];
    if (next > *at)
        *at = next;
}

static void look_at_epoch(struct model *m, const struct wrote *x)
{
    mirror_history_copy(&m->histories[x->qid - 10], x->history);
    m->has_history[x->qid - 10] = true;
    if (x->first <= x->last)
        m->next[level_of(x->qid, x->first)] = x->first;
}

static void look_at(struct model *m, const struct wrote *x)
{
    unsigned level = level_of(x->qid, x->first);
    switch (x->kind) {
    case WROTE_MSG:
        see(m, x->qid, x->first + 1);
        /* Of another kind it is noted, too, until it is known that nothing is behind it. */
        m->alive[m->count++] = (struct recover_alive){ .qid = x->qid,
                                                       .qseq = x->first,
                                                       .place = x->place,
                                                       .body_bytes = x->body_bytes,
                                                       .expires_ms = x->expires_ms,
                                                       .returns = x->returns,
                                                       .in_run = (x->flags & MSG_TRANSIENT) != 0 };
        if ((x->flags & MSG_PRODUCER) == 0 || (x->flags & (MSG_MOVED | MSG_TRANSIENT)) != 0)
            break;
        mirror_history_saw(&m->histories[x->qid - 10], UINT64_MAX, x->producer.pid,
                           x->producer.seq);
        m->has_history[x->qid - 10] = true;
        break;
    case WROTE_EPOCH:
        look_at_epoch(m, x);
        break;
    case WROTE_SETTLE:
        see(m, x->qid, x->last + 1);
        break;
    case WROTE_MARK:
        if (x->first > m->marks[level])
            m->marks[level] = x->first;
        break;
    case WROTE_RETURNS:
        see(m, x->qid, x->first + 1);
        break;
    case WROTE_OTHER:
        break;
    }
}

static void keep_newest(struct model *m)
{
    size_t kept = 0;
    qsort(m->alive, m->count, sizeof *m->alive, by_position);
    for (size_t i = 0; i < m->count; i++) {
        if (kept != 0 && m->alive[kept - 1].qid == m->alive[i].qid &&
            m->alive[kept - 1].qseq == m->alive[i].qseq)
            kept--;
        m->alive[kept++] = m->alive[i];
    }
    m->count = kept;
}

/* Something stands behind `lsn` that came again at this position. */
static bool came_again(const struct world *w, const struct model *m, uint64_t lsn, uint64_t qid,
                       uint64_t qseq)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct wrote *x = &w->wrote[i];
        uint64_t at = place_lsn(x->place);
        if (x->kind == WROTE_MSG && x->qid == qid && x->first == qseq && at > lsn &&
            at < m->cut_lsn && (x->flags & (MSG_AGAIN | MSG_TRANSIENT)) == MSG_AGAIN &&
            is_readable(w, x))
            return true;
    }
    return false;
}

/* The slow part: each settled range, each count of returns, over all that is alive. */
static void apply(const struct world *w, struct model *m, const struct wrote *x)
{
    for (size_t i = 0; i < m->count; i++) {
        struct recover_alive *a = &m->alive[i];
        if (a->qid != x->qid)
            continue;
        if ((x->kind == WROTE_SETTLE || x->kind == WROTE_EPOCH) && a->qseq >= x->first &&
            a->qseq <= x->last && !a->in_run &&
            !came_again(w, m, place_lsn(x->place), a->qid, a->qseq))
            a->in_run = true; /* settled, until it is left out */
        if (x->kind == WROTE_RETURNS && a->qseq == x->first && x->returns > a->returns &&
            !came_again(w, m, place_lsn(x->place), a->qid, a->qseq))
            a->returns = x->returns;
    }
}

static void model_init(struct model *m, const struct world *w)
{
    *m =
        (struct model){ .alive = mem_array(w->count + 1, sizeof *m->alive), .cut_lsn = UINT64_MAX };
    for (size_t i = 0; i < w->count; i++)
        if (w->wrote[i].durable_lsn > m->durable_lsn && is_readable(w, &w->wrote[i]))
            m->durable_lsn = w->wrote[i].durable_lsn;
    for (size_t i = 0; i < w->count && m->cut_lsn == UINT64_MAX; i++) {
        if (is_readable(w, &w->wrote[i]))
            look_at(m, &w->wrote[i]);
        else if (place_lsn(w->wrote[i].place) < m->durable_lsn)
            m->any_lost = true;
        else
            m->cut_lsn = place_lsn(w->wrote[i].place);
    }
    keep_newest(m);
    for (size_t i = 0; i < w->count; i++)
        if (is_readable(w, &w->wrote[i]) && place_lsn(w->wrote[i].place) < m->cut_lsn)
            apply(w, m, &w->wrote[i]);
    for (unsigned level = 0; level < LEVELS; level++)
        if (m->histories[level / 2].count == 0 && m->marks[level] > m->next[level])
            m->next[level] = m->marks[level];
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct recover_alive *a = &m->alive[i];
        if (a->in_run)
            continue;
        a->redelivered = a->qseq < m->marks[level_of(a->qid, a->qseq)] || a->returns != 0;
        m->alive[kept++] = *a;
    }
    m->count = kept;
}

/* ---- comparing --------------------------------------------------------------------------------
 */

static bool is_same(const struct recover_alive *a, const struct recover_alive *b)
{
    return a->qid == b->qid && a->qseq == b->qseq && place_eq(a->place, b->place) &&
           a->body_bytes == b->body_bytes && a->expires_ms == b->expires_ms &&
           a->returns == b->returns && a->redelivered == b->redelivered;
}

static bool is_same_history(const struct mirror_history *a, const struct mirror_history *b)
{
    uint8_t rooms[2][4096];
    struct wire_out x = wire_out_over(rooms[0], sizeof rooms[0]);
    struct wire_out y = wire_out_over(rooms[1], sizeof rooms[1]);
    mirror_history_put(&x, a, true);
    mirror_history_put(&y, b, true);
    return !x.overflow && slice_eq(wire_out_slice(&x), wire_out_slice(&y));
}

static void compare_histories(const struct recover_kit *k, const struct model *m, uint64_t seed)
{
    bool is_found[QUEUES] = { false };
    for (size_t i = 0; i < k->found.queue_count; i++) {
        const struct recovered_queue *q = &k->found.queues[i];
        struct mirror_history h;
        recovered_history_take(q, &h);
        is_found[q->qid - 10] = q->history != NULL;
        cr_assert(is_same_history(&h, &m->histories[q->qid - 10]), "seed %lu queue %lu", seed,
                  q->qid);
        mirror_history_fini(&h);
    }
    for (unsigned i = 0; i < QUEUES; i++)
        cr_assert(eq(int, is_found[i], m->has_history[i]), "seed %lu queue %u", seed, i + 10);
}

static void compare(struct world *w, struct disk *d, const struct model *m, bool look_only,
                    uint64_t seed)
{
    struct recover_kit k;
    size_t count;
    recover_kit_run(&k, d, (unsigned)below(w, 3), look_only);
    if (!look_only) {
        struct recover_alive *list = recover_kit_list(&k, &count);
        cr_assert(eq(sz, count, m->count), "seed %lu", seed);
        for (size_t i = 0; i < count; i++)
            cr_assert(is_same(&list[i], &m->alive[i]), "seed %lu: message %zu, %lu of %lu", seed, i,
                      m->alive[i].qseq, m->alive[i].qid);
        mem_free(list);
    }
    cr_assert(eq(u64, k.found.message_count, m->count), "seed %lu", seed);
    cr_assert(eq(int, k.found.damage_count != 0, m->any_lost), "seed %lu: %s", seed,
              recover_kit_damages(&k));
    compare_histories(&k, m, seed);
    for (unsigned level = 0; level < LEVELS; level++) {
        const struct recovered_level *found =
            recover_kit_level(&k, qid_of(level), (uint8_t)(base_of(level) >> 56));
        if (m->next[level] != 0 && found != NULL)
            cr_assert(eq(u64, found->next_new, m->next[level]), "seed %lu level %u", seed, level);
        cr_assert(found != NULL || m->next[level] == 0, "seed %lu level %u", seed, level);
    }
    recover_kit_fini(&k);
}

static void remove_some(struct world *w, struct disk *d)
{
    for (unsigned i = 0; i < w->seg_count; i++) {
        char name[40];
        struct err ignored;
        snprintf(name, sizeof name, "journal/%08x.idx", i + 1);
        if (rng_chance(&w->rng, 500))
            (void)d->ops->remove(d, name, &ignored);
    }
}

static void check_seed(uint64_t seed)
{
    struct world w = { .wrote = mem_array(WROTE_MAX, sizeof(struct wrote)) };
    struct model m;
    struct disk *d = mem_disk_new();
    rng_init(&w.rng, seed);
    write_history(&w);
    damage(&w, seed % 2 == 0);
    for (unsigned i = 0; i < w.seg_count; i++)
        seg_kit_save(&w.segs[i], d);
    model_init(&m, &w);
    compare(&w, d, &m, true, seed);
    compare(&w, d, &m, false, seed);
    compare(&w, d, &m, false, seed);
    remove_some(&w, d);
    compare(&w, d, &m, false, seed);
    compare(&w, d, &m, true, seed);
    for (unsigned i = 0; i < w.seg_count; i++)
        seg_kit_fini(&w.segs[i]);
    for (unsigned i = 0; i < QUEUES; i++)
        mirror_history_fini(&m.histories[i]);
    for (size_t i = 0; i < w.count; i++) {
        if (w.wrote[i].kind == WROTE_EPOCH)
            mirror_history_fini(w.wrote[i].history);
        mem_free(w.wrote[i].history);
    }
    mem_free(m.alive);
    mem_free(w.wrote);
    disk_free(&d);
}

/* RECOVER_FIRST and RECOVER_SEEDS ask for others than the usual ones. */
static uint64_t wanted(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

Test(recover_random, agrees_with_a_naive_model, .timeout = 600)
{
    uint64_t first = wanted("RECOVER_FIRST", 1);
    uint64_t count = wanted("RECOVER_SEEDS", 300);
    for (uint64_t seed = first; seed < first + count; seed++)
        check_seed(seed);
}

/* Its last segment begins with a torn batch, and was the only one that said how far all was
 * durable; before that there are holes in what was. */
Test(recover_random, knows_at_the_second_start_how_far_all_was_durable)
{
    check_seed(1416);
}

/* Its first segment is lost as a whole, and its index file goes. */
Test(recover_random, tells_again_of_a_segment_that_is_lost_as_a_whole)
{
    check_seed(1572);
}

/* All of a segment is lost or torn: how far all was safe is in the middle of it. */
Test(recover_random, counts_nothing_behind_a_segment_of_which_a_part_was_never_safe)
{
    check_seed(13584);
}
