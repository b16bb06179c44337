/*
 * remote_wire: what two nodes say to each other about queues of one and channels of the other.
 *
 * A frame of the link is a row of records, each an octet that says what it is and then its fields,
 * in the order in which REMOTE_FIELDS names them. Whoever dialled the link *asks*: its channels use
 * queues of the other node, which *answers*. All integers in network order. No I/O, no state.
 *
 * A content is a message: u16 octets of its names (two short strings), u32 of its properties, u32
 * of its body, and then these octets; with REMOTE_IN_PARTS they come in records PART instead, and
 * the record, without them, inside a BEGIN.
 *
 * Deliveries have tags, which the answering side numbers from 1 on: what is settled, taken or sent
 * back is named by ranges of them. Publishes that somebody waits for are numbered in the same way
 * by both sides, each for itself, in the order in which they travel.
 *
 * What is published to a queue that has a consumer at the asking side may be on its way back at
 * once. Who asks then keeps it for a while (REMOTE_KEPT), and who answers may name it
 * (DELIVER_KEPT) instead of sending all of it again: see remote_kept.h.
 */
#ifndef WARREN_REMOTE_WIRE_H
#define WARREN_REMOTE_WIRE_H

#include "base/wire.h"
#include "client/reply_to.h"
#include "model/message.h"
#include "port.h"

/* X(bit, member, kind). The order is that of the wire. */
#define REMOTE_FIELDS(X)                                                                           \
    X(0x0001, flags, u8)                                                                           \
    X(0x0002, kind, u8)                                                                            \
    X(0x0004, verdict, u8)                                                                         \
    X(0x0008, token, u32)                                                                          \
    X(0x0010, qid, u64)                                                                            \
    X(0x0020, consumer, u64)                                                                       \
    X(0x0040, tag, u64)                                                                            \
    X(0x0080, count, u32)                                                                          \
    X(0x0100, number, u64)                                                                         \
    X(0x0200, signed_number, u64)

#define REMOTE_HAS_CHANNEL 0x0400u /* u64 connection, u32 incarnation, u16 number */
#define REMOTE_HAS_SECRET  0x0800u /* of an address of direct reply-to */
#define REMOTE_HAS_QIDS    0x1000u /* u16, so many qids */
#define REMOTE_HAS_RANGES  0x2000u /* u16, so many times u64 first, u32 count */
#define REMOTE_HAS_BYTES   0x4000u /* u32, so many octets */
#define REMOTE_HAS_CONTENT 0x8000u /* unless REMOTE_NO_CONTENT is among the flags */

/* X(NAME, octet, fields). */
#define REMOTE_OPS(X)                                                                              \
    /* by who asks */                                                                              \
    X(PUBLISH, 1, 0x0001u | REMOTE_HAS_QIDS | REMOTE_HAS_CONTENT)                                  \
    X(SETTLE, 2, 0x0002u | REMOTE_HAS_RANGES) /* kind: enum port_settle */                         \
    X(TOOK, 3, REMOTE_HAS_RANGES)             /* deliveries that reached their channels */         \
    X(SENT_BACK, 4, REMOTE_HAS_RANGES)        /* ... that did not */                               \
    X(WAKE, 5, 0x0020u | 0x0080u)             /* count: credit */                                  \
    X(ABANDON, 6, 0x0010u | 0x0020u)                                                               \
    X(ASK, 7,                                                                                      \
      0x0001u | 0x0002u | 0x0008u | 0x0010u | 0x0020u | 0x0080u | 0x0200u |                        \
          REMOTE_HAS_CHANNEL) /* kind: enum port_op, count: prefetch, then priority */             \
    X(REPLY, 8, 0x0001u | REMOTE_HAS_CHANNEL | REMOTE_HAS_SECRET | REMOTE_HAS_CONTENT)             \
    X(REPLY_ASK, 9, 0x0008u | REMOTE_HAS_CHANNEL | REMOTE_HAS_SECRET)                              \
    /* to mirrored queues; tag: pid, number: seq; each qid is followed by its queue's epoch */     \
    X(PUBLISH_OF, 10, 0x0001u | 0x0040u | 0x0100u | REMOTE_HAS_QIDS | REMOTE_HAS_CONTENT)          \
    /* of a queue that was moved to the other node: positions that were handed out here before */  \
    X(SETTLE_MOVED, 11, 0x0002u | 0x0010u | REMOTE_HAS_RANGES) /* kind: enum port_settle */        \
    /* as ASK, of a consumer that is carried: positions that its channel holds */                  \
    X(ASK_HELD, 12,                                                                                \
      0x0001u | 0x0002u | 0x0008u | 0x0010u | 0x0020u | 0x0080u | 0x0200u | REMOTE_HAS_CHANNEL |   \
          REMOTE_HAS_QIDS)                                                                         \
    /* all that was said before LEAVING came is said by now */                                     \
    X(LEFT, 13, 0)                                                                                 \
    /* by who answers */                                                                           \
    X(TAKEN, 32, 0x0100u)                       /* copies of messages, since the beginning */      \
    X(CONFIRM, 33, 0x0100u | REMOTE_HAS_RANGES) /* all up to number, and these */                  \
    X(NACK, 34, REMOTE_HAS_RANGES)                                                                 \
    X(ANSWER, 35,                                                                                  \
      0x0001u | 0x0004u | 0x0008u | 0x0040u | 0x0080u | 0x0100u | 0x0200u |                        \
          REMOTE_HAS_CONTENT) /* count: consumers, number: messages or, of a fence, entries of the \
                               * metadata's log that were applied; then timeout */                 \
    /* signed_number: the position */                                                              \
    X(DELIVER, 36, 0x0001u | 0x0020u | 0x0040u | 0x0200u | REMOTE_HAS_CONTENT)                     \
    X(RESUMED, 37, 0x0020u)                                                                        \
    X(SERVED, 38, 0x0020u)                                                                         \
    X(CANCELLED, 39, 0x0020u)                                                                      \
    X(REPLY_KNOWN, 40, 0x0001u | 0x0008u)                                                          \
    X(DELIVER_KEPT, 41,                                                                            \
      0x0001u | 0x0020u | 0x0040u | 0x0100u | 0x0200u) /* number: see remote_kept.h */             \
    X(MOVED, 42, 0x0010u | 0x0100u) /* of the publish `number`, for this queue, or all: 0 */       \
    X(CONSUMER_MOVED, 43, 0x0020u)                                                                 \
    /* to ASK_HELD: tag: of the first that was held; then those that are not the consumer's */     \
    X(ANSWER_HELD, 44,                                                                             \
      0x0001u | 0x0004u | 0x0008u | 0x0040u | 0x0080u | 0x0100u | 0x0200u | REMOTE_HAS_QIDS)       \
    /* this node stops: what is settled at it is to be said now */                                 \
    X(LEAVING, 45, 0)                                                                              \
    /* by both */                                                                                  \
    X(BEGIN, 64, 0x0002u | REMOTE_HAS_BYTES) /* kind: slot; a record whose content is to come */   \
    X(PART, 65, 0x0002u | REMOTE_HAS_BYTES)  /* kind: slot */                                      \
    X(PARTS_TAKEN, 66, 0x0080u)              /* count: octets of parts */

