/*
 * meta_replace: a running meta becomes another one, whole: by a snapshot that a leader sent, when
 * the node joins a cluster, and when it is reset.
 *
 * The other one is made fresh, beside the running one (meta_save_read, or commands); what differs
 * is found by comparing, which may be done on another thread while nothing is applied; to put it in
 * place takes no time that depends on how much there is.
 */
#ifndef WARREN_META_REPLACE_H
#define WARREN_META_REPLACE_H

#include "cluster/meta.h"

/* The effects of the difference, in `out`: what is gone first, then what is new, as if commands had
 * done it. Nothing of `fresh` is published. `is_foreign`: it is another cluster's, and ids mean
 * nothing to each other: all of `old` is gone, all of `fresh` is new. Names are borrowed from
 * `old`, queues from `fresh`. Any thread that may hold `old`. */
void meta_compare(const struct meta_version *old, const struct meta *fresh, bool is_foreign,
                  struct meta_result *out);

/* Takes `fresh`, which was made with the same hash_seed and shard_count. The control thread, with
 * nothing unpublished in `meta`; effects are carried out around the meta_publish that follows. */
void meta_replace(struct meta *meta, struct meta **fresh);

#endif
