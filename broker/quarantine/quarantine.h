/*
 * quarantine: messages that this node took as a master, and that its successor does not have.
 *
 * A master that was cut off from the others may hold messages that nobody else has and that nobody
 * was given a confirm for. When it comes back it is a mirror, and drops what its master does not
 * have; before that these messages are written here. They are no part of any queue: somebody looks
 * at them and has them published again, or dropped. See design.md 2.10.
 *
 *   DATA/NODE/quarantine/QID   a file a queue, QID in 16 hexadecimal digits
 *
 *   head    u64 QUARANTINE_MAGIC   u32 format   u64 qid   u64 number   shortstr vhost
 *           shortstr queue   u64 sum of all before
 *   record  u32 octets of the payload   u8 kind   u64 sum of kind and payload, seeded by qid
 *     KEPT     u64 id   u64 when, ms   u64 epoch   u64 position   u64 pid   u64 seq
 *              u8 persistent   shortstr exchange   shortstr routing key   longstr properties
 *              the body
 *     DROPPED  u64 ids
 *
 * A file whose end is torn is cut there: nobody was told that it is kept. One that is damaged in
 * the middle is put aside as QID.damaged, and what can be read goes on. What is dropped leaves the
 * disk when the rest is written anew, or nothing is left.
 *
 * All of it blocks: on a work pool. Any thread.
 */
#ifndef WARREN_QUARANTINE_H
#define WARREN_QUARANTINE_H

#include "io/disk.h"

#define QUARANTINE_MAGIC  UINT64_C(0x57524e5155415241) /* "WRNQUARA" */
#define QUARANTINE_FORMAT 1u
#define QUARANTINE_FOLDER "quarantine"

/* Octets of all files together, unless told otherwise; beyond it the oldest of a queue go. */
#define QUARANTINE_LIMIT_BYTES ((uint64_t)1 << 30)

struct quarantine;

struct quarantine_message {
    uint64_t id;      /* no other one here has it; the higher the later. By quarantine_add */
    uint64_t when_ms; /* it came here, wall clock */
    uint64_t epoch;   /* of the queue in which it was taken */
    uint64_t position;
    uint64_t pid; /* its producer's; 0: not known */
    uint64_t seq;
    bool persistent;
    struct slice exchange, key, props, body;
};

/* Of a queue, for who lists them. The names are good while `fn` runs. */
struct quarantine_queue {
    uint64_t qid;
    uint64_t number;          /* of its file: random, and no other file ever has it */
    struct slice vhost, name; /* as they were; the queue may be gone */
    uint64_t messages;
    uint64_t bytes;    /* on the disk */
    uint64_t first_ms; /* when the oldest came, and the newest */
    uint64_t last_ms;
};

/* Reads the index of what is there. `disk` is the node's data folder, and outlives this. */
MUST_CHECK struct quarantine *quarantine_open(struct disk *disk, uint64_t limit_bytes,
                                              struct err *err);
void quarantine_free(struct quarantine **q);

/* All of these are safe on the disk when it returns; false: none of them is (or, after an error of
 * the disk, nobody knows), and their queue must keep them. One that is there already, by its epoch
 * and position, is not added again: whoever is cut short begins anew. */
struct quarantine_added {
    uint64_t added;
    uint64_t dropped; /* older ones that had to go */
};
MUST_CHECK bool quarantine_add(struct quarantine *q, uint64_t qid, struct slice vhost,
                               struct slice name, const struct quarantine_message *items,
                               size_t count, struct quarantine_added *out, struct err *err);

typedef void (*quarantine_queue_fn)(const struct quarantine_queue *queue, void *arg);
void quarantine_list(struct quarantine *q, quarantine_queue_fn fn, void *arg);

/* Messages of a queue, eldest first, from that id on, as long as `fn` says true. What it is shown
 * is good while it runs; it must not call this module. False: the disk failed, or what it has is
 * not what was written. */
typedef bool (*quarantine_message_fn)(const struct quarantine_message *m, void *arg);
MUST_CHECK bool quarantine_read(struct quarantine *q, uint64_t qid, uint64_t from_id,
                                quarantine_message_fn fn, void *arg, struct err *err);

/* What there is of a queue, eldest first, without reading it. */
struct quarantine_known {
    uint64_t id;
    uint64_t pid;
    uint64_t seq;
};
typedef void (*quarantine_known_fn)(const struct quarantine_known *m, void *arg);
void quarantine_index(struct quarantine *q, uint64_t qid, quarantine_known_fn fn, void *arg);

/* These go; ids that are not there are no mistake. *count: how many went. */
MUST_CHECK bool quarantine_drop(struct quarantine *q, uint64_t qid, const uint64_t *ids,
                                size_t id_count, uint64_t *count, struct err *err);
/* All of the queue. */
MUST_CHECK bool quarantine_drop_all(struct quarantine *q, uint64_t qid, uint64_t *count,
                                    struct err *err);

#endif
