#include "base/check.h"
#include "base/mem.h"
#include "stats/stats.h"

#include "expect.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

enum { FRAMES, OPEN, WAIT };

static const struct stats_family families[] = {
    { "frames_total", STATS_COUNTER, "Frames.", 0, NULL, 0 },
    { "open", STATS_GAUGE, "Open things.", 0, NULL, 0 },
    { "wait_seconds", STATS_HISTOGRAM, "Waiting.", 1e-9, NULL, 0 },
};

static struct stats *stats;

static void begin(void)
{
    stats = stats_new(families, ARRAY_COUNT(families), 42);
}

static void end(void)
{
    stats_free(&stats);
}

TestSuite(stats, .init = begin, .fini = end);

static int64_t value(size_t family, const struct stats_label *labels, size_t count)
{
    struct stats_view *v = stats_view_new(stats);
    int64_t n = stats_view_value(v, family, labels, count);
    stats_view_free(&v);
    return n;
}

static size_t series_count(void)
{
    struct stats_view *v = stats_view_new(stats);
    size_t n = stats_view_count(v);
    stats_view_free(&v);
    return n;
}

Test(stats, sums_over_sets)
{
    struct stats_set *a = stats_set_new(stats), *b = stats_set_new(stats);
    struct stats_cell *x = stats_cell_get(a, FRAMES, NULL, 0);
    struct stats_cell *y = stats_cell_get(b, FRAMES, NULL, 0);
    stats_inc(x);
    stats_add(y, 41);
    cr_expect(eq(i64, value(FRAMES, NULL, 0), 42));
    cr_expect(eq(u64, stats_cell_value(y), 41));
    cr_expect(eq(i64, value(OPEN, NULL, 0), 0));
    stats_set_free(&a);
    cr_expect(eq(i64, value(FRAMES, NULL, 0), 41));
    stats_set_free(&b);
    cr_expect(eq(sz, series_count(), 0));
}

/* What is opened on one thread may be closed on another. */
Test(stats, lets_a_gauge_fall_in_another_set)
{
    struct stats_set *a = stats_set_new(stats), *b = stats_set_new(stats);
    struct stats_cell *x = stats_cell_get(a, OPEN, NULL, 0);
    struct stats_cell *y = stats_cell_get(b, OPEN, NULL, 0);
    stats_add(x, 5);
    stats_sub(y, 2);
    stats_dec(y);
    cr_expect(eq(i64, value(OPEN, NULL, 0), 2));
    stats_sub(y, 5);
    cr_expect(eq(i64, value(OPEN, NULL, 0), -3));
    stats_store(x, 100);
    cr_expect(eq(i64, value(OPEN, NULL, 0), 92));
    stats_set_free(&a);
    stats_set_free(&b);
}

Test(stats, keeps_a_series_until_its_last_drop)
{
    struct stats_set *set = stats_set_new(stats);
    struct stats_label label = { "server", slice_str("r1") };
    struct stats_cell *first = stats_cell_get(set, FRAMES, &label, 1);
    struct stats_cell *second = stats_cell_get(set, FRAMES, &label, 1);
    cr_assert(first == second);
    stats_inc(first);
    stats_cell_drop(set, &first);
    cr_expect(first == NULL);
    cr_expect(eq(i64, value(FRAMES, &label, 1), 1));
    stats_cell_drop(set, &second);
    cr_expect(eq(sz, series_count(), 0));
    stats_cell_drop(set, &second); /* NULL is allowed */

    struct hist *h = stats_hist_get(set, WAIT, &label, 1);
    struct hist *other = stats_hist_get(set, WAIT, NULL, 0);
    cr_expect(h != other);
    hist_record(h, 1);
    stats_hist_drop(set, &h);
    cr_expect(eq(sz, series_count(), 1));
    stats_hist_drop(set, &other);
    cr_expect(eq(sz, series_count(), 0));
    stats_set_free(&set);
}

