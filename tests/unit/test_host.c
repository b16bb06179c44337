#include "base/check.h"
#include "io/host.h"

#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A machine of files: what /proc and /sys would say. */
static char root[] = "/tmp/test_host_XXXXXX";

static void begin(void)
{
    cr_assert(mkdtemp(root) != NULL);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    cr_assert(system(command) == 0);
}

TestSuite(host, .init = begin, .fini = end);

static void write_file(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *c = full + strlen(root) + 1; *c != '\0'; c++) {
        if (*c != '/')
            continue;
        *c = '\0';
        (void)mkdir(full, 0700); /* may be there already; fopen tells if it is not */
        *c = '/';
    }
    FILE *f = fopen(full, "w");
    cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const char meminfo[] = "MemFree:     11 kB\nMemTotal:       1024 kB\nBuffers: 1 kB\n";

Test(host, takes_the_machines_memory_when_no_group_limits_it)
{
    cr_expect(eq(u64, host_memory_bytes(root), 0)); /* nothing to read at all */
    write_file("/proc/meminfo", meminfo);
    cr_expect(eq(u64, host_memory_bytes(root), 1 << 20));
    write_file("/proc/self/cgroup", "0::/user/me\n");
    cr_expect(eq(u64, host_memory_bytes(root), 1 << 20));
    write_file("/sys/fs/cgroup/user/me/memory.max", "max\n");
    cr_expect(eq(u64, host_memory_bytes(root), 1 << 20));
    write_file("/sys/fs/cgroup/user/me/memory.max", "99999999999\n");
    cr_expect(eq(u64, host_memory_bytes(root), 1 << 20));
}

Test(host, takes_the_least_of_its_groups)
{
    write_file("/proc/meminfo", meminfo);
    write_file("/proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n");
    write_file("/sys/fs/cgroup/a/b/memory.max", "500000\n");
    cr_expect(eq(u64, host_memory_bytes(root), 500000));
    write_file("/sys/fs/cgroup/a/memory.max", "400000\n"); /* a parent binds, too */
    cr_expect(eq(u64, host_memory_bytes(root), 400000));
    write_file("/sys/fs/cgroup/memory.max", "300000\n");
    cr_expect(eq(u64, host_memory_bytes(root), 300000));
}

/* In a container the path may be that of the host, and only the top is there. */
Test(host, takes_the_top_of_the_hierarchy_in_a_container)
{
    write_file("/proc/meminfo", meminfo);
    write_file("/proc/self/cgroup", "0::/docker/0123\n");
    write_file("/sys/fs/cgroup/memory.max", "300000\n");
    cr_expect(eq(u64, host_memory_bytes(root), 300000));
    write_file("/proc/self/cgroup", "0::/\n");
    cr_expect(eq(u64, host_memory_bytes(root), 300000));
}

Test(host, knows_groups_of_the_first_version)
{
    write_file("/proc/meminfo", meminfo);
    write_file("/proc/self/cgroup", "4:cpu,cpuacct:/c\n3:memory:/m\n");
    write_file("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "200000\n");
    cr_expect(eq(u64, host_memory_bytes(root), 200000));
    write_file("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "9223372036854771712\n");
    cr_expect(eq(u64, host_memory_bytes(root), 1 << 20));
}

Test(host, bounds_cores_by_a_quota)
{
    unsigned cores = host_cores(root);
    cr_expect(cores >= 1);
    cr_expect(eq(u32, host_cores(""), host_cores("")));
    write_file("/proc/self/cgroup", "0::/a\n");
    write_file("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    cr_expect(eq(u32, host_cores(root), cores));
    write_file("/sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    cr_expect(eq(u32, host_cores(root), 1));
    write_file("/sys/fs/cgroup/a/cpu.max", "1000 100000\n");
    cr_expect(eq(u32, host_cores(root), 1));
    write_file("/sys/fs/cgroup/a/cpu.max", "100000000 100000\n");
    cr_expect(eq(u32, host_cores(root), cores));
    write_file("/sys/fs/cgroup/a/cpu.max", "150000 100000\n"); /* one and a half */
    cr_expect(eq(u32, host_cores(root), cores < 2 ? cores : 2));
}

Test(host, has_a_name_without_dots)
{
    char name[64], cut[3];
    host_short_name(name, sizeof name);
    cr_expect(name[0] != '\0' && strchr(name, '.') == NULL);
    host_short_name(cut, sizeof cut);
    cr_expect(strlen(cut) <= 2 && strncmp(cut, name, strlen(cut)) == 0);
}

Test(host, reads_this_machine)
{
    cr_expect(host_memory_bytes("") > 1 << 20);
}

Test(host, reads_the_resident_pages)
{
    cr_expect(eq(u64, host_resident_bytes(root), 0)); /* nothing to read */
    write_file("/proc/self/statm", "300 5 2 1 0 1 0\n");
    cr_expect(eq(u64, host_resident_bytes(root), 5 * (uint64_t)sysconf(_SC_PAGESIZE)));
    cr_expect(gt(u64, host_resident_bytes(""), 0));
}

Test(host, knows_the_room_on_a_disk)
{
    cr_expect(gt(u64, host_disk_free_bytes(root), 0));
    cr_expect(eq(u64, host_disk_free_bytes("/no/such/folder"), 0));
    cr_expect(gt(u64, host_files_max(), 0));
}

Test(host, knows_who_lives)
{
    cr_expect(host_process_lives((uint64_t)getpid()));
    cr_expect(not(host_process_lives(0)));
    cr_expect(not(host_process_lives(INT32_MAX)));
    cr_expect(not(host_process_lives(UINT64_MAX)));
}

Test(host, who_has_ended_does_not_live_even_unasked_for)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    siginfo_t info;
    cr_assert(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
    cr_expect(not(host_process_lives((uint64_t)child)));
    waitpid(child, NULL, 0);
}
