/*
 * mirror_master: the queues of one shard that this node masters, and those who mirror them.
 *
 * For each shard of another node that mirrors something of this shard there is a *stream*: records
 * with positions (`pos`) that rise over all streams of the shard, acknowledged up to where they
 * were received and up to where they are durable there. A *pair* is one queue on one stream:
 *
 *               JOIN            its offer        all was said         acked, durable
 *    WAITING ----------> CALLED ---------> SYNCING ----------> TOLD ----------------> WHOLE
 *       ^                   |                 | what is old        ^
 *       |                   | refused         v is not to be sent  | none of it is left,
 *       |                   v               HOLLOW ----------------+
 *       +---- retry ---- REFUSED
 *       |                               (or it lagged of late)    (or it may be added again)
 *       +---- it was struck, the session ended, or more was published than the stream could take
 * ---- (all)
 *
 * From JOIN on the pair gets what is published and settled. What was there before is compared with
 * what the mirror offers, in order of position, and what lacks is sent between the rest. So the
 * queue never stands still.
 *
 * What is confirmed waits for this node's journal and for every mirror that may be in the in-sync
 * set, by any order in which the proposals under way may be decided, and for each pair from TOLD
 * on; an addition is proposed when the pair is WHOLE. Before TOLD an acknowledgement says nothing
 * of a pair: its confirms wait at the stream's mark of *rejoining*, which stands still until each
 * pair that is waited for is WHOLE, and have it called before others; once it is TOLD they wait
 * for its DONE. See design.md 2.6, 2.7.
 *
 * A core: it knows neither links nor queues nor the metadata. One thread.
 */
#ifndef WARREN_MIRROR_MASTER_H
#define WARREN_MIRROR_MASTER_H

#include "mirror/mirror_waits.h"
#include "mirror/mirror_wire.h"

struct mirror_master;
struct mirror_pair;
struct mirror_past;
struct mirror_stream;

enum mirror_look {
    MIRROR_LOOK_HERE,
    MIRROR_LOOK_NONE,
    MIRROR_LOOK_LATER, /* it is being found out: mirror_master_loaded */
};

enum mirror_old {
    MIRROR_OLD_SAID,
    MIRROR_OLD_GONE,  /* there is nothing at this position */
    MIRROR_OLD_LATER, /* it is being read: mirror_master_loaded */
};

struct mirror_queue {
    uint64_t qid;
    uint64_t epoch;
    uint64_t ver;
    uint64_t role;     /* another number each time this node becomes its master */
    uint64_t last_pos; /* of what was said of it last, or of its beginning */
    struct mirror_history history;
    void *owner;     /* the caller's */
    bool is_durable; /* outlives its nodes */
    bool is_manual;  /* a new mirror gets what is published from then on alone */
    bool is_active;  /* this node serves it: it may propose */
    struct mirror_pair **pairs;
    unsigned pair_count;
};

struct mirror_master_ops {
    /* The stream to the shard of that node which this queue lives on there, opened if need be. */
    struct mirror_stream *(*stream)(void *arg, uint16_t node, uint64_t qid);

    /* ---- these leave in the order of the calls. HELLO, JOIN, NEED, DONE, LEAVE, PAST: */
    void (*say)(void *arg, struct mirror_stream *to, const struct mirror_record *r);
    /* The message that mirror_master_message was given, for the `which`-th of its queues. */
    void (*say_message)(void *arg, struct mirror_stream *to, uint64_t pos, const void *message,
                        const unsigned *which, unsigned count);
    /* What mirror_master_note was given. */
    void (*say_state)(void *arg, struct mirror_stream *to, uint64_t pos, struct mirror_queue *q,
                      const void *what);
    /* These are settled. */
    void (*say_settled)(void *arg, struct mirror_stream *to, uint64_t pos, struct mirror_queue *q,
                        const struct mirror_run *runs, unsigned count);
    /* The message at this position, as it is now; *bytes: what it cost. */
    enum mirror_old (*say_old)(void *arg, struct mirror_stream *to, uint64_t pos,
                               struct mirror_queue *q, uint64_t position, uint64_t *bytes);

    /* ---- about the queue. The first row of positions at or behind `at` where messages are. */
    enum mirror_look (*live)(void *arg, struct mirror_queue *q, uint64_t at,
                             struct mirror_run *out);
    /* Its next positions; *out is empty, and the core's afterwards. */
    void (*starts)(void *arg, struct mirror_queue *q, struct mirror_starts *out);

    /* Does that node keep up with the others, as far as is agreed upon? What it mirrors is not
     * waited for, or proposed, while it does not. May be NULL: it does. */
    bool (*keeps_up)(void *arg, uint16_t node);

