#include "base/mem.h"
#include "expect.h"
#include "io/clock.h"
#include "journal_kit.h"

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

TestSuite(journal_fails, .init = set_up, .fini = tear_down, .timeout = 300);

static struct place append(uint64_t qseq, size_t body_bytes, uint64_t *lsn)
{
    return journal_kit_append(&kit, qseq, body_bytes, JOURNAL_SOON, lsn);
}

/* After a failure nothing becomes durable, nothing is written, and it is told once. */
static void expect_final(uint64_t durable)
{
    uint64_t lsn;
    cr_expect(journal_has_failed(kit.journal));
    cr_expect(eq(uint, kit.failed_calls, 1));
    cr_expect(eq(int, kit.failure.code, ERR_IO));
    unsigned writes = kit.disk->counts[KIT_WRITE], syncs = kit.disk->counts[KIT_SYNC];
    struct place p = append(1000, 10, &lsn);
    cr_expect(place_is_none(p));
    cr_expect(eq(u64, lsn, UINT64_MAX));
    cr_expect(not(journal_pump(kit.journal, 1000000)));
    journal_want_sync(kit.journal);
    cr_expect(not(journal_pump(kit.journal, 1000000)));
    journal_stop(kit.journal);
    cr_expect(eq(u64, journal_durable(kit.journal), durable));
    cr_expect(eq(u64, journal_synced(kit.journal), durable));
    cr_expect(eq(u64, journal_backlog(kit.journal), 0));
    cr_expect(eq(uint, kit.disk->counts[KIT_WRITE], writes));
    cr_expect(eq(uint, kit.disk->counts[KIT_SYNC], syncs));
    cr_expect(eq(uint, kit.failed_calls, 1));
    cr_expect(not(journal_wants_prepare(kit.journal)));
}

Test(journal_fails, for_good_at_any_write_or_sync)
{
    static const enum kit_op ops[] = { KIT_WRITE, KIT_SYNC };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 1; n < 12; n++) {
            uint64_t lsn, durable;
            kit.failed_calls = 0;
            journal_kit_open(&kit);
            cr_assert(journal_prepare(kit.journal, &kit.err));
            durable = journal_durable(kit.journal);
            kit_disk_fail(kit.disk, ops[i], n, ERR_IO);
            for (uint64_t q = 0; !journal_has_failed(kit.journal); q++) {
                append(q, 2500, &lsn);
                cr_assert(journal_pump(kit.journal, 0));
                if (!journal_has_failed(kit.journal)) {
                    durable = lsn;
                    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
                }
            }
            kit_disk_fail(kit.disk, ops[i], 0, ERR_IO); /* it is not tried again */
            expect_final(durable);
            journal_kit_leave(&kit);
            kit.setup.first_seg += 20;
        }
}

/* A full disk under a file that has its room already is a broken promise, not a lack. */
Test(journal_fails, for_good_when_a_write_finds_no_room)
{
    uint64_t lsn;
    journal_kit_open(&kit);
    append(0, 10, &lsn);
    kit_disk_fail(kit.disk, KIT_WRITE, 1, ERR_LIMIT);
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(journal_has_failed(kit.journal));
    cr_expect(eq(uint, kit.failed_calls, 1));
}

Test(journal_fails, when_what_nobody_waits_for_cannot_be_synced)
{
    uint64_t lsn;
    journal_kit_open(&kit);
    uint64_t durable = journal_durable(kit.journal);
    journal_kit_append(&kit, 0, 10, JOURNAL_LAZY, &lsn);
    cr_expect(journal_pump(kit.journal, 0));
    kit_disk_fail(kit.disk, KIT_SYNC, 1, ERR_IO);
    cr_expect(journal_pump(kit.journal, 100));
    expect_final(durable);
}

Test(journal_fails, in_its_last_breath)
{
    static const enum kit_op ops[] = { KIT_WRITE, KIT_SYNC };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 1; n <= 2; n++) {
            uint64_t lsn;
            kit.failed_calls = 0;
            journal_kit_open(&kit);
            append(0, 10, &lsn);
            kit_disk_fail(kit.disk, ops[i], n, ERR_IO);
            journal_stop(kit.journal);
            kit_disk_fail(kit.disk, ops[i], 0, ERR_IO);
            cr_expect(journal_has_failed(kit.journal));
            cr_expect(eq(uint, kit.failed_calls, 1));
            cr_expect(eq(uint, kit.sealed_calls, 0));
            journal_kit_leave(&kit);
            kit.setup.first_seg++;
        }
}

