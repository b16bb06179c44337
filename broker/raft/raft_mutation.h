/*
 * raft_mutation: the rules that consensus rests on, each with a switch that breaks it. As
 * base/mutation.h, for the simulation of raft.
 */
#ifndef WARREN_RAFT_MUTATION_H
#define WARREN_RAFT_MUTATION_H

#include <stdbool.h>

/* What the broken code does. */
#define RAFT_MUTATIONS(X)                                                                          \
    X(COMMIT_OLD_TERM, "commits an entry of an older term by counting who has it")                 \
    X(VOTE_ANY_LOG, "votes for a candidate whose log is behind its own")                           \
    X(VOTE_AGAIN, "votes for a second candidate in one term")                                      \
    X(VOTE_BEFORE_DURABLE, "says that it voted before the vote is durable")                        \
    X(CANDIDATE_BEFORE_DURABLE, "asks for votes before its own term and vote are durable")         \
    X(ACK_BEFORE_DURABLE, "acknowledges entries that are not durable")                             \
    X(ACK_UNVERIFIED, "acknowledges entries that this leader may not have")                        \
    X(LEADER_COUNTS_EARLY, "counts itself for entries that it has not on disk")                    \
    X(NO_PREV_CHECK, "appends behind an entry of another term")                                    \
    X(KEEP_CONFLICT, "keeps entries that conflict with the leader's")                              \
    X(COMMIT_UNVERIFIED, "commits up to the leader's index entries that the leader may not have")  \
    X(COMMIT_BY_HALF, "commits when half of the voters have an entry")                             \
    X(LEARNER_COUNTS, "counts learners for the majority")                                          \
    X(CONFIG_KEPT, "keeps a configuration whose entry was cut off")                                \
    X(CONFIG_OF_SNAPSHOT_LOST, "keeps its configuration when it takes a snapshot")                 \
    X(CHANGE_BEFORE_NOOP, "changes the members before its term's first entry is committed")        \
    X(TWO_CHANGES, "changes the members while another change is pending")                          \
    X(RECOVERING_VOTES, "votes with a log that lost what it had acknowledged")                     \
    X(RECOVERING_TO_COMMIT, "is whole again at the leader's commit index, not its last")           \
    X(WHOLE_OF_ANY_BOOT, "takes what an earlier life of it needed to be whole for its own need")   \
    X(SHORT_LOG_IS_WHOLE, "starts with a damaged log as if it were whole")                         \
    X(INSTALL_BEFORE_DURABLE, "acknowledges a snapshot that is not durable")                       \
    X(INSTALL_KEEPS_LOG, "keeps entries that conflict with a snapshot it takes")                   \
    X(READ_WITHOUT_ROUND, "lets reads go without asking whether it still leads")                   \
    X(READ_BEFORE_NOOP, "lets reads go before its term's first entry is committed")                \
    X(READ_OLD_ROUND, "takes the answer to an earlier question for that to the last")              \
    X(OLD_BOOT_APPLIED, "believes what a node had applied before it restarted")                    \
    X(NO_PREVOTE, "raises its term without asking first")                                          \
    X(VOTE_AGAINST_LEADER, "votes against a leader that it hears")                                 \
    X(NO_CHECK_QUORUM, "leads on without hearing from a majority")

enum raft_mutation {
#define X(name, text) RAFT_MUTATION_##name,
    RAFT_MUTATIONS(X)
#undef X
        RAFT_MUTATION_COUNT
};

#ifdef SIM_MUTATIONS
bool raft_mutation_is_on(enum raft_mutation m);
#define RAFT_MUTATION(name) raft_mutation_is_on(RAFT_MUTATION_##name)
#else
#define RAFT_MUTATION(name) false
#endif

#endif
