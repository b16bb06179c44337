/*
 * store: what a node keeps on its disk of messages, and who looks after it.
 *
 * It owns the folder (data_dir), the table of segments, the journal, and a manager: a loop of its
 * own with a small pool of threads for what blocks. The manager keeps segments ready, makes index
 * files, takes back segments in which nothing is alive, has those emptied that are mostly dead,
 * reads messages back, writes the files of large ones, and watches the room on the disk.
 *
 * It knows shards only as loops that it asks things of (struct store_ask), and nothing of queues
 * but their numbers. Segments are put to use again only in steps that a crash may cut anywhere:
 * what is alive is written anew, the shards say up to where, that is durable, then the segment
 * goes.
 */
#ifndef WARREN_STORE_H
#define WARREN_STORE_H

#include "io/disk.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "store/journal.h"
#include "store/large_files.h"
#include "store/loader.h"
#include "store/recover.h"
#include "store/segs.h"

struct epoch;
struct round;
struct store;
struct store_ask;

struct store_setup {
    const char *folder;   /* the node's own; made if it is not there */
    const char *node;     /* for log lines */
    struct disk *disk;    /* taken, also on failure; NULL: the machine's, over `folder` */
    uint32_t shard_count; /* of the node */
    struct loop *const *shard_loops;
    struct epoch
        *epoch; /* the manager takes part in it: shard_of may read the metadata; may be NULL */
    enum journal_sync sync;
    uint32_t interval_ms;
    uint32_t segment_bytes;
    uint32_t slow_ms;
    unsigned threads; /* for recovery */

    /* On the journal's thread. */
    void (*on_durable)(void *arg);
    /* On the manager's. It has failed: nothing is confirmed any more, the node is to leave. Once.
     */
    void (*on_failed)(const struct err *err, void *arg);
    /* The alarms are others now, see store_alarms. */
    void (*on_alarm)(void *arg);
    /* On the shard's loop: please do this; it may take turns; answer with store_answer. */
    void (*on_ask)(struct store_ask *ask, void *arg);
    /* On the manager's: the shard of a queue; UINT32_MAX: there is no such queue. */
    uint32_t (*shard_of)(uint64_t qid, void *arg);
    /* On the manager's: free room below which publishers stand still. */
    uint64_t (*disk_limit)(void *arg);
    void *arg;
};

/* ---- start and end, on the control thread -------------------------------------------------------
 */

/* Take the folder: its lock, its format, its number of starts. Everything in `setup` is copied. */
MUST_CHECK struct store *store_open(const struct store_setup *setup, struct err *err);

/* For the other log in the folder (the metadata's), between open and free. */
struct disk *store_disk(struct store *st);
uint32_t store_incarnation(const struct store *st);

/* 16 octets: what is in the folder belongs together. */
const uint8_t *store_id(const struct store *st);

/* Read what is there, then be ready to write. Until store_forget_recovered, store_recovered lends
 * what was found. `knows_queue` as in recover.h. Files of large messages that nobody refers to are
 * removed. */
MUST_CHECK bool store_recover(struct store *st, bool (*knows_queue)(uint64_t qid, void *arg),
                              void *arg, struct err *err);
const struct recovered *store_recovered(const struct store *st);

/* Every queue has what was found of it: from now on shards are asked to give up segments. */
void store_forget_recovered(struct store *st);

/* The threads: journal, manager. */
MUST_CHECK bool store_start(struct store *st, struct err *err);

/* The shards' loops have ended, or append nothing more. What was appended is written and synced,
 * the journal is closed in order; threads end. What was asked for comes back, as mail. */
void store_stop(struct store *st);

/* Any thread: what it asks for need not be done any more, only answered. */
bool store_is_stopping(const struct store *st);

/* For loops that do not run any more: deliver what is under way, see loop_settle. */
bool store_settle(struct store *st);

/* The shards' loops have not been freed yet. NULL is allowed. */
void store_free(struct store **st);

/* ---- any thread, from store_recover on ----------------------------------------------------------
 */

struct journal *store_journal(const struct store *st);
struct segs *store_segs(const struct store *st);

/* Read messages back; see loader.h. The load is the store's until it is mailed back to its loop,
 * which it always is. */
void store_load(struct store *st, struct load *load);

