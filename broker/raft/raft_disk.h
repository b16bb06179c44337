/*
 * raft_disk: the durable side of Raft (driver's half): term, vote and entries in a log of groups,
 * snapshots beside it, and the verdict on what is found at a start.
 *
 * The control thread hands over what the core wants written (raft_disk_add) and sends it off as one
 * group (raft_disk_begin); raft_disk_commit, on a thread that may block, writes it and syncs it
 * once. One commit is on its way at a time; the next gathers meanwhile. Then raft_disk_done tells
 * what is safe. A write that installs a snapshot takes its own steps, in the order of struct
 * raft_write.
 *
 *   raft/log-GENERATION          see raft_file.h; zeros are written ahead, so that a commit changes
 *                                no size of a file and a full disk is noticed early
 *   raft/snapshot-INDEX-ID       see raft_image.h
 *   raft/identity                see raft_identity.h
 *
 * When the log has outgrown the last snapshot, a new file is begun behind the group, and as soon as
 * the state machine has applied what the older ones hold it is wanted as a snapshot, which is
 * written while commits go on; then older files go. After a crash at any moment of this, what is
 * there makes the same log.
 *
 * The log of a founder begins with the group of itself alone (Raft's bootstrap), in its first file
 * before that has its name: there is no log without it. Until there is one nothing was answered to
 * anybody, and it is begun again; any other node's is empty, and waits for its leader's.
 *
 * Each group says in its head what the hard state was. The end of the last log may be torn: a group
 * that was never wholly safe, and nobody was told of it. A group that is missing before a good one
 * is damage to what was acknowledged: then nothing is shortened by itself. Any failure of a write
 * or a sync is final, but a full disk's where it is noticed ahead.
 */
#ifndef WARREN_RAFT_DISK_H
#define WARREN_RAFT_DISK_H

#include "raft/raft.h"
#include "raft/raft_identity.h"
#include "raft/raft_image.h"

struct raft_disk;

/* What to do about a log that is damaged. */
enum raft_on_damage {
    RAFT_DISK_REFUSES,  /* raft_disk_open fails; nothing is changed on the disk */
    RAFT_DISK_RECOVERS, /* go on with what is good before the damage, as a recovering member: for a
                           member of a cluster whose hard state is known */
};

struct raft_disk_setup {
    struct disk *disk;                    /* borrowed */
    const struct raft_identity *identity; /* for the call. is_ram: nothing is written */
    uint64_t seed;                        /* of salts and ids: random */
    uint64_t least_bytes; /* of a log that is worth a snapshot; 0: RAFT_DISK_LEAST */
    uint64_t fill_bytes;  /* of zeros ahead, at a time; 0: RAFT_DISK_FILL */
    enum raft_on_damage on_damage;
};

#define RAFT_DISK_LEAST ((uint64_t)4 << 20)
#define RAFT_DISK_FILL  ((uint64_t)1 << 20)

enum raft_verdict {
    RAFT_DISK_WHOLE,
    RAFT_DISK_TORN,    /* a group at the end was never finished, nobody was told: fine */
    RAFT_DISK_DAMAGED, /* or shorter than was acknowledged */
};

/* What struct raft_start wants to know, and how it came about. */
struct raft_found {
    enum raft_verdict verdict;
    struct raft_hard hard; /* is_recovering is set, durably, where damage was accepted */
    struct raft_snapshot snapshot;
    uint64_t base; /* the snapshot's index, and its term */
    uint64_t base_term;
    struct raft_entry *entries; /* base + 1 and on; the caller's, see raft_found_fini */
    size_t count;
    uint64_t torn_bytes;
    bool is_new;       /* nothing was ever written here, and there is no snapshot to begin with; of
                          a founder: what its log begins with has just been written */
    bool is_hard_lost; /* damaged, and term and vote with it: the node must join anew, as another */
    struct err damage; /* what is damaged, and the remedy */
};

void raft_found_fini(struct raft_found *f);

/* Read all that is there and go on behind it. NULL: *err says why; when found->verdict is
 * RAFT_DISK_DAMAGED it is that, and the rest of *found, without entries, is what could be read.
 * Blocks. */
MUST_CHECK struct raft_disk *raft_disk_open(const struct raft_disk_setup *setup,
                                            struct raft_found *found, struct err *err);

/* The same for who only looks: nothing is changed. False: it cannot be read; damage is no failure,
 * see found->verdict. */
