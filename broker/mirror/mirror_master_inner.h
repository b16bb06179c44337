/*
 * mirror_master_inner: what mirror_master.c, mirror_join.c and mirror_isr.c share. Not for anybody
 * else.
 */
#ifndef WARREN_MIRROR_MASTER_INNER_H
#define WARREN_MIRROR_MASTER_INNER_H

#include "base/idmap.h"
#include "base/sm.h"
#include "mirror/mirror_flow.h"
#include "mirror/mirror_line.h"
#include "mirror/mirror_master.h"
#include "mirror/mirror_pace.h"
#include "mirror/mirror_past.h"

#include <sys/queue.h>

/* Whatever happens, a pair may have to begin anew, or be refused. */
#define MIRROR_PAIR_STATES(X)                                                                      \
    X(WAITING, TO(CALLED))                                                                         \
    X(CALLED, TO(SYNCING) | TO(WAITING) | TO(REFUSED))                                             \
    X(SYNCING, TO(TOLD) | TO(HOLLOW) | TO(WAITING) | TO(REFUSED))                                  \
    X(HOLLOW, TO(TOLD) | TO(WAITING) | TO(REFUSED))                                                \
    X(TOLD, TO(WHOLE) | TO(WAITING) | TO(REFUSED))                                                 \
    X(WHOLE, TO(WAITING) | TO(REFUSED))                                                            \
    X(REFUSED, TO(WAITING))

enum mirror_pair_state {
#define X(name, moves) MIRROR_PAIR_##name,
    MIRROR_PAIR_STATES(X)
#undef X
        MIRROR_PAIR_STATE_COUNT
};

TAILQ_HEAD(mirror_pairs, mirror_pair);

#define MIRROR_DROPS 256u

/* While a pair is compared. */
struct mirror_cursor {
    struct mirror_starts end;   /* what came live begins there */
    struct mirror_starts lacks; /* HOLLOW: what it lacks lies before */
    uint64_t at;
    uint64_t until;  /* of the offer at hand; included */
    bool has_offer;  /* else it was asked for */
    bool is_reading; /* mirror_master_loaded goes on */
    unsigned steps;  /* that are left in this turn */
    uint32_t run;    /* the first that is not behind `at` */
    uint32_t run_count;
    unsigned drop_count;
    struct mirror_run *runs;
    struct mirror_run drops[MIRROR_DROPS];
};

struct mirror_pair {
    struct mirror_queue *queue;
    struct mirror_stream *stream;
    enum mirror_pair_state state;
    bool is_in_sync;  /* committed */
    bool is_ordered;  /* to be compared, though that is done by hand */
    bool is_added;    /* proposed, and not decided */
    bool is_expelled; /* the same, to be taken out */
    bool is_waited;   /* as was counted */
    bool is_owed;
    bool is_listed;    /* in the master's `proposed` */
    bool is_asked_for; /* confirms wait until it has joined */
    uint32_t added_inc;
    uint64_t proposed_ms;
    uint64_t join_pos;
    uint64_t done_pos;
    uint64_t retry_ms; /* REFUSED: when */
    uint64_t backoff_ms;
    uint64_t said_old;
    struct mirror_cursor *cursor; /* CALLED, SYNCING; HOLLOW for what it lacks */
    struct mirror_pairs *list;    /* of the stream, that it is in */
    TAILQ_ENTRY(mirror_pair) entry;
    TAILQ_ENTRY(mirror_pair) proposed_entry;
};

enum mirror_mark_kind {
    MIRROR_MARK_OWN,
    MIRROR_MARK_RECEIVED,
    MIRROR_MARK_DURABLE,
    MIRROR_MARK_REJOINED,
};

