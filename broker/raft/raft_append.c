/* A leader's half of replication: who gets which entries, and what the answers tell. */
#include "base/check.h"
#include "raft/raft_inner.h"

void raft_append_probe(struct raft_peer *p)
{
    p->mode = RAFT_PROBE;
    p->probe++;
    p->is_waiting = false;
    p->flight_count = 0;
    p->flight_bytes = 0;
}

/* ---- sending ---- */

/* `count` entries behind `prev`; none, when it is asked whether the logs agree there, or only told
 * what is committed or applied. */
static void send(struct raft *r, struct raft_peer *p, uint64_t prev, uint32_t count, bool asks)
{
    struct raft_msg *m = raft_say(r, p->node, RAFT_MSG_APPEND);
    m->append = (struct raft_msg_append){
        .prev_index = prev,
        .prev_term = prev != 0 ? raft_log_term(&r->log, prev) : 0,
        .commit = r->commit,
        .all_applied = r->all_applied,
        .round = r->round,
        .probe = p->probe,
        .is_question = asks,
        .whole_at = p->is_recovering ? p->whole_at : 0,
        .whole_boot = p->boot,
        .count = count,
        .entries = raft_log_copy(&r->log, prev + 1, count),
    };
    if (asks || count != 0)
        p->sent_us = r->now_us;
    p->told_commit = r->commit;
    p->told_all_applied = r->all_applied;
    p->told_round = r->round;
}

static uint32_t entries_for_one(const struct raft *r, const struct raft_peer *p, uint64_t *bytes)
{
    uint32_t count = 0;
    *bytes = 0;
    while (p->next + count <= r->log.last && count < RAFT_APPEND_COUNT) {
        uint64_t cost = raft_entry_cost(raft_log_at(&r->log, p->next + count));
        if (*bytes + cost > r->setup.append_bytes && count != 0)
            break;
        *bytes += cost;
        count++;
    }
    return count;
}

/* What a peer does not answer is bounded: a stopped one costs no more than the window. */
static bool has_room(const struct raft *r, const struct raft_peer *p)
{
    return p->flight_count < r->setup.window_count && p->flight_bytes < r->setup.window_bytes;
}

static bool stream(struct raft *r, struct raft_peer *p)
{
    bool has_sent = false;
    while (p->next <= r->log.last && has_room(r, p)) {
        uint64_t bytes;
        uint32_t count = entries_for_one(r, p, &bytes);
        send(r, p, p->next - 1, count, false);
        p->next += count;
        uint32_t slot = (p->flight_head + p->flight_count++) % r->setup.window_count;
        p->flights[slot] = (struct raft_flight){ p->next - 1, bytes };
        p->flight_bytes += bytes;
        has_sent = true;
    }
    return has_sent;
}

/* That all have applied something matters at once to whoever proposed it; the others hear it with
 * whatever is said next. */
static bool has_news(const struct raft *r, const struct raft_peer *p)
{
    bool awaits_all = p->told_all_applied < p->waits_for && p->told_all_applied < r->all_applied;
    return p->told_commit < r->commit || awaits_all || p->told_round < r->round;
}

static void serve(struct raft *r, struct raft_peer *p)
{
    bool is_due = r->now_us - p->sent_us >= r->setup.heartbeat_us;
    if (p->mode == RAFT_PROBE && p->next <= r->log.base) {
        p->mode = RAFT_FETCH;
        p->fetching = RAFT_FETCH_IDLE;
        p->fetch_index = p->fetch_id = p->fetch_next = 0;
        p->fetch_us = 0;
    }
    switch (p->mode) {
    case RAFT_PROBE:
        if (p->is_waiting && !is_due)
            return;
        p->is_waiting = true;
        send(r, p, p->next - 1, 0, true);
        return;
    case RAFT_PIPE:
        if (!stream(r, p) && (is_due || has_news(r, p)))
            send(r, p, p->next - 1, 0, is_due || p->told_round < r->round);
        return;
    case RAFT_FETCH:
        raft_snap_send(r, p);
        if (is_due || has_news(r, p))
            send(r, p, 0, 0,
                 is_due || p->told_round <
                               r->round); /* agrees with every log, and keeps an election away */
        return;
    }
    UNREACHABLE("raft peer mode");
}