Test(journal_fails, to_begin_and_says_why)
{
    static const enum kit_op ops[] = { KIT_CREATE, KIT_WRITE, KIT_SYNC, KIT_RENAME,
                                       KIT_SYNC_FOLDER };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        kit_disk_fail(kit.disk, ops[i], 1, ERR_LIMIT);
        kit.journal = journal_new(&kit.setup, &kit.err);
        cr_expect(kit.journal == NULL);
        expect_text(kit.err.text, "the test wants it so");
        kit_disk_fail(kit.disk, ops[i], 0, ERR_LIMIT);
    }
    journal_kit_open(&kit);
    cr_expect(eq(sz, journal_kit_count_files(&kit, "spare-"), 0));
}

/* ---- a disk that is full -------------------------------------------------------------------- */

Test(journal_fails, by_and_by_when_the_disk_is_full)
{
    uint64_t lsn = 0, q = 0;
    kit.disk->room = 4 * 8192; /* the first one and three more */
    journal_kit_open(&kit);
    cr_assert(journal_prepare(kit.journal, &kit.err));
    cr_expect(not(journal_is_short(kit.journal)));
    while (place_of_lsn(lsn).seg < 2)
        append(q++, 2500, &lsn);
    cr_assert(journal_pump(kit.journal, 0));
    cr_expect(not(journal_prepare(kit.journal, &kit.err)));
    cr_expect(eq(int, kit.err.code, ERR_LIMIT));
    cr_expect(not(journal_is_short(kit.journal)), "two are left, one of them the reserve");
    cr_expect(eq(sz, journal_kit_count_files(&kit, "spare-"), 0), "no half file is left");
    while (place_of_lsn(lsn).seg < 3)
        append(q++, 2500, &lsn);
    cr_assert(journal_pump(kit.journal, 0));
    cr_expect(journal_is_short(kit.journal));
    cr_expect(journal_wants_prepare(kit.journal));

    /* What drains makes room. */
    cr_assert(journal_recycle(kit.journal, 1, &kit.err), "%s", kit.err.text);
    cr_expect(not(journal_prepare(kit.journal, &kit.err)), "not for all, but for one");
    cr_expect(not(journal_is_short(kit.journal)));

    /* The reserve is there to be used, and then it is over. */
    while (place_of_lsn(lsn).seg < 5)
        append(q++, 2500, &lsn);
    cr_assert(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    cr_expect(journal_is_short(kit.journal));
    while (place_of_lsn(lsn).seg < 6)
        append(q++, 2500, &lsn);
    uint64_t durable = journal_durable(kit.journal);
    cr_assert(journal_pump(kit.journal, 0));
    cr_expect(journal_has_failed(kit.journal));
    cr_expect(eq(int, kit.failure.code, ERR_LIMIT));
    cr_expect(eq(u64, journal_durable(kit.journal), durable));
}

Test(journal_fails, not_when_there_is_room_again)
{
    uint64_t lsn;
    kit.disk->room = 8192;
    journal_kit_open(&kit);
    cr_expect(not(journal_prepare(kit.journal, &kit.err)));
    cr_expect(journal_is_short(kit.journal));
    append(0, 10, &lsn);
    cr_expect(journal_pump(kit.journal, 0));
    cr_expect(eq(u64, journal_durable(kit.journal), lsn));
    kit.disk->room = 1 << 20;
    cr_assert(journal_prepare(kit.journal, &kit.err), "%s", kit.err.text);
    cr_expect(not(journal_is_short(kit.journal)));
    cr_expect(not(journal_has_failed(kit.journal)));
}

/* Some file systems find out late, when it is synced, that there is no room for what was written.
 */
Test(journal_fails, not_when_the_lack_of_room_shows_late)
{
    static const enum kit_op ops[] = { KIT_CREATE, KIT_WRITE, KIT_SYNC, KIT_RENAME };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 1; n < 5; n++) {
            journal_kit_open(&kit);
            kit_disk_fail(kit.disk, ops[i], n, ERR_LIMIT);
            if (!journal_prepare(kit.journal, &kit.err))
                cr_expect(eq(int, kit.err.code, ERR_LIMIT));
            kit_disk_fail(kit.disk, ops[i], 0, ERR_LIMIT);
            cr_expect(journal_prepare(kit.journal, &kit.err), "%s", kit.err.text);
            cr_expect(not(journal_has_failed(kit.journal)));
            journal_kit_leave(&kit);
            kit.setup.first_seg += 20;
        }
}

