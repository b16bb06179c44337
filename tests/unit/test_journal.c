#include "base/mem.h"
#include "expect.h"
#include "io/clock.h"
#include "journal_kit.h"

#include <pthread.h>

static struct journal_kit kit;
static struct found found;

static void set_up(void)
{
    journal_kit_init(&kit);
}

static void tear_down(void)
{
    journal_kit_fini(&kit);
}

TestSuite(journal, .init = set_up, .fini = tear_down, .timeout = 300);

static struct place append(uint64_t qseq, size_t body_bytes, uint64_t *lsn)
{
    return journal_kit_append(&kit, qseq, body_bytes, JOURNAL_SOON, lsn);
}

static struct journal_stats stats(void)
{
    struct journal_stats s;
    journal_stats(kit.journal, &s);
    return s;
}

/* ---- groups --------------------------------------------------------------------------------- */

Test(journal, has_durable_what_was_written_and_synced)
{
    uint64_t lsn, before;
    journal_kit_open(&kit);
    before = journal_durable(kit.journal);
    cr_expect(not(journal_pump(kit.journal, 0)), "nothing to do");
    struct place p = append(5, 100, &lsn);
    cr_expect(eq(u32, p.seg, 1));
    cr_expect(eq(u32, p.offset, SEGMENT_HEADER_BYTES + 40), "behind its BATCH");
    cr_expect(eq(u64, lsn, journal_end(kit.journal)));
    cr_expect(eq(u64, journal_durable(kit.journal), before));
    cr_expect(gt(u64, journal_backlog(kit.journal), 100));
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(eq(u64, journal_synced(kit.journal), lsn));
    cr_expect(eq(u64, journal_backlog(kit.journal), 0));
    cr_expect(eq(uint, kit.durable_calls, 1));
    cr_expect(not(journal_pump(kit.journal, 0)));
    journal_kit_read(&kit, 1, &found);
    cr_assert(eq(sz, found.count, 1));
    cr_expect(eq(u64, found.qseqs[0], 5));
    cr_expect(place_eq(found.places[0], p));
    cr_expect(eq(int, found.stop, RECORD_CUT_NONE));
    cr_expect(memcmp(found.header.store_id, kit.setup.store_id, 16) == 0);
}

Test(journal, writes_together_what_was_appended_together)
{
    uint64_t lsn[3];
    journal_kit_open(&kit);
    unsigned writes = kit.disk->counts[KIT_WRITE], syncs = kit.disk->counts[KIT_SYNC];
    append(0, 10, &lsn[0]);
    append(1, 20, &lsn[1]);
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn[1]));
    cr_expect(eq(uint, kit.disk->counts[KIT_WRITE], writes + 1));
    cr_expect(eq(uint, kit.disk->counts[KIT_SYNC], syncs + 1));
    append(2, 0, &lsn[2]);
    cr_expect(journal_pump(kit.journal, 0));
    journal_kit_read(&kit, 1, &found);
    cr_expect(eq(sz, found.count, 3));
    cr_expect(eq(sz, found.batches, 2));
    cr_expect(eq(u64, found.durable_lsn, lsn[1]), "the second says that the first is safe");
    cr_expect(eq(u64, stats().records, 3));
    cr_expect(eq(u64, stats().batches, 2));
    cr_expect(eq(u64, stats().syncs, 2));
}

Test(journal, syncs_what_nobody_waits_for_with_the_next_or_after_a_while)
{
    uint64_t lsn, before;
    journal_kit_open(&kit);
    before = journal_durable(kit.journal);
    unsigned syncs = kit.disk->counts[KIT_SYNC];
    journal_kit_append(&kit, 0, 10, JOURNAL_LAZY, &lsn);
    cr_expect(journal_pump(kit.journal, 1000));
    journal_kit_read(&kit, 1, &found);
    cr_expect(eq(sz, found.count, 1), "it is written at once");
    cr_expect(eq(u64, journal_durable(kit.journal), before));
    cr_expect(not(journal_pump(kit.journal, 1099)));
    cr_expect(eq(uint, kit.disk->counts[KIT_SYNC], syncs));
    cr_expect(journal_pump(kit.journal, 1100));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));

    journal_kit_append(&kit, 1, 10, JOURNAL_LAZY, &lsn);
    cr_expect(journal_pump(kit.journal, 2000));
    append(2, 10, &lsn);
    cr_expect(journal_pump(kit.journal, 2001));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(not(journal_pump(kit.journal, 3000)), "the deadline went with it");
}

