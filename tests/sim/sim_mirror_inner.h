/*
 * sim_mirror_inner: what the parts of sim_mirror share.
 *
 *   sim_mirror.c         what the seed decides, the steps, healing
 *   sim_mirror_meta.c    the metadata, and what it said after each entry
 *   sim_mirror_net.c     links between nodes, and their ends
 *   sim_mirror_node.c    a node: its roles, and what the cores ask of it
 *   sim_mirror_copy.c    what a node has of a queue, in memory and in its journal
 *   sim_mirror_journal.c its journal, on a disk that may break, and what a start finds there
 *   sim_mirror_disk.c    all that was appended, and what that says: the reference for it
 *   sim_mirror_work.c    producers and consumers
 *   sim_mirror_hand.c    what a master hands out, and planned moves with it (of kind hand)
 *   sim_mirror_taker.c   who takes that: consumers, carried from master to master
 *   sim_mirror_check.c   the rules
 */
#ifndef WARREN_SIM_MIRROR_INNER_H
#define WARREN_SIM_MIRROR_INNER_H

#include "base/rng.h"
#include "cluster/meta.h"
#include "mirror/mirror_handed.h"
#include "mirror/mirror_master.h"
#include "mirror/mirror_replica.h"
#include "sim_disk.h"
#include "sim_mirror.h"
#include "store/journal.h"

#define SMR_NODES       4u /* numbered from 0; node n is n + 1 for the cores */
#define SMR_QUEUES      2u /* the same for qids */
#define SMR_PRIORITIES  2u
#define SMR_POSITIONS   384u /* of one priority */
#define SMR_PRODUCERS   3u
#define SMR_SEQS        256u  /* of one producer */
#define SMR_ENTRIES     2048u /* of the register, behind... */
#define SMR_BEGINNING   64u   /* ...so many that make nodes and queues */
#define SMR_FLIGHT      64u   /* proposals under way */
#define SMR_UNCONFIRMED 6u
#define SMR_TAKERS      2u /* of one queue */
#define SMR_TAKEN_MAX   4u /* that one of them has at a time */

/* ---- messages ---- */

struct smr_msg { /* pid 0: none */
    uint8_t pid;
    bool is_persistent;
    uint16_t seq;
};

static inline uint64_t smr_base(unsigned priority)
{
    return (uint64_t)priority << MIRROR_PRIORITY_SHIFT;
}

/* ---- the register ---- */

struct smr_placement {
    uint64_t epoch;
    uint64_t ver;
    uint8_t master;
    uint32_t master_inc;
    bool is_in_sync[SMR_NODES];
    uint32_t inc[SMR_NODES]; /* as which */
};

struct smr_state {
    struct smr_placement queues[SMR_QUEUES];
    uint32_t inc[SMR_NODES];
    bool is_up[SMR_NODES];
};

enum smr_what { SMR_ISR, SMR_LAG, SMR_MOVE, SMR_DOWN, SMR_UP };

struct smr_proposal {
    enum smr_what what;
    uint8_t queue;
    uint8_t node; /* whom it is about */
    uint8_t of;   /* LAG: the master */
    bool adds;
    uint32_t inc;
    uint32_t of_inc;
    uint64_t epoch;
    uint64_t ver;
};

/* ---- the disk ---- */

enum smr_type { SMR_MSG = 1, SMR_SETTLE, SMR_HISTORY };

struct smr_record {
    uint64_t lsn; /* as the journal says */
    enum smr_type type;
    uint8_t queue;
    bool is_again;
    struct smr_msg msg;
    uint64_t first;
    uint64_t last;
    struct mirror_history history;
    struct mirror_run cut[SMR_PRIORITIES]; /* what the history says is gone: both, or neither */
    unsigned cut_count;
};

/* All that was appended, in this life and those before it as far as a start has found it. */
struct smr_disk {
    struct smr_record *records;
    size_t count;
    size_t cap;
    size_t durable; /* so many of them */
};

struct smr_journal {
    struct sim_disk *disk;
    struct segs *segs;
    struct journal *journal; /* NULL: it is down */
    uint32_t segment_bytes;
};

/* ---- planned moves: what is out, at a master ---- */

