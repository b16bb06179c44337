/* The metadata's log on a disk that loses what was not synced: whatever a crash at any operation
 * leaves, what was acknowledged is there, and nothing but that and the group that was on its way.
 */
#include "meta_life.h"
#include "sim_disk.h"

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
    struct sim_faults f = { .crash_at = 1 + rng_below(r, 400) };
    if (rng_below(r, 4) == 0)
        f.sync_fails_at = 1 + rng_below(r, 100);
    if (rng_below(r, 4) == 0)
        f.write_fails_at = 1 + rng_below(r, 100);
    if (rng_below(r, 4) == 0)
        f.quota_bytes = 20000 + rng_below(r, 60000);
    return f;
}

/* A start may crash as well; then the next one must find the same. */
static void start(struct life *l, struct sim_disk *sim, struct rng *r, uint64_t seed)
{
    for (int tries = 0;; tries++) {
        struct sim_faults none = { 0 }, some = { .crash_at = 1 + rng_below(r, 20) };
        sim_disk_arm(sim, tries < 2 && rng_below(r, 3) == 0 ? &some : &none);
        bool ok = life_begin(l, sim_disk_of(sim), rng_u64(r));
        if (ok)
            return;
        cr_assert(sim_disk_is_down(sim), "seed %d: %s", (int)seed, l->err.text);
        life_end(l);
        sim_disk_reboot(sim, (enum sim_survival)rng_below(r, SIM_SURVIVALS));
    }
}

static void run(struct life *l, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    struct sim_disk *sim = sim_disk_new(seed, NULL, NULL);
    l->least_bytes = 3000 + rng_below(&r, 4000);
    l->safe = 0; /* of nothing */
    uint64_t begun = 0, last_id = 0;
    for (int i = 0; i < LIVES; i++) {
        start(l, sim, &r, seed);
        uint64_t digest = meta_digest_lasting(l->meta);
        cr_assert(digest == l->safe || digest == begun, "seed %d, life %d", (int)seed, i);
        cr_assert(meta_last_id(l->meta) >= last_id, "seed %d, life %d", (int)seed, i);
        l->safe = digest;
        struct sim_faults faults = chance_faults(&r);
        sim_disk_arm(sim, &faults);
        live(l);
        begun = l->begun;
        last_id = meta_last_id(l->meta);
        life_end(l);
        sim_disk_reboot(sim, (enum sim_survival)rng_below(&r, SIM_SURVIVALS));
    }
    sim_disk_free(&sim);
}

Test(sim_meta, keeps_what_it_acknowledged, .timeout = 120)
{
    struct life *l = mem_zalloc(sizeof *l);
    for (uint64_t seed = 1; seed <= 300; seed++)
        run(l, seed);
    mem_free(l);
}
