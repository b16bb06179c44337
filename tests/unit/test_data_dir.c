#include "base/mem.h"
#include "disk_kit.h"
#include "expect.h"
#include "io/file.h"
#include "io_kit.h"
#include "store/data_dir.h"
#include "store/record.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[KIT_PATH_MAX];
static char path[KIT_PATH_MAX];
static struct disk *disk;
static struct data_dir dir;
static struct err err;

static void set_up(void)
{
    kit_folder_make(folder);
    disk = disk_new(folder, &err);
    cr_assert(disk != NULL, "%s", err.text);
}

static void tear_down(void)
{
    disk_free(&disk);
    kit_folder_remove(folder);
}

TestSuite(data_dir, .init = set_up, .fini = tear_down, .timeout = 300);

static void expect_refused(const char *part)
{
    cr_expect(eq(int, err.code, ERR_REFUSED), "%s", err.text);
    cr_expect(strstr(err.text, part) != NULL, "\"%s\" should contain \"%s\"", err.text, part);
    cr_expect(strstr(err.text, folder) != NULL, "\"%s\" should name the folder", err.text);
}

static bool exists(const char *name)
{
    struct stat st;
    return stat(kit_path(path, folder, name), &st) == 0;
}

static void put_file(const char *name)
{
    kit_file_write(kit_path(path, folder, name), "x", 1, 0600);
}

Test(data_dir, is_new_once_and_then_counts_its_starts)
{
    uint8_t id[16];
    cr_expect(not(data_dir_look(disk, folder, &dir, &err)));
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    cr_assert(data_dir_start(disk, folder, "node1", &dir, &err), "%s", err.text);
    cr_expect(dir.is_new);
    cr_expect(eq(u32, dir.incarnation, 1));
    cr_expect(exists("journal") && exists("large") && exists("meta"));
    memcpy(id, dir.store_id, sizeof id);
    for (uint32_t i = 2; i < 5; i++) {
        cr_assert(data_dir_start(disk, folder, "node1", &dir, &err), "%s", err.text);
        cr_expect(not(dir.is_new));
        cr_expect(eq(u32, dir.incarnation, i));
        cr_expect(memcmp(id, dir.store_id, sizeof id) == 0);
        cr_assert(data_dir_look(disk, folder, &dir, &err));
        cr_expect(eq(u32, dir.incarnation, i));
        expect_text(dir.node, "node1");
    }
}

Test(data_dir, belongs_to_one_node)
{
    cr_assert(data_dir_start(disk, folder, "node1", &dir, &err));
    cr_expect(not(data_dir_start(disk, folder, "node2", &dir, &err)));
    expect_refused("belongs to the node \"node1\", not to \"node2\"");
    cr_assert(data_dir_look(disk, folder, &dir, &err));
    cr_expect(eq(u32, dir.incarnation, 1), "nothing was counted");
}

/* Read the file, change it, put it back. */
static void spoil(size_t at, uint8_t value)
{
    uint8_t *bytes;
    size_t len;
    kit_path(path, folder, "store");
    cr_assert(file_read(path, 1000, &bytes, &len, &err));
    bytes[at] = value;
    cr_assert(file_write(path, slice_of(bytes, len), 0600, &err));
    mem_free(bytes);
}

Test(data_dir, refuses_other_formats_with_the_remedy)
{
    cr_assert(data_dir_start(disk, folder, "node1", &dir, &err));
    spoil(8, STORE_FORMAT + 1);
    cr_expect(not(data_dir_start(disk, folder, "node1", &dir, &err)));
    expect_refused("newer version of Warren (format 3, this one reads 2): start that version");
    spoil(8, STORE_FORMAT_LEAST - 1);
    cr_expect(not(data_dir_start(disk, folder, "node1", &dir, &err)));
    expect_refused("older version");
    spoil(0, 'x');
    cr_expect(not(data_dir_look(disk, folder, &dir, &err)));
    expect_refused("was not written by Warren");
}

Test(data_dir, refuses_a_file_with_any_octet_changed_or_missing)
{
    uint8_t *bytes;
    size_t len;
    char name[KIT_PATH_MAX];
    cr_assert(data_dir_start(disk, folder, "node1", &dir, &err));
    kit_path(name, folder, "store");
    cr_assert(file_read(name, 1000, &bytes, &len, &err));
    for (size_t i = 12; i < len; i++) {
        bytes[i] ^= 1;
        cr_assert(file_write(name, slice_of(bytes, len), 0600, &err));
        cr_expect(not(data_dir_start(disk, folder, "node1", &dir, &err)), "octet %zu", i);
        expect_refused("is damaged");
        bytes[i] ^= 1;
        cr_assert(file_write(name, slice_of(bytes, i), 0600, &err));
        cr_expect(not(data_dir_start(disk, folder, "node1", &dir, &err)), "%zu octets", i);
        expect_refused(i < 12 ? "not written by" : "is damaged");
    }
    mem_free(bytes);
}

