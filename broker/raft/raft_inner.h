/*
 * raft_inner: what the files of the consensus core share; nobody else includes it.
 *
 * A step handles its event, which changes the state and may answer at once, and then *settles*: it
 * counts votes, gives the disk what is new, moves the commit index, and says what is due. So one
 * settling serves many events (raft_event.has_more).
 */
#ifndef WARREN_RAFT_INNER_H
#define WARREN_RAFT_INNER_H

#include "base/mutation.h"
#include "base/rng.h"
#include "raft/raft.h"

#define RAFT_WINDOW_MAX 256u
#define RAFT_NEVER      INT64_MAX

/* ---- a leader's or candidate's view of another member ---- */

/*            reply fits                       a reply is refused, link opened
 *   PROBE --------------> PIPE      PIPE, FETCH -----------------------------> PROBE
 *     |                                   ^
 *     +--- what it needs is compacted --> FETCH --- it has the snapshot ---> PROBE   */
enum raft_peer_mode {
    RAFT_PROBE, /* where do the logs meet? One question at a time */
    RAFT_PIPE,  /* entries are sent ahead of the answers */
    RAFT_FETCH, /* it takes a snapshot */
};

enum raft_fetching {
    RAFT_FETCH_IDLE,
    RAFT_FETCH_ASKED, /* the driver reads a chunk */
    RAFT_FETCH_SENT,  /* the peer has it, or it is lost */
};

struct raft_flight {
    uint64_t last; /* the message's last entry */
    uint64_t bytes;
};

struct raft_peer {
    uint16_t node;
    uint32_t boot;
    bool has_granted; /* its vote, in the election under way */
    bool is_recovering;
    bool is_waiting; /* PROBE: asked */
    uint32_t probe;  /* counts the searches; what answers an earlier one does not count */
    enum raft_peer_mode mode;
    uint64_t match;
    uint64_t next;
    uint64_t applied;
    uint64_t round; /* the last it answered */
    uint64_t whole_at;
    int64_t heard_us;
    int64_t sent_us;
    uint64_t told_commit;
    uint64_t told_all_applied;
    uint64_t told_round;
    uint64_t waits_for;          /* all to have applied this entry: it was the one to propose it */
    struct raft_flight *flights; /* a ring of setup.window_count */
    uint32_t flight_head;
    uint32_t flight_count;
    uint64_t flight_bytes;
    enum raft_fetching fetching;
    uint64_t fetch_index;
    uint64_t fetch_id;
    uint64_t fetch_next;
    int64_t fetch_us;
};

/* ---- what is on its way to the disk ---- */

struct raft_writing {
    uint64_t number;
    uint64_t last; /* of the log on disk, afterwards */
    uint64_t cut;  /* nothing from here on is certain before it is done; UINT64_MAX: all is */
    int64_t since_us;
};

struct raft_read {
    uint64_t token;
    uint64_t index;
    uint64_t round;
};

struct raft {
    struct raft_setup setup;
    struct rng rng;
    int64_t now_us;
    struct raft_effects *out; /* of the step under way */
    struct raft_log log;
    struct raft_hard hard;
    enum raft_role role;
    uint16_t leader;
    uint64_t commit;
    uint64_t applied;
    uint64_t all_applied;
    uint64_t snapshot_index;

    /* The disk. */
    struct raft_writing writing[RAFT_WRITES_MAX];
    uint32_t writing_count;
    uint64_t number;      /* of the last write */
    uint64_t written;     /* of the last that is durable */
    uint64_t disk_last;   /* last entry of the log as the durable writes left it */
    uint64_t handed;      /* entries up to here are durable or on their way */
    uint64_t cut_from;    /* entries on disk from here on are to go; 0: none */
    uint64_t hard_number; /* the write with the newest hard state */
    bool is_hard_new;     /* it is in no write yet */
    bool is_install_new;
    uint64_t install_number; /* the write with the last snapshot that was received */
    struct raft_snapshot install;

    /* A follower. */
    int64_t heard_us;       /* the leader */
    uint64_t verified;      /* the same as in this leader's log, up to here */
    uint64_t leader_commit; /* committed, says a leader */
    uint64_t reply_round;
    uint32_t reply_probe;
    uint64_t replied_match;
    bool is_reply_due;
    uint16_t vote_due; /* to this candidate, when the vote is durable */
    uint64_t whole_at; /* this leader's answer to a recovering node; 0: none yet */
    bool is_taking;    /* a chunk is with the driver */
    struct raft_snapshot taking;

