/* The members: who they are at present, and changes, one of one node at a time. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/raft_inner.h"

/* So far behind, in entries, a learner may be to become a voter. */
#define CAUGHT_UP_COUNT 1024u

const struct raft_config *raft_config(const struct raft *r)
{
    return raft_log_config(&r->log);
}

bool raft_conf_is_voter(const struct raft *r, uint16_t node)
{
    return raft_config_is_voter(raft_config(r), node);
}

enum raft_part raft_conf_part(const struct raft *r, uint16_t node)
{
    const struct raft_member *m = raft_config_find(raft_config(r), node);
    return m != NULL ? m->part : RAFT_LEARNER;
}

struct raft_peer *raft_conf_peer(struct raft *r, uint16_t node)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].node == node)
            return &r->peers[i];
    return NULL;
}

/* ---- peers are the members but us ---- */

static void add_peer(struct raft *r, uint16_t node)
{
    struct raft_peer *p = &r->peers[r->peer_count++];
    *p = (struct raft_peer){ .node = node, .next = r->log.last + 1 };
    p->flights = mem_array(r->setup.window_count, sizeof *p->flights);
    p->heard_us = r->now_us;
    p->sent_us = r->now_us - r->setup.heartbeat_us;
}

static void remove_peer(struct raft *r, uint32_t i)
{
    mem_free(r->peers[i].flights);
    r->peers[i] = r->peers[--r->peer_count];
    if (r->transfer_to != 0 && raft_conf_peer(r, r->transfer_to) == NULL)
        r->transfer_to = 0;
}

void raft_conf_sync(struct raft *r)
{
    const struct raft_config *c = raft_config(r);
    for (uint32_t i = r->peer_count; i-- > 0;)
        if (raft_config_find(c, r->peers[i].node) == NULL)
            remove_peer(r, i);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->members[i].node != r->setup.node && raft_conf_peer(r, c->members[i].node) == NULL)
            add_peer(r, c->members[i].node);
}

void raft_conf_settle(struct raft *r)
{
    uint64_t index = raft_log_config_index(&r->log);
    bool is_committed = index <= r->commit;
    if (index == r->told_config && is_committed == r->told_config_committed)
        return;
    r->told_config = index;
    r->told_config_committed = is_committed;
    struct raft_effect *e = raft_emit(r, RAFT_DO_CONFIG);
    e->config.index = index;
    e->config.is_committed = is_committed;
}

/* ---- changes ---- */

static bool is_caught_up(struct raft *r, uint16_t node)
{
    const struct raft_peer *p = raft_conf_peer(r, node);
    return p != NULL && !p->is_recovering && p->mode == RAFT_PIPE &&
           r->now_us - p->heard_us <= r->setup.election_max_us &&
           p->match + CAUGHT_UP_COUNT > r->log.last && p->match >= r->term_start;
}

/* May any change be made now? */
static enum raft_refusal refusal_now(const struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return RAFT_REFUSED_NOT_LEADER;
    if (r->transfer_to != 0)
        return RAFT_REFUSED_TRANSFERRING;
    if (r->log.bytes >= r->setup.log_bytes_max)
        return RAFT_REFUSED_FULL;
    /* Without this, a change begun in an older term may be under way still, unknown to us, and two
     * majorities need not meet (Ongaro's correction of 2015). */
    if (r->commit < r->term_start && !MUTATION(RAFT_CHANGE_BEFORE_NOOP))
        return RAFT_REFUSED_TOO_EARLY;
    if (raft_log_config_index(&r->log) > r->commit && !MUTATION(RAFT_TWO_CHANGES) &&
        !MUTATION(RAFT_CHANGE_BEFORE_NOOP))
        return RAFT_REFUSED_PENDING;
    return RAFT_REFUSED_NONE;
}

/* A change must not end what works: whoever is taken away may be the one that a majority needs. */
static bool answers(struct raft *r, const struct raft_config *next)
{
    uint32_t heard = raft_config_is_voter(next, r->setup.node);
    for (uint32_t i = 0; i < r->peer_count; i++) {
        const struct raft_peer *p = &r->peers[i];
        heard += raft_config_is_voter(next, p->node) && !p->is_recovering &&
                 r->now_us - p->heard_us <= r->setup.election_max_us;
    }
    return heard >= raft_config_voters(next) / 2 + 1;
}

/* And this one? Fills what would be in force. */
static enum raft_refusal refusal_of(struct raft *r, const struct raft_change *c,
                                    struct raft_config *next)
{
    const struct raft_member *m = raft_config_find(raft_config(r), c->node);
    bool is_voter = m != NULL && m->part != RAFT_LEARNER;
    bool will_vote = !c->is_removal && c->part != RAFT_LEARNER;
    *next = *raft_config(r);
    if (c->is_removal ? m == NULL : m != NULL && m->part == c->part)
        return RAFT_REFUSED_NOTHING;
    if (is_voter && !will_vote && raft_config_voters(next) == 1)
        return RAFT_REFUSED_LAST_VOTER;
    if (!is_voter && will_vote && !is_caught_up(r, c->node))
        return RAFT_REFUSED_NOT_CAUGHT_UP;
    if (c->is_removal)
        raft_config_unset(next, c->node);
    else if (!raft_config_set(next, c->node, c->part))
        return RAFT_REFUSED_NO_ROOM;
    if (!answers(r, next))
        return RAFT_REFUSED_NO_MAJORITY;
    return RAFT_REFUSED_NONE;
}

void raft_conf_change(struct raft *r, const struct raft_change *c)
{
    struct raft_config next;
    enum raft_refusal why = refusal_now(r);
    if (why == RAFT_REFUSED_NONE)
        why = refusal_of(r, c, &next);
    if (why != RAFT_REFUSED_NONE) {
        raft_refuse(r, c->token, why);
        return;
    }
    struct raft_effect *e = raft_emit(r, RAFT_DO_ACCEPTED);
    e->proposed.token = c->token;
    e->proposed.first = raft_lead_append(r, RAFT_CONFIG, raft_config_buf(&next));
    e->proposed.term = r->hard.term;
    raft_conf_sync(r);
}