enum remote_op {
#define X(name, octet, fields) REMOTE_##name = (octet),
    REMOTE_OPS(X)
#undef X
};

enum remote_flag {
    REMOTE_NO_CONTENT = 0x01,
    REMOTE_IN_PARTS = 0x02,
    REMOTE_PERSISTENT = 0x04,
    REMOTE_AWAITED = 0x08,     /* PUBLISH: it has a number */
    REMOTE_REDELIVERED = 0x08, /* DELIVER, ANSWER */
    REMOTE_UNUSED = 0x10,      /* ANSWER */
    REMOTE_YES = 0x10,         /* REPLY_KNOWN */
    REMOTE_KEPT = 0x10,        /* PUBLISH: the content is kept; not with REMOTE_IN_PARTS */
    REMOTE_DURABLE = 0x04,     /* ASK */
    REMOTE_NO_ACK = 0x10,      /* ASK */
    REMOTE_EXCLUSIVE = 0x20,   /* ASK */
    REMOTE_IF_UNUSED = 0x40,   /* ASK */
    REMOTE_IF_EMPTY = 0x80,    /* ASK */
};

/* Records are sent in frames of about this size, a content that is larger than that in parts. */
#define REMOTE_FRAME_BYTES  ((size_t)64 * 1024 - 64)
#define REMOTE_FRAME_ROOM   ((size_t)8) /* before one in its block, for who carries it */
#define REMOTE_INLINE_BYTES ((size_t)48 * 1024)
#define REMOTE_SLOTS        16u                     /* contents in parts that travel at a time */
#define REMOTE_PARTS_BYTES  ((uint32_t)1024 * 1024) /* ... that were not taken yet */

#define REMOTE_QIDS_MAX     4096u /* of one PUBLISH */
#define REMOTE_RANGES_MAX   4096u
#define REMOTE_RANGE_BYTES  12u
#define REMOTE_RECORD_BYTES ((size_t)128) /* at most, without qids, ranges, octets, content */

struct remote_content {
    struct slice names; /* empty, as the others, when they come in parts */
    struct slice props;
    struct slice body;
    uint16_t names_bytes;
    uint32_t props_bytes;
    uint32_t body_bytes;
};

struct remote_record {
    enum remote_op op;
    uint8_t flags;
    uint8_t kind;
    uint8_t verdict;
    uint32_t token;
    uint64_t qid;
    uint64_t consumer;
    uint64_t tag;
    uint32_t count;
    uint64_t number;
    uint64_t signed_number;
    struct port_channel_ref channel;
    uint8_t secret[REPLY_TO_SECRET_BYTES];
    struct slice list;             /* qids or ranges, as on the wire */
    struct slice bytes;            /* of BEGIN and PART */
    struct remote_content content; /* when read, if it has one */
    bool has_content;
    const struct message *message; /* when written: its content; NULL: none */
    uint64_t mark;                 /* ...: see remote_outbox.h */
    /* When read, of one that came in parts: made of them, a reference. See remote_inbox. */
    struct message *assembled;
};

/* What remote_put takes at most. */
size_t remote_size(const struct remote_record *r);

/* Writes it; the flags about the content are set by the message, but for IN_PARTS. */
void remote_put(struct wire_out *w, const struct remote_record *r);

/* The next one; slices are borrowed from the input. False: what is there is none, or not all of
 * one. */
MUST_CHECK bool remote_take(struct wire *w, struct remote_record *out);

/* The message that came with it: a reference, made now or, when it came in parts, taken. NULL: its
 * names make no message. */
struct message *remote_message(struct remote_record *r);

/* The same of one that is kept, see message_new_kept; it did not come in parts. */
struct message *remote_message_kept(struct remote_record *r, uint64_t by, uint64_t as);

/* Lists, from their octets: false at the end. */
bool remote_next_qid(struct slice *list, uint64_t *qid);
bool remote_next_range(struct slice *list, uint64_t *first, uint32_t *count);

/* Names as they stand in a content, taken apart. */
MUST_CHECK bool remote_names(struct slice names, struct slice *exchange, struct slice *key);

#endif
