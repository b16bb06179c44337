/* Who leads: pre-vote, vote, and the terms. */
#include "base/check.h"
#include "raft/raft_inner.h"

static uint32_t majority(const struct raft *r)
{
    return raft_config_voters(raft_log_config(&r->log)) / 2 + 1;
}

/* ---- the clock ---- */

void raft_elect_reset(struct raft *r)
{
    const struct raft_setup *s = &r->setup;
    uint64_t spread = (uint64_t)(s->election_max_us - s->election_min_us) + 1;
    r->election_us = r->now_us + s->election_min_us + (int64_t)rng_below(&r->rng, spread);
    if (raft_conf_part(r, s->node) == RAFT_WITNESS)
        r->election_us += s->election_max_us;
}

/* The leader is known to be dead: whoever hears of it stands at once, but not all in the same
 * moment, since they would take each other's votes. */
void raft_elect_soon(struct raft *r)
{
    int64_t wait = (int64_t)rng_below(&r->rng, (uint64_t)(r->setup.election_min_us / 8) + 1);
    if (raft_conf_part(r, r->setup.node) == RAFT_WITNESS)
        wait += r->setup.election_min_us;
    if (r->election_us > r->now_us + wait)
        r->election_us = r->now_us + wait;
}

void raft_elect_heard(struct raft *r)
{
    r->heard_us = r->now_us;
    raft_elect_reset(r);
}

static bool hears_leader(const struct raft *r)
{
    if (r->role == RAFT_LEADER)
        return true; /* else it would have stepped down */
    return r->leader != 0 && r->now_us - r->heard_us < r->setup.election_min_us;
}

/* A member whose removal is not committed yet may be needed still to elect a leader that commits
 * it: Ongaro 4.2.2. */
bool raft_elect_may_stand(const struct raft *r)
{
    if (r->hard.is_recovering && !MUTATION(RAFT_RECOVERING_VOTES))
        return false;
    if (raft_conf_is_voter(r, r->setup.node))
        return true;
    uint64_t index = raft_log_config_index(&r->log);
    if (index <= r->commit)
        return false;
    return raft_config_is_voter(&raft_log_config_at(&r->log, index - 1)->config, r->setup.node);
}

/* ---- terms ---- */

static void enter_term(struct raft *r, uint64_t term, uint16_t vote)
{
    CHECK(term > r->hard.term);
    r->hard.term = term;
    r->hard.vote = vote;
    r->is_hard_new = true;
    /* What was found and promised in an older term is void. */
    r->verified = 0;
    r->replied_match = 0;
    r->is_reply_due = false;
    r->vote_due = 0;
    r->whole_at = 0;
    r->reply_round = 0;
    r->reply_probe = 0;
}

void raft_elect_follow(struct raft *r, uint64_t term, uint16_t leader)
{
    bool waits_anew = r->role != RAFT_FOLLOWER || leader != 0;
    if (r->role == RAFT_LEADER)
        raft_lead_stop(r);
    if (term > r->hard.term)
        enter_term(r, term, 0);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    if (waits_anew)
        raft_elect_reset(r);
}

/* ---- standing ---- */

static uint32_t granted(const struct raft *r)
{
    uint32_t count = raft_conf_is_voter(r, r->setup.node);
    for (uint32_t i = 0; i < r->peer_count; i++)
        count += r->peers[i].has_granted && raft_conf_is_voter(r, r->peers[i].node);
    return count;
}

/* What a candidate has to show is what no crash takes from it. */
static void ask(struct raft *r, enum raft_msg_kind kind)
{
    uint64_t last = raft_durable(r);
    uint64_t term = last >= r->log.base ? raft_log_term(&r->log, last) : 0;
    r->asked_us = r->now_us;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        if (p->has_granted || !raft_conf_is_voter(r, p->node))
            continue;
        struct raft_msg *m = raft_say(r, p->node, kind);
        if (kind == RAFT_MSG_PREVOTE)
            m->term = r->hard.term + 1;
        m->vote = (struct raft_msg_vote){ last, term, r->is_transfer };
    }
}

static void clear_votes(struct raft *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        r->peers[i].has_granted = false;
}

static void stand(struct raft *r, bool is_transfer)
{
    enter_term(r, r->hard.term + 1, r->setup.node);
    r->role = RAFT_CANDIDATE;
    r->leader = 0;
    r->is_transfer = is_transfer;
    r->has_asked = false;
    clear_votes(r);
    raft_elect_reset(r);
}

static void ask_first(struct raft *r)
{
    if (MUTATION(RAFT_NO_PREVOTE)) {
        stand(r, false);
        return;
    }
    r->role = RAFT_PRECANDIDATE;
    r->leader = 0;
    r->is_transfer = false;
    clear_votes(r);
    raft_elect_reset(r);
    ask(r, RAFT_MSG_PREVOTE);
}

