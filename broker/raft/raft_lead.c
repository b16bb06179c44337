/* What a leader decides: proposals, what is committed, reads, and whether it still leads. */
#include "base/check.h"
#include "raft/raft_inner.h"

/* ---- majorities ---- */

struct votes {
    uint64_t values[RAFT_MEMBERS_MAX];
    uint32_t count; /* of voters */
};

static void add_vote(struct votes *v, uint64_t value)
{
    uint32_t i = v->count++;
    for (; i > 0 && v->values[i - 1] < value; i--)
        v->values[i] = v->values[i - 1];
    v->values[i] = value;
}

/* The greatest value that a majority has reached; not only that of the last entry of all, which
 * under load is always on its way. */
static uint64_t reached(const struct votes *v)
{
    if (v->count == 0)
        return 0;
    uint32_t needed = v->count / 2 + 1;
    if (MUTATION(RAFT_COMMIT_BY_HALF))
        needed = (v->count + 1) / 2;
    return v->values[needed - 1];
}

static bool counts(const struct raft *r, const struct raft_peer *p)
{
    return raft_conf_is_voter(r, p->node) || MUTATION(RAFT_LEARNER_COUNTS);
}

static uint64_t own_match(const struct raft *r)
{
    return MUTATION(RAFT_LEADER_COUNTS_EARLY) ? r->log.last : raft_durable(r);
}

static uint64_t majority_match(const struct raft *r)
{
    struct votes v = { .count = 0 };
    if (raft_conf_is_voter(r, r->setup.node))
        add_vote(&v, own_match(r));
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (counts(r, &r->peers[i]))
            add_vote(&v, r->peers[i].is_recovering ? 0 : r->peers[i].match);
    return reached(&v);
}

static uint64_t majority_round(const struct raft *r)
{
    struct votes v = { .count = 0 };
    if (raft_conf_is_voter(r, r->setup.node))
        add_vote(&v, UINT64_MAX);
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (raft_conf_is_voter(r, r->peers[i].node))
            add_vote(&v, r->peers[i].is_recovering ? 0 : r->peers[i].round);
    return reached(&v);
}

/* One that recovers is heard too: it needs a leader, and no other could be elected without it. */
static bool hears_majority(const struct raft *r)
{
    uint32_t heard = raft_conf_is_voter(r, r->setup.node);
    for (uint32_t i = 0; i < r->peer_count; i++) {
        const struct raft_peer *p = &r->peers[i];
        heard +=
            raft_conf_is_voter(r, p->node) && r->now_us - p->heard_us <= r->setup.election_max_us;
    }
    return heard >= raft_config_voters(raft_log_config(&r->log)) / 2 + 1;
}

/* ---- begin and end ---- */

static void begin_peer(struct raft *r, struct raft_peer *p)
{
    p->match = 0;
    p->next = r->log.last + 1;
    p->applied = 0;
    p->round = 0;
    p->is_recovering = false;
    p->whole_at = 0;
    p->heard_us = r->now_us;
    p->sent_us = r->now_us - r->setup.heartbeat_us;
    p->told_commit = p->told_all_applied = p->told_round = 0;
    p->waits_for = 0;
    p->fetching = RAFT_FETCH_IDLE;
    raft_append_probe(p);
}

uint64_t raft_lead_append(struct raft *r, enum raft_kind kind, struct buf *bytes)
{
    struct raft_entry e = {
        .index = r->log.last + 1, .term = r->hard.term, .kind = kind, .bytes = bytes
    };
    raft_log_append(&r->log, &e);
    return r->log.last;
}

void raft_lead_start(struct raft *r)
{
    r->role = RAFT_LEADER;
    r->leader = r->setup.node;
    r->transfer_to = 0;
    r->handover_us = r->now_us;
    r->read_count = 0;
    for (uint32_t i = 0; i < r->peer_count; i++)
        begin_peer(r, &r->peers[i]);
    /* Entries of older terms are committed by this one alone (Raft 5.4.2). */
    r->term_start = raft_lead_append(r, RAFT_NOOP, NULL);
}

void raft_lead_stop(struct raft *r)
{
    CHECK(r->role == RAFT_LEADER);
    for (uint32_t i = 0; i < r->read_count; i++)
        raft_emit(r, RAFT_DO_READ_LOST)->read.token = r->reads[i].token;
    r->read_count = 0;
    r->transfer_to = 0;
}

void raft_lead_tick(struct raft *r)
{
    if (!hears_majority(r) && !MUTATION(RAFT_NO_CHECK_QUORUM)) {
        raft_elect_follow(r, r->hard.term, 0);
        return;
    }
    raft_handover_tick(r);
}

int64_t raft_lead_deadline(const struct raft *r)
{
    int64_t at = RAFT_NEVER;
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].sent_us + r->setup.heartbeat_us < at)
            at = r->peers[i].sent_us + r->setup.heartbeat_us;
    return at;
}

/* ---- proposals ---- */

