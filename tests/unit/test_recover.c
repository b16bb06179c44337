#include "store/recover.h"

#include "base/mem.h"
#include "expect.h"
#include "mem_disk.h"
#include "recover_expect.h"
#include "recover_kit.h"
#include "seg_kit.h"
#include "store/journal.h"
#include "store/scan.h"
#include "store/seg_index.h"

#include <stdio.h>

Test(recover, of_nothing_is_nothing)
{
    struct disk *d = mem_disk_new();
    struct recover_kit k;
    recover_kit_run(&k, d, 2, false);
    cr_expect(eq(sz, k.found.queue_count, 0));
    cr_expect(eq(u32, k.found.next_seg, 1));
    cr_expect(k.found.is_clean);
    recover_kit_fini(&k);
    disk_free(&d);
}

Test(recover, keeps_what_was_not_settled)
{
    struct seg_kit s;
    seg_kit_init(&s, 3, 0);
    seg_kit_batch(&s, 0);
    for (uint64_t i = 1; i <= 6; i++)
        seg_kit_msg(&s, 0, 1 + i % 2, i, 10);
    seg_kit_settle(&s, 1, 2, 3);
    seg_kit_settle(&s, 2, 5, 5);
    struct disk *d = saved(&s, 1);
    expect_alive(d, "1:4 1:6 2:1 2:3", "");
    cr_expect(mem_disk_has(d, "journal/00000003.idx"));
    disk_free(&d);
}

/* The order of records means nothing: settled before it is seen, moved, in any segment. */
Test(recover, needs_no_order)
{
    struct seg_kit s[3];
    for (uint32_t i = 0; i < 3; i++)
        seg_kit_init(&s[i], i + 1, 0);
    seg_kit_settle(&s[0], 1, 5, 5);
    seg_kit_msg(&s[1], 0, 1, 5, 10);
    seg_kit_msg(&s[1], 0, 1, 6, 10);
    seg_kit_msg(&s[1], 0, 1, 7, 10);
    struct place moved = seg_kit_msg(&s[2], MSG_MOVED, 1, 6, 10);
    for (unsigned i = 0; i < 3; i++)
        seg_kit_end(&s[i]);
    struct disk *d = saved(s, 3);
    struct recover_kit k;
    recover_kit_run(&k, d, 2, false);
    expect_text(alive(&k), "1:6 1:7");
    const struct recovered_level *level = recover_kit_level(&k, 1, 0);
    cr_expect(place_eq(level->entries[0].place, moved));
    cr_expect(eq(u32, k.found.queues[0].first_seg, 2));
    cr_expect(eq(u32, k.found.queues[0].last_seg, 3));
    cr_expect(eq(u32, k.found.queues[0].state_seg, 1));
    cr_expect(eq(sz, k.found.state_ref_count, 1));
    cr_expect(eq(u32, k.found.next_seg, 4));
    recover_kit_fini(&k);
    disk_free(&d);
}

Test(recover, makes_runs_of_many_and_entries_of_few)
{
    struct seg_kit s;
    struct recover_kit k;
    seg_kit_init(&s, 1, 0);
    for (uint64_t i = 100; i < 400; i++)
        seg_kit_msg(&s, i == 150 ? MSG_EXPIRES : 0, 1, i, 20);
    for (uint64_t i = 0; i < 63; i++)
        seg_kit_msg(&s, 0, 2, i, 20);
    seg_kit_settle(&s, 1, 300, 305);
    struct disk *d = saved(&s, 1);
    recover_kit_run(&k, d, 0, false);
    const struct recovered_level *level = recover_kit_level(&k, 1, 0);
    cr_assert(eq(sz, level->run_count, 2));
    cr_expect(eq(u64, level->runs[0].first, 100));
    cr_expect(eq(u64, level->runs[0].last, 299));
    cr_expect(eq(u32, level->runs[0].persistent_count, 200));
    cr_expect(level->runs[0].has_expiring);
    cr_expect(not(level->runs[1].has_expiring));
    cr_expect(eq(u64, level->next_new, 400));
    level = recover_kit_level(&k, 2, 0);
    cr_expect(eq(sz, level->run_count, 0));
    cr_expect(eq(sz, level->entry_count, 63));
    size_t count;
    mem_free(recover_kit_list(&k, &count));
    cr_expect(eq(sz, count, 294 + 63));
    recover_kit_fini(&k);
    disk_free(&d);
}