/* Before it is written, and when it was. */
Test(journal, syncs_at_once_what_somebody_waits_for_later)
{
    uint64_t lsn;
    journal_kit_open(&kit);
    journal_kit_append(&kit, 0, 10, JOURNAL_LAZY, &lsn);
    journal_want(kit.journal);
    cr_expect(journal_pump(kit.journal, 1000));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    journal_kit_append(&kit, 1, 10, JOURNAL_LAZY, &lsn);
    cr_expect(journal_pump(kit.journal, 2000));
    cr_expect(lt(u64, journal_durable(kit.journal), lsn));
    journal_want(kit.journal);
    cr_expect(journal_pump(kit.journal, 2001));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    journal_want(kit.journal);
    cr_expect(not(journal_pump(kit.journal, 2001)), "all is there");
}

/* It was safe when it was written. */
Test(journal, syncs_nothing_more_for_who_waits_where_that_is_not_awaited)
{
    uint64_t lsn;
    kit.setup.sync = JOURNAL_SYNC_INTERVAL;
    journal_kit_open(&kit);
    journal_kit_append(&kit, 0, 10, JOURNAL_LAZY, &lsn);
    journal_want(kit.journal);
    unsigned syncs = kit.disk->counts[KIT_SYNC];
    cr_expect(journal_pump(kit.journal, 1000));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    journal_want(kit.journal);
    cr_expect(not(journal_pump(kit.journal, 1001)));
    cr_expect(eq(uint, kit.disk->counts[KIT_SYNC], syncs));
}

Test(journal, promises_less_where_it_is_told_to)
{
    uint64_t lsn, before;
    kit.setup.sync = JOURNAL_SYNC_INTERVAL;
    journal_kit_open(&kit);
    before = journal_synced(kit.journal);
    append(0, 10, &lsn);
    cr_expect(journal_pump(kit.journal, 1000));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(eq(u64, journal_synced(kit.journal), before));
    cr_expect(not(journal_pump(kit.journal, 1199)));
    cr_expect(journal_pump(kit.journal, 1200));
    cr_expect(eq(u64, journal_synced(kit.journal), lsn));
    cr_expect(not(journal_pump(kit.journal, 9000)));

    append(1, 10, &lsn);
    cr_expect(journal_pump(kit.journal, 9000));
    journal_want_sync(kit.journal);
    unsigned calls = kit.durable_calls;
    cr_expect(journal_pump(kit.journal, 9001));
    cr_expect(eq(u64, journal_synced(kit.journal), lsn));
    cr_expect(eq(uint, kit.durable_calls, calls + 1));
    journal_want_sync(kit.journal);
    cr_expect(journal_pump(kit.journal, 9001));
    cr_expect(not(journal_pump(kit.journal, 9001)));
}

Test(journal, syncs_only_full_segments_where_no_syncs_are_wanted)
{
    uint64_t lsn = 0, before;
    kit.setup.sync = JOURNAL_SYNC_NONE;
    journal_kit_open(&kit);
    before = journal_synced(kit.journal);
    append(0, 10, &lsn);
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(not(journal_pump(kit.journal, 1000000)));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(eq(u64, journal_synced(kit.journal), before));
    for (uint64_t i = 1; place_of_lsn(lsn).seg == 1; i++)
        append(i, 1000, &lsn);
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(eq(u64, journal_synced(kit.journal), place_lsn((struct place){ 2, 0 })));
    cr_expect(eq(uint, kit.sealed_calls, 1));
    append(99, 10, &lsn);
    journal_want_sync(kit.journal);
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_synced(kit.journal), lsn));
}

/* ---- segments ------------------------------------------------------------------------------- */

