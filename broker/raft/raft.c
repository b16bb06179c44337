#include "raft/raft.h"

#include "base/check.h"
#include "base/mem.h"
#include "raft/raft_inner.h"

#include <string.h>

void raft_setup_default(struct raft_setup *s)
{
    *s = (struct raft_setup){
        .heartbeat_us = 50000,
        .election_min_us = 300000,
        .election_max_us = 600000,
        .append_bytes = 1u << 20,
        .window_bytes = 8u << 20,
        .window_count = 64,
        .writes_max = 4,
        .log_bytes_max = 256u << 20,
        .tail_bytes = 16u << 20,
    };
}

/* ---- from what the disk has ---- */

/* Entries behind the snapshot that go on from it. */
static size_t first_behind(const struct raft_start *s)
{
    uint64_t at = s->snapshot.index;
    CHECK(s->base <= at);
    if (at == s->base)
        return 0;
    bool goes_on =
        s->count >= at - s->base && s->entries[at - s->base - 1].term == s->snapshot.term;
    return goes_on ? (size_t)(at - s->base) : s->count;
}

static void load_log(struct raft *r, const struct raft_start *s)
{
    raft_log_reset(&r->log, &s->snapshot);
    for (size_t i = first_behind(s); i < s->count; i++) {
        struct raft_entry e = raft_entry_ref(&s->entries[i]);
        raft_log_append(&r->log, &e);
    }
    r->handed = r->disk_last = r->log.last;
    if (s->base + s->count > r->log.last)
        r->cut_from = r->log.last + 1;
}

static void load_hard(struct raft *r, const struct raft_start *s)
{
    r->hard = s->hard;
    if (!s->is_whole && !MUTATION(RAFT_SHORT_LOG_IS_WHOLE)) {
        /* What is behind the damage must not be found again once we have gone on. */
        r->hard.is_recovering = true;
        r->is_hard_new = true;
        r->cut_from = r->log.last + 1;
    }
    CHECK(r->hard.term >= raft_log_last_term(&r->log));
}

struct raft *raft_new(const struct raft_setup *setup, const struct raft_start *start)
{
    CHECK(setup->node != 0 && setup->heartbeat_us > 0);
    CHECK(setup->election_min_us > setup->heartbeat_us);
    CHECK(setup->election_max_us >= setup->election_min_us);
    CHECK(setup->window_count >= 1 && setup->window_count <= RAFT_WINDOW_MAX);
    CHECK(setup->writes_max >= 1 && setup->writes_max <= RAFT_WRITES_MAX);
    struct raft *r = mem_zalloc(sizeof *r);
    r->setup = *setup;
    r->now_us = start->now_us;
    rng_init(&r->rng, setup->seed);
    raft_log_init(&r->log);
    load_log(r, start);
    load_hard(r, start);
    r->commit = r->applied = r->snapshot_index = start->snapshot.index;
    r->told_commit = r->commit;
    r->told_term = r->hard.term;
    r->told_config_committed = true;
    raft_conf_sync(r);
    raft_elect_reset(r);
    /* Nobody else could lead. */
    if (raft_conf_is_voter(r, setup->node) && raft_config_voters(raft_config(r)) == 1)
        r->election_us = r->now_us;
    return r;
}

void raft_free(struct raft **r)
{
    if (*r == NULL)
        return;
    for (uint32_t i = 0; i < (*r)->peer_count; i++)
        mem_free((*r)->peers[i].flights);
    raft_log_fini(&(*r)->log);
    mem_free(*r);
    *r = NULL;
}

/* ---- one step ---- */

static void on_message(struct raft *r, struct raft_msg *m)
{
    if (m->to != r->setup.node || m->from == r->setup.node)
        return;
    switch (m->kind) {
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_VOTE:
        raft_elect_on_vote(r, m);
        return;
    case RAFT_MSG_PREVOTE_REPLY:
    case RAFT_MSG_VOTE_REPLY:
        raft_elect_on_vote_reply(r, m);
        return;
    case RAFT_MSG_APPEND:
        raft_follow_on_append(r, m);
        return;
    case RAFT_MSG_APPEND_REPLY:
        raft_append_on_reply(r, m);
        return;
    case RAFT_MSG_INSTALL:
        raft_snap_on_install(r, m);
        return;
    case RAFT_MSG_INSTALL_REPLY:
        raft_snap_on_install_reply(r, m);
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_elect_on_timeout_now(r, m);
        return;
    case RAFT_MSG_NONE:
    case RAFT_MSG_KIND_COUNT:
        break;
    }
    UNREACHABLE("raft message");
}

static void on_applied(struct raft *r, uint64_t index)
{
    CHECK(index <= r->commit);
    if (index <= r->applied)
        return;
    r->applied = index;
    r->is_reply_due = true; /* somebody may wait for it */
}

static void on_counted(struct raft *r, const struct raft_counted *nodes, size_t count)
{
    CHECK(count <= RAFT_COUNTED_MAX);
    if (count != 0)
        memcpy(r->counted, nodes, count * sizeof *nodes);
    r->counted_count = count;
}

