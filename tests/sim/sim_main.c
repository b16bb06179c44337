/*
 * sim-store: the store under every fault, from seeds.
 *
 *   SIM_SEEDS=N     so many seeds (3000)         SIM_FIRST=N    from this one on (1)
 *   SIM_MINUTES=N   as long as that instead      SIM_JOBS=N     processes side by side (2)
 *   SIM_SEED=N      this one alone               SIM_TRACE=1    and what happens in it
 *   SIM_GO_ON=1     also after a seed that failed
 *   SIM_KIND=NAME   this kind of history alone   SIM_MUTATION=NAME  with this rule broken
 *   SIM_WITNESSES=0 no rule's known seed first, see sim_witness.h
 *
 * With `mutations` as its argument it breaks each rule in turn and wants that to be noticed; with
 * `gossip-figures` it prints how fast gossip is (SIM_TRIALS=N of each row).
 */
#include "base/check.h"
#include "base/log.h"
#include "base/mutation.h"
#include "io/clock.h"
#include "sim_far.h"
#include "sim_gossip.h"
#include "sim_grant.h"
#include "sim_lane.h"
#include "sim_location.h"
#include "sim_meta.h"
#include "sim_mirror.h"
#include "sim_raft.h"
#include "sim_raft_disk.h"
#include "sim_run.h"
#include "sim_store.h"
#include "sim_witness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct sim_kind kinds[] = {
    { "log", sim_log_run },           { "store", sim_store_run },    { "gossip", sim_gossip_run },
    { "raft", sim_raft_run },         { "disk", sim_raft_disk_run }, { "meta", sim_meta_run },
    { "location", sim_location_run }, { "group", sim_group_run },    { "cluster", sim_cluster_run },
    { "grant", sim_grant_run },       { "mirror", sim_mirror_run },  { "remote", sim_far_run },
    { "lane", sim_lane_run },         { "hand", sim_hand_run },
};

static const char *const mutation_names[] = {
#define X(name, text) #name,
    MUTATIONS(X)
#undef X
};

static const char *const mutation_texts[] = {
#define X(name, text) text,
    MUTATIONS(X)
#undef X
};

/* A rule is tried by the kinds of history that know it: its name begins with the kind's, in capital
 * letters; the rules of the store have no such beginning, and mirrors know them, too. */
static bool is_of_kind(const char *rule, const struct sim_kind *kind)
{
    static const struct {
        const char *prefix, *kind;
    } rows[] = { { "GOSSIP_", "gossip" }, { "LOCATION_", "location" }, { "RAFT_", "raft" },
                 { "DISK_", "disk" },     { "META_", "meta" },         { "GRANT_", "grant" },
                 { "MIRROR_", "mirror" }, { "REMOTE_", "remote" },     { "CLUSTER_", "cluster" },
                 { "LANE_", "lane" },     { "HAND_", "hand" } };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        if (strncmp(rule, rows[i].prefix, strlen(rows[i].prefix)) == 0)
            return strcmp(kind->name, rows[i].kind) == 0;
    return strcmp(kind->name, "log") == 0 || strcmp(kind->name, "store") == 0 ||
           strcmp(kind->name, "mirror") == 0;
}

static bool is_of_the_store(const char *rule)
{
    return is_of_kind(rule, &kinds[0]);
}

static enum mutation mutation = MUTATION_COUNT;

