/*
 * cluster: this node's part in its cluster: it agrees with the others on the metadata, knows who is
 * there, and comes and goes.
 *
 * Every change of the metadata is an entry of one log that a majority of the voters has on disk
 * (raft/), whether the cluster has one node or many. It is proposed here, carried to the leader,
 * and applied by each node when it is agreed upon; whoever asked hears of it when all nodes that
 * are up have applied it. Without a majority changes are refused at once, with the reply code
 * AMQP_RESOURCE_ERROR and a text that names the voters that are reached and those that are missing;
 * HTTP makes 503 of it, warrenctl exit status 75.
 *
 * All of it runs on the control thread. Other threads see a snapshot of it (cluster_status) and the
 * node table in the metadata (meta_node.h); they send orders (cluster_send) and hear of the outcome
 * on their own loop.
 */
#ifndef WARREN_CLUSTER_H
#define WARREN_CLUSTER_H

#include "base/err.h"
#include "base/text.h"
#include "broker_conf.h"
#include "cluster/meta.h"
#include "io/mailbox.h"
#include "link/link_figures.h"

struct cluster;
struct cluster_first;
struct disk;
struct epoch;
struct link_door;
struct link_node;

#define CLUSTER_NAME_BYTES 256u /* of a node: NAME@HOST and a 0 */
#define CLUSTER_TEXT_BYTES 512u

/* Where this node is on its way into service. */
enum cluster_phase {
    CLUSTER_ALONE,   /* fresh: looks for its seeds */
    CLUSTER_WAITING, /* member of a cluster that has no leader it can reach, or that it is behind */
    CLUSTER_READY,   /* its own start is in the metadata: clients are served */
    CLUSTER_LEAVING, /* an orderly stop, or it is being reset */
    CLUSTER_REMOVED, /* the cluster has forgotten it: only a reset helps */
};

/* One node, as this node sees it now. The node table (name, type, up or down by the leader's word)
 * is in the metadata; here is what is not agreed upon. */
struct cluster_peer {
    uint16_t id;
    char name[CLUSTER_NAME_BYTES];
    bool is_self;
    bool is_leader;
    bool is_voter;     /* of the consensus, by the last configuration known here */
    bool is_linked;    /* a control link stands, both ways */
    bool is_gone;      /* its link broke, and its port refuses: there is no such process */
    uint64_t applied;  /* metadata index it was last heard to have applied; 0: never heard of */
    uint64_t heard_ms; /* clock_mono_ms of its last word */
    char address[CLUSTER_NAME_BYTES]; /* host:port of its cluster port */
    struct link_figure links;         /* the control links to it, together */
};

/* For how long something that others wait for has not moved at a node: see ward.h. */
struct cluster_strain {
    uint32_t disk_ms;
    uint32_t loop_ms;
};

/* An immutable snapshot. */
struct cluster_status {
    enum cluster_phase phase;
    uint8_t cluster_id[16]; /* zeros: none yet */
    uint16_t self;          /* node id; 0: none yet */
    uint32_t inc;
    uint16_t leader; /* 0: none known */
    uint64_t term, committed, applied, all_applied;
    uint64_t moves, moved; /* times that masters went from a node to another, and their queues;
                              since the start, as seen here */
    uint64_t unwell;       /* nodes that do not keep up now... */
    uint64_t unwell_times; /* ...and times that one was found so; the same */
    struct cluster_strain strain; /* of this node */
    uint64_t checksum; /* of the metadata at `applied`: equal on all nodes that have come as far */
    uint64_t leaderless_since_ms;       /* clock_mono_ms; 0: there is one */
    bool is_cut_off;                    /* metadata changes are refused at once */
    char waits_for[CLUSTER_TEXT_BYTES]; /* "rabbit@a (10.0.0.1:25672), rabbit@b (...)", or why it is
                                           cut off; empty: nothing */
    unsigned voter_count, voters_linked; /* itself included */
    unsigned count;
    struct cluster_peer peers[]; /* by id, itself included */
};