enum smr_how { SMR_ACKED, SMR_GIVEN_BACK, SMR_NOT_SEEN };

#define SMR_READY  0u         /* out with nobody */
#define SMR_NOBODY UINT32_MAX /* out, and nobody has claimed it yet */

struct smr_hand {              /* of one queue, at one node */
    struct mirror_handed word; /* as the next master */
    uint64_t until_ms;         /* the word, or claims, are waited for; 0: they are not */
    bool is_due;               /* the word has come */
    uint64_t epoch;            /* as this node has seen the queue last */
    uint8_t master;
    uint8_t earlier; /* before this epoch, as far as it has seen; itself: it does not know */
    /* As a master: */
    bool goes_on; /* in another epoch, at once: it was never a copy between */
    uint32_t out[SMR_PRIORITIES][SMR_POSITIONS]; /* READY, NOBODY, or which subscription has it */
    uint32_t fresh[SMR_PRIORITIES];              /* nothing from here on was handed out */
    uint32_t may[SMR_PRIORITIES];                /* what stands before may be */
    uint32_t subs[SMR_TAKERS];                   /* subscriptions; 0: none */
};

#define SMR_GIVEN 4u
struct smr_given { /* what a master had when it gave the queue away, and said so */
    uint64_t epoch;
    struct smr_msg at[SMR_PRIORITIES][SMR_POSITIONS];
    bool is_out[SMR_PRIORITIES][SMR_POSITIONS];
    uint32_t fresh[SMR_PRIORITIES];
};

/* ---- a node ---- */

struct smr_copy { /* what is in memory of one queue */
    struct smr_msg at[SMR_PRIORITIES][SMR_POSITIONS];
    bool was_settled[SMR_PRIORITIES][SMR_POSITIONS]; /* the journal says so, or may */
    uint32_t next[SMR_PRIORITIES];
    uint32_t asked[SMR_PRIORITIES]; /* as a master: what stands before is to be shown... */
    bool asks;                      /* ...when all have it */
    struct mirror_queue *master;    /* one of these, or neither */
    struct mirror_copy *copy;
    struct mirror_history history;         /* while neither */
    struct mirror_run cut[SMR_PRIORITIES]; /* to be written with the history that follows */
    unsigned cut_count;
};

struct smr_node {
    struct smr *world;
    uint8_t number;
    bool is_alive;
    bool is_up_decided; /* it has seen its own NODE_UP */
    uint32_t inc;
    unsigned paused; /* steps to stand still */
    unsigned busy;   /* steps that belong to one turn */
    size_t view;
    size_t reconciled; /* up to which its roles are as its view says */
    struct mirror_master *master;
    struct mirror_replica *replica;
    struct smr_copy queues[SMR_QUEUES];
    struct smr_disk disk;
    struct smr_journal journal;
    struct producer_path paths[SMR_PRODUCERS + 1];
    bool is_reading[SMR_QUEUES]; /* the master's core waits for smr_node_load */
    bool is_finding[SMR_QUEUES]; /* the mirror's */
    struct smr_hand hand[SMR_QUEUES];
};

/* ---- links ---- */

struct smr_packet {
    uint8_t *bytes;
    uint32_t len;
};

struct smr_line { /* FIFO */
    struct smr_packet *items;
    size_t head;
    size_t count;
    size_t cap;
};

struct smr_link { /* from a master to a mirror */
    struct smr *world;
    uint8_t from;
    uint8_t to;
    bool is_broken; /* what is said into it is lost, until it is noticed */
    bool is_up;     /* the master thinks so */
    struct mirror_stream *stream;
    struct mirror_source *source;
    struct mirror_source *stale; /* of a former session, which the mirror has not noticed */
    struct smr_line forth;
    struct smr_line back;
};

/* ---- those who take what is handed out ---- */

enum smr_word_op {
    SMR_SUBSCRIBE,
    SMR_SETTLE_IT,
    SMR_SETTLE_MOVED,
    SMR_SUBSCRIBED,
    SMR_ELSEWHERE,
    SMR_DELIVERY,
    SMR_MOVED
};

