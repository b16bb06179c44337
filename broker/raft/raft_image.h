/*
 * raft_image: the file of a snapshot: written, checked, read, and cut into pieces for another node.
 *
 *   raft/snapshot-INDEX-ID   head, then groups (raft_file.h) from RAFT_FILE_START on, numbered from
 *                            0, the last one marked; nothing behind it
 *
 * A snapshot goes to another node as the octets of its file, and is the same file there. What the
 * groups hold is the state machine's own affair. All of it blocks, on whichever thread.
 */
#ifndef WARREN_RAFT_IMAGE_H
#define WARREN_RAFT_IMAGE_H

#include "io/disk.h"
#include "raft/raft_entry.h"
#include "raft/raft_file.h"

/* ---- writing ---- */

struct raft_image_writer;

/* Room for an item of so many octets, which is never cut in two: to be filled before the next call.
 * NULL: it could not be written, the writer knows why. */
MUST_CHECK uint8_t *raft_image_room(struct raft_image_writer *w, size_t bytes);

/* Puts all items, in order, and stops when one cannot be put. */
typedef bool (*raft_image_fill_fn)(struct raft_image_writer *w, void *arg);

struct raft_image {
    struct disk *disk; /* NULL: a RAM node's, that is never written */
    uint8_t cluster_id[16];
    struct raft_snapshot is; /* .bytes is set when it is written */
    uint64_t before;         /* logs of older generations go when it is safe */
    uint64_t items;          /* out */
};

/* Under its name when it is safe; then what it replaces is removed: older snapshots, and older
 * logs. ERR_LIMIT: the disk is full, and nothing of it remains. */
MUST_CHECK bool raft_image_write(struct raft_image *s, raft_image_fill_fn fill, void *arg,
                                 struct err *err);

/* ---- reading ---- */

struct raft_image_reader;

/* By its name in the disk's folder; its head is good. ERR_NOT_FOUND: there is none. */
MUST_CHECK struct raft_image_reader *raft_image_open(struct disk *disk, const char *name,
                                                     struct err *err);
void raft_image_close(struct raft_image_reader **r);
const struct raft_snapshot *raft_image_is(const struct raft_image_reader *r);
const uint8_t *raft_image_cluster(const struct raft_image_reader *r); /* 16 octets */

enum raft_image_verdict {
    RAFT_IMAGE_GROUP, /* *items and *count are set, borrowed until the next call */
    RAFT_IMAGE_END,   /* it was all there, each octet of it good */
    RAFT_IMAGE_BAD,   /* err says what */
};

MUST_CHECK enum raft_image_verdict raft_image_next(struct raft_image_reader *r, struct slice *items,
                                                   uint32_t *count, struct err *err);

/* Is it wholly there and good? */
MUST_CHECK bool raft_image_check(struct disk *disk, const char *name, struct raft_snapshot *out,
                                 struct err *err);

/* ---- what is not needed any more ---- */

/* Remove snapshots that are older than the one of this index and id (UINT64_MAX: all), logs of
 * older generations than `before`, and snapshots that were never finished. */
MUST_CHECK bool raft_image_clean(struct disk *disk, uint64_t index, uint64_t id, uint64_t before,
                                 struct err *err);

#endif
