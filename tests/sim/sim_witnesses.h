/*
 * sim_witnesses: the list of sim_witness.h. Made by tests/sim/witnesses.
 */
#ifndef WARREN_SIM_WITNESSES_H
#define WARREN_SIM_WITNESSES_H

/* clang-format off */
#define SIM_WITNESSES(X) \
    X(GOSSIP_SUSPECT_NOT_TOLD, gossip, 166) \
    X(RAFT_VOTE_AGAIN, raft, 91) \
    X(RAFT_OLD_LEADER_HEARD, raft, 450) \
    X(RAFT_NO_PREV_CHECK, raft, 23) \
    X(RAFT_COMMIT_BY_HALF, raft, 96) \
    X(RAFT_CONFIG_KEPT, raft, 224) \
    X(RAFT_READ_OLD_ROUND, raft, 846) \
    X(RAFT_WHOLE_OF_ANY_BOOT, raft, 7790) \
    X(HAND_TO_ANYONE, hand, 84) \
    X(HAND_ANY_SOURCE, hand, 8510) \
    X(HAND_OLD_WORD_COUNTS, hand, 13252) \
    X(HAND_TAKEN_AGAIN, hand, 6839) \
    X(HAND_EARLY_FORGOTTEN, hand, 266) \
    X(HAND_REST_STAYS, hand, 439) \
    X(REMOTE_KEPT_OUT_OF_ORDER, remote, 6923) \
    X(REMOTE_TURNED_AWAY_OVERTAKEN, remote, 1680) \
    X(REMOTE_REFUSAL_KEPT, remote, 2905) \
    X(BATCH_SAYS_WRITTEN, log, 55) \
    X(RECOVERY_NOT_SYNCED, log, 168) \
    X(RECOVERY_NOT_REWRITTEN, log, 519) \
    X(POSITIONS_AGAIN, log, 66) \
    X(RECYCLED_EARLY, store, 25) \
    X(RECYCLED_NOT_SYNCED, log, 29) \
    X(RETURNS_NOT_CARRIED, store, 91) \
    X(IGNORE_FAILED_WRITE, log, 77) \
    X(CLOSED_WITH_THE_REST, log, 51) \
    X(INDEX_STRANGER_BELIEVED, log, 29) \
    X(INDEX_NOT_MADE_AGAIN, log, 23) \
    X(RUN_OVER_SETTLED, log, 36) \
    X(LARGE_UNPROVEN_COUNTS, store, 25) \
    X(LARGE_MOVED_AS_SAFE, store, 25) \
    X(LETTER_SETTLED_FIRST, store, 25) \
    X(LETTER_NOT_AWAITED, store, 25) \
    X(REFUSED_CONFIRMED, store, 23) \
    X(CONFIRMED_EARLY, store, 111) \
    X(FENCE_EARLY, store, 649) \
    X(MARK_COUNTS_VOIDS, store, 998) \
    X(READERS_NOT_AWAITED, store, 2211) \

#endif