struct smr_word { /* between a taker and a node, or of what a node passes on */
    enum smr_word_op op;
    enum smr_how how;
    uint8_t queue;
    uint8_t taker;
    bool is_redelivered;
    uint32_t sub;
    uint64_t position;
    uint64_t epoch; /* as who passes it on has seen the queue */
    struct smr_msg msg;
    unsigned count;
    uint64_t claims[SMR_TAKEN_MAX];
    bool is_refused[SMR_TAKEN_MAX];
};

struct smr_taken {
    uint64_t position;
    struct smr_msg msg;
    bool is_settled; /* while it is being claimed */
    enum smr_how how;
};

struct smr_taker {
    size_t view;
    uint8_t node; /* where it is subscribed, or asks to be */
    uint32_t sub; /* 0: it never was */
    bool is_asking;
    bool is_due;                           /* it asks again */
    struct smr_taken taken[SMR_TAKEN_MAX]; /* while it asks they are being claimed */
    unsigned count;
    struct smr_line to[SMR_NODES];
    struct smr_line from[SMR_NODES];
};

/* What its takers may see of a message, in each queue a bit. */
struct smr_fate {
    uint8_t given;   /* somebody was handed it, or it was on its way there */
    uint8_t was_new; /* somebody has had it, as one that is new */
    uint8_t kept; /* somebody has it, and has not given it back: in calm histories nobody else gets
                     it */
    uint8_t missed;                 /* what settled it came to a master that was it no more */
    uint64_t had_epoch[SMR_QUEUES]; /* the first in which a master gave it to who has had it; 0 */
};

/* ---- producers ---- */

struct smr_publish {
    uint8_t queues; /* bits */
    uint8_t priority;
    uint8_t confirmed; /* bits, at the node that says so */
    uint8_t heard;     /* bits, at the producer */
    uint8_t shown;     /* bits: somebody may have seen it */
    uint8_t settled;   /* bits: somebody has */
    uint8_t final;     /* bits: for good */
    uint64_t shown_at[SMR_QUEUES];
    struct smr_fate fate;
};

struct smr_order { /* on its way to a node */
    uint16_t seq;
    uint64_t path;
    uint64_t n;
    uint8_t queues;
};

struct smr_answer {
    bool is_broken;
    uint16_t seq;
    uint8_t queue;
    uint64_t path;
};

struct smr_producer {
    bool is_persistent;
    uint16_t seq; /* the last */
    uint16_t first_open;
    uint64_t path;
    uint64_t n[SMR_NODES];
    size_t view;
    bool is_due; /* the path is broken: another one */
    struct smr_publish publishes[SMR_SEQS + 1];
    struct smr_line to[SMR_NODES];
    struct smr_line from[SMR_NODES];
};

/* ---- the world ---- */

struct smr_chances { /* weights of steps; of 1000 where it says so */
    unsigned deliver, sync, view, decide, publish, settle, produce, connect, tick;
    unsigned crash, restart, pause, turn, cut, notice, down, expel, move, take, later_1000,
        partial_1000, torn_1000;
    unsigned total;
};

struct smr {
    struct rng rng;
    struct smr_chances chance;
    unsigned node_count;
    unsigned queue_count;
    unsigned producer_count;
    uint64_t now_ms;
    bool has_takers; /* kind hand: what is handed out, and planned moves with it */
    bool is_calm;    /* and nothing breaks: nobody is to notice that queues move */
    bool is_healing;
    bool has_crashed;
    struct mirror_setup setup;
    struct smr_node nodes[SMR_NODES];
    struct smr_link links[SMR_NODES][SMR_NODES];
    struct smr_producer producers[SMR_PRODUCERS + 1]; /* from 1 */
    struct smr_taker takers[SMR_QUEUES][SMR_TAKERS];
    uint32_t last_sub;
    struct smr_line passed[SMR_NODES][SMR_NODES]; /* by a former master to the next one */
    struct smr_given given[SMR_QUEUES][SMR_NODES][SMR_GIVEN];       /* the last, round and round */
    uint16_t newest[SMR_QUEUES][SMR_PRODUCERS + 1][SMR_PRIORITIES]; /* that came as new */
    struct meta *meta;                                              /* the register; */
    struct meta_result result; /* what came of its last entry, */
    struct smr_state *log;     /* and what it said after each */
    size_t log_count;
    uint64_t vhost_id;
    uint64_t qids[SMR_QUEUES];
    struct smr_proposal flight[SMR_FLIGHT];
    unsigned flight_count;
    uint8_t acted[SMR_QUEUES][SMR_BEGINNING + SMR_ENTRIES +
                              1]; /* which node + 1 has been master in this epoch */
    bool has_failed;
    struct sim_report *report;
    sim_say_fn trace;
    void *trace_arg;
};

