/*
 * raft_disk_inner: what the files of raft_disk share. Not for others: see raft_disk.h.
 */
#ifndef WARREN_RAFT_DISK_INNER_H
#define WARREN_RAFT_DISK_INNER_H

#include "base/rng.h"
#include "raft/raft_disk.h"

#define RAFT_NEW_LOG  "raft/log.new"
#define RAFT_RECEIVED "raft/received.new"

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

/* Makes what was received the snapshot, under its name. */
MUST_CHECK bool raft_disk_adopt(struct raft_disk *d, const struct raft_snapshot *is,
                                struct err *err);
void raft_incoming_drop(struct raft_disk *d);

#endif