MUST_CHECK bool raft_disk_look(struct disk *disk, const struct raft_identity *identity,
                               struct raft_found *found, struct err *err);

/* Nothing is on its way. What was gathered and not committed is dropped. */
void raft_disk_free(struct raft_disk **d);

/* ---- the control thread -------------------------------------------------------------------------
 */

/* Takes the write; they come in the order of their numbers. */
void raft_disk_add(struct raft_disk *d, struct raft_write **w);
bool raft_disk_has_gathered(const struct raft_disk *d);

/* Is there room for so many octets of entries more (raft_entry_cost)? While the disk is full only
 * for what takes things away, and in the end not even for that. Ask before a proposal and before an
 * append is handed to the core: what the core wants written must be written. */
MUST_CHECK bool raft_disk_has_room(const struct raft_disk *d, uint64_t bytes, bool takes_away);
bool raft_disk_is_short(const struct raft_disk *d);

/* What was gathered is what the next raft_disk_commit writes. With nothing gathered it only tries
 * to fill ahead what could not be. */
void raft_disk_begin(struct raft_disk *d);

/* A commit has ended well: all writes up to this number are safe (RAFT_EV_WRITTEN). */
uint64_t raft_disk_done(struct raft_disk *d);

/* ---- a thread that may block, once after each raft_disk_begin -----------------------------------
 */

/* After a failure nothing may be committed any more. */
MUST_CHECK bool raft_disk_commit(struct raft_disk *d, struct err *err);

/* The same for a group of nothing, so that it is known for good that all before it were safe: for
 * when nothing has come for a while, and for the end. */
MUST_CHECK bool raft_disk_close_group(struct raft_disk *d, struct err *err);
bool raft_disk_wants_closing(const struct raft_disk *d); /* nothing is on its way */

/* ---- snapshots of our own: the control thread ---------------------------------------------------
 */

/* When a commit has ended, or something was applied: is the state at `applied` to be written? */
bool raft_disk_wants_snapshot(const struct raft_disk *d, uint64_t applied);

/* It is wanted, and nothing is on its way: begin one, of index, term, config_index and config as in
 * `is` (raft_config_at); id is given here.
 * *out is for raft_image_write, on a thread that may block, while commits go on. One at a time. */
void raft_disk_snapshot_begin(struct raft_disk *d, const struct raft_snapshot *is,
                              struct raft_image *out);

/* It was written, or not, which is tried again when the log has grown some more. If it was, tell
 * the core: RAFT_EV_SNAPSHOT of s->is. */
void raft_disk_snapshot_done(struct raft_disk *d, const struct raft_image *s, bool ok);

/* The newest; index 0: there is none. */
const struct raft_snapshot *raft_disk_snapshot(const struct raft_disk *d);

/* For RAFT_DO_NEED_CHUNK, on a thread that may block: up to RAFT_CHUNK_BYTES from `offset` of the
 * snapshot that was the newest on the control thread. NULL and ERR_NOT_FOUND: a newer one has taken
 * its place meanwhile. */
MUST_CHECK struct buf *raft_disk_read_chunk(struct disk *disk, const struct raft_snapshot *is,
                                            uint64_t offset, struct err *err);

/* ---- a snapshot that another node sends ---------------------------------------------------------
 */

/* For RAFT_DO_TAKE_CHUNK, on a thread that may block, one at a time and none beside a commit: keeps
 * it, and fills the answer. What is not the next piece is not kept. When all is there it is checked
 * and synced; the write that installs it comes from the core. False: the disk is full (ERR_LIMIT,
 * try again later) or has failed. */
MUST_CHECK bool raft_disk_take_chunk(struct raft_disk *d, const struct raft_msg_install *m,
                                     struct raft_taken *out, struct err *err);

/* For RAFT_DO_RESTORE and for the start: the content of the newest snapshot, installed or wholly
 * received. Any thread, as raft_image.h. */
MUST_CHECK struct raft_image_reader *
raft_disk_open_snapshot(struct raft_disk *d, const struct raft_snapshot *is, struct err *err);

struct raft_disk_stats {
    uint64_t generation;
    uint64_t groups; /* committed since the start */
    uint64_t entries;
    uint64_t log_bytes; /* since the last snapshot */
    uint64_t snapshot_bytes;
    uint64_t snapshots; /* written since the start */
};
struct raft_disk_stats raft_disk_stats(const struct raft_disk *d); /* nothing is on its way */

#endif
