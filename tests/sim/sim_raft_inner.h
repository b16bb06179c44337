/*
 * sim_raft_inner: what the files of sim_raft share.
 */
#ifndef WARREN_SIM_RAFT_INNER_H
#define WARREN_SIM_RAFT_INNER_H

#include "base/heap.h"
#include "base/rng.h"
#include "raft_store.h"
#include "sim_raft.h"

#define SIM_NODES       6u /* numbered from 1 */
#define SIM_RAM_NODE    6u /* its disk is empty at every start; it only ever learns */
#define SIM_PENDING_MAX 64u
#define SIM_TERMS_MAX   4096u
#define SIM_INDEX_MAX   65536u
#define SIM_KNOWN_MAX   262144u /* a power of two */
#define SIM_BOOTS_MAX   64u
#define SIM_READS_MAX   8192u

/* ---- what will happen ---- */

enum sim_act_kind {
    SIM_NOTHING, /* what it was for is gone */
    SIM_DELIVER,
    SIM_WRITTEN,
    SIM_APPLY,
    SIM_CHUNK_READ,
    SIM_CHUNK_TAKEN,
    SIM_OPS,    /* octets of operations, in chunk.bytes */
    SIM_GRANT,  /* a question or an answer, the same; for whatever process is there */
    SIM_GONE,   /* a process is known to be gone, the same */
    SIM_LOOK,   /* a node looks after its queues */
    SIM_GOSSIP, /* a packet, or what goes over TCP */
};

struct sim_raft_act {
    enum sim_act_kind kind;
    uint16_t node;
    uint32_t boot; /* of the node: another one, and it is void; a message with 0 is for any */
    struct raft_msg *msg;
    struct raft_chunk chunk;
    struct raft_taken taken;
};

/* ---- one member and its driver ---- */

struct sim_raft_node {
    struct raft *raft; /* NULL: it is down */
    struct raft_effects fx;
    struct raft_store store;
    struct raft_machine machine;
    uint32_t boot;
    int64_t clock_at_us; /* of its own clock, at the world's `begun_us` */
    int64_t begun_us;
    int32_t rate_ppm; /* its clock gains so much */
    int64_t paused_until_us;
    bool is_apply_due;
    bool is_restoring; /* `restored` is on its way into the machine */
    struct raft_machine restored;
    uint64_t restored_id;
    struct raft_write *writes[SIM_PENDING_MAX]; /* not yet durable */
    int64_t write_at_us[SIM_PENDING_MAX];
    size_t write_count;
    int64_t disk_us;       /* the last write will be done then */
    uint64_t taking_index; /* a snapshot that is coming in, up to `taking_next` */
    uint64_t taking_id;
    uint64_t taking_next;
    struct raft_counted counted[SIM_NODES];
    size_t counted_count;
    /* For the checker. */
    uint64_t commit;
    uint64_t had;       /* durable, before its log was damaged */
    uint64_t had_acked; /* and this much it had acknowledged in `had_term` */
    uint64_t had_term;
    uint64_t acked; /* in `acked_term` */
    uint64_t acked_term;
    uint64_t transfer_term;
    uint64_t before_term; /* of the step under way */
    bool is_loyal;        /* and it must not change: it hears a leader */
    uint64_t applied_of[SIM_BOOTS_MAX];
    bool has_granted[SIM_NODES + 1]; /* a pre-vote, for `granted_term` */
    uint64_t granted_term;
    int64_t heard_us[SIM_NODES + 1]; /* by its own clock */
    int64_t word_us[SIM_NODES + 1];  /* as of a leader */
    uint64_t read_floor[SIM_READS_MAX];
};

/* ---- what the checker knows ---- */

struct sim_known {  /* an entry that some log has or had */
    uint64_t index; /* 0: free */
    uint64_t term;
    uint64_t hash;
    uint64_t prev_term;
};

struct sim_committed {
    uint64_t term;
    uint64_t hash;
    uint64_t by_term; /* of the node that said so first */
    uint64_t digest;  /* of the machine that has applied it; 0: none has */
};

