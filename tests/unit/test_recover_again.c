/*
 * What a start makes of queues that are mirrored: messages that came again at positions that were
 * settled or cut off, epochs, and what was published last by whom.
 */
#include "mirror/mirror_history.h"
#include "recover_expect.h"
#include "store/seg_index.h"

static void put_by(struct seg_kit *k, unsigned flags, uint64_t qid, uint64_t qseq, uint64_t pid,
                   uint64_t seq)
{
    struct msg_target t = { .qid = qid, .qseq = qseq };
    seg_kit_msg_by(k, flags, &(struct msg_producer){ pid, seq }, &t, 1, 10);
}

static void init_three(struct seg_kit s[3])
{
    for (uint32_t i = 0; i < 3; i++)
        seg_kit_init(&s[i], i + 1, 0);
}

static struct disk *ended(struct seg_kit *s, size_t count)
{
    for (size_t i = 0; i < count; i++)
        seg_kit_end(&s[i]);
    return saved(s, count);
}

/* "epoch@starts.. now pid:seq.." */
static const char *history_of(const struct recover_kit *k, uint64_t qid)
{
    static char shown[1024];
    struct text t = text_over(shown, sizeof shown);
    for (size_t i = 0; i < k->found.queue_count; i++) {
        struct mirror_history h;
        if (k->found.queues[i].qid != qid)
            continue;
        recovered_history_take(&k->found.queues[i], &h);
        for (uint32_t e = 0; e < h.count; e++) {
            text_put(&t, "%lu@", h.epochs[e].epoch);
            for (uint32_t p = 0; p < h.epochs[e].starts.count; p++)
                text_put(&t, "%lu ", h.epochs[e].starts.items[p]);
        }
        text_str(&t, h.is_partial ? "partly now" : "now");
        for (uint32_t p = 0; p < h.now.count; p++)
            text_put(&t, " %lu:%lu", h.now.items[p].pid, h.now.items[p].seq);
        for (uint32_t p = 0; p < h.base_producers.count; p++)
            text_put(&t, " base %lu:%lu", h.base_producers.items[p].pid,
                     h.base_producers.items[p].seq);
        mirror_history_fini(&h);
        return shown;
    }
    return "no such queue";
}

/* By scanning, and then by the index files. */
static void expect_history(struct disk *d, uint64_t qid, const char *want)
{
    for (unsigned i = 0; i < 2; i++) {
        struct recover_kit k;
        recover_kit_run(&k, d, 0, false);
        expect_text(history_of(&k, qid), want);
        recover_kit_fini(&k);
    }
}

static void begin(struct mirror_history *h, uint64_t epoch, uint64_t next)
{
    struct mirror_starts starts = { 0 };
    mirror_starts_raise(&starts, next);
    mirror_history_begin(h, epoch, &starts);
    mirror_starts_fini(&starts);
}

Test(recover_again, counts_only_what_was_settled_behind_it)
{
    struct seg_kit s[3];
    init_three(s);
    for (uint64_t i = 1; i <= 6; i++)
        seg_kit_msg(&s[0], 0, 1, i, 10);
    seg_kit_settle(&s[1], 1, 1, 5);
    seg_kit_msg(&s[1], MSG_AGAIN, 1, 1, 20); /* settled before, in the same segment */
    seg_kit_msg(&s[1], MSG_AGAIN, 1, 2, 20);
    seg_kit_settle(&s[1], 1, 2, 2);          /* and behind it */
    seg_kit_msg(&s[2], MSG_AGAIN, 1, 3, 20); /* in an older one */
    seg_kit_msg(&s[2], MSG_AGAIN, 1, 4, 20);
    seg_kit_settle(&s[2], 1, 4, 4);
    seg_kit_msg(&s[2], MSG_AGAIN, 1, 6, 20); /* never was settled */
    struct disk *d = ended(s, 3);
    expect_alive(d, "1:1 1:3 1:6", "");
    struct recover_kit k;
    recover_kit_run(&k, d, 0, false);
    size_t count;
    struct recover_alive *list = recover_kit_list(&k, &count);
    for (size_t i = 0; i < count; i++)
        cr_expect(eq(u64, list[i].body_bytes, 20), "the new one is there");
    mem_free(list);
    cr_expect(eq(u64, recover_kit_level(&k, 1, 0)->settled_end, 6));
    cr_expect(eq(sz, k.found.state_ref_count, 2), "what came again is no state");
    recover_kit_fini(&k);
    disk_free(&d);
}

