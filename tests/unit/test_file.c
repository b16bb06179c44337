#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/cookie.h"
#include "io/file.h"
#include "io/random.h"
#include "io_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[KIT_PATH_MAX];
static char path[KIT_PATH_MAX];
static struct err err;

static void set_up(void)
{
    kit_folder_make(folder);
    kit_path(path, folder, "thing");
}

static void tear_down(void)
{
    kit_folder_remove(folder);
}

TestSuite(file, .init = set_up, .fini = tear_down, .timeout = 300);
TestSuite(cookie, .init = set_up, .fini = tear_down, .timeout = 300);

static void expect_error(const char *part)
{
    cr_expect(strstr(err.text, part) != NULL, "\"%s\" should contain \"%s\"", err.text, part);
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    cr_assert(stat(name, &st) == 0);
    return st.st_mode & 07777u;
}

static size_t count_entries(void)
{
    size_t count = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

/* ---- reading and writing -------------------------------------------------------------------- */

Test(file, reads_what_was_written_up_to_its_bound)
{
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 100000 };
    uint8_t *octets = mem_alloc(100001), *got;
    random_octets(octets, 100001);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        size_t len;
        cr_assert(file_write(path, slice_of(octets, sizes[i]), 0640, &err), "%s", err.text);
        cr_assert(file_read(path, sizes[i], &got, &len, &err), "%s", err.text);
        cr_expect(slice_eq(slice_of(got, len), slice_of(octets, sizes[i])));
        cr_expect(eq(u8, got[len], 0));
        mem_free(got);
        if (sizes[i] == 0)
            continue;
        cr_expect(not(file_read(path, sizes[i] - 1, &got, &len, &err)));
        cr_expect(eq(int, err.code, ERR_LIMIT));
        cr_expect(got == NULL);
    }
    cr_expect(eq(uint, mode_of(path), 0640));
    cr_expect(eq(sz, count_entries(), 1), "no temporary file is left");
    mem_free(octets);
}

Test(file, reads_files_that_tell_no_size)
{
    uint8_t *got;
    size_t len;
    cr_assert(file_read("/proc/self/status", 1 << 20, &got, &len, &err), "%s", err.text);
    cr_expect(lt(sz, 0, len));
    mem_free(got);
}

Test(file, names_the_path_and_the_cause)
{
    uint8_t *got;
    size_t len;
    cr_expect(not(file_read(path, 10, &got, &len, &err)));
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    expect_error(path);
    expect_error("No such file or directory");
    cr_expect(not(file_read(folder, 10, &got, &len, &err)));
    cr_expect(eq(int, err.code, ERR_IO));
    expect_error(folder);
    cr_expect(not(file_write("/nowhere/at/all", slice_str("x"), 0600, &err)));
    expect_error("/nowhere/at/all");
    cr_expect(not(file_write(folder, slice_str("x"), 0600, &err)));
    expect_error(folder);
    cr_expect(eq(sz, count_entries(), 0), "no temporary file is left");
}

Test(file, keeps_the_old_file_when_the_new_one_cannot_be_written)
{
    cr_assert(file_write(path, slice_str("old"), 0600, &err));
    /* A name so long that the temporary one does not fit, in the longest folder name there is. */
    char longest[256];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    char at[2 * KIT_PATH_MAX];
    snprintf(at, sizeof at, "%s/%s", folder, longest);
    cr_expect(not(file_write(at, slice_str("x"), 0600, &err)));
    cr_expect(eq(sz, count_entries(), 1));
    uint8_t *got;
    size_t len;
    cr_assert(file_read(path, 10, &got, &len, &err));
    cr_expect(slice_is(slice_of(got, len), "old"));
    mem_free(got);
}