    /* ---- to others. What was awaited is safe, or this node is no longer the one to say so. */
    void (*answer)(void *arg, const struct mirror_confirm *c, bool is_safe);
    /* Have this node added to the in-sync set (as this incarnation), or taken out, if the queue's
     * epoch and ver are still these. Said again until ver moves. */
    void (*propose)(void *arg, struct mirror_queue *q, uint16_t node, uint32_t inc, bool adds);
    /* That node is behind with all that it mirrors of this one: out of their in-sync sets. */
    void (*propose_lag)(void *arg, struct mirror_stream *of);
    /* After mirror_master_is_behind has said so: it is not any more. May be NULL if nobody asks. */
    void (*room)(void *arg);

    /* ---- to who has asked by mirror_past.h: what its master has had, and the last numbers of its
     * producers; borrowed. May be NULL if nobody asks. */
    void (*past)(void *arg, struct mirror_past *p, const struct mirror_history *history,
                 const struct producers *producers);
};

struct mirror_setup {
    uint16_t shards;       /* of this node */
    uint64_t window_bytes; /* of a stream */
    uint64_t slow_ms;      /* one that takes longer for what it is told is waited for by nobody
                              who publishes: confirms wait */
    uint64_t lag_ms;       /* as long may a mirror be behind */
    uint64_t retry_ms;     /* what was proposed is proposed again */
    uint64_t hold_ms;      /* one that lagged stays out as long, the next time twice, ... */
    uint64_t hold_max_ms;  /* ... and at most */
    unsigned syncs;        /* pairs of a stream that are compared at a time */
};

void mirror_setup_default(struct mirror_setup *s);

/* `ops` and what it points to outlive the core. */
struct mirror_master *mirror_master_new(const struct mirror_master_ops *ops, void *arg,
                                        const struct mirror_setup *setup);
/* Nobody is told anything. */
void mirror_master_free(struct mirror_master **m);

/* A queue is about to begin here that another node mastered: one of many, perhaps. While they come
 * thick and fast their mirrors wait with joining, for a second at most, but for those that confirms
 * wait for: the queues are served first. */
void mirror_master_takes_over(struct mirror_master *m, uint64_t now_ms);

/* ---- streams ------------------------------------------------------------------------------------
 */

/* No session of it has been yet: it lags from now on. */
struct mirror_stream *mirror_stream_new(struct mirror_master *m, uint16_t node, void *owner,
                                        uint64_t now_ms);
/* No queue is mirrored there any more. */
void mirror_stream_free(struct mirror_stream **s);
void *mirror_stream_owner(const struct mirror_stream *s);
uint16_t mirror_stream_node(const struct mirror_stream *s);
bool mirror_stream_is_used(const struct mirror_stream *s);

/* A session with that incarnation of the node begins; it ends. */
void mirror_stream_up(struct mirror_stream *s, uint32_t inc, uint64_t now_ms);
void mirror_stream_down(struct mirror_stream *s, uint64_t now_ms);

/* Of one that is down: the node was started anew with another number of shards. Its queues go to
 * the streams that ops.stream says now, but for those that are waited for here: until the metadata
 * has struck the process that was. */
void mirror_stream_rehome(struct mirror_stream *s);

/* A record came. False: it is not as it must be, and the session is to be given up. */
MUST_CHECK bool mirror_stream_take(struct mirror_stream *s, const struct mirror_record *r,
                                   uint64_t now_ms);

/* ---- queues -------------------------------------------------------------------------------------
 */

struct mirror_member {
    uint16_t node;
    bool is_in_sync; /* committed */
};

/* What the metadata says of a queue; without this node. */
struct mirror_placed {
    uint64_t ver;
    const struct mirror_member *members; /* MIRROR_SET_MAX - 1 at most */
    unsigned count;
    bool is_manual;
};

/* This node masters the queue in this epoch; `history`, as it was before, is taken, and is to be
 * written into the journal, behind all that was there before: mirror_master_written tells when, at
 * last_pos. Positions that the queue gives from now on are not below mirror_history_starts. */
struct mirror_queue *mirror_master_begin(struct mirror_master *m, uint64_t qid, uint64_t epoch,
                                         struct mirror_history *history, bool is_durable,
                                         void *owner, const struct mirror_placed *p);
void mirror_master_activate(struct mirror_master *m, struct mirror_queue *q, uint64_t now_ms);
void mirror_master_place(struct mirror_master *m, struct mirror_queue *q,
                         const struct mirror_placed *p);
/* It does not any more. What was awaited is answered as not safe; the history is the caller's. */
void mirror_master_end(struct mirror_master *m, struct mirror_queue **q,
                       struct mirror_history *history);

