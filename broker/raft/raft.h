/*
 * raft: consensus on one log (core). Ongaro's rules: pre-vote, check-quorum, a no-op at the start
 * of a term, commit by counting for entries of one's own term alone, pipelined appends, snapshots
 * in chunks, learners, one membership change at a time, leadership transfer, read index.
 *
 * It neither reads a clock nor sends, writes, logs or applies: an event comes in, effects come out.
 * The driver carries effects out in order, and hands every event to raft_step on one thread.
 *
 *     time, message, propose ...          +-- WRITE ----> raft_disk --- EV_WRITTEN --> raft_step
 *       ----------------> raft_step ------+-- SEND -----> raft_wire, link
 *                                         +-- COMMIT ---> apply raft_entry_at(...) - EV_APPLIED ->
 *                                         +-- ...
 *
 * Nothing that relies on the disk is said before it is there: the driver needs no order between
 * WRITE and SEND, only between one WRITE and the next. A node whose log lost what it had
 * acknowledged starts as *recovering*: it neither votes nor counts until it has again all that a
 * leader's log held when it asked. A node that lost its hard state (term and vote) must not be
 * started under its number at all: it joins anew, as another member.
 *
 * Memory is bounded: the log by setup.log_bytes_max (proposals are refused behind it), what is on
 * its way to a peer by the window, reads by RAFT_READS_MAX.
 */
#ifndef WARREN_RAFT_H
#define WARREN_RAFT_H

#include "raft/raft_entry.h"
#include "raft/raft_log.h"
#include "raft/raft_msg.h"

#define RAFT_READS_MAX   256u /* waiting at a leader */
#define RAFT_COUNTED_MAX 64u
#define RAFT_WRITES_MAX  8u /* given to the disk and not yet durable */

struct raft;

struct raft_setup {
    uint16_t node; /* not 0 */
    uint32_t boot; /* rises with every start of this node */
    uint64_t seed;
    int64_t heartbeat_us;    /* 50 ms */
    int64_t election_min_us; /* 300 ms: as long as that nobody votes against a leader it hears */
    int64_t election_max_us; /* 600 ms; a witness waits twice as long */
    uint32_t append_bytes;   /* entries in one message: 1 MiB; one entry may be larger */
    uint32_t window_bytes;   /* on the way to one peer: 8 MiB */
    uint32_t window_count;   /* messages with entries on the way to one peer: 64, at most 256 */
    uint32_t writes_max;     /* on the way to the disk: 2 .. RAFT_WRITES_MAX */
    uint64_t log_bytes_max;  /* 256 MiB: proposals are refused beyond */
    uint64_t tail_bytes;     /* kept behind a compaction for followers that lag: 16 MiB */
};

/* The numbers above. */
void raft_setup_default(struct raft_setup *s);

/* What the disk has. Its reader has judged it: indexes are dense, terms do not fall nor pass
 * hard.term, configurations can be read. Entries up to the snapshot's index are not used; those
 * behind it are dropped, as in a transfer that a crash cut short, if they do not go on from it. */
struct raft_start {
    int64_t now_us;
    struct raft_hard hard;
    struct raft_snapshot snapshot;    /* the state machine is restored from it */
    uint64_t base;                    /* the entries begin behind this; <= snapshot.index */
    const struct raft_entry *entries; /* references are taken of each */
    size_t count;
    bool is_whole; /* false: acknowledged entries may be missing */
};

struct raft *raft_new(const struct raft_setup *setup, const struct raft_start *start);
void raft_free(struct raft **r);

/* ---- events ---- */

#define RAFT_EVENTS(X)                                                                             \
    X(TIME)        /* the clock alone; wanted at raft_deadline_us */                               \
    X(MESSAGE)     /* .msg, of which entries and chunk may be taken */                             \
    X(WRITTEN)     /* .number: this write and all before it are durable */                         \
    X(PROPOSE)     /* .propose */                                                                  \
    X(CHANGE)      /* .change: of membership */                                                    \
    X(TRANSFER)    /* .node: let this voter lead; 0: the one that has most */                      \
    X(READ)        /* .token: which index is as new as this moment? */                             \
    X(APPLIED)     /* .index: the state machine has applied up to here */                          \
    X(COUNTED)     /* .counted: the nodes whose applied index all_applied waits for */             \
    X(PEER_OPEN)   /* .node: a link to it opened, what was sent before may be lost */              \
    X(PEER_GONE)   /* .node: its process is known to be dead */                                    \
    X(SNAPSHOT)    /* .snapshot: ours up to here is durable; entries before it may go */           \
    X(CHUNK_READ)  /* .chunk: the answer to NEED_CHUNK */                                          \
    X(CHUNK_TAKEN) /* .taken: the answer to TAKE_CHUNK */

