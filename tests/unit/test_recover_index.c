#include "base/mem.h"
#include "mem_disk.h"
#include "recover_expect.h"
#include "recover_kit.h"
#include "seg_kit.h"
#include "store/journal.h"
#include "store/recover.h"
#include "store/seg_index.h"

/* ---- index files ------------------------------------------------------------------------------
 */

Test(recover_index, makes_an_index_again_that_is_missing_or_damaged, .timeout = 300)
{
    struct seg_kit s[2];
    struct place at[11];
    fill_two(s, at);
    struct disk *d = saved(s, 2);
    const char *want = "1:2 1:4 1:6 1:8 1:10 1:12 2:1 2:3 2:5 2:7 2:9";
    const char *name = "journal/00000001.idx";
    size_t len;
    expect_alive(d, want, "");
    (void)mem_disk_bytes(d, name, &len);
    for (size_t i = 0; i < len; i += 3) {
        mem_disk_bytes(d, name, &len)[i] ^= 0x10;
        struct recover_kit k;
        recover_kit_run(&k, d, 0, false);
        cr_expect(eq(u64, k.found.message_count, 11), "octet %zu", i);
        recover_kit_fini(&k);
        mem_disk_bytes(d, name, &len)[i] ^= 0x10; /* lists are looked at when they are read */
    }
    mem_disk_resize(d, name, len - 1);
    expect_alive(d, want, "");
    /* That of another life of the file, with the same number. */
    seg_kit_init(&s[0], 1, 4096);
    s[0].header.salt++;
    segment_header_put(s[0].bytes, &s[0].header);
    seg_kit_msg(&s[0], 0, 1, 2, 10);
    seg_kit_end(&s[0]);
    seg_kit_save(&s[0], d);
    seg_kit_fini(&s[0]);
    expect_alive(d, "1:2 1:12", "");
    disk_free(&d);
}

/* After a power cut the index was on the disk, and the end of its segment was not. */
Test(recover_index, believes_no_index_of_what_was_not_durable)
{
    struct seg_kit s;
    struct err err;
    seg_kit_init(&s, 1, 4096);
    seg_kit_batch(&s, 0);
    seg_kit_msg(&s, 0, 1, 1, 30);
    uint32_t durable = s.offset;
    seg_kit_batch(&s, seg_kit_lsn(&s));
    seg_kit_msg(&s, 0, 1, 2, 30);
    seg_kit_end(&s);
    struct disk *d = saved(&s, 1);
    cr_assert(seg_index_build(d, 1, &err), "%s", err.text);
    size_t len;
    memset(mem_disk_bytes(d, "journal/00000001.seg", &len) + durable, 0, 4096 - durable);
    expect_alive(d, "1:1", "");
    disk_free(&d);
}

Test(recover_index, goes_on_without_index_files_on_a_full_disk)
{
    struct seg_kit s;
    struct recover_kit k;
    struct disk *d;
    seg_kit_init(&s, 1, 0);
    for (uint64_t i = 0; i < 200; i++)
        seg_kit_msg(&s, 0, 1, i, 20);
    seg_kit_end(&s);
    d = saved(&s, 1);
    mem_disk_fail(d, MEM_DISK_WRITE, 1, ERR_LIMIT, true); /* 0 is the tail, once more */
    recover_kit_run(&k, d, 0, false);
    cr_expect(eq(int, segs_state(k.segs, 1), SEG_SEALED));
    cr_expect(eq(sz, recover_kit_level(&k, 1, 0)->run_count, 0));
    cr_expect(eq(sz, recover_kit_level(&k, 1, 0)->entry_count, 200));
    cr_expect(not(mem_disk_has(d, "journal/00000001.idx")));
    recover_kit_fini(&k);
    disk_free(&d);
}

Test(recover_index, refuses_segments_of_another_store)
{
    struct seg_kit s[2];
    struct err err;
    struct recovered out;
    seg_kit_init(&s[0], 1, 0);
    seg_kit_init(&s[1], 2, 0);
    s[1].header.store_id[3] ^= 1;
    segment_header_put(s[1].bytes, &s[1].header);
    struct disk *d = saved(s, 2);
    struct recover_setup setup = { .disk = d };
    cr_expect(not(recover_run(&setup, &out, &err)));
    cr_expect(eq(int, err.code, ERR_REFUSED));
    cr_expect(mem_disk_has(d, "journal/00000001.seg"), "nothing was changed");
    disk_free(&d);
}

Test(recover_index, looks_at_other_files_not_at_all)
{
    struct disk *d = mem_disk_new();
    struct recover_kit k;
    mem_disk_put(d, "journal/spare-00000001", slice_str("x"));
    mem_disk_put(d, "journal/0000000G.seg", slice_str("x"));
    mem_disk_put(d, "journal/00000000.seg", slice_str("x"));
    mem_disk_put(d, "journal/000000001.seg", slice_str("x"));
    recover_kit_run(&k, d, 0, false);
    cr_expect(eq(u64, k.found.record_count, 0));
    cr_expect(eq(u32, k.found.next_seg, 1));
    recover_kit_fini(&k);
    disk_free(&d);
}

/* Segments are counted up from the last one there is, and the count must not end while it runs. */
Test(recover_index, refuses_a_number_behind_which_few_are_left)
{
    static const char *const names[] = { "journal/ffffffff.seg", "journal/fffffffe.seg",
                                         "journal/ff000000.seg" };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct disk *d = mem_disk_new();
        struct err err;
        struct recovered out;
        struct recover_setup setup = { .disk = d };
        mem_disk_put(d, names[i], slice_str("x"));
        cr_expect(not(recover_run(&setup, &out, &err)));
        cr_expect(eq(int, err.code, ERR_LIMIT));
        cr_expect(strstr(err.text, names[i]) != NULL, "%s", err.text);
        disk_free(&d);
    }
}