/* A run goes over nothing that is not alive there: settled, moved away, transient, returned. */
Test(recover, ends_runs_where_something_is_not_alive)
{
    struct seg_kit s[2];
    struct recover_kit k;
    seg_kit_init(&s[0], 1, 0);
    seg_kit_init(&s[1], 2, 0);
    for (uint64_t i = 0; i < 500; i++)
        seg_kit_msg(&s[0], i == 200 ? MSG_TRANSIENT : 0, 1, i, 20);
    seg_kit_end(&s[0]);
    seg_kit_msg(&s[1], MSG_MOVED, 1, 100, 20);
    seg_kit_returns(&s[1], 1, 300, 2);
    seg_kit_returns(&s[1], 1, 300, 1);
    seg_kit_settle(&s[1], 1, 400, 400);
    struct disk *d = saved(s, 2);
    recover_kit_run(&k, d, 2, false);
    const struct recovered_level *level = recover_kit_level(&k, 1, 0);
    const uint64_t firsts[] = { 0, 101, 201, 301, 401 };
    cr_assert(eq(sz, level->run_count, 5));
    for (unsigned i = 0; i < 5; i++)
        cr_expect(eq(u64, level->runs[i].first, firsts[i]));
    cr_assert(eq(sz, level->entry_count, 2));
    cr_expect(eq(u32, level->entries[0].place.seg, 2));
    cr_expect(eq(u32, level->entries[1].returns, 2));
    cr_expect(level->entries[1].redelivered);
    size_t count;
    mem_free(recover_kit_list(&k, &count));
    cr_expect(eq(sz, count, 498));
    recover_kit_fini(&k);
    disk_free(&d);
}

/* One that was moved lies among those of another segment; they need not be read for it. */
Test(recover, keeps_runs_whole_between_what_was_moved)
{
    struct seg_kit s[4];
    struct recover_kit k;
    for (uint32_t i = 0; i < 4; i++)
        seg_kit_init(&s[i], i + 1, 0);
    for (uint64_t i = 0; i < 600; i++)
        seg_kit_msg(&s[i / 200], 0, 1, 1000 + 2 * i, 20);
    for (uint32_t i = 0; i < 3; i++)
        seg_kit_end(&s[i]);
    seg_kit_msg(&s[3], MSG_MOVED, 1, 10, 20);
    seg_kit_msg(&s[3], MSG_MOVED, 1, 5000, 20);
    struct disk *d = saved(s, 4);
    recover_kit_run(&k, d, 2, false);
    const struct recovered_level *level = recover_kit_level(&k, 1, 0);
    cr_expect(eq(sz, level->run_count, 3));
    cr_expect(eq(sz, level->entry_count, 2));
    size_t count;
    mem_free(recover_kit_list(&k, &count));
    cr_expect(eq(sz, count, 602));
    recover_kit_fini(&k);
    disk_free(&d);
}

