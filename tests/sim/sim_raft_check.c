/* The rules, asked after every step: Raft's own, and what is promised about disks, reads, members
 * and elections. */
#include "base/check.h"
#include "sim_raft_inner.h"

#include <inttypes.h>
#include <string.h>

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 31);
}

uint64_t sim_raft_check_hash(const struct raft_entry *e)
{
    struct slice s = raft_entry_slice(e);
    uint64_t h = mix((uint64_t)e->kind, s.len);
    for (size_t i = 0; i < s.len; i++)
        h = mix(h, s.ptr[i]);
    return h | 1;
}

/* ---- logs match: one entry for each index and term, and one before it ---- */

static void check_entry(struct sim_raft *w, unsigned node, const struct raft_entry *e,
                        uint64_t prev_term)
{
    uint64_t at = mix(e->index, e->term) & (SIM_KNOWN_MAX - 1);
    while (w->known[at].index != 0 &&
           (w->known[at].index != e->index || w->known[at].term != e->term))
        at = (at + 1) & (SIM_KNOWN_MAX - 1);
    struct sim_known *k = &w->known[at];
    struct sim_known is = { e->index, e->term, sim_raft_check_hash(e), prev_term };
    if (k->index == 0) {
        CHECK(++w->known_count < SIM_KNOWN_MAX / 2);
        *k = is;
        return;
    }
    if (k->hash != is.hash || k->prev_term != is.prev_term)
        sim_raft_fail(w, "logs do not match: %u has another entry %" PRIu64 " of term %" PRIu64,
                      node, e->index, e->term);
}

static bool is_voter_in(const struct raft_config *c, unsigned node)
{
    return raft_config_is_voter(c, (uint16_t)node);
}

static unsigned majority(const struct raft *r)
{
    return raft_config_voters(raft_config(r)) / 2 + 1;
}

/* One voter more or less; only when the one before is committed, and something of the term. */
static void check_change(struct sim_raft *w, unsigned node, const struct raft_entry *e)
{
    const struct raft *r = w->nodes[node].raft;
    const struct raft_log *l = raft_log(r);
    const struct raft_log_config *before = raft_log_config_at(l, e->index - 1);
    const struct raft_config *after = &raft_log_config_at(l, e->index)->config;
    unsigned differ = 0;
    for (unsigned i = 1; i <= SIM_NODES; i++)
        differ += is_voter_in(&before->config, i) != is_voter_in(after, i);
    if (differ > 1)
        sim_raft_fail(w, "%u changes %u voters at once", node, differ);
    if (raft_role(r) != RAFT_LEADER || e->term != raft_term(r))
        return;
    if (before->index > raft_commit(r))
        sim_raft_fail(w, "%u changes members while a change is pending", node);
    uint64_t older = raft_log_find(l, raft_last(r), e->term - 1);
    if (raft_log_term(l, older) != e->term && older + 1 > raft_commit(r))
        sim_raft_fail(w, "%u changes members before anything of its term is committed", node);
}

static void check_write(struct sim_raft *w, unsigned node, const struct raft_write *write)
{
    const struct raft_log *l = raft_log(w->nodes[node].raft);
    for (size_t i = 0; i < write->count; i++) {
        const struct raft_entry *e = &write->entries[i];
        if (e->index <= l->base || e->index > l->last)
            continue;
        check_entry(w, node, e, raft_log_term(l, e->index - 1));
        if (e->kind == RAFT_CONFIG && e->index > 1)
            check_change(w, node, e);
    }
}

/* ---- what is on disk ---- */

static bool store_has(const struct sim_raft_node *n, uint64_t index)
{
    const struct raft_store *s = &n->store;
    const struct raft_log *l = raft_log(n->raft);
    if (index <= s->snapshot.index)
        return true;
    if (index <= s->base || index > s->base + s->count)
        return false;
    return index <= l->base ||
           (index <= l->last && s->entries[index - s->base - 1].term == raft_log_term(l, index));
}

/* Nothing that relies on the disk is said before it is there. */
static void note_acked(struct sim_raft_node *n, const struct raft_msg *m)
{
    if (m->append_reply.is_refused || m->term < n->acked_term)
        return;
    if (m->term > n->acked_term || m->append_reply.match > n->acked)
        n->acked = m->append_reply.match;
    n->acked_term = m->term;
}