Test(journal, goes_to_the_next_segment_when_a_record_does_not_fit)
{
    uint64_t lsn = 0;
    uint64_t qseq = 0;
    journal_kit_open(&kit);
    cr_assert(journal_prepare(kit.journal, &kit.err), "%s", kit.err.text);
    cr_expect(eq(uint, stats().spares, 3));
    cr_expect(not(journal_wants_prepare(kit.journal)));
    while (place_of_lsn(lsn).seg < 3)
        append(qseq++, 1500, &lsn);
    cr_expect(eq(int, segs_state(kit.segs, 1), SEG_OPEN));
    cr_expect(eq(int, segs_state(kit.segs, 3), SEG_OPEN), "one may count in it already");
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(eq(uint, kit.sealed_calls, 2));
    cr_expect(eq(uint, kit.sealed_last, 2));
    cr_expect(eq(uint, kit.durable_calls, 1));
    cr_expect(eq(uint, stats().spares, 1));
    cr_expect(eq(u32, stats().open_seg, 3));
    cr_expect(eq(u64, stats().waits, 0));
    cr_expect(journal_wants_prepare(kit.journal));
    uint64_t expected = 0;
    for (uint32_t seg = 1; seg <= 3; seg++) {
        journal_kit_read(&kit, seg, &found);
        cr_expect(eq(int, found.has_end, seg < 3));
        cr_expect(not(found.is_closed));
        for (size_t i = 0; i < found.count; i++)
            cr_expect(eq(u64, found.qseqs[i], expected++));
    }
    cr_expect(eq(u64, expected, qseq));
}

Test(journal, makes_a_segment_itself_when_none_is_ready)
{
    uint64_t lsn = 0;
    journal_kit_open(&kit);
    for (uint64_t i = 0; place_of_lsn(lsn).seg < 3; i++)
        append(i, 1500, &lsn);
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(eq(u64, stats().waits, 2));
}

Test(journal, takes_a_record_as_long_as_a_segment)
{
    uint64_t lsn;
    journal_kit_open(&kit);
    size_t most = journal_record_max(kit.journal) - RECORD_HEAD_BYTES - 26;
    append(0, 10, &lsn);
    struct place p = append(1, most, &lsn);
    cr_expect(place_eq(p, (struct place){ 2, SEGMENT_HEADER_BYTES + 40 }));
    cr_expect(eq(u64, place_of_lsn(lsn).offset + 16, kit.setup.segment_bytes));
    p = append(2, most, &lsn);
    cr_expect(eq(u32, p.seg, 3));
    p = append(3, 0, &lsn);
    cr_expect(eq(u32, p.seg, 4));
    cr_expect(journal_pump(kit.journal, 0));
    for (uint32_t seg = 1; seg <= 4; seg++) {
        journal_kit_read(&kit, seg, &found);
        cr_expect(eq(sz, found.count, 1));
        cr_expect(eq(int, found.has_end, seg < 4));
    }
}

/* Every length, so that every remainder of a segment is met. */
Test(journal, fills_segments_to_any_point)
{
    uint64_t lsn = 0;
    journal_kit_open(&kit);
    for (uint64_t i = 0; i < 900; i++) {
        append(i, (size_t)i, &lsn);
        if (i % 7 == 0) {
            cr_assert(journal_pump(kit.journal, 0));
            cr_assert(eq(u64, journal_durable(kit.journal), lsn));
        }
    }
    cr_assert(journal_pump(kit.journal, 0));
    uint64_t expected = 0;
    for (uint32_t seg = 1; seg <= place_of_lsn(lsn).seg; seg++) {
        journal_kit_read(&kit, seg, &found);
        for (size_t i = 0; i < found.count; i++)
            cr_assert(eq(u64, found.qseqs[i], expected++));
    }
    cr_expect(eq(u64, expected, 900));
}

