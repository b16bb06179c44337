/*
 * ledger: what the queues of a shard put into the journal.
 *
 * A message that goes to several queues here is one record; what a turn settles of a queue is
 * gathered to ranges, and written at the turn's end, when nobody waits for it. A dead message is
 * settled only after its dead letter was written: after a crash it may be in both queues, never in
 * none. Queues that do not outlive the node write nothing.
 *
 * Which messages may have been shown to somebody is said by marks that run ahead of what was handed
 * out, so that they are durable long before it counts, and are renewed now and then; when the node
 * is stopped in order, they are written as they are.
 */
#ifndef WARREN_LEDGER_H
#define WARREN_LEDGER_H

#include "model/queue.h"
#include "store/record.h"

#include <sys/queue.h>

struct hosted;
struct journal;
struct ledger;
struct segs;
struct shard;

/* All positions of a priority below these have been handed out; may be, says the journal. See
 * marks.h. */
#define LEDGER_MARKS_MAX 256u
struct ledger_mark {
    uint64_t handed;
    uint64_t written;    /* 0: nothing was, since the start */
    uint64_t written_ms; /* when */
    uint64_t renew_at;   /* as soon as so far was handed out */
    uint64_t ahead;      /* how many messages it runs ahead */
    uint64_t asked;      /* of a queue with mirrors: about so far they were asked... */
    uint64_t safe;       /* ...and of so far all who may master it next know */
    uint64_t asked_end;  /* what stood before this when they were asked... */
    uint64_t had;        /* ...and what stands before this they all have */
};

/* What is kept of each queue; zero at first, but for `durable`, and zero again when it is deleted:
 * then nothing of it needs to be settled. */
struct ledger_queue {
    bool durable;      /* it outlives the node: it writes */
    bool is_due;       /* has something to write at the turn's end */
    bool expects_out;  /* somebody was or will be handed messages of it, since the start */
    uint64_t mark_lsn; /* they wait for this; 0: no longer */
    uint64_t writes;   /* messages recorded */
    uint16_t mark_count;
    uint32_t range_count;
    uint32_t range_cap;
    uint32_t return_count;
    uint32_t return_cap;
    struct settle_range *ranges;
    struct msg_return *returns;
    struct ledger_mark *marks; /* by priority */
    TAILQ_ENTRY(hosted) due_entry;
};

struct ledger *ledger_new(struct shard *s);
void ledger_free(struct ledger **l);

/* Before the shard's loop runs; both are borrowed. Until then, and after the end, nothing is
 * written: queues may be freed without being settled. */
void ledger_start(struct ledger *l, struct journal *journal, struct segs *segs);
void ledger_stop(struct ledger *l);

/* Is this message, in this queue, one to be written? Quorum queues keep all. */
bool ledger_wants(const struct hosted *h, const struct message *m);

/* The queue has kept a message; it is written with ledger_write, together with further queues' that
 * get the same. Takes the reference. `awaited`: somebody is to be told when it is safe.
 */
void ledger_add(struct ledger *l, struct hosted *h, struct message **m, const struct queue_put *put,
                bool awaited);

/* The same for a queue that is mastered here and has mirrors: `awaited` is answered when those have
 * it, see mirrored_lead.h. A pid of 0: its producer has none. */
void ledger_add_led(struct ledger *l, struct hosted *h, struct message **m,
                    const struct queue_put *put, const struct msg_producer *producer, bool awaited);

/* Of what was added, is something awaited with which mirrors have nothing to do? */
bool ledger_is_owed(const struct ledger *l);

/* Write what was added. Returns the LSN to wait for; 0: nothing was added. */
uint64_t ledger_write(struct ledger *l);

/* The same of a part of its queues: others follow, and ledger_write. */
uint64_t ledger_write_part(struct ledger *l);

/* What was added is large: it is written with ledger_write_large, and `fn` tells later, in another
 * turn, what else is to be waited for, see larges.h. */
bool ledger_has_large(const struct ledger *l);
uint64_t ledger_write_large(struct ledger *l, void (*fn)(void *arg, uint64_t lsn), void *arg);

/* A message came to a new position: write it anew. None: it is of those that are not written. */
struct place ledger_again(struct ledger *l, struct hosted *h, const struct queue_item *item);

/* Write also what the turn has settled so far, for somebody who waits for that; returns the LSN of
 * the last of it, 0: nothing. */
uint64_t ledger_flush(struct ledger *l);

/* For somebody who waits for what was settled here, in this turn or in former ones: the LSN; 0: all
 * of it is durable. */
MUST_CHECK uint64_t ledger_fence(struct ledger *l);

/* Something may be written in this turn: then let its end begin with that, before what was written
 * to clients is sent. */
void ledger_begin(struct ledger *l);

/* Messages of the queue are done with. Those with a place leave their segment, too. */
void ledger_settle(struct ledger *l, struct hosted *h, uint64_t first, uint64_t last);
void ledger_leave(struct ledger *l, uint32_t seg, int64_t count, int64_t cost_bytes);
void ledger_leave_one(struct ledger *l, struct place place, uint64_t body_bytes);

/* It was handed out. */
void ledger_out(struct ledger *l, struct hosted *h, uint64_t qseq);

/* Its marks are to be written at the turn's end: mirrored_lead_takes_marks says that it was. */
void ledger_marks_are_due(struct ledger *l, struct hosted *h);

/* Somebody comes who will be handed messages. If some are there and nobody was handed any since the
 * start, they are to wait until the mark is durable: the LSN; 0: they need not. (A message that
 * comes later is written behind the mark, and is not there after a crash that the mark does not
 * survive.)
 */
MUST_CHECK uint64_t ledger_expect_out(struct ledger *l, struct hosted *h);

void ledger_returned(struct ledger *l, struct hosted *h, uint64_t qseq, uint32_t returns);

/* The node stops in order: the marks of all queues as they are, and all that is gathered. */
void ledger_write_marks(struct ledger *l);

/* The queue is deleted, or the shard ends. */
void ledger_forget(struct ledger *l, struct hosted *h);

/* Publishers are to wait: the disk does not keep up. shard_journal_moved follows. */
bool ledger_is_behind(struct ledger *l);

#endif
