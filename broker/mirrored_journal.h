/*
 * mirrored_journal: what the journal is told of a queue by another than its master's ledger: of
 * what a copy was told, at the positions it was told, and of what its history is.
 *
 * Everything is appended at once, and its LSN is returned; 0: there is nothing to wait for. A
 * history is durable as soon as may be, the rest when the master says that somebody waits for it
 * (mirrored_hurry), or when it suits the journal. A queue that does not last writes nothing. On the
 * shard's thread.
 */
#ifndef WARREN_MIRRORED_JOURNAL_H
#define WARREN_MIRRORED_JOURNAL_H

#include "larges.h"
#include "mirror/mirror_history.h"
#include "store/record.h"

struct hosted;
struct message;
struct shard;

/* The message came to these positions and has no place there yet; moments are those of the wall
 * clock. It is written for those queues that want it (ledger_wants). *is_late: it is large, and was
 * written as far as that: the LSN is MIRROR_LSN_LATER, and `fn` tells it. */
uint64_t copies_write(struct hosted *const *queues, const struct msg_target *targets,
                      unsigned count, struct message *m, const struct msg_producer *producer,
                      larges_fn fn, void *arg, bool *is_late);

/* As the master has said it. */
uint64_t copy_write_settle(struct hosted *h, const struct settle_record *said);
uint64_t copy_write_returns(struct hosted *h, struct slice items, unsigned count);

/* Its history as it is now, and which positions nobody has any more though they were given: all
 * that were cut off. One record. */
uint64_t copy_write_history(struct hosted *h, const struct mirror_history *history);

/* There is nothing of it here, at no position, and nothing is known. */
uint64_t copy_write_void(struct hosted *h);
/* The same of a durable queue that has gone from here, said once more: which segment says so now,
 * and about what it takes. 0: the journal takes nothing any more. */
uint32_t gone_write_void(struct shard *s, uint64_t qid, unsigned max_priority, size_t *bytes);

/* What the journal says of positions up to this one, or will: later messages there are MSG_AGAIN.
 */
void copy_raise_tops(struct hosted *h, uint64_t last);

#endif