Test(file, creates_but_never_replaces)
{
    cr_assert(file_create(path, slice_str("first"), 0400, &err), "%s", err.text);
    cr_expect(eq(uint, mode_of(path), 0400));
    cr_expect(not(file_create(path, slice_str("second"), 0400, &err)));
    cr_expect(eq(int, err.code, ERR_REFUSED));
    uint8_t *got;
    size_t len;
    cr_assert(file_read(path, 10, &got, &len, &err));
    cr_expect(slice_is(slice_of(got, len), "first"));
    cr_expect(eq(sz, count_entries(), 1));
    mem_free(got);
}

Test(file, makes_the_folders_that_are_missing)
{
    char deep[2 * KIT_PATH_MAX];
    snprintf(deep, sizeof deep, "%s/a/b//c/", folder);
    cr_expect(file_make_folders(deep, 0750, &err), "%s", err.text);
    cr_expect(file_make_folders(deep, 0700, &err), "again: %s", err.text);
    cr_expect(eq(uint, mode_of(deep), 0750 & ~(unsigned)umask(022)));
    kit_file_write(path, "", 0, 0600);
    snprintf(deep, sizeof deep, "%s/below", path);
    cr_expect(not(file_make_folders(path, 0750, &err)));
    expect_error("Not a directory");
    cr_expect(not(file_make_folders(deep, 0750, &err)));
    cr_expect(file_make_folders("/", 0750, &err));
}

/* ---- pid files ------------------------------------------------------------------------------ */

Test(file, holds_a_pid_file_alone)
{
    struct pid_file *p = pid_file_take(path, &err);
    cr_assert(p != NULL, "%s", err.text);
    uint8_t *got;
    size_t len;
    char want[32];
    snprintf(want, sizeof want, "%d\n", (int)getpid());
    cr_assert(file_read(path, 100, &got, &len, &err));
    cr_expect(eq(str, (char *)got, want));
    mem_free(got);

    /* Another open file of the same process is another holder as well. */
    cr_expect(pid_file_take(path, &err) == NULL);
    cr_expect(eq(int, err.code, ERR_REFUSED));
    snprintf(want, sizeof want, "process %d is running", (int)getpid());
    expect_error(want);
    expect_error(path);

    pid_file_free(&p);
    cr_expect(access(path, F_OK) != 0);
}

Test(file, takes_over_what_a_dead_process_left)
{
    kit_file_write(path, "99999999 and more than the new one\n", 35, 0644);
    struct pid_file *p = pid_file_take(path, &err);
    cr_assert(p != NULL, "%s", err.text);
    char want[32];
    uint8_t *got;
    size_t len;
    snprintf(want, sizeof want, "%d\n", (int)getpid());
    cr_assert(file_read(path, 100, &got, &len, &err));
    cr_expect(eq(str, (char *)got, want));
    mem_free(got);
    pid_file_free(&p);
}

static void expect_pid_in_file(void)
{
    char want[32];
    uint8_t *got;
    size_t len;
    snprintf(want, sizeof want, "%d\n", (int)getpid());
    cr_assert(file_read(path, 100, &got, &len, &err), "%s", err.text);
    cr_expect(eq(str, (char *)got, want));
    mem_free(got);
}

Test(file, replaces_a_pid_file_whole_or_not_at_all)
{
    struct pid_file *old = pid_file_take(path, &err);
    cr_assert(old != NULL, "%s", err.text);
    struct pid_file *heir = pid_file_replace(path, &err);
    cr_assert(heir != NULL, "%s", err.text);
    expect_pid_in_file();
    pid_file_free(&old);
    expect_pid_in_file(); /* it was not the old one's any more */

    char beside[KIT_PATH_MAX + 32];
    snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid());
    cr_assert(mkdir(beside, 0700) == 0);
    cr_expect(pid_file_replace(path, &err) == NULL);
    expect_pid_in_file();
    pid_file_free(&heir);
    cr_assert(rmdir(beside) == 0);
}