/* How often what happens, in 1000 or in microseconds; drawn by the seed, 0 most of the time. */
struct sim_chances {
    unsigned lose, twice, late, cut, one_way, crash, pause, damage, slow_disk, change, transfer;
    unsigned snapshot, read, propose, gone;
    int64_t delay_us, late_us, disk_us;
    bool is_fifo;  /* as TCP: nothing overtakes */
    bool is_wired; /* messages travel as octets */
    bool has_slow_apply;
};

struct sim_cluster;
struct sim_group;

struct sim_raft {
    struct rng rng;
    int64_t now_us;
    struct heap queue; /* by time; values number `acts` */
    struct sim_raft_act *acts;
    size_t act_count;
    size_t act_room;
    uint64_t *free_acts;
    size_t free_count;
    struct sim_chances chance;
    struct raft_setup setup;
    struct sim_raft_node nodes[SIM_NODES + 1];
    bool is_cut[SIM_NODES + 1][SIM_NODES + 1];
    int64_t arrives_us[SIM_NODES + 1][SIM_NODES + 1];
    unsigned voters_at_first;
    uint64_t proposed;
    uint64_t read_count;
    bool is_healed;
    unsigned mended; /* this node's log was damaged and is whole again; 0: none of late */
    /* The checker. */
    uint16_t leader_of[SIM_TERMS_MAX];
    struct sim_group *group;         /* NULL: the machines are digests alone */
    struct sim_cluster *cluster;     /* NULL: nobody serves queues */
    struct sim_committed *committed; /* by index */
    uint64_t commit_max;
    struct sim_known *known;
    size_t known_count;
    bool has_failed;
    struct sim_report *report;
    sim_say_fn trace;
    void *trace_arg;
};

void sim_raft_say(struct sim_raft *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The first breach counts. */
void sim_raft_fail(struct sim_raft *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* sim_raft_net: time, and what happens later. */
void sim_raft_net_init(struct sim_raft *w);
void sim_raft_net_fini(struct sim_raft *w);
void sim_raft_net_later(struct sim_raft *w, int64_t delay_us, const struct sim_raft_act *act);
/* The next that is to happen before `end_us`; false: none. Its time has come then. */
bool sim_raft_net_next(struct sim_raft *w, int64_t end_us, struct sim_raft_act *out);
/* Takes the message. */
void sim_raft_net_send(struct sim_raft *w, struct raft_msg *m);
void sim_raft_net_heal(struct sim_raft *w);
/* A cut of a shape that chance chooses. */
void sim_raft_net_cut(struct sim_raft *w);

/* sim_raft_node: the driver. */
int64_t sim_raft_node_clock(const struct sim_raft *w, unsigned node);
/* When the world's clock shows that its own has come to `at_us`. */
int64_t sim_raft_node_when(const struct sim_raft *w, unsigned node, int64_t at_us);
void sim_raft_node_start(struct sim_raft *w, unsigned node);
/* What is on its way to the disk arrives in part. */
void sim_raft_node_crash(struct sim_raft *w, unsigned node);
/* One event; what follows from it is carried out or put off. */
void sim_raft_node_step(struct sim_raft *w, unsigned node, struct raft_event *ev);
void sim_raft_node_act(struct sim_raft *w, const struct sim_raft_act *act);
bool sim_raft_node_snapshot(struct sim_raft *w, unsigned node);
void sim_raft_node_count_all(struct sim_raft *w, unsigned node);
bool sim_raft_node_is_awake(const struct sim_raft *w, unsigned node);

/* sim_raft_check: the rules. */
void sim_raft_check_before(struct sim_raft *w, unsigned node, const struct raft_event *ev);
void sim_raft_check_effect(struct sim_raft *w, unsigned node, const struct raft_effect *e);
void sim_raft_check_after(struct sim_raft *w, unsigned node, const struct raft_event *ev);
void sim_raft_check_applied(struct sim_raft *w, unsigned node);
uint64_t sim_raft_check_hash(const struct raft_entry *e);

#endif
