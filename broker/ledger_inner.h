/*
 * ledger_inner: what the files of ledger.h share: ledger.c for messages and what all need,
 * ledger_state.c for what becomes of them. Not for anybody else.
 */
#ifndef WARREN_LEDGER_INNER_H
#define WARREN_LEDGER_INNER_H

#include "hosted.h"
#include "io/loop.h"
#include "larges.h"
#include "ledger.h"
#include "store/journal.h"

#define LEDGER_RANGES_MAX   1024u /* of a queue, gathered; then they are written at once */
#define LEDGER_SEG_COUNTERS 4u

/* Entries of a segment that came and went in this turn. */
struct seg_counter {
    uint32_t seg; /* 0: free */
    int64_t put_count;
    int64_t put_bytes;
    int64_t gone_count;
    int64_t gone_bytes;
};

struct target {
    struct hosted *hosted;
    uint64_t qseq;
};

TAILQ_HEAD(hosted_list, hosted);

struct ledger {
    struct shard *shard;
    struct journal *journal; /* NULL: nothing is written */
    struct segs *segs;
    struct loop_task turn_end;
    bool appended; /* since the last kick */
    /* The message that is being given to queues. */
    struct message *message; /* a reference, or NULL */
    unsigned target_count;
    unsigned flags;
    struct msg_producer producer; /* with MSG_PRODUCER */
    bool awaited;                 /* somebody is to be told */
    bool awaited_led;             /* by a queue that is mirrored, which tells him */
    larges_fn large_fn;           /* for the last part of a large one */
    void *large_arg;
    bool told_too_long;
    uint64_t lsn;           /* of the last part of its targets that was written */
    uint64_t settled_lsn;   /* of the last record of what was settled */
    enum journal_need need; /* of what is settled */
    struct hosted_list due;
    struct seg_counter counters[LEDGER_SEG_COUNTERS];
    struct hosted *queues[MSG_TARGETS_MAX];
    struct msg_target targets[MSG_TARGETS_MAX];
    uint8_t room[RECORD_MSG_ROOM(MSG_TARGETS_MAX)]; /* for the head of a record */
};

_Static_assert(RECORD_SETTLE_ROOM(LEDGER_RANGES_MAX, LEDGER_MARKS_MAX) <=
                   RECORD_MSG_ROOM(MSG_TARGETS_MAX),
               "the room is for settlements too");
_Static_assert(RECORD_RETURNS_ROOM(LEDGER_RANGES_MAX) <= RECORD_MSG_ROOM(MSG_TARGETS_MAX),
               "the room is for returns too");

struct place ledger_append(struct ledger *l, const struct slice *parts, size_t count,
                           enum journal_need need, uint64_t *lsn);

/* What was settled and came back in this turn. Returns the LSN of the last; 0: nothing. */
uint64_t ledger_write_all(struct ledger *l);

#endif
