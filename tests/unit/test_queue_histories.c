#include "queue_away_kit.h"

static void settle_or_return(struct rng *r)
{
    unsigned n = (unsigned)rng_below(r, w.count);
    struct known_message *k = &w.messages[n];
    while (n < w.count && w.messages[n].state != KNOWN_OUT)
        n++;
    if (n == w.count)
        return;
    k = &w.messages[n];
    if (rng_chance(r, 500)) {
        ack(k);
        return;
    }
    bool seen = rng_chance(r, 500);
    if (settings.is_quorum && rng_chance(r, 500)) {
        uint64_t was = k->qseq;
        cr_assert(queue_return(&q, k->qseq, NULL));
        if (k->qseq == was)
            k->qseq = w.next[0]++;
        seen = true;
    } else {
        cr_assert(queue_requeue(&q, k->qseq, NULL, seen));
    }
    k->returns += seen && settings.is_quorum;
    k->redelivered |= seen;
    k->state = KNOWN_READY;
}

static void purge(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < w.count; i++) {
        n += w.messages[i].state == KNOWN_READY;
        if (w.messages[i].state == KNOWN_READY)
            w.messages[i].state = KNOWN_GONE;
    }
    cr_assert(eq(u64, queue_purge(&q), n));
}

static void spill(uint64_t keep_count, size_t max)
{
    bool is_done;
    size_t n = queue_unplaced(&q, keep_count, items, max, &is_done);
    cr_assert(le(sz, n, max));
    for (size_t i = 0; i < n; i++) {
        struct known_message *k = known_at(items[i].qseq);
        cr_assert(eq(int, k->state, KNOWN_READY));
        cr_assert(eq(u64, kit_number(items[i].message), number_of(k)));
        cr_assert(eq(uint, items[i].returns, k->returns));
        cr_assert(eq(int, queue_set_place(&q, k->qseq, append(k)), QUEUE_PLACED_READY));
    }
}

/* What is alive in a segment is written anew; then it is gone. */
static void evacuate(uint32_t seg)
{
    w.is_indexed[seg] = false;
    size_t n = look_up(seg, 0, UINT64_MAX, items, RECORDS_MAX, false);
    queue_loaded_run(&q, seg, 0, UINT64_MAX, items, n);
    cr_assert(not(queue_has_runs_in(&q, seg)));
    unsigned kept = 0;
    unsigned count = w.record_count;
    for (unsigned i = 0; i < count; i++) {
        struct written r = w.records[i];
        struct place p = { r.seg, r.offset };
        if (r.seg != seg || !queue_at(&q, r.qseq, p))
            continue;
        struct known_message *k = known_at(r.qseq);
        cr_assert(place_eq(k->place, p));
        drop_alive(seg, 1);
        cr_assert(ne(int, queue_set_place(&q, r.qseq, append(k)), QUEUE_PLACED_GONE));
    }
    if (!q.has_buried)
        cr_assert(eq(i64, w.alive[seg], 0));
    for (unsigned i = 0; i < w.record_count; i++) {
        if (w.records[i].seg != seg)
            w.records[kept++] = w.records[i];
    }
    w.record_count = kept;
}

static uint64_t marks[LEVELS];

static void on_mark(uint64_t mark, void *arg)
{
    (void)arg;
    marks[mark >> 56] = mark;
}

static int by_qseq(const void *a, const void *b)
{
    const struct known_message *const *x = a;
    const struct known_message *const *y = b;
    return (*x)->qseq < (*y)->qseq ? -1 : (*x)->qseq > (*y)->qseq;
}

/* A record of the queue that is not this message's, between two positions in a segment. */
static bool has_other_records(uint32_t seg, uint64_t first, uint64_t last)
{
    for (unsigned i = 0; i < w.record_count; i++) {
        const struct written *r = &w.records[i];
        if (r->seg == seg && r->qseq > first && r->qseq < last)
            return true;
    }
    return false;
}

