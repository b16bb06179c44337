#include "model/queue_copy.h"

#include "queue_away_kit.h"

#define PRIORITY_BITS 56

/* What the queue asks to be read first is read; then it does what was asked. */
static void read_first(const struct qwant *want)
{
    cr_assert(ne(uint, want->run_seg, 0));
    answer(want);
}

/* ---- what a copy is told ---- */

static struct known_message *new_at(uint64_t qseq, bool persistent)
{
    cr_assert(lt(uint, w.count, MESSAGES_MAX));
    struct known_message *k = &w.messages[w.count++];
    *k = (struct known_message){ .state = KNOWN_READY, .qseq = qseq, .persistent = persistent };
    unsigned priority = (unsigned)(qseq >> PRIORITY_BITS);
    uint64_t next = (qseq & ((UINT64_C(1) << PRIORITY_BITS) - 1)) + 1;
    if (w.next[priority] < next)
        w.next[priority] = next;
    return k;
}

static bool is_taken(uint64_t qseq)
{
    for (unsigned n = 0; n < w.count; n++) {
        if (w.messages[n].qseq == qseq && w.messages[n].state != KNOWN_GONE)
            return true;
    }
    return false;
}

/* A position has one record at most in a segment, as in the journal. */
static bool was_used(uint64_t qseq)
{
    for (unsigned n = 0; n < w.count; n++) {
        if (w.messages[n].qseq == qseq)
            return true;
    }
    return false;
}

static enum qcopy put(struct queue_item *it)
{
    struct qwant want;
    enum qcopy verdict;
    unsigned reads = 0;
    while ((verdict = queue_put(&q, it, &want)) == QCOPY_LATER) {
        cr_assert(lt(uint, reads++, 50), "reading helps");
        read_first(&want);
    }
    return verdict;
}

static void put_new(uint64_t qseq, bool persistent)
{
    struct known_message *k = new_at(qseq, persistent);
    struct queue_item it = { .qseq = qseq, .message = make(number_of(k)) };
    cr_assert(eq(int, put(&it), QCOPY_DONE));
    cr_assert(eq(ptr, it.message, NULL));
    if (persistent)
        cr_assert(eq(int, queue_set_place(&q, qseq, append(k)), QUEUE_PLACED_READY));
}

static void drop(uint64_t first, uint64_t last, size_t budget_a_turn)
{
    struct qwant want;
    size_t budget = budget_a_turn;
    enum qcopy verdict;
    unsigned calls = 0;
    while ((verdict = queue_drop(&q, first, last, &budget, &want)) != QCOPY_DONE) {
        cr_assert(lt(uint, calls++, 2 * MESSAGES_MAX));
        if (verdict == QCOPY_LATER)
            read_first(&want);
        budget = budget_a_turn;
    }
    for (unsigned n = 0; n < w.count; n++) {
        if (w.messages[n].qseq >= first && w.messages[n].qseq <= last)
            w.messages[n].state = KNOWN_GONE;
    }
}

static void follow(size_t budget_a_turn)
{
    size_t budget = budget_a_turn;
    for (unsigned calls = 0; queue_follow(&q, &budget) == QCOPY_MORE; calls++) {
        cr_assert(lt(uint, calls, 2 * MESSAGES_MAX));
        budget = budget_a_turn;
    }
    for (unsigned n = 0; n < w.count; n++) {
        struct known_message *k = &w.messages[n];
        k->redelivered |= k->state == KNOWN_OUT;
        k->state = k->state == KNOWN_OUT ? KNOWN_READY : k->state;
    }
}

/* ---- what must be ---- */

static unsigned count_of(uint64_t first, uint64_t last)
{
    unsigned found = 0;
    for (unsigned n = 0; n < w.count; n++)
        found += w.messages[n].state != KNOWN_GONE && w.messages[n].qseq >= first &&
                 w.messages[n].qseq <= last;
    return found;
}

/* What parts of runs have is known when they are read, so octets are exact only without runs. */
static void expect_sums(void)
{
    const struct qcounts *is = &q.store.counts;
    unsigned ready = 0, out_count = 0;
    uint64_t bytes = 0;
    for (unsigned n = 0; n < w.count; n++) {
        ready += w.messages[n].state == KNOWN_READY;
        out_count += w.messages[n].state == KNOWN_OUT;
        bytes += w.messages[n].state == KNOWN_READY ? bytes_of(n) : 0;
    }
    cr_assert(eq(u64, is->ready.count, ready));
    cr_assert(eq(u64, is->out.count, out_count));
    cr_assert(le(u64, is->away.count, is->ready.count));
    if (is->away.count == 0 && w.seg < 2)
        cr_assert(eq(u64, is->ready.bytes, bytes));
    if (ready == 0)
        cr_assert(eq(u64, is->ready.bytes, 0));
}

