#include "expect.h"
#include "sim_disk.h"

#include "base/mem.h"

#include <criterion/criterion.h>

/* Written and synced, written and not, with names that are safe and names that are not. */
static struct sim_disk *disk;
static struct err err;

static void set_up(void)
{
    disk = sim_disk_new(1, NULL, NULL);
}

static void tear_down(void)
{
    sim_disk_free(&disk);
}

TestSuite(sim_disk, .init = set_up, .fini = tear_down);

static const struct disk_ops *ops(void)
{
    return sim_disk_of(disk)->ops;
}

static struct disk_file *file(const char *name, enum disk_open how)
{
    struct disk_file *f = ops()->open(sim_disk_of(disk), name, how, &err);
    cr_assert(f != NULL, "%s", err.text);
    return f;
}

static bool put(struct disk_file *f, uint64_t offset, const char *text)
{
    struct slice part = slice_str(text);
    return ops()->write(f, offset, &part, 1, &err);
}

static bool sync_folder(const char *name)
{
    return ops()->sync_folder(sim_disk_of(disk), name, &err);
}

/* A file with "old" in it, safe. */
static struct disk_file *safe_file(const char *name)
{
    struct disk_file *f = file(name, DISK_CREATE);
    cr_assert(put(f, 0, "old"));
    cr_assert(ops()->sync(f, &err));
    cr_assert(sync_folder(""));
    return f;
}

static bool holds(const char *name, const char *text)
{
    return slice_is(sim_disk_look(disk, name), text);
}

static bool is_there(const char *name)
{
    return sim_disk_look(disk, name).ptr != NULL;
}

Test(sim_disk, reads_back_what_was_written)
{
    struct disk_file *f = safe_file("a");
    char back[8] = { 0 };
    size_t got;
    cr_assert(put(f, 3, "er"));
    cr_assert(ops()->read(f, 0, back, sizeof back, &got, &err));
    cr_expect(got == 5 && memcmp(back, "older", 5) == 0);
    cr_assert(ops()->read(f, 9, back, sizeof back, &got, &err));
    cr_expect(got == 0);
    ops()->close(&f);
    cr_expect(f == NULL);
}

Test(sim_disk, loses_what_was_not_synced)
{
    struct disk_file *f = safe_file("a");
    cr_assert(put(f, 0, "new"));
    cr_expect(holds("a", "new"));
    ops()->close(&f);
    sim_disk_reboot(disk, SIM_SURVIVES_NOTHING);
    cr_expect(holds("a", "old"));
}

Test(sim_disk, keeps_what_was_synced)
{
    struct disk_file *f = safe_file("a");
    cr_assert(put(f, 0, "new"));
    cr_assert(ops()->sync(f, &err));
    ops()->close(&f);
    for (int how = SIM_SURVIVES_KILL; how < SIM_SURVIVALS; how++) {
        sim_disk_reboot(disk, (enum sim_survival)how);
        cr_expect(holds("a", "new"), "survival %d", how);
    }
}

/* What a killed process wrote is there for the next one, and a power loss after that takes it. */
Test(sim_disk, a_kill_makes_nothing_safe)
{
    struct disk_file *f = safe_file("a");
    cr_assert(put(f, 0, "new"));
    ops()->close(&f);
    sim_disk_reboot(disk, SIM_SURVIVES_KILL);
    cr_expect(holds("a", "new"));
    sim_disk_reboot(disk, SIM_SURVIVES_NOTHING);
    cr_expect(holds("a", "old"));
}

/* Over many crashes, each of two sectors is once old and once new, in all four ways. */
Test(sim_disk, loses_single_sectors)
{
    unsigned seen = 0;
    uint8_t room[2 * SIM_SECTOR];
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct sim_disk *other = sim_disk_new(seed, NULL, NULL);
        struct disk *d = sim_disk_of(other);
        struct disk_file *f = d->ops->open(d, "a", DISK_CREATE, &err);
        struct slice part = slice_of(room, sizeof room);
        for (int fill = 1; fill <= 2; fill++) {
            memset(room, fill, sizeof room);
            cr_assert(d->ops->write(f, 0, &part, 1, &err));
            if (fill == 1)
                cr_assert(d->ops->sync(f, &err) && d->ops->sync_folder(d, ".", &err));
        }
        d->ops->close(&f);
        sim_disk_reboot(other, SIM_SURVIVES_SECTORS);
        struct slice is = sim_disk_look(other, "a");
        cr_assert(is.len == sizeof room);
        seen |= 1u << ((is.ptr[0] - 1) + 2 * (is.ptr[SIM_SECTOR] - 1));
        sim_disk_free(&other);
    }
    cr_expect(seen == 15, "seen %x", seen);
}