void raft_refuse(struct raft *r, uint64_t token, enum raft_refusal why)
{
    struct raft_effect *e = raft_emit(r, RAFT_DO_REFUSED);
    e->refused.token = token;
    e->refused.why = why;
    e->refused.leader = r->leader;
}

void raft_lead_propose(struct raft *r, const struct raft_propose *p)
{
    if (r->role != RAFT_LEADER) {
        raft_refuse(r, p->token, RAFT_REFUSED_NOT_LEADER);
        return;
    }
    if (r->transfer_to != 0) {
        raft_refuse(r, p->token, RAFT_REFUSED_TRANSFERRING);
        return;
    }
    if (r->log.bytes >= r->setup.log_bytes_max) {
        raft_refuse(r, p->token, RAFT_REFUSED_FULL);
        return;
    }
    struct raft_effect *e = raft_emit(r, RAFT_DO_ACCEPTED);
    e->proposed.token = p->token;
    e->proposed.first = r->log.last + 1;
    e->proposed.term = r->hard.term;
    for (size_t i = 0; i < p->count; i++) {
        CHECK(p->commands[i]->len_bytes != 0 && p->commands[i]->len_bytes <= RAFT_ENTRY_BYTES_MAX);
        raft_lead_append(r, RAFT_COMMAND, buf_ref(p->commands[i]));
    }
    struct raft_peer *waits = p->from != 0 ? raft_conf_peer(r, p->from) : NULL;
    if (waits != NULL)
        waits->waits_for = r->log.last;
}

/* ---- what is committed ---- */

static void advance_commit(struct raft *r)
{
    uint64_t index = majority_match(r);
    if (index <= r->commit)
        return;
    /* An entry of an older term may be on a majority and yet be overwritten: Raft, figure 8. */
    if (raft_log_term(&r->log, index) != r->hard.term && !MUTATION(RAFT_COMMIT_OLD_TERM))
        return;
    r->commit = index;
}

static uint64_t applied_by(struct raft *r, const struct raft_counted *c)
{
    const struct raft_peer *p = raft_conf_peer(r, c->node);
    if (p == NULL)
        return UINT64_MAX; /* ourselves, or no member: it is not waited for */
    return p->boot == c->boot || MUTATION(RAFT_OLD_BOOT_APPLIED) ? p->applied : 0;
}

static void advance_all_applied(struct raft *r)
{
    uint64_t least = r->applied;
    for (size_t i = 0; i < r->counted_count; i++) {
        uint64_t applied = applied_by(r, &r->counted[i]);
        if (applied < least)
            least = applied;
    }
    if (least > r->all_applied)
        r->all_applied = least;
}

/* ---- reads ---- */

void raft_lead_read(struct raft *r, uint64_t token)
{
    if (r->role != RAFT_LEADER || r->read_count == RAFT_READS_MAX) {
        raft_emit(r, RAFT_DO_READ_LOST)->read.token = token;
        return;
    }
    r->reads[r->read_count++] = (struct raft_read){ .token = token, .index = r->commit };
}

/* Those that came in since the last settling ask together. */
static void ask_for_reads(struct raft *r)
{
    if (r->read_count == 0 || r->reads[r->read_count - 1].round != 0)
        return;
    if (!MUTATION(RAFT_READ_OLD_ROUND) || r->round == 0)
        r->round++;
    for (uint32_t i = r->read_count; i > 0 && r->reads[i - 1].round == 0; i--)
        r->reads[i - 1].round = r->round;
}

static void finish_reads(struct raft *r)
{
    bool knows_commit = r->commit >= r->term_start || MUTATION(RAFT_READ_BEFORE_NOOP);
    uint64_t round = majority_round(r);
    uint32_t done = 0;
    if (!knows_commit || r->read_count == 0)
        return;
    for (; done < r->read_count; done++) {
        const struct raft_read *read = &r->reads[done];
        if (read->round > round && !MUTATION(RAFT_READ_WITHOUT_ROUND))
            break;
        struct raft_effect *e = raft_emit(r, RAFT_DO_READ_READY);
        e->read.token = read->token;
        /* Before the no-op was committed, the commit index was not known. */
        e->read.index = read->index >= r->term_start ? read->index : r->commit;
        if (MUTATION(RAFT_READ_BEFORE_NOOP))
            e->read.index = read->index;
    }
    r->read_count -= done;
    for (uint32_t i = 0; i < r->read_count; i++)
        r->reads[i] = r->reads[i + done];
}

void raft_lead_settle(struct raft *r)
{
    advance_commit(r);
    advance_all_applied(r);
    ask_for_reads(r);
    finish_reads(r);
    raft_handover_settle(r);
    raft_append_settle(r);
    /* A leader that was removed leads until that is committed. */
    if (raft_log_config_index(&r->log) <= r->commit && !raft_conf_is_voter(r, r->setup.node))
        raft_elect_follow(r, r->hard.term, 0);
}