enum raft_event_kind {
    RAFT_EV_NONE,
#define X(name) RAFT_EV_##name,
    RAFT_EVENTS(X)
#undef X
};

/* Commands in order, one entry each. References are taken of each. Answered by ACCEPTED or REFUSED
 * with the same token, in the same step. */
struct raft_propose {
    uint64_t token;
    struct buf *const *commands; /* of 1 .. RAFT_ENTRY_BYTES_MAX octets */
    size_t count;
    uint16_t from; /* hears at once when all have applied them; 0: nobody but the leader does */
};

/* One change of one node. A voter must have been a learner that has caught up. Answered by ACCEPTED
 * or REFUSED in the same step; in force at once, done when CONFIG says that it is committed. */
struct raft_change {
    uint64_t token;
    uint16_t node;
    bool is_removal;
    enum raft_part part; /* the part it is to have; a node that is no member becomes a learner */
};

/* A piece of the snapshot that NEED_CHUNK asked for, or if there is a newer one instead, that one's
 * first. bytes NULL: there is none to be had at present, and it will be asked for again. */
struct raft_chunk {
    uint16_t node;
    struct raft_snapshot snapshot;
    uint64_t offset;
    struct buf *bytes; /* a reference is taken */
};

/* `next`: the first octet of this snapshot that is not here, which tells what is missing after a
 * restart too. is_complete: all of it is here and is good; WRITE.install then makes it ours. A
 * snapshot that turned out bad is begun again: next is 0. */
struct raft_taken {
    uint64_t index;
    uint64_t id;
    uint64_t next;
    bool is_complete;
};

/* A node whose applied index is waited for, and the incarnation that is up: what an earlier one had
 * applied does not count. */
struct raft_counted {
    uint16_t node;
    uint32_t boot;
};

struct raft_event {
    enum raft_event_kind kind;
    int64_t now_us; /* monotonic; never less than before */
    bool has_more;  /* another event follows at once: what is to be written and sent may wait */
    union {
        struct raft_msg *msg;
        uint64_t number;
        uint64_t index;
        uint64_t token;
        uint16_t node;
        struct raft_propose propose;
        struct raft_change change;
        struct raft_snapshot snapshot;
        struct raft_chunk chunk;
        struct raft_taken taken;
        struct {
            const struct raft_counted *nodes; /* at most RAFT_COUNTED_MAX */
            size_t count;
        } counted;
    };
};

/* ---- effects ---- */

#define RAFT_EFFECTS(X)                                                                            \
    X(WRITE)       /* .write, in the order of their numbers */                                     \
    X(SEND)        /* .msg; may be lost, never be changed */                                       \
    X(RESTORE)     /* .snapshot: replace the state machine by what was received; then APPLIED */   \
    X(COMMIT)      /* .index: apply up to here, by raft_entry_at */                                \
    X(ROLE)        /* .role: it, the term or the leader changed */                                 \
    X(CONFIG)      /* .config: another is in force, or the one in force is committed */            \
    X(ACCEPTED)    /* .proposed */                                                                 \
    X(REFUSED)     /* .refused */                                                                  \
    X(LOST)        /* .index: entries from here on were cut off, proposals among them */           \
    X(READ_READY)  /* .read: what is applied up to .read.index is as new as was asked */           \
    X(READ_LOST)   /* .read.token: not the leader, or no longer: ask the leader */                 \
    X(ALL_APPLIED) /* .index: all nodes that count have applied up to here; rises */               \
    X(NEED_CHUNK)  /* .need: read it and answer by CHUNK_READ */                                   \
    X(TAKE_CHUNK)  /* .msg, an INSTALL: keep it and answer by CHUNK_TAKEN */                       \
    X(WHOLE)       /* a recovering node has all again */

enum raft_effect_kind {
    RAFT_DO_NONE,
#define X(name) RAFT_DO_##name,
    RAFT_EFFECTS(X)
#undef X
};

/* One write. In this order: the hard state, the snapshot, the truncation, the entries; and durable
 * as a whole before it is said to be written. A crash in between must look like a prefix of that
 * order. After `install`, the log on disk begins behind the snapshot: entries up to its index are
 * gone (and all others too, since truncate_from then says so, unless they are to be kept). */