/* How often the message before it came back says nothing of it. */
Test(recover_again, was_returned_only_behind_it)
{
    struct seg_kit s[3];
    struct recover_kit k;
    init_three(s);
    for (uint64_t i = 1; i <= 3; i++) {
        seg_kit_msg(&s[0], 0, 1, i, 10);
        seg_kit_returns(&s[0], 1, i, 4);
    }
    seg_kit_settle(&s[0], 1, 1, 2);
    seg_kit_msg(&s[0], MSG_AGAIN, 1, 1, 10);
    seg_kit_msg(&s[1], MSG_AGAIN, 1, 2, 10);
    seg_kit_returns(&s[1], 1, 2, 1);
    seg_kit_msg(&s[2], MSG_AGAIN | MSG_MOVED | MSG_RETURNS, 1, 2, 10); /* says three by itself */
    struct disk *d = ended(s, 3);
    for (unsigned i = 0; i < 2; i++) {
        recover_kit_run(&k, d, 0, false);
        const struct recovered_level *level = recover_kit_level(&k, 1, 0);
        cr_assert(eq(sz, level->entry_count, 3));
        cr_expect(eq(u32, level->entries[0].returns, 0));
        cr_expect(eq(u32, level->entries[1].returns, 3));
        cr_expect(eq(u32, level->entries[2].returns, 4));
        recover_kit_fini(&k);
    }
    disk_free(&d);
}

Test(recover_again, moves_with_the_message)
{
    struct seg_kit s[3];
    init_three(s);
    seg_kit_msg(&s[0], 0, 1, 1, 10);
    seg_kit_settle(&s[1], 1, 1, 1);
    seg_kit_msg(&s[2], MSG_AGAIN | MSG_MOVED, 1, 1, 20);
    struct disk *d = ended(s, 3);
    expect_alive(d, "1:1", "");
    disk_free(&d);
}

/* A run goes over what came again as over any other. */
Test(recover_again, makes_runs_of_what_came_again)
{
    struct seg_kit s[2];
    struct recover_kit k;
    seg_kit_init(&s[0], 1, 0);
    seg_kit_init(&s[1], 2, 0);
    for (uint64_t i = 0; i < 300; i++)
        seg_kit_msg(&s[0], 0, 1, i, 10);
    seg_kit_settle(&s[0], 1, 0, 299);
    for (uint64_t i = 0; i < 300; i++)
        seg_kit_msg(&s[1], MSG_AGAIN, 1, i, 10);
    struct disk *d = ended(s, 2);
    for (unsigned i = 0; i < 2; i++) {
        recover_kit_run(&k, d, 0, false);
        const struct recovered_level *level = recover_kit_level(&k, 1, 0);
        cr_assert(eq(sz, level->run_count, 1));
        cr_expect(eq(u32, level->runs[0].count, 300));
        cr_expect(eq(u32, level->runs[0].seg, 2));
        recover_kit_fini(&k);
    }
    disk_free(&d);
}

/* Of a position the latest message counts, also when it does not outlive the start. */
Test(recover_again, shows_no_older_message_of_the_position)
{
    struct seg_kit s[2];
    seg_kit_init(&s[0], 1, 0);
    seg_kit_init(&s[1], 2, 0);
    seg_kit_msg(&s[0], 0, 1, 1, 10);
    seg_kit_msg(&s[0], 0, 1, 2, 10);
    seg_kit_msg(&s[1], MSG_TRANSIENT, 1, 1, 10);
    struct disk *d = ended(s, 2);
    expect_alive(d, "1:2", "");
    disk_free(&d);
}