Test(data_dir, does_not_take_what_has_lost_its_name_for_empty)
{
    cr_assert(data_dir_start(disk, folder, "node1", &dir, &err));
    put_file("meta/log");
    cr_assert(disk->ops->remove(disk, "store", &err));
    cr_expect(not(data_dir_start(disk, folder, "node1", &dir, &err)));
    expect_refused("something in meta/ but no file \"store\"");
    cr_assert(disk->ops->remove(disk, "meta/log", &err));
    cr_expect(data_dir_start(disk, folder, "node1", &dir, &err), "%s", err.text);
}

Test(data_dir, is_empty_after_a_reset)
{
    uint8_t id[16];
    cr_assert(data_dir_start(disk, folder, "node1", &dir, &err));
    memcpy(id, dir.store_id, sizeof id);
    put_file("journal/a");
    put_file("large/b");
    put_file("meta/c");
    put_file("lock");
    cr_assert(data_dir_reset(disk, folder, "node1", &dir, &err), "%s", err.text);
    cr_expect(dir.is_new);
    cr_expect(eq(u32, dir.incarnation, 2));
    cr_expect(memcmp(id, dir.store_id, sizeof id) != 0);
    cr_expect(not(exists("journal/a") || exists("large/b") || exists("meta/c")));
    cr_expect(exists("lock"));
    cr_assert(data_dir_start(disk, folder, "node1", &dir, &err));
    cr_expect(eq(u32, dir.incarnation, 3));
    cr_expect(not(dir.is_new));
}

Test(data_dir, finishes_a_reset_wherever_it_was_cut_short)
{
    static const enum kit_op ops[] = { KIT_REMOVE, KIT_CREATE, KIT_WRITE,
                                       KIT_SYNC,   KIT_RENAME, KIT_SYNC_FOLDER };
    struct kit_disk *kit = kit_disk_new(folder);
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        for (unsigned n = 1;; n++) {
            uint8_t id[16];
            cr_assert(data_dir_start(disk, folder, "node1", &dir, &err), "%s", err.text);
            memcpy(id, dir.store_id, sizeof id);
            put_file("journal/a");
            put_file("journal/b");
            put_file("meta/c");
            kit_disk_fail(kit, ops[i], n, ERR_IO);
            bool was_done = data_dir_reset(&kit->base, folder, "node1", &dir, &err);
            kit_disk_fail(kit, ops[i], 0, ERR_IO);
            cr_assert(data_dir_start(disk, folder, "node1", &dir, &err), "%s", err.text);
            bool is_old = memcmp(id, dir.store_id, sizeof id) == 0;
            bool has_all = exists("journal/a") && exists("journal/b") && exists("meta/c");
            bool has_any = exists("journal/a") || exists("journal/b") || exists("meta/c");
            cr_expect(is_old ? has_all && !was_done : !has_any, "operation %d, call %u", ops[i], n);
            if (was_done)
                break;
            cr_assert(lt(uint, n, 20));
        }
    kit_disk_free(&kit);
}

Test(data_dir, says_what_the_disk_refuses)
{
    struct kit_disk *kit = kit_disk_new(folder);
    kit_disk_fail(kit, KIT_CREATE, 1, ERR_REFUSED);
    cr_expect(not(data_dir_start(&kit->base, folder, "node1", &dir, &err)));
    cr_expect(eq(int, err.code, ERR_REFUSED));
    cr_expect(strstr(err.text, "may only be read") != NULL, "%s", err.text);
    kit_disk_free(&kit);
}

Test(data_dir, has_one_user_at_a_time)
{
    char deep[KIT_PATH_MAX];
    kit_path(deep, folder, "a/b");
    struct data_lock *l = data_lock_take(deep, &err);
    cr_assert(l != NULL, "%s", err.text);
    cr_expect(data_lock_take(deep, &err) == NULL);
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    expect_refused(pid);
    expect_refused("is in use by another node");
    data_lock_free(&l);
    cr_expect(l == NULL);
    data_lock_free(&l);
    l = data_lock_take(deep, &err);
    cr_assert(l != NULL, "%s", err.text);
    data_lock_free(&l);
}

Test(data_dir, says_when_a_folder_may_not_be_written)
{
    cr_expect(data_lock_take("/proc/warren", &err) == NULL);
    cr_expect(strstr(err.text, "/proc/warren") != NULL, "%s", err.text);
}
