/* A follower's half of replication: what it takes into its log, and when it says so. */
#include "base/check.h"
#include "raft/raft_inner.h"

/* ---- what a leader says ---- */

/* True when the message is of the leader of our term, which then is heard. */
bool raft_follow_accepts(struct raft *r, const struct raft_msg *m)
{
    if (m->term < r->hard.term && !MUTATION(RAFT_OLD_LEADER_HEARD)) {
        /* A leader that was deposed learns of it. */
        struct raft_msg *reply = raft_say(r, m->from, RAFT_MSG_APPEND_REPLY);
        reply->append_reply = (struct raft_msg_append_reply){ .is_refused = true };
        return false;
    }
    if (r->role == RAFT_LEADER && m->term == r->hard.term)
        return false; /* there is but one leader in a term, and it is us */
    if (m->term > r->hard.term || r->role != RAFT_FOLLOWER || r->leader != m->from)
        raft_elect_follow(r, m->term > r->hard.term ? m->term : r->hard.term, m->from);
    raft_elect_heard(r);
    return true;
}

static void refuse(struct raft *r, const struct raft_msg *m)
{
    uint64_t hint = m->append.prev_index;
    if (hint > r->log.last)
        hint = r->log.last;
    else
        hint = raft_log_find(&r->log, hint - 1, m->append.prev_term);
    struct raft_msg *reply = raft_say(r, m->from, RAFT_MSG_APPEND_REPLY);
    reply->append_reply = (struct raft_msg_append_reply){
        .is_refused = true,
        .is_recovering = r->hard.is_recovering,
        .prev_index = m->append.prev_index,
        .hint_index = hint,
        .hint_term = raft_log_term(&r->log, hint),
        .applied = r->applied,
        .round = m->append.round,
        .probe = m->append.probe,
    };
}

/* What is committed is the same in every leader's log. */
static bool fits(const struct raft *r, const struct raft_msg_append *a)
{
    if (a->prev_index <= r->commit)
        return true;
    if (a->prev_index > r->log.last)
        return false;
    return raft_log_term(&r->log, a->prev_index) == a->prev_term || MUTATION(RAFT_NO_PREV_CHECK);
}

static void cut(struct raft *r, uint64_t from)
{
    struct raft_log_config last = r->log.configs[r->log.config_count - 1];
    raft_log_truncate(&r->log, from);
    if (MUTATION(RAFT_CONFIG_KEPT) && last.index >= from)
        r->log.configs[r->log.config_count - 1].config = last.config;
    raft_flush_cut(r, from);
    raft_emit(r, RAFT_DO_LOST)->index = from;
    raft_conf_sync(r);
}

/* Returns up to where the log is the same as the leader's. */
static uint64_t take_entries(struct raft *r, struct raft_msg_append *a)
{
    for (uint32_t i = 0; i < a->count; i++) {
        struct raft_entry *e = &a->entries[i];
        if (e->index <= r->commit)
            continue;
        if (e->index <= r->log.last) {
            if (raft_log_term(&r->log, e->index) == e->term || MUTATION(RAFT_KEEP_CONFLICT))
                continue;
            cut(r, e->index);
        }
        if (e->term < raft_log_last_term(&r->log))
            return e->index - 1; /* no leader has such a log */
        bool is_config = e->kind == RAFT_CONFIG;
        raft_log_append(&r->log, e);
        if (is_config)
            raft_conf_sync(r);
    }
    return a->prev_index + a->count;
}

static uint64_t cost_of(const struct raft_log *l, uint64_t first, uint64_t last)
{
    uint64_t bytes = 0;
    for (uint64_t i = first; i <= last; i++)
        bytes += raft_entry_cost(raft_log_at(l, i));
    return bytes;
}

/* Of entries that a compaction takes with it, once there is a snapshot of them. */
static uint64_t committed_bytes(const struct raft *r)
{
    const struct raft_log *l = &r->log;
    if (r->commit <= l->base)
        return 0;
    if (r->commit - l->base < l->last - r->commit)
        return cost_of(l, l->base + 1, r->commit);
    return l->bytes - cost_of(l, r->commit + 1, l->last);
}

