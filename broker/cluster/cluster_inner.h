/*
 * cluster_inner: what the files of this node's part in its cluster share. Not for others: see
 * cluster.h.
 *
 *   cluster.c            life, orders from other threads
 *   cluster_raft.c       the driver of consensus: raft, its disk, snapshots
 *   cluster_apply.c      entries that are agreed upon: applied, shown, carried out
 *   cluster_propose.c    changes that this node asks for, on their way, and their answers
 *   cluster_links.c      control links to the other nodes, and what travels over them
 *   cluster_watch.c      who is alive, and who cannot change anything
 *   cluster_ward.c       who does not keep up, and what is to become of that
 *   cluster_arrive.c     who comes up, and waits for the others to be heard of; and that all go on
 *                        that were stopped together
 *   cluster_grants.c     the driver of grants: who may serve what has mirrors
 *   cluster_plan.c       where mirrors ought to be, and what became of masters
 *   cluster_members.c    who votes, and this node's own coming and going
 *   cluster_seek.c       looking for a cluster to join; cluster_hall.c: answering who looks
 *   cluster_status.c     all of it, for other threads to see
 *
 * Everything is on the control thread.
 */
#ifndef WARREN_CLUSTER_INNER_H
#define WARREN_CLUSTER_INNER_H

#include "base/log.h"
#include "base/shared.h"
#include "base/shown.h"
#include "cluster/cluster.h"
#include "cluster/cluster_place.h"
#include "cluster/grant.h"
#include "cluster/grant_board.h"
#include "cluster/meta_entry.h"
#include "cluster/meta_node.h"
#include "cluster/meta_replace.h"
#include "cluster/meta_save.h"
#include "cluster/mirror_plan.h"
#include "cluster/rebalance_plan.h"
#include "cluster/steward.h"
#include "cluster/ward.h"
#include "io/epoch.h"
#include "io/work.h"
#include "link/link.h"
#include "link/link_hall.h"
#include "raft/raft.h"
#include "raft/raft_keeper.h"

#include <sys/queue.h>

#define CLUSTER_TICK_MS      100u  /* keepalives, and looking after everything */
#define CLUSTER_CUT_OFF_MS   1200u /* no leader, no majority: two election timeouts */
#define CLUSTER_UNKNOWN_MS   5000u /* then whoever waits is told that nobody knows */
#define CLUSTER_RESEND_MS    1000u /* nothing of ours was applied: it may have been lost */
#define CLUSTER_POKE_MS      5u    /* between two looks at which grants are needed */
#define CLUSTER_OP_BYTES_MAX (RAFT_ENTRY_BYTES_MAX - 1024u) /* of one change */

/* ---- the driver (cluster_raft.c) ---- */

struct cluster_raft {
    struct raft *core; /* NULL: of no cluster */
    struct raft_keeper *keeper;
    struct raft_effects effects;
    struct loop_timer timer;
    bool is_carrying_out;
    bool has_failed;
    bool is_stopped;

    uint64_t last_token;
    uint64_t asked;           /* the token of the question that is being asked */
    enum raft_refusal answer; /* to it */

    struct epoch_reader *reader; /* holds the version that is saved */
    const struct meta_version *saved;
    uint64_t saving_ms;
    bool is_saving;

    struct raft_snapshot loading; /* of another node's */
    struct meta *loaded;
    bool is_restoring;
};

MUST_CHECK bool cluster_raft_open(struct cluster *c, struct err *err);
void cluster_raft_init(struct cluster *c);
void cluster_raft_let_go(struct cluster *c); /* the core ends; its disk, when it is not busy */
bool cluster_raft_is_busy(const struct cluster *c);
void cluster_raft_close(struct cluster *c);
void cluster_raft_stop(struct cluster *c);
void cluster_raft_fini(struct cluster *c);
void cluster_raft_step(struct cluster *c, struct raft_event *ev);
void cluster_raft_fail(struct cluster *c, const struct err *err);
void cluster_raft_look_at_snapshot(struct cluster *c);
bool cluster_raft_wants_snapshot(const struct cluster *c);

