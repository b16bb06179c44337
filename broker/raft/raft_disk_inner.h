/*
 * raft_disk_inner: what the files of raft_disk share. Not for others: see raft_disk.h.
 */
#ifndef WARREN_RAFT_DISK_INNER_H
#define WARREN_RAFT_DISK_INNER_H

#include "base/rng.h"
#include "raft/raft_disk.h"

#define RAFT_NEW_LOG  "raft/log.new"
#define RAFT_RECEIVED "raft/received.new"

/* ---- a log's file, through a window ---- */

struct raft_window {
    struct disk *disk;
    struct disk_file *file;
    char name[RAFT_FILE_NAME_ROOM];
    uint64_t size;
    uint8_t *bytes; /* of the window */
    size_t cap;
    size_t len;
    uint64_t at; /* where in the file the window begins */
};

MUST_CHECK bool raft_window_open(struct raft_window *r, struct disk *disk, uint64_t generation,
                                 struct err *err);
void raft_window_close(struct raft_window *r);

/* The octets from `offset` on, `least` of them or what is left of the file; borrowed until the next
 * call. */
MUST_CHECK bool raft_window_at(struct raft_window *r, uint64_t offset, size_t least,
                               struct slice *out, struct err *err);

/* The group at `offset`; never RAFT_CUT_MORE. */
MUST_CHECK bool raft_window_cut(struct raft_window *r, uint64_t salt, uint64_t offset,
                                struct raft_group *g, enum raft_cut *cut, struct err *err);

/* ---- reading ---- */

/* What raft_disk_open goes on from, beside what is found. */
struct raft_read {
    uint64_t first;      /* generation of the first log that counts */
    uint64_t generation; /* of the last one that is there; 0: there is none */
    struct raft_log_head head;
    uint64_t last; /* where its last group begins */
    uint64_t end;  /* of what is good in it */
    uint64_t next_number;
    uint64_t log_bytes;
    uint64_t snapshot_bytes;
    bool is_dropped; /* the log does not agree with the snapshot: a fresh one is to be begun */
};

/* Changes nothing on the disk. False: it cannot be read; damage is no failure, see found->verdict.
 */
MUST_CHECK bool raft_disk_read(const struct raft_disk_setup *setup, struct raft_found *found,
                               struct raft_read *read, struct err *err);

/* ---- writing ---- */

struct raft_writes {
    struct raft_write **list;
    size_t count;
    size_t room;
    uint64_t bytes; /* about what they cost in the log */
};

/* A snapshot that comes in pieces. */
struct raft_incoming {
    struct disk_file *file;
    struct raft_snapshot is; /* index 0: nothing is under way */
    uint64_t next;
    bool is_complete;
};

struct raft_disk {
    struct disk *disk;
    struct disk *ram; /* of a RAM node: where `disk` points to */
    struct rng salts;
    uint64_t least_bytes;
    uint64_t fill_bytes;
    uint8_t cluster_id[RAFT_CLUSTER_ID];
    uint16_t node;
    bool is_ram;

    struct raft_writes gather; /* the control thread's */
    struct raft_writes going;  /* the committing thread's, between begin and the end of commit */

    /* The committing thread's while a group is on its way, the control thread's else. */
    struct disk_file *file;
    struct raft_log_head head;
    uint64_t end;         /* where the next group goes */
    uint64_t size;        /* of the file: zeros from `end` on */
    uint64_t next_number; /* of groups */
    uint64_t number;      /* of writes: the last that is safe */
    struct raft_hard hard;
    uint64_t last_index; /* of the log as it is written */
    uint64_t last_term;  /* 0: not known, just after a truncation */
    uint64_t log_bytes;  /* of groups since the last snapshot, or the last try at one */
    uint64_t most_bytes; /* of the log, before a snapshot is wanted: as of the group's beginning */
    bool is_short;       /* could not be filled ahead */
    bool is_closed;      /* the last group says that all before were safe */
    bool has_failed;
    bool has_installed; /* by the commit that has just been made */
    struct raft_snapshot installed;
    uint8_t *group; /* RAFT_GROUP_HEAD octets, then items */
    size_t cap;

    bool wants_snapshot; /* a log was begun for it... */
    uint64_t older_last; /* ... and up to here the older ones go */
    struct raft_incoming incoming;
    struct raft_disk_stats stats;

    /* The control thread's, as of the last commit that it saw the end of. */
    struct {
        bool is_short;
        uint64_t room;          /* between `end` and `size` */
        uint64_t going_bytes;   /* on their way since */
        uint64_t snapshot_from; /* UINT64_MAX: none is wanted */
    } seen;
    bool has_snapshot_on; /* it is being written */
    struct raft_snapshot snapshot;
    uint64_t snapshot_bytes;
};

void raft_writes_clear(struct raft_writes *g);

/* What the committing thread left, for questions while it is at work again. */
void raft_disk_see(struct raft_disk *d);

/* ---- the log's file ---- */

/* Of the group that is made in d->group. */
struct raft_items {
    size_t len;
    uint32_t count;
};

/* Room for so many octets of items, what is there is kept; and back to little. */
void raft_disk_log_make_room(struct raft_disk *d, size_t items);
void raft_disk_log_shrink_room(struct raft_disk *d);

void raft_disk_log_put_truncate(struct raft_disk *d, struct raft_items *it, uint64_t from);
void raft_disk_log_put_entry(struct raft_disk *d, struct raft_items *it,
                             const struct raft_entry *e);
void raft_disk_log_put_entries(struct raft_disk *d, struct raft_items *it,
                               const struct raft_entry *entries, size_t count);

/* From now on; while the file has the name that it was opened by. */
void raft_disk_log_write_through(struct raft_disk *d, struct disk_file *file);

/* The items, as a group that is synced. */
MUST_CHECK bool raft_disk_log_write_group(struct raft_disk *d, size_t items, uint32_t count,
                                          unsigned flags, struct err *err);

MUST_CHECK bool raft_disk_log_write_zeros(struct raft_disk *d, struct disk_file *file,
                                          uint64_t offset, uint64_t len, struct err *err);

/* If there is no room for `len` more. A disk that is full is no failure here. */
MUST_CHECK bool raft_disk_log_fill_ahead(struct raft_disk *d, uint64_t len, struct err *err);

/* Another file, that nothing older belongs to: base, and the items as its first group. */
MUST_CHECK bool raft_disk_log_begin_fresh(struct raft_disk *d, uint64_t index, uint64_t term,
                                          const struct raft_items *it, struct err *err);

/* Another file behind this one, for a snapshot of what is in this. That the disk is too full for it
 * is no failure: the log is good as it is. */
MUST_CHECK bool raft_disk_log_switch(struct raft_disk *d, struct err *err);

/* ---- snapshots ---- */

/* Makes what was received the snapshot, under its name. */
MUST_CHECK bool raft_disk_adopt(struct raft_disk *d, const struct raft_snapshot *is,
                                struct err *err);
void raft_incoming_drop(struct raft_disk *d);

#endif