static bool may_follow(const struct qrun *run, const struct known_message *k, bool is_dense)
{
    return k->place.seg == run->seg && k->redelivered == run->redelivered && k->returns == 0 &&
           bytes_of(number_of(k)) < MESSAGE_LARGE_BYTES &&
           (is_dense ? k->qseq == run->last + 1 : !has_other_records(run->seg, run->last, k->qseq));
}

static struct qrun runs[MESSAGES_MAX];
static struct recovered_entry entries[MESSAGES_MAX];

static void list_level(struct recovered_level *l, struct known_message **sorted, unsigned count,
                       bool is_dense)
{
    l->runs = runs;
    l->entries = entries;
    for (unsigned i = 0; i < count;) {
        struct known_message *k = sorted[i];
        struct qrun run = { .first = k->qseq,
                            .last = k->qseq - 1,
                            .seg = k->place.seg,
                            .redelivered = k->redelivered };
        unsigned end = i;
        for (; end < count &&
               (end == i ? k->returns == 0 && bytes_of(number_of(k)) < MESSAGE_LARGE_BYTES
                         : may_follow(&run, sorted[end], is_dense));
             end++) {
            run.last = sorted[end]->qseq;
            run.count++;
            run.body_bytes += bytes_of(number_of(sorted[end]));
        }
        run.persistent_count = run.count;
        run.persistent_bytes = run.body_bytes;
        if (run.count >= 5) {
            l->runs[l->run_count++] = run;
            i = end;
            continue;
        }
        l->entries[l->entry_count++] =
            (struct recovered_entry){ .qseq = k->qseq,
                                      .body_bytes = bytes_of(number_of(k)),
                                      .place = k->place,
                                      .returns = k->returns,
                                      .redelivered = k->redelivered };
        i++;
    }
}

/* The node is killed and comes back: transient messages are gone, what was out is ready. */
static void restart(bool is_dense)
{
    static struct known_message *sorted[MESSAGES_MAX];
    memset(marks, 0, sizeof marks);
    queue_marks(&q, on_mark, NULL);
    close_queue();
    open_queue();
    unsigned kept = 0;
    for (unsigned i = 0; i < w.record_count; i++) {
        if (w.messages[w.records[i].number].persistent)
            w.records[kept++] = w.records[i];
    }
    w.record_count = kept;
    unsigned count = 0;
    memset(w.alive, 0, sizeof w.alive);
    for (unsigned n = 0; n < w.count; n++) {
        struct known_message *k = &w.messages[n];
        if (k->state == KNOWN_GONE)
            continue;
        k->state = k->persistent && k->place.seg != 0 ? KNOWN_READY : KNOWN_GONE;
        k->redelivered = k->qseq < marks[k->qseq >> 56] || k->returns != 0;
        if (k->state == KNOWN_READY) {
            sorted[count++] = k;
            w.alive[k->place.seg]++;
        }
    }
    qsort(sorted, count, sizeof *sorted, by_qseq);
    unsigned at = 0;
    for (unsigned p = 0; p < LEVELS; p++) {
        struct recovered_level l = { .priority = (uint8_t)p,
                                     .next_new = (uint64_t)p << 56 | w.next[p] };
        unsigned end = at;
        while (end < count && sorted[end]->qseq >> 56 == p)
            end++;
        list_level(&l, sorted + at, end - at, is_dense);
        struct recovered_queue from = { .qid = 1, .levels = &l, .level_count = 1 };
        if (p <= settings.max_priority)
            cr_assert(queue_restore(&q, &from, 0));
        at = end;
    }
    make_durable();
}

/* A load that is answered when other things have happened. */
static struct {
    struct qwant want;
    struct queue_item items[QWANT_MAX];
    size_t count;
    bool is_under_way;
} load;