/* Not while effects are carried out. `from` is the node that asks for it. */
MUST_CHECK bool cluster_raft_propose(struct cluster *c, struct buf *const *blocks, size_t count,
                                     uint16_t from);
MUST_CHECK enum raft_refusal cluster_raft_change(struct cluster *c, uint16_t node, bool is_removal,
                                                 enum raft_part part);
MUST_CHECK bool cluster_raft_has_room(const struct cluster *c, size_t bytes, bool takes_away);

/* ---- what is agreed upon (cluster_apply.c) ---- */

struct cluster_apply {
    uint64_t committed;
    uint64_t applied;
    uint64_t all_applied; /* by every node that is up */
    struct meta_result result;
    struct meta_effect *effects; /* of what is not shown yet */
    size_t effect_count;
    size_t effect_cap;
    struct loop_task more;
    struct loop_task turn_end;
    bool is_behind_sends; /* it was at the end of this turn once, see on_turn_end */
    bool carries_out;     /* false until the shards were told of everything */
    bool awaits_disk;     /* for a snapshot: this node's, while others are ahead */
};

void cluster_apply_init(struct cluster *c);
void cluster_apply_fini(struct cluster *c);
void cluster_apply_committed(struct cluster *c, uint64_t index);
void cluster_apply_all(struct cluster *c, uint64_t index);
bool cluster_apply_is_behind(const struct cluster *c);
void cluster_apply_on_written(struct cluster *c);
/* The state becomes `fresh`, which is taken; is_foreign: it is another cluster's. */
void cluster_apply_replace(struct cluster *c, struct meta **fresh, bool is_foreign);
void cluster_apply_restored(struct cluster *c, uint64_t index);

/* ---- changes on their way (cluster_propose.c) ---- */

TAILQ_HEAD(cluster_proposals, cluster_proposal);

#define CLUSTER_CONN_SLOTS 1024u

struct cluster_propose {
    struct cluster_proposals waiting; /* not applied yet, by rising op */
    struct cluster_proposals applied; /* not applied everywhere yet, by rising index */
    size_t waiting_count;
    size_t waiting_bytes;
    uint64_t last_op;
    uint64_t sent_op; /* up to here on its way to this leader */
    uint64_t ever_sent_op;
    uint16_t sent_to; /* ... in this term, over this session */
    uint64_t sent_term;
    uint64_t sent_session;
    uint64_t progress_ms; /* something was sent anew, or applied */
    struct loop_task send;
    uint16_t by_conn[CLUSTER_CONN_SLOTS]; /* how many wait, by connection */
};

void cluster_propose_init(struct cluster *c);
void cluster_propose_fini(struct cluster *c);
void cluster_propose_own(struct cluster *c, const struct meta_cmd *cmd); /* whatever the phase */
void cluster_propose_go_on(struct cluster *c);
void cluster_propose_again(struct cluster *c);
void cluster_propose_applied(struct cluster *c, uint64_t op, uint64_t index,
                             const struct meta_result *r);
void cluster_propose_answer(struct cluster *c);
void cluster_propose_skipped(struct cluster *c);
void cluster_propose_tick(struct cluster *c, uint64_t now_ms);
void cluster_propose_refuse_all(struct cluster *c, const char *text);

/* ---- changes of the nodes, in nobody's name (cluster_drive.c) ---- */

struct cluster_drive {
    TAILQ_HEAD(, cluster_wish) wishes;
    unsigned count;
};

void cluster_drive_init(struct cluster *c);
/* `done` is called when the node table says so, or it cannot be; possibly before this returns. */
void cluster_drive(struct cluster *c, const struct meta_cmd *cmd, cluster_done_fn done, void *arg);
/* Nobody waits for it, and it may be lost. */
void cluster_drive_once(struct cluster *c, const struct meta_cmd *cmd);
bool cluster_drive_is_allowed(const struct meta_envelope *e);
void cluster_drive_look(struct cluster *c, uint64_t now_ms);
void cluster_drive_refuse_all(struct cluster *c, const char *text);

