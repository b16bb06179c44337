/*
 * raft_log: the entries since the last compaction, in memory, and the configurations among them.
 *
 * Dense from `base + 1` to `last`. Entries below the newest snapshot may be there still: the tail
 * that is kept so that a follower which lags a little need not fetch a snapshot. The log holds one
 * reference to each entry's bytes; what it lends is good until it is changed.
 */
#ifndef WARREN_RAFT_LOG_H
#define WARREN_RAFT_LOG_H

#include "raft/raft_entry.h"

struct raft_log_config {
    uint64_t index;
    struct raft_config config;
};

struct raft_log {
    uint64_t base; /* the entry before the first; 0: the log begins at its beginning */
    uint64_t base_term;
    uint64_t last; /* == base when empty */
    uint64_t bytes;
    struct raft_entry *slots; /* a ring: entry i stands in slot i mod cap */
    uint64_t cap;
    struct raft_log_config *configs; /* by rising index; the first is what was in force at base */
    size_t config_count;
    size_t config_room;
};

void raft_log_init(struct raft_log *l);
void raft_log_fini(struct raft_log *l);

/* base <= index <= last, or for _at base < index <= last. */
uint64_t raft_log_term(const struct raft_log *l, uint64_t index);
const struct raft_entry *raft_log_at(const struct raft_log *l, uint64_t index);
uint64_t raft_log_last_term(const struct raft_log *l);
static inline bool raft_log_has(const struct raft_log *l, uint64_t index)
{
    return index > l->base && index <= l->last;
}

/* The greatest index <= `index` (which is <= last) whose term is <= `term`; `base` when there is
 * none above it. */
uint64_t raft_log_find(const struct raft_log *l, uint64_t index, uint64_t term);

/* Takes e's reference; its index is last + 1. */
void raft_log_append(struct raft_log *l, struct raft_entry *e);

/* `from` and all behind it; base < from. Configurations go with their entries. */
void raft_log_truncate(struct raft_log *l, uint64_t from);

/* All up to `index` <= last. */
void raft_log_compact(struct raft_log *l, uint64_t index);

/* Empty, behind a snapshot. */
void raft_log_reset(struct raft_log *l, const struct raft_snapshot *s);

/* The last configuration, the last at or before an index, and where it came from (0: none). */
const struct raft_config *raft_log_config(const struct raft_log *l);
uint64_t raft_log_config_index(const struct raft_log *l);
const struct raft_log_config *raft_log_config_at(const struct raft_log *l, uint64_t index);

/* References of entries first .. first + count - 1, as an array of their own. */
struct raft_entry *raft_log_copy(const struct raft_log *l, uint64_t first, size_t count);

#endif