void raft_elect_tick(struct raft *r)
{
    if (!raft_elect_may_stand(r)) {
        /* It has no say, but the driver wants to know that nobody leads. */
        if (r->now_us >= r->election_us && r->leader != 0)
            raft_elect_follow(r, r->hard.term, 0);
        return;
    }
    if (r->now_us >= r->election_us) {
        ask_first(r);
        return;
    }
    if (r->now_us - r->asked_us < r->setup.heartbeat_us)
        return;
    if (r->role == RAFT_PRECANDIDATE)
        ask(r, RAFT_MSG_PREVOTE);
    else if (r->role == RAFT_CANDIDATE && r->has_asked)
        ask(r, RAFT_MSG_VOTE);
}

int64_t raft_elect_deadline(const struct raft *r)
{
    if (!raft_elect_may_stand(r))
        return r->leader != 0 ? r->election_us : RAFT_NEVER;
    int64_t again = r->asked_us + r->setup.heartbeat_us;
    bool asks = r->role == RAFT_PRECANDIDATE || (r->role == RAFT_CANDIDATE && r->has_asked);
    return asks && again < r->election_us ? again : r->election_us;
}

void raft_elect_settle(struct raft *r)
{
    if (r->role == RAFT_PRECANDIDATE && granted(r) >= majority(r))
        stand(r, false);
    if (r->role != RAFT_CANDIDATE)
        return;
    /* Its own vote is the first that must not be forgotten. */
    if (!raft_flush_hard_is_durable(r) && !MUTATION(RAFT_CANDIDATE_BEFORE_DURABLE))
        return;
    if (!r->has_asked) {
        r->has_asked = true;
        ask(r, RAFT_MSG_VOTE);
    }
    if (granted(r) >= majority(r))
        raft_lead_start(r);
}

/* ---- being asked ---- */

static bool is_as_new(const struct raft *r, const struct raft_msg_vote *v)
{
    uint64_t term = raft_log_last_term(&r->log);
    if (MUTATION(RAFT_VOTE_ANY_LOG))
        return true;
    return v->last_term > term || (v->last_term == term && v->last_index >= r->log.last);
}

static bool may_vote(const struct raft *r)
{
    return !r->hard.is_recovering || MUTATION(RAFT_RECOVERING_VOTES);
}

static bool is_free_for(const struct raft *r, uint16_t node)
{
    return r->hard.vote == 0 || r->hard.vote == node || MUTATION(RAFT_VOTE_AGAIN);
}

static void answer(struct raft *r, const struct raft_msg *m, enum raft_msg_kind kind, bool granted)
{
    struct raft_msg *reply = raft_say(r, m->from, kind);
    reply->vote_reply = (struct raft_msg_vote_reply){ m->term, granted };
}

/* Nothing is promised, and nothing changes here. */
static void on_prevote(struct raft *r, const struct raft_msg *m)
{
    bool is_possible = m->term > r->hard.term ||
                       (m->term == r->hard.term && is_free_for(r, m->from) && r->leader == 0);
    bool is_welcome = m->vote.is_transfer || !hears_leader(r);
    answer(r, m, RAFT_MSG_PREVOTE_REPLY,
           is_possible && is_welcome && may_vote(r) && is_as_new(r, &m->vote));
}

void raft_elect_on_vote(struct raft *r, const struct raft_msg *m)
{
    if (m->kind == RAFT_MSG_PREVOTE) {
        on_prevote(r, m);
        return;
    }
    if (m->term > r->hard.term) {
        /* Who hears a leader does not help to depose it; a server that was removed, or that was
         * cut off for a while, stands in vain and disturbs nobody. */
        if (hears_leader(r) && !m->vote.is_transfer && !MUTATION(RAFT_VOTE_AGAINST_LEADER))
            return;
        raft_elect_follow(r, m->term, 0);
    }
    bool grants = m->term == r->hard.term && is_free_for(r, m->from) && r->leader == 0 &&
                  r->role == RAFT_FOLLOWER && may_vote(r) && is_as_new(r, &m->vote);
    if (!grants) {
        answer(r, m, RAFT_MSG_VOTE_REPLY, false);
        return;
    }
    if (r->hard.vote != m->from) {
        r->hard.vote = m->from;
        r->is_hard_new = true;
    }
    raft_elect_reset(r);
    r->vote_due = m->from; /* said when it is durable: raft_follow_settle */
}

void raft_elect_on_vote_reply(struct raft *r, const struct raft_msg *m)
{
    struct raft_peer *p = raft_conf_peer(r, m->from);
    bool is_pre = m->kind == RAFT_MSG_PREVOTE_REPLY;
    if (p == NULL)
        return;
    if (m->term > r->hard.term && !m->vote_reply.is_granted) {
        raft_elect_follow(r, m->term, 0);
        return;
    }
    bool is_asked =
        is_pre ? r->role == RAFT_PRECANDIDATE && m->vote_reply.asked_term == r->hard.term + 1
               : r->role == RAFT_CANDIDATE && m->vote_reply.asked_term == r->hard.term;
    if (is_asked && m->vote_reply.is_granted)
        p->has_granted = true;
}

void raft_elect_on_timeout_now(struct raft *r, const struct raft_msg *m)
{
    if (m->term == r->hard.term && m->from == r->leader && raft_elect_may_stand(r))
        stand(r, true);
}
