/*
 * journal: records of the whole node in one order, written in groups and synced in groups.
 *
 * Shards append; a thread of its own takes what was gathered while the last group was on its way to
 * the disk, writes it, syncs it, and says how far everything is durable: no timer, and one sync
 * serves everybody who waits. Segments are made, filled with zeros and named before they are
 * needed, so that the way of a commit meets no allocation and no change of a folder. An error of a
 * write or a sync is final: nothing is durable any more from then on, nothing is tried again, and
 * whoever owns the journal is told.
 *
 * Of the disk it believes two things, as all who write a log do: what was synced stays, and a
 * sector that is written while the power goes holds the old octets or the new ones. Groups follow
 * each other without a gap, so that the end of one and the beginning of the next may share a
 * sector.
 *
 * The parts without threads (append, pump, prepare) are what the simulator calls.
 */
#ifndef WARREN_JOURNAL_H
#define WARREN_JOURNAL_H

#include "io/disk.h"
#include "store/record.h"
#include "store/segs.h"

enum journal_sync {
    JOURNAL_SYNC_ALWAYS,   /* confirmed: on the medium */
    JOURNAL_SYNC_INTERVAL, /* confirmed: with the system; on the medium within interval_ms */
    JOURNAL_SYNC_NONE,     /* confirmed: with the system, which writes it when it likes */
};

struct journal;

struct journal_setup {
    struct disk *disk;
    struct segs *segs;
    uint32_t segment_bytes; /* of new segments; a multiple of 4096 */
    uint32_t first_seg;     /* the number of the first new one */
    /* So many segments at most are kept ready, beside `reserve` for settlements; new files are made
     * when fewer than half of them are left. */
    uint32_t spare;
    uint32_t reserve;
    enum journal_sync sync;
    uint32_t interval_ms;
    uint32_t slow_ms;     /* a sync that takes longer is warned of */
    uint8_t store_id[16]; /* of the headers */
    /* The simulator's; NULL: the machine's clock and chance. */
    uint64_t (*wall_ms)(void *arg);
    uint64_t (*random)(void *arg);
    /* On the journal's thread (or in journal_pump): more is durable; a segment was sealed; it has
     * failed, `err` says why. */
    void (*on_durable)(void *arg);
    void (*on_sealed)(uint32_t seg, void *arg);
    void (*on_failed)(const struct err *err, void *arg);
    void *arg;
};

/* Makes the first segment; the others are left to journal_prepare. Spares that an earlier life of
 * the store left are taken over. */
MUST_CHECK struct journal *journal_new(const struct journal_setup *setup, struct err *err);

/* Its thread; without it journal_pump does the work. */
MUST_CHECK bool journal_start(struct journal *j, struct err *err);

/* Writes and syncs what was appended, ends the thread; the open segment is closed with END. What is
 * appended afterwards goes nowhere. */
void journal_stop(struct journal *j);
/* Stopped, or never started. NULL is allowed. */
void journal_free(struct journal **j);

/* ---- any thread ---------------------------------------------------------------------------------
 */

enum journal_need {
    JOURNAL_LAZY, /* nobody waits for it: written soon, synced with what others wait for, or after a
                     while */
    JOURNAL_SOON, /* somebody waits */
};

/* One record, in parts that are copied; the first holds at least its head. Returns its place; *lsn
 * (may be NULL) is what journal_durable must have reached for it to be safe. After a failure the
 * record goes nowhere: its place is none and *lsn UINT64_MAX, which is never reached. It is no
 * longer than journal_record_max. */
struct place journal_append(struct journal *j, const struct slice *parts, size_t count,
                            enum journal_need need, uint64_t *lsn);

/* The longest record that fits into a segment. */
size_t journal_record_max(const struct journal *j);

/* Wake the thread if it sleeps and there is something for it: at the end of a turn in which
 * something was appended. */
void journal_kick(struct journal *j);

