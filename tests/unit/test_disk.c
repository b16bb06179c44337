#include "base/mem.h"
#include "expect.h"
#include "io/disk.h"
#include "io/random.h"
#include "io_kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char folder[KIT_PATH_MAX];
static char path[KIT_PATH_MAX];
static struct disk *disk;
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

TestSuite(disk, .init = set_up, .fini = tear_down, .timeout = 300);

static struct disk_file *open_file(const char *name, enum disk_open how)
{
    struct disk_file *f = disk->ops->open(disk, name, how, &err);
    cr_assert(f != NULL, "%s", err.text);
    return f;
}

static void expect_error(enum err_code code, const char *part)
{
    cr_expect(eq(int, err.code, code), "%s", err.text);
    cr_expect(strstr(err.text, part) != NULL, "\"%s\" should contain \"%s\"", err.text, part);
}

Test(disk, writes_many_parts_and_reads_them)
{
    enum { PARTS = 3000 };
    struct slice parts[PARTS];
    uint8_t *octets = mem_alloc(PARTS * 7), *got = mem_alloc(PARTS * 7 + 10);
    random_octets(octets, PARTS * 7);
    size_t len = 0, n;
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = slice_of(octets + len, i % 8); /* empty ones, too */
        len += i % 8;
    }
    struct disk_file *f = open_file("a", DISK_CREATE);
    cr_assert(disk->ops->write(f, 100, parts, PARTS, &err), "%s", err.text);
    cr_assert(disk->ops->write(f, 100, parts, 0, &err));
    cr_assert(disk->ops->sync(f, &err));
    cr_assert(disk->ops->read(f, 100, got, len + 10, &n, &err));
    cr_expect(eq(sz, n, len), "as far as the file goes");
    cr_expect(memcmp(got, octets, len) == 0);
    cr_assert(disk->ops->read(f, 0, got, 100, &n, &err));
    cr_expect(eq(sz, n, 100));
    cr_expect(eq(u8, got[99], 0));
    uint64_t size;
    cr_assert(disk->ops->size(f, &size, &err));
    cr_expect(eq(u64, size, 100 + len));
    cr_assert(disk->ops->truncate(f, 50, &err));
    cr_assert(disk->ops->size(f, &size, &err));
    cr_expect(eq(u64, size, 50));
    disk->ops->close(&f);
    cr_expect(f == NULL);

    f = open_file("a", DISK_READ);
    cr_expect(not(disk->ops->write(f, 0, parts + 1, 1, &err)));
    expect_error(ERR_IO, "/a: ");
    disk->ops->close(&f);
    mem_free(octets);
    mem_free(got);
}

/* The system takes less than it was given where a file comes to its greatest length. */
Test(disk, goes_on_after_a_short_write)
{
    struct rlimit limit = { 5000, 5000 };
    uint8_t octets[4000] = { 0 };
    struct slice parts[] = { slice_of(octets, 4000), slice_of(octets, 4000) };
    memset(octets, 7, sizeof octets);
    signal(SIGXFSZ, SIG_IGN);
    struct disk_file *f = open_file("a", DISK_CREATE);
    setrlimit(RLIMIT_FSIZE, &limit);
    cr_expect(not(disk->ops->write(f, 0, parts, 2, &err)));
    expect_error(ERR_IO, "cannot write ");
    uint64_t size;
    cr_assert(disk->ops->size(f, &size, &err));
    cr_expect(eq(u64, size, 5000), "it tried the rest and learned why not");
    disk->ops->close(&f);
}

/* ---- past the page cache -------------------------------------------------------------------- */

#define SECTOR 512u
#define BLOCK  (64u * 1024)

static _Alignas(4096) uint8_t sector[SECTOR];