Test(recover, keeps_priorities_apart)
{
    const uint64_t high = (uint64_t)9 << 56;
    struct seg_kit s;
    struct recover_kit k;
    seg_kit_init(&s, 1, 0);
    seg_kit_msg(&s, 0, 1, high + 1, 10);
    seg_kit_msg(&s, 0, 1, 1, 10);
    seg_kit_msg(&s, 0, 1, high + 2, 10);
    seg_kit_settle(&s, 1, 1, 7);
    seg_kit_mark(&s, 0, 1, high + 2);
    struct disk *d = saved(&s, 1);
    recover_kit_run(&k, d, 0, false);
    cr_assert(eq(sz, k.found.queue_count, 1));
    cr_assert(eq(sz, k.found.queues[0].level_count, 2));
    cr_expect(eq(u64, recover_kit_level(&k, 1, 0)->next_new, 8));
    const struct recovered_level *level = recover_kit_level(&k, 1, 9);
    cr_expect(eq(u64, level->next_new, high + 3));
    cr_assert(eq(sz, level->entry_count, 2));
    cr_expect(level->entries[0].redelivered);
    cr_expect(not(level->entries[1].redelivered));
    recover_kit_fini(&k);
    disk_free(&d);
}

Test(recover, gives_no_position_twice)
{
    struct seg_kit s;
    struct recover_kit k;
    seg_kit_init(&s, 1, 0);
    seg_kit_msg(&s, MSG_TRANSIENT, 1, 41, 10);
    seg_kit_settle(&s, 2, 10, 51);
    seg_kit_mark(&s, SETTLE_AHEAD, 3, 61);
    seg_kit_settle(&s, 4, 0, ((uint64_t)1 << 56) - 1);
    struct disk *d = saved(&s, 1);
    recover_kit_run(&k, d, 0, false);
    cr_expect(eq(u64, recover_kit_level(&k, 1, 0)->next_new, 42));
    cr_expect(eq(u64, recover_kit_level(&k, 2, 0)->next_new, 52));
    cr_expect(eq(u64, recover_kit_level(&k, 3, 0)->next_new, 61));
    cr_expect(eq(u64, recover_kit_level(&k, 4, 0)->next_new, 0));
    recover_kit_fini(&k);
    disk_free(&d);
}

static void put_closed(struct seg_kit *s)
{
    uint8_t record[RECORD_END_BYTES];
    struct slice part = slice_of(record, record_put_end(record, END_CLOSED));
    seg_kit_put(s, &part, 1);
}

static void end_closed(struct seg_kit *s)
{
    seg_kit_batch(s, seg_kit_lsn(s));
    put_closed(s);
}

Test(recover, trusts_exact_marks_after_an_orderly_end_only)
{
    for (int closed = 0; closed <= 1; closed++) {
        struct seg_kit s;
        seg_kit_init(&s, 1, 0);
        for (uint64_t i = 1; i <= 5; i++)
            seg_kit_msg(&s, 0, 1, i, 10);
        seg_kit_mark(&s, SETTLE_AHEAD, 1, 5);
        seg_kit_mark(&s, 0, 1, 3);
        if (closed)
            end_closed(&s);
        struct disk *d = saved(&s, 1);
        expect_alive(d, closed ? "1:1r 1:2r 1:3 1:4 1:5" : "1:1r 1:2r 1:3r 1:4r 1:5", "");
        disk_free(&d);
    }
}

/* END was written when all before it was safe, also where the segment had no room for a BATCH that
 * says so: what is damaged there is lost, and what stands behind it counts. */
Test(recover, knows_what_was_safe_before_a_lonely_end)
{
    struct seg_kit s;
    seg_kit_init(&s, 1, 0);
    seg_kit_batch(&s, 0);
    seg_kit_msg(&s, 0, 1, 1, 10);
    seg_kit_msg(&s, 0, 2, 1, 10);
    struct place hit = seg_kit_msg(&s, 0, 1, 2, 10);
    uint32_t hit_to = s.offset;
    seg_kit_mark(&s, 0, 1, 2);
    put_closed(&s);
    s.bytes[hit.offset + 20] ^= 1;
    struct disk *d = saved(&s, 1);
    char damage[64];
    snprintf(damage, sizeof damage, "1:%u-%u", hit.offset, hit_to);
    expect_alive(d, "1:1r 2:1", damage);
    struct recover_kit k;
    recover_kit_run(&k, d, 0, false);
    cr_expect(k.found.is_clean);
    recover_kit_fini(&k);
    disk_free(&d);
}

