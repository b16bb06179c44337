/*
 * recover_expect: what tests of recovery share: journals of a few segments, and what is to come of
 * them. Header only.
 */
#ifndef WARREN_TEST_RECOVER_EXPECT_H
#define WARREN_TEST_RECOVER_EXPECT_H

#include "base/mem.h"
#include "base/text.h"
#include "expect.h"
#include "mem_disk.h"
#include "recover_kit.h"
#include "seg_kit.h"

/* "q:position ..." of all that is alive. */
static inline const char *alive(struct recover_kit *k)
{
    static char shown[4096];
    struct text t = text_over(shown, sizeof shown);
    size_t count;
    struct recover_alive *list = recover_kit_list(k, &count);
    for (size_t i = 0; i < count; i++)
        text_put(&t, "%s%lu:%lu%s", i != 0 ? " " : "", list[i].qid, list[i].qseq,
                 list[i].redelivered ? "r" : "");
    mem_free(list);
    return shown;
}

/* Run and compare; then once more, which must say the same, and find nothing to cut off. */
static inline void expect_alive(struct disk *d, const char *want, const char *damages)
{
    struct recover_kit k;
    recover_kit_run(&k, d, 2, false);
    expect_text(alive(&k), want);
    expect_text(recover_kit_damages(&k), damages);
    uint32_t next_seg = k.found.next_seg;
    recover_kit_fini(&k);
    recover_kit_run(&k, d, 0, false);
    expect_text(alive(&k), want);
    expect_text(recover_kit_damages(&k), damages);
    cr_expect(eq(u64, k.found.torn_bytes, 0));
    cr_expect(le(u32, k.found.next_seg, next_seg));
    recover_kit_fini(&k);
}

static inline struct disk *saved(struct seg_kit *k, size_t count)
{
    struct disk *d = mem_disk_new();
    for (size_t i = 0; i < count; i++) {
        seg_kit_save(&k[i], d);
        seg_kit_fini(&k[i]);
    }
    return d;
}

/* Ten messages of two queues; all of it is durable, as the next segment says. */
static inline void fill_two(struct seg_kit s[2], struct place at[11])
{
    seg_kit_init(&s[0], 1, 4096);
    seg_kit_init(&s[1], 2, 4096);
    at[0] = seg_kit_batch(&s[0], 0);
    for (uint64_t i = 1; i <= 10; i++) {
        if (i == 6)
            seg_kit_batch(&s[0], seg_kit_lsn(&s[0]));
        at[i] = seg_kit_msg(&s[0], 0, 1 + i % 2, i, 20);
    }
    seg_kit_end(&s[0]);
    seg_kit_batch(&s[1], seg_kit_lsn(&s[1]));
    seg_kit_msg(&s[1], 0, 1, 12, 20);
}

#endif