/* Good until the caller's turn of its loop ends (its loop takes part in the broker's epoch). */
const struct cluster_status *cluster_status(const struct cluster *c);

/* Any thread: false, and *why, when the metadata cannot be changed now. */
MUST_CHECK bool cluster_has_majority(const struct cluster *c, struct text *why);

/* ---- grants: who may serve a queue that has mirrors; see grant.h -------------------------------
 */

/* Any thread, at the moment of handing out or taking in: the members of the queue's in-sync set, as
 * agreed upon or as proposed. Without others among them it is true, and costs nothing. What is
 * missing is asked for, and setup.on_grants called when it has come. */
MUST_CHECK bool cluster_may_serve(struct cluster *c, uint64_t epoch, const uint16_t *members,
                                  size_t count);

/* The control thread: when, by clock_boot_us, it may begin to serve what the entry `epoch` has made
 * it the master of; see grant_begins_us. INT64_MAX: it is in no cluster now. */
int64_t cluster_begins_us(const struct cluster *c, uint64_t epoch, const uint16_t *earlier,
                          size_t count);

/* The same for who is about to do something that only a change of the metadata completes; false:
 * *why is what cluster_propose would say. */
MUST_CHECK bool cluster_may_change(const struct cluster *c, struct meta_refusal *why);

/* ---- orders: any thread ------------------------------------------------------------------------
 */

enum cluster_order {
    /* The application is stopped (service.h) for these three; what the node had is gone afterwards.
     */
    CLUSTER_JOIN,        /* `target`: NAME@HOST or host:port, several of them between commas;
                            `type`. Refused when the node has things of its own */
    CLUSTER_RESET,       /* leave the cluster (its other nodes forget it), then be new and alone */
    CLUSTER_FORCE_RESET, /* the same without telling anybody */

    CLUSTER_CHANGE_TYPE, /* `type`; the application is stopped */
    CLUSTER_FORGET,      /* `target`: NAME@HOST of a node that is not up */
    CLUSTER_REBALANCE,   /* of the leader: masters of the queues whose names match the pattern in
                            `target` (empty: of all) are spread; answered when that is done */
    CLUSTER_LEAD,        /* of the leader: `target` (empty: whoever is ahead) leads from now on */
};

struct cluster_ask;
typedef void (*cluster_fn)(struct cluster_ask *ask);

/* Made with mem_zalloc. Codes of err: ERR_REFUSED (the text says why, and the remedy),
 * ERR_NOT_FOUND (no such node), ERR_LIMIT (no majority, or not in time: 75, HTTP 503), ERR_RESOLVE
 * (that is no node's name), ERR_IO (the other node was not reached: 69). */
struct cluster_ask {
    struct mail mail;
    enum cluster_order order;
    char target[CLUSTER_NAME_BYTES * 4];
    enum broker_node_type type;
    struct loop *reply_to;
    cluster_fn done; /* on reply_to's thread; owns the ask */
    void *arg;
    bool ok;
    bool is_under_way; /* REBALANCE: it takes longer, and goes on */
    struct err err;
    struct cluster *cluster; /* private */
};

/* Takes the ask. */
void cluster_send(struct cluster *c, struct cluster_ask **ask);

/* ---- the control thread ------------------------------------------------------------------------
 */

#define CLUSTER_CHECK_EVERY 1024u

struct cluster_setup {
    struct loop *loop;
    struct epoch *epoch;
    struct meta *meta; /* fresh; borrowed */
    const struct meta_setup
        *meta_setup;          /* what it was made with, and what its like are; borrowed */
    struct broker_conf *conf; /* a reference is taken */
    struct disk *disk;        /* borrowed; the folder's number of starts: */
    uint32_t inc;
    struct link_node *link_node; /* NULL: it is alone, and stays so */
    struct link_door *link_door;
    /* How others reach it: host:port, or empty. Borrowed; read from cluster_start on. */
    const char *cluster_address;
    const char *amqp_address;
    const char *management_address;