Test(file, names_no_control_octets_of_a_pid_file)
{
    kit_file_write(path, "\x1b[31m1", 6, 0644);
    FILE *f = fopen(path, "r");
    cr_assert(flock(fileno(f), LOCK_EX) == 0);
    cr_expect(pid_file_take(path, &err) == NULL);
    expect_error("\\x1B[31m1");
    fclose(f);
}

/* Try to take it when `go` ends, report, and hold it until `leave` ends. */
static void contend(int go, int report, int leave)
{
    char octet;
    (void)!read(go, &octet, 1);
    struct pid_file *p = pid_file_take(path, &err);
    (void)!write(report, p != NULL ? "1" : "0", 1);
    (void)!read(leave, &octet, 1);
    pid_file_free(&p);
    _exit(0);
}

Test(file, is_held_by_one_of_many_processes)
{
    enum { COUNT = 8 };
    int go[2], report[2], leave[2];
    cr_assert(pipe(go) == 0 && pipe(report) == 0 && pipe(leave) == 0);
    for (int i = 0; i < COUNT; i++) {
        if (fork() != 0)
            continue;
        close(go[1]);
        close(leave[1]);
        contend(go[0], report[1], leave[0]);
    }
    close(go[1]);
    int held = 0;
    char octet;
    for (int i = 0; i < COUNT && read(report[0], &octet, 1) == 1; i++)
        held += octet == '1';
    close(leave[1]);
    while (wait(NULL) > 0)
        ;
    cr_expect(eq(int, held, 1));
    cr_expect(access(path, F_OK) != 0, "and gone with its holder");
}

/* ---- the cookie ----------------------------------------------------------------------------- */

static const char secret[] = "UNGUESSABLEUNGUESSABLE";

Test(cookie, is_the_octets_of_its_file)
{
    struct cookie c;
    static const unsigned modes[] = { 0400, 0600 };
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        kit_file_write(path, secret, strlen(secret), modes[i]);
        cr_assert(cookie_read(path, &c, &err), "%s", err.text);
        cr_expect(slice_is(cookie_slice(&c), secret));
    }
    cookie_wipe(&c);
    cr_expect(eq(sz, c.len, 0));
}

Test(cookie, must_be_accessible_by_its_owner_only)
{
    struct cookie c;
    static const unsigned modes[] = { 0644, 0440, 0604, 0620, 0700, 0500, 0200, 04400 };
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        if ((modes[i] & 0400) == 0 && geteuid() != 0)
            continue;
        kit_file_write(path, secret, strlen(secret), modes[i]);
        cr_expect(not(cookie_read(path, &c, &err)), "mode %o", modes[i]);
        expect_error("cookie file must be accessible by owner only");
        expect_error(path);
        expect_error("chmod 400");
        cr_expect(eq(sz, c.len, 0));
    }
}

Test(cookie, must_belong_to_us)
{
    if (geteuid() != 0)
        return; /* only root can give a file away */
    struct cookie c;
    kit_file_write(path, secret, strlen(secret), 0400);
    cr_assert(chown(path, 12345, 12345) == 0);
    cr_expect(not(cookie_read(path, &c, &err)));
    expect_error("cookie file must be accessible by owner only");
    expect_error("user 12345");
}

Test(cookie, holds_no_line_break)
{
    struct cookie c;
    static const char *const bad[] = { "UNGUESSABLEUNGUESSABLE\n", "UNGUESSABLEUNGUESSABLE\r\n",
                                       "\nUNGUESSABLE", "UN\rGUESSABLE" };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        kit_file_write(path, bad[i], strlen(bad[i]), 0400);
        cr_expect(not(cookie_read(path, &c, &err)));
        expect_error("line break");
        expect_error("echo -n");
        cr_expect(strstr(err.text, "GUESSABLE") == NULL, "the secret is in \"%s\"", err.text);
    }
}

