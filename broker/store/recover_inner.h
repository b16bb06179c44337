/*
 * recover_inner: what the parts of recovery share.
 *
 *   recover_read    each segment, or its index file, on its own
 *   recover_judge   torn or lost; tails are cut off, index files written
 *   recover_queue   who has what: rows, settled ranges, marks, by queue
 *   recover_history epochs and producers, of those queues that have them
 *   recover_large   messages with files of their own
 *   recover_merge   a queue's rows to runs and entries
 *   recover_damage  what lay in octets that are lost
 */
#ifndef WARREN_RECOVER_INNER_H
#define WARREN_RECOVER_INNER_H

#include "base/idmap.h"
#include "io/lock.h"
#include "store/index_make.h"
#include "store/ranges.h"
#include "store/recover.h"
#include "store/seg_index.h"

/* Positions that become one run, at least: fewer are cheaper as entries. */
#define RECOVER_RUN_LEAST 64u

struct octets {
    uint32_t from;
    uint32_t to;
};

struct found_seg {
    uint32_t seg;
    uint64_t file_bytes;
    struct segment_header header;
    bool has_header;     /* or it was mended */
    bool header_is_hurt; /* in the file */
    bool is_unused;      /* nothing was ever written to it, or nothing that counts */
    bool is_indexed;     /* a good index file is there, in the end */
    bool has_good_index; /* as it was found */
    bool has_bad_index;
    bool is_made; /* `make` holds something */
    struct index_make make;
    struct seg_index *ix;  /* of the file or of what was made; NULL: nothing can be read of it */
    struct seg_index *old; /* look_only: that of the file, beside what was read */
    struct octets *lost;
    size_t lost_count;
    int64_t alive_count;
    int64_t alive_cost;
    bool has_failed;
    struct err err;
};

struct found_row {
    const struct index_row *row;
    struct found_seg *seg;
};

struct found_level {
    uint8_t priority;
    uint32_t cut_seg; /* the last in which something was cut off */
    uint64_t next_new;
    uint64_t settled_end;
    uint64_t exact_mark;
    uint64_t ahead_mark;
};

struct found_queue {
    uint64_t qid;
    bool is_known;
    struct found_row *rows; /* among recovery.rows, by position */
    size_t row_count;
    struct ranges settled;
    struct recovered_history *history; /* may be NULL */
    struct msg_return *returns;        /* by position, each once */
    size_t return_count;
    size_t return_cap;
    struct found_level *levels; /* by priority, in the end */
    size_t level_count;
    uint32_t first_seg;
    uint32_t last_seg;
    uint32_t state_seg;
};

struct found_large {
    uint64_t id;
    struct place place;
    uint64_t qid;
    uint64_t qseq;
    uint64_t bytes;  /* of properties and body */
    uint32_t length; /* of the record */
    uint32_t alive;
    bool is_proven;
};

/* A large message's file is durable, and this queue may count on it. */
struct found_proof {
    uint64_t id;
    uint64_t qid; /* 0: all may */
};

struct recovery {
    const struct recover_setup *setup;
    struct disk *disk;
    struct recovered *out;
    const uint32_t *distrusted; /* segments whose index files are to be made anew */
    size_t distrusted_count;
    uint32_t bad_index;     /* a list of this segment's cannot be read */
    struct found_seg *segs; /* by number */
    size_t seg_count;
    uint64_t durable_lsn;
    uint64_t safe_lsn; /* at most durable_lsn, and known before segments are read */
    struct idmap by_qid;
    struct found_queue **queues; /* those that are known, by qid, in the end */
    size_t queue_count;
    size_t queue_cap;
    struct ranges again; /* of one queue in one segment, while its state is taken */
    struct found_queue *again_of;
    struct found_row *rows;
    size_t row_count;
    struct found_large *larges; /* by place, in the end */
    size_t large_count;
    size_t large_cap;
    struct found_proof *proven; /* by id, then qid, in the end */
    size_t proven_count;
    size_t proven_cap;
    uint64_t all_bytes;
    uint64_t done_bytes;
    struct lock lock; /* of done_bytes, and of telling it */
};

/* Room for one more in an array that grows by doubling. */
#define RECOVER_GROW(array, count, cap)                                                            \
    do {                                                                                           \
        if ((count) == (cap)) {                                                                    \
            (cap) = (cap) != 0 ? 2 * (cap) : 8;                                                    \
            (array) = mem_realloc((array), (cap) * sizeof *(array));                               \
        }                                                                                          \
    } while (0)

bool recover_read(struct recovery *r, struct err *err);
/* Once more, as if nothing stood from `to` on. */
bool recover_read_to(struct recovery *r, struct found_seg *s, uint32_t to, struct err *err);
bool recover_judge(struct recovery *r, struct err *err);
/* Of what `make` holds, with what was lost; opens it. */
bool recover_write_index(struct recovery *r, struct found_seg *s, struct err *err);
bool recover_gather(struct recovery *r, struct err *err);
/* Before the merge: those that are not proven, or have no file, are as good as settled. */
bool recover_larges(struct recovery *r, struct err *err);
bool recover_merge(struct recovery *r, struct err *err);
bool recover_damages(struct recovery *r, struct err *err);
/* After the merge. */
void recover_larges_out(struct recovery *r);

/* EPOCH and PRODUCER. False: they make no sense. */
bool recover_take_history(struct found_queue *q, const struct index_state *item);
void recover_history_free(struct recovered_history **h);

/* The level of a priority; made when there is none. Before the levels are sorted. */
struct found_level *recover_level(struct found_queue *q, uint64_t qseq);
void recover_add_lost(struct found_seg *s, uint32_t from, uint32_t to);
void recover_add_damage(struct recovery *r, const struct recovered_damage *d);
struct found_large *recover_large_at(struct recovery *r, uint64_t qid, uint64_t qseq,
                                     struct place place);

#endif
