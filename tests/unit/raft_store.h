/*
 * raft_store: a member's disk as the core of consensus sees it, and the state machine of tests: a
 * digest over the commands that were applied, in order.
 */
#ifndef WARREN_TESTS_RAFT_STORE_H
#define WARREN_TESTS_RAFT_STORE_H

#include "raft/raft.h"

struct raft_machine {
    uint64_t index; /* applied */
    uint64_t digest;
};

/* The digest after one more entry. */
void raft_machine_apply(struct raft_machine *m, const struct raft_entry *e);

struct raft_store {
    struct raft_hard hard;
    struct raft_snapshot snapshot;
    struct raft_machine machine;  /* as it is in the snapshot */
    struct raft_machine received; /* as it is in the one under way */
    uint64_t base;
    struct raft_entry *entries;
    size_t count;
    size_t room;
    bool is_whole;
};

void raft_store_init(struct raft_store *s);
void raft_store_fini(struct raft_store *s);

/* So many parts a write has: hard state, install, truncation, each entry. */
size_t raft_store_parts(const struct raft_write *w);

/* The first so many parts of it. */
void raft_store_write(struct raft_store *s, const struct raft_write *w, size_t parts);

/* Only entries behind it stay. */
void raft_store_keep_snapshot(struct raft_store *s, const struct raft_snapshot *snap,
                              const struct raft_machine *m);

/* Entries from here on are gone, though they had been durable. */
void raft_store_damage(struct raft_store *s, uint64_t from);

/* What a start finds; lent. A log that ends before the snapshot counts as empty. */
void raft_store_start(struct raft_store *s, struct raft_start *out);

#endif
