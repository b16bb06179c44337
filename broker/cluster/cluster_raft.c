#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"
#include "io/random.h"

#include <inttypes.h>

#define ENTRY_COST 64u /* of an entry on the disk, beside its octets */

static int64_t now_us(void)
{
    return (int64_t)clock_mono_us();
}

/* ---- failing ---- */

void cluster_raft_fail(struct cluster *c, const struct err *err)
{
    if (c->raft.has_failed)
        return;
    c->raft.has_failed = true;
    cluster_propose_refuse_all(c, "the node stops: definitions cannot be stored any more");
    c->setup.on_failed(err, c->setup.arg);
}

/* ---- steps ---- */

static void carry_out(struct cluster *c);

static void set_timer(struct cluster *c)
{
    int64_t wait_us = raft_deadline_us(c->raft.core) - now_us();
    loop_timer_start(&c->raft.timer, wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0);
}

void cluster_raft_step(struct cluster *c, struct raft_event *ev)
{
    if (c->raft.core == NULL || c->raft.has_failed)
        return;
    ev->now_us = now_us();
    raft_step(c->raft.core, ev, &c->raft.effects);
    if (!c->raft.is_carrying_out)
        carry_out(c);
}

static void on_timer(void *arg)
{
    struct raft_event ev = { .kind = RAFT_EV_TIME };
    cluster_raft_step(arg, &ev);
}

/* ---- what the core asks for, carried out ---- */

static void role_changed(struct cluster *c, const struct raft_effect *e)
{
    bool was_leader = c->leader == c->identity.node;
    uint16_t leader_was = c->leader;
    c->leader = e->role.leader;
    c->term = e->role.term;
    if (c->leader != 0)
        c->leaderless_ms = 0;
    else if (leader_was != 0)
        c->leaderless_ms = clock_mono_ms();
    if (c->leader != leader_was)
        cluster_watch_leader_changed(c, was_leader);
    cluster_members_look(c);
    cluster_propose_go_on(c);
    cluster_status_changed(c);
}

static void answered(struct cluster *c, uint64_t token, enum raft_refusal why)
{
    if (token == c->raft.asked) {
        c->raft.asked = 0;
        c->raft.answer = why;
    }
}

static void restore(struct cluster *c, const struct raft_snapshot *s);

static void do_effect(struct cluster *c, struct raft_effect *e)
{
    switch (e->kind) {
    case RAFT_DO_WRITE:
        raft_keeper_write(c->raft.keeper, &e->write);
        return;
    case RAFT_DO_SEND:
        cluster_links_send(c, e->msg);
        return;
    case RAFT_DO_RESTORE:
        restore(c, e->snapshot);
        return;
    case RAFT_DO_COMMIT:
        cluster_apply_committed(c, e->index);
        return;
    case RAFT_DO_ROLE:
        role_changed(c, e);
        return;
    case RAFT_DO_CONFIG:
        cluster_status_changed(c);
        cluster_members_look(c);
        return;
    case RAFT_DO_ACCEPTED:
        answered(c, e->proposed.token, RAFT_REFUSED_NONE);
        return;
    case RAFT_DO_REFUSED:
        answered(c, e->refused.token, e->refused.why);
        return;
    case RAFT_DO_ALL_APPLIED:
        cluster_apply_all(c, e->index);
        return;
    case RAFT_DO_NEED_CHUNK:
        raft_keeper_need(c->raft.keeper, e->need.node, e->need.index, e->need.id, e->need.offset);
        return;
    case RAFT_DO_TAKE_CHUNK:
        raft_keeper_take(c->raft.keeper, &e->msg);
        return;
    case RAFT_DO_WHOLE:
        log_info("cluster", c->name, "the log has again all that it had lost");
        return;
    case RAFT_DO_LOST: /* whatever was ours is sent to the next leader */
    case RAFT_DO_READ_READY:
    case RAFT_DO_READ_LOST:
    case RAFT_DO_NONE:
        return;
    }
    UNREACHABLE("effect of raft");
}

/* What is carried out may make further steps, whose effects come behind. */
static void carry_out(struct cluster *c)
{
    struct raft_effects *fx = &c->raft.effects;
    c->raft.is_carrying_out = true;
    for (size_t i = 0; i < fx->count && !c->raft.has_failed; i++) {
        struct raft_effect e = fx->list[i];
        do_effect(c, &e);
        fx->list[i] = e; /* what was not taken is freed there; the list may have moved */
    }
    raft_effects_clear(fx);
    c->raft.is_carrying_out = false;
    set_timer(c);
}

/* ---- asking the core ---- */

static uint64_t new_token(struct cluster *c)
{
    c->raft.answer = RAFT_REFUSED_NOT_LEADER;
    return c->raft.asked = ++c->raft.last_token;
}

bool cluster_raft_propose(struct cluster *c, struct buf *const *blocks, size_t count, uint16_t from)
{
    CHECK(!c->raft.is_carrying_out);
    struct raft_event ev = {
        .kind = RAFT_EV_PROPOSE,
        .propose = { .token = new_token(c), .commands = blocks, .count = count, .from = from }
    };
    cluster_raft_step(c, &ev);
    return c->raft.answer == RAFT_REFUSED_NONE;
}

