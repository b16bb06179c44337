#include "sim_raft_disk.h"

#include "io/ram_disk.h"
#include "raft_life.h"
#include "sim_disk.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define LIVES      6
#define STEPS      400
#define NAMES_MAX  16u
#define STATES_FEW (RLIFE_STATES_MAX / 2)

struct history {
    struct rlife l;
    struct rng chance;
    struct sim_disk *disk;
    sim_say_fn trace;
    void *trace_arg;
    struct sim_report *out;
    struct rlife_log safe; /* as it was acknowledged last */
    bool is_closed;        /* nothing was written behind the last group's closing */
};

PRINTF_LIKE(2, 3) static void say(struct history *h, const char *fmt, ...)
{
    char line[256];
    va_list args;
    if (h->trace == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    h->trace(line, h->trace_arg);
}

PRINTF_LIKE(2, 3) static void wrong(struct history *h, const char *fmt, ...)
{
    va_list args;
    if (h->out->why[0] != '\0')
        return;
    va_start(args, fmt);
    (void)vsnprintf(h->out->why, sizeof h->out->why, fmt, args);
    va_end(args);
}

static bool is_wrong(const struct history *h)
{
    return h->out->why[0] != '\0';
}

static uint64_t below(struct history *h, uint64_t bound)
{
    return rng_below(&h->chance, bound);
}

/* ---- a life ---- */

static bool commit(struct history *h)
{
    struct rlife *l = &h->l;
    h->is_closed = false;
    if (!rlife_commit(l))
        return false;
    h->safe = l->log;
    rlife_apply(l);
    rlife_take_snapshot(l);
    say(h, "safe: term %" PRIu64 ", vote %u, last %" PRIu64 ", applied %" PRIu64, l->log.hard.term,
        l->log.hard.vote, l->log.last, l->applied);
    return true;
}

/* What a leader has: of our own log up to there, or of another one that has won. */
static bool receive(struct history *h)
{
    struct rlife *l = &h->l;
    bool keeps = l->log.last > l->applied && below(h, 2) == 0;
    uint64_t room = l->log.last - l->applied + (keeps ? 0 : 20);
    uint64_t index = l->applied + 1 + below(h, room != 0 ? room : 1);
    if (index >= RLIFE_LAST_MAX || (keeps && index > l->log.last))
        return true;
    uint64_t term = keeps ? l->log.terms[index] : l->log.hard.term + 1;
    struct raft_snapshot is = { .index = index, .term = term, .config_index = 1 };
    CHECK(raft_config_set(&is.config, 2, RAFT_VOTER));
    is.id = rng_u64(&h->chance);
    struct disk *other = ram_disk_new();
    bool ok = rlife_receive(l, other, is, keeps ? l->log.sums[index] : rng_u64(&h->chance),
                            64 + (size_t)below(h, 2000), below(h, 4) == 0 ? &h->chance : NULL);
    disk_free(&other);
    if (!ok)
        return l->err.code == ERR_LIMIT;
    say(h, "received a snapshot of %" PRIu64 " in term %" PRIu64, index, term);
    struct raft_write *w = rlife_write(l);
    if (!keeps)
        rlife_set_hard(l, w, term, 0);
    rlife_set_install(l, w, keeps);
    if (!keeps)
        rlife_put_some(l, w);
    rlife_give(l, w);
    return commit(h);
}

/* False: the disk is down, or has failed. */
static bool step(struct history *h)
{
    struct rlife *l = &h->l;
    h->out->steps++;
    rlife_do_something(l);
    if ((below(h, 3) == 0 || l->state_count > STATES_FEW) && !commit(h))
        return false;
    if (l->has_image && below(h, 4) == 0 && !rlife_write_snapshot(l) && l->err.code != ERR_LIMIT)
        return false;
    if (!raft_disk_has_gathered(l->d) && below(h, 20) == 0 && !receive(h))
        return false;
    if (raft_disk_has_gathered(l->d) || below(h, 20) != 0 || !raft_disk_wants_closing(l->d))
        return true;
    h->is_closed = raft_disk_close_group(l->d, &l->err);
    return h->is_closed;
}

static void arm(struct history *h)
{
    struct sim_faults f = { .crash_at = 1 + below(h, 1 + below(h, 400)) };
    if (below(h, 2) == 0)
        f.sync_fails_at = 1 + below(h, 40);
    if (below(h, 4) == 0)
        f.write_fails_at = 1 + below(h, 100);
    if (below(h, 4) == 0)
        f.quota_bytes = sim_disk_used(h->disk) + below(h, 60000);
    sim_disk_arm(h->disk, &f);
}

/* ---- a medium that goes bad ---- */

struct names {
    char at[NAMES_MAX][RAFT_FILE_NAME_ROOM];
    unsigned count;
};

static void note(const char *name, void *arg)
{
    struct names *n = arg;
    if (n->count < NAMES_MAX && strlen(name) < RAFT_FILE_NAME_ROOM - 8)
        (void)snprintf(n->at[n->count++], RAFT_FILE_NAME_ROOM, "raft/%.50s", name);
}

static bool rot(struct history *h)
{
    struct names n = { .count = 0 };
    struct err err;
    struct disk *d = sim_disk_of(h->disk);
    if (!d->ops->list(d, "raft", note, &n, &err) || n.count == 0)
        return false;
    const char *name = n.at[below(h, n.count)];
    size_t len = sim_disk_look(h->disk, name).len;
    uint64_t at = len != 0 ? below(h, below(h, 2) == 0 && len > 4096 ? 4096 : len) : 0;
    say(h, "rot in %s at %" PRIu64 " of %zu", name, at, len);
    return len != 0 && sim_disk_rot(h->disk, name, at, (uint8_t)(1u << below(h, 8)));
}

/* What is before the damage, and the vote as it was. Entries that nothing was applied of may have
 * been cut off behind it. */
static void accept_damage(struct history *h)
{
    struct rlife *l = &h->l;
    if (l->log.hard.term != h->safe.hard.term || l->log.hard.vote != h->safe.hard.vote ||
        !l->log.hard.is_recovering)
        wrong(h, "term or vote are not those that were acknowledged");
    if (l->log.last != 0 && !rlife_was(l, l->log.sums[l->log.last]))
        wrong(h, "what is before the damage is not what was there");
    h->out->damages++;
}

/* The node joins anew, as another. */
static void begin_anew(struct history *h)
{
    struct err err;
    struct disk *d = sim_disk_of(h->disk);
    struct sim_faults none = { 0 };
    uint64_t least_bytes = h->l.least_bytes;
    sim_disk_arm(h->disk, &none);
    rlife_init(&h->l);
    h->l.least_bytes = least_bytes;
    CHECK(raft_identity_replace(d, &h->l.identity, &err));
    h->out->damages++;
}

/* ---- starts ---- */

/* Damage is told where there is some, once more if one asks again, and never where there is none.
 */
static bool open_damaged(struct history *h)
{
    struct rlife *l = &h->l;
    bool is_lost = l->found.is_hard_lost;
    rlife_end(l);
    if (is_lost) {
        begin_anew(h);
        return rlife_open(l, sim_disk_of(h->disk), rng_u64(&h->chance), RAFT_DISK_REFUSES);
    }
    struct sim_faults none = { 0 };
    sim_disk_arm(h->disk, &none);
    if (!rlife_open(l, sim_disk_of(h->disk), rng_u64(&h->chance), RAFT_DISK_RECOVERS) ||
        l->found.verdict != RAFT_DISK_DAMAGED)
        return false;
    (void)rlife_believe(l);
    accept_damage(h);
    l->state_count = 1;
    l->states[0] = rlife_now(l);
    return true;
}

/* *is_there: what was acknowledged. False: it does not start. */
static bool try_start(struct history *h, bool is_rotten, bool *is_there)
{
    struct rlife *l = &h->l;
    h->out->restarts++;
    bool ok = rlife_open(l, sim_disk_of(h->disk), rng_u64(&h->chance), RAFT_DISK_REFUSES);
    bool is_damaged = l->found.verdict == RAFT_DISK_DAMAGED;
    if (!ok)
        say(h, "no start: %s", l->err.text);
    ok = ok || (!sim_disk_is_down(h->disk) && is_rotten && is_damaged && open_damaged(h));
    *is_there = ok && rlife_believe(l);
    return ok && !sim_disk_is_down(h->disk);
}

/* A start may crash as well; then the next one must find the same. */
static bool start(struct history *h, bool is_rotten)
{
    bool is_there;
    for (int tries = 0;; tries++) {
        struct sim_faults none = { 0 }, some = { .crash_at = 5 + below(h, 16) };
        sim_disk_arm(h->disk, tries < 4 && below(h, 2) == 0 ? &some : &none);
        if (try_start(h, is_rotten, &is_there)) {
            if (!is_there)
                wrong(h,
                      "what was acknowledged is not what is there: term %" PRIu64 ", last %" PRIu64,
                      h->l.log.hard.term, h->l.log.last);
            return is_there;
        }
        rlife_end(&h->l);
        if (!sim_disk_is_down(h->disk)) {
            wrong(h, "it does not start: %.200s", h->l.err.text);
            return false;
        }
        sim_disk_reboot(h->disk, (enum sim_survival)below(h, SIM_SURVIVALS));
    }
}

static void one_life(struct history *h, bool is_rotten)
{
    struct rlife *l = &h->l;
    if (!start(h, is_rotten) || is_wrong(h))
        return;
    say(h, "a life: term %" PRIu64 ", last %" PRIu64 " behind %" PRIu64, l->log.hard.term,
        l->log.last, l->found.base);
    rlife_safe(l);
    h->safe = l->log;
    if (l->applied < l->found.base || l->applied > l->log.last)
        l->applied = l->found.base;
    h->is_closed = false;
    arm(h);
    for (unsigned i = 0; i < STEPS && l->log.last < RLIFE_LAST_MAX - 8 && step(h); i++)
        if (h->is_closed && below(h, 4) == 0)
            break; /* an orderly end, or nearly */
    say(h, "the end: %s", l->err.text);
}

static void run(struct history *h)
{
    bool is_rotten = false;
    for (int i = 0; i < LIVES && !is_wrong(h); i++) {
        one_life(h, is_rotten);
        bool may_rot = h->is_closed && h->l.d != NULL && below(h, 2) == 0;
        rlife_end(&h->l);
        if (may_rot)
            sim_disk_cut(h->disk);
        sim_disk_reboot(h->disk, (enum sim_survival)below(h, SIM_SURVIVALS));
        is_rotten = may_rot && rot(h);
    }
}

bool sim_raft_disk_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct history *h = mem_zalloc(sizeof *h);
    struct err err;
    *out = (struct sim_report){ 0 };
    h->out = out;
    h->trace = trace;
    h->trace_arg = arg;
    rng_init(&h->chance, seed);
    if (seed % 2 == 0)
        rlife_init_founder(&h->l);
    else
        rlife_init(&h->l);
    h->l.least_bytes = 3000 + below(h, 4000);
    h->disk = sim_disk_new(seed, trace, arg);
    CHECK(raft_identity_replace(sim_disk_of(h->disk), &h->l.identity, &err));
    run(h);
    sim_disk_free(&h->disk);
    mem_free(h);
    return out->why[0] == '\0';
}
