/*
 * storage_read: the journal is read at the start, while the node goes on being one of its cluster.
 *
 * That may take a minute. A node that said nothing meanwhile would be taken for down, its queues
 * would go elsewhere, by a policy to nodes that lack messages of them; and the metadata would have
 * to do without its vote. So a thread of its own reads, and the control thread runs its loop. What
 * it learns of queues waits as mail for the shards, which do not run yet.
 */
#ifndef WARREN_STORAGE_READ_H
#define WARREN_STORAGE_READ_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

struct broker;
struct epoch;
struct storage;

/* On the control thread, whose loop is run until all is read, also when the node is to stop.
 * False: what storage_read says, or there is no thread (ERR_SYSTEM). */
MUST_CHECK bool storage_read_aside(struct broker *b, struct storage *st, struct epoch *epoch,
                                   struct err *err);

#endif