static void check_said(struct sim_raft *w, unsigned node, const struct raft_msg *m)
{
    struct sim_raft_node *n = &w->nodes[node];
    const struct raft_hard *hard = &n->store.hard;
    switch (m->kind) {
    case RAFT_MSG_APPEND_REPLY:
        if (!m->append_reply.is_refused && !store_has(n, m->append_reply.match))
            sim_raft_fail(w, "%u acknowledges %" PRIu64 ", which is not durable", node,
                          m->append_reply.match);
        note_acked(n, m);
        return;
    case RAFT_MSG_VOTE_REPLY:
        if (m->vote_reply.is_granted && (hard->term != m->term || hard->vote != m->to))
            sim_raft_fail(w, "%u says a vote that is not durable", node);
        if (m->vote_reply.is_granted && raft_is_recovering(n->raft))
            sim_raft_fail(w, "%u votes though it recovers", node);
        return;
    case RAFT_MSG_VOTE:
        if (hard->term != m->term || hard->vote != node)
            sim_raft_fail(w, "%u stands before its own vote is durable", node);
        return;
    case RAFT_MSG_PREVOTE_REPLY:
        if (m->vote_reply.is_granted && raft_is_recovering(n->raft))
            sim_raft_fail(w, "%u would vote though it recovers", node);
        return;
    case RAFT_MSG_NONE:
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_APPEND:
    case RAFT_MSG_INSTALL:
    case RAFT_MSG_INSTALL_REPLY:
    case RAFT_MSG_TIMEOUT_NOW:
    case RAFT_MSG_KIND_COUNT:
        return;
    }
}

/* ---- what is committed stays, and is the same everywhere ---- */

/* Or had stored it: one whose disk was damaged since knows that, and counts for nothing meanwhile.
 */
static bool has_stored(const struct sim_raft_node *n, uint64_t index, uint64_t term)
{
    const struct raft_store *s = &n->store;
    if (index <= s->snapshot.index || index <= n->had)
        return true;
    return index > s->base && index <= s->base + s->count &&
           s->entries[index - s->base - 1].term == term;
}

static bool is_stored(const struct sim_raft *w, unsigned node, uint64_t index)
{
    const struct raft *r = w->nodes[node].raft;
    if (index <= raft_log(r)->base)
        return true;
    unsigned count = 0;
    for (unsigned i = 1; i <= SIM_NODES; i++)
        count += is_voter_in(raft_config(r), i) &&
                 has_stored(&w->nodes[i], index, raft_entry_at(r, index)->term);
    return count >= majority(r);
}

static void check_commit(struct sim_raft *w, unsigned node, uint64_t upto)
{
    struct sim_raft_node *n = &w->nodes[node];
    if (upto <= n->commit)
        sim_raft_fail(w, "the commit index of %u does not rise", node);
    /* Each may have it in memory alone, but it is never the first to be sure of it when it is not
     * on the disks of a majority. */
    if ((raft_role(n->raft) == RAFT_LEADER || w->committed[upto].hash == 0) &&
        !is_stored(w, node, upto))
        sim_raft_fail(w, "%u commits %" PRIu64 ", which no majority has on disk", node, upto);
    if (raft_role(n->raft) == RAFT_LEADER &&
        raft_entry_at(n->raft, upto)->term != raft_term(n->raft))
        sim_raft_fail(w, "%u leads and commits up to an entry of an older term", node);
    for (uint64_t i = n->commit + 1; i <= upto && !w->has_failed; i++) {
        const struct raft_entry *e = raft_entry_at(n->raft, i);
        struct sim_committed *c = &w->committed[i];
        CHECK(i < SIM_INDEX_MAX);
        if (c->hash == 0)
            *c = (struct sim_committed){ e->term, sim_raft_check_hash(e), raft_term(n->raft), 0 };
        else if (c->term != e->term || c->hash != sim_raft_check_hash(e))
            sim_raft_fail(w, "%u commits another entry %" PRIu64, node, i);
    }
    n->commit = upto;
    if (upto > w->commit_max)
        w->commit_max = upto;
}

void sim_raft_check_applied(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    struct sim_committed *c = &w->committed[n->machine.index];
    if (c->digest == 0)
        c->digest = n->machine.digest;
    if (c->digest != n->machine.digest)
        sim_raft_fail(w, "state machines differ: %u after %" PRIu64, node, n->machine.index);
    if (n->machine.index > n->applied_of[n->boot])
        n->applied_of[n->boot] = n->machine.index;
}