Test(journal_fails, when_segments_cannot_be_made_for_another_reason)
{
    static const enum kit_op ops[] = { KIT_CREATE, KIT_WRITE, KIT_SYNC, KIT_RENAME,
                                       KIT_SYNC_FOLDER };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        kit.failed_calls = 0;
        journal_kit_open(&kit);
        kit_disk_fail(kit.disk, ops[i], 1, ERR_IO);
        cr_expect(not(journal_prepare(kit.journal, &kit.err)));
        kit_disk_fail(kit.disk, ops[i], 0, ERR_IO);
        cr_expect(journal_has_failed(kit.journal));
        cr_expect(eq(uint, kit.failed_calls, 0), "it is told where all is told");
        cr_expect(journal_pump(kit.journal, 0));
        cr_expect(not(journal_pump(kit.journal, 0)));
        cr_expect(eq(uint, kit.failed_calls, 1));
        journal_kit_leave(&kit);
        kit.setup.first_seg += 10;
    }
}

/* Wherever the power goes while files change their names, no segment has another one's number. */
Test(journal_fails, to_recycle_and_leaves_nothing_that_misleads)
{
    static const enum kit_op ops[] = { KIT_REMOVE, KIT_OPEN,   KIT_WRITE,
                                       KIT_SYNC,   KIT_RENAME, KIT_SYNC_FOLDER };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 1; n < 6; n++) {
            uint64_t lsn = 0;
            uint32_t first = kit.setup.first_seg;
            journal_kit_open(&kit);
            for (uint64_t q = 0; place_of_lsn(lsn).seg < first + 3; q++)
                append(q, 2500, &lsn);
            cr_assert(journal_pump(kit.journal, 0));
            kit_disk_fail(kit.disk, ops[i], n, ERR_IO);
            bool ok = true;
            for (uint32_t seg = first; ok && seg < first + 3; seg++)
                ok = journal_recycle(kit.journal, seg, &kit.err);
            ok = ok && journal_prepare(kit.journal, &kit.err);
            kit_disk_fail(kit.disk, ops[i], 0, ERR_IO);
            cr_expect(eq(int, journal_has_failed(kit.journal), !ok));
            for (uint32_t seg = first; seg < first + 8; seg++)
                journal_kit_read(&kit, seg, &found); /* the header's number is the name's */
            journal_kit_leave(&kit);
            kit.setup.first_seg += 20;
        }
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void wait_failed(void)
{
    uint64_t until = clock_mono_ms() + GUARD_MS;
    while (kit.failed_calls == 0)
        cr_assert(lt(u64, clock_mono_ms(), until));
}

Test(journal_fails, on_its_thread_and_ends)
{
    uint64_t lsn;
    journal_kit_open(&kit);
    cr_assert(journal_start(kit.journal, &kit.err));
    kit_disk_fail(kit.disk, KIT_SYNC, 3, ERR_IO);
    for (uint64_t q = 0; !journal_has_failed(kit.journal); q++) {
        append(q, 10, &lsn);
        journal_kick(kit.journal);
    }
    wait_failed();
    journal_stop(kit.journal);
    cr_expect(eq(uint, kit.failed_calls, 1));
}

static void wait_waits(void)
{
    struct journal_stats s = { 0 };
    uint64_t until = clock_mono_ms() + GUARD_MS;
    while (s.waits == 0) {
        cr_assert(lt(u64, clock_mono_ms(), until));
        journal_stats(kit.journal, &s);
    }
}

static uint64_t fill_the_disk(void)
{
    uint64_t lsn = 0;
    kit.disk->room = 2 * 8192;
    journal_kit_open(&kit);
    cr_assert(journal_start(kit.journal, &kit.err));
    for (uint64_t q = 0; place_of_lsn(lsn).seg < 4; q++)
        append(q, 2500, &lsn);
    journal_kick(kit.journal);
    return lsn;
}