/* Whether the file system of the tests lets a sector be written so. */
static bool has_direct_writes(void)
{
    int fd = open(kit_path(path, folder, "probe"), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && pwrite(fd, sector, SECTOR, SECTOR) == (ssize_t)SECTOR;
    if (fd >= 0)
        close(fd);
    return ok;
}

static unsigned direct_count(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    cr_assert(dir != NULL);
    const struct dirent *e;
    while ((e = readdir(dir)) != NULL) {
        int flags = e->d_name[0] != '.' ? fcntl(atoi(e->d_name), F_GETFL) : -1;
        count += flags >= 0 && (flags & O_DIRECT) != 0;
    }
    closedir(dir);
    return count;
}

static struct disk_file *open_through(uint8_t *shadow, size_t len)
{
    struct disk_file *f = open_file("log", DISK_CREATE);
    struct slice zeros = slice_of(shadow, len);
    memset(shadow, 0, len);
    cr_assert(disk->ops->write(f, 0, &zeros, 1, &err), "%s", err.text);
    disk->ops->write_through(f);
    return f;
}

static void expect_content(struct disk_file *f, const uint8_t *shadow, size_t len)
{
    uint8_t *got = mem_alloc(len);
    size_t n;
    cr_assert(disk->ops->read(f, 0, got, len, &n, &err), "%s", err.text);
    cr_expect(n == len && memcmp(got, shadow, len) == 0);
    mem_free(got);
}

/* Those that are for it and those that are not, mixed, over each other and on what was never
 * synced: the file has what was written last. */
Test(disk, writes_through_what_is_whole_sectors)
{
    enum { LEN = 4 * BLOCK, WRITES = 300 };
    static const uint32_t lens[] = { SECTOR, 3 * SECTOR, 1, 700, BLOCK, BLOCK + SECTOR, 0 };
    uint8_t *shadow = mem_alloc(LEN), *octets = mem_alloc(2 * BLOCK);
    bool is_direct = has_direct_writes();
    struct disk_file *f = open_through(shadow, LEN);
    random_octets(octets, 2 * BLOCK);
    for (unsigned i = 0; i < WRITES; i++) {
        uint32_t len = lens[i % 7], from = i * 37;
        uint32_t at = i * 7919 % (LEN - len);
        if (i % 3 != 0)
            at = at / SECTOR * SECTOR;
        struct slice parts[] = { slice_of(octets + from, len / 3), slice_of(octets, 0),
                                 slice_of(octets + from + len / 3, len - len / 3) };
        cr_assert(disk->ops->write(f, at, parts, 3, &err), "%s", err.text);
        memcpy(shadow + at, octets + from, len);
        if (i % 10 == 0)
            cr_assert(disk->ops->sync(f, &err), "%s", err.text);
    }
    expect_content(f, shadow, LEN);
    cr_expect(eq(uint, direct_count(), is_direct ? 1u : 0u), "it was used and never failed");
    disk->ops->close(&f);
    cr_expect(eq(uint, direct_count(), 0));
    mem_free(octets);
    mem_free(shadow);
}

/* What fails there is tried in the other way, which says why, and is all that is left. */
Test(disk, writes_as_before_once_it_cannot_write_through)
{
    struct rlimit limit, all;
    uint8_t *shadow = mem_alloc(BLOCK);
    struct disk_file *f = open_through(shadow, BLOCK);
    struct slice one = slice_of(sector, SECTOR);
    memset(sector, 9, SECTOR);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(getrlimit(RLIMIT_FSIZE, &all) == 0);
    limit = (struct rlimit){ .rlim_cur = 4096, .rlim_max = all.rlim_max };
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    cr_expect(not(disk->ops->write(f, 8192, &one, 1, &err)));
    expect_error(ERR_IO, "cannot write ");
    cr_expect(eq(uint, direct_count(), 0));
    cr_assert(setrlimit(RLIMIT_FSIZE, &all) == 0);
    cr_expect(disk->ops->write(f, 8192, &one, 1, &err), "%s", err.text);
    memcpy(shadow + 8192, sector, SECTOR);
    expect_content(f, shadow, BLOCK);
    disk->ops->close(&f);
    mem_free(shadow);
}

/* It is another file that has the name by now, or none. */
Test(disk, never_writes_through_to_another_file)
{
    struct disk_file *f = open_file("log", DISK_CREATE), *other;
    struct slice one = slice_of(sector, SECTOR);
    uint64_t size;
    memset(sector, 3, SECTOR);
    cr_assert(disk->ops->rename(disk, "log", "elsewhere", &err));
    disk->ops->write_through(f);
    other = open_file("log", DISK_CREATE);
    disk->ops->write_through(f);
    cr_expect(eq(uint, direct_count(), 0));
    cr_expect(disk->ops->write(f, 0, &one, 1, &err), "%s", err.text);
    expect_content(f, sector, SECTOR);
    cr_assert(disk->ops->size(other, &size, &err));
    cr_expect(eq(u64, size, 0));
    disk->ops->close(&f);
    disk->ops->close(&other);
}

static void note_name(const char *name, void *arg)
{
    strcat(arg, name);
    strcat(arg, " ");
}

Test(disk, keeps_folders_and_names)
{
    char names[200] = "";
    struct disk_file *f;
    cr_assert(disk->ops->make_folder(disk, "sub", &err));
    cr_assert(disk->ops->make_folder(disk, "sub", &err), "one that is there is no error");
    f = open_file("sub/x", DISK_CREATE);
    disk->ops->close(&f);
    struct stat st;
    cr_assert(stat(kit_path(path, folder, "sub/x"), &st) == 0);
    cr_expect(eq(uint, st.st_mode & 07777u, 0600));
    f = open_file("sub/y", DISK_CREATE);
    disk->ops->close(&f);
    cr_assert(disk->ops->rename(disk, "sub/x", "sub/y", &err));
    cr_assert(disk->ops->sync_folder(disk, "sub", &err), "%s", err.text);
    cr_assert(disk->ops->sync_folder(disk, "", &err), "%s", err.text);
    cr_assert(disk->ops->list(disk, "sub", note_name, names, &err));
    expect_text(names, "y ");
    names[0] = '\0';
    cr_assert(disk->ops->list(disk, "", note_name, names, &err));
    expect_text(names, "sub ");
    cr_assert(disk->ops->remove(disk, "sub/y", &err));

    uint64_t free_bytes, total;
    cr_assert(disk->ops->space(disk, &free_bytes, &total, &err));
    cr_expect(le(u64, free_bytes, total));
    cr_expect(gt(u64, total, 0));
}

Test(disk, says_what_is_wrong)
{
    struct disk_file *f;
    cr_expect(disk->ops->open(disk, "no", DISK_READ, &err) == NULL);
    expect_error(ERR_NOT_FOUND, "/no: ");
    cr_expect(disk->ops->open(disk, "no", DISK_WRITE, &err) == NULL);
    expect_error(ERR_NOT_FOUND, "cannot open ");
    f = open_file("a", DISK_CREATE);
    disk->ops->close(&f);
    cr_expect(disk->ops->open(disk, "a", DISK_CREATE, &err) == NULL);
    expect_error(ERR_IO, "cannot create ");
    cr_expect(not(disk->ops->make_folder(disk, "a", &err)));
    expect_error(ERR_IO, "/a: ");
    cr_expect(not(disk->ops->rename(disk, "no", "b", &err)));
    expect_error(ERR_NOT_FOUND, "/no: ");
    cr_expect(not(disk->ops->remove(disk, "no", &err)));
    expect_error(ERR_NOT_FOUND, folder);
    cr_expect(not(disk->ops->list(disk, "no", note_name, NULL, &err)));
    expect_error(ERR_NOT_FOUND, "/no: ");
    cr_expect(not(disk->ops->sync_folder(disk, "no", &err)));
    expect_error(ERR_NOT_FOUND, "/no: ");
    cr_expect(disk_new(kit_path(path, folder, "no"), &err) == NULL);
    expect_error(ERR_NOT_FOUND, path);
}

Test(disk, tells_a_full_disk_and_a_forbidden_one)
{
    struct disk *dev = disk_new("/dev", &err), *proc = disk_new("/proc", &err);
    struct slice x = slice_of("x", 1);
    struct disk_file *f = dev->ops->open(dev, "full", DISK_WRITE, &err);
    cr_assert(f != NULL, "%s", err.text);
    cr_expect(not(dev->ops->write(f, 0, &x, 1, &err)));
    expect_error(ERR_LIMIT, "/dev/full: ");
    dev->ops->close(&f);
    cr_expect(proc->ops->open(proc, "sys/kernel/version", DISK_WRITE, &err) == NULL);
    expect_error(ERR_REFUSED, "/proc/sys/kernel/version: ");
    disk_free(&dev);
    disk_free(&proc);
    disk_free(&proc);
}

Test(disk, takes_a_lack_of_descriptors_for_a_limit)
{
    struct rlimit all, none;
    cr_assert(getrlimit(RLIMIT_NOFILE, &all) == 0);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = all.rlim_max };
    cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
    cr_expect(disk->ops->open(disk, "a", DISK_CREATE, &err) == NULL);
    cr_assert(setrlimit(RLIMIT_NOFILE, &all) == 0);
    expect_error(ERR_LIMIT, "/a: Too many open files");
}
