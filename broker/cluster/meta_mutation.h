/*
 * meta_mutation: the rules that the safety of definitions rests on, each with a switch that breaks
 * it. As base/mutation.h, for the simulation of the metadata's log.
 */
#ifndef WARREN_META_MUTATION_H
#define WARREN_META_MUTATION_H

#include <stdbool.h>

/* What the broken code does. */
#define META_MUTATIONS(X)                                                                          \
    X(NO_SYNC, "calls a group safe that was written and not synced")                               \
    X(IGNORE_FAILED_SYNC, "takes a failed sync for a good one")                                    \
    X(HEAD_NOT_SYNCED, "gives a new log its name before its head is on disk")                      \
    X(NAME_NOT_SYNCED, "writes to a new log whose name may not be on disk")                        \
    X(SNAPSHOT_NOT_SYNCED, "gives a snapshot its name before it is on disk")                       \
    X(SNAPSHOT_NAME_NOT_SYNCED, "removes older files before the snapshot's name is on disk")       \
    X(TRUST_LAST, "goes on behind a group whose sync may have failed")                             \
    X(OVERWRITE_LAST, "writes the last group once more where it stands")                           \
    X(IDS_AGAIN, "gives ids again that only things had that do not last")

enum meta_mutation {
#define X(name, text) META_MUTATION_##name,
    META_MUTATIONS(X)
#undef X
        META_MUTATION_COUNT
};

#ifdef SIM_MUTATIONS
bool meta_mutation_is_on(enum meta_mutation m);
#define META_MUTATION(name) meta_mutation_is_on(META_MUTATION_##name)
#else
#define META_MUTATION(name) false
#endif

#endif