static bool knows(uint64_t qid, void *arg)
{
    (void)arg;
    return qid != 2;
}

Test(recover, counts_what_a_queue_that_is_gone_has_as_dead)
{
    struct seg_kit s;
    struct err err;
    struct recovered out;
    const struct msg_target both[] = { { .qid = 1, .qseq = 7 }, { .qid = 2, .qseq = 9 } };
    seg_kit_init(&s, 1, 0);
    seg_kit_msg_to(&s, 0, both, 2, 100);
    seg_kit_settle(&s, 2, 1, 8);
    struct disk *d = saved(&s, 1);
    struct segs *segs = segs_new();
    struct recover_setup setup = { .disk = d, .segs = segs, .knows_queue = knows };
    cr_assert(recover_run(&setup, &out, &err), "%s", err.text);
    cr_expect(eq(sz, out.queue_count, 1));
    cr_expect(eq(sz, out.state_ref_count, 0));
    struct seg *seg = segs_get(segs, 1);
    cr_expect(eq(i64, atomic_load(&seg->put_count), 2));
    cr_expect(eq(i64, atomic_load(&seg->alive_count), 1));
    cr_expect(eq(i64, atomic_load(&seg->alive_bytes), segs_cost(100)));
    cr_expect(eq(int, segs_state(segs, 1), SEG_INDEXED));
    recovered_fini(&out);
    segs_free(&segs);
    disk_free(&d);
}

/* ---- large messages ---------------------------------------------------------------------------
 */

static void put_large_file(struct disk *d, uint64_t id, size_t len)
{
    char name[40];
    uint8_t *bytes = mem_zalloc(len);
    snprintf(name, sizeof name, "large/%016lx", id);
    mem_disk_put(d, name, slice_of(bytes, len));
    mem_free(bytes);
}

Test(recover, wants_a_proof_and_a_file_for_a_large_message)
{
    struct seg_kit s;
    struct recover_kit k;
    seg_kit_init(&s, 1, 0);
    seg_kit_large(&s, 0, 1, 1, 101, 100000);
    seg_kit_large(&s, 0, 1, 2, 102, 100000); /* no LARGE: nobody was promised it */
    struct place lost = seg_kit_large(&s, 0, 1, 3, 103, 100000);
    uint32_t lost_to = lost.offset + record_length(s.bytes + lost.offset);
    seg_kit_large(&s, 0, 1, 4, 104, 100000); /* settled: its file is gone, as it should be */
    seg_kit_large(&s, MSG_MOVED, 1, 5, 105, 100000);
    seg_kit_large(&s, 0, 2, 6, 105, 100000);
    seg_kit_large(&s, 0, 3, 7, 106, 100000); /* the file was there for others, and went with them */
    seg_kit_proven(&s, 101, 0);
    seg_kit_proven(&s, 103, 1);
    seg_kit_proven(&s, 104, 1);
    seg_kit_proven(&s, 105, 2);
    seg_kit_proven(&s, 106, 1);
    seg_kit_settle(&s, 1, 4, 4);
    struct disk *d = saved(&s, 1);
    put_large_file(d, 101, 100050);
    put_large_file(d, 102, 100050);
    put_large_file(d, 103, 100049);
    put_large_file(d, 105, 100050);
    char damage[64];
    snprintf(damage, sizeof damage, "1:%u-%u q1 3-3", lost.offset, lost_to);
    expect_alive(d, "1:1 1:5 2:6", damage);
    recover_kit_run(&k, d, 0, false);
    cr_assert(eq(sz, k.found.large_count, 3));
    cr_expect(eq(u64, k.found.larges[0].id, 101));
    cr_expect(eq(u32, k.found.larges[0].alive, 1));
    cr_expect(eq(u64, k.found.larges[1].id, 105));
    cr_expect(eq(u64, k.found.larges[2].id, 105));
    recover_kit_fini(&k);
    disk_free(&d);
}

/* ---- the end of the journal -------------------------------------------------------------------
 */

