/*
 * meta_dump: all that a version of the metadata holds, and what says how it came about, as commands
 * that make it anew (meta_replay). No I/O, no state; nothing is kept but the path of an iteration,
 * so a million queues take no more memory than one. Any thread, on a version it may hold.
 */
#ifndef WARREN_META_DUMP_H
#define WARREN_META_DUMP_H

#include "cluster/meta.h"

/* Called with each command and the first id that it is to give (0: it gives none), in an order in
 * which they can be applied. The command is good for the call. False ends it. */
typedef bool (*meta_dump_fn)(void *arg, const struct meta_cmd *cmd, uint64_t first_id);

/* False: `each` said so. */
MUST_CHECK bool meta_dump(const struct meta_version *v, meta_dump_fn each, void *arg);

#endif
