/*
 * recover: what a journal says of the queues after a start: which messages are alive and where.
 *
 * Segments are read side by side; where one has an index file (seg_index.h) that agrees with it,
 * that is read instead. What comes out needs no message to be read: runs of positions that lie in
 * one segment, and single entries where runs would be short.
 *
 * What was never safe and what was safe and is lost are told apart: each batch says how far
 * everything was durable when it was written. A record that cannot be read at or above the highest
 * of these is a torn tail, which nobody was promised, and is cut off; one below it is lost data,
 * and is reported with its segment and octets and, as far as its neighbours tell, queue and
 * positions. What was safe counts also behind lost data; what was not, up to the first place that
 * cannot be read: records may build on each other. What was read is synced before anything is built
 * on it, and END is written behind it, so that the rest is not taken for lost data the next time.
 * A segment that was made ready and never written becomes a spare (journal.h).
 */
#ifndef WARREN_RECOVER_H
#define WARREN_RECOVER_H

#include "io/disk.h"
#include "mirror/mirror_history.h"
#include "store/record.h"
#include "store/segs.h"

/* Positions first .. last of one queue, all in one segment: every record of that queue there
 * between these two is alive. */
struct qrun {
    uint64_t first;
    uint64_t last; /* included */
    uint64_t body_bytes;
    uint64_t persistent_bytes;
    uint32_t count; /* at most last - first + 1 */
    uint32_t persistent_count;
    uint32_t seg;
    bool redelivered; /* all of them */
    bool has_expiring;
};

struct recovered_entry {
    uint64_t qseq;
    uint64_t body_bytes;
    uint64_t expires_ms; /* wall clock; 0: never */
    struct place place;
    uint32_t returns;
    bool redelivered;
};

struct recovered_level { /* one priority of a queue */
    uint8_t priority;
    /* Above every position that was ever seen, but for those that were cut off and not given since.
     * It is above every mark, too, unless the queue has epochs: a copy is whole up to here. */
    uint64_t next_new;
    /* Above every position that is said to be settled or cut off, or the last that there is; 0:
     * none. A message that comes below it, or below next_new, is to be written with MSG_AGAIN. */
    uint64_t settled_end;
    struct qrun *runs; /* in order, not overlapping each other or an entry */
    size_t run_count;
    struct recovered_entry *entries; /* in order */
    size_t entry_count;
};

/* The last EPOCH of a queue, and what producers' messages stand behind it. */
struct recovered_history {
    uint8_t *bytes; /* of the mirror_history; NULL: there is no EPOCH */
    uint32_t len;
    bool has_epochs;
    struct producers behind;
};

struct recovered_queue {
    uint64_t qid;
    struct recovered_history *history; /* NULL: nothing is known of any */
    struct recovered_level *levels;
    size_t level_count;
    uint32_t first_seg; /* segments between these two may hold messages of it, alive or not */
    uint32_t last_seg;
    uint32_t state_seg; /* the last that has a state of it; 0: none */
};

/* Octets that were safe and cannot be read. One row for each range of positions that is missing
 * because of it, or one alone with qid 0 when that is not known. A position that never had a record
 * (its message went straight to a consumer) may be among them. */
struct recovered_damage {
    uint32_t seg;
    uint32_t from; /* octets of the segment; a large message that has no good file: its record */
    uint32_t to;
    uint64_t qid; /* 0: not known */
    uint64_t first_qseq;
    uint64_t last_qseq;
};

/* A MSG_LARGE record of which something is alive. */
struct recovered_large {
    uint64_t id;
    struct place place;
    const uint64_t *qids; /* whose they are: as many */
    uint32_t alive;       /* positions */
};

/* A segment holds a state of a queue: SETTLE, RETURNS, EPOCH, or MSG_PRODUCER. */
struct recovered_state_ref {
    uint32_t seg;
    uint64_t qid;
};

struct recovered {
    struct recovered_queue *queues; /* by qid */
    size_t queue_count;
    struct recovered_state_ref *state_refs;
    size_t state_ref_count;
    struct recovered_damage *damages;
    size_t damage_count;
    struct recovered_large *larges; /* by id */
    size_t large_count;
    uint64_t *large_qids; /* those of `larges` */
    uint32_t next_seg;    /* the number of the first new segment */
    uint64_t record_count;
    uint64_t message_count; /* alive; one in three queues counts three times */
    uint64_t torn_bytes;    /* at the end, that are no records: cut off, nobody was promised them */
    uint64_t durable_lsn;   /* the highest that was seen */
    size_t segment_count;
    size_t unused_count;    /* made ready and never written, not among those */
    size_t mended_count;    /* headers that were damaged and could be told */
    size_t index_count;     /* index files that were good */
    size_t bad_index_count; /* those that were damaged, or of another life of the segment */
    bool is_clean;          /* the journal was closed in order */
};

struct recover_setup {
    struct disk *disk;
    struct segs *segs;       /* filled: every segment that is there, with what is put and alive */
    const uint8_t *store_id; /* 16 octets that each segment has to have; NULL: all the same */
    unsigned threads;        /* 0: all on the caller's */
    bool look_only; /* for --check-store: change nothing, and read everything, also behind an
                       index file */
    /* How far: octets read of octets altogether; NULL: nobody wants to know. Any thread, one at a
     * time. */
    void (*progress)(uint64_t done_bytes, uint64_t all_bytes, void *arg);
    void *arg;
    /* Of queues that are gone messages are as good as settled; NULL: all are there. */
    bool (*knows_queue)(uint64_t qid, void *arg);
};

/* False: the folder or a file cannot be read at all, or written where that is needed (ERR_LIMIT:
 * no, that only costs an index file), or a segment belongs to another store (ERR_REFUSED); damage
 * is no error. */
MUST_CHECK bool recover_run(const struct recover_setup *setup, struct recovered *out,
                            struct err *err);
void recovered_fini(struct recovered *r);

/* Where the queue's messages come from, as it was when the journal ended; zeros if nothing is
 * known. *out is the caller's. */
void recovered_history_take(const struct recovered_queue *q, struct mirror_history *out);

#endif
