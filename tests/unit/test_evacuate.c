#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"
#include "mem_disk.h"
#include "seg_kit.h"
#include "store/evacuate.h"
#include "store/journal.h"

#include <stdio.h>

TestSuite(evacuate, .timeout = 300);

#define SEG_BYTES ((uint64_t)1000)

static struct evacuate_seg seg(uint32_t number, int64_t put, int64_t alive)
{
    return (struct evacuate_seg){ number, true, SEG_BYTES, put, alive };
}

static uint32_t choose(const struct evacuate_seg *list, size_t count, bool is_short)
{
    return evacuate_choose(list, count, &(struct evacuate_rule){ SEG_BYTES, 0, is_short });
}

/* ---- what is alive ---- */

Test(evacuate, counts_the_share_that_is_alive)
{
    struct evacuate_seg s = seg(1, 1000, 250);
    cr_expect(eq(u64, evacuate_alive_bytes(&s), 250));
    s = seg(1, 1000, 1000);
    cr_expect(eq(u64, evacuate_alive_bytes(&s), 1000));
    s = seg(1, 3000, 1500); /* in three queues each: a half is left */
    cr_expect(eq(u64, evacuate_alive_bytes(&s), 500));
    s = seg(1, 100, 100); /* full of settlements, with one message among them */
    cr_expect(eq(u64, evacuate_alive_bytes(&s), 100));
    s = seg(1, 0, 0);
    cr_expect(eq(u64, evacuate_alive_bytes(&s), 0));
    s = seg(1, 1000, -5); /* counts lag */
    cr_expect(eq(u64, evacuate_alive_bytes(&s), 0));
}

/* ---- which one goes ---- */

Test(evacuate, leaves_small_nodes_alone)
{
    struct evacuate_seg list[EVACUATE_SLACK];
    for (uint32_t i = 0; i < EVACUATE_SLACK; i++)
        list[i] = seg(i + 1, 1000, 1);
    for (uint32_t n = 0; n <= EVACUATE_SLACK; n++)
        cr_expect(eq(u32, choose(list, n, false), 0), "%u segments", n);
    struct evacuate_rule spares = { SEG_BYTES, 3 * SEG_BYTES, false };
    cr_expect(ne(u32, evacuate_choose(list, EVACUATE_SLACK, &spares), 0), "spares count");
}

Test(evacuate, takes_the_one_with_the_smallest_share)
{
    struct evacuate_seg list[40];
    for (uint32_t i = 0; i < 40; i++)
        list[i] = seg(i + 1, 1000, 300);
    list[17].alive_bytes = 20;
    list[23].alive_bytes = 10;
    cr_expect(eq(u32, choose(list, 40, false), 24));
    list[23].may_go = false;
    cr_expect(eq(u32, choose(list, 40, false), 18));
}

Test(evacuate, does_not_move_what_is_mostly_alive)
{
    struct evacuate_seg list[60];
    for (uint32_t i = 0; i < 60; i++)
        list[i] = seg(i + 1, 1000, 900);
    cr_expect(eq(u32, choose(list, 60, false), 0), "within bounds");
    cr_expect(eq(u32, choose(list, 60, true), 0), "it would give next to nothing");
    list[5].alive_bytes = 600;
    cr_expect(eq(u32, choose(list, 60, false), 0));
    cr_expect(eq(u32, choose(list, 60, true), 6), "there is no room for more");
}

/* Whatever happens, what is moved ends, and the bound holds then: each message that is moved is
 * packed into new segments, which are wholly alive. */
Test(evacuate, keeps_disk_use_within_its_bound)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct evacuate_seg list[2000];
        size_t count = 40 + rng_below(&rng, 100);
        uint64_t packed = 0;
        for (size_t i = 0; i < count; i++)
            list[i] = seg((uint32_t)i + 1, 1000, (int64_t)rng_below(&rng, 1001));
        uint32_t next = (uint32_t)count + 1;
        uint32_t victim;
        unsigned moves = 0;
        while ((victim = choose(list, count, false)) != 0) {
            cr_assert(moves++ < 1000, "seed %llu", (unsigned long long)seed);
            for (size_t i = 0; i < count; i++) {
                if (list[i].seg != victim)
                    continue;
                packed += (uint64_t)list[i].alive_bytes;
                list[i] = list[--count];
                break;
            }
            while (packed >= SEG_BYTES) {
                list[count++] = seg(next++, 1000, 1000);
                packed -= SEG_BYTES;
            }
        }
        uint64_t used = packed;
        uint64_t alive = packed;
        for (size_t i = 0; i < count; i++) {
            used += list[i].bytes;
            alive += evacuate_alive_bytes(&list[i]);
        }
        cr_expect(used <= EVACUATE_TENTHS * alive / 10 + EVACUATE_SLACK * SEG_BYTES);
    }
}

/* ---- what stands in it ---- */

static void read_it(struct seg_kit *k, struct disk *d, struct evacuation *e)
{
    struct err err = { 0 };
    seg_kit_save(k, d);
    cr_assert(evacuate_read(d, k->header.seg, e, &err), "%s", err.text);
}

