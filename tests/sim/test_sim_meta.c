/* The metadata's log on a disk that loses what was not synced: whatever a crash at any operation
 * leaves, what was acknowledged is there, and nothing but that and the group that was on its way.
 */
#include "cluster/meta_mutation.h"
#include "meta_life.h"
#include "sim_disk.h"

#include <stdlib.h>

#define LIVES 6

/* Until the disk is down, or a number of steps. */
static void live(struct life *l)
{
    for (int step = 0; step < 400; step++) {
        life_do_something(l);
        if (rng_below(&l->rng, 3) == 0 && !life_commit(l))
            return;
        if (l->has_snapshot && rng_below(&l->rng, 4) == 0 && !life_write_snapshot(l) &&
            l->err.code != ERR_LIMIT)
            return;
        if (rng_below(&l->rng, 30) == 0 && meta_log_wants_closing(l->log) &&
            !meta_log_close_group(l->log, &l->err))
            return;
    }
}

static struct sim_faults chance_faults(struct rng *r)
{
    struct sim_faults f = { .crash_at = 1 + rng_below(r, 1 + rng_below(r, 400)) };
    if (rng_below(r, 2) == 0)
        f.sync_fails_at = 1 + rng_below(r, 40);
    if (rng_below(r, 4) == 0)
        f.write_fails_at = 1 + rng_below(r, 100);
    if (rng_below(r, 4) == 0)
        f.quota_bytes = 20000 + rng_below(r, 60000);
    return f;
}

/* What is wrong, or NULL. */
static const char *wrong;

/* A start may crash as well; then the next one must find the same. */
static bool start(struct life *l, struct sim_disk *sim, struct rng *r)
{
    for (int tries = 0;; tries++) {
        struct sim_faults none = { 0 }, some = { .crash_at = 5 + rng_below(r, 12) };
        sim_disk_arm(sim, tries < 4 && rng_below(r, 2) == 0 ? &some : &none);
        if (life_begin(l, sim_disk_of(sim), rng_u64(r)))
            return true;
        bool crashed = sim_disk_is_down(sim);
        life_end(l);
        if (!crashed) {
            wrong = "it does not start";
            return false;
        }
        sim_disk_reboot(sim, (enum sim_survival)rng_below(r, SIM_SURVIVALS));
    }
}

/* A queue that does not last, as many are. */
static void make_passing(struct life *l)
{
    char name[24];
    snprintf(name, sizeof name, "passing-%d", (int)rng_below(&l->rng, 1000000));
    struct meta_cmd c = q_declare(name);
    c.vhost_id = life_some_vhost(l);
    (void)life_apply(l, &c);
}

static void one_life(struct life *l, struct sim_disk *sim, struct rng *r, uint64_t *begun,
                     uint64_t *last_id)
{
    if (!start(l, sim, r))
        return;
    uint64_t digest = meta_digest_lasting(l->meta);
    if (digest != l->safe && digest != *begun)
        wrong = "what was acknowledged is not what is there";
    if (meta_last_id(l->meta) < *last_id)
        wrong = "ids are given again";
    l->safe = digest;
    struct sim_faults faults = chance_faults(r);
    sim_disk_arm(sim, &faults);
    live(l);
    make_passing(l);
    *begun = l->begun;
    *last_id = meta_last_id(l->meta);
    life_end(l);
    sim_disk_reboot(sim, (enum sim_survival)rng_below(r, SIM_SURVIVALS));
}

static void run(struct life *l, uint64_t seed)
{
    struct rng r;
    uint64_t begun = 0, last_id = 0;
    rng_init(&r, seed);
    struct sim_disk *sim = sim_disk_new(seed, NULL, NULL);
    l->least_bytes = 3000 + rng_below(&r, 4000);
    l->safe = 0; /* of nothing */
    wrong = NULL;
    for (int i = 0; i < LIVES && wrong == NULL; i++)
        one_life(l, sim, &r, &begun, &last_id);
    sim_disk_free(&sim);
}

/* ---- rules that are broken on purpose ---- */

static enum meta_mutation mutation = META_MUTATION_COUNT;

bool meta_mutation_is_on(enum meta_mutation m)
{
    return m == mutation;
}

static const char *const mutations[] = {
#define X(name, text) text,
    META_MUTATIONS(X)
#undef X
};

#define SEEDS          1000u
#define MUTATION_SEEDS 3000u /* at most: most are found at once */

Test(sim_meta, keeps_what_it_acknowledged, .timeout = 3600)
{
    struct life *l = mem_zalloc(sizeof *l);
    const char *more = getenv("SIM_META_SEEDS");
    uint64_t seeds = more != NULL ? strtoull(more, NULL, 10) : SEEDS;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run(l, seed);
        cr_assert(wrong == NULL, "seed %d: %s: %s", (int)seed, wrong, l->err.text);
    }
    mem_free(l);
}

Test(sim_meta, notices_every_rule_that_is_broken, .timeout = 120)
{
    struct life *l = mem_zalloc(sizeof *l);
    for (unsigned m = 0; m < META_MUTATION_COUNT; m++) {
        mutation = (enum meta_mutation)m;
        uint64_t seed = 0;
        do
            run(l, ++seed);
        while (wrong == NULL && seed < MUTATION_SEEDS);
        cr_expect(wrong != NULL, "nobody notices code that %s", mutations[m]);
    }
    mem_free(l);
}