/* The rows that queue_live tells are what the list has. */
static void expect_live(void)
{
    uint64_t at = 0, first = 0, last = 0;
    unsigned found = 0;
    struct qwant want;
    enum qcopy verdict;
    for (unsigned calls = 0; (verdict = queue_live(&q, at, &first, &last, &want)) != QCOPY_NOTHING;
         calls++) {
        cr_assert(lt(uint, calls, 4 * MESSAGES_MAX));
        if (verdict == QCOPY_LATER) {
            read_first(&want);
            continue;
        }
        cr_assert(le(u64, at, first));
        cr_assert(eq(u64, first >> PRIORITY_BITS, last >> PRIORITY_BITS));
        cr_assert(eq(uint, count_of(first, last), last - first + 1), "no gap in it");
        found += (unsigned)(last - first + 1);
        at = last + 1;
    }
    cr_assert(eq(uint, found, count_of(0, UINT64_MAX)), "and nothing is left out");
}

static void expect_looks(void)
{
    struct queue_item it;
    struct qwant want;
    for (unsigned n = 0; n < w.count; n++) {
        const struct known_message *k = &w.messages[n];
        if (k->state == KNOWN_GONE)
            continue;
        switch (queue_look(&q, k->qseq, &it, &want)) {
        case QHEAD_HERE:
            cr_assert(eq(u64, kit_number(it.message), n));
            break;
        case QHEAD_ABSENT:
            cr_assert(eq(uint, record_at(it.place), n));
            break;
        case QHEAD_IN_RUN:
            cr_assert(eq(uint, want.run_seg, k->place.seg));
            cr_assert(le(u64, want.first, k->qseq));
            break;
        case QHEAD_EMPTY:
            cr_fatal("it has lost one");
        }
    }
}

/* ---- stories ---- */

/* What was out with somebody at the former master is out, and the rest is as it was: in order, and
 * what nobody can have seen is not said to be seen. */
Test(queue_copy, what_is_held_for_others_is_out)
{
    const uint64_t held[] = { 2, 3, 5, 90 };
    uint64_t out[8];
    struct queue_got got;
    start(300);
    open_queue();
    follow(1);
    for (unsigned n = 0; n < 10; n++)
        put_new(n, false);
    queue_seen(&q, 8);
    queue_lead(&q, 0);
    queue_unseen(&q, 6);
    cr_expect(eq(sz, queue_hold(&q, held, ARRAY_COUNT(held)), 3), "one is not there");
    cr_expect(eq(sz, queue_list_out(&q, out, ARRAY_COUNT(out)), 3));
    for (unsigned i = 0; i < 3; i++)
        cr_expect(eq(u64, out[i], held[i]));
    cr_expect(queue_is_out(&q, 5) && !queue_is_out(&q, 4));
    const uint64_t rest[] = { 0, 1, 4, 6, 7, 8, 9 };
    for (unsigned i = 0; i < ARRAY_COUNT(rest); i++) {
        cr_assert(eq(int, queue_get(&q, true, 0, &got), QUEUE_GOT));
        cr_expect(eq(u64, got.qseq, rest[i]));
        cr_expect(eq(int, got.redelivered, rest[i] < 6));
        message_unref(&got.message);
    }
    for (unsigned i = 0; i < 3; i++)
        cr_expect(queue_ack(&q, held[i], NULL));
    w.count = 0; /* all are gone */
    close_queue();
}

Test(queue_copy, takes_messages_in_any_order_and_hands_them_out_in_theirs)
{
    start(300);
    open_queue();
    follow(1);
    for (unsigned n = 500; n-- > 0;)
        put_new(n * 3 + 7, n % 2 == 0);
    expect_sums();
    expect_live();
    cr_expect(eq(u64, kit_number(queue_head(&q)), 499), "the first is the head");
    queue_lead(&q, 0);
    for (unsigned n = 0; n < 500; n++)
        ack(get());
    cr_expect(eq(ptr, get(), NULL));
    cr_expect(eq(sz, q.store.first.chunks.count, 0));
    expect_segments();
    close_queue();
}

