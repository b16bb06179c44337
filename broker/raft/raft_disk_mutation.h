/*
 * raft_disk_mutation: the rules that the safety of raft_disk rests on, each with a switch that
 * breaks it. As base/mutation.h, for the simulation of Raft's disk.
 */
#ifndef WARREN_RAFT_DISK_MUTATION_H
#define WARREN_RAFT_DISK_MUTATION_H

#include <stdbool.h>

/* What the broken code does. */
#define RAFT_DISK_MUTATIONS(X)                                                                     \
    X(NO_SYNC, "calls a group safe that was written and not synced")                               \
    X(IGNORE_FAILED_SYNC, "takes a failed sync for a good one")                                    \
    X(HEAD_NOT_SYNCED, "gives a new log its name before its head is on disk")                      \
    X(NAME_NOT_SYNCED, "writes to a new log whose name may not be on disk")                        \
    X(SNAPSHOT_NOT_SYNCED, "gives a snapshot its name before it is on disk")                       \
    X(SNAPSHOT_NAME_NOT_SYNCED, "removes older files before the snapshot's name is on disk")       \
    X(TRUST_LAST, "goes on behind a group whose sync may have failed")                             \
    X(OVERWRITE_LAST, "writes the last group once more where it stands")                           \
    X(HARD_NOT_WRITTEN, "keeps a vote that comes without entries for the next group")              \
    X(SNAPSHOT_TOO_EARLY, "removes logs that hold what the snapshot does not")                     \
    X(INSTALL_KEEPS_LOG, "keeps a log that does not agree with the snapshot it is given")          \
    X(RECEIVED_NOT_CHECKED, "installs what was received without looking at it")                    \
    X(CUT_AT_DAMAGE, "takes the log to end where it is damaged")

enum raft_disk_mutation {
#define X(name, text) RAFT_DISK_MUTATION_##name,
    RAFT_DISK_MUTATIONS(X)
#undef X
        RAFT_DISK_MUTATION_COUNT
};

#ifdef SIM_MUTATIONS
bool raft_disk_mutation_is_on(enum raft_disk_mutation m);
#define RAFT_DISK_MUTATION(name) raft_disk_mutation_is_on(RAFT_DISK_MUTATION_##name)
#else
#define RAFT_DISK_MUTATION(name) false
#endif

#endif
