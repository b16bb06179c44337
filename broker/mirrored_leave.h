/*
 * mirrored_leave: a queue that this node has, and is not to have any more, goes.
 *
 * What it has of the epoch in which the queue is mastered now it has from its master: it goes at
 * once. If it was last told of an earlier one, as the master of a queue that was placed anew while
 * this node was down or cut off, it may have what nobody else has. Then it asks who masters the
 * queue now (mirror/mirror_past.h), puts into quarantine what that one has not (mirrored_keep.h),
 * and goes then; few at a time do. Until there is somebody to ask, and the quarantine can be
 * written, it stays: on the disk, and serving nobody. See design.md 2.10. On the shard's thread.
 */
#ifndef WARREN_MIRRORED_LEAVE_H
#define WARREN_MIRRORED_LEAVE_H

#include "base/attr.h"
#include "mirror/mirror_past.h"
#include "mirror/producers.h"

struct hosted;
struct mirror_history;
struct shard;

/* STILL, and as the metadata says mastered by that node, in that epoch. True: it may go. False: not
 * yet; mirrored_is_due follows, or another placement. */
MUST_CHECK bool mirrored_leave(struct hosted *h, uint16_t master, uint64_t epoch);

/* At the start, posted by the control thread: the journal has some of a queue that is to be here no
 * more. Before what was found is handed out. */
void mirrored_leave_post(struct shard *s, uint64_t qid);

/* It stays, or is gone. Nothing, if it was not to go. */
void mirrored_leave_end(struct hosted *h);

/* mirror_master_ops.past. */
void mirrored_leave_told(void *arg, struct mirror_past *p, const struct mirror_history *history,
                         const struct producers *producers);

/* mirror_replica_ops.past. */
MUST_CHECK bool mirrored_leave_tell(void *arg, uint64_t qid, uint64_t epoch,
                                    const struct mirror_history **out);

#endif