Test(recover_again, takes_what_is_cut_off_for_settled)
{
    struct seg_kit s[3];
    struct mirror_history h = { 0 };
    struct recover_kit k;
    const struct settle_range cut = { 5, 9 };
    init_three(s);
    for (uint64_t i = 1; i <= 9; i++)
        seg_kit_msg(&s[0], 0, 1, i, 10);
    begin(&h, 3, 5);
    seg_kit_epoch(&s[1], 1, &cut, 1, &h);
    seg_kit_msg(&s[1], MSG_AGAIN, 1, 5, 20);
    seg_kit_msg(&s[2], MSG_AGAIN, 1, 6, 20);
    struct disk *d = ended(s, 3);
    expect_alive(d, "1:1 1:2 1:3 1:4 1:5 1:6", "");
    for (unsigned i = 0; i < 2; i++) {
        recover_kit_run(&k, d, 0, false);
        const struct recovered_level *level = recover_kit_level(&k, 1, 0);
        cr_expect(eq(u64, level->next_new, 7), "it goes on where it was cut");
        cr_expect(eq(u64, level->settled_end, 10));
        cr_expect(eq(sz, k.found.state_ref_count, 1));
        cr_expect(eq(u32, k.found.queues[0].state_seg, 2));
        recover_kit_fini(&k);
    }
    mirror_history_fini(&h);
    disk_free(&d);
}

/* What stands before the cut in its own segment raises nothing. */
Test(recover_again, goes_on_at_the_cut_when_all_stands_in_one_segment)
{
    struct seg_kit s;
    struct mirror_history h = { 0 };
    struct recover_kit k;
    const struct settle_range cuts[] = { { 5, 9 },
                                         { (UINT64_C(4) << 56) + 2, (UINT64_C(4) << 56) + 2 } };
    seg_kit_init(&s, 1, 0);
    for (uint64_t i = 1; i <= 9; i++)
        seg_kit_msg(&s, 0, 1, i, 10);
    seg_kit_msg(&s, 0, 1, (UINT64_C(4) << 56) + 2, 10);
    seg_kit_settle(&s, 1, 7, 8);
    begin(&h, 3, 5);
    seg_kit_epoch(&s, 1, cuts, 2, &h);
    seg_kit_msg(&s, 0, 2, 77, 10);
    seg_kit_msg(&s, MSG_AGAIN, 1, 5, 10);
    struct disk *d = ended(&s, 1);
    for (unsigned i = 0; i < 2; i++) {
        recover_kit_run(&k, d, 0, false);
        expect_text(alive(&k), "1:1 1:2 1:3 1:4 1:5 2:77");
        cr_expect(eq(u64, recover_kit_level(&k, 1, 0)->next_new, 6));
        cr_expect(eq(u64, recover_kit_level(&k, 1, 4)->next_new, (UINT64_C(4) << 56) + 2));
        cr_expect(eq(u64, recover_kit_level(&k, 2, 0)->next_new, 78));
        recover_kit_fini(&k);
    }
    mirror_history_fini(&h);
    disk_free(&d);
}

/* A copy that begins anew: also what nobody knows of any more is to be void. */
Test(recover_again, cuts_off_a_whole_priority)
{
    struct seg_kit s[2];
    struct mirror_history h = { 0 };
    struct recover_kit k;
    const uint64_t base = UINT64_C(4) << 56, last = base + (UINT64_C(1) << 56) - 1;
    const struct settle_range cut = { base, last };
    seg_kit_init(&s[0], 1, 0);
    seg_kit_init(&s[1], 2, 0);
    seg_kit_msg(&s[0], 0, 1, 3, 10);
    seg_kit_msg(&s[0], 0, 1, base + 9, 10);
    seg_kit_epoch(&s[1], 1, &cut, 1, &h);
    seg_kit_msg(&s[1], MSG_AGAIN, 1, base, 20);
    struct disk *d = ended(s, 2);
    for (unsigned i = 0; i < 2; i++) {
        recover_kit_run(&k, d, 0, false);
        cr_expect(eq(u64, k.found.message_count, 2));
        cr_expect(eq(u64, recover_kit_level(&k, 1, 0)->next_new, 4));
        cr_expect(eq(u64, recover_kit_level(&k, 1, 4)->next_new, base + 1));
        cr_expect(eq(u64, recover_kit_level(&k, 1, 4)->settled_end, last));
        recover_kit_fini(&k);
    }
    mirror_history_fini(&h);
    disk_free(&d);
}