Test(queue_copy, a_position_is_taken_once)
{
    start(300);
    open_queue();
    follow(1);
    put_new(100, true);
    struct queue_item it = { .qseq = 100, .message = make(0) };
    cr_expect(eq(int, put(&it), QCOPY_NOTHING));
    cr_expect(ne(ptr, it.message, NULL), "which is still the caller's");
    it.qseq = UINT64_C(1) << PRIORITY_BITS;
    cr_expect(eq(int, put(&it), QCOPY_NOTHING), "there are no priorities");
    message_unref(&it.message);
    make_durable();
    w.is_indexed[w.seg] = true;
    page_out_all(0);
    expect_sums();
    close_queue();
}

Test(queue_copy, hands_out_nothing_and_lets_nothing_expire)
{
    start(300);
    settings.message_ttl_ms = 1;
    settings.expires_ms = 1;
    settings.max_length = 1;
    open_queue();
    follow(1);
    for (unsigned n = 0; n < 10; n++) {
        struct known_message *k = new_at(n, false);
        struct queue_item it = { .qseq = n, .message = make(number_of(k)), .expires_ms = 5 };
        cr_assert(eq(int, put(&it), QCOPY_DONE));
    }
    queue_run(&q, 1000);
    cr_expect(not(queue_on_time(&q, 1000)), "nor does it expire itself");
    expect_sums();
    queue_lead(&q, 1000);
    cr_expect(eq(u64, queue_ready(&q), 0), "as the master it makes up for it");
    close_queue();
}

Test(queue_copy, what_may_have_been_shown_goes_out_as_redelivered)
{
    start(300);
    open_queue();
    follow(1);
    for (unsigned n = 0; n < 100; n++)
        put_new(n, true);
    queue_seen(&q, 40);
    queue_seen(&q, 30);
    queue_lead(&q, 0);
    for (unsigned n = 0; n < 100; n++) {
        w.messages[n].redelivered = n < 40;
        ack(get());
    }
    close_queue();
}

Test(queue_copy, what_was_out_is_ready_when_it_follows_again)
{
    start(300);
    open_queue();
    publish_placed(1000);
    for (unsigned n = 0; n < 700; n++)
        get();
    for (unsigned n = 0; n < 700; n += 7)
        ack(&w.messages[n]);
    follow(64);
    expect_sums();
    expect_live();
    drop(0, 349, 10);
    queue_lead(&q, 0);
    struct known_message *k;
    while ((k = get()) != NULL)
        ack(k);
    expect_segments();
    close_queue();
}

Test(queue_copy, a_purge_that_is_not_swept_ends_before_it_follows)
{
    start(300);
    open_queue();
    publish_placed(2000);
    for (unsigned n = 0; n < 600; n++)
        get();
    for (unsigned n = 0; n < 600; n++) {
        cr_assert(queue_requeue(&q, w.messages[n].qseq, NULL, true));
        w.messages[n].state = KNOWN_READY;
        w.messages[n].redelivered = true;
    }
    cr_assert(eq(u64, queue_purge(&q), 2000));
    for (unsigned n = 0; n < w.count; n++)
        w.messages[n].state = KNOWN_GONE;
    follow(100);
    expect_live();
    expect_segments();
    put_new(2000, true);
    put_new(1999 + 70, true);
    expect_sums();
    queue_lead(&q, 0);
    ack(get());
    ack(get());
    close_queue();
}

Test(queue_copy, of_a_run_in_memory_only_parts_leave_that_are_known)
{
    start(100);
    open_queue();
    follow(1);
    for (unsigned n = 0; n < 1000; n++)
        put_new(n, true);
    make_durable();
    page_out_all(0);
    cr_expect(ne(sz, q.store.first.away->runs.count, 0));
    drop(150, 349, 1);
    drop(0, 99, 1000);
    expect_sums();
    expect_live();
    expect_segments();
    queue_lead(&q, 0);
    struct known_message *k;
    while ((k = get()) != NULL)
        ack(k);
    close_queue();
}

static void take_start(uint64_t next_new, void *arg)
{
    *(uint64_t *)arg = next_new;
}