struct mirror_stream {
    struct mirror_master *master;
    void *owner;
    uint16_t node;
    bool is_up;
    bool is_listed; /* among those that a message goes to */
    bool is_due;    /* something may be done at the turn's end */
    uint8_t awaits; /* enum mirror_awaited_flags, of what was said so far; to be told */
    uint32_t inc;
    uint64_t begun;    /* positions of this session lie behind */
    uint64_t received; /* acknowledged */
    uint64_t durable;
    uint64_t down_ms;     /* since when it is down, or its pairs are owed... */
    uint64_t owed_ms;     /* ... without a pause */
    uint64_t slow_ms;     /* when it was seen to be slow last; 0: not since it had all */
    uint64_t lag_told_ms; /* 0: not */
    uint64_t held_ms;     /* until then nothing is added: it had lagged */
    uint64_t hold_ms;     /* for so long */
    unsigned waited;      /* pairs that are waited for */
    unsigned owed;        /* of these, not WHOLE */
    unsigned busy_count;
    unsigned picked_count;
    unsigned picked_cap;
    unsigned *picked;
    uint32_t mark_received, mark_durable, mark_rejoined;
    struct mirror_flow flow;
    struct mirror_pace pace;
    struct mirror_pairs first;  /* WAITING, and confirms wait for it */
    struct mirror_pairs urgent; /* WAITING, and waited for */
    struct mirror_pairs line;   /* the others that are WAITING */
    struct mirror_pairs busy;   /* CALLED, SYNCING */
    struct mirror_pairs hollow;
    struct mirror_pairs told; /* by rising done_pos */
    struct mirror_pairs whole;
    struct mirror_pairs refused;
    struct mirror_pasts past_due;   /* to be asked */
    struct mirror_pasts past_asked; /* its answer is to come */
    struct mirror_pasts past_told;
    struct mirror_pasts past_later; /* to be asked again, by rising retry_ms */
    unsigned past_count;            /* asked, and told */
    TAILQ_ENTRY(mirror_stream) entry;
};

struct mirror_master {
    const struct mirror_master_ops *ops;
    void *arg;
    struct mirror_setup setup;
    uint64_t pos;    /* the last */
    uint64_t now_ms; /* as was said last */
    uint64_t now_us; /* the same; 0: nobody says so */
    uint64_t roles;
    unsigned taken_over;     /* queues, one close behind the other... */
    uint64_t taking_over_ms; /* ... the last of them, and since when */
    uint64_t taken_over_ms;
    bool is_refit_due;      /* what confirms wait for has changed */
    bool is_told_due;       /* ... by pairs that they waited for and that have been told all */
    uint64_t told_again_ms; /* when that is to be looked at */
    bool is_behind;         /* as was told: ops.room is to follow */
    uint32_t mark_own;
    struct mirror_line own;
    struct mirror_waits waits;
    struct idmap queues; /* struct mirror_queue by qid */
    TAILQ_HEAD(, mirror_stream) streams;
    struct mirror_pairs proposed;
    struct mirror_stream *listed[MIRROR_SET_MAX];
};

static inline bool mirror_pair_is_live(const struct mirror_pair *p)
{
    return p->state != MIRROR_PAIR_WAITING && p->state != MIRROR_PAIR_REFUSED;
}

/* mirror_isr.c */
void mirror_pair_recount(struct mirror_pair *p);
void mirror_pair_consider(struct mirror_pair *p);
void mirror_pair_decided(struct mirror_pair *p, bool goes);
/* It was in the in-sync set. */
void mirror_pair_struck(struct mirror_pair *p);
/* It is not to be added yet. */
bool mirror_pair_is_held(const struct mirror_pair *p);
void mirror_master_refit(struct mirror_master *m);
void mirror_master_refit_told(struct mirror_master *m);
void mirror_master_look_for_room(struct mirror_master *m);
void mirror_master_answer_due(struct mirror_master *m);

/* mirror_past.c */
void mirror_pasts_init(struct mirror_stream *s);
bool mirror_pasts_are_there(const struct mirror_stream *s);
/* Of a stream that is up: as many as fit. */
void mirror_pasts_say(struct mirror_stream *s);
/* True: it was an answer to one of these. */
bool mirror_pasts_refused(struct mirror_stream *s, const struct mirror_record *r);
/* False: it is not as it must be. */
MUST_CHECK bool mirror_pasts_take(struct mirror_stream *s, const struct mirror_record *r);
/* The session is over. */
void mirror_pasts_down(struct mirror_stream *s);
/* Each where its queue is by now. */
void mirror_pasts_rehome(struct mirror_stream *s);
void mirror_pasts_tick(struct mirror_stream *s, uint64_t now_ms);

/* mirror_join.c */
void mirror_pair_move(struct mirror_pair *p, enum mirror_pair_state to);
/* A confirm waits until it has joined. */
void mirror_pair_ask_for(struct mirror_pair *p);
/* One that is WAITING does so in another list, perhaps. */
void mirror_pair_relist(struct mirror_pair *p);
void mirror_pair_take_offer(struct mirror_pair *p, const struct mirror_record *r);
void mirror_pair_drop_cursor(struct mirror_pair *p);
/* Begin with those that wait, go on with those that are compared. True: there is more to do. */
bool mirror_stream_fill(struct mirror_stream *s);
/* Those that are HOLLOW begin anew: what they lack is to be sent by now. */
void mirror_queue_fill(struct mirror_queue *q);
/* HOLLOW ones that lack nothing any more. */
void mirror_stream_look_at_hollow(struct mirror_stream *s);

#endif