/* Even when the reserve is used up: nothing is lost, and nothing is confirmed meanwhile. */
Test(journal_fails, not_on_its_thread_when_it_waits_for_room)
{
    uint64_t lsn = fill_the_disk();
    wait_waits();
    unsigned tries = kit.disk->counts[KIT_CREATE];
    uint64_t until = clock_mono_ms() + GUARD_MS;
    while (kit.disk->counts[KIT_CREATE] < tries + 4)
        cr_assert(lt(u64, clock_mono_ms(), until));
    cr_expect(not(journal_has_failed(kit.journal)));
    cr_expect(journal_is_short(kit.journal));
    cr_expect(lt(u64, journal_durable(kit.journal), lsn));
    kit.disk->room = 1 << 20;
    while (journal_durable(kit.journal) < lsn)
        cr_assert(lt(u64, clock_mono_ms(), until));
    journal_stop(kit.journal);
    cr_expect(not(journal_has_failed(kit.journal)));
}

Test(journal_fails, on_its_thread_when_it_is_to_end_without_room)
{
    uint64_t lsn = fill_the_disk();
    wait_waits();
    journal_stop(kit.journal);
    cr_expect(eq(uint, kit.failed_calls, 1));
    cr_expect(eq(int, kit.failure.code, ERR_LIMIT));
    cr_expect(lt(u64, journal_durable(kit.journal), lsn));
}

Test(journal_fails, on_its_thread_when_a_pool_met_the_error)
{
    journal_kit_open(&kit);
    cr_assert(journal_start(kit.journal, &kit.err));
    kit_disk_fail(kit.disk, KIT_CREATE, 1, ERR_REFUSED);
    cr_expect(not(journal_prepare(kit.journal, &kit.err)));
    wait_failed();
    cr_expect(eq(int, kit.failure.code, ERR_REFUSED));
    journal_stop(kit.journal);
}

Test(journal_fails, on_its_thread_when_the_one_for_syncs_met_the_error)
{
    static const enum journal_sync modes[] = { JOURNAL_SYNC_INTERVAL, JOURNAL_SYNC_NONE };
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        uint64_t lsn;
        kit.failed_calls = 0;
        kit.setup.sync = modes[i];
        kit.setup.interval_ms = 1;
        journal_kit_open(&kit);
        cr_assert(journal_prepare(kit.journal, &kit.err));
        uint64_t synced = journal_synced(kit.journal);
        cr_assert(journal_start(kit.journal, &kit.err));
        kit_disk_fail(kit.disk, KIT_SYNC, 1, ERR_IO);
        for (uint64_t q = 0; q < 10; q++) {
            append(q, 1500, &lsn);
            journal_kick(kit.journal);
        }
        wait_failed();
        journal_stop(kit.journal);
        cr_expect(eq(uint, kit.failed_calls, 1));
        cr_expect(eq(u64, journal_synced(kit.journal), synced));
        kit_disk_fail(kit.disk, KIT_SYNC, 0, ERR_IO);
        journal_kit_leave(&kit);
        kit.setup.first_seg += 20;
    }
}

static void dawdle(void *arg)
{
    (void)arg;
    uint64_t until = clock_mono_us() + 3000;
    while (clock_mono_us() < until)
        ;
}

Test(journal_fails, to_be_quick_and_counts_it)
{
    uint64_t lsn;
    struct journal_stats s;
    kit.setup.slow_ms = 1;
    journal_kit_open(&kit);
    append(0, 10, &lsn);
    kit.disk->on_sync = dawdle;
    cr_expect(journal_pump(kit.journal, 0));
    journal_stats(kit.journal, &s);
    cr_expect(eq(u64, s.slow_syncs, 1));
    cr_expect(ge(u64, s.sync_us_max, 3000));
    uint64_t sum = 0;
    for (size_t i = 0; i < JOURNAL_LATENCY_BUCKETS; i++)
        sum += s.sync_us[i];
    cr_expect(eq(u64, sum, 1));
    cr_expect(eq(u64, s.sync_us[7], 0), "up to 2048 us");
}