/* ---- others (cluster_links.c) ---- */

struct cluster_part { /* of a message of the core that came in pieces */
    uint8_t *bytes;
    size_t len;
    size_t cap;
};

struct cluster_link {
    struct cluster_node *node;
    struct link *link; /* NULL: none */
    struct cluster_part part;
};

/* Another node that is, or is about to be, a member. */
struct cluster_node {
    TAILQ_ENTRY(cluster_node) entry;
    struct cluster *cluster;
    uint16_t id;
    uint32_t inc; /* of the last link; 0: none yet */
    char name[CLUSTER_NAME_BYTES];
    char address[CLUSTER_NAME_BYTES];
    bool is_known;           /* the node table has it; else it is only somebody's word */
    struct link_stats past;  /* of links that have gone */
    struct cluster_link out; /* dialled here */
    struct cluster_link in;  /* dialled there */
    uint64_t session;        /* rises when what was sent may have been lost */
    uint64_t heard_ms;       /* of any word over a link */
    uint64_t keepalive_ms;   /* of its last keepalive to this node */
    uint64_t said_down_ms;   /* a NODE_DOWN was proposed then */
    uint32_t said_down_inc;  /* ... of this incarnation: another one is another matter */
    uint64_t applied;
    struct cluster_strain strain;      /* as told by that */
    struct buf *arrival;               /* that it comes up: to be proposed when it may; NULL: no */
    bool is_leaving;                   /* it says so */
    bool is_gone;                      /* its link broke, and its port refuses */
    char listener[CLUSTER_NAME_BYTES]; /* where the node table has the process `listener_inc` */
    uint32_t listener_inc;
    uint64_t listener_us; /* known since then */
    struct log_rate troubles;
};

struct cluster_links {
    TAILQ_HEAD(, cluster_node) nodes;
    struct link_hall *hall;
    bool is_open;
};

void cluster_links_init(struct cluster *c);
void cluster_links_open(struct cluster *c);
void cluster_links_drop_all(struct cluster *c);
void cluster_links_fini(struct cluster *c);
void cluster_links_free(struct cluster *c);
/* Somebody's word: there is such a node. */
void cluster_links_know(struct cluster *c, uint16_t id, struct slice name, struct slice address);
void cluster_links_sync(struct cluster *c);
void cluster_links_send(struct cluster *c, const struct raft_msg *m);
MUST_CHECK bool cluster_links_send_ops(struct cluster *c, uint16_t to, struct buf *ops);
void cluster_links_send_keepalive(struct cluster *c, uint16_t to);
void cluster_links_send_grant_ask(struct cluster *c, uint16_t to, const struct grant_ask *ask);
void cluster_links_send_grant_answer(struct cluster *c, uint16_t to,
                                     const struct grant_answer *answer);
uint64_t cluster_links_session(const struct cluster *c, uint16_t to);
bool cluster_links_is_full(const struct cluster *c, uint16_t to);
bool cluster_links_is_linked(const struct cluster *c, uint16_t to);
struct link_figure cluster_links_figure(const struct cluster *c, uint16_t to);
struct cluster_node *cluster_node_find(const struct cluster *c, uint16_t id);

/* ---- grants (cluster_grants.c) ---- */

struct cluster_poke {
    struct mail mail;
    struct shared state; /* 0: at rest, 1: on its way, 2: it was looked at a moment ago */
    struct cluster *cluster;
};

struct cluster_grants {
    struct grant *core; /* NULL: of no cluster */
    struct grant_effects *effects;
    struct grant_board *board;
    struct shared self; /* the node's number, for other threads */
    struct loop_timer timer;
    struct cluster_poke *poke; /* a grant is missing, says another thread */
    struct loop_timer rest;    /* behind a poke */
};

