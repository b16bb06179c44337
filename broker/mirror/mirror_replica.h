/*
 * mirror_replica: the queues of one shard of which this node holds a copy, and those who master
 * them.
 *
 * A *source* is the stream of one shard of another node, for one session of its link. A *copy* is a
 * queue that this node mirrors; it takes records from one source alone, from when that has said
 * JOIN in the epoch that the metadata says, until a later epoch is known. Before a source hears an
 * acknowledgement that covers something which was not taken it hears REFUSED.
 *
 * JOIN first cuts what the master does not have (mirror_history.h), and that is written before
 * anything of the new epoch. Then the copy offers what it holds. Acknowledged as durable is only
 * what the journal of this node has durable. See design.md 2.6, 2.7.
 *
 * A core: it knows neither links nor queues nor the metadata. One thread.
 */
#ifndef WARREN_MIRROR_REPLICA_H
#define WARREN_MIRROR_REPLICA_H

#include "mirror/mirror_line.h"
#include "mirror/mirror_wire.h"

struct mirror_replica;
struct mirror_source;

struct mirror_copy {
    uint64_t qid;
    uint64_t epoch;               /* as the metadata says */
    struct mirror_source *source; /* that it takes from; NULL: none */
    uint64_t join_pos;            /* of its JOIN */
    struct mirror_history history;
    void *owner; /* the caller's */
};

enum mirror_taken {
    MIRROR_TAKEN,
    MIRROR_TAKEN_LATER, /* not yet, or not all of it: to be said once more, before what follows */
    MIRROR_TAKEN_BAD,   /* it is not as it must be */
    MIRROR_TAKEN_NOT,   /* ops.cut alone: it cannot be done now; the master is to join again */
};

struct mirror_replica_ops {
    /* STATE, OFFER, REFUSED, ACK, PAST_IS: leave in the order of the calls. */
    void (*say)(void *arg, struct mirror_source *to, const struct mirror_record *r);

    /* Its next positions; *out is empty, and the core's afterwards. */
    void (*starts)(void *arg, struct mirror_copy *c, struct mirror_starts *out);

    /* What is at or behind `cut` goes, and its next positions are lowered to that. It is written
     * with the history that follows, in one record: a crash must not come between. Of what goes the
     * master may have some, in other places: what its `producers` say so of. The rest nobody else
     * may have. TAKEN; LATER: there is much, or it is being found out, or kept elsewhere; or
     * NOT. */
    enum mirror_taken (*cut)(void *arg, struct mirror_copy *c, const struct mirror_starts *cut,
                             const struct producers *producers);

    /* The history is another one: to be written. If `next` is not NULL, its next positions are
     * raised to that. Returns the LSN of what was written; 0: nothing was. */
    uint64_t (*history)(void *arg, struct mirror_copy *c, const struct mirror_starts *next);

    /* What was written is to be durable as soon as may be: somebody waits. Else it is when it suits
     * the journal. */
    void (*hurry)(void *arg);

    /* A record of the journal: what it says of queues of which mirror_replica_takes says so is
     * done; what was done when it was said before is not done again. *lsn, which is 0, as above;
     * or MIRROR_LSN_LATER, and mirror_replica_written tells. */
    enum mirror_taken (*data)(void *arg, struct mirror_source *from, uint64_t pos,
                              const struct mirror_data *d, uint64_t *lsn);

    /* The master of this epoch gives the queue away, and says what is out with consumers, in parts;
     * `r` is borrowed. May be NULL: nobody asks. */
    void (*handed)(void *arg, struct mirror_copy *c, const struct mirror_record *r);

    /* PAST came: `s` asks what the queue is here, see mirror_past.h. True: this node masters it in
     * that epoch; its history, borrowed. May be NULL: it masters nothing. */
    bool (*past)(void *arg, uint64_t qid, uint64_t epoch, const struct mirror_history **out);

    /* Positions that are here, from `from` on, MIRROR_RUNS_MAX at most: *to is up to where that is
     * all, MIRROR_TO_END if there is nothing behind. False: it is being found out; see
     * mirror_replica_loaded. */
    bool (*held)(void *arg, struct mirror_copy *c, uint64_t from, struct mirror_run *out,
                 uint32_t *count, uint64_t *to);
};

struct mirror_replica *mirror_replica_new(const struct mirror_replica_ops *ops, void *arg,
                                          uint16_t shards);
void mirror_replica_free(struct mirror_replica **r);

/* A session of another node's begins; it ends. */
struct mirror_source *mirror_source_new(struct mirror_replica *r, void *owner);
void mirror_source_free(struct mirror_source **s);
void *mirror_source_owner(const struct mirror_source *s);

/* A record came. BAD: the session is to be given up. LATER: nothing else of this source is shown
 * until the same record was taken; when to try again the caller knows, from ops.cut or ops.data. */
MUST_CHECK enum mirror_taken mirror_source_take(struct mirror_source *s,
                                                const struct mirror_record *r);

/* This node mirrors the queue; the history is taken. */
struct mirror_copy *mirror_replica_begin(struct mirror_replica *r, uint64_t qid, uint64_t epoch,
                                         struct mirror_history *history, void *owner);

/* The metadata has come to another epoch of it. */
void mirror_replica_fence(struct mirror_replica *r, struct mirror_copy *c, uint64_t epoch);

/* It does not any more: it masters it from now on, or it is no replica. The history is the
 * caller's. */
void mirror_replica_end(struct mirror_replica *r, struct mirror_copy **c,
                        struct mirror_history *history);

/* The copy takes what comes from there. */
struct mirror_copy *mirror_replica_takes(const struct mirror_replica *r,
                                         const struct mirror_source *from, uint64_t qid);

/* What ops.held waited for is there. */
void mirror_replica_loaded(struct mirror_replica *r, struct mirror_copy *c);

/* What was to be written later, of the source of this number, at this position, was. 0: nothing of
 * it is to be waited for. A source that is gone: nothing. */
uint64_t mirror_source_number(const struct mirror_source *s);
void mirror_replica_written(struct mirror_replica *r, uint64_t source, uint64_t pos, uint64_t lsn);

/* The journal is durable up to here. */
void mirror_replica_durable(struct mirror_replica *r, uint64_t lsn);

/* The turn's end: what is to be acknowledged is. */
void mirror_replica_flush(struct mirror_replica *r);

#endif
