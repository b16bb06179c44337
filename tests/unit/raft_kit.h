/*
 * raft_kit: a few members of a group in one process, on a clock that the test moves, with messages
 * that arrive at once unless they are cut off, and disks that are done at once unless they are
 * held.
 */
#ifndef WARREN_TESTS_RAFT_KIT_H
#define WARREN_TESTS_RAFT_KIT_H

#include "expect.h"
#include "raft_store.h"

#define KIT_NODES 6

struct kit_node {
    struct raft *raft; /* NULL: it is down */
    struct raft_effects fx;
    struct raft_store store;
    struct raft_machine machine;
    struct raft_write *writes[RAFT_WRITES_MAX]; /* not yet durable */
    size_t write_count;
    uint32_t boot;
    bool holds_disk;
    bool holds_apply;
    /* What it was told last. */
    uint64_t accepted;
    enum raft_refusal refused;
    uint64_t lost;
    uint64_t all_applied;
    uint64_t read_token;
    uint64_t read_index;
    unsigned reads_lost;
    unsigned whole;
    unsigned restored;
    unsigned sent[RAFT_MSG_KIND_COUNT];
    uint64_t sent_entries;
};

struct kit {
    int64_t now_us;
    struct kit_node nodes[KIT_NODES + 1];      /* by number, from 1 */
    bool is_cut[KIT_NODES + 1][KIT_NODES + 1]; /* from, to */
    uint64_t index_max;                        /* entries behind it do not arrive; 0: all do */
    struct raft_msg *msgs[4096];
    size_t msg_count;
    struct raft_setup setup;
    uint16_t from; /* who asks for what is proposed */
    uint64_t seed; /* added to those of the members that start */
};

/* `voters` members with an agreed configuration, as if bootstrapped; started, no leader yet. */
void kit_init(struct kit *k, unsigned voters);
void kit_fini(struct kit *k);

void kit_start(struct kit *k, unsigned node);
/* What was not durable is lost. */
void kit_kill(struct kit *k, unsigned node);
/* Both ways, with all others. */
void kit_isolate(struct kit *k, unsigned node, bool cut);
void kit_cut(struct kit *k, unsigned a, unsigned b, bool cut);
void kit_release_disk(struct kit *k, unsigned node);

/* One event to one node, and all that follows from it at this moment. */
void kit_do(struct kit *k, unsigned node, struct raft_event *ev);
/* The clock goes on, in steps of 10 ms. */
void kit_run_ms(struct kit *k, int ms);
/* This node stands for election until it leads. */
void kit_elect(struct kit *k, unsigned node);
/* The node that leads with the highest term, or 0. */
unsigned kit_leader(const struct kit *k);

/* The index it got, or 0 and nodes[node].refused. */
uint64_t kit_propose(struct kit *k, unsigned node, const char *command);
uint64_t kit_change(struct kit *k, unsigned node, unsigned whom, enum raft_part part);
uint64_t kit_remove(struct kit *k, unsigned node, unsigned whom);
/* All that is applied is in a snapshot now. */
void kit_snapshot(struct kit *k, unsigned node);

/* Entry `index` of a node's log is that command. */
bool kit_has(const struct kit *k, unsigned node, uint64_t index, const char *command);

/* All that are up have applied the same. */
void kit_expect_agreement(const struct kit *k);

#endif