void cluster_grants_init(struct cluster *c);
void cluster_grants_begin(struct cluster *c, uint64_t index);
void cluster_grants_end(struct cluster *c);
void cluster_grants_fini(struct cluster *c);
void cluster_grants_step(struct cluster *c, const struct grant_event *ev);
void cluster_grants_tick(struct cluster *c);
/* Masters moved: to be told before the entries are, by which they did. */
void cluster_grants_moved(struct cluster *c, uint16_t from, uint16_t to, uint64_t index);
void cluster_grants_applied(struct cluster *c, uint64_t index, bool has_skipped);
void cluster_grants_nodes_changed(struct cluster *c);
void cluster_grants_forgotten(struct cluster *c, uint16_t node);
/* Its port refuses. */
void cluster_grants_refused(struct cluster *c, const struct cluster_node *n);

/* ---- where mirrors ought to be (cluster_plan.c) ---- */

struct cluster_plan {
    struct mirror_plan *mirrors;
    struct rebalance_plan *balance;
    struct pattern *names;     /* of what an operator wants to be spread; NULL: all */
    struct cluster_ask *asked; /* by whom, until it is done; NULL: by nobody */
    uint64_t asked_ms;
    uint64_t move_count;  /* times that masters went from one node to another, since the start */
    uint64_t moved_count; /* queues that did */
    uint64_t index;       /* of the last entry that was proposed for it */
    uint64_t sent_ms;
};

void cluster_plan_init(struct cluster *c);
void cluster_plan_stop(struct cluster *c);
void cluster_plan_fini(struct cluster *c);
/* All is to be looked at: this node leads since now. */
void cluster_plan_look(struct cluster *c);
/* What was just shown: policies or nodes may be others, and masters. */
void cluster_plan_shown(struct cluster *c, const struct meta_effect *effects, size_t count);
void cluster_plan_tick(struct cluster *c, uint64_t now_ms);
/* An operator's wish; takes the ask. */
void cluster_plan_rebalance(struct cluster *c, struct cluster_ask *a);
/* Does this node still have masters that others could take? */
bool cluster_plan_may_drain(const struct cluster *c);

/* ---- who is alive (cluster_watch.c) ---- */

void cluster_put_voters(const struct cluster *c, struct text *t);
void cluster_put_missing(const struct cluster *c, struct text *t);
/* What this node sees, as the core of a leader's decisions does. */
struct steward cluster_steward(const struct cluster *c, uint64_t now_ms);
/* Of a leader: is anybody to be taken for down? */
void cluster_watch_look(struct cluster *c, uint64_t now_ms);
void cluster_watch_leader_changed(struct cluster *c, bool was_leader);
void cluster_watch_tick(struct cluster *c, uint64_t now_ms);

/* ---- who does not keep up (cluster_ward.c) ---- */

/* Who is, as it was shown last. */
struct cluster_unwell {
    uint16_t nodes[META_NODES_MAX];
    size_t count;
    uint64_t times; /* that one was found so, since the start */
};

void cluster_ward_init(struct cluster *c);
void cluster_ward_fini(struct cluster *c);
/* This node leads since now. */
void cluster_ward_begin(struct cluster *c);
void cluster_ward_tick(struct cluster *c, uint64_t now_ms);
/* What was just shown: for people. */
void cluster_ward_shown(struct cluster *c, const struct meta_effect *effects, size_t count);

/* ---- who comes up (cluster_arrive.c) ---- */

/* Of a leader: may what a node asks for be proposed now? Octets of envelopes. */
bool cluster_arrive_may(struct cluster *c, struct slice ops);
/* What another node asked for, and may not have yet: it is kept. */
void cluster_arrive_hold(struct cluster_node *n, struct slice ops);
void cluster_arrive_look(struct cluster *c);

/* After all nodes were stopped together. */
struct cluster_thaw {
    bool has_restarted; /* this process came up since */
    uint64_t since_ms;  /* it leads since then, and somebody may have to be struck; 0: no */
    uint64_t said_ms;
};