Test(journal, uses_files_again_and_never_takes_old_octets_for_new)
{
    uint64_t lsn = 0, qseq = 0;
    journal_kit_open(&kit);
    for (uint32_t round = 0; round < 20; round++) {
        uint32_t seg = place_of_lsn(journal_end(kit.journal)).seg;
        cr_assert(journal_prepare(kit.journal, &kit.err), "%s", kit.err.text);
        while (place_of_lsn(lsn).seg <= seg) {
            append(qseq++, 700, &lsn);
            cr_assert(journal_pump(kit.journal, 0));
        }
        journal_kit_read(&kit, seg + 1, &found);
        cr_expect(eq(sz, found.count, 1), "only what was written since");
        cr_expect(eq(u64, found.qseqs[0], qseq - 1));
        cr_expect(eq(int, found.stop, round < 3 ? RECORD_CUT_NONE : RECORD_CUT_BAD));
        cr_assert(journal_recycle(kit.journal, seg, &kit.err), "%s", kit.err.text);
        cr_expect(eq(int, segs_state(kit.segs, seg), SEG_NONE));
        journal_kit_read(&kit, seg, &found);
        cr_expect(not(found.has_file));
    }
    /* The one that is open, three that are ready or in stock. */
    cr_expect(eq(sz, journal_kit_count_files(&kit, ""), 4));
    cr_expect(eq(u64, stats().waits, 0));
}

/* A segment is needed for a while after it is full, sometimes longer: the same files go round. */
Test(journal, makes_no_new_files_while_the_old_ones_come_back)
{
    uint64_t lsn = 0, qseq = 0;
    uint32_t oldest = 1;
    unsigned created = 0;
    kit.setup.spare = 8;
    journal_kit_open(&kit);
    for (uint32_t open = 2; open < 200; open++) {
        cr_assert(journal_prepare(kit.journal, &kit.err), "%s", kit.err.text);
        while (place_of_lsn(lsn).seg < open)
            append(qseq++, 2500, &lsn);
        cr_assert(journal_pump(kit.journal, 0));
        for (uint32_t lag = 2 + open % 7 / 2; oldest + lag <= open; oldest++)
            cr_assert(journal_recycle(kit.journal, oldest, &kit.err), "%s", kit.err.text);
        if (open == 40)
            created = kit.disk->counts[KIT_CREATE];
    }
    cr_expect(eq(uint, kit.disk->counts[KIT_CREATE], created));
    cr_expect(eq(u64, stats().waits, 0));
}

Test(journal, keeps_no_more_spares_than_wanted)
{
    uint64_t lsn = 0, qseq = 0;
    journal_kit_open(&kit);
    while (place_of_lsn(lsn).seg <= 10)
        append(qseq++, 700, &lsn);
    cr_assert(journal_pump(kit.journal, 0));
    kit_file_write(kit_path((char[KIT_PATH_MAX]){ 0 }, kit.folder, "journal/00000001.idx"), "x", 1,
                   0600);
    for (uint32_t seg = 1; seg <= 10; seg++)
        cr_assert(journal_recycle(kit.journal, seg, &kit.err), "%s", kit.err.text);
    cr_expect(eq(sz, journal_kit_count_files(&kit, ""), 5));
    cr_expect(eq(sz, journal_kit_count_files(&kit, "spare-"), 4));
    cr_assert(journal_prepare(kit.journal, &kit.err), "%s", kit.err.text);
    cr_expect(eq(sz, journal_kit_count_files(&kit, ".seg"), 5));
    cr_expect(eq(sz, journal_kit_count_files(&kit, ""), 5));
    cr_expect(eq(uint, stats().spares, 4));
    journal_kit_read(&kit, 12, &found);
    cr_expect(found.has_file);
    cr_expect(eq(sz, found.count, 0));
}

