/*
 * mutation: the rules that safety rests on, each with a switch that breaks it.
 *
 * The switches exist in the simulator's build alone (SIM_MUTATIONS); elsewhere they are constants
 * and cost nothing. A test turns each on in turn and fails if the simulator does not notice: a rule
 * whose absence nobody notices is not tested. To add a rule is to add a line here and
 * MUTATION(NAME) where it is kept.
 */
#ifndef WARREN_MUTATION_H
#define WARREN_MUTATION_H

#include <stdbool.h>

/* What the broken code does. Those of gossip are tried by histories of gossip. */
#define MUTATIONS_GOSSIP(X)                                                                        \
    X(GOSSIP_OLD_WORD_WINS, "believes an old word about a member")                                 \
    X(GOSSIP_OLD_PULSE_WINS, "believes an old pulse of a member")                                  \
    X(GOSSIP_OLD_RUMOUR_WINS, "believes an old rumour")                                            \
    X(GOSSIP_NO_REFUTATION, "lets others say of it that it is dead")                               \
    X(GOSSIP_NO_TCP_PING, "takes lost packets for a lost member")                                  \
    X(GOSSIP_DEAD_FOR_EVER, "never asks again whether the dead are back")                          \
    X(GOSSIP_SUSPECT_NOT_TOLD, "does not tell a suspect that it is suspected")                     \
    X(LOCATION_OLD_WORD_WINS, "believes an old word about where a queue is")                       \
    X(LOCATION_GONE_COMES_BACK, "believes in a queue that was taken away")                         \
    X(LOCATION_SWEPT_COMES_BACK, "believes in a queue that went with its node")

#define MUTATIONS(X)                                                                               \
    MUTATIONS_GOSSIP(X)                                                                            \
    X(NO_SYNC, "says that a group is durable when it is written, not when it is synced")           \
    X(IGNORE_FAILED_SYNC, "takes a failed sync for a good one")                                    \
    X(SYNC_OPEN_ONLY, "syncs the last segment of a group, not those before it")                    \
    X(BATCH_SAYS_WRITTEN, "has a batch call durable what was only written before it")              \
    X(HEADER_NOT_SYNCED, "names a segment whose header may not be on disk")                        \
    X(NAME_NOT_SYNCED, "writes to a segment whose name may not be on disk")                        \
    X(CHECK_WITHOUT_SALT, "lets stale octets of a recycled segment pass for records")              \
    X(RECOVERY_NOT_SYNCED, "builds on what was read without having it synced")                     \
    X(RECOVERY_NOT_REWRITTEN, "syncs what was read, though an earlier sync of it may have failed") \
    X(KEEP_BEHIND_TORN, "counts what was never safe also behind a torn place")                     \
    X(TAIL_NOT_ENDED, "leaves a torn tail, which later looks like lost data")                      \
    X(CUT_AT_HOLE, "drops what stands behind a hole")                                              \
    X(OLDER_RECORD_COUNTS, "takes the older of two records of a position")                         \
    X(POSITIONS_AGAIN, "gives positions again of which only settlements are left")                 \
    X(RECYCLED_EARLY, "gives a segment up before what was moved out of it is synced")              \
    X(STATE_NOT_CARRIED, "gives a segment up with settlements that still matter")                  \
    X(LARGE_REMOVED_EARLY, "removes a large message's file before its settlement is synced")       \
    X(CONFIRMED_EARLY, "confirms before what it confirms is durable")                              \
    X(FENCE_EARLY, "says that something is settled for good before that is durable")

enum mutation {
#define X(name, text) MUTATION_##name,
    MUTATIONS(X)
#undef X
        MUTATION_COUNT
};

#ifdef SIM_MUTATIONS
bool mutation_is_on(enum mutation m);
#define MUTATION(name) mutation_is_on(MUTATION_##name)
#else
#define MUTATION(name) false
#endif

#endif