Test(queue_copy, positions_that_were_cut_off_are_given_anew)
{
    start(1 << 20);
    for (uint64_t cut = 0; cut <= 3 * QCHUNK_ENTRIES; cut += QCHUNK_ENTRIES / 2) {
        open_queue();
        follow(1);
        for (unsigned n = 0; n < 3 * QCHUNK_ENTRIES; n++)
            put_new(n, false);
        queue_seen(&q, cut + 5);
        drop(cut, UINT64_MAX >> 8, 100);
        queue_lower(&q, cut);
        queue_lower(&q, cut + 1); /* it is lower already */
        uint64_t next = 0;
        queue_starts(&q, take_start, &next);
        cr_expect(eq(u64, next, cut));
        queue_lead(&q, 0);
        struct message *m = make(0);
        struct queue_put put;
        cr_assert(eq(int, queue_publish(&q, &m, 0, &put), QUEUE_KEPT));
        cr_expect(eq(u64, put.qseq, cut));
        struct queue_got got;
        for (uint64_t n = 0; n <= cut; n++) {
            cr_assert(eq(int, queue_get(&q, true, 0, &got), QUEUE_GOT));
            cr_expect(eq(int, got.redelivered, n < cut), "nobody has seen the new one");
            message_unref(&got.message);
        }
        cr_expect(eq(u64, q.store.first.live, 0));
        cr_expect(eq(sz, q.store.first.chunks.count, 0));
        w.count = 0;
        close_queue();
    }
}

/* ---- histories ---- */

static uint64_t random_position(struct rng *r, bool has_levels)
{
    unsigned priority = has_levels && rng_chance(r, 300) ? (unsigned)rng_below(r, LEVELS) : 0;
    uint64_t next = w.next[priority];
    uint64_t at = rng_chance(r, 700) ? next + (rng_chance(r, 100) ? rng_below(r, 300) : 0)
                                     : rng_below(r, next + 1);
    return (uint64_t)priority << PRIORITY_BITS | at;
}

static void use(struct rng *r)
{
    struct known_message *k;
    unsigned takes = (unsigned)rng_below(r, 30);
    while (takes-- > 0 && (k = get()) != NULL) {
        switch (rng_below(r, 3)) {
        case 0:
            ack(k);
            break;
        case 1:
            cr_assert(queue_requeue(&q, k->qseq, NULL, true));
            k->state = KNOWN_READY;
            k->redelivered = true;
            break;
        default:
            break; /* it stays out */
        }
    }
}

static void lead_for_a_while(struct rng *r, unsigned max_priority)
{
    queue_lead(&q, 0);
    for (uint64_t n = rng_below(r, 10); n > 0; n--) {
        for (uint64_t p = rng_below(r, 20); p > 0 && w.count < MESSAGES_MAX; p--)
            publish((unsigned)rng_below(r, max_priority + 1), rng_chance(r, 500), true);
        use(r);
        expect_sums();
    }
    follow(1 + rng_below(r, 500));
}

Test(queue_copy, agrees_with_a_list_through_random_histories, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct rng r;
        rng_init(&r, seed);
        start((uint32_t)(20 + rng_below(&r, 200)));
        bool has_levels = rng_chance(&r, 400);
        settings.max_priority = has_levels ? LEVELS - 1 : 0;
        open_queue();
        follow(1);
        for (unsigned n = 0; n < 120 && w.count < MESSAGES_MAX - 300 && w.seg < SEGS_MAX - 30;
             n++) {
            uint64_t first = random_position(&r, has_levels);
            switch (rng_below(&r, 8)) {
            case 0:
            case 1:
            case 2:
                for (uint64_t i = rng_below(&r, 60); i > 0; i--) {
                    uint64_t at = random_position(&r, has_levels);
                    if (!was_used(at))
                        put_new(at, rng_chance(&r, 800));
                    else if (is_taken(at)) {
                        struct queue_item it = { .qseq = at, .message = make(0) };
                        cr_assert(eq(int, put(&it), QCOPY_NOTHING));
                        message_unref(&it.message);
                    }
                }
                break;
            case 3:
                drop(first, first + rng_below(&r, 80), 1 + rng_below(&r, 50));
                break;
            case 4:
                make_durable();
                page_out(rng_below(&r, 50), rng_chance(&r, 800), 1 + rng_below(&r, 1000));
                break;
            case 5:
                load_some();
                break;
            case 6:
                expect_live();
                expect_looks();
                break;
            case 7:
                if (rng_chance(&r, 300))
                    lead_for_a_while(&r, settings.max_priority);
                break;
            }
            expect_sums();
        }
        expect_live();
        expect_segments();
        close_queue();
    }
}