enum raft_refusal cluster_raft_change(struct cluster *c, uint16_t node, bool is_removal,
                                      enum raft_part part)
{
    CHECK(!c->raft.is_carrying_out);
    struct raft_event ev = {
        .kind = RAFT_EV_CHANGE,
        .change = { .token = new_token(c), .node = node, .is_removal = is_removal, .part = part }
    };
    cluster_raft_step(c, &ev);
    return c->raft.answer;
}

bool cluster_raft_has_room(const struct cluster *c, size_t bytes, bool takes_away)
{
    return raft_keeper_has_room(c->raft.keeper, bytes + ENTRY_COST, takes_away);
}

/* ---- what the disk says ---- */

static void on_written(uint64_t number, void *arg)
{
    struct raft_event ev = { .kind = RAFT_EV_WRITTEN, .number = number };
    cluster_raft_step(arg, &ev);
    cluster_raft_look_at_snapshot(arg);
    cluster_apply_on_written(arg);
}

static void on_failed(const struct err *err, void *arg)
{
    cluster_raft_fail(arg, err);
}

static void on_chunk_read(const struct raft_chunk *chunk, void *arg)
{
    struct raft_event ev = { .kind = RAFT_EV_CHUNK_READ, .chunk = *chunk };
    cluster_raft_step(arg, &ev);
}

static void on_chunk_taken(const struct raft_taken *taken, void *arg)
{
    struct raft_event ev = { .kind = RAFT_EV_CHUNK_TAKEN, .taken = *taken };
    cluster_raft_step(arg, &ev);
}

static void on_settled(void *arg)
{
    cluster_part_look(arg);
}

/* ---- snapshots of our own ---- */

/* On another thread. */
static bool fill(struct raft_image_writer *w, void *arg)
{
    const struct cluster *c = arg;
    return meta_save_fill(w, (void *)(uintptr_t)c->raft.saved);
}

static void on_saved(const struct raft_snapshot *is, void *arg)
{
    struct cluster *c = arg;
    struct cluster_raft *r = &c->raft;
    epoch_offline(r->reader);
    r->is_saving = false;
    if (is != NULL) {
        log_info("cluster", c->name,
                 "snapshot written index=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRIu64, is->index,
                 is->bytes, clock_mono_ms() - r->saving_ms);
        struct raft_event ev = { .kind = RAFT_EV_SNAPSHOT, .snapshot = *is };
        cluster_raft_step(c, &ev);
    }
    cluster_part_look(c);
}

bool cluster_raft_wants_snapshot(const struct cluster *c)
{
    const struct cluster_raft *r = &c->raft;
    return r->core != NULL && !r->is_saving && !r->is_restoring && !r->is_carrying_out &&
           !r->is_stopped && raft_keeper_wants_snapshot(r->keeper, c->apply.applied);
}

/* What is published is what was applied, and nobody frees what it holds before the reader goes
 * offline. */
void cluster_raft_look_at_snapshot(struct cluster *c)
{
    struct cluster_raft *r = &c->raft;
    if (!cluster_raft_wants_snapshot(c) || raft_durable(r->core) < c->apply.applied)
        return;
    struct raft_snapshot is = { .index = c->apply.applied };
    raft_config_at(r->core, is.index, &is);
    epoch_online(c->setup.epoch, r->reader);
    r->saved = meta_current(c->meta);
    r->saving_ms = clock_mono_ms();
    r->is_saving = true;
    raft_keeper_save(r->keeper, &is, fill, on_saved, c);
}

/* ---- a state that another node sent ---- */

/* On another thread, or at the start on this one. */
static bool load(struct raft_image_reader *reader, void *arg, struct err *err)
{
    struct cluster *c = arg;
    c->raft.loaded = meta_new(c->setup.meta_setup);
    return meta_save_read(reader, c->raft.loaded, err);
}

static void on_loaded(bool ok, const struct err *err, void *arg)
{
    struct cluster *c = arg;
    struct cluster_raft *r = &c->raft;
    r->is_restoring = false;
    if (!ok || r->core == NULL) {
        if (r->loaded != NULL)
            meta_free(&r->loaded);
        if (r->core != NULL && !r->is_stopped)
            cluster_raft_fail(c, err);
        cluster_part_look(c);
        return;
    }
    log_info("cluster", c->name, "the leader's state is here index=%" PRIu64 " bytes=%" PRIu64,
             r->loading.index, r->loading.bytes);
    cluster_apply_replace(c, &r->loaded, false);
    cluster_apply_restored(c, r->loading.index);
}

static void restore(struct cluster *c, const struct raft_snapshot *s)
{
    struct cluster_raft *r = &c->raft;
    CHECK(!r->is_restoring);
    r->is_restoring = true;
    r->loading = *s;
    raft_keeper_load(r->keeper, s, load, on_loaded, c);
}

/* ---- life ---- */

void cluster_raft_init(struct cluster *c)
{
    struct cluster_raft *r = &c->raft;
    raft_effects_init(&r->effects);
    loop_timer_init(&r->timer, c->loop, on_timer, c);
    r->reader = epoch_join(c->setup.epoch);
}

