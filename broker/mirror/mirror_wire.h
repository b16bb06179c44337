/*
 * mirror_wire: what a master and a mirror say to each other about the queues they share.
 *
 * A frame of the link is a row of records, each an octet that says what it is and then its fields,
 * in the order in which MIRROR_FIELDS and the lists behind it name them. The master has dialled.
 * All integers in network order. No I/O, no state.
 *
 *   master -> mirror                          mirror -> master
 *     HELLO  a session begins                   STATE    ... and this is who answers
 *     JOIN   of a queue, all from here on       OFFER    of a queue, positions that are here
 *     NEED   the next of its offer              REFUSED  nothing more is taken of a queue
 *     DATA   a record of the journal            ACK      received, durable up to here
 *     DONE   of a queue, that was all
 *     LEAVE  of a queue, no more of it
 *     AWAITED  somebody waits for all so far
 *     HANDED of a queue, what is out with whom
 *            stays out: it is the mirror's now
 *
 * Whoever had a queue in an earlier epoch, and is to have it no more, dials its master, too, to
 * know how far what it has is that one's:
 *
 *     PAST   of a queue, what is it there?      PAST_IS  ... this; or REFUSED: ask again
 *
 * DATA carries a record as the journal has it (store/record.h), without length and check: its type,
 * flags and count, then its payload; a message is never MSG_LARGE.
 */
#ifndef WARREN_MIRROR_WIRE_H
#define WARREN_MIRROR_WIRE_H

#include "mirror/mirror_history.h"

#define MIRROR_VERSION 5u

/* X(bit, member, kind). The order is that of the wire. */
#define MIRROR_FIELDS(X)                                                                           \
    X(0x0001, flags, u8)                                                                           \
    X(0x0002, kind, u8)                                                                            \
    X(0x0004, shards, u16)                                                                         \
    X(0x0008, pos, u64)                                                                            \
    X(0x0010, qid, u64)                                                                            \
    X(0x0020, epoch, u64)                                                                          \
    X(0x0040, from, u64)                                                                           \
    X(0x0080, to, u64)

#define MIRROR_HAS_STARTS    0x0100u
#define MIRROR_HAS_HISTORY   0x0200u /* its epochs */
#define MIRROR_HAS_PRODUCERS 0x0400u
#define MIRROR_HAS_RUNS      0x0800u /* u16 before all lists, so many times u64 first, u64 last */
#define MIRROR_HAS_DATA      0x1000u /* u8 type, u8 flags, u16 count, u32 octets, payload */

/* X(NAME, octet, fields). */
#define MIRROR_OPS(X)                                                                              \
    X(HELLO, 1, 0x0002u | 0x0004u) /* kind: MIRROR_VERSION; shards of the node */                  \
    X(JOIN, 2,                                                                                     \
      0x0001u | 0x0008u | 0x0010u | 0x0020u | MIRROR_HAS_STARTS | MIRROR_HAS_HISTORY |             \
          MIRROR_HAS_PRODUCERS)                                                                    \
    X(NEED, 3, 0x0008u | 0x0010u | 0x0040u) /* pos: of the JOIN */                                 \
    X(DATA, 4, 0x0008u | MIRROR_HAS_DATA)                                                          \
    X(DONE, 5, 0x0008u | 0x0010u | MIRROR_HAS_PRODUCERS)                                           \
    X(LEAVE, 6, 0x0008u | 0x0010u)                                                                 \
    X(AWAITED, 7, 0x0001u)                                                                         \
    /* runs: positions that are out; starts, in the last: nothing from there on was handed out */  \
    X(HANDED, 8,                                                                                   \
      0x0001u | 0x0010u | 0x0020u | 0x0040u | 0x0080u | MIRROR_HAS_STARTS | MIRROR_HAS_RUNS)       \
    X(PAST, 9, 0x0010u | 0x0020u)                                                                  \
    X(STATE, 32, 0x0002u | 0x0004u)                                                                \
    X(OFFER, 33, 0x0008u | 0x0010u | 0x0040u | 0x0080u | MIRROR_HAS_RUNS) /* pos: as in NEED */    \
    X(REFUSED, 34, 0x0002u | 0x0010u | 0x0020u)                                                    \
    X(ACK, 35, 0x0040u | 0x0080u) /* from: received, to: durable */                                \
    X(PAST_IS, 36, 0x0010u | 0x0020u | MIRROR_HAS_HISTORY | MIRROR_HAS_PRODUCERS)

enum mirror_op {
#define X(name, octet, fields) MIRROR_##name = (octet),
    MIRROR_OPS(X)
#undef X
};

/* JOIN: */
enum mirror_join_flags {
    MIRROR_DURABLE = 1, /* the queue outlives its nodes */
};

/* HANDED: */
enum mirror_handed_flags {
    MIRROR_HANDED_LAST = 1, /* that is all */
};

/* AWAITED: what for. Without it a mirror writes, and tells, when it suits it. */
enum mirror_awaited_flags {
    MIRROR_AWAITED_RECEIVED = 1,
    MIRROR_AWAITED_DURABLE = 2,
};

/* REFUSED: */
enum mirror_refusal {
    MIRROR_REFUSED_FENCED, /* a later master is known: `epoch` */
    MIRROR_REFUSED_LATER,  /* what says so is not known here yet: to be asked again */
    MIRROR_REFUSED_GONE,   /* it is no mirror of it */
    MIRROR_REFUSALS
};

#define MIRROR_RUNS_MAX 512u /* of one OFFER, or HANDED */
#define MIRROR_TO_END   UINT64_MAX

struct mirror_run {
    uint64_t first;
    uint64_t last; /* included */
};

struct mirror_data {
    uint8_t type;
    uint8_t flags;
    uint16_t count;
    struct slice payload; /* borrowed */
};

struct mirror_record {
    enum mirror_op op;
    uint8_t flags;
    uint8_t kind;
    uint16_t shards;
    uint64_t pos;
    uint64_t qid;
    uint64_t epoch;
    uint64_t from;
    uint64_t to; /* OFFER: what is not in `runs` from `from` to here is not there */
    struct mirror_data data;
    /* Written: borrowed. Read: the record's own, see mirror_record_fini. */
    const struct mirror_starts *starts;
    const struct mirror_history *history;
    const struct producers *producers;
    const struct mirror_run *runs;
    uint32_t run_count;
    struct mirror_lists *owned;
};

size_t mirror_wire_size(const struct mirror_record *r);
void mirror_wire_put(struct wire_out *w, const struct mirror_record *r);

/* The next one. False: what is there is none, or not all of one. */
MUST_CHECK bool mirror_wire_take(struct wire *w, struct mirror_record *out);
void mirror_record_fini(struct mirror_record *r);

#endif