    /* Around each publication of what was applied, from cluster_carry_out_from_now on. */
    void (*before_show)(const struct meta_effect *effects, size_t count, void *arg);
    void (*after_show)(const struct meta_effect *effects, size_t count, void *arg);
    /* The metadata's checksum as of an index that is a multiple of CLUSTER_CHECK_EVERY: the same on
     * all nodes. May be NULL. */
    void (*on_checked)(uint64_t index, uint64_t checksum, void *arg);
    /* A new cluster is made: give it, by cluster_first_add, what it begins with. */
    bool (*begin)(struct cluster_first *first, struct err *err, void *arg);
    /* Is there more than that which would be lost if the node joined another cluster? May be NULL:
     * no. */
    bool (*has_more)(const struct meta_version *v, void *arg);
    /* The node has this number from now on; 1 while it has none. */
    void (*on_identity)(uint16_t node, void *arg);
    /* Its start is known to the cluster, and it knows all that was agreed upon before: after a
     * start, and after each change of membership. */
    void (*on_ready)(void *arg);
    /* What cluster_may_serve refused may be granted now, and what cluster_begins_us said may be too
     * late. May be NULL. */
    void (*on_grants)(void *arg);
    /* How this node does now. May be NULL. */
    void (*strain)(struct cluster_strain *out, void *arg);
    /* It takes a while, because it waits for others; once. */
    void (*on_waiting)(void *arg);
    /* It cannot go on; once. */
    void (*on_failed)(const struct err *err, void *arg);
    void *arg;
};

/* Before anything runs: look who this node is. Blocks. */
MUST_CHECK struct cluster *cluster_open(const struct cluster_setup *setup, struct err *err);

/* On the loop. Blocks while it reads what is on disk. */
MUST_CHECK bool cluster_start(struct cluster *c, struct err *err);

/* The shards know what is published now: from here on they are told of what changes. */
void cluster_carry_out_from_now(struct cluster *c);

/* Threads end, while the loop still takes mail; and all is over. NULL is allowed. */
void cluster_stop(struct cluster *c);
void cluster_free(struct cluster **c);

/* In the course of setup.begin: false, and *why, if it is refused. *id (may be NULL) is what it
 * makes. */
MUST_CHECK bool cluster_first_add(struct cluster_first *first, const struct meta_cmd *cmd,
                                  uint64_t *id, struct meta_refusal *why);

/* What has become of a change: `id` is what was made or found. */
typedef void (*cluster_done_fn)(void *arg, enum meta_verdict verdict,
                                const struct meta_refusal *why, uint64_t id);

/* A change of the metadata; the command is copied. `done` (may be NULL) is called once, possibly
 * before this returns. `is_made`: it has made a queue, which nobody knew before. */
typedef void (*cluster_proposed_fn)(void *arg, enum meta_verdict verdict,
                                    const struct meta_refusal *why, uint64_t id, bool is_made);
void cluster_propose(struct cluster *c, const struct meta_cmd *cmd, cluster_proposed_fn done,
                     void *arg);

/* This process has found that it lost something that it had acknowledged: of these queues (8 octets
 * each), or, if none is named, of any. `done` as above: it is agreed upon, or may be. */
void cluster_propose_damage(struct cluster *c, struct slice queues, cluster_proposed_fn done,
                            void *arg);

/* What the application does: `done` when the others know, or cannot be told. Drained: when they
 * have taken over what they can, too, or not in time. One at a time; for the same `done` the last
 * one. */
enum cluster_app {
    CLUSTER_APP_RUNS,
    CLUSTER_APP_DRAINED, /* its queues are served; it gets no new ones, and leads if nobody else can
                          */
    CLUSTER_APP_STOPPED,
};
void cluster_app(struct cluster *c, enum cluster_app what, void (*done)(void *arg), void *arg);

/* An orderly end: the node leaves the voters, as long as another one votes, and its queues count as
 * stopped. `done` when the others know, at the latest after within_ms; possibly at once. */
void cluster_leave(struct cluster *c, uint64_t within_ms, void (*done)(void *arg), void *arg);

#endif
