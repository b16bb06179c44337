/*
 * A folder of before queues were mirrored is taken over: what was in it is there, its index files
 * are good, and from then on it is one of today, which the program that wrote it refuses.
 */
#include "format_1.h"

#include "recover_expect.h"
#include "store/data_dir.h"
#include "store/seg_index.h"

#define SEG_1 "journal/00000001.seg"
#define SEG_2 "journal/00000002.seg"
#define IDX_1 "journal/00000001.idx"

static void put_segment(struct disk *d, const char *name, struct slice octets)
{
    uint8_t whole[FORMAT_1_SEG_BYTES] = { 0 };
    memcpy(whole, octets.ptr, octets.len);
    mem_disk_put(d, name, slice_of(whole, sizeof whole));
}

static struct disk *old_folder(void)
{
    struct disk *d = mem_disk_new();
    mem_disk_put(d, "store", slice_of(format_1_store, sizeof format_1_store));
    put_segment(d, SEG_1, slice_of(format_1_seg_1, sizeof format_1_seg_1));
    put_segment(d, SEG_2, slice_of(format_1_seg_2, sizeof format_1_seg_2));
    mem_disk_put(d, IDX_1, slice_of(format_1_idx_1, sizeof format_1_idx_1));
    return d;
}

static uint8_t format_of_folder(struct disk *d)
{
    uint8_t head[12] = { 0 };
    size_t got;
    struct err err;
    struct disk_file *f = d->ops->open(d, "store", DISK_READ, &err);
    cr_assert(f != NULL && d->ops->read(f, 0, head, sizeof head, &got, &err));
    d->ops->close(&f);
    return head[8];
}

Test(format_1, is_taken_over_at_the_first_start)
{
    struct disk *d = old_folder();
    struct data_dir dir;
    struct err err = { 0 };
    cr_assert(data_dir_look(d, "folder", &dir, &err), "%s", err.text);
    cr_expect(eq(u32, dir.incarnation, 1));
    cr_expect(eq(int, format_of_folder(d), 1), "who looks changes nothing");
    cr_assert(data_dir_start(d, "folder", "node1", &dir, &err), "%s", err.text);
    cr_expect(eq(u32, dir.incarnation, 2));
    cr_expect(not(dir.is_new));
    cr_expect(eq(int, format_of_folder(d), STORE_FORMAT));
    cr_assert(data_dir_start(d, "folder", "node1", &dir, &err), "%s", err.text);
    cr_expect(eq(u32, dir.incarnation, 3));
    disk_free(&d);
}

static void expect_all(struct recover_kit *k)
{
    size_t count;
    struct recover_alive *list = recover_kit_list(k, &count);
    cr_assert(eq(sz, count, 4));
    cr_expect(list[0].qid == 1 && list[0].qseq == 1 && list[0].redelivered);
    cr_expect(list[1].qid == 1 && list[1].qseq == 2 && list[1].redelivered);
    cr_expect(list[1].returns == 3 && list[1].expires_ms == 1700000000002);
    cr_expect(list[2].qid == 1 && list[2].qseq == 5 && !list[2].redelivered);
    cr_expect(list[3].qid == 2 && list[3].qseq == (UINT64_C(4) << 56) + 1 && list[3].returns == 5);
    mem_free(list);
    cr_expect(eq(u64, recover_kit_level(k, 1, 0)->next_new, 6));
    cr_expect(eq(u64, recover_kit_level(k, 1, 0)->settled_end, 4));
    for (size_t i = 0; i < k->found.queue_count; i++)
        cr_expect(k->found.queues[i].history == NULL);
    expect_text(recover_kit_damages(k), "");
}

Test(format_1, has_what_was_in_its_journal)
{
    struct disk *d = old_folder();
    struct recover_kit k;
    recover_kit_run(&k, d, 0, true);
    expect_all(&k);
    recover_kit_fini(&k);
    recover_kit_run(&k, d, 0, false);
    expect_all(&k);
    cr_expect(eq(sz, k.found.index_count, 1), "its index file is good");
    cr_expect(eq(sz, k.found.bad_index_count, 0));
    recover_kit_fini(&k);
    recover_kit_run(&k, d, 0, false);
    expect_all(&k);
    recover_kit_fini(&k);
    disk_free(&d);
}
