/*
 * raft_msg: what members say to each other. raft_wire makes octets of it.
 *
 * A message owns its entries and its chunk until raft_msg_fini.
 */
#ifndef WARREN_RAFT_MSG_H
#define WARREN_RAFT_MSG_H

#include "raft/raft_entry.h"

#define RAFT_CHUNK_BYTES   (256u << 10) /* of a snapshot, in one message */
#define RAFT_APPEND_COUNT  8192u        /* entries in one message, at most */
#define RAFT_MSG_BYTES_MAX (6u << 20)   /* as octets: four MiB of entries, and one more */

#define RAFT_MSG_KINDS(X)                                                                          \
    X(PREVOTE) /* would you vote for me? */                                                        \
    X(PREVOTE_REPLY)                                                                               \
    X(VOTE)                                                                                        \
    X(VOTE_REPLY)                                                                                  \
    X(APPEND) /* entries, or a heartbeat when there are none */                                    \
    X(APPEND_REPLY)                                                                                \
    X(INSTALL) /* a chunk of a snapshot */                                                         \
    X(INSTALL_REPLY)                                                                               \
    X(TIMEOUT_NOW) /* stand for election at once: leadership is yours */

enum raft_msg_kind {
    RAFT_MSG_NONE,
#define X(name) RAFT_MSG_##name,
    RAFT_MSG_KINDS(X)
#undef X
        RAFT_MSG_KIND_COUNT
};

struct raft_msg_vote { /* PREVOTE, VOTE */
    uint64_t last_index;
    uint64_t last_term;
    bool is_transfer; /* the leader asked for it: hearing a leader is no reason to refuse */
};

struct raft_msg_vote_reply {
    uint64_t asked_term; /* of the question */
    bool is_granted;
};

struct raft_msg_append {
    uint64_t prev_index;
    uint64_t prev_term;
    uint64_t commit;
    uint64_t all_applied; /* every node that counts has applied up to here */
    uint64_t round;       /* given back in the reply; what reads wait for */
    uint32_t probe;       /* given back: which search for the place where the logs meet */
    bool is_question;     /* answered even when there is nothing new to say */
    uint64_t whole_at;    /* a recovering node is whole when it has this; 0: not said ... */
    uint32_t whole_boot;  /* ... and this is the incarnation that asked */
    uint32_t count;
    struct raft_entry *entries; /* prev_index + 1 and on */
};

struct raft_msg_append_reply {
    bool is_refused;
    bool is_recovering;
    uint64_t prev_index; /* refused: of which question */
    uint64_t match;      /* durable here, and the same as the leader's */
    uint64_t hint_index; /* refused: nothing above this can match ... */
    uint64_t hint_term;  /* ... and the term of ours there */
    uint64_t applied;
    uint64_t round;
    uint32_t probe;
};

struct raft_msg_install {
    struct raft_snapshot snapshot;
    uint64_t offset;
    uint64_t round;
    struct buf *chunk; /* may be empty when the snapshot is */
};

struct raft_msg_install_reply {
    uint64_t index;
    uint64_t id;
    uint64_t next; /* the first octet that is missing */
    uint64_t round;
};

struct raft_msg {
    enum raft_msg_kind kind;
    uint16_t from;
    uint16_t to;
    uint32_t boot; /* of the sender: its incarnation */
    uint64_t term;
    union {
        struct raft_msg_vote vote;
        struct raft_msg_vote_reply vote_reply;
        struct raft_msg_append append;
        struct raft_msg_append_reply append_reply;
        struct raft_msg_install install;
        struct raft_msg_install_reply install_reply;
    };
};

const char *raft_msg_name(enum raft_msg_kind kind);

/* A copy with references of its own. */
void raft_msg_copy(struct raft_msg *to, const struct raft_msg *from);
void raft_msg_fini(struct raft_msg *m);

#endif