/* Those that make room later are waited for. What is not committed makes none, and may become so by
 * what is to come alone (a leader's first entry): it is taken, and is no more than the leader has,
 * who refuses proposals when its log is too long. */
static bool is_full(const struct raft *r)
{
    if (r->log.bytes < 2 * r->setup.log_bytes_max)
        return false;
    return committed_bytes(r) >= r->setup.log_bytes_max;
}

void raft_follow_on_append(struct raft *r, struct raft_msg *m)
{
    struct raft_msg_append *a = &m->append;
    if (!raft_follow_accepts(r, m))
        return;
    if (!fits(r, a)) {
        refuse(r, m);
        return;
    }
    uint64_t upto = is_full(r) ? a->prev_index : take_entries(r, a);
    if (upto > r->verified)
        r->verified = upto;
    if (a->commit > r->leader_commit)
        r->leader_commit = a->commit;
    if (a->all_applied > r->all_applied)
        r->all_applied = a->all_applied;
    if (a->round > r->reply_round)
        r->reply_round = a->round;
    r->reply_probe = a->probe;
    if (a->whole_at != 0 && (a->whole_boot == r->setup.boot || MUTATION(RAFT_WHOLE_OF_ANY_BOOT)))
        r->whole_at = a->whole_at;
    /* New entries are answered when they are durable; a question at once. */
    if (a->count == 0 ? a->is_question : upto <= raft_durable(r))
        r->is_reply_due = true;
}

/* ---- what is due ---- */

/* Durable here and the same there. */
static uint64_t matched(const struct raft *r)
{
    uint64_t durable = MUTATION(RAFT_ACK_BEFORE_DURABLE) ? r->log.last : raft_durable(r);
    uint64_t verified = MUTATION(RAFT_ACK_UNVERIFIED) ? r->log.last : r->verified;
    return durable < verified ? durable : verified;
}

/* The same there; whether it is on this disk, too, is of no matter: a majority has it on theirs,
 * and what a crash takes from here comes again. But not while the log as a whole is replaced. */
static uint64_t may_be_committed(const struct raft *r)
{
    bool is_replaced = raft_durable(r) < r->snapshot_index;
    if (MUTATION(RAFT_COMMIT_UNVERIFIED))
        return is_replaced ? raft_durable(r) : r->log.last;
    return is_replaced ? matched(r) : r->verified;
}

static void advance_commit(struct raft *r)
{
    uint64_t index = may_be_committed(r);
    if (index > r->leader_commit)
        index = r->leader_commit;
    if (index > r->commit)
        r->commit = index;
}

static void become_whole(struct raft *r)
{
    r->hard.is_recovering = false;
    r->is_hard_new = true;
    r->whole_at = 0;
    r->is_reply_due = true;
    raft_emit(r, RAFT_DO_WHOLE);
}

static void say_vote(struct raft *r)
{
    struct raft_msg *reply = raft_say(r, r->vote_due, RAFT_MSG_VOTE_REPLY);
    reply->vote_reply = (struct raft_msg_vote_reply){ r->hard.term, true };
    r->vote_due = 0;
}

static void reply(struct raft *r)
{
    struct raft_msg *m = raft_say(r, r->leader, RAFT_MSG_APPEND_REPLY);
    m->append_reply = (struct raft_msg_append_reply){
        .is_recovering = r->hard.is_recovering,
        .match = matched(r),
        .applied = r->applied,
        .round = r->reply_round,
        .probe = r->reply_probe,
    };
    r->replied_match = m->append_reply.match;
    r->is_reply_due = false;
}

void raft_follow_settle(struct raft *r)
{
    uint64_t match = matched(r);
    advance_commit(r);
    if (r->hard.is_recovering && r->whole_at != 0 && match >= r->whole_at)
        become_whole(r);
    if (match > r->replied_match)
        r->is_reply_due = true;
    bool is_safe = raft_flush_hard_is_durable(r);
    if (r->vote_due != 0 && (is_safe || MUTATION(RAFT_VOTE_BEFORE_DURABLE)))
        say_vote(r);
    if (r->is_reply_due && r->leader != 0 && is_safe)
        reply(r);
}