static void on_peer_open(struct raft *r, uint16_t node)
{
    struct raft_peer *p = raft_conf_peer(r, node);
    if (p == NULL)
        return;
    if (r->role == RAFT_LEADER) {
        p->sent_us = r->now_us - r->setup.heartbeat_us;
        if (p->mode == RAFT_FETCH)
            p->fetching = p->fetching == RAFT_FETCH_SENT ? RAFT_FETCH_IDLE : p->fetching;
        else
            raft_append_probe(p);
    }
    r->asked_us = r->now_us - r->setup.heartbeat_us; /* a candidate asks again */
}

static void on_peer_gone(struct raft *r, uint16_t node)
{
    if (r->role != RAFT_FOLLOWER || r->leader != node)
        return;
    r->leader = 0;
    raft_elect_soon(r);
}

static void handle(struct raft *r, const struct raft_event *ev)
{
    switch (ev->kind) {
    case RAFT_EV_TIME:
        return;
    case RAFT_EV_MESSAGE:
        on_message(r, ev->msg);
        return;
    case RAFT_EV_WRITTEN:
        raft_flush_written(r, ev->number);
        return;
    case RAFT_EV_PROPOSE:
        raft_lead_propose(r, &ev->propose);
        return;
    case RAFT_EV_CHANGE:
        raft_conf_change(r, &ev->change);
        return;
    case RAFT_EV_TRANSFER:
        raft_handover_start(r, ev->node);
        return;
    case RAFT_EV_READ:
        raft_lead_read(r, ev->token);
        return;
    case RAFT_EV_APPLIED:
        on_applied(r, ev->index);
        return;
    case RAFT_EV_COUNTED:
        on_counted(r, ev->counted.nodes, ev->counted.count);
        return;
    case RAFT_EV_PEER_OPEN:
        on_peer_open(r, ev->node);
        return;
    case RAFT_EV_PEER_GONE:
        on_peer_gone(r, ev->node);
        return;
    case RAFT_EV_SNAPSHOT:
        raft_snap_on_made(r, &ev->snapshot);
        return;
    case RAFT_EV_CHUNK_READ:
        raft_snap_on_chunk_read(r, &ev->chunk);
        return;
    case RAFT_EV_CHUNK_TAKEN:
        raft_snap_on_chunk_taken(r, &ev->taken);
        return;
    case RAFT_EV_NONE:
        break;
    }
    UNREACHABLE("raft event");
}

/* ---- settling ---- */

static void tell_indexes(struct raft *r)
{
    if (r->commit > r->told_commit) {
        r->told_commit = r->commit;
        raft_emit(r, RAFT_DO_COMMIT)->index = r->commit;
    }
    raft_conf_settle(r);
    if (r->all_applied > r->told_all_applied) {
        r->told_all_applied = r->all_applied;
        raft_emit(r, RAFT_DO_ALL_APPLIED)->index = r->all_applied;
    }
}

static void tell_role(struct raft *r)
{
    if (r->role == r->told_role && r->hard.term == r->told_term && r->leader == r->told_leader)
        return;
    r->told_role = r->role;
    r->told_term = r->hard.term;
    r->told_leader = r->leader;
    struct raft_effect *e = raft_emit(r, RAFT_DO_ROLE);
    e->role.role = r->role;
    e->role.term = r->hard.term;
    e->role.leader = r->leader;
}

static void settle(struct raft *r)
{
    raft_elect_settle(r);
    if (r->role != RAFT_LEADER) /* what a leader sends goes first: others write while it does */
        raft_flush(r);
    if (r->role == RAFT_LEADER)
        raft_lead_settle(r);
    else
        raft_follow_settle(r);
    raft_flush(r);
    tell_role(r);
    tell_indexes(r);
}

void raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *out)
{
    CHECK(ev->now_us >= r->now_us);
    r->now_us = ev->now_us;
    r->out = out;
    /* Time first: a leader that slept for long must not act as one. */
    if (r->role == RAFT_LEADER)
        raft_lead_tick(r);
    else
        raft_elect_tick(r);
    handle(r, ev);
    if (!ev->has_more)
        settle(r);
    r->out = NULL;
}

/* ---- what may be asked ---- */

int64_t raft_deadline_us(const struct raft *r)
{
    return r->role == RAFT_LEADER ? raft_lead_deadline(r) : raft_elect_deadline(r);
}

uint64_t raft_term(const struct raft *r)
{
    return r->hard.term;
}

enum raft_role raft_role(const struct raft *r)
{
    return r->role;
}

uint16_t raft_leader(const struct raft *r)
{
    return r->leader;
}

uint64_t raft_commit(const struct raft *r)
{
    return r->commit;
}

uint64_t raft_last(const struct raft *r)
{
    return r->log.last;
}

bool raft_is_recovering(const struct raft *r)
{
    return r->hard.is_recovering;
}

const struct raft_log *raft_log(const struct raft *r)
{
    return &r->log;
}

const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index)
{
    return raft_log_at(&r->log, index);
}

bool raft_peer_state(const struct raft *r, uint16_t node, struct raft_peer_state *out)
{
    for (uint32_t i = 0; i < r->peer_count && r->role == RAFT_LEADER; i++) {
        const struct raft_peer *p = &r->peers[i];
        if (p->node != node)
            continue;
        *out = (struct raft_peer_state){ .match = p->match,
                                         .applied = p->applied,
                                         .heard_us = p->heard_us,
                                         .is_recovering = p->is_recovering,
                                         .is_fetching = p->mode == RAFT_FETCH };
        return true;
    }
    return false;
}
