#include "io/host.h"

#include "base/check.h"
#include "base/slice.h"
#include "base/text.h"
#include "base/units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILE_MAX_BYTES 8192
#define PATH_MAX_BYTES 4096
#define CORES_MAX      4096 /* larger than any set the kernel reports today */

static struct slice read_small(const char *path, char room[FILE_MAX_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return slice_of(room, 0);
    ssize_t n = read(fd, room, FILE_MAX_BYTES); /* files of /proc and /sys come in one read */
    close(fd);
    return slice_of(room, n > 0 ? (size_t)n : 0);
}

/* The text up to `end`, which *s is moved behind; all of it when there is no such octet. */
static struct slice take_until(struct slice *s, char end)
{
    const uint8_t *at = s->len != 0 ? memchr(s->ptr, end, s->len) : NULL;
    size_t n = at != NULL ? (size_t)(at - s->ptr) : s->len;
    struct slice head = slice_head(*s, n);
    *s = slice_from(*s, n + 1);
    return head;
}

/* "MemTotal:  3985104 kB" of /proc/meminfo. */
static uint64_t machine_memory(const char *root)
{
    char path[PATH_MAX_BYTES], room[FILE_MAX_BYTES];
    struct text name = text_over(path, sizeof path);
    text_put(&name, "%s/proc/meminfo", root);
    struct slice all = read_small(path, room);
    while (all.len != 0) {
        struct slice line = take_until(&all, '\n');
        if (!slice_starts(line, "MemTotal:"))
            continue;
        line = slice_trim(slice_from(line, strlen("MemTotal:")));
        uint64_t kb;
        return units_u64(take_until(&line, ' '), &kb) ? kb * 1024 : 0;
    }
    return 0;
}

/* Our group's path below a hierarchy: from "0::/path" (v2) or "4:cpu,memory:/path" (v1). */
static bool group_path(const char *root, const char *controller, char out[PATH_MAX_BYTES])
{
    char room[FILE_MAX_BYTES];
    struct text name = text_over(out, PATH_MAX_BYTES);
    text_put(&name, "%s/proc/self/cgroup", root);
    struct slice all = read_small(out, room);
    while (all.len != 0) {
        struct slice line = take_until(&all, '\n');
        take_until(&line, ':');
        struct slice names = take_until(&line, ':');
        bool ours = names.len == 0 && controller[0] == '\0';
        while (names.len != 0 && !ours)
            ours = slice_is(take_until(&names, ','), controller);
        if (!ours)
            continue;
        struct text path = text_over(out, PATH_MAX_BYTES);
        text_slice(&path, line);
        return !path.cut;
    }
    return false;
}

/*
 * The least number that `file` holds in our group or one above it, as a group is bound by its
 * parents too. `judge` reads the file's text; UINT64_MAX is no limit. Inside a container our own
 * path may not be there, but the top of the hierarchy is our group then.
 */
static uint64_t least_in_groups(const char *root, const char *controller, const char *hierarchy,
                                const char *file, uint64_t (*judge)(struct slice))
{
    char path[PATH_MAX_BYTES];
    uint64_t least = UINT64_MAX;
    if (!group_path(root, controller, path))
        return least;
    for (;;) {
        char full[2 * PATH_MAX_BYTES], room[FILE_MAX_BYTES];
        struct text name = text_over(full, sizeof full);
        text_put(&name, "%s%s%s/%s", root, hierarchy, strcmp(path, "/") == 0 ? "" : path, file);
        struct slice text = read_small(full, room);
        uint64_t v = judge(take_until(&text, '\n'));
        least = v < least ? v : least;
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return least;
        *slash = '\0';
    }
}

/* "max" and an absent file are no limit; nor is 0, which nobody could live with. */
static uint64_t judge_bytes(struct slice text)
{
    uint64_t v;
    return units_u64(text, &v) && v != 0 ? v : UINT64_MAX;
}

uint64_t host_memory_bytes(const char *root)
{
    uint64_t least = machine_memory(root);
    uint64_t v2 = least_in_groups(root, "", "/sys/fs/cgroup", "memory.max", judge_bytes);
    uint64_t v1 = least_in_groups(root, "memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                  judge_bytes);
    uint64_t group = v1 < v2 ? v1 : v2;
    if (least == 0)
        return group != UINT64_MAX ? group : 0;
    return group < least ? group : least;
}

/* "150000 100000" is one and a half cores, for which two threads are right. */
static uint64_t judge_quota(struct slice text)
{
    uint64_t quota, period;
    if (!units_u64(take_until(&text, ' '), &quota) || !units_u64(text, &period) || period == 0)
        return UINT64_MAX;
    return quota / period + (quota % period != 0);
}

unsigned host_cores(const char *root)
{
    cpu_set_t *set = CPU_ALLOC(CORES_MAX);
    CHECK(set != NULL);
    size_t bytes = CPU_ALLOC_SIZE(CORES_MAX);
    int allowed = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 1;
    CPU_FREE(set);
    uint64_t quota = least_in_groups(root, "", "/sys/fs/cgroup", "cpu.max", judge_quota);
    unsigned cores = allowed > 1 ? (unsigned)allowed : 1;
    return quota != 0 && quota < cores ? (unsigned)quota : cores;
}

uint64_t host_files_open(void)
{
    DIR *d = opendir("/proc/self/fd");
    uint64_t count = 0;
    while (d != NULL && readdir(d) != NULL)
        count++;
    if (d != NULL)
        closedir(d);
    return count > 3 ? count - 3 : 0; /* ".", ".." and this one */
}

void host_short_name(char *out, size_t room)
{
    char name[256] = "";
    struct text to = text_over(out, room);
    if (gethostname(name, sizeof name - 1) != 0)
        name[0] = '\0';
    name[strcspn(name, ".")] = '\0';
    text_str(&to, name[0] != '\0' ? name : "localhost");
}

/* The second number of statm: "22311 1234 ...", in pages. */
uint64_t host_resident_bytes(const char *root)
{
    char path[PATH_MAX_BYTES], room[FILE_MAX_BYTES];
    struct text name = text_over(path, sizeof path);
    text_put(&name, "%s/proc/self/statm", root);
    struct slice all = read_small(path, room);
    take_until(&all, ' ');
    uint64_t pages;
    long page_bytes = sysconf(_SC_PAGESIZE);
    return page_bytes > 0 && units_u64(take_until(&all, ' '), &pages) ? pages * (uint64_t)page_bytes
                                                                      : 0;
}

uint64_t host_disk_free_bytes(const char *path)
{
    struct statvfs fs;
    return statvfs(path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0;
}

uint64_t host_files_max(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

/* "17 (name) Z ...": the name may hold anything, so the last parenthesis counts. */
static bool is_zombie(uint64_t pid)
{
    char path[64], room[FILE_MAX_BYTES];
    struct text t = text_over(path, sizeof path);
    text_put(&t, "/proc/%" PRIu64 "/stat", pid);
    struct slice stat = read_small(path, room);
    size_t end = stat.len;
    while (end != 0 && stat.ptr[end - 1] != ')')
        end--;
    return end != 0 && slice_starts(slice_from(stat, end), " Z");
}

bool host_process_lives(uint64_t pid)
{
    if (pid == 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) != 0 && errno != EPERM))
        return false;
    return !is_zombie(pid);
}
