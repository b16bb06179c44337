/*
 * record: the records of the journal, as octets and as structs. No I/O, no state.
 *
 *   segment  header (SEGMENT_HEADER_BYTES), then batches; END or nothing behind the last
 *   batch    a BATCH record, then the records that were written together and synced together
 *   record   head, payload, zeros up to a multiple of PLACE_ALIGN
 *
 *   header   0 u64 SEGMENT_MAGIC   8 u32 STORE_FORMAT   12 u32 octets of this header
 *           16 u32 number         20 u32 octets of the file   24 u64 salt   32 id of the store
 *           48 u64 zero           56 u64 XXH3_64 of what stands before
 *
 *   head     0 u32 length, head and payload, without the zeros behind; never 0
 *            4 u32 check: low half of XXH3_64 over octets 8 .. length, seeded with the segment's
 *              salt and the record's offset: nothing from an earlier life of the file passes
 *            8 u8  type
 *            9 u8  flags
 *           10 u16 count, what of depends on the type
 *
 *   MSG      count targets: u64 qid, u64 qseq [, u64 expires: wall clock ms, with MSG_EXPIRES]
 *            [, u32 returns, with MSG_RETURNS]; then u32 body octets, u32 properties' octets,
 *            u16 names' octets [, u64 pid, u64 seq: who published it, with MSG_PRODUCER]; names,
 *            properties, body. With MSG_LARGE instead of properties and body u64 id of the file in
 *            large/ that has both, see large.h
 *   SETTLE   u64 qid; count ranges: u64 first, u64 last: these positions are done with; u16 number
 *            of marks, each u64 qseq: all of that priority below it were handed out before
 *   RETURNS  u64 qid; count times u64 qseq, u32: how often it was returned (quorum queues)
 *   LARGE    u64 id; count times u64 qid: that file is durable, and these queues may count on it;
 *            with none, all
 *   EPOCH    u64 qid; count ranges: u64 first, u64 last: these positions are cut off; u32 octets of
 *            what follows: the queue's mirror_history (mirror_history_put, all of it)
 *   BATCH    u64 BATCH_MAGIC; u64 LSN: what was on the medium when the batch was written; u64 wall
 *            clock ms
 *   END      nothing follows in this segment; flags: END_CLOSED
 *
 * All integers little-endian. Of two MSG of one position (qseq) of a queue (qid) the later counts:
 * it was moved, or is another message.
 *
 * A position is given once and never again, so the order of MSG and SETTLE means nothing: alive is
 * what has a MSG and no SETTLE. But a queue that is mirrored may get a message at a position that
 * is settled or cut off here: then that is written with MSG_AGAIN, and of what was settled, cut or
 * returned only what stands behind it in the journal counts for it. When it is moved it says how
 * often it was returned.
 *
 * EPOCH says where a mirrored queue's messages come from, and up to which number each producer's
 * are here: those of all MSG before it are in it, those of MSG with MSG_PRODUCER behind it count
 * beside it. What it cuts off is as good as settled, and the next position that is given of that
 * priority may be the first of it. In one record, for neither may be there without the other.
 */
#ifndef WARREN_RECORD_H
#define WARREN_RECORD_H

#include "base/attr.h"
#include "base/slice.h"
#include "store/place.h"

#include <stddef.h>

#define RECORD_HEAD_BYTES    12u
#define SEGMENT_HEADER_BYTES 64u
#define SEGMENT_MAGIC        UINT64_C(0x4745534e45525257) /* "WRRENSEG" */
#define STORE_FORMAT         2u                           /* is written */
#define STORE_FORMAT_LEAST   1u /* is read: what was written before queues were mirrored */
#define BATCH_MAGIC          UINT64_C(0x31484354414257ab)

enum record_type {
    RECORD_MSG = 1,
    RECORD_SETTLE,
    RECORD_RETURNS,
    RECORD_LARGE,
    RECORD_BATCH,
    RECORD_END,
    RECORD_EPOCH,
};