void raft_append_settle(struct raft *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        if (p->mode == RAFT_PIPE && p->next <= r->log.base)
            raft_append_probe(p); /* compacted under its feet */
        serve(r, p);
    }
}

/* ---- answers ---- */

static void land(const struct raft *r, struct raft_peer *p)
{
    while (p->flight_count != 0 && p->flights[p->flight_head].last <= p->match) {
        p->flight_bytes -= p->flights[p->flight_head].bytes;
        p->flight_head = (p->flight_head + 1) % r->setup.window_count;
        p->flight_count--;
    }
}

/* Back to where the logs may meet: no entry above the hint has a term that the other has there. */
static void on_refused(struct raft *r, struct raft_peer *p, const struct raft_msg_append_reply *a)
{
    bool is_stale = a->probe != p->probe || a->prev_index <= p->match || p->mode == RAFT_FETCH ||
                    a->prev_index > r->log.last;
    if (is_stale)
        return;
    uint64_t meet = a->hint_index < a->prev_index ? a->hint_index : a->prev_index - 1;
    if (meet > r->log.base)
        meet = raft_log_find(&r->log, meet, a->hint_term);
    p->next = meet > p->match ? meet + 1 : p->match + 1;
    raft_append_probe(p);
}

static void on_matched(struct raft *r, struct raft_peer *p, const struct raft_msg_append_reply *a)
{
    if (a->match > r->log.last)
        return; /* of nobody who follows us */
    if (a->match > p->match)
        p->match = a->match;
    land(r, p);
    if (p->mode == RAFT_PROBE && a->probe != p->probe)
        return;
    if (p->mode == RAFT_FETCH && p->match < r->log.base)
        return;
    if (p->next <= p->match)
        p->next = p->match + 1;
    if (p->mode == RAFT_FETCH)
        raft_append_probe(p);
    p->mode = RAFT_PIPE;
}

/* A node that restarted may have less than it had (applied; a RAM node: everything). */
static void on_boot(struct raft *r, struct raft_peer *p, uint32_t boot)
{
    p->boot = boot;
    p->match = 0;
    p->applied = 0;
    p->next = r->log.last + 1;
    p->is_recovering = false;
    raft_append_probe(p);
}

static void note_recovering(struct raft *r, struct raft_peer *p, bool is_recovering)
{
    if (is_recovering && !p->is_recovering) {
        /* All that it may ever have acknowledged stands in our log up to here. */
        p->whole_at = r->log.last;
        if (MUTATION(RAFT_RECOVERING_TO_COMMIT) && r->commit != 0)
            p->whole_at = r->commit;
        p->sent_us = r->now_us - r->setup.heartbeat_us;
    }
    p->is_recovering = is_recovering;
}

void raft_append_on_reply(struct raft *r, const struct raft_msg *m)
{
    const struct raft_msg_append_reply *a = &m->append_reply;
    struct raft_peer *p = raft_conf_peer(r, m->from);
    if (p == NULL)
        return; /* no member: whatever its term, it shall not disturb */
    if (m->term > r->hard.term) {
        raft_elect_follow(r, m->term, 0);
        return;
    }
    if (r->role != RAFT_LEADER || m->term < r->hard.term || m->boot < p->boot)
        return;
    if (m->boot > p->boot)
        on_boot(r, p, m->boot);
    p->heard_us = r->now_us;
    if (a->round > p->round)
        p->round = a->round;
    if (a->applied > p->applied)
        p->applied = a->applied;
    note_recovering(r, p, a->is_recovering);
    if (a->is_refused)
        on_refused(r, p, a);
    else
        on_matched(r, p, a);
}
