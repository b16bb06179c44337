/*
 * marks: how far, in each priority of a queue, messages may have been shown to somebody.
 *
 * What is written to the journal runs ahead of what was handed out, by a number of messages, so
 * that it is durable long before it counts. It is renewed when half of them are handed out; twice
 * as many are taken then if that was within a second. Positions may be missing between messages,
 * many after a start: messages are counted, not positions. Knows the queue and its ledger_queue
 * (ledger.h), and writes nothing itself. On the shard's thread.
 */
#ifndef WARREN_MARKS_H
#define WARREN_MARKS_H

#include "ledger.h"

/* What the queue knows from before the start. */
void marks_restore(struct hosted *h);

/* So far it may have been, says its master, and so does the journal. */
void marks_told(struct hosted *h, uint64_t up_to);

/* This one is handed out. True when a mark is to be renewed. */
bool marks_out(struct hosted *h, uint64_t qseq);

/* Renews those for which it is time, of all priorities if somebody is expected: none may be late.
 * Returns how many are to be written. */
unsigned marks_renew(struct hosted *h, uint64_t now_ms, uint64_t out[LEDGER_MARKS_MAX]);

/* Of a queue that is mastered here and has mirrors. What is written is to be known to all who may
 * master it next: false, they know already. When they do, what was asked for last is safe; and what
 * is not safe is not to be shown. With a new epoch nothing is. */
MUST_CHECK bool marks_ask(struct hosted *h);
void marks_are_known(struct hosted *h);
MUST_CHECK bool marks_may_show(const struct hosted *h, uint64_t qseq);
void marks_begin_epoch(struct hosted *h);

/* Who was asked when it was there, and knows the marks, has the message at this position, too. */
MUST_CHECK bool marks_are_behind(const struct hosted *h, uint64_t qseq);

/* Those to write when a segment with older ones goes: one for each priority that has any. *ahead:
 * they run ahead. */
unsigned marks_all(const struct hosted *h, bool *ahead, uint64_t out[LEDGER_MARKS_MAX]);

/* As far as it was really handed out. */
unsigned marks_exact(const struct hosted *h, uint64_t out[LEDGER_MARKS_MAX]);

#endif
