#include "sim_run.h"

#include "base/check.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 16u
/* More than that is a hang, also under a sanitizer: of a processor, since others may be preferred
 * to this process for long, and ten times as much of the clock's for what waits and computes
 * nothing. */
#define SEED_SECONDS 60u

struct lane {
    uint64_t seed; /* under way */
    uint64_t done;
    uint64_t failures;
    struct sim_report sums;
    char why[300];
    bool has_failed;
};

struct shared {
    atomic_bool stop;
    struct lane lanes[JOBS_MAX];
};

static void add(struct sim_report *to, const struct sim_report *r)
{
    to->steps += r->steps;
    to->restarts += r->restarts;
    to->messages += r->messages;
    to->evacuated += r->evacuated;
    to->damages += r->damages;
}

static time_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void limit_time(void)
{
    struct itimerval limit = { .it_value = { .tv_sec = SEED_SECONDS } };
    CHECK(setitimer(ITIMER_PROF, &limit, NULL) == 0);
    alarm(10 * SEED_SECONDS);
}

static bool is_hang(int number)
{
    return number == SIGALRM || number == SIGPROF;
}

static void run_lane(const struct sim_batch *b, struct shared *sh, unsigned index)
{
    struct lane *lane = &sh->lanes[index];
    time_t end = now_s() + (time_t)b->seconds;
    for (uint64_t i = index; i < b->count && !atomic_load(&sh->stop); i += b->jobs) {
        if (b->seconds != 0 && now_s() >= end)
            return;
        struct sim_report r;
        lane->seed = b->first + i;
        limit_time();
        bool ok = b->kind->run(lane->seed, NULL, NULL, &r);
        if (!ok && b->goes_on) {
            printf("FAIL SIM_KIND=%s SIM_SEED=%" PRIu64 ": %s\n", b->kind->name, lane->seed, r.why);
            lane->failures++;
        } else if (!ok) {
            lane->has_failed = true;
            memcpy(lane->why, r.why, sizeof lane->why);
            return;
        }
        lane->done++;
        add(&lane->sums, &r);
    }
}

static void judge(const struct sim_batch *b, const struct lane *lane, int status,
                  struct sim_outcome *out)
{
    out->seeds += lane->done;
    out->has_failed = out->has_failed || lane->failures != 0;
    add(&out->sums, &lane->sums);
    bool has_died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (!lane->has_failed && !has_died)
        return;
    char why[300];
    if (lane->has_failed)
        memcpy(why, lane->why, sizeof why);
    else if (WIFSIGNALED(status))
        (void)snprintf(why, sizeof why, "it died of signal %d%s", WTERMSIG(status),
                       is_hang(WTERMSIG(status)) ? ", it hung" : "");
    else
        (void)snprintf(why, sizeof why, "it ended with code %d", WEXITSTATUS(status));
    if (!b->is_quiet)
        printf("FAIL SIM_KIND=%s SIM_SEED=%" PRIu64 ": %s\n", b->kind->name, lane->seed, why);
    if (out->has_failed && out->failed_seed < lane->seed)
        return;
    out->has_failed = true;
    out->failed_seed = lane->seed;
    memcpy(out->why, why, sizeof why);
}

void sim_run_batch(const struct sim_batch *b, struct sim_outcome *out)
{
    CHECK(b->jobs >= 1 && b->jobs <= JOBS_MAX);
    *out = (struct sim_outcome){ 0 };
    struct shared *sh =
        mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(sh != MAP_FAILED);
    pid_t pids[JOBS_MAX];
    (void)fflush(stdout);
    for (unsigned i = 0; i < b->jobs; i++) {
        pids[i] = fork();
        CHECK(pids[i] >= 0);
        if (pids[i] == 0) {
            if (b->is_quiet)
                CHECK(freopen("/dev/null", "w", stderr) != NULL);
            run_lane(b, sh, i);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < b->jobs; i++) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        for (unsigned k = 0; k < b->jobs; k++) {
            if (pids[k] != pid)
                continue;
            judge(b, &sh->lanes[k], status, out);
            if (out->has_failed)
                atomic_store(&sh->stop, true);
        }
    }
    munmap(sh, sizeof *sh);
}
