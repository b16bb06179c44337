/*
 * index_state: what an index file says of a segment beyond its messages: what was settled, how far
 * queues were handed out, returns, large messages, and where octets were lost. No I/O.
 *
 *   group    u8 kind, varint qid, varint count, then so many:
 *   RANGE    varint first less the last before, varint last less first
 *   MARK     varint qseq
 *   AHEAD    the same, for marks that run ahead (SETTLE_AHEAD)
 *   RETURNS  varint qseq, varint returns
 *   PROVEN   varint id of a large message that is durable, for this queue; qid 0: for all
 *   LARGE    varint qseq, id, offset, length, octets of the file's properties and body; u8 flags: a
 *            MSG_LARGE record's target
 *   GAP      varint from, varint to: octets that cannot be read and were durable; qid is 0
 *   CUT      varint qseq: something of its priority was cut off; its next position in the end
 *   AGAIN    as RANGE: what came once more here, persistent: what was settled before counts not for
 *            it. What was settled behind it is among RANGE, as always
 *   EPOCH    varint octets, octets: the queue's last history here
 *   PRODUCER varint pid less the one before (zigzag, over all of the file), varint seq: the last
 *            number of each producer behind that, by the order in which they came
 *
 * Of a queue they come as they are to be taken: CUT, AGAIN, RANGE, others, EPOCH, PRODUCER.
 */
#ifndef WARREN_INDEX_STATE_H
#define WARREN_INDEX_STATE_H

#include "store/index_file.h"

enum index_state_kind {
    INDEX_RANGE = 1,
    INDEX_MARK,
    INDEX_AHEAD,
    INDEX_RETURNS,
    INDEX_PROVEN,
    INDEX_LARGE,
    INDEX_GAP,
    INDEX_CUT,
    INDEX_AGAIN,
    INDEX_EPOCH,
    INDEX_PRODUCER,
};

/* One item. What a kind does not have is zero. */
struct index_state {
    enum index_state_kind kind;
    uint64_t qid;
    uint64_t first; /* or the only position, or an octet */
    uint64_t last;
    uint64_t large_id;
    uint32_t offset;
    uint32_t length;
    uint64_t large_bytes; /* properties and body */
    uint32_t returns;
    uint8_t flags; /* of the MSG */
    struct msg_producer producer;
    struct slice history; /* in what is read */
};

/* ---- making -----------------------------------------------------------------------------------
 */

struct index_states;

struct index_states *index_states_new(void);
void index_states_free(struct index_states **s);

void index_states_settle(struct index_states *s, const struct settle_record *r);
void index_states_returns(struct index_states *s, uint64_t qid, struct slice items);
void index_states_epoch(struct index_states *s, const struct epoch_record *r);
/* A message that came to a position, in the order of records: not needed of one that has neither
 * MSG_AGAIN nor MSG_PRODUCER while nothing was cut off. */
void index_states_message(struct index_states *s, const struct msg_target *t,
                          const struct msg_record *m);
bool index_states_has_cuts(const struct index_states *s);
/* PROVEN, LARGE and GAP. */
void index_states_add(struct index_states *s, const struct index_state *item);

/* All of it, in memory that the caller frees (mem_free). NULL with *len 0: there is nothing. */
uint8_t *index_states_take(struct index_states *s, size_t *len);

/* ---- reading ----------------------------------------------------------------------------------
 */

struct index_state_reader {
    struct wire w;
    struct index_state now;
    uint64_t left; /* of the group */
    uint64_t last_pid;
};

static inline struct index_state_reader index_state_over(struct slice state)
{
    return (struct index_state_reader){ .w = wire_over(state) };
}

/* The next item; false at the end, or where the octets make no sense: then w.ran_out is set. */
MUST_CHECK bool index_state_next(struct index_state_reader *r, struct index_state *out);

#endif