Test(stats, tells_series_apart_by_family_and_labels)
{
    struct stats_set *set = stats_set_new(stats);
    struct stats_label ab[] = { { "a", slice_str("1") }, { "b", slice_str("2") } };
    struct stats_label odd = { "a", slice_of("1\0b\0002", 5) }; /* would look like the other two */
    struct stats_label empty = { "a", { NULL, 0 } };
    stats_add(stats_cell_get(set, FRAMES, ab, 2), 1);
    stats_add(stats_cell_get(set, FRAMES, ab, 1), 2);
    stats_add(stats_cell_get(set, OPEN, ab, 1), 3);
    stats_add(stats_cell_get(set, FRAMES, &odd, 1), 4);
    stats_add(stats_cell_get(set, FRAMES, &empty, 1), 5);
    cr_expect(eq(sz, series_count(), 5));
    cr_expect(eq(i64, value(FRAMES, ab, 2), 1));
    cr_expect(eq(i64, value(FRAMES, ab, 1), 2));
    cr_expect(eq(i64, value(OPEN, ab, 1), 3));
    cr_expect(eq(i64, value(FRAMES, &odd, 1), 4));
    cr_expect(eq(i64, value(FRAMES, &empty, 1), 5));
    stats_set_free(&set);
}

Test(stats, shows_a_view_in_order)
{
    struct stats_set *set = stats_set_new(stats);
    const char *const names[] = { "b", "c", "a" };
    for (size_t i = 0; i < 3; i++) {
        struct stats_label label = { "q", slice_str(names[i]) };
        stats_add(stats_cell_get(set, OPEN, &label, 1), i);
    }
    stats_inc(stats_cell_get(set, FRAMES, NULL, 0));
    hist_record(stats_hist_get(set, WAIT, NULL, 0), 7);
    struct stats_view *v = stats_view_new(stats);
    struct stats_label label = { "q", slice_str("c") };
    stats_view_add(v, OPEN, &label, 1, 10);
    label.value = slice_str("d");
    stats_view_add(v, OPEN, &label, 1, -1);
    cr_assert(eq(sz, stats_view_count(v), 6));
    const int64_t want[] = { 1, 2, 0, 11, -1, 0 };
    const char *const labels[] = { NULL, "a", "b", "c", "d", NULL };
    for (size_t i = 0; i < 6; i++) {
        const struct stats_sample *s = stats_view_at(v, i);
        cr_expect(eq(i64, s->value, want[i]), "sample %zu", i);
        cr_expect(eq(sz, s->label_count, labels[i] != NULL));
        if (labels[i] != NULL) {
            expect_text(s->labels[0].value, labels[i]);
            expect_text(s->labels[0].name, "q");
        }
    }
    cr_assert(stats_view_at(v, 5)->hist != NULL);
    cr_expect(eq(u64, hist_max(stats_view_at(v, 5)->hist), 7));
    stats_view_add(v, FRAMES, NULL, 0, 4); /* to one that was shown already */
    cr_expect(eq(i64, stats_view_at(v, 0)->value, 5));
    stats_view_free(&v);
    stats_set_free(&set);
}

Test(stats, bounds_labels)
{
    char longest[1000];
    memset(longest, 'x', sizeof longest);
    longest[999] = '\xFF';
    struct stats_set *set = stats_set_new(stats);
    struct stats_label labels[STATS_LABELS_MAX];
    for (size_t i = 0; i < STATS_LABELS_MAX; i++)
        labels[i] = (struct stats_label){ "label", slice_of(longest, sizeof longest) };
    stats_inc(stats_cell_get(set, FRAMES, labels, STATS_LABELS_MAX));
    struct stats_view *v = stats_view_new(stats);
    cr_expect(eq(sz, strlen(stats_view_at(v, 0)->labels[7].value), 255));
    stats_view_free(&v);
    memset(longest, 0xFF, sizeof longest); /* each octet becomes three */
    stats_inc(stats_cell_get(set, FRAMES, labels, STATS_LABELS_MAX));
    cr_expect(eq(sz, series_count(), 2));
    stats_set_free(&set);
}