    /* An election. */
    int64_t election_us; /* deadline */
    int64_t asked_us;
    bool is_transfer;
    bool has_asked; /* for votes, now that the own one is durable */

    /* A leader. */
    uint64_t term_start; /* its no-op */
    uint64_t round;
    uint16_t transfer_to; /* 0: nobody */
    int64_t transfer_us;  /* deadline */
    int64_t transfer_sent_us;
    int64_t handover_us; /* a witness does not try again before */
    struct raft_read reads[RAFT_READS_MAX];
    uint32_t read_count;
    struct raft_counted counted[RAFT_COUNTED_MAX];
    size_t counted_count;

    struct raft_peer peers[RAFT_MEMBERS_MAX];
    uint32_t peer_count;

    /* What the driver was told. */
    uint64_t told_commit;
    uint64_t told_all_applied;
    uint64_t told_config;
    bool told_config_committed;
    enum raft_role told_role;
    uint64_t told_term;
    uint16_t told_leader;
};

/* raft_effects: lists them. */
struct raft_effect *raft_emit(struct raft *r, enum raft_effect_kind kind);
struct raft_msg *raft_say(struct raft *r, uint16_t to, enum raft_msg_kind kind);

/* raft_flush: what the disk has and gets. */
void raft_flush(struct raft *r);
void raft_flush_written(struct raft *r, uint64_t number);
void raft_flush_cut(struct raft *r, uint64_t from);
bool raft_flush_hard_is_durable(const struct raft *r);

/* raft_elect: who leads. */
void raft_elect_follow(struct raft *r, uint64_t term, uint16_t leader);
void raft_elect_heard(struct raft *r);
void raft_elect_reset(struct raft *r);
void raft_elect_soon(struct raft *r);
bool raft_elect_may_stand(const struct raft *r);
void raft_elect_tick(struct raft *r);
void raft_elect_settle(struct raft *r);
void raft_elect_on_vote(struct raft *r, const struct raft_msg *m);
void raft_elect_on_vote_reply(struct raft *r, const struct raft_msg *m);
void raft_elect_on_timeout_now(struct raft *r, const struct raft_msg *m);
int64_t raft_elect_deadline(const struct raft *r);

/* raft_lead: what a leader decides. */
void raft_lead_start(struct raft *r);
void raft_lead_stop(struct raft *r);
void raft_lead_tick(struct raft *r);
void raft_lead_settle(struct raft *r);
void raft_lead_propose(struct raft *r, const struct raft_propose *p);
uint64_t raft_lead_append(struct raft *r, enum raft_kind kind, struct buf *bytes);
void raft_lead_read(struct raft *r, uint64_t token);
int64_t raft_lead_deadline(const struct raft *r);
void raft_refuse(struct raft *r, uint64_t token, enum raft_refusal why);

/* raft_handover: leadership given to another. */
void raft_handover_start(struct raft *r, uint16_t to);
void raft_handover_tick(struct raft *r);
void raft_handover_settle(struct raft *r);

/* raft_append: a leader's half of replication. */
void raft_append_settle(struct raft *r);
void raft_append_on_reply(struct raft *r, const struct raft_msg *m);
void raft_append_probe(struct raft_peer *p);

/* raft_follow: a follower's half. */
void raft_follow_on_append(struct raft *r, struct raft_msg *m);
void raft_follow_settle(struct raft *r);
bool raft_follow_accepts(struct raft *r, const struct raft_msg *m);

/* raft_snap: snapshots. */
void raft_snap_send(struct raft *r, struct raft_peer *p);
void raft_snap_on_chunk_read(struct raft *r, const struct raft_chunk *c);
void raft_snap_on_install(struct raft *r, struct raft_msg *m);
void raft_snap_on_install_reply(struct raft *r, const struct raft_msg *m);
void raft_snap_on_chunk_taken(struct raft *r, const struct raft_taken *t);
void raft_snap_on_made(struct raft *r, const struct raft_snapshot *s);

/* raft_conf: the members. */
struct raft_peer *raft_conf_peer(struct raft *r, uint16_t node);
void raft_conf_sync(struct raft *r);
void raft_conf_change(struct raft *r, const struct raft_change *c);
bool raft_conf_is_voter(const struct raft *r, uint16_t node);
enum raft_part raft_conf_part(const struct raft *r, uint16_t node); /* LEARNER: no member, too */
void raft_conf_settle(struct raft *r);

#endif
