/* Snapshots: those we made, those we give and those we take. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/raft_inner.h"

/* ---- ours ---- */

/* Up to where the log may go: a tail stays for followers that lag a little, and what a peer that
 * takes a snapshot will need next, unless there is too much of it. */
static uint64_t base_after(const struct raft *r, uint64_t index)
{
    uint64_t base = index, tail = 0, rest = 0;
    for (uint64_t i = r->log.last; i > index; i--)
        rest += raft_entry_cost(raft_log_at(&r->log, i));
    while (base > r->log.base) {
        tail += raft_entry_cost(raft_log_at(&r->log, base));
        if (tail > r->setup.tail_bytes || tail + rest > r->setup.log_bytes_max / 2)
            break;
        base--;
    }
    for (uint32_t i = 0; i < r->peer_count && r->role == RAFT_LEADER; i++) {
        const struct raft_peer *p = &r->peers[i];
        if (p->mode == RAFT_FETCH && p->fetch_index != 0 && p->fetch_index < base &&
            p->fetch_index >= r->log.base && r->log.bytes < r->setup.log_bytes_max / 2)
            base = p->fetch_index;
    }
    return base;
}

void raft_snap_on_made(struct raft *r, const struct raft_snapshot *s)
{
    CHECK(s->index <= r->commit);
    if (s->index <= r->snapshot_index)
        return;
    r->snapshot_index = s->index;
    raft_log_compact(&r->log, base_after(r, s->index));
}

void raft_config_at(const struct raft *r, uint64_t index, struct raft_snapshot *fill)
{
    CHECK(index >= r->log.base && index <= r->log.last);
    const struct raft_log_config *c = raft_log_config_at(&r->log, index);
    fill->term = raft_log_term(&r->log, index);
    fill->config_index = c->index;
    fill->config = c->config;
}

/* ---- given to a peer ---- */

void raft_snap_send(struct raft *r, struct raft_peer *p)
{
    bool is_overdue =
        p->fetching == RAFT_FETCH_SENT && r->now_us - p->fetch_us >= r->setup.election_max_us;
    if (p->fetching != RAFT_FETCH_IDLE && !is_overdue)
        return;
    if (p->fetching == RAFT_FETCH_IDLE && p->fetch_us > r->now_us)
        return; /* the driver had none a moment ago */
    p->fetching = RAFT_FETCH_ASKED;
    struct raft_effect *e = raft_emit(r, RAFT_DO_NEED_CHUNK);
    e->need.node = p->node;
    e->need.index = p->fetch_index;
    e->need.id = p->fetch_id;
    e->need.offset = p->fetch_next;
}

void raft_snap_on_chunk_read(struct raft *r, const struct raft_chunk *c)
{
    struct raft_peer *p = raft_conf_peer(r, c->node);
    if (r->role != RAFT_LEADER || p == NULL || p->mode != RAFT_FETCH ||
        p->fetching != RAFT_FETCH_ASKED)
        return;
    if (c->bytes == NULL) {
        p->fetching = RAFT_FETCH_IDLE;
        p->fetch_us = r->now_us + r->setup.heartbeat_us;
        return;
    }
    CHECK(c->snapshot.index != 0 && c->bytes->len_bytes <= RAFT_CHUNK_BYTES);
    p->fetch_index = c->snapshot.index;
    p->fetch_id = c->snapshot.id;
    p->fetch_next = c->offset;
    p->fetch_us = r->now_us;
    p->fetching = RAFT_FETCH_SENT;
    struct raft_msg *m = raft_say(r, p->node, RAFT_MSG_INSTALL);
    m->install = (struct raft_msg_install){
        .snapshot = c->snapshot,
        .offset = c->offset,
        .round = r->round,
        .chunk = buf_ref(c->bytes),
    };
}

void raft_snap_on_install_reply(struct raft *r, const struct raft_msg *m)
{
    const struct raft_msg_install_reply *a = &m->install_reply;
    struct raft_peer *p = raft_conf_peer(r, m->from);
    if (p == NULL)
        return;
    if (m->term > r->hard.term) {
        raft_elect_follow(r, m->term, 0);
        return;
    }
    if (r->role != RAFT_LEADER || m->term < r->hard.term || m->boot != p->boot)
        return;
    p->heard_us = r->now_us;
    if (a->round > p->round)
        p->round = a->round;
    if (p->mode != RAFT_FETCH || p->fetching != RAFT_FETCH_SENT || p->fetch_index != a->index ||
        p->fetch_id != a->id || p->fetch_next == a->next)
        return;
    p->fetch_next = a->next;
    p->fetch_us = 0;
    p->fetching = RAFT_FETCH_IDLE;
}

/* ---- taken from a leader ---- */

void raft_snap_on_install(struct raft *r, struct raft_msg *m)
{
    if (!raft_follow_accepts(r, m))
        return;
    const struct raft_snapshot *s = &m->install.snapshot;
    if (m->install.round > r->reply_round)
        r->reply_round = m->install.round;
    if (s->index <= r->commit) {
        /* What is committed is the same everywhere. */
        if (s->index > r->verified)
            r->verified = s->index;
        r->is_reply_due = true;
        return;
    }
    /* One at a time, up to its place on the disk and into the state machine. What is not taken
     * comes again. */
    if (r->is_taking || r->is_install_new || r->written < r->install_number ||
        r->applied < r->snapshot_index)
        return;
    r->is_taking = true;
    r->taking = *s;
    struct raft_msg *chunk = mem_alloc(sizeof *chunk);
    raft_msg_copy(chunk, m);
    raft_emit(r, RAFT_DO_TAKE_CHUNK)->msg = chunk;
}

/* From now on the log begins behind the snapshot. Entries that stand behind it and may be the
 * leader's stay; otherwise all of ours is another history. */
static void install(struct raft *r)
{
    const struct raft_snapshot *s = &r->taking;
    bool fits = raft_log_has(&r->log, s->index) && raft_log_term(&r->log, s->index) == s->term;
    if (MUTATION(RAFT_INSTALL_KEEPS_LOG) && raft_log_has(&r->log, s->index))
        fits = true;
    struct raft_config kept = *raft_config(r);
    if (fits) {
        raft_log_compact(&r->log, s->index);
        if (r->handed < s->index)
            r->handed = s->index;
    } else {
        if (r->log.last > r->commit)
            raft_emit(r, RAFT_DO_LOST)->index = r->commit + 1;
        raft_log_reset(&r->log, s);
        r->cut_from = s->index + 1;
        r->handed = s->index;
        if (MUTATION(RAFT_CONFIG_OF_SNAPSHOT_LOST))
            r->log.configs[0].config = kept;
    }
    r->install = *s;
    r->is_install_new = true;
    r->snapshot_index = s->index;
    r->commit = r->told_commit = s->index;
    if (s->index > r->verified)
        r->verified = s->index;
    struct raft_snapshot *copy = mem_dup(s, sizeof *s);
    raft_emit(r, RAFT_DO_RESTORE)->snapshot = copy;
    raft_conf_sync(r);
}

void raft_snap_on_chunk_taken(struct raft *r, const struct raft_taken *t)
{
    CHECK(r->is_taking);
    r->is_taking = false;
    if (t->index != r->taking.index || t->id != r->taking.id || r->role != RAFT_FOLLOWER)
        return;
    if (r->leader != 0) {
        struct raft_msg *m = raft_say(r, r->leader, RAFT_MSG_INSTALL_REPLY);
        m->install_reply =
            (struct raft_msg_install_reply){ t->index, t->id, t->next, r->reply_round };
    }
    if (t->is_complete && t->index > r->commit)
        install(r);
}
