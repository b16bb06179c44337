/* Leadership given to another voter: it is brought up to date and told to stand at once. A witness
 * does so by itself, and a leader whose disk hangs, since its log can never be compacted. */
#include "raft/raft_inner.h"

static bool is_fit(const struct raft *r, const struct raft_peer *p)
{
    return raft_conf_is_voter(r, p->node) && !p->is_recovering && p->mode == RAFT_PIPE &&
           r->now_us - p->heard_us <= r->setup.election_min_us;
}

/* The voter that has most; a witness last of all. */
static struct raft_peer *fittest(struct raft *r)
{
    struct raft_peer *best = NULL;
    bool is_best_witness = true;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        bool is_witness = raft_conf_part(r, p->node) == RAFT_WITNESS;
        if (!is_fit(r, p))
            continue;
        if (best == NULL || (is_best_witness && !is_witness) ||
            (is_best_witness == is_witness && p->match > best->match)) {
            best = p;
            is_best_witness = is_witness;
        }
    }
    return best;
}

static void start(struct raft *r, const struct raft_peer *to)
{
    r->transfer_to = to->node;
    r->transfer_us = r->now_us + r->setup.election_max_us;
    r->transfer_sent_us = r->now_us - r->setup.heartbeat_us;
}

void raft_handover_start(struct raft *r, uint16_t to)
{
    const struct raft_peer *p = to != 0 ? raft_conf_peer(r, to) : fittest(r);
    if (r->role == RAFT_LEADER && p != NULL && raft_conf_is_voter(r, p->node) && !p->is_recovering)
        start(r, p);
}

static bool disk_hangs(const struct raft *r)
{
    return r->writing_count != 0 &&
           r->now_us - r->writing[0].since_us > 2 * r->setup.election_max_us;
}

void raft_handover_tick(struct raft *r)
{
    if (r->transfer_to != 0 && r->now_us >= r->transfer_us)
        r->transfer_to = 0; /* it did not come to pass: lead on */
    bool is_witness = raft_conf_part(r, r->setup.node) == RAFT_WITNESS;
    if (r->transfer_to != 0 || r->now_us < r->handover_us || !(is_witness || disk_hangs(r)))
        return;
    const struct raft_peer *p = fittest(r);
    if (p == NULL || p->match < r->commit ||
        (is_witness && raft_conf_part(r, p->node) == RAFT_WITNESS))
        return;
    r->handover_us = r->now_us + 4 * r->setup.election_max_us;
    start(r, p);
}

void raft_handover_settle(struct raft *r)
{
    const struct raft_peer *p = r->transfer_to != 0 ? raft_conf_peer(r, r->transfer_to) : NULL;
    if (p == NULL || p->match != r->log.last ||
        r->now_us - r->transfer_sent_us < r->setup.heartbeat_us)
        return;
    r->transfer_sent_us = r->now_us;
    raft_say(r, p->node, RAFT_MSG_TIMEOUT_NOW);
}
