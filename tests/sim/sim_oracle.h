/*
 * sim_oracle: what a store must still have, after whatever happened to it.
 *
 * It is told what was put, what was settled, how often a message came back and how far marks went,
 * each with the LSN from which on that is promised, and how far the store said everything is safe.
 * After a restart it is shown what is there, and says the first thing that is wrong: a promised
 * message that is missing, one that was settled for good and is back, one that nobody put, contents
 * or a flag that are not what they were.
 */
#ifndef WARREN_SIM_ORACLE_H
#define WARREN_SIM_ORACLE_H

#include "base/attr.h"
#include "store/record.h"

#define SIM_NEVER   UINT64_MAX
#define SIM_WHY_MAX 300u

struct sim_oracle;

struct sim_msg {
    uint64_t qid;
    uint64_t qseq;
    uint64_t content; /* decides its names, properties and body */
    uint64_t body_bytes;
    uint64_t expires_ms;
    struct place place;  /* of the last record */
    struct place from;   /* of the one before it, which counts as long as... */
    uint64_t moved_lsn;  /* ...this is not safe */
    uint64_t lsn;        /* promised when this is safe; SIM_NEVER: not at all */
    uint64_t settle_lsn; /* gone for good when this is safe; SIM_NEVER: not settled */
    struct msg_producer producer;
    uint32_t returns;      /* as last told */
    uint32_t returns_safe; /* at least so many */
    uint64_t returns_lsn;
    bool is_transient;
    bool is_again; /* at a position that was settled or cut off */
    bool is_safe;
    bool is_settled_safe;
    bool must_be_marked; /* its redelivered flag is promised */
    bool must_be_ahead;  /* the same, unless the journal was closed in order */
    bool may_be_marked;  /* it was handed out */
    bool is_hurt;        /* its record was damaged: it may be lost, if that is said */
    bool is_told;        /* it was said that it is lost */
    bool is_seen;
    bool is_missed;  /* it cannot be read where it is said to be */
    bool may_return; /* could not be read; an older record of it may be there */
    bool is_gone;    /* was not there after a restart, or settled before it */
};

struct sim_oracle *sim_oracle_new(void);
void sim_oracle_free(struct sim_oracle **o);

void sim_oracle_add_queue(struct sim_oracle *o, uint64_t qid);
void sim_oracle_drop_queue(struct sim_oracle *o, uint64_t qid);

/* Copied. Positions of one priority rise, but for what is_again: until that is safe the message
 * that was there may be what a restart finds. Good until the next one is put. */
struct sim_msg *sim_oracle_put(struct sim_oracle *o, const struct sim_msg *m);
struct sim_msg *sim_oracle_find(struct sim_oracle *o, uint64_t qid, uint64_t qseq);

/* All of a queue, in order of position; NULL behind the last, or when there is no such queue. */
struct sim_msg *sim_oracle_at(struct sim_oracle *o, uint64_t qid, size_t index);

/* Neither settled nor gone. */
static inline bool sim_msg_is_alive(const struct sim_msg *m)
{
    return !m->is_gone && m->settle_lsn == SIM_NEVER;
}

/* It was written anew. */
void sim_oracle_move(struct sim_oracle *o, struct sim_msg *m, struct place to, uint64_t lsn);

void sim_oracle_settle(struct sim_oracle *o, uint64_t qid, uint64_t first, uint64_t last,
                       uint64_t lsn);
/* All of this priority below `mark` were handed out, or `is_ahead` may soon be. */
void sim_oracle_mark(struct sim_oracle *o, uint64_t qid, uint64_t mark, bool is_ahead,
                     uint64_t lsn);
void sim_oracle_returned(struct sim_oracle *o, uint64_t qid, uint64_t qseq, uint32_t returns,
                         uint64_t lsn);

/* The store said so. */
void sim_oracle_safe(struct sim_oracle *o, uint64_t lsn);

/* These octets, a record or less, were damaged on the medium. */
void sim_oracle_hurt(struct sim_oracle *o, struct place from, uint32_t to);

/* ---- after a restart ----------------------------------------------------------------------------
 */

struct sim_seen {
    uint64_t qid;
    uint64_t qseq;
    uint64_t content;
    uint64_t body_bytes;
    uint64_t expires_ms;
    struct place place;
    uint32_t returns;
    bool redelivered;
};

enum sim_end {
    SIM_END_CRASH,
    SIM_END_CLOSED, /* in order */
    SIM_END_EITHER, /* closed in order, and then recovery was cut short */
};

void sim_oracle_begin(struct sim_oracle *o, enum sim_end end);
void sim_oracle_see(struct sim_oracle *o, const struct sim_seen *s);
/* It is said to stand there, and cannot be read. */
void sim_oracle_miss(struct sim_oracle *o, uint64_t qid, uint64_t qseq, struct place place,
                     uint64_t body_bytes);
/* It was said that this is lost. */
void sim_oracle_damage(struct sim_oracle *o, uint64_t qid, uint64_t first, uint64_t last,
                       struct place from, uint32_t to);
/* The next positions of this priority come from here on. */
void sim_oracle_next(struct sim_oracle *o, uint64_t qid, uint64_t next_new);
/* What was seen in a segment, as segs.h counts it. */
void sim_oracle_alive_in(const struct sim_oracle *o, uint32_t seg, int64_t *count, int64_t *bytes);
/* What is there counts from now on. */
void sim_oracle_end(struct sim_oracle *o);

/* The first thing that was wrong, NULL: nothing. */
const char *sim_oracle_why(const struct sim_oracle *o);
void sim_oracle_fail(struct sim_oracle *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
