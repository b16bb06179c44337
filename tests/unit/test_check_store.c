#include "store/check_store.h"

#include "base/mem.h"
#include "expect.h"
#include "io/disk.h"
#include "io/file.h"
#include "io_kit.h"
#include "seg_kit.h"
#include "store/data_dir.h"
#include "store/journal.h"

#include <stdio.h>
#include <unistd.h>

static char folder[KIT_PATH_MAX];
static struct data_dir dir;
static struct err err;
static struct text report;

static void set_up(void)
{
    kit_folder_make(folder);
    text_init(&report, CHECK_STORE_REPORT_MAX);
}

static void tear_down(void)
{
    text_fini(&report);
    kit_folder_remove(folder);
}

TestSuite(check_store, .init = set_up, .fini = tear_down);

static void make_store(void)
{
    struct disk *d = disk_new(folder, &err);
    cr_assert(d != NULL, "%s", err.text);
    cr_assert(data_dir_start(d, folder, "n@h", &dir, &err), "%s", err.text);
    disk_free(&d);
}

/* A segment of ten messages, and another that says that all of it was durable. */
static void put_segments(uint32_t hurt_at)
{
    struct seg_kit k[2];
    for (uint32_t i = 0; i < 2; i++) {
        char path[KIT_PATH_MAX + JOURNAL_NAME_MAX], name[JOURNAL_NAME_MAX];
        seg_kit_init(&k[i], i + 1, 4096);
        memcpy(k[i].header.store_id, dir.store_id, sizeof dir.store_id);
        segment_header_put(k[i].bytes, &k[i].header);
        seg_kit_batch(&k[i], i != 0 ? seg_kit_lsn(&k[i]) : 0);
        for (uint64_t n = 1; n <= 10; n++)
            seg_kit_msg(&k[i], 0, 5, 10 * i + n, 50);
        seg_kit_end(&k[i]);
        if (i == 0)
            k[i].bytes[hurt_at] ^= 1;
        journal_seg_name(i + 1, name);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        cr_assert(file_write(path, seg_kit_slice(&k[i]), 0600, &err), "%s", err.text);
        seg_kit_fini(&k[i]);
    }
}

static void expect_said(const char *words)
{
    cr_expect(strstr(report.ptr, words) != NULL, "\"%s\" is missing in:\n%s", words, report.ptr);
}

Test(check_store, says_that_there_is_none)
{
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_FAILED));
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    char gone[KIT_PATH_MAX + 8];
    snprintf(gone, sizeof gone, "%s/gone", folder);
    cr_expect(eq(int, check_store(gone, 2, &report, &err), CHECK_STORE_FAILED));
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    cr_expect(access(gone, F_OK) != 0, "nothing is made");
}

Test(check_store, finds_an_empty_one_good)
{
    make_store();
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_GOOD), "%s", err.text);
    expect_said("node n@h, started 1 times");
    expect_said("The store is good.");
}

Test(check_store, names_what_is_lost)
{
    make_store();
    put_segments(SEGMENT_HEADER_BYTES + 40 + 3 * 112 + 50);
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_DAMAGED), "%s", err.text);
    expect_said("00000001.seg octets ");
    expect_said("The store is DAMAGED.");
}

Test(check_store, knows_epochs_and_producers)
{
    char path[KIT_PATH_MAX + JOURNAL_NAME_MAX], name[JOURNAL_NAME_MAX];
    struct seg_kit k;
    struct mirror_history h = { 0 };
    struct mirror_starts starts = { 0 };
    make_store();
    /* Where the definitions cannot be read every queue is taken to be there. */
    snprintf(path, sizeof path, "%s/raft/identity", folder);
    cr_assert(file_write(path, slice_str("x"), 0600, &err), "%s", err.text);
    seg_kit_init(&k, 1, 4096);
    memcpy(k.header.store_id, dir.store_id, sizeof dir.store_id);
    segment_header_put(k.bytes, &k.header);
    seg_kit_batch(&k, 0);
    seg_kit_msg_by(&k, 0, &(struct msg_producer){ 7, 3 },
                   &(struct msg_target){ .qid = 5, .qseq = 1 }, 1, 20);
    mirror_starts_raise(&starts, 1);
    mirror_history_begin(&h, 42, &starts);
    seg_kit_epoch(&k, 6, NULL, 0, &h);
    seg_kit_end(&k);
    journal_seg_name(1, name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert(file_write(path, seg_kit_slice(&k), 0600, &err), "%s", err.text);
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_DAMAGED), "%s", err.text);
    expect_said("epochs: of 1 queues that are or were mirrored, the last is 42\n");
    expect_said("producers whose messages are numbered: 1\n");
    mirror_starts_fini(&starts);
    mirror_history_fini(&h);
    seg_kit_fini(&k);
}

Test(check_store, does_not_look_while_the_node_runs)
{
    make_store();
    struct data_lock *lock = data_lock_take(folder, &err);
    cr_assert(lock != NULL, "%s", err.text);
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_IN_USE));
    data_lock_free(&lock);
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_GOOD), "%s", err.text);
}

/* The lock that a killed node has left stays as it is, and keeps nobody out. */
Test(check_store, leaves_no_trace)
{
    char path[KIT_PATH_MAX + 8];
    uint8_t *bytes;
    size_t len;
    make_store();
    snprintf(path, sizeof path, "%s/lock", folder);
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_GOOD), "%s", err.text);
    cr_expect(access(path, F_OK) != 0);
    cr_assert(file_write(path, slice_str("4711\n"), 0600, &err));
    cr_expect(eq(int, check_store(folder, 2, &report, &err), CHECK_STORE_GOOD), "%s", err.text);
    cr_assert(file_read(path, 100, &bytes, &len, &err), "%s", err.text);
    cr_expect(slice_is(slice_of(bytes, len), "4711\n"));
    mem_free(bytes);
}