void cluster_thaw_tick(struct cluster *c, uint64_t now_ms);

/* ---- who votes, coming and going (cluster_members.c) ---- */

void cluster_members_init(struct cluster *c);
void cluster_members_begin(struct cluster *c);
void cluster_members_disowned(struct cluster *c, const struct cluster_node *by);
void cluster_members_look(struct cluster *c);
void cluster_members_tick(struct cluster *c, uint64_t now_ms);
void cluster_members_fill_add(const struct cluster *c, struct meta_cmd *cmd);
enum meta_node_type cluster_meta_type(enum broker_node_type type);

/* ---- what a new cluster has (cluster_first.c) ---- */

MUST_CHECK struct buf *cluster_first_entry(struct cluster *c, struct err *err);
void cluster_first_look(struct cluster *c);

/* ---- looking for a cluster (cluster_seek.c), and answering who does (cluster_hall.c) ---- */

#define CLUSTER_SEEK_MAX 16u

/* A member of which cluster it is now, under which number; or `id` NULL, and why not. */
typedef void (*cluster_sought_fn)(struct cluster *c, const uint8_t *id, uint16_t node,
                                  const struct err *why);

struct cluster_seek_target {
    struct cluster *cluster;
    struct link *link;
    char address[CLUSTER_NAME_BYTES];
    char name[CLUSTER_NAME_BYTES];
    char trouble[128];
    bool is_self;
    bool has_answered;
    bool is_fellow; /* it is in this node's cluster */
    unsigned state; /* enum cluster_here */
};

struct cluster_seek {
    struct cluster_seek_target targets[CLUSTER_SEEK_MAX];
    unsigned count;
    bool is_on;
    bool is_start; /* of the process, by its seeds */
    bool is_look;  /* of a member, for where the others are now */
    bool has_seen_cluster;
    uint64_t since_ms;
    struct loop_timer timer;
    cluster_sought_fn done;
    struct buf *known; /* the members that the answer told of */
    char why[CLUSTER_TEXT_BYTES];
    struct log_rate refusals;
};

void cluster_seek_init(struct cluster *c);
void cluster_seek_stop(struct cluster *c);
void cluster_seek_fini(struct cluster *c);
bool cluster_seek_is_wanted(const struct cluster *c);
void cluster_seek_look_at_seeds(const struct cluster *c); /* that it does not follow */
void cluster_seek_start(struct cluster *c);
/* A member waits for the others, who may be elsewhere by now: the seeds are asked who is there. */
void cluster_seek_members(struct cluster *c);
void cluster_seek_members_end(struct cluster *c);
void cluster_seek(struct cluster *c, const struct cluster_place *places, size_t count,
                  cluster_sought_fn done);
void cluster_seek_know(struct cluster *c);
void cluster_seek_put_waited(const struct cluster *c, struct text *t);

void cluster_hall_init(struct cluster *c);
void cluster_hall_stop(struct cluster *c);
void cluster_hall_free(struct cluster *c);

/* ---- orders (cluster_orders.c) ---- */

enum cluster_step {
    CLUSTER_STEP_NONE,
    CLUSTER_STEP_ASKING,  /* the cluster, to let it go or in */
    CLUSTER_STEP_REMOVED, /* it is let go: the others are to go on without it */
    CLUSTER_STEP_PARTING, /* its state is given up */
    CLUSTER_STEP_READY,   /* it begins anew, alone or with others */
};

struct cluster_orders {
    struct cluster_ask *now; /* one that takes steps */
    enum cluster_step step;
    uint64_t step_ms;
    struct work_pool *pool; /* for looking into files */
    struct work_job resolve;
    struct cluster_place places[CLUSTER_SEEK_MAX];
    size_t place_count;
    struct err place_err;
    bool has_resolved;
    uint8_t cluster[16]; /* what it joins */
    uint16_t node;
    enum broker_node_type type_was;
};