Test(evacuate, lists_a_segment_by_queue_and_in_its_order)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct evacuation e;
    seg_kit_init(&k, 9, 0);
    seg_kit_batch(&k, 0);
    const struct msg_target both[] = { { .qid = 5, .qseq = 7 }, { .qid = 3, .qseq = 1 } };
    struct place p1 = seg_kit_msg_to(&k, 0, both, 2, 100);
    struct place p2 = seg_kit_msg(&k, MSG_EXPIRES | MSG_RETURNS, 3, 2, 200);
    seg_kit_settle(&k, 3, 1, 1);
    struct place p3 = seg_kit_msg(&k, MSG_TRANSIENT, 5, 6, 0);
    seg_kit_end(&k);
    read_it(&k, d, &e);

    cr_expect(eq(u32, e.bad_offset, 0));
    cr_assert(eq(sz, e.count, 4));
    cr_assert(eq(sz, e.queue_count, 2));
    cr_expect(eq(u64, e.queues[0].qid, 3));
    cr_expect(eq(u32, e.queues[0].first, 0));
    cr_expect(eq(u32, e.queues[0].count, 2));
    cr_expect(eq(u64, e.queues[1].qid, 5));
    cr_expect(eq(u32, e.queues[1].first, 2));
    cr_expect(eq(u64, e.items[0].qseq, 1));
    cr_expect(eq(u32, e.items[0].offset, p1.offset));
    cr_expect(eq(u64, e.items[1].qseq, 2));
    cr_expect(eq(u32, e.items[1].offset, p2.offset));
    cr_expect(eq(u64, e.items[1].body_bytes, 200));
    cr_expect(eq(u64, e.items[1].expires_ms, 1700000000002));
    cr_expect(eq(u32, e.items[1].returns, 3));
    cr_expect(e.items[1].is_persistent);
    cr_expect(eq(u64, e.items[2].qseq, 6));
    cr_expect(e.items[2].is_persistent == false);
    cr_expect(eq(u32, e.items[2].offset, p3.offset));

    const bool all[] = { true, true };
    const bool second[] = { false, true };
    uint32_t *order;
    cr_assert(eq(sz, evacuate_order(&e, all, &order), 4));
    cr_expect(eq(u32, e.items[order[0]].offset, p1.offset));
    cr_expect(eq(u32, e.items[order[1]].offset, p1.offset));
    cr_expect(eq(u32, e.items[order[2]].offset, p2.offset));
    cr_expect(eq(u32, e.items[order[3]].offset, p3.offset));
    mem_free(order);
    cr_assert(eq(sz, evacuate_order(&e, second, &order), 2));
    cr_expect(eq(u64, e.items[order[0]].qseq, 7));
    cr_expect(eq(u64, e.items[order[1]].qseq, 6));
    mem_free(order);
    evacuation_fini(&e);
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(evacuate, of_two_records_of_a_position_takes_the_later)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct evacuation e;
    seg_kit_init(&k, 9, 0);
    seg_kit_msg(&k, 0, 3, 1, 10);
    struct place later = seg_kit_msg(&k, MSG_MOVED, 3, 1, 10);
    seg_kit_end(&k);
    read_it(&k, d, &e);
    cr_assert(eq(sz, e.count, 1));
    cr_expect(eq(u32, e.items[0].offset, later.offset));
    evacuation_fini(&e);
    seg_kit_fini(&k);
    disk_free(&d);
}

/* Behind END may stand anything: what an earlier life of the file left there is not looked at. */
Test(evacuate, ends_where_the_segment_does)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct evacuation e;
    seg_kit_init(&k, 9, 0);
    seg_kit_msg(&k, 0, 3, 1, 10);
    seg_kit_end(&k);
    memset(k.bytes + k.offset, 0xEE, k.header.bytes - k.offset);
    read_it(&k, d, &e);
    cr_expect(eq(sz, e.count, 1));
    cr_expect(eq(u32, e.bad_offset, 0));
    evacuation_fini(&e);
    seg_kit_fini(&k);
    disk_free(&d);
}

/* A record that is damaged hides none of the others. */
Test(evacuate, finds_what_stands_behind_damage)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct evacuation e;
    struct place at[20];
    seg_kit_init(&k, 9, 0);
    for (unsigned i = 0; i < 20; i++)
        at[i] = seg_kit_msg(&k, 0, 3, i, 10 * i);
    seg_kit_end(&k);
    k.bytes[at[7].offset] ^= 0xFF; /* its length */
    k.bytes[at[12].offset + 40] ^= 1;
    read_it(&k, d, &e);
    cr_expect(eq(sz, e.count, 18));
    cr_expect(eq(u32, e.bad_offset, at[7].offset));
    for (size_t i = 0; i < e.count; i++)
        cr_expect(e.items[i].qseq != 7 && e.items[i].qseq != 12);
    evacuation_fini(&e);
    seg_kit_fini(&k);
    disk_free(&d);
}

Test(evacuate, says_when_a_segment_cannot_be_read)
{
    struct disk *d = mem_disk_new();
    struct seg_kit k;
    struct evacuation e;
    struct err err = { 0 };
    cr_expect(evacuate_read(d, 9, &e, &err) == false);
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    seg_kit_init(&k, 9, 0);
    seg_kit_msg(&k, 0, 3, 1, 10);
    k.bytes[20] ^= 1;
    seg_kit_save(&k, d);
    cr_expect(evacuate_read(d, 9, &e, &err) == false);
    cr_expect(eq(int, err.code, ERR_PROTOCOL));
    k.bytes[20] ^= 1;
    seg_kit_save(&k, d);
    mem_disk_fail(d, MEM_DISK_READ, 0, ERR_IO, false);
    cr_expect(evacuate_read(d, 9, &e, &err) == false);
    cr_expect(eq(int, err.code, ERR_PROTOCOL), "it stays so");
    cr_expect(evacuate_read(d, 9, &e, &err));
    evacuation_fini(&e);
    seg_kit_fini(&k);
    disk_free(&d);
}
