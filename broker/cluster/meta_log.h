/*
 * meta_log: the commands that made the metadata, on disk: a log of groups, and snapshots.
 *
 * The control thread gathers commands that it has applied (meta_log_add) and sends them off as one
 * group; meta_log_commit, on a thread that may block, writes it and syncs it. One group is on its
 * way at a time; the next gathers meanwhile. When the log has outgrown the last snapshot a new log
 * is begun behind the group, and the version that is published when that group is safe is written
 * as the new snapshot (meta_snapshot.h) while commits go on; then older files go. After a crash at
 * any moment of this the snapshot and the logs that are there make the same metadata.
 *
 * A log is filled with zeros ahead, so that a commit changes no size of a file, and so that a full
 * disk is noticed while there is room left for commands that take things away. Any other failure of
 * a write or a sync is final.
 */
#ifndef WARREN_META_LOG_H
#define WARREN_META_LOG_H

#include "cluster/meta_restore.h"
#include "cluster/meta_snapshot.h"

struct meta_log;

struct meta_log_setup {
    struct disk *disk;
    uint8_t store_id[16];
    uint32_t starts;      /* of the store, this one included; 0: not known */
    uint64_t seed;        /* of salts: random */
    uint64_t least_bytes; /* of a log that is worth a new snapshot; 0: META_LOG_LEAST */
    uint64_t fill_bytes;  /* of zeros ahead, at a time; 0: META_LOG_FILL */
};

#define META_LOG_LEAST ((uint64_t)1 << 20)
#define META_LOG_FILL  ((uint64_t)1 << 20)

/* Read what is there into a fresh meta, and go on where it ends; what is torn at the end is cut
 * off. Ids are given from then on that no earlier start has given, durable or not. Blocks. */
MUST_CHECK struct meta_log *meta_log_open(const struct meta_log_setup *setup, struct meta *meta,
                                          struct meta_restored *restored, struct err *err);

/* No group is on its way. What was gathered and not committed is dropped. */
void meta_log_free(struct meta_log **log);

/* ---- the control thread -------------------------------------------------------------------------
 */

/* What meta_apply made of a command, if it lasts or left orphans. */
void meta_log_add(struct meta_log *log, const struct meta_cmd *cmd, const struct meta_result *r);
bool meta_log_has_gathered(const struct meta_log *log);

/* A longer one is not to be applied: it could not be read back. (It may become somewhat longer in a
 * snapshot.) */
#define META_LOG_CMD_MAX (META_WIRE_MAX / 2)
MUST_CHECK bool meta_log_takes(const struct meta_cmd *cmd);

/* Enough for one group: what is filled ahead has room for so much and a usual command, so that a
 * disk that becomes full meanwhile does no harm. */
bool meta_log_has_enough(const struct meta_log *log);

/* Is there room for one more? While the disk is full only for what takes things away, and in the
 * end not even for that. */
MUST_CHECK bool meta_log_has_room(const struct meta_log *log, const struct meta_cmd *cmd);
bool meta_log_is_short(const struct meta_log *log);

/* What was gathered, if anything, is the group that meta_log_commit writes. */
void meta_log_begin(struct meta_log *log);

/* ---- a thread that may block, once after each meta_log_begin ------------------------------------
 */

/* With nothing gathered it only tries to fill ahead what could not be. After a failure nothing may
 * be committed any more. */
MUST_CHECK bool meta_log_commit(struct meta_log *log, struct err *err);

/* The same for a group of nothing, so that it is known for good that all before it were safe: for
 * when nothing has come for a while, and for the end. */
MUST_CHECK bool meta_log_close_group(struct meta_log *log, struct err *err);
bool meta_log_wants_closing(const struct meta_log *log); /* nothing is on its way */

/* ---- snapshots ----------------------------------------------------------------------------------
 */

/* The control thread, when a commit has ended and what it held is published, before the next one
 * begins: is the published version to be written as a snapshot? *s then lacks the version alone. */
MUST_CHECK bool meta_log_take_snapshot(struct meta_log *log, struct meta_snapshot *s);

/* It was written, or not, which is tried again when the log has grown some more. */
void meta_log_snapshot_done(struct meta_log *log, const struct meta_snapshot *s, bool ok);

struct meta_log_stats {
    uint64_t generation;
    uint64_t groups; /* committed since the start */
    uint64_t commands;
    uint64_t log_bytes; /* since the last snapshot */
    uint64_t snapshot_bytes;
    uint64_t snapshots; /* written since the start */
};
struct meta_log_stats meta_log_stats(const struct meta_log *log); /* nothing is on its way */

#endif
