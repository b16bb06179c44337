#include "io/ram_disk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static struct disk *d;
static struct err err;

static void set_up(void)
{
    d = ram_disk_new();
}

static void tear_down(void)
{
    disk_free(&d);
}

TestSuite(ram_disk, .init = set_up, .fini = tear_down);

static struct disk_file *make(const char *name, const char *text)
{
    struct slice part = slice_str(text);
    struct disk_file *f = d->ops->open(d, name, DISK_CREATE, &err);
    cr_assert(f != NULL, "%s", err.text);
    cr_assert(d->ops->write(f, 0, &part, 1, &err));
    return f;
}

static bool has(struct disk_file *f, uint64_t offset, const char *text)
{
    char room[64];
    size_t got = 0;
    cr_assert(d->ops->read(f, offset, room, sizeof room, &got, &err));
    return got == strlen(text) && memcmp(room, text, got) == 0;
}

static bool is_there(const char *name)
{
    struct disk_file *f = d->ops->open(d, name, DISK_READ, &err);
    bool is = f != NULL;
    d->ops->close(&f);
    return is;
}

Test(ram_disk, keeps_what_is_written)
{
    struct disk_file *f = make("a/b", "hello");
    struct slice parts[] = { slice_str("J"), slice_str("ell") };
    cr_assert(d->ops->write(f, 0, parts, 2, &err));
    cr_assert(d->ops->write(f, 7, parts, 1, &err));
    cr_expect(has(f, 0, "Jello") == false && has(f, 7, "J") && has(f, 8, "") && has(f, 99, ""));
    uint64_t bytes;
    cr_assert(d->ops->size(f, &bytes, &err));
    cr_expect(eq(u64, bytes, 8));
    cr_assert(d->ops->truncate(f, 5, &err));
    cr_expect(has(f, 0, "Jello"));
    cr_expect(d->ops->sync(f, &err) && d->ops->sync_folder(d, "a", &err));
    d->ops->close(&f);
    cr_expect(f == NULL && is_there("a/b"));
}

Test(ram_disk, names_are_there_or_not)
{
    struct disk_file *f = make("a", "1");
    cr_expect(d->ops->open(d, "a", DISK_CREATE, &err) == NULL && err.code == ERR_IO);
    cr_expect(d->ops->open(d, "b", DISK_READ, &err) == NULL && err.code == ERR_NOT_FOUND);
    cr_expect(d->ops->open(d, "b", DISK_WRITE, &err) == NULL && err.code == ERR_NOT_FOUND);
    cr_assert(not(d->ops->rename(d, "b", "c", &err)));
    cr_assert(not(d->ops->remove(d, "b", &err)));
    d->ops->close(&f);
}

Test(ram_disk, a_file_that_was_removed_stays_for_who_has_it)
{
    struct disk_file *f = make("a", "old"), *g = make("b", "new");
    cr_assert(d->ops->rename(d, "b", "a", &err));
    cr_expect(has(f, 0, "old") && has(g, 0, "new") && is_there("a") && !is_there("b"));
    cr_assert(d->ops->remove(d, "a", &err));
    cr_expect(has(g, 0, "new") && !is_there("a"));
    d->ops->close(&f);
    d->ops->close(&g);
}

static void count(const char *name, void *arg)
{
    cr_expect(strcmp(name, "x") == 0 || strcmp(name, "y") == 0);
    ++*(unsigned *)arg;
}

Test(ram_disk, lists_one_folder)
{
    const char *names[] = { "f/x", "f/y", "f/g/z", "other", "ff/x" };
    for (int i = 0; i < 5; i++) {
        struct disk_file *f = make(names[i], "");
        d->ops->close(&f);
    }
    unsigned n = 0;
    cr_assert(d->ops->list(d, "f", count, &n, &err));
    cr_expect(eq(uint, n, 2));
}