/* Cut at each octet of the last group, which nobody was promised: what is whole stays, the rest is
 * gone, and nothing of it is called lost. */
Test(recover, cuts_off_a_tail_torn_at_any_octet, .timeout = 300)
{
    struct seg_kit s;
    seg_kit_init(&s, 1, 4096);
    seg_kit_batch(&s, 0);
    seg_kit_msg(&s, 0, 1, 1, 30);
    uint32_t durable = s.offset;
    seg_kit_batch(&s, seg_kit_lsn(&s));
    struct place second = seg_kit_msg(&s, 0, 1, 2, 30);
    struct place third = seg_kit_msg(&s, 0, 1, 3, 30);
    uint32_t end = s.offset;
    for (int stale = 0; stale <= 1; stale++) {
        for (uint32_t cut = durable; cut <= end; cut++) {
            struct disk *d = mem_disk_new();
            uint8_t *bytes = mem_dup(s.bytes, 4096);
            memset(bytes + cut, stale ? 0xee : 0, 4096 - cut);
            mem_disk_put(d, "journal/00000001.seg", slice_of(bytes, 4096));
            bool has_second = cut >= second.offset + record_length(s.bytes + second.offset);
            bool has_third = cut >= third.offset + record_length(s.bytes + third.offset);
            expect_alive(d, has_third ? "1:1 1:2 1:3" : has_second ? "1:1 1:2" : "1:1", "");
            mem_free(bytes);
            disk_free(&d);
        }
    }
    seg_kit_fini(&s);
}

/* The system wrote the end of the last group and not its beginning: a message moved to a new
 * position, torn, and the settlement of its old one, which means loss alone. */
Test(recover, counts_nothing_behind_a_hole_that_was_never_safe)
{
    for (size_t body = 0; body < 200000; body = 3 * body + 7) {
        struct seg_kit s[2];
        seg_kit_init(&s[0], 1, 1 << 20);
        seg_kit_batch(&s[0], 0);
        seg_kit_msg(&s[0], 0, 1, 1, 30);
        uint64_t durable = seg_kit_lsn(&s[0]);
        seg_kit_batch(&s[0], durable);
        uint32_t from = s[0].offset;
        for (uint64_t i = 2; i < 4; i++)
            seg_kit_msg(&s[0], 0, 1, i, body / 2);
        uint32_t to = s[0].offset;
        seg_kit_settle(&s[0], 1, 1, 1);
        seg_kit_msg(&s[0], 0, 1, 4, 30);
        memset(s[0].bytes + from, 0, to - from);
        struct disk *d = saved(s, 1);
        expect_alive(d, "1:1", "");
        seg_kit_init(&s[1], 2, 0);
        seg_kit_batch(&s[1], place_lsn((struct place){ 2, 64 }));
        seg_kit_msg(&s[1], 0, 1, 5, 30);
        seg_kit_save(&s[1], d);
        seg_kit_fini(&s[1]);
        expect_alive(d, "1:1 1:5", "");
        struct err err;
        cr_expect(d->ops->remove(d, "journal/00000001.idx", &err));
        expect_alive(d, "1:1 1:5", "");
        disk_free(&d);
    }
}

/* The same over two segments. The later one is put away before the end is written in the first:
 * else a crash in between would make it count. */
Test(recover, counts_no_segment_behind_one_whose_end_was_never_safe)
{
    for (unsigned op = 0; op < 12; op++) {
        struct seg_kit s[2];
        struct recovered out;
        struct err err;
        seg_kit_init(&s[0], 1, 0);
        seg_kit_batch(&s[0], 0);
        seg_kit_msg(&s[0], 0, 1, 1, 30);
        seg_kit_batch(&s[0], seg_kit_lsn(&s[0]));
        seg_kit_msg(&s[0], 0, 1, 2, 30);
        seg_kit_init(&s[1], 2, 0);
        seg_kit_batch(&s[1], 0);
        seg_kit_settle(&s[1], 1, 1, 1);
        struct disk *d = saved(s, 2);
        struct recover_setup setup = { .disk = d };
        enum mem_disk_op what = op % 2 != 0 ? MEM_DISK_SYNC : MEM_DISK_WRITE;
        mem_disk_fail(d, what, op / 2, ERR_IO, false);
        if (recover_run(&setup, &out, &err))
            recovered_fini(&out);
        mem_disk_fail(d, what, 0, ERR_NONE, false);
        expect_alive(d, "1:1 1:2", "");
        cr_expect(not(mem_disk_has(d, "journal/00000002.seg")));
        disk_free(&d);
    }
}