Test(journal, takes_over_the_spares_of_an_earlier_life)
{
    uint64_t lsn = 0, qseq = 0;
    journal_kit_open(&kit);
    while (place_of_lsn(lsn).seg <= 3)
        append(qseq++, 700, &lsn);
    cr_assert(journal_pump(kit.journal, 0));
    cr_assert(journal_recycle(kit.journal, 1, &kit.err));
    cr_assert(journal_recycle(kit.journal, 2, &kit.err));
    journal_kit_leave(&kit);
    char path[KIT_PATH_MAX];
    kit_file_write(kit_path(path, kit.folder, "journal/spare-0000000a"), "short", 5, 0600);
    kit_file_write(kit_path(path, kit.folder, "journal/spare-else"), "others", 6, 0600);
    unsigned created = kit.disk->counts[KIT_CREATE];
    kit.setup.first_seg = 10;
    journal_kit_open(&kit);
    cr_expect(not(journal_kit_exists(&kit, "journal/spare-0000000a")));
    cr_expect(journal_kit_exists(&kit, "journal/spare-else"));
    struct place p = append(1, 1, &lsn);
    cr_expect(eq(u32, p.seg, 10));
    kit.setup.spare = 1;
    cr_assert(journal_prepare(kit.journal, &kit.err));
    cr_expect(eq(uint, kit.disk->counts[KIT_CREATE], created + 2), "two of four were there");
}

/* ---- start and end -------------------------------------------------------------------------- */

Test(journal, closes_the_segment_when_it_is_stopped)
{
    uint64_t lsn;
    journal_kit_open(&kit);
    append(0, 10, &lsn);
    journal_kit_append(&kit, 1, 10, JOURNAL_LAZY, &lsn);
    journal_stop(kit.journal);
    cr_expect(ge(u64, journal_synced(kit.journal), lsn));
    cr_expect(eq(uint, kit.sealed_calls, 1));
    journal_kit_read(&kit, 1, &found);
    cr_expect(eq(sz, found.count, 2));
    cr_expect(found.has_end && found.is_closed);
    cr_expect(eq(u64, found.durable_lsn, lsn), "the last BATCH speaks of all before it");

    struct place p = append(2, 10, &lsn);
    cr_expect(place_is_none(p));
    cr_expect(eq(u64, lsn, UINT64_MAX));
    cr_expect(not(journal_pump(kit.journal, 0)));
}

