/*
 * index_file: the octets of an index file (seg_index.h). No I/O.
 *
 *   file     header, lists, state, directory
 *   header   (INDEX_HEADER_BYTES) magic, version, what segment it is of, sums, octets of each part,
 *            checks of state and directory, check of the header
 *   list     the entries of a row, in order of qseq, in blocks of INDEX_BLOCK_ENTRIES; more than
 * one block: before them a table: u32 check, for each block u64 first qseq, u32 octets block    u32
 * check, entries entry    u8 which of its numbers are not what the one before lets expect; those;
 * then with MSG_EXPIRES the time less that of the one before, with MSG_RETURNS the returns; then,
 *            with ENTRY_REPEATS, how many more are wholly as expected
 *   state    u8 kind, varint qid, varint count, so many items; see index_state.c
 *   row      (of the directory, by qid and first qseq) one queue and priority: varint qid less that
 *            of the row before, first qseq, last less first, count, body octets, octets of the
 * list; u8 flags
 *
 * Fixed numbers are little-endian, others varints of seven bits an octet, low ones first. Each
 * check is the low half of an XXH3_64 seeded with the segment's salt. One message of a queue takes
 * one or two octets when it is as long as its neighbour and stands beside it, and about six else.
 */
#ifndef WARREN_INDEX_FILE_H
#define WARREN_INDEX_FILE_H

#include "base/attr.h"
#include "base/wire.h"
#include "store/record.h"

#define INDEX_HEADER_BYTES  128u
#define INDEX_VERSION       2u /* is written; 1, which is read, had fewer kinds of state */
#define INDEX_VERSION_LEAST 1u
#define INDEX_BLOCK_ENTRIES 1024u
#define INDEX_ENTRY_MAX     48u /* octets */
#define INDEX_ROW_MAX       64u
#define INDEX_CHECK_BYTES   4u
#define INDEX_TABLE_ROW     12u

struct index_header {
    struct segment_header segment;
    uint64_t durable_lsn; /* the highest that is told: by a batch of it, or by END_CLOSED */
    uint64_t record_count;
    uint64_t put_count; /* targets of all its messages */
    uint64_t put_cost;  /* of segs_cost */
    uint32_t end;       /* behind its last record */
    uint64_t list_bytes;
    uint64_t state_bytes;
    uint64_t dir_bytes;
    uint32_t state_check;
    uint32_t dir_check;
    uint32_t row_count;
    bool is_closed; /* END_CLOSED */
};

enum index_row_flags {
    INDEX_HAS_EXPIRING = 1,
    INDEX_HAS_RETURNS = 2,
    INDEX_HAS_TRANSIENT = 4,
    INDEX_HAS_LARGE = 8,  /* MSG_LARGE, or a body that is as large */
    INDEX_HAS_STRAY = 16, /* moved, or there again: not in the order in which positions are given */
};

/* The messages of one queue and one priority. */
struct index_row {
    uint64_t qid;
    uint64_t first;
    uint64_t last;
    uint64_t body_bytes;
    uint64_t list_offset; /* in the file */
    uint32_t list_bytes;
    uint32_t count; /* of positions: of two records of one the later is listed */
    uint8_t flags;
};

struct index_item {
    uint64_t qseq;
    uint64_t expires_ms; /* wall clock; 0: never */
    uint32_t offset;
    uint32_t length; /* of the record */
    uint32_t body_bytes;
    uint32_t returns;
    uint8_t flags; /* of the MSG */
};

uint32_t index_check(struct slice bytes, uint64_t salt);
/* That of these octets is the one that was found. */
bool index_check_is(struct slice bytes, uint64_t salt, uint32_t found);

void index_header_put(uint8_t out[INDEX_HEADER_BYTES], const struct index_header *h);
MUST_CHECK bool index_header_read(struct slice bytes, struct index_header *out);

/* `last_qid` is that of the row before, 0 at first. list_offset is the reader's sum. */
void index_row_put(struct wire_out *w, const struct index_row *row, uint64_t *last_qid);
MUST_CHECK bool index_row_read(struct wire *w, struct index_row *out, uint64_t *last_qid);

static inline uint32_t index_blocks(uint32_t count)
{
    return (count + INDEX_BLOCK_ENTRIES - 1) / INDEX_BLOCK_ENTRIES;
}

static inline uint32_t index_table_bytes(uint32_t count)
{
    uint32_t blocks = index_blocks(count);
    return blocks > 1 ? INDEX_CHECK_BYTES + blocks * INDEX_TABLE_ROW : 0;
}

/* A block's entries, check included. `count` is at most INDEX_BLOCK_ENTRIES. */
void index_block_put(struct wire_out *w, const struct index_item *items, uint32_t count,
                     uint64_t salt);

/* All of them into `out`, in order of qseq, within first .. last of the row and within the segment.
 * False: damaged. */
MUST_CHECK bool index_block_read(struct slice block, const struct index_header *h,
                                 const struct index_row *row, uint32_t count,
                                 struct index_item *out);

/* ---- varints ----------------------------------------------------------------------------------
 */

static inline void index_put_varint(struct wire_out *w, uint64_t v)
{
    while (v >= 0x80) {
        wire_put_u8(w, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    wire_put_u8(w, (uint8_t)v);
}

static inline uint64_t index_varint(struct wire *w)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = wire_u8(w);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    w->ran_out = true; /* longer than any that was written */
    return 0;
}

/* Small numbers of both signs as small ones. */
static inline uint64_t index_zigzag(uint64_t difference)
{
    return (difference << 1) ^ (0 - (difference >> 63));
}

static inline uint64_t index_unzigzag(uint64_t v)
{
    return (v >> 1) ^ (0 - (v & 1));
}

#endif