struct raft_write {
    uint64_t number; /* 1, 2, 3 ... */
    bool has_hard;
    bool has_install; /* the snapshot that was received becomes the current one */
    struct raft_hard hard;
    struct raft_snapshot install;
    uint64_t truncate_from; /* this entry and all behind it go; 0: none */
    struct raft_entry *entries;
    size_t count;
};

void raft_write_free(struct raft_write **w);

enum raft_role {
    RAFT_FOLLOWER,
    RAFT_PRECANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

const char *raft_role_name(enum raft_role role);

#define RAFT_REFUSALS(X)                                                                           \
    X(NOT_LEADER, "another node leads, or none")                                                   \
    X(TRANSFERRING, "leadership is being handed over")                                             \
    X(FULL, "the log is full until it is compacted")                                               \
    X(TOO_EARLY, "nothing of this term is committed yet")                                          \
    X(PENDING, "another change is not committed yet")                                              \
    X(NOT_CAUGHT_UP, "the node has not caught up")                                                 \
    X(NO_MAJORITY, "of the voters that were left, no majority answers")                            \
    X(LAST_VOTER, "it is the last voter")                                                          \
    X(NO_ROOM, "there is no room for another member")                                              \
    X(NOTHING, "there is nothing to change")

enum raft_refusal {
    RAFT_REFUSED_NONE,
#define X(name, text) RAFT_REFUSED_##name,
    RAFT_REFUSALS(X)
#undef X
};

const char *raft_refusal_text(enum raft_refusal why);

struct raft_effect {
    enum raft_effect_kind kind;
    union {
        struct raft_write *write;       /* owned; to keep it, take it and leave NULL */
        struct raft_msg *msg;           /* owned; the same */
        struct raft_snapshot *snapshot; /* owned by the effects */
        uint64_t index;
        struct {
            enum raft_role role;
            uint64_t term;
            uint16_t leader; /* 0: not known */
        } role;
        struct {
            uint64_t index;
            bool is_committed;
        } config; /* raft_config */
        struct {
            uint64_t token;
            uint64_t first; /* index of the first; the others follow */
            uint64_t term;
        } proposed;
        struct {
            uint64_t token;
            enum raft_refusal why;
            uint16_t leader; /* 0: not known */
        } refused;
        struct {
            uint64_t token;
            uint64_t index;
        } read;
        struct {
            uint16_t node;
            uint64_t index; /* 0: the newest */
            uint64_t id;
            uint64_t offset; /* at most RAFT_CHUNK_BYTES from here */
        } need;
    };
};

struct raft_effects {
    struct raft_effect *list;
    size_t count;
    size_t room;
};

void raft_effects_init(struct raft_effects *e);
/* Drops what was not taken; the room stays. */
void raft_effects_clear(struct raft_effects *e);
void raft_effects_fini(struct raft_effects *e);

/* Effects are added behind those that are there; all must be carried out before the next event that
 * has no more behind it: what they speak of is in memory until then. */
void raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *out);

/* ---- what may be asked at any time ---- */

/* When a TIME event is wanted at the latest. */
int64_t raft_deadline_us(const struct raft *r);

uint64_t raft_term(const struct raft *r);
enum raft_role raft_role(const struct raft *r);
uint16_t raft_leader(const struct raft *r); /* 0: not known */
uint64_t raft_commit(const struct raft *r);
uint64_t raft_last(const struct raft *r);
uint64_t raft_durable(const struct raft *r); /* of the log as it is, this much is on disk */
bool raft_is_recovering(const struct raft *r);
const struct raft_log *raft_log(const struct raft *r);

/* An entry in memory, lent until the next step: those not yet applied always are. */
const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index);

/* In force, and what a snapshot of that index must carry: index is at least the last one's, and not
 * above raft_durable, which it is only while a snapshot that was received is not on disk yet. */
const struct raft_config *raft_config(const struct raft *r);
void raft_config_at(const struct raft *r, uint64_t index, struct raft_snapshot *fill);

/* Of a leader, about a member. */
struct raft_peer_state {
    uint64_t match;
    uint64_t applied;
    int64_t heard_us; /* 0: not in this term */
    bool is_recovering;
    bool is_fetching; /* a snapshot */
};
MUST_CHECK bool raft_peer_state(const struct raft *r, uint16_t node, struct raft_peer_state *out);

#endif