/* A number for the file of a large message, never given before. */
uint64_t store_new_large_id(struct store *st);

/* Have the file written and know when; see large.h. It is the store's until mailed back. */
void store_write_large(struct store *st, struct large_write *w);

/* A queue is done with it, as far as the journal says at `lsn`: one of the targets that
 * store_write_large or recovery counted. The last one takes the file away, once that is durable. */
void store_drop_large(struct store *st, uint64_t id, uint32_t targets, uint64_t lsn);

/* Bodies must leave memory: index files are wanted as soon as segments are sealed. */
void store_set_pressed(struct store *st, bool pressed);

enum store_alarm {
    STORE_DISK_LOW = 1,      /* less room than the limit */
    STORE_JOURNAL_SHORT = 2, /* no room for another segment */
    STORE_FAILED = 4,
    STORE_LARGE_WAITS = 8, /* no room for a large message's file */
};
/* No more is to be taken in. */
#define STORE_NO_ROOM ((unsigned)STORE_DISK_LOW | STORE_JOURNAL_SHORT | STORE_LARGE_WAITS)
unsigned store_alarms(const struct store *st);

/* Look at the disk now: the limit is another one. `done` (may be NULL) goes to `to` afterwards. */
void store_look_at_space(struct store *st, struct loop *to, struct mail *done);

/* What the last start found. */
struct store_recovery {
    uint64_t at_ms; /* wall clock; 0: the folder was new */
    uint64_t took_ms;
    uint64_t read_bytes;
    uint64_t records;
    uint64_t messages; /* alive */
    uint64_t damages;  /* places where something that was safe is lost */
    uint64_t torn_bytes;
    bool is_clean; /* the journal had been closed in order */
};

struct store_stats {
    struct journal_stats journal;
    struct segs_sums segs;
    uint64_t dead_bytes;      /* of the segments' files, as far as shares can tell */
    uint64_t disk_free_bytes; /* as of the last look */
    uint64_t disk_total_bytes;
    uint64_t disk_limit_bytes;
    unsigned alarms;
    uint64_t durable_lsn;
    uint64_t backlog_bytes;
    uint64_t evacuated_segs; /* since the start */
    uint64_t evacuated_bytes;
    uint64_t recycled_segs;
    uint64_t indexed_segs;
    uint64_t loads;
    uint64_t loaded_messages;
    uint64_t loaded_bytes;
    uint64_t lost_messages; /* that could not be read back */
    uint64_t large_files;
    uint64_t large_bytes;
    struct store_recovery recovery;
};
void store_stats(struct store *st, struct store_stats *out);

/* ---- what the manager asks of a shard -----------------------------------------------------------
 */

/* One message of one queue in a segment that is to be emptied; alive or not. */
struct store_moving {
    uint64_t qid;
    uint64_t qseq;
    uint64_t body_bytes;
    uint64_t expires_ms; /* wall clock; 0: never */
    uint32_t returns;
    uint32_t offset; /* of the record */
    bool is_persistent;
};

/* All that stands there of one queue. */
struct store_moving_queue {
    uint64_t qid;
    uint32_t first; /* of `items` */
    uint32_t count; /* in order of qseq */
};

/* 1. if `bytes` is set: what is alive of `items` moves to the journal's end (MSG_MOVED), those that
 *    one record names in one record again;
 * 2. the state of each queue that has SETTLE or RETURNS in one of `segs` is carried there;
 * 3. store_answer. Begun in a later turn than that in which it came: what the shard appended before
 *    is counted by then. */
#define STORE_ASK_SEGS 16u
struct store_ask {
    struct mail mail;
    uint32_t shard;
    uint32_t segs[STORE_ASK_SEGS];
    uint32_t seg_count;
    struct slice bytes; /* the whole of segs[0]; borrowed until the answer, as is all below */
    const struct segment_header *header;
    const struct store_moving *items;
    const struct store_moving_queue *queues; /* of this shard */
    size_t queue_count;
    const uint32_t *order; /* which of `items` are this shard's, as they stand in the segment */
    size_t order_count;
    uint64_t carried_bytes; /* answered: of records that 2. took */
    struct round *round;    /* the manager's */
};

/* On the shard's loop, once for each ask. */
void store_answer(struct store *st, struct store_ask *ask);

#endif