Test(sim_disk, a_name_is_safe_after_its_folder_was_synced)
{
    struct disk_file *f = safe_file("a");
    struct disk_file *g = file("b", DISK_CREATE);
    cr_assert(put(g, 0, "new") && ops()->sync(g, &err));
    cr_assert(ops()->rename(sim_disk_of(disk), "a", "c", &err));
    cr_expect(is_there("c") && is_there("b") && !is_there("a"));
    ops()->close(&f);
    ops()->close(&g);
    sim_disk_reboot(disk, SIM_SURVIVES_NOTHING);
    cr_expect(is_there("a") && !is_there("b") && !is_there("c"));
}

/* Of two renames in a row the second never survives alone: a file has one name. */
Test(sim_disk, changes_of_one_name_keep_their_order)
{
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct sim_disk *other = sim_disk_new(seed, NULL, NULL);
        struct disk *d = sim_disk_of(other);
        struct disk_file *f = d->ops->open(d, "a", DISK_CREATE, &err);
        cr_assert(d->ops->sync_folder(d, ".", &err));
        cr_assert(d->ops->rename(d, "a", "b", &err) && d->ops->rename(d, "b", "c", &err));
        d->ops->close(&f);
        sim_disk_reboot(other, SIM_SURVIVES_WRITES);
        int names = 0;
        for (char name[2] = "a"; name[0] <= 'c'; name[0]++) {
            f = d->ops->open(d, name, DISK_READ, &err);
            names += f != NULL;
            d->ops->close(&f);
        }
        cr_expect(names == 1, "seed %d: %d names", (int)seed, names);
        sim_disk_free(&other);
    }
}

/* The next sync is good and writes nothing of it: often, what failed is gone after a crash. */
Test(sim_disk, a_failed_sync_is_not_made_good_by_the_next)
{
    int old = 0;
    for (int round = 0; round < 50; round++) {
        char name[2] = { (char)('0' + round), '\0' };
        struct disk_file *f = safe_file(name);
        sim_disk_arm(disk, &(struct sim_faults){ .sync_fails_at = 1 });
        cr_assert(put(f, 0, "new"));
        cr_expect(not(ops()->sync(f, &err)));
        cr_expect(ops()->sync(f, &err));
        ops()->close(&f);
        cr_expect(holds(name, "new"));
        sim_disk_reboot(disk, SIM_SURVIVES_ALL);
        old += holds(name, "old");
    }
    cr_expect(old > 10 && old < 50, "lost %d times", old);
}

Test(sim_disk, after_the_power_went_off_nothing_works)
{
    struct disk_file *f = safe_file("a");
    sim_disk_arm(disk, &(struct sim_faults){ .crash_at = 2 });
    cr_expect(put(f, 0, "one"));
    cr_expect(not(put(f, 0, "two")));
    cr_expect(not(ops()->sync(f, &err)));
    cr_expect(not(sync_folder("")));
    cr_expect(ops()->open(sim_disk_of(disk), "a", DISK_READ, &err) == NULL);
    cr_expect(sim_disk_is_down(disk));
    ops()->close(&f);
    sim_disk_reboot(disk, SIM_SURVIVES_NOTHING);
    cr_expect(holds("a", "old"));
}

Test(sim_disk, is_full)
{
    struct disk_file *f = safe_file("a");
    sim_disk_arm(disk, &(struct sim_faults){ .quota_bytes = 5 });
    cr_expect(put(f, 0, "fives"));
    cr_expect(not(put(f, 5, "x")));
    cr_expect(err.code == ERR_LIMIT);
    cr_expect(put(f, 0, "same."));
    ops()->close(&f);
}

Test(sim_disk, rots_and_spoils)
{
    struct disk_file *f = safe_file("a");
    char back[3];
    size_t got;
    cr_expect(sim_disk_rot(disk, "a", 0, 1));
    cr_expect(holds("a", "nld"));
    cr_expect(sim_disk_spoil(disk, "a", 1));
    cr_expect(not(ops()->read(f, 0, back, sizeof back, &got, &err)));
    cr_expect(put(f, 0, "new"));
    cr_expect(ops()->read(f, 0, back, sizeof back, &got, &err));
    ops()->close(&f);
}