/* A hole in what was safe; and the batch that says how far that goes is behind a torn place, in a
 * segment of its own. What is behind the hole must not be taken for torn when that one has gone. */
Test(recover, remembers_how_far_all_was_safe)
{
    for (int starts = 0; starts < 2; starts++) {
        struct seg_kit s[3];
        struct place hole;
        seg_kit_init(&s[0], 1, 0);
        seg_kit_batch(&s[0], 0);
        hole = seg_kit_msg(&s[0], 0, 1, 1, 30);
        seg_kit_msg(&s[0], 0, 1, 2, 30);
        seg_kit_end(&s[0]);
        seg_kit_init(&s[1], 2, 0);
        struct place torn = seg_kit_batch(&s[1], seg_kit_lsn(&s[1]));
        seg_kit_msg(&s[1], 0, 1, 3, 30);
        seg_kit_batch(&s[1], place_lsn(torn));
        seg_kit_init(&s[2], 3, 0);
        memset(s[0].bytes + hole.offset, 0xe5, 20);
        memset(s[1].bytes + torn.offset, 0xe5, 20);
        struct disk *d = saved(s, 3);
        struct err err;
        expect_alive(d, "1:2", "1:104-184");
        cr_expect(mem_disk_has(d, "journal/spare-00000003"));
        if (starts != 0)
            cr_expect(d->ops->remove(d, "journal/00000002.idx", &err));
        cr_expect(d->ops->remove(d, "journal/00000001.idx", &err));
        expect_alive(d, "1:2", "1:104-184");
        disk_free(&d);
    }
}

/* A torn settlement is as long as the batch that is written in its place: that must not make what
 * stands behind it count before the end is there. */
Test(recover, writes_its_end_before_it_speaks_for_what_is_before)
{
    for (unsigned op = 0; op < 8; op++) {
        struct seg_kit s;
        struct recovered out;
        struct err err;
        seg_kit_init(&s, 1, 0);
        seg_kit_batch(&s, 0);
        seg_kit_msg(&s, 0, 1, 1, 30);
        seg_kit_batch(&s, seg_kit_lsn(&s));
        struct place torn = seg_kit_settle(&s, 1, 1, 1);
        uint32_t behind = s.offset;
        seg_kit_msg(&s, 0, 1, 2, 30);
        cr_assert(eq(u32, behind - torn.offset, record_padded(RECORD_BATCH_BYTES)));
        memset(s.bytes + torn.offset, 0xe5, 8);
        struct disk *d = saved(&s, 1);
        struct recover_setup setup = { .disk = d };
        enum mem_disk_op what = op % 2 != 0 ? MEM_DISK_SYNC : MEM_DISK_WRITE;
        mem_disk_fail(d, what, op / 2, ERR_IO, false);
        if (recover_run(&setup, &out, &err))
            recovered_fini(&out);
        mem_disk_fail(d, what, 0, ERR_NONE, false);
        expect_alive(d, "1:1", "");
        disk_free(&d);
    }
}