void smr_say(struct smr *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void smr_fail(struct smr *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static inline uint64_t smr_below(struct smr *w, uint64_t bound)
{
    return rng_below(&w->rng, bound);
}

static inline const struct smr_state *smr_head(const struct smr *w)
{
    return &w->log[w->log_count - 1];
}

static inline bool smr_is_awake(const struct smr_node *n)
{
    return n->is_alive && n->paused == 0;
}

/* sim_mirror_meta.c */
void smr_meta_init(struct smr *w);
void smr_meta_fini(struct smr *w);
void smr_meta_propose(struct smr *w, const struct smr_proposal *p);
void smr_meta_decide(struct smr *w);

/* sim_mirror_net.c */
void smr_line_push(struct smr_line *l, const void *bytes, size_t len);
bool smr_line_pop(struct smr_line *l, struct smr_packet *out);
void smr_line_put_back(struct smr_line *l, const struct smr_packet *p); /* the one popped last */
void smr_line_clear(struct smr_line *l);
void smr_line_fini(struct smr_line *l);
void smr_link_init(struct smr *w, unsigned from, unsigned to);
void smr_link_connect(struct smr_link *l);
void smr_link_break(struct smr_link *l);
void smr_link_notice(struct smr_link *l); /* one of its ends */
bool smr_link_deliver(struct smr_link *l);
void smr_link_say_forth(struct smr_link *l, const struct mirror_record *r);
void smr_link_say_back(struct smr_link *l, const struct mirror_record *r);

/* sim_mirror_copy.c. What answers with a number answers with its last record's, or 0. */
struct smr_msg *smr_copy_at(struct smr_copy *c, uint64_t position);
bool *smr_copy_settled_at(struct smr_copy *c, uint64_t position);
uint64_t smr_copy_put(struct smr_node *n, unsigned queue, uint64_t position, struct smr_msg m);
bool smr_copy_take_out(struct smr_node *n, unsigned queue, struct mirror_run run);
uint64_t smr_copy_settle(struct smr_node *n, unsigned queue, uint64_t position);
void smr_copy_cut(struct smr_node *n, unsigned queue, const struct mirror_starts *at_or_behind);
uint64_t smr_copy_put_history(struct smr_node *n, unsigned queue, const struct mirror_history *h);
void smr_copy_raise(struct smr_copy *c, const struct mirror_starts *least);
void smr_copy_starts(const struct smr_copy *c, struct mirror_starts *out);
bool smr_copy_row(struct smr_copy *c, uint64_t from, struct mirror_run *out);
/* sim_mirror_node.c */
void smr_node_init(struct smr *w, unsigned number);
void smr_node_start(struct smr *w, unsigned number);
void smr_node_crash(struct smr *w, unsigned number);
void smr_node_fini(struct smr *w, unsigned number);
void smr_node_look(struct smr_node *n); /* its roles, by its view */
void smr_node_sync(struct smr_node *n, bool is_partial);
void smr_node_flush(struct smr_node *n);
/* False: it does not master all of them, or not yet. */
bool smr_node_publish(struct smr_node *n, unsigned pid, unsigned seq, unsigned queues);
void smr_node_settle(struct smr_node *n, unsigned queue);
void smr_node_activate(struct smr_node *n);
void smr_node_load(struct smr_node *n); /* what is waited for is there */

/* Takes it out for good, as a master. */
void smr_node_settle_at(struct smr_node *n, unsigned queue, uint64_t position);

/* sim_mirror_hand.c; all of kind hand alone. */
void smr_hand_see(struct smr_node *n, unsigned queue, const struct smr_placement *p);
/* Before it ends to lead, or goes on with another epoch at once. */
void smr_hand_over(struct smr_node *n, unsigned queue, unsigned to, bool goes_on);
bool smr_hand_awaits(struct smr_node *n, unsigned queue);
void smr_hand_leads_not(struct smr_node *n, unsigned queue);
void smr_hand_hold(struct smr_node *n, unsigned queue);  /* it is to lead; */
void smr_hand_began(struct smr_node *n, unsigned queue); /* its epoch has begun */
void smr_hand_forget(struct smr_node *n, unsigned queue);
void smr_hand_heard(struct smr_node *n, unsigned queue, const struct mirror_record *r);
void smr_hand_go_on(struct smr_node *n); /* what has come may have been waited for */
void smr_hand_may(struct smr_node *n, unsigned queue, const uint32_t *may);
void smr_hand_serve(struct smr_node *n, unsigned queue);
void smr_hand_tick(struct smr_node *n);
void smr_hand_wait_anew(struct smr_node *n); /* from now on */
void smr_hand_lose(struct smr_node *n, unsigned queue, unsigned taker);
bool smr_hand_deliver_passed(struct smr *w, unsigned from, unsigned to);
bool smr_hand_take(struct smr_node *n, const struct smr_word *said); /* false: not yet */

/* sim_mirror_taker.c */
void smr_taker_hear(struct smr_node *n, unsigned taker, const struct smr_word *said);
void smr_taker_lose(struct smr *w, unsigned node); /* sessions of all takers with it */
void smr_takers_step(struct smr *w);
void smr_takers_heal(struct smr *w);
bool smr_takers_are_quiet(const struct smr *w);
bool smr_takers_are_idle(const struct smr *w, unsigned queue); /* nothing is on its way */
void smr_takers_fini(struct smr *w);

/* sim_mirror_journal.c */
void smr_journal_init(struct smr_node *n);
void smr_journal_fini(struct smr_node *n);
/* What is there becomes what is in memory, and is compared with what was appended. */
void smr_journal_start(struct smr_node *n);
void smr_journal_crash(struct smr_node *n);
/* Its LSN. The history of `r` is taken. */
uint64_t smr_journal_put(struct smr_node *n, const struct smr_record *r);
uint64_t smr_journal_put_history(struct smr_node *n, unsigned queue, const struct mirror_history *h,
                                 const struct mirror_run *cut, unsigned cut_count);
/* One group, or all there is. Returns how far all is durable. */
uint64_t smr_journal_sync(struct smr_node *n, bool is_partial);

/* sim_mirror_disk.c */
void smr_disk_put(struct smr_disk *d, const struct smr_record *r);
void smr_disk_cut(struct smr_disk *d, size_t count);
/* What the first `count` records say is there, and where it comes from. */
void smr_disk_recover(const struct smr_disk *d, size_t count, unsigned queue, struct smr_copy *out);
bool smr_disk_has(const struct smr_disk *d, unsigned queue, struct smr_msg m);
void smr_disk_fini(struct smr_disk *d);

/* sim_mirror_work.c */
void smr_produce(struct smr *w, unsigned pid);
void smr_producer_look(struct smr *w, unsigned pid);
bool smr_producer_deliver(struct smr *w, unsigned pid, unsigned node);
void smr_producer_again(struct smr *w, unsigned pid);
void smr_answer(struct smr_node *n, unsigned pid, const struct smr_answer *a);
void smr_producer_lose(struct smr *w, unsigned pid, unsigned node);

/* sim_mirror_check.c */
void smr_check_master(struct smr_node *n, unsigned queue);
void smr_check_confirmed(struct smr_node *n, unsigned queue, unsigned pid, unsigned seq);
void smr_check_shown(struct smr_node *n, unsigned queue);
void smr_check_held(struct smr_node *n, unsigned queue);
void smr_check_handed_out(struct smr_node *n, unsigned queue, const struct smr_word *said);
void smr_check_missed(struct smr *w, unsigned queue, struct smr_msg m);
void smr_check_taken(struct smr *w, unsigned queue, const struct smr_word *said);
bool smr_check_is_quiet(const struct smr *w);
void smr_check_end(struct smr *w);

#endif