/* The node has every entry up to `upto` that was committed in a term before `term`. */
static bool has_committed(const struct sim_raft *w, unsigned node, uint64_t upto, uint64_t term)
{
    const struct raft_log *l = raft_log(w->nodes[node].raft);
    for (uint64_t i = l->base + 1; i <= upto; i++) {
        const struct sim_committed *c = &w->committed[i];
        if (c->by_term >= term)
            continue;
        if (i > l->last || raft_log_term(l, i) != c->term)
            return false;
    }
    return true;
}

/* ---- roles ---- */

static void check_leader(struct sim_raft *w, unsigned node, uint64_t term)
{
    CHECK(term < SIM_TERMS_MAX);
    if (w->leader_of[term] != 0 && w->leader_of[term] != node)
        sim_raft_fail(w, "two leaders in term %" PRIu64 ": %u and %u", term, w->leader_of[term],
                      node);
    if (w->leader_of[term] == 0 && !has_committed(w, node, w->commit_max, term))
        sim_raft_fail(w, "%u leads in term %" PRIu64 " without all that is committed", node, term);
    w->leader_of[term] = (uint16_t)node;
}

static void check_candidate(struct sim_raft *w, unsigned node, uint64_t term)
{
    const struct sim_raft_node *n = &w->nodes[node];
    unsigned granted = is_voter_in(raft_config(n->raft), node);
    for (unsigned i = 1; i <= SIM_NODES; i++)
        granted += i != node && n->granted_term == term && n->has_granted[i];
    if (granted < majority(n->raft) && n->transfer_term != term)
        sim_raft_fail(w, "%u raises its term to %" PRIu64 " though it cannot win", node, term);
}

static void check_role(struct sim_raft *w, unsigned node, const struct raft_effect *e)
{
    struct sim_raft_node *n = &w->nodes[node];
    sim_raft_say(w, "%u is %s in term %d, of %u", node, raft_role_name(e->role.role),
                 (int)e->role.term, e->role.leader);
    if (e->role.role == RAFT_LEADER) {
        for (unsigned i = 1; i <= SIM_NODES; i++)
            n->heard_us[i] = sim_raft_node_clock(w, node);
        check_leader(w, node, e->role.term);
    } else if (e->role.role == RAFT_CANDIDATE) {
        check_candidate(w, node, e->role.term);
    }
}

/* Clocks apart, it has heard from a majority not long ago. */
static void check_quorum(struct sim_raft *w, unsigned node)
{
    const struct sim_raft_node *n = &w->nodes[node];
    int64_t since = sim_raft_node_clock(w, node) - 2 * w->setup.election_max_us;
    unsigned heard = is_voter_in(raft_config(n->raft), node);
    for (unsigned i = 1; i <= SIM_NODES; i++)
        heard += i != node && is_voter_in(raft_config(n->raft), i) && n->heard_us[i] >= since;
    if (heard < majority(n->raft))
        sim_raft_fail(w, "%u leads on without a majority", node);
}

/* ---- others ---- */

static void check_all_applied(struct sim_raft *w, unsigned node, uint64_t index)
{
    const struct sim_raft_node *n = &w->nodes[node];
    if (raft_role(n->raft) != RAFT_LEADER)
        return;
    for (size_t i = 0; i < n->counted_count; i++) {
        const struct raft_counted *c = &n->counted[i];
        if (raft_config_find(raft_config(n->raft), c->node) != NULL &&
            w->nodes[c->node].applied_of[c->boot] < index)
            sim_raft_fail(w, "%u says that all have applied %" PRIu64 ", and %u has not", node,
                          index, c->node);
    }
}

/* It has all that it had ever acknowledged and that is committed: under an older leader, or under
 * this one. */
static void check_whole(struct sim_raft *w, unsigned node)
{
    struct sim_raft_node *n = &w->nodes[node];
    uint64_t term = raft_term(n->raft);
    sim_raft_say(w, "%u is whole again", node);
    if (!has_committed(w, node, n->had < w->commit_max ? n->had : w->commit_max, term) ||
        (n->had_term == term && raft_durable(n->raft) < n->had_acked))
        sim_raft_fail(w, "%u calls itself whole and is not", node);
    n->had = n->had_acked = n->had_term = 0;
    w->mended = node;
}