Test(stats, counts_unseen_when_full)
{
    struct stats_set *set = stats_set_new(stats);
    for (unsigned i = 0; i < STATS_SERIES_MAX; i++) {
        struct stats_label label = { "n", slice_of(&i, sizeof i) };
        char room[16];
        snprintf(room, sizeof room, "%u", i);
        label.value = slice_str(room);
        stats_inc(stats_cell_get(set, FRAMES, &label, 1));
    }
    struct stats_view *v = stats_view_new(stats);
    cr_expect(eq(u64, stats_view_unseen(v), 0));
    stats_view_free(&v);

    struct stats_cell *c = stats_cell_get(set, FRAMES, NULL, 0);
    struct hist *h = stats_hist_get(set, WAIT, NULL, 0);
    stats_inc(c);
    hist_record(h, 1);
    v = stats_view_new(stats);
    cr_expect(eq(sz, stats_view_count(v), STATS_SERIES_MAX));
    cr_expect(eq(u64, stats_view_unseen(v), 2));
    stats_view_free(&v);
    stats_cell_drop(set, &c);
    stats_hist_drop(set, &h);
    stats_set_free(&set);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 20000 };

static atomic_int running;

static void *count(void *arg)
{
    struct stats_set *set = arg;
    struct stats_cell *frames = stats_cell_get(set, FRAMES, NULL, 0);
    struct stats_cell *open = stats_cell_get(set, OPEN, NULL, 0);
    struct hist *wait = stats_hist_get(set, WAIT, NULL, 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        stats_inc(frames);
        stats_add(open, 2);
        hist_record(wait, i);
        stats_sub(open, 2);
        if (i % 100 == 0) { /* series that come and go under the reader's feet */
            struct stats_label label = { "n", slice_str(i % 200 == 0 ? "even" : "odd") };
            struct stats_cell *c = stats_cell_get(set, FRAMES, &label, 1);
            stats_inc(c);
            stats_cell_drop(set, &c);
        }
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

Test(stats, is_read_while_threads_count, .timeout = 300)
{
    struct stats_set *sets[THREADS];
    pthread_t threads[THREADS];
    atomic_store(&running, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        sets[i] = stats_set_new(stats);
        cr_assert(pthread_create(&threads[i], NULL, count, sets[i]) == 0);
    }
    int64_t last = 0;
    while (atomic_load(&running) != 0) {
        int64_t now = value(FRAMES, NULL, 0);
        cr_assert(now >= last, "a counter fell");
        last = now;
    }
    for (size_t i = 0; i < THREADS; i++)
        cr_assert(pthread_join(threads[i], NULL) == 0);
    cr_expect(eq(i64, value(FRAMES, NULL, 0), THREADS * ROUNDS));
    cr_expect(eq(i64, value(OPEN, NULL, 0), 0));
    struct stats_view *v = stats_view_new(stats);
    cr_expect(eq(u64, hist_count(stats_view_at(v, 2)->hist), THREADS * ROUNDS));
    cr_expect(eq(u64, hist_max(stats_view_at(v, 2)->hist), ROUNDS - 1));
    stats_view_free(&v);
    for (size_t i = 0; i < THREADS; i++)
        stats_set_free(&sets[i]);
}

/* ---- our own mistakes ---- */

Test(stats, aborts_on_a_bad_name, .signal = SIGABRT)
{
    const struct stats_family bad = { "frames-total", STATS_COUNTER, "x", 0, NULL, 0 };
    (void)stats_new(&bad, 1, 0);
}

Test(stats, aborts_on_the_wrong_type, .signal = SIGABRT)
{
    (void)stats_hist_get(stats_set_new(stats), FRAMES, NULL, 0);
}

Test(stats, aborts_when_freed_with_sets, .signal = SIGABRT)
{
    (void)stats_set_new(stats);
    stats_free(&stats);
}
