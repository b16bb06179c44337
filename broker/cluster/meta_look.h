/*
 * meta_look: which queues a stopped node knows, from what it has on disk. Changes nothing there.
 *
 * What counts is the newest snapshot and the whole log behind it: an entry that was written and
 * never agreed upon counts too, since a look cannot tell.
 */
#ifndef WARREN_META_LOOK_H
#define WARREN_META_LOOK_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

struct disk;

/* `vhost` and `name` are good for the call. */
typedef void (*meta_queue_fn)(uint64_t qid, struct slice vhost, struct slice name, void *arg);

/* False: it cannot be read, or is damaged. A node that is in no cluster has none, and a RAM node
 * keeps none. */
MUST_CHECK bool meta_look_queues(struct disk *disk, meta_queue_fn each, void *arg, struct err *err);

#endif