bool mutation_is_on(enum mutation m)
{
    return m == mutation;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

static void print_line(const char *line, void *arg)
{
    (void)arg;
    puts(line);
}

/* Of the processors, for all histories so far: each ran in a child. */
static double spent_s(void)
{
    struct rusage u;
    CHECK(getrusage(RUSAGE_CHILDREN, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static bool run_one(const struct sim_kind *kind, uint64_t seed)
{
    struct sim_report r;
    bool ok = kind->run(seed, number("SIM_TRACE", 0) != 0 ? print_line : NULL, NULL, &r);
    printf("%s SIM_KIND=%s SIM_SEED=%" PRIu64 "%s%s\n", ok ? "ok" : "FAIL", kind->name, seed,
           ok ? "" : ": ", ok ? "" : r.why);
    return ok;
}

static bool run_many(const struct sim_kind *kind)
{
    struct sim_outcome o;
    uint64_t minutes = number("SIM_MINUTES", 0);
    struct sim_batch b = { .kind = kind,
                           .first = number("SIM_FIRST", 1),
                           .count = minutes != 0 ? UINT64_MAX / 2 : number("SIM_SEEDS", 3000),
                           .jobs = (unsigned)number("SIM_JOBS", 2),
                           .seconds = (unsigned)minutes * 60,
                           .goes_on = number("SIM_GO_ON", 0) != 0 };
    double before_s = spent_s();
    sim_run_batch(&b, &o);
    printf("%s %s: %" PRIu64 " seeds, %" PRIu64 " steps, %" PRIu64 " restarts, %" PRIu64
           " messages, %" PRIu64 " segments evacuated, %" PRIu64 " damages told, %.1f s of a "
           "processor\n",
           o.has_failed ? "FAIL" : "ok", kind->name, o.seeds, o.sums.steps, o.sums.restarts,
           o.sums.messages, o.sums.evacuated, o.sums.damages, spent_s() - before_s);
    return !o.has_failed;
}

/* A history that fails anyway says nothing of a rule. */
static bool fails_anyway(const struct sim_kind *kind, uint64_t seed)
{
    struct sim_outcome o;
    enum mutation broken = mutation;
    mutation = MUTATION_COUNT;
    sim_run_batch(
        &(struct sim_batch){ .kind = kind, .first = seed, .count = 1, .jobs = 1, .is_quiet = true },
        &o);
    mutation = broken;
    if (o.has_failed)
        printf("SIM_KIND=%s SIM_SEED=%" PRIu64 " fails with no rule broken: %s\n", kind->name, seed,
               o.why);
    return o.has_failed;
}

/* Seeds that fail anyway are passed over: those behind them may know the rule. */
static bool is_noticed_by(enum mutation m, const struct sim_kind *kind, uint64_t first,
                          uint64_t count)
{
    struct sim_outcome o;
    for (uint64_t at = first; at < first + count; at = o.failed_seed + 1) {
        sim_run_batch(&(struct sim_batch){ .kind = kind,
                                           .first = at,
                                           .count = first + count - at,
                                           .jobs = (unsigned)number("SIM_JOBS", 2),
                                           .is_quiet = true },
                      &o);
        if (!o.has_failed)
            return false;
        if (fails_anyway(kind, o.failed_seed))
            continue;
        printf("ok   %s: noticed by %s, seed %" PRIu64 ": %s\n", mutation_names[m], kind->name,
               o.failed_seed, o.why);
        return true;
    }
    return false;
}

/* The seed that is known to notice it, as long as histories are what they were. */
static bool is_noticed_at_once(enum mutation m, const char *only)
{
    const struct sim_witness *w = sim_witness_of(mutation_names[m]);
    for (size_t k = 0; w != NULL && k < ARRAY_COUNT(kinds); k++)
        if (strcmp(w->kind, kinds[k].name) == 0 && (only == NULL || strcmp(only, w->kind) == 0))
            return is_noticed_by(m, &kinds[k], w->seed, 1);
    return false;
}

/* So many more take as long. */
static bool is_short(const struct sim_kind *kind)
{
    return strcmp(kind->name, "log") == 0 || strcmp(kind->name, "mirror") == 0 ||
           strcmp(kind->name, "hand") == 0;
}

/* Seeds of each kind in turn, more and more of them. */
static bool notices(enum mutation m, const char *only)
{
    uint64_t budget = number("SIM_SEEDS", 20000);
    mutation = m;
    if (number("SIM_WITNESSES", 1) != 0 && is_noticed_at_once(m, only))
        return true;
    for (uint64_t first = 1, count = 50; first < budget; first += count, count *= 2)
        for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
            bool is_wanted = only == NULL || strcmp(only, kinds[k].name) == 0;
            if (!is_wanted || !is_of_kind(mutation_names[m], &kinds[k]))
                continue;
            uint64_t times = is_short(&kinds[k]) ? 8 : 1;
            if (is_noticed_by(m, &kinds[k], 1 + (first - 1) * times, count * times))
                return true;
        }
    printf("FAIL %s: nobody notices that it %s\n", mutation_names[m], mutation_texts[m]);
    return false;
}

static enum mutation mutation_of(const char *name)
{
    for (int m = 0; m < MUTATION_COUNT; m++)
        if (name != NULL && strcmp(name, mutation_names[m]) == 0)
            return (enum mutation)m;
    CHECK(name == NULL || *name == '\0');
    return MUTATION_COUNT;
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;
    const char *only = getenv("SIM_KIND");
    mutation = mutation_of(getenv("SIM_MUTATION"));
    struct err err;
    struct log_setup quiet = {
        .target = "/dev/null", .level = LOG_LEVEL_ERROR, .wall_ms = clock_wall_ms, .program = "sim"
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (number("SIM_TRACE", 0) == 0 && !log_start(&quiet, &err))
        return 1;
    if (argc > 1 && strcmp(argv[1], "gossip-figures") == 0) {
        sim_gossip_figures((unsigned)number("SIM_TRIALS", 100));
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "mutations") == 0) {
        enum mutation one = mutation;
        double store_s = 0;
        for (int m = 0; m < MUTATION_COUNT; m++) {
            if (one != MUTATION_COUNT && one != (enum mutation)m)
                continue;
            double before_s = spent_s();
            bool ok = notices((enum mutation)m, only);
            passed += ok;
            failed += !ok;
            store_s += is_of_the_store(mutation_names[m]) ? spent_s() - before_s : 0;
        }
        printf("rules of the store: %.1f s of a processor, all rules: %.1f s\n", store_s,
               spent_s());
    } else {
        for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
            if (only != NULL && strcmp(only, kinds[k].name) != 0)
                continue;
            uint64_t seed = number("SIM_SEED", 0);
            bool ok = seed != 0 ? run_one(&kinds[k], seed) : run_many(&kinds[k]);
            passed += ok;
            failed += !ok;
        }
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