Test(cookie, has_bounds)
{
    struct cookie c;
    char octets[COOKIE_MAX + 1];
    memset(octets, 'c', sizeof octets);
    kit_file_write(path, octets, COOKIE_MAX, 0400);
    cr_expect(cookie_read(path, &c, &err), "%s", err.text);
    cr_expect(eq(sz, c.len, COOKIE_MAX));
    kit_file_write(path, octets, COOKIE_MAX + 1, 0400);
    cr_expect(not(cookie_read(path, &c, &err)));
    expect_error("longer than 1024 octets");
    kit_file_write(path, octets, 0, 0400);
    cr_expect(not(cookie_read(path, &c, &err)));
    expect_error("is empty");
    cr_expect(not(cookie_read(folder, &c, &err)));
    expect_error("not a regular file");
}

static uint64_t no_time(void)
{
    return 0;
}

/* What the log says while `path` is read. */
static const char *log_of_reading(char *room, size_t room_bytes)
{
    struct cookie c;
    char log_path[KIT_PATH_MAX];
    struct log_setup setup = { .target = kit_path(log_path, folder, "log"),
                               .level = LOG_LEVEL_WARN,
                               .wall_ms = no_time,
                               .program = "unit" };
    cr_assert(log_start(&setup, &err), "%s", err.text);
    cr_assert(cookie_read(path, &c, &err), "%s", err.text);
    FILE *f = fopen(log_path, "r");
    room[fread(room, 1, room_bytes - 1, f)] = '\0';
    fclose(f);
    (void)unlink(log_path);
    return room;
}

Test(cookie, is_warned_of_when_short)
{
    char said[1024];
    kit_file_write(path, "12345678901234567890", 20, 0400);
    cr_expect(eq(str, (char *)log_of_reading(said, sizeof said), ""));
    kit_file_write(path, "1234567890123456789", 19, 0400);
    log_of_reading(said, sizeof said);
    cr_expect(strstr(said, " warn cookie ") != NULL && strstr(said, "octets=19") != NULL, "%s",
              said);
    cr_expect(strstr(said, "123456") == NULL, "the secret is in the log");
}

Test(cookie, is_made_when_absent)
{
    struct cookie c, again;
    cr_expect(not(cookie_read(path, &c, &err)));
    cr_expect(eq(int, err.code, ERR_NOT_FOUND));
    cr_assert(cookie_read_or_make(path, &c, &err), "%s", err.text);
    cr_expect(ge(sz, c.len, COOKIE_SHORT));
    cr_expect(eq(uint, mode_of(path), 0400));
    cr_assert(cookie_read_or_make(path, &again, &err), "%s", err.text);
    cr_expect(slice_eq(cookie_slice(&c), cookie_slice(&again)));

    char other[KIT_PATH_MAX];
    cr_assert(cookie_read_or_make(kit_path(other, folder, "other"), &again, &err));
    cr_expect(not(slice_eq(cookie_slice(&c), cookie_slice(&again))));
    cr_expect(not(cookie_read_or_make("/nowhere/at/all", &c, &err)));
    expect_error("/nowhere/at/all");
}

Test(cookie, is_the_same_for_all_who_make_it_at_once)
{
    enum { COUNT = 8 };
    int report[2];
    cr_assert(pipe(report) == 0);
    for (int i = 0; i < COUNT; i++) {
        if (fork() != 0)
            continue;
        struct cookie c;
        char octets[33] = "";
        if (cookie_read_or_make(path, &c, &err) && c.len == 32)
            memcpy(octets, c.bytes, 32);
        (void)!write(report[1], octets, sizeof octets);
        _exit(0);
    }
    close(report[1]);
    char first[33], octets[33];
    cr_assert(eq(int, (int)read(report[0], first, sizeof first), 33));
    cr_expect(eq(sz, strlen(first), 32));
    for (int i = 1; i < COUNT; i++) {
        cr_assert(eq(int, (int)read(report[0], octets, sizeof octets), 33));
        cr_expect(eq(str, octets, first));
    }
    close(report[0]);
    while (wait(NULL) > 0)
        ;
}
