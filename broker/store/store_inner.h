/*
 * store_inner: what the parts of the store share: store.c, rounds.c, upkeep.c. All but what
 * says otherwise on the manager's loop.
 */
#ifndef WARREN_STORE_INNER_H
#define WARREN_STORE_INNER_H

#include "base/idmap.h"
#include "base/log.h"
#include "io/work.h"
#include "store/data_dir.h"
#include "store/evacuate.h"
#include "store/large_files.h"
#include "store/space.h"
#include "store/store.h"

/* ---- rounds.c: segments are given up in rounds: every shard is asked, what they wrote becomes
 * durable, then the segments that nothing is alive in go ---- */

enum round_state {
    ROUND_IDLE,
    ROUND_READING, /* the segment that is to be emptied */
    ROUND_ASKING,  /* shards are at it */
    ROUND_SYNCING, /* what they wrote is not durable yet */
    ROUND_READY,   /* see rounds_take */
};

struct round {
    struct store *store;
    enum round_state state;
    uint32_t segs[STORE_ASK_SEGS];
    uint32_t seg_count;
    enum seg_state was; /* of the one that is emptied, before */
    uint64_t lsn;
    uint64_t carried_bytes; /* what shards wrote of queues' states */
    uint64_t ready_ms;      /* since when it is only waited for readers or counts that lag */
    uint32_t pending;       /* shards that have not answered */
    struct store_ask *asks;
    uint32_t **orders;                  /* of each shard */
    struct store_moving_queue **queues; /* of each shard */
    struct evacuation what;
    struct work_job work;
    bool ok; /* out of the job */
    struct err err;
};

/* What needs the pool and is done one by one: spares, and files that go. */
struct upkeep {
    struct work_job work;
    bool busy;
    uint32_t going[2 * STORE_ASK_SEGS]; /* to be recycled */
    uint32_t going_count;
    bool prepares;
    bool ok;
    struct err err;
    uint64_t retry_ms; /* the disk was full: not before */
};

/* Making of an index file. */
struct indexing {
    struct work_job work;
    bool busy;
    uint32_t seg;
    bool ok;
    struct err err;
    uint64_t retry_ms;
};

/* A segment that was sealed since the start and has no index file yet. */
struct sealed {
    uint32_t seg;
    uint64_t at_ms;
};

#define PUT_OFF_MAX 16u
struct put_off {
    uint32_t seg;
    uint64_t until_ms;
};

struct store {
    struct store_setup set;
    char *folder;
    char *node;
    struct loop **shard_loops;
    struct disk *disk;
    struct data_lock *lock;
    struct data_dir dir;
    struct segs *segs;
    struct journal *journal;
    struct loop *loop;
    struct work_pool *pool;
    struct loader *loader;
    struct large_files *large;
    struct recovered recovered;
    struct store_recovery recovery;
    bool runs;
    bool failed_told;
    struct loop_timer tick;
    struct round dead;  /* segments that nothing is alive in */
    bool is_dear;       /* to give up the last of those took much of what it gave */
    struct round leave; /* one that is emptied */
    struct upkeep upkeep;
    struct indexing indexing;
    struct sealed *sealed; /* in order */
    size_t sealed_count;
    size_t sealed_cap;
    uint64_t sealed_ms; /* the last one came */
    struct idmap bad;   /* segments that hold damage: they stay while anything in them is alive */
    struct put_off put_off[PUT_OFF_MAX];
    unsigned put_off_next;
    struct space space;
    struct work_job look; /* at the disk */
    bool looking;
    bool look_again;
    uint64_t look_ms; /* the next time */
    bool look_ok;
    struct err look_err;
    uint64_t seen_free_bytes; /* out of the job */
    uint64_t seen_total_bytes;
    struct look_wish *wishes; /* who waits for a look that begins after theirs */
    struct look_wish *looking_for;
    struct log_rate complaints;
    /* Any thread. */
    atomic_bool stopping;
    atomic_bool handed_out; /* every queue has what was found of it */
    atomic_bool pressed;
    atomic_bool waits; /* for something to become durable: the manager is to be told */
    atomic_uint alarms;
    atomic_uint_fast64_t large_ids;
    atomic_uint_fast64_t free_bytes;
    atomic_uint_fast64_t total_bytes;
    atomic_uint_fast64_t evacuated_segs;
    atomic_uint_fast64_t evacuated_bytes;
    atomic_uint_fast64_t recycled_segs;
    atomic_uint_fast64_t indexed_segs;
};

void rounds_init(struct store *st);
void rounds_fini(struct store *st);

/* Begin what is due, go on with what waits. */
void rounds_look(struct store *st);

/* Something waits for a moment that nobody calls about. */
bool rounds_wait(const struct store *st);

void upkeep_init(struct store *st);
void upkeep_fini(struct store *st);
void upkeep_look(struct store *st);

/* This one goes now: nothing in it is needed. False: there is no room for more at the moment. */
bool upkeep_recycle(struct store *st, uint32_t seg);

void upkeep_sealed(struct store *st, uint32_t seg);

/* ---- space ---- */

void store_watch_init(struct store *st);
void store_watch_look(struct store *st);
void store_watch_fini(struct store *st);

/* On the pool; false when it is full, or has ended. */
MUST_CHECK bool store_submit(struct store *st, struct work_job *job);

/* Something is waited for now: look soon, whenever the next look would have been. */
void store_wake(struct store *st);

/* Something is broken for good. */
void store_fail(struct store *st, const struct err *err);
void store_judge_alarms(struct store *st);

#endif