/* Ranges of priorities that follow each other are one, and each of them is settled to its end. */
Test(recover_again, cuts_off_all_that_there_can_be)
{
    struct seg_kit s;
    struct mirror_history h = { 0 };
    struct recover_kit k;
    struct settle_range cuts[4];
    for (uint64_t p = 0; p < 4; p++)
        cuts[p] = (struct settle_range){ p << 56, (p << 56) + (UINT64_C(1) << 56) - 1 };
    seg_kit_init(&s, 1, 0);
    seg_kit_msg(&s, 0, 1, 3, 10);
    seg_kit_epoch(&s, 1, cuts, 4, &h);
    struct disk *d = ended(&s, 1);
    for (unsigned i = 0; i < 2; i++) {
        recover_kit_run(&k, d, 0, false);
        cr_expect(eq(u64, k.found.message_count, 0));
        for (uint8_t p = 0; p < 4; p++) {
            cr_assert(recover_kit_level(&k, 1, p) != NULL, "priority %u", p);
            cr_expect(eq(u64, recover_kit_level(&k, 1, p)->next_new, cuts[p].first));
            cr_expect(eq(u64, recover_kit_level(&k, 1, p)->settled_end, cuts[p].last));
        }
        recover_kit_fini(&k);
    }
    mirror_history_fini(&h);
    disk_free(&d);
}

/* A copy is whole up to its next position: marks run ahead of that. */
Test(recover_again, lets_no_mark_move_a_copy)
{
    struct seg_kit s;
    struct mirror_history h = { 0 };
    struct recover_kit k;
    seg_kit_init(&s, 1, 0);
    for (uint64_t qid = 1; qid <= 3; qid++) {
        seg_kit_msg(&s, 0, qid, 1, 10);
        seg_kit_mark(&s, SETTLE_AHEAD, qid, 100);
    }
    seg_kit_epoch(&s, 2, NULL, 0, &h); /* it is not mirrored, and never was */
    begin(&h, 3, 1);
    seg_kit_epoch(&s, 3, NULL, 0, &h);
    struct disk *d = ended(&s, 1);
    recover_kit_run(&k, d, 0, false);
    cr_expect(eq(u64, recover_kit_level(&k, 1, 0)->next_new, 100));
    cr_expect(eq(u64, recover_kit_level(&k, 2, 0)->next_new, 100));
    cr_expect(eq(u64, recover_kit_level(&k, 3, 0)->next_new, 2));
    recover_kit_fini(&k);
    mirror_history_fini(&h);
    disk_free(&d);
}

Test(recover_again, knows_the_last_epoch_and_the_numbers_behind_it)
{
    struct seg_kit s[3];
    struct mirror_history h = { 0 };
    init_three(s);
    put_by(&s[0], 0, 1, 1, 70, 1);
    put_by(&s[0], 0, 1, 2, 71, 9);
    put_by(&s[0], 0, 2, 1, 70, 5);
    mirror_history_saw(&h, 1, 70, 1);
    begin(&h, 3, 2);
    put_by(&s[1], 0, 1, 3, 71, 10);
    seg_kit_epoch(&s[1], 1, NULL, 0, &h); /* 71 was cut off, say */
    put_by(&s[1], 0, 1, 2, 72, 4);
    put_by(&s[2], 0, 1, 4, 72, 6);
    put_by(&s[2], 0, 1, 5, 70, 2);
    put_by(&s[2], MSG_MOVED, 1, 6, 71, 11);
    struct disk *d = ended(s, 3);
    expect_history(d, 1, "3@2 now 70:2 72:6");
    expect_history(d, 2, "now 70:5");
    struct recover_kit k;
    recover_kit_run(&k, d, 0, false);
    cr_expect(eq(sz, k.found.state_ref_count, 4), "each segment that knows numbers is a state's");
    recover_kit_fini(&k);
    mirror_history_fini(&h);
    disk_free(&d);
}