static void start_load(void)
{
    if (!queue_wants(&q, &window, 0, &load.want))
        return;
    load.is_under_way = true;
    load.count = load.want.count;
    if (load.want.run_seg != 0)
        load.count = look_up(load.want.run_seg, load.want.first, load.want.last, load.items,
                             QWANT_MAX, true);
    for (size_t i = 0; i < load.want.count; i++)
        load.items[i] = (struct queue_item){ .qseq = load.want.items[i].qseq,
                                             .message = make(record_at(load.want.items[i].place)),
                                             .place = load.want.items[i].place };
}

static void end_load(void)
{
    if (!load.is_under_way)
        return;
    load.is_under_way = false;
    if (load.want.run_seg != 0)
        queue_loaded_run(&q, load.want.run_seg, load.want.first, load.want.last, load.items,
                         load.count);
    else
        queue_loaded(&q, load.items, load.count);
}

static void step(struct rng *r, unsigned persistent_permille, bool has_levels)
{
    switch (rng_below(r, 16)) {
    case 0:
    case 1:
        for (uint64_t n = rng_below(r, 40); n > 0 && w.count < MESSAGES_MAX; n--) {
            bool persistent = rng_chance(r, persistent_permille);
            unsigned priority = has_levels && rng_chance(r, 200) ? (unsigned)rng_below(r, 3) : 0;
            publish(priority, persistent, persistent);
        }
        break;
    case 2:
    case 3:
        for (uint64_t n = rng_below(r, 20); n > 0; n--)
            get();
        break;
    case 4:
    case 5:
        for (uint64_t n = rng_below(r, 20); n > 0 && w.count != 0; n--)
            settle_or_return(r);
        break;
    case 6:
        if (rng_chance(r, 100))
            purge();
        break;
    case 7:
        queue_go_on(&q, 0);
        break;
    case 8:
        make_durable();
        break;
    case 9:
    case 10:
        page_out(rng_below(r, 50), rng_chance(r, 800), 1 + rng_below(r, 1000));
        break;
    case 11:
        spill(rng_below(r, 20), 1 + rng_below(r, 50));
        break;
    case 12:
        load_some();
        break;
    case 13:
        if (load.is_under_way)
            end_load();
        else
            start_load();
        break;
    case 14:
        if (rng_chance(r, 300) && w.seg > 1)
            evacuate((uint32_t)(1 + rng_below(r, w.seg - 1)));
        if (rng_chance(r, 50)) {
            end_load();
            restart(rng_chance(r, 500));
        }
        break;
    default:
        expect_dead_ranges();
    }
}

Test(queue_histories, agrees_with_a_list_through_random_histories, .timeout = 300)
{
    static const uint32_t lengths[] = { 40, 200, 1000 };
    static const unsigned shares[] = { 1000, 1000, 950, 500 };
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rng r;
        rng_init(&r, seed);
        start(lengths[rng_below(&r, ARRAY_COUNT(lengths))]);
        unsigned share = shares[rng_below(&r, ARRAY_COUNT(shares))];
        w.has_large = rng_chance(&r, 500);
        settings.is_quorum = rng_chance(&r, 300);
        bool has_levels = !settings.is_quorum && rng_chance(&r, 400);
        settings.max_priority = has_levels ? LEVELS - 1 : 0;
        load.is_under_way = false;
        open_queue();
        for (int n = 0; n < 500; n++) {
            if (w.seg + 20 > SEGS_MAX || w.record_count + 4000 > RECORDS_MAX)
                break;
            step(&r, share, has_levels);
            expect_counts();
            if (n % 8 == 0)
                expect_segments();
        }
        end_load();
        while (q.has_buried)
            queue_go_on(&q, 0);
        expect_segments();
        while (get() != NULL)
            ;
        cr_assert(eq(u64, queue_away(&q), 0));
        cr_assert(eq(u64, q.store.counts.away.bytes, 0));
        cr_assert(eq(u64, q.store.counts.away.persistent_bytes, 0));
        cr_assert(eq(u64, q.store.counts.ready.persistent, 0));
        close_queue();
    }
}