void sim_raft_check_effect(struct sim_raft *w, unsigned node, const struct raft_effect *e)
{
    struct sim_raft_node *n = &w->nodes[node];
    switch (e->kind) {
    case RAFT_DO_WRITE:
        check_write(w, node, e->write);
        return;
    case RAFT_DO_SEND:
        check_said(w, node, e->msg);
        return;
    case RAFT_DO_COMMIT:
        check_commit(w, node, e->index);
        return;
    case RAFT_DO_ROLE:
        check_role(w, node, e);
        return;
    case RAFT_DO_READ_READY:
        if (e->read.index < n->read_floor[e->read.token])
            sim_raft_fail(w, "a read at %u misses what was committed before", node);
        return;
    case RAFT_DO_ALL_APPLIED:
        check_all_applied(w, node, e->index);
        return;
    case RAFT_DO_WHOLE:
        check_whole(w, node);
        return;
    case RAFT_DO_LOST:
        sim_raft_say(w, "%u cuts its log off from %d", node, (int)e->index);
        return;
    case RAFT_DO_REFUSED:
        sim_raft_say(w, "%u refuses: %s", node, raft_refusal_text(e->refused.why));
        return;
    case RAFT_DO_CONFIG:
        sim_raft_say(w, "%u has the members of %d%s", node, (int)e->config.index,
                     e->config.is_committed ? ", committed" : "");
        return;
    case RAFT_DO_NONE:
    case RAFT_DO_RESTORE:
    case RAFT_DO_ACCEPTED:
    case RAFT_DO_READ_LOST:
    case RAFT_DO_NEED_CHUNK:
    case RAFT_DO_TAKE_CHUNK:
        return;
    }
}

static void note_message(struct sim_raft *w, unsigned node, const struct raft_msg *m)
{
    struct sim_raft_node *n = &w->nodes[node];
    const struct raft *r = n->raft;
    uint16_t leader = raft_leader(r);
    int64_t clock = sim_raft_node_clock(w, node);
    if (m->kind == RAFT_MSG_VOTE && m->term > raft_term(r) && !m->vote.is_transfer)
        n->is_loyal = raft_role(r) == RAFT_FOLLOWER && leader != 0 &&
                      clock - n->word_us[leader] < w->setup.election_min_us;
    /* What an earlier process of it has asked, in a term that was not durable, says nothing now. */
    if (m->kind == RAFT_MSG_PREVOTE_REPLY && m->vote_reply.is_granted &&
        m->vote_reply.asked_term == raft_term(r) + 1) {
        if (m->vote_reply.asked_term != n->granted_term) {
            memset(n->has_granted, 0, sizeof n->has_granted);
            n->granted_term = m->vote_reply.asked_term;
        }
        n->has_granted[m->from] = true;
    }
    if (m->kind == RAFT_MSG_TIMEOUT_NOW)
        n->transfer_term = m->term + 1;
    bool is_answer = m->kind == RAFT_MSG_APPEND_REPLY || m->kind == RAFT_MSG_INSTALL_REPLY;
    bool is_word = m->kind == RAFT_MSG_APPEND || m->kind == RAFT_MSG_INSTALL;
    if ((is_answer && m->term == raft_term(r)) || (is_word && m->term >= raft_term(r)))
        n->heard_us[m->from] = clock;
    if (is_word && m->term >= raft_term(r))
        n->word_us[m->from] = clock;
}

void sim_raft_check_before(struct sim_raft *w, unsigned node, const struct raft_event *ev)
{
    struct sim_raft_node *n = &w->nodes[node];
    n->before_term = raft_term(n->raft);
    n->is_loyal = false;
    if (ev->kind == RAFT_EV_MESSAGE)
        note_message(w, node, ev->msg);
    if (ev->kind == RAFT_EV_READ)
        n->read_floor[ev->token] = w->commit_max;
}

void sim_raft_check_after(struct sim_raft *w, unsigned node, const struct raft_event *ev)
{
    const struct sim_raft_node *n = &w->nodes[node];
    (void)ev;
    if (n->is_loyal && raft_term(n->raft) != n->before_term)
        sim_raft_fail(w, "%u votes against a leader that it hears", node);
    if (raft_term(n->raft) < n->before_term)
        sim_raft_fail(w, "the term of %u falls", node);
    if (raft_role(n->raft) == RAFT_LEADER && !ev->has_more)
        check_quorum(w, node);
}