Test(journal, closes_a_segment_that_is_empty_or_nearly_full)
{
    for (size_t left = 16; left <= 64; left += 8) {
        uint64_t lsn;
        journal_kit_open(&kit);
        size_t most = journal_record_max(kit.journal) - RECORD_HEAD_BYTES - 26;
        append(0, most + 16 - left, &lsn);
        cr_expect(journal_pump(kit.journal, 0));
        cr_expect(eq(u64, place_of_lsn(lsn).offset + left, kit.setup.segment_bytes));
        journal_stop(kit.journal);
        journal_kit_read(&kit, kit.setup.first_seg, &found);
        cr_expect(found.has_end, "with %zu octets left", left);
        journal_kit_leave(&kit);
        kit.setup.first_seg++;
    }
    journal_kit_open(&kit);
    journal_stop(kit.journal);
    journal_kit_read(&kit, kit.setup.first_seg, &found);
    cr_expect(found.has_end);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void wait_durable(uint64_t lsn)
{
    uint64_t until = clock_mono_ms() + GUARD_MS;
    while (journal_durable(kit.journal) < lsn)
        cr_assert(lt(u64, clock_mono_ms(), until));
}

Test(journal, has_a_thread_that_is_woken)
{
    uint64_t lsn;
    journal_kit_open(&kit);
    cr_assert(journal_start(kit.journal, &kit.err), "%s", kit.err.text);
    for (uint64_t i = 0; i < 200; i++) {
        journal_kit_append(&kit, i, 100, i % 10 == 9 ? JOURNAL_LAZY : JOURNAL_SOON, &lsn);
        journal_kick(kit.journal);
        wait_durable(lsn);
    }
    append(200, 10, &lsn);
    journal_stop(kit.journal);
    cr_expect(ge(u64, journal_durable(kit.journal), lsn), "also without a kick");
}

Test(journal, has_a_thread_that_syncs_in_time)
{
    uint64_t lsn;
    kit.setup.sync = JOURNAL_SYNC_INTERVAL;
    kit.setup.interval_ms = 5;
    journal_kit_open(&kit);
    cr_assert(journal_start(kit.journal, &kit.err), "%s", kit.err.text);
    append(0, 10, &lsn);
    journal_kick(kit.journal);
    uint64_t until = clock_mono_ms() + GUARD_MS;
    while (journal_synced(kit.journal) < lsn)
        cr_assert(lt(u64, clock_mono_ms(), until));
    journal_stop(kit.journal);
}

Test(journal, has_a_thread_that_syncs_when_asked)
{
    uint64_t lsn;
    kit.setup.sync = JOURNAL_SYNC_NONE;
    journal_kit_open(&kit);
    cr_assert(journal_start(kit.journal, &kit.err), "%s", kit.err.text);
    for (uint64_t i = 0; i < 20; i++) {
        append(i, 10, &lsn);
        journal_kick(kit.journal);
        wait_durable(lsn);
        journal_want_sync(kit.journal);
        uint64_t until = clock_mono_ms() + GUARD_MS;
        while (journal_synced(kit.journal) < lsn)
            cr_assert(lt(u64, clock_mono_ms(), until));
    }
    journal_stop(kit.journal);
}

#define WRITERS    4u
#define EACH       3000u
#define SEGS_TOTAL 200u

struct writer {
    pthread_t thread;
    uint64_t number;
    uint64_t last_lsn;
};

static void *write_many(void *arg)
{
    struct writer *w = arg;
    uint64_t before = 0;
    for (uint64_t i = 0; i < EACH; i++) {
        enum journal_need need = i % 3 == 0 ? JOURNAL_SOON : JOURNAL_LAZY;
        (void)journal_kit_append(&kit, i * WRITERS + w->number, (size_t)(i % 300), need,
                                 &w->last_lsn);
        cr_assert(lt(u64, before, w->last_lsn));
        before = w->last_lsn;
        if (i % 5 == 0)
            journal_kick(kit.journal);
        while (journal_backlog(kit.journal) > 100000)
            journal_kick(kit.journal);
    }
    journal_kick(kit.journal);
    return NULL;
}

static atomic_bool ended;

/* What the store does meanwhile. */
static void *keep_house(void *arg)
{
    (void)arg;
    struct err err;
    while (!atomic_load(&ended)) {
        if (journal_wants_prepare(kit.journal))
            cr_assert(journal_prepare(kit.journal, &err), "%s", err.text);
        struct journal_stats s;
        journal_stats(kit.journal, &s);
        (void)segs_sum(kit.segs);
    }
    return NULL;
}

static void write_in_order(enum journal_sync sync)
{
    struct writer writers[WRITERS];
    pthread_t keeper;
    uint64_t next[WRITERS] = { 0 };
    kit.setup.segment_bytes = 65536;
    kit.setup.sync = sync;
    kit.setup.interval_ms = 3;
    journal_kit_open(&kit);
    cr_assert(journal_start(kit.journal, &kit.err), "%s", kit.err.text);
    cr_assert(pthread_create(&keeper, NULL, keep_house, NULL) == 0);
    for (size_t i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        cr_assert(pthread_create(&writers[i].thread, NULL, write_many, &writers[i]) == 0);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        wait_durable(writers[i].last_lsn);
    }
    atomic_store(&ended, true);
    pthread_join(keeper, NULL);
    journal_stop(kit.journal);
    for (uint32_t seg = 1; seg < segs_end(kit.segs); seg++) {
        journal_kit_read(&kit, seg, &found);
        cr_expect(found.has_end);
        for (size_t i = 0; i < found.count; i++) {
            uint64_t writer = found.qseqs[i] % WRITERS;
            cr_assert(eq(u64, found.qseqs[i] / WRITERS, next[writer]++));
        }
    }
    for (size_t i = 0; i < WRITERS; i++)
        cr_expect(eq(u64, next[i], EACH));
}

Test(journal, keeps_the_order_of_several_writers)
{
    write_in_order(JOURNAL_SYNC_ALWAYS);
}

Test(journal, keeps_their_order_when_another_thread_syncs)
{
    write_in_order(JOURNAL_SYNC_INTERVAL);
    cr_expect(eq(uint, kit.sealed_calls, segs_end(kit.segs) - 1));
}

Test(journal, keeps_their_order_without_syncs)
{
    write_in_order(JOURNAL_SYNC_NONE);
    cr_expect(eq(uint, kit.sealed_calls, segs_end(kit.segs) - 1));
}