/* Somebody waits for what was appended so far, with whatever need that was. To be kicked. */
void journal_want(struct journal *j);

/* Everything that ends at or below this is as safe as `sync` says. */
uint64_t journal_durable(const struct journal *j);

/* Everything that ends at or below this is on the medium, whatever `sync` says. */
uint64_t journal_synced(const struct journal *j);

/* Above every record that was appended so far. */
uint64_t journal_end(struct journal *j);

/* Have everything appended so far synced soon, also where `sync` would not. Then journal_synced has
 * moved and on_durable is called. */
void journal_want_sync(struct journal *j);

/* Octets appended and not yet written. */
#define JOURNAL_BACKLOG_MAX ((uint64_t)32 << 20)
uint64_t journal_backlog(const struct journal *j);

/* Publishers are to be held: more than JOURNAL_BACKLOG_MAX, or two segments, are not yet written,
 * or, on a disk that is full, more than there is room for without the reserve. There is something
 * to be written then, so that on_durable is called when it may be over. */
bool journal_is_behind(const struct journal *j);

/* Spare segments cannot be made (the disk is full): only settlements and what drains may go on.
 * When the reserve is used up the journal's thread waits for room. */
bool journal_is_short(const struct journal *j);
bool journal_has_failed(const struct journal *j);

/* How long the disk takes of late, in ms: the longest of what is under way, a write (or the wait
 * for room for it) or a sync; and, where confirms wait for syncs, of those that ended within
 * JOURNAL_LATE_MS the one that took least: one alone that takes long says nothing. */
#define JOURNAL_LATE_MS 3000u
uint64_t journal_strain_ms(struct journal *j);

/* ---- the store's threads ------------------------------------------------------------------------
 */

/* Make spare segments until there are enough. Blocks; on a pool. False with ERR_LIMIT when the disk
 * is full, which is to be tried again later; other errors are final. */
MUST_CHECK bool journal_prepare(struct journal *j, struct err *err);
bool journal_wants_prepare(const struct journal *j);

/* Nothing in this sealed segment is needed any more, and what was moved out of it is synced: it
 * becomes a spare, or goes when there are enough. When this returns true it is gone durably. False
 * with ERR_LIMIT: nothing has happened, to be tried again; other errors are final. Blocks; on a
 * pool. */
MUST_CHECK bool journal_recycle(struct journal *j, uint32_t seg, struct err *err);

/* ---- without a thread ---------------------------------------------------------------------------
 */

/* Write and sync one group. False when there was nothing to do. */
bool journal_pump(struct journal *j, uint64_t now_ms);

/* Bucket i counts the syncs that took up to 16 << i us (and more than the one before); the last
 * one all that took longer. */
#define JOURNAL_LATENCY_BUCKETS 24u
struct journal_stats {
    uint64_t records;
    uint64_t bytes; /* of records */
    uint64_t batches;
    uint64_t syncs;
    uint64_t slow_syncs;
    uint64_t sync_us_sum;
    uint64_t sync_us_max;
    uint64_t sync_us[JOURNAL_LATENCY_BUCKETS];
    uint32_t open_seg;
    uint32_t spares; /* that are ready */
    uint64_t waits;  /* times a group had to wait for a segment to be made */
};
void journal_stats(struct journal *j, struct journal_stats *out); /* any thread */

/* "journal/0000001a.seg" and "journal/0000001a.idx". A segment that is none any more, or not yet,
 * is "journal/spare-0000001a", after a number it had or will have. */
#define JOURNAL_FOLDER   "journal"
#define JOURNAL_NAME_MAX 40u
void journal_seg_name(uint32_t seg, char name[JOURNAL_NAME_MAX]);
void journal_idx_name(uint32_t seg, char name[JOURNAL_NAME_MAX]);
void journal_spare_name(uint32_t seg, char name[JOURNAL_NAME_MAX]);

#endif
