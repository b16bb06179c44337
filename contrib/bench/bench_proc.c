#include "bench_proc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static FILE *open_proc(uint32_t pid, const char *name, struct err *err)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%" PRIu32 "/%s", pid, name);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        err_set(err, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
    return f;
}

bool bench_proc_cpu_us(uint32_t pid, uint64_t *out, struct err *err)
{
    FILE *f = open_proc(pid, "stat", err);
    if (f == NULL)
        return false;
    char line[1024];
    uint64_t user, system;
    /* The name, in parentheses, may hold anything; after it come the state and ten more fields. */
    const char *name_end = fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    (void)fclose(f);
    if (name_end == NULL ||
        sscanf(name_end + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64,
               &user, &system) != 2)
        return err_set(err, ERR_NOT_FOUND, "process %" PRIu32 " has no CPU times", pid);
    *out = (user + system) * 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    return true;
}

bool bench_proc_rss_bytes(uint32_t pid, uint64_t *out, struct err *err)
{
    FILE *f = open_proc(pid, "smaps_rollup", err);
    if (f == NULL)
        return false;
    char line[256];
    uint64_t kib = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, f) != NULL)
        found = sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1;
    (void)fclose(f);
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "process %" PRIu32 " has no memory", pid);
    *out = kib * 1024u;
    return true;
}

bool bench_proc_sum(bench_proc_fn fn, const uint32_t *pids, uint32_t count, uint64_t *out,
                    struct err *err)
{
    *out = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t one;
        if (!fn(pids[i], &one, err))
            return false;
        *out += one;
    }
    return true;
}
