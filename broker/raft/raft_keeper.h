/*
 * raft_keeper: raft_disk at work: what blocks is done on threads of its own, and the control thread
 * hears of it.
 *
 * On the loop's thread, all of it; callbacks come from the loop, never out of a call. Writes are
 * gathered while one is on its way, and written together, in order; pieces of a snapshot that
 * others send are taken in between. Snapshots of our own are written, read for others and loaded on
 * other threads meanwhile.
 */
#ifndef WARREN_RAFT_KEEPER_H
#define WARREN_RAFT_KEEPER_H

#include "raft/raft_disk.h"

struct loop;
struct raft_keeper;

struct raft_keeper_setup {
    struct loop *loop;
    struct disk *disk;                    /* borrowed */
    const struct raft_identity *identity; /* for the call */
    enum raft_on_damage on_damage;
    const char *name;     /* the node's, for the log; borrowed */
    uint64_t slow_ms;     /* a write that takes longer is warned of */
    uint64_t least_bytes; /* as in raft_disk_setup: 0 */

    /* All writes up to this one are safe: RAFT_EV_WRITTEN. */
    void (*on_written)(uint64_t number, void *arg);
    /* Nothing can be made safe any more; once. The node is to stop. */
    void (*on_failed)(const struct err *err, void *arg);
    /* RAFT_EV_CHUNK_READ: `chunk->bytes` is NULL when there is none to be had. Borrowed. */
    void (*on_chunk_read)(const struct raft_chunk *chunk, void *arg);
    /* RAFT_EV_CHUNK_TAKEN. */
    void (*on_chunk_taken)(const struct raft_taken *taken, void *arg);
    /* After raft_keeper_stop: the last that was on its way is back, but for what raft_keeper_save
     * and raft_keeper_load tell. The keeper may be freed here. NULL: nobody waits for that. */
    void (*on_settled)(void *arg);
    void *arg;
};

/* Read what is there. Blocks. As raft_disk_open; the seed is its own. */
MUST_CHECK struct raft_keeper *raft_keeper_open(const struct raft_keeper_setup *setup,
                                                struct raft_found *found, struct err *err);

/* Threads end; what was on its way comes back as mail to the loop, without callbacks but those of
 * raft_keeper_save and raft_keeper_load, and on_settled. What was written and not safe yet is
 * dropped, as by a crash: an orderly end waits for on_written first. */
void raft_keeper_stop(struct raft_keeper *k);

/* Stopped, and the loop is settled or raft_keeper_is_settled says so. NULL is allowed. */
void raft_keeper_free(struct raft_keeper **k);
bool raft_keeper_is_settled(const struct raft_keeper *k); /* nothing is on its way */

/* RAFT_DO_WRITE: takes it. */
void raft_keeper_write(struct raft_keeper *k, struct raft_write **w);

/* See raft_disk.h; as of the last write that came back. */
MUST_CHECK bool raft_keeper_has_room(const struct raft_keeper *k, uint64_t bytes, bool takes_away);
bool raft_keeper_is_short(const struct raft_keeper *k);

/* RAFT_DO_NEED_CHUNK and RAFT_DO_TAKE_CHUNK; the message is taken. */
void raft_keeper_need(struct raft_keeper *k, uint16_t node, uint64_t index, uint64_t id,
                      uint64_t offset);
void raft_keeper_take(struct raft_keeper *k, struct raft_msg **m);

/* ---- snapshots ---- */

/* Ask when something was applied. */
bool raft_keeper_wants_snapshot(const struct raft_keeper *k, uint64_t applied);

/* Of index, term, config_index and config as in `is` (raft_config_at). `fill` runs on another
 * thread (raft_image_write); `done`, exactly once, with what is to be given to the core as
 * RAFT_EV_SNAPSHOT, or NULL if it was not written: then it is wanted again later. */
typedef void (*raft_saved_fn)(const struct raft_snapshot *is, void *arg);
void raft_keeper_save(struct raft_keeper *k, const struct raft_snapshot *is,
                      raft_image_fill_fn fill, raft_saved_fn done, void *arg);

/* RAFT_DO_RESTORE: `load` reads the content on another thread (false: err says why), `done` from
 * the loop, exactly once (or on_failed is); ok is false too when the keeper was stopped before. One
 * at a time. */
typedef bool (*raft_load_fn)(struct raft_image_reader *r, void *arg, struct err *err);
typedef void (*raft_loaded_fn)(bool ok, const struct err *err, void *arg);
void raft_keeper_load(struct raft_keeper *k, const struct raft_snapshot *is, raft_load_fn load,
                      raft_loaded_fn done, void *arg);

/* The same at the start, at once. Blocks. */
MUST_CHECK bool raft_keeper_load_now(struct raft_keeper *k, const struct raft_snapshot *is,
                                     raft_load_fn load, void *arg, struct err *err);

struct raft_disk_stats raft_keeper_stats(const struct raft_keeper *k); /* of the last write */

#endif