Test(recover, makes_spares_of_segments_that_were_never_used)
{
    struct seg_kit s[3];
    for (uint32_t i = 0; i < 3; i++)
        seg_kit_init(&s[i], i + 4, 0);
    seg_kit_batch(&s[0], 0);
    seg_kit_msg(&s[0], 0, 1, 1, 10);
    memset(s[2].bytes + 64, 0xab, 4096); /* of its earlier life */
    struct disk *d = saved(s, 3);
    struct recover_kit k;
    recover_kit_run(&k, d, 2, true);
    cr_expect(mem_disk_has(d, "journal/00000005.seg"), "who only looks changes nothing");
    cr_expect(not(mem_disk_has(d, "journal/00000004.idx")));
    cr_expect(eq(sz, k.found.damage_count, 0));
    recover_kit_fini(&k);
    recover_kit_run(&k, d, 2, false);
    cr_expect(eq(u32, k.found.next_seg, 7));
    cr_expect(eq(int, segs_state(k.segs, 5), SEG_NONE));
    cr_expect(not(mem_disk_has(d, "journal/00000005.seg")));
    cr_expect(mem_disk_has(d, "journal/spare-00000005"));
    cr_expect(mem_disk_has(d, "journal/spare-00000006"));
    recover_kit_fini(&k);
    disk_free(&d);
}

/* What was read is synced, or another power cut would make lost data of it. */
Test(recover, syncs_what_it_builds_on)
{
    struct seg_kit s;
    struct err err;
    struct recovered out;
    seg_kit_init(&s, 1, 0);
    seg_kit_batch(&s, 0);
    seg_kit_msg(&s, 0, 1, 1, 10);
    struct disk *d = saved(&s, 1);
    struct recover_setup setup = { .disk = d };
    for (unsigned n = 0; n < 2; n++) {
        mem_disk_fail(d, MEM_DISK_SYNC, n, ERR_IO, false);
        cr_expect(not(recover_run(&setup, &out, &err)));
        cr_expect(eq(int, err.code, ERR_IO));
    }
    disk_free(&d);
}

/* ---- lost data --------------------------------------------------------------------------------
 */

Test(recover, tells_what_is_lost_by_its_neighbours)
{
    struct seg_kit s[2];
    struct place at[11];
    fill_two(s, at);
    memset(s[0].bytes + at[3].offset, 0x55, at[5].offset - at[3].offset);
    char want[80];
    snprintf(want, sizeof want, "1:%u-%u q1 4-4; 1:%u-%u q2 3-3", at[3].offset, at[5].offset,
             at[3].offset, at[5].offset);
    /* (q1 has the even numbers: 3 is missing between 2 and 4 of q1 too, but never was there.) */
    struct disk *d = saved(s, 2);
    struct recover_kit k;
    recover_kit_run(&k, d, 2, false);
    expect_text(alive(&k), "1:2 1:6 1:8 1:10 1:12 2:1 2:5 2:7 2:9");
    cr_expect(eq(sz, k.found.damage_count, 3));
    cr_expect(eq(u64, k.found.damages[0].qid, 1));
    cr_expect(eq(u64, k.found.damages[0].first_qseq, 3));
    cr_expect(eq(u64, k.found.damages[0].last_qseq, 5));
    cr_expect(eq(u64, k.found.damages[1].qid, 2));
    cr_expect(eq(u64, k.found.damages[1].first_qseq, 2));
    cr_expect(eq(u64, k.found.damages[1].last_qseq, 4));
    cr_expect(eq(u32, k.found.damages[0].from, at[3].offset));
    cr_expect(eq(u32, k.found.damages[0].to, at[5].offset));
    cr_expect(eq(int, segs_state(k.segs, 1), SEG_INDEXED));
    recover_kit_fini(&k);
    recover_kit_run(&k, d, 0, false);
    cr_expect(eq(sz, k.found.damage_count, 3), "also when the index is read");
    recover_kit_fini(&k);
    disk_free(&d);
}