/* That node is to master the queue next. Before the end: tell it what is out with consumers
 * (positions, rising), and behind what nothing was ever handed out. False: it does not have all of
 * the queue, or is not connected. */
MUST_CHECK bool mirror_master_hand_over(struct mirror_master *m, struct mirror_queue *q,
                                        uint16_t node, const uint64_t *out, size_t count,
                                        const struct mirror_starts *fresh);

/* Ask that this mirror leave the in-sync set. */
void mirror_master_expel(struct mirror_master *m, struct mirror_queue *q, uint16_t node,
                         uint64_t now_ms);

/* Where mirrors are compared by hand: all that lack something get it; or no more of it. */
void mirror_master_sync(struct mirror_master *m, struct mirror_queue *q);
void mirror_master_cancel_sync(struct mirror_master *m, struct mirror_queue *q);

/* What say_old or live waited for is there. */
void mirror_master_loaded(struct mirror_master *m, struct mirror_queue *q, uint64_t now_ms);

/* Nodes, without this one, that are in the in-sync set, or will be if what is proposed is agreed
 * upon: whoever serves the queue needs the leave of each. Changes with mirror_master_place, _expel,
 * and whenever ops.propose is called. `out` has room for MIRROR_SET_MAX; returns how many. */
unsigned mirror_queue_members(const struct mirror_queue *q, uint16_t *out);

/* Does what is awaited of it wait for any mirror? */
MUST_CHECK bool mirror_queue_is_waited(const struct mirror_queue *q);

/* Of a pair, for who lists them: its node, whether it has all, and up to where it was compared. */
struct mirror_progress {
    uint16_t node;
    bool is_whole;
    bool is_syncing;
    uint64_t said; /* old messages, since it was called */
};
void mirror_queue_progress(const struct mirror_queue *q, unsigned index,
                           struct mirror_progress *out);

/* Positions of which the mirror of a pair may lack some, for they are not compared yet, or not to
 * be sent: a row a priority, rising. `out` has room for MIRROR_STARTS_MAX; returns how many, 0: it
 * was told all that there is. */
unsigned mirror_queue_lacks(const struct mirror_queue *q, unsigned index, struct mirror_run *out);

/* ---- records ------------------------------------------------------------------------------------
 */

/* A message came to these queues, of about so many octets. Returns its position; it is passed on
 * before this returns. */
uint64_t mirror_master_message(struct mirror_master *m, struct mirror_queue *const *queues,
                               unsigned count, const void *message, uint64_t bytes,
                               uint64_t now_ms);

/* Messages were settled, or the like, with the same meaning for a mirror. */
uint64_t mirror_master_note(struct mirror_master *m, struct mirror_queue *q, const void *what,
                            uint64_t bytes, uint64_t now_ms);

/* What has this position was written here, and waits to be durable; see mirror_line.h. In order. */
void mirror_master_written(struct mirror_master *m, uint64_t pos, uint64_t lsn);
void mirror_master_written_late(struct mirror_master *m, uint64_t pos, uint64_t lsn);
void mirror_master_durable(struct mirror_master *m, uint64_t lsn);

enum mirror_await_flags {
    MIRROR_AWAIT_DURABLE = 1, /* wherever it must be; else received there */
    MIRROR_AWAIT_URGENT =
        2, /* a client is kept waiting: mirrors of this queue join before others */
};

/* Tell (ops.answer) when what has this position is safe. For something that came before, last_pos
 * of the queue. */
void mirror_master_await(struct mirror_master *m, struct mirror_queue *q, uint64_t pos,
                         unsigned flags, const struct mirror_token *to, uint64_t number);
/* A client is kept waiting by now by what was awaited of this queue. */
void mirror_master_hurry(struct mirror_master *m, struct mirror_queue *q);
uint64_t mirror_master_waiting(const struct mirror_master *m);

/* A stream that is waited for holds half of what it may: whoever publishes is to wait until
 * ops.room. One that is slow is not meant: it holds up confirms alone, and begins anew when it
 * cannot be told all, until it lags so much that it is taken out. */
MUST_CHECK bool mirror_master_is_behind(struct mirror_master *m);

/* The turn's end. True: there is more to do, in another turn. */
MUST_CHECK bool mirror_master_flush(struct mirror_master *m, uint64_t now_ms);

/* For the pace of what is old: a moment in microseconds, before a record is taken and before the
 * turn's end. */
void mirror_master_clock(struct mirror_master *m, uint64_t now_us);

/* Now and then (each 100 ms or so). */
void mirror_master_tick(struct mirror_master *m, uint64_t now_ms);

#endif
