/*
 * journal_inner: what the parts of the journal know of each other.
 *
 *     append  ->  gathering group  ->  the thread (or pump): seal, write, sync  ->  durable
 *                 chunks of memory                 |
 *                                     ready segments, made by journal_prepare
 *
 * Two locks: `lock` for the gathering group, the list of ready segments and the figures, held for
 * as long as a copy takes; `making` for those who make, take back and rename files, held while the
 * disk works. Who holds `making` may take `lock`, not the other way round.
 */
#ifndef WARREN_JOURNAL_INNER_H
#define WARREN_JOURNAL_INNER_H

#include "base/log.h"
#include "io/lock.h"
#include "store/journal.h"

#include <sys/queue.h>

#define END_ROOM       16u /* the padded lengths of these records */
#define BATCH_ROOM     40u
#define CHUNK_BYTES    ((uint32_t)256 * 1024)
#define IDLE_MAX       32u /* chunks that are kept for the next groups */
#define LAZY_WRITE_US  UINT64_C(2000)
#define LAZY_SYNC_MS   100u
#define SLOW_WINDOW_MS 10000u
#define SYNCS_KEPT     16u /* how long they took, for journal_strain_ms */
#define ROOM_RETRY_US  UINT64_C(200000)
#define UNSYNCED_MAX   ((uint64_t)4 << 20) /* so that no sync takes long */

_Static_assert(END_ROOM == ((RECORD_END_BYTES + 7) & ~7u), "as record_padded has it");
_Static_assert(BATCH_ROOM == ((RECORD_BATCH_BYTES + 7) & ~7u), "as record_padded has it");

/* Whole records that stand one behind the other in one segment. */
struct chunk {
    struct chunk *next;
    uint32_t seg;
    uint32_t offset; /* of the first, in the segment */
    uint32_t len;
    uint32_t cap;
    uint8_t data[];
};

struct group {
    struct chunk *first;
    struct chunk *last;
    uint64_t bytes;
    bool is_wanted;  /* somebody waits for it */
    bool wants_sync; /* it, and what was written before it, is to be synced in any case */
};

/* A segment's file that may be written, or was. */
struct segment {
    TAILQ_ENTRY(segment) entry;
    struct disk_file *file;
    struct segment_header header;
};

TAILQ_HEAD(segment_list, segment);

/* One that is over. */
struct past_sync {
    uint64_t end_us, took_us;
};

enum nap { /* of the thread: what wakes it */
           NAP_NONE,
           NAP_IDLE, /* whatever is appended */
           NAP_LAZY, /* what somebody waits for */
};

struct journal {
    struct journal_setup setup;

    struct lock lock;
    struct bell bell;
    struct group gathering;
    struct chunk *idle;
    unsigned idle_count;
    struct place next; /* where the next record will stand */
    bool in_batch;     /* the gathering group has a BATCH in that segment */
    bool is_closed;    /* nothing more is taken */
    bool is_stopping;
    bool is_running; /* it has a thread */
    bool has_loop;   /* this runs on it */
    bool waits_for_room;
    enum nap nap;
    struct segment_list ready; /* in order, the numbers behind the last that was taken */
    struct err failure;
    struct journal_stats figures;

    struct past_sync past[SYNCS_KEPT]; /* the latest ones, in any order */
    unsigned past_at;

    atomic_bool has_failed;
    atomic_bool wake; /* the thread naps and there is something for it */
    atomic_uint_least64_t durable_lsn;
    atomic_uint_least64_t synced_lsn;
    atomic_uint_least64_t backlog_bytes;
    atomic_uint ready_count;
    atomic_uint_least64_t writing_us; /* one is under way since then; 0: none */
    atomic_uint_least64_t syncing_us;
    atomic_bool is_full; /* of the disk, when a segment was to be made last */

    struct lock making;
    uint32_t next_made;      /* the number of the next segment to be made */
    uint32_t *stock;         /* the numbers in the names of files that can become segments */
    atomic_uint stock_count; /* read by anybody */
    unsigned stock_room;

    /* What was written and is not synced: under `lock`, since where confirms do not wait for syncs
     * these have a thread of their own. The thread that writes changes `open` and `written_lsn`,
     * and may look at these two without it. */
    struct thread *syncer;
    struct bell sync_bell;
    bool syncer_naps; /* until somebody rings */
    struct segment *open;
    struct segment_list full;   /* written to their end, not yet synced */
    struct segment_list synced; /* the same, and synced: to be sealed by the thread that writes */
    uint64_t written_lsn;
    uint64_t unsynced_bytes;
    uint64_t sync_by_ms; /* what was written is synced then at the latest; 0: all is */
    bool is_dirty;       /* `open` has what is not synced */
    bool must_sync;      /* now, whatever the time */
    bool has_news;       /* more is synced than was told */

    /* The thread's, or the pump's. */
    struct thread *thread;
    struct slice *parts;
    size_t parts_room;
    uint64_t lazy_until_us; /* what nobody waits for is written then; 0: nothing gathered */
    bool told_failure;
    struct log_rate slow_rate;
};

/* ---- journal.c ------------------------------------------------------------------------------ */

/* The first error stays. Wakes the thread, which tells the owner. Any thread. */
void journal_fail(struct journal *j, const struct err *err);

/* Take what was gathered; the next append begins a new group. */
struct group journal_take_group(struct journal *j);
/* Its memory goes back: it is written, and counted as such, or lost. */
void journal_drop_group(struct journal *j, struct group *g, bool is_written);

/* The last records: no more are taken. */
void journal_close_gathering(struct journal *j);

/* ---- journal_segments.c --------------------------------------------------------------------- */

/* Take over what an earlier life left, and make the first segment ready. */
MUST_CHECK bool journal_make_first(struct journal *j, struct err *err);
/* The next segment; made now if none is ready. */
MUST_CHECK struct segment *journal_next_segment(struct journal *j, struct err *err);
void journal_segment_free(struct journal *j, struct segment **s);

/* ---- journal_sync.c ------------------------------------------------------------------------- */

enum journal_due {
    JOURNAL_DUE_NOTHING,
    JOURNAL_DUE_FULL, /* the segments that are full */
    JOURNAL_DUE_ALL,
};

/* The lock is held: what is to be synced now. */
enum journal_due journal_due(const struct journal *j, uint64_t now_ms);
/* On the thread that writes: a group was written (or none, and it is time), and is wanted so. Syncs
 * what is due, or has it synced. */
MUST_CHECK bool journal_settle(struct journal *j, const struct group *g, uint64_t now_ms,
                               struct err *err);
/* Sync all that was written, and tell. */
MUST_CHECK bool journal_sync_all(struct journal *j, struct err *err);
/* Tell the owner what was synced. */
void journal_tell_synced(struct journal *j);
void journal_seal(struct journal *j, struct segment **s);

MUST_CHECK bool journal_start_syncer(struct journal *j, struct err *err);
void journal_end_syncer(struct journal *j);

/* ---- journal_thread.c ----------------------------------------------------------------------- */

/* One group on its way, as far as there is one. False when there was nothing to do. */
bool journal_step(struct journal *j, uint64_t now_ms);

#endif