static bool read_state(struct cluster *c, const struct raft_found *found, struct err *err)
{
    if (found->snapshot.index == 0)
        return true;
    if (!raft_keeper_load_now(c->raft.keeper, &found->snapshot, load, c, err)) {
        if (c->raft.loaded != NULL)
            meta_free(&c->raft.loaded);
        return false;
    }
    cluster_apply_replace(c, &c->raft.loaded, false);
    return true;
}

/* Damage that is not this node's alone to judge: the others have what is missing. */
static bool open_keeper(struct cluster *c, struct raft_found *found, struct err *err)
{
    struct raft_keeper_setup setup = { .loop = c->loop,
                                       .disk = c->setup.disk,
                                       .identity = &c->identity,
                                       .on_damage = RAFT_DISK_REFUSES,
                                       .name = c->name,
                                       .slow_ms = (uint64_t)c->conf->store.slow_ms,
                                       .on_written = on_written,
                                       .on_failed = on_failed,
                                       .on_chunk_read = on_chunk_read,
                                       .on_chunk_taken = on_chunk_taken,
                                       .on_settled = on_settled,
                                       .arg = c };
    c->raft.keeper = raft_keeper_open(&setup, found, err);
    if (c->raft.keeper != NULL)
        return true;
    bool may_recover =
        found->verdict == RAFT_DISK_DAMAGED && !found->is_hard_lost && c->identity.known_bytes != 0;
    raft_found_fini(found);
    if (!may_recover)
        return false;
    log_warn("cluster", c->name, "the log is damaged, what is missing comes from the others: %s",
             err->text);
    setup.on_damage = RAFT_DISK_RECOVERS;
    c->raft.keeper = raft_keeper_open(&setup, found, err);
    return c->raft.keeper != NULL;
}

static void tell_what_was_read(const struct cluster *c, const struct raft_found *f)
{
    if (f->torn_bytes != 0)
        log_warn("cluster", c->name,
                 "the end of the log was never finished, nobody was told of it: cut off "
                 "bytes=%" PRIu64,
                 f->torn_bytes);
    struct meta_stats s = meta_stats(c->meta);
    log_info("cluster", c->name,
             "read snapshot=%" PRIu64 " queues=%" PRIu64 " entries=%zu term=%" PRIu64,
             f->snapshot.index, s.queue_count, f->count, f->hard.term);
}

static void begin_core(struct cluster *c, const struct raft_found *found)
{
    struct raft_setup setup;
    struct raft_start start = { .now_us = now_us(),
                                .hard = found->hard,
                                .snapshot = found->snapshot,
                                .base = found->base,
                                .entries = found->entries,
                                .count = found->count,
                                .is_whole = found->verdict != RAFT_DISK_DAMAGED };
    raft_setup_default(&setup);
    setup.node = c->identity.node;
    setup.boot = c->inc;
    setup.seed = random_u64();
    c->raft.core = raft_new(&setup, &start);
    c->apply.applied = c->apply.committed = found->snapshot.index;
    c->apply.all_applied = 0;
    c->term = found->hard.term;
    cluster_grants_begin(c, found->snapshot.index);
}

bool cluster_raft_open(struct cluster *c, struct err *err)
{
    struct raft_found found = { 0 };
    if (!open_keeper(c, &found, err))
        return false;
    c->identity.has_log = !c->identity.is_ram; /* as it is on disk, see raft_disk_open */
    bool ok = read_state(c, &found, err);
    if (ok) {
        begin_core(c, &found);
        if (!found.is_new)
            tell_what_was_read(c, &found);
        else if (c->identity.is_founder)
            log_info("cluster", c->name, "a new cluster, of this node alone");
        set_timer(c);
    }
    raft_found_fini(&found);
    return ok;
}

/* The core ends now, its disk when nothing is on its way. */
void cluster_raft_let_go(struct cluster *c)
{
    struct cluster_raft *r = &c->raft;
    CHECK(!r->is_carrying_out);
    loop_timer_stop(&r->timer);
    if (r->core != NULL)
        raft_free(&r->core);
    raft_effects_clear(&r->effects);
    if (r->keeper != NULL)
        raft_keeper_stop(r->keeper);
}

bool cluster_raft_is_busy(const struct cluster *c)
{
    const struct cluster_raft *r = &c->raft;
    return r->is_saving || r->is_restoring ||
           (r->keeper != NULL && !raft_keeper_is_settled(r->keeper));
}

void cluster_raft_close(struct cluster *c)
{
    CHECK(!cluster_raft_is_busy(c));
    raft_keeper_free(&c->raft.keeper);
}

void cluster_raft_stop(struct cluster *c)
{
    c->raft.is_stopped = true;
    cluster_raft_let_go(c);
}

void cluster_raft_fini(struct cluster *c)
{
    struct cluster_raft *r = &c->raft;
    cluster_raft_close(c);
    epoch_leave(c->setup.epoch, &r->reader);
    raft_effects_fini(&r->effects);
    loop_timer_fini(&r->timer);
}