void cluster_orders_init(struct cluster *c);
void cluster_orders_stop(struct cluster *c);
void cluster_orders_fini(const struct cluster *c);
void cluster_orders_look(struct cluster *c, uint64_t now_ms);
bool cluster_orders_disowned(struct cluster *c); /* true: it wanted to be */
bool cluster_has_things_of_its_own(const struct cluster *c);
void cluster_app_look(struct cluster *c);
void cluster_answer(struct cluster_ask *a, bool ok);
/* Does the node table say of this node what its application does? */
bool cluster_app_is_told(const struct cluster *c, const struct meta_node *self);
void cluster_left(struct cluster *c);

/* ---- the whole ---- */

typedef void (*cluster_parted_fn)(struct cluster *c);

struct cluster {
    struct cluster_setup setup;
    struct loop *loop;
    struct meta *meta;
    struct broker_conf *conf; /* a reference */
    const char *name;
    char address[CLUSTER_NAME_BYTES]; /* of its own cluster port */
    uint64_t place;                   /* of its state: another one each time it begins anew */
    uint32_t inc;
    struct raft_identity identity; /* node 0: of no cluster */
    enum broker_node_type type;
    enum cluster_phase phase;
    enum cluster_app app;
    bool is_ready;   /* its own start was applied */
    bool was_member; /* when it started, and is not ready yet */
    uint16_t leader;
    uint64_t term;
    struct buf *first;      /* what a new cluster has, until it is proposed */
    uint64_t first_term;    /* in which it was */
    uint64_t leaderless_ms; /* since then; 0: there is a leader */
    uint64_t leading_ms;    /* it leads since then */
    uint64_t leading_from;  /* ... and was elected with this for the last entry */
    uint64_t handed_over_ms;
    uint64_t said_ms; /* that it is up, or stopped */
    uint64_t started_ms;
    uint64_t told_ms; /* for whom it waits */
    bool is_cut_off;
    struct loop_task look;
    struct loop_timer tick;
    cluster_parted_fn parted; /* follows when its state is given up */

    void (*app_fn)(void *arg); /* waits for the table to say whether the application runs */
    void *app_arg;
    uint64_t app_ms;
    void (*leave_fn)(void *arg); /* waits for the others to go on without this node */
    void *leave_arg;
    uint64_t leaving_ms;
    uint64_t leave_within_ms;

    struct cluster_raft raft;
    struct cluster_apply apply;
    struct cluster_propose propose;
    struct cluster_drive drive;
    struct cluster_links links;
    struct cluster_grants grants;
    struct cluster_plan plan;
    struct cluster_thaw thaw;
    struct ward *ward; /* of a leader */
    struct cluster_unwell unwell;
    struct cluster_strain strain; /* its own, as of the last tick */
    struct cluster_seek seek;
    struct cluster_orders orders;
    struct link_hall *ask_hall;
    LIST_HEAD(, cluster_visitor) visitors;

    struct cluster_status *status; /* what others see */
    struct shown shown;
    struct loop_task show;
};

/* A new cluster, of this node alone; or a member of one that is there. */
MUST_CHECK bool cluster_found(struct cluster *c, struct err *err);
MUST_CHECK bool cluster_enter(struct cluster *c, const uint8_t id[16], uint16_t node,
                              struct err *err);
/* Give the membership and its state up; then... */
void cluster_part(struct cluster *c, cluster_parted_fn then);
void cluster_part_look(struct cluster *c);
void cluster_nodes_changed(struct cluster *c);
MUST_CHECK bool cluster_split_address(const char *address, char host[CLUSTER_NAME_BYTES],
                                      uint16_t *port);

/* While it waits for others: say for whom, now and then. */
void cluster_wait_tick(struct cluster *c, uint64_t now_ms);
void cluster_wait_told(struct cluster *c);

void cluster_status_init(struct cluster *c);
void cluster_status_changed(struct cluster *c);
void cluster_status_fini(struct cluster *c);

#endif