enum msg_flags {
    MSG_TRANSIENT = 1, /* here only because memory was short: gone after a restart */
    MSG_MOVED = 2,     /* stood in an older segment */
    MSG_EXPIRES = 4,
    MSG_RETURNS = 8,
    MSG_LARGE = 16,
    MSG_PRODUCER = 32,
    /* One of the positions at least had been settled or cut off. For others it means nothing, since
     * nothing that was settled of those stands before it. */
    MSG_AGAIN = 64,
};

enum settle_flags {
    /* The marks run ahead of what was really handed out. They count when the journal was not closed
     * in order: rather flagged without need than handed out twice without a flag. */
    SETTLE_AHEAD = 1,
};

enum end_flags {
    END_CLOSED = 1, /* the journal was closed in order: nothing is missing behind it */
};

/* What is inline at most: names, properties and body together. More goes to a file of its own. */
#define MSG_INLINE_MAX  ((size_t)64 * 1024)
#define MSG_TARGETS_MAX 1024u /* of one record; more take more records */

struct msg_target {
    uint64_t qid;
    uint64_t qseq;
    uint64_t expires_ms; /* wall clock; 0: never */
    uint32_t returns;
};

struct msg_producer {
    uint64_t pid;
    uint64_t seq;
};

struct settle_range {
    uint64_t first;
    uint64_t last; /* included */
};

#define RECORD_BATCH_BYTES 36u
#define RECORD_END_BYTES   12u

/* So that a record fits any segment; a queue with more takes more records. */
#define SETTLE_RANGES_MAX 4096u
#define RETURNS_MAX       4096u
#define EPOCH_CUTS_MAX    256u /* one of each priority */
/* The octets of a mirror_history at most: 16 epochs, and three tables of all producers. */
#define EPOCH_HISTORY_MAX ((size_t)928 * 1024)

struct batch_record {
    uint64_t durable_lsn;
    uint64_t wall_ms;
};

struct segment_header {
    uint32_t seg;
    uint32_t bytes; /* of the whole file */
    uint64_t salt;  /* random, new each time the file is used */
    uint8_t store_id[16];
};

/* ---- writing: heads for journal_append, which fills in the check --------------------------------
 */

/* A MSG with `count` targets: the head and all that stands before the names, into `out`; the
 * names, properties and body follow in that order as they are, or with MSG_LARGE the names and
 * the id (record_put_large_id). Returns the octets written to `out`. */
size_t record_put_msg(uint8_t *out, unsigned flags, const struct msg_target *targets,
                      unsigned count, size_t names_bytes, size_t props_bytes, size_t body_bytes);
#define RECORD_MSG_ROOM(count) (RECORD_HEAD_BYTES + (size_t)(count)*28 + 34)

/* The same with MSG_PRODUCER, which need not be among the flags; NULL: without it. */
size_t record_put_msg_of(uint8_t *out, unsigned flags, const struct msg_producer *producer,
                         const struct msg_target *targets, unsigned count, size_t names_bytes,
                         size_t props_bytes, size_t body_bytes);

/* Whole records. */
size_t record_put_settle(uint8_t *out, unsigned flags, uint64_t qid,
                         const struct settle_range *ranges, unsigned count, const uint64_t *marks,
                         unsigned mark_count);
#define RECORD_SETTLE_ROOM(count, marks)                                                           \
    (RECORD_HEAD_BYTES + 10 + (size_t)(count)*16 + (size_t)(marks)*8)
struct msg_return {
    uint64_t qseq;
    uint32_t returns;
};
size_t record_put_returns(uint8_t *out, uint64_t qid, const struct msg_return *items,
                          unsigned count);
#define RECORD_RETURNS_ROOM(count) (RECORD_HEAD_BYTES + 8 + (size_t)(count)*12)
/* An EPOCH: all that stands before the octets of the history, which follow as they are. */
size_t record_put_epoch(uint8_t *out, uint64_t qid, const struct settle_range *cuts, unsigned count,
                        size_t history_bytes);