Test(recover_again, takes_the_last_of_two_epochs_in_one_segment)
{
    struct seg_kit s;
    struct mirror_history h = { 0 };
    seg_kit_init(&s, 1, 0);
    put_by(&s, 0, 1, 1, 70, 1);
    begin(&h, 3, 2);
    seg_kit_epoch(&s, 1, NULL, 0, &h);
    put_by(&s, 0, 1, 2, 71, 2);
    begin(&h, 4, 3);
    seg_kit_epoch(&s, 1, NULL, 0, &h);
    put_by(&s, 0, 1, 3, 72, 3);
    struct disk *d = ended(&s, 1);
    expect_history(d, 1, "3@2 4@3 now 72:3");
    mirror_history_fini(&h);
    disk_free(&d);
}

/* Numbers behind an epoch are beyond the base of a copy that is not whole: it must not claim what
 * it would give up. */
Test(recover_again, adds_nothing_to_the_base_of_a_copy)
{
    struct seg_kit s;
    struct mirror_history h = { 0 };
    seg_kit_init(&s, 1, 0);
    h.is_partial = true;
    mirror_starts_raise(&h.base, 9);
    producers_saw(&h.base_producers, 70, 4);
    producers_saw(&h.now, 70, 4);
    seg_kit_epoch(&s, 1, NULL, 0, &h);
    put_by(&s, 0, 1, 12, 70, 8);
    struct disk *d = ended(&s, 1);
    expect_history(d, 1, "partly now 70:8 base 70:4");
    mirror_history_fini(&h);
    disk_free(&d);
}

/* One that cannot be understood, though its check is right, is lost as a record is that is damaged.
 */
Test(recover_again, takes_an_epoch_that_makes_no_sense_for_damage)
{
    struct seg_kit s[2];
    uint8_t record[64];
    seg_kit_init(&s[0], 1, 0);
    seg_kit_init(&s[1], 2, 0);
    seg_kit_msg(&s[0], 0, 1, 1, 10);
    size_t n = record_put_epoch(record, 1, NULL, 0, 3);
    memcpy(record + n, "\xff\xff\xff", 3);
    struct slice part = slice_of(record, n + 3);
    struct place at = seg_kit_put(&s[0], &part, 1);
    seg_kit_end(&s[0]);
    seg_kit_batch(&s[1], seg_kit_lsn(&s[0]));
    struct disk *d = saved(s, 2);
    struct recover_kit k;
    recover_kit_run(&k, d, 0, false);
    expect_text(alive(&k), "1:1");
    cr_assert(eq(sz, k.found.damage_count, 1));
    cr_expect(eq(u32, k.found.damages[0].from, at.offset));
    recover_kit_fini(&k);
    disk_free(&d);
}

/* Who is forgotten when there are too many is who was silent for longest, over all segments. */
Test(recover_again, forgets_the_producer_that_was_silent_for_longest, .timeout = 300)
{
    struct seg_kit s[2];
    struct recover_kit k;
    struct mirror_history h;
    for (uint32_t i = 0; i < 2; i++)
        seg_kit_init(&s[i], i + 1, 4 << 20);
    for (uint64_t i = 0; i <= PRODUCERS_MAX; i++)
        put_by(&s[i / 12000], 0, 1, i, 100000 - i, 1);
    struct disk *d = ended(s, 2);
    for (unsigned i = 0; i < 2; i++) {
        recover_kit_run(&k, d, 0, false);
        recovered_history_take(&k.found.queues[0], &h);
        cr_expect(le(u32, h.now.count, PRODUCERS_MAX));
        cr_expect(eq(u64, producers_last(&h.now, 100000), 0));
        cr_expect(eq(u64, producers_last(&h.now, 100000 - PRODUCERS_MAX), 1));
        cr_expect(eq(u64, producers_last(&h.now, 100000 - PRODUCERS_MAX / 2), 1));
        mirror_history_fini(&h);
        recover_kit_fini(&k);
    }
    disk_free(&d);
}