Test(recover, tells_what_is_lost_by_the_index)
{
    struct seg_kit s[2];
    struct place at[11];
    struct err err;
    fill_two(s, at);
    struct disk *d = mem_disk_new();
    seg_kit_save(&s[0], d);
    seg_kit_save(&s[1], d);
    cr_assert(seg_index_build(d, 1, &err), "%s", err.text);
    size_t len;
    mem_disk_bytes(d, "journal/00000001.seg", &len)[at[4].offset + 30] ^= 4;
    struct recover_kit k;
    recover_kit_run(&k, d, 0, true);
    char want[80];
    snprintf(want, sizeof want, "1:%u-%u q1 4-4", at[4].offset, at[5].offset);
    expect_text(recover_kit_damages(&k), want);
    recover_kit_fini(&k);
    seg_kit_fini(&s[0]);
    seg_kit_fini(&s[1]);
    disk_free(&d);
}

/* Any flipped bit anywhere costs at most the one record it is in; of the header it costs nothing.
 */
Test(recover, loses_no_more_than_the_record_of_a_flipped_bit, .timeout = 300)
{
    struct seg_kit s[2];
    struct place at[11];
    fill_two(s, at);
    struct disk *whole = mem_disk_new();
    seg_kit_save(&s[0], whole);
    seg_kit_save(&s[1], whole);
    for (uint32_t bit = 0; bit < s[0].offset * 8; bit++) {
        struct disk *d = mem_disk_copy(whole);
        struct recover_kit k;
        size_t len, count;
        mem_disk_bytes(d, "journal/00000001.seg", &len)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        recover_kit_run(&k, d, 0, false);
        struct recover_alive *list = recover_kit_list(&k, &count);
        cr_assert(ge(sz, count, bit / 8 < SEGMENT_HEADER_BYTES ? 11 : 10), "bit %u", bit);
        cr_assert(count == 11 || k.found.damage_count != 0, "bit %u", bit);
        mem_free(list);
        recover_kit_fini(&k);
        disk_free(&d);
    }
    disk_free(&whole);
    seg_kit_fini(&s[0]);
    seg_kit_fini(&s[1]);
}

/* The file ends too early, anywhere: what was behind was safe, and is lost. */
Test(recover, tells_of_a_file_cut_short, .timeout = 300)
{
    struct seg_kit s[2];
    struct place at[11];
    fill_two(s, at);
    struct disk *whole = mem_disk_new();
    seg_kit_save(&s[0], whole);
    seg_kit_save(&s[1], whole);
    for (uint32_t len = 0; len < s[0].offset - PLACE_ALIGN + RECORD_END_BYTES % PLACE_ALIGN;
         len++) {
        struct disk *d = mem_disk_copy(whole);
        struct recover_kit k;
        size_t count, want = 1;
        for (unsigned i = 1; i <= 10; i++)
            want += len >= at[i].offset + record_length(s[0].bytes + at[i].offset);
        mem_disk_resize(d, "journal/00000001.seg", len);
        recover_kit_run(&k, d, 0, false);
        mem_free(recover_kit_list(&k, &count));
        cr_assert(eq(sz, count, want), "%u octets", len);
        cr_assert(ne(sz, k.found.damage_count, 0), "%u octets", len);
        recover_kit_fini(&k);
        disk_free(&d);
    }
    disk_free(&whole);
    seg_kit_fini(&s[0]);
    seg_kit_fini(&s[1]);
}

/* Sectors that cannot be read are holes; the rest of the file is taken. */
Test(recover, reads_around_what_cannot_be_read)
{
    struct seg_kit s;
    struct recover_kit k;
    seg_kit_init(&s, 1, 0);
    seg_kit_batch(&s, 0);
    for (uint64_t i = 0; i < 100; i++)
        seg_kit_msg(&s, 0, 1, i, 100);
    struct disk *d = saved(&s, 1);
    mem_disk_fail(d, MEM_DISK_READ, 1, ERR_IO, false); /* 0 is the header, 1 the whole */
    recover_kit_run(&k, d, 0, false);
    size_t count;
    mem_free(recover_kit_list(&k, &count));
    cr_expect(eq(sz, count, 100));
    recover_kit_fini(&k);
    disk_free(&d);
}