#define RECORD_EPOCH_ROOM(count) (RECORD_HEAD_BYTES + 12 + (size_t)(count)*16)
void record_put_large_id(uint8_t out[8], uint64_t id);
size_t record_put_large(uint8_t *out, uint64_t id, const uint64_t *qids, unsigned count);
#define RECORD_LARGE_ROOM(count) (RECORD_HEAD_BYTES + 8 + (size_t)(count)*8)
size_t record_put_batch(uint8_t out[RECORD_BATCH_BYTES], const struct batch_record *b);
size_t record_put_end(uint8_t out[RECORD_END_BYTES], unsigned flags);

/* ---- reading ------------------------------------------------------------------------------------
 */

/* A record that was cut off: everything is borrowed from the input. */
struct record {
    enum record_type type;
    unsigned flags;
    unsigned count;
    struct place place;
    uint32_t length; /* without the zeros behind it */
    struct slice payload;
};

enum record_cut {
    RECORD_CUT_OK,
    RECORD_CUT_NONE, /* zeros, or the segment is at its end: no record was written here */
    RECORD_CUT_BAD,  /* octets that are no record of this segment */
};

/* The record at `offset` of a segment whose octets are `whole`. Verifies the check. */
MUST_CHECK enum record_cut record_cut(struct slice whole, const struct segment_header *h,
                                      uint32_t offset, struct record *out);

/* The same when not the whole segment is at hand: `bytes` begin where the record does. */
MUST_CHECK enum record_cut record_cut_one(struct slice bytes, const struct segment_header *h,
                                          uint32_t offset, struct record *out);

struct msg_record {
    unsigned flags;
    unsigned target_count; /* read them with msg_record_target */
    struct slice targets;
    struct slice names;
    struct slice props;  /* empty with MSG_LARGE */
    struct slice body;   /* the same */
    uint64_t large_id;   /* with MSG_LARGE */
    uint64_t body_bytes; /* also with MSG_LARGE */
    uint32_t props_bytes;
    struct msg_producer producer; /* with MSG_PRODUCER */
};

/* False: malformed, though the check was right. */
MUST_CHECK bool record_read_msg(const struct record *r, struct msg_record *out);
struct msg_target msg_record_target(const struct msg_record *m, unsigned index);

struct settle_record {
    unsigned flags;
    uint64_t qid;
    unsigned range_count;
    unsigned mark_count;
    struct slice ranges;
    struct slice marks;
};
MUST_CHECK bool record_read_settle(const struct record *r, struct settle_record *out);
struct settle_range settle_record_range(const struct settle_record *s, unsigned index);
uint64_t settle_record_mark(const struct settle_record *s, unsigned index);

MUST_CHECK bool record_read_returns(const struct record *r, uint64_t *qid, struct slice *items);
struct msg_return returns_item(struct slice items, unsigned index);

struct epoch_record {
    uint64_t qid;
    unsigned cut_count;
    struct slice cuts;
    struct slice history;
};
MUST_CHECK bool record_read_epoch(const struct record *r, struct epoch_record *out);
struct settle_range epoch_record_cut(const struct epoch_record *e, unsigned index);

MUST_CHECK bool record_read_batch(const struct record *r, struct batch_record *out);
MUST_CHECK bool record_read_large(const struct record *r, uint64_t *id, struct slice *qids);
uint64_t large_record_qid(struct slice qids, unsigned index);

/* The header of a segment, SEGMENT_HEADER_BYTES. False: not one of ours, or damaged. */
void segment_header_put(uint8_t *out, const struct segment_header *h);
MUST_CHECK bool segment_header_read(struct slice bytes, struct segment_header *out);

/* Of the record at `bytes`, written by one of the above: its length. */
uint32_t record_length(const uint8_t *bytes);
enum record_type record_type(const uint8_t *bytes);

/* For the journal's thread: the check of the record at this offset, written into its head. */
void record_seal(uint8_t *record, uint32_t offset, uint64_t salt);

static inline uint32_t record_padded(size_t length)
{
    return (uint32_t)((length + PLACE_ALIGN - 1) & ~(size_t)(PLACE_ALIGN - 1));
}

#endif
