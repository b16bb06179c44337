#include "io/run_dir.h"

#include "expect.h"
#include "io/file.h"
#include "io_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct run_node node_of(const char *name, uint64_t pid)
{
    struct run_node n = { .port = 25672, .pid = pid };
    snprintf(n.name, sizeof n.name, "%s", name);
    snprintf(n.socket, sizeof n.socket, "/somewhere/ctl.sock");
    snprintf(n.cookie_file, sizeof n.cookie_file, "/somewhere/cookie");
    return n;
}

static char folder[PATH_MAX];

static void use_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/test-run-dir-%ld", (long)getpid());
    setenv("WARREN_RUN_DIR", folder, 1);
}

static size_t nodes(struct run_node *out, size_t room)
{
    return run_dir_nodes(out, room, NULL, 0);
}

Test(run_dir, a_node_that_lives_is_found)
{
    use_folder();
    struct run_node n = node_of("rabbit1@here", (uint64_t)getpid()), found[2];
    struct err err = { 0 };
    char path[PATH_MAX];
    cr_assert(run_dir_leave(&n, "/nowhere", path, &err), "%s", err.text);
    cr_assert(nodes(found, 2) == 1);
    expect_text(found[0].name, "rabbit1@here");
    expect_text(found[0].socket, "/somewhere/ctl.sock");
    expect_text(found[0].cookie_file, "/somewhere/cookie");
    cr_expect(eq(int, found[0].port, 25672));
    run_dir_forget(path);
    cr_expect(nodes(found, 2) == 0);
    rmdir(folder);
}

Test(run_dir, a_dead_one_is_passed_over_and_cleared_by_its_successor)
{
    use_folder();
    struct run_node dead = node_of("rabbit1@here", INT32_MAX), found[2];
    struct run_node other = node_of("rabbit2@here", INT32_MAX);
    struct run_node alive = node_of("rabbit1@here", (uint64_t)getpid());
    struct err err = { 0 };
    char path[PATH_MAX], others[PATH_MAX], now[PATH_MAX];
    cr_assert(run_dir_leave(&dead, "/nowhere", path, &err));
    cr_assert(run_dir_leave(&other, "/nowhere", others, &err));
    cr_expect(nodes(found, 2) == 0);
    cr_assert(run_dir_leave(&alive, "/nowhere", now, &err));
    cr_expect(nodes(found, 2) == 1);
    cr_expect(access(path, F_OK) != 0, "its own was cleared");
    cr_expect(access(others, F_OK) == 0, "another name's was not");
    run_dir_forget(others);
    run_dir_forget(now);
    rmdir(folder);
}

Test(run_dir, what_is_no_entry_is_passed_over)
{
    use_folder();
    struct run_node found[2];
    struct err err = { 0 };
    char path[PATH_MAX + 32];
    cr_assert(file_make_folders(folder, 0755, &err));
    snprintf(path, sizeof path, "%s/rabbit1@here.17", folder);
    cr_assert(file_write(path, slice_str("name\n=\npid=many\ncluster=70000\n\n"), 0644, &err));
    cr_expect(nodes(found, 2) == 0);
    unlink(path);
    rmdir(folder);
}

Test(run_dir, says_what_cannot_be_written)
{
    setenv("WARREN_RUN_DIR", "/proc/nosuch", 1);
    struct run_node n = node_of("rabbit1@here", (uint64_t)getpid());
    struct err err = { 0 };
    char path[PATH_MAX];
    bool left = run_dir_leave(&n, "/nowhere", path, &err);
    cr_expect(not(left));
    cr_expect(strstr(err.text, "/proc/nosuch") != NULL, "%s", err.text);
}
