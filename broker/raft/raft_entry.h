/*
 * raft_entry: what consensus agrees on: entries of the log, the configuration of the group, and
 * what a snapshot stands for.
 *
 * An entry is a small value that holds one reference to its bytes (base/buf: counted, any thread);
 * who copies an entry takes a reference, who drops it gives it back. Bytes never change.
 */
#ifndef WARREN_RAFT_ENTRY_H
#define WARREN_RAFT_ENTRY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/wire.h"

#include <stdbool.h>
#include <stdint.h>

#define RAFT_ENTRY_BYTES_MAX (1u << 20) /* of one entry */
#define RAFT_MEMBERS_MAX     32u
#define RAFT_VOTERS_MAX      7u

enum raft_kind {
    RAFT_NOOP = 1,    /* a leader's first; no bytes */
    RAFT_COMMAND = 2, /* for the state machine */
    RAFT_CONFIG = 3,  /* a struct raft_config, by raft_config_buf */
};

struct raft_entry {
    uint64_t index; /* from 1, dense */
    uint64_t term;
    enum raft_kind kind;
    struct buf *bytes; /* one reference; NULL when there are none */
};

/* What an entry costs in memory and in a message, its bytes included. */
#define RAFT_ENTRY_COST 48u

static inline size_t raft_entry_cost(const struct raft_entry *e)
{
    return RAFT_ENTRY_COST + (e->bytes != NULL ? e->bytes->len_bytes : 0);
}

static inline struct slice raft_entry_slice(const struct raft_entry *e)
{
    return e->bytes != NULL ? buf_slice(e->bytes) : (struct slice){ NULL, 0 };
}

/* A copy with a reference of its own. */
static inline struct raft_entry raft_entry_ref(const struct raft_entry *e)
{
    struct raft_entry copy = *e;
    if (copy.bytes != NULL)
        (void)buf_ref(copy.bytes);
    return copy;
}

/* Gives the references back, and the array itself. */
void raft_entries_free(struct raft_entry **entries, size_t count);

/* ---- the group ---- */

enum raft_part {
    RAFT_LEARNER = 1, /* has the log, no vote */
    RAFT_VOTER = 2,
    RAFT_WITNESS = 3, /* a voter that had rather not lead: waits longest, hands leadership over */
};

struct raft_member {
    uint16_t node; /* not 0 */
    enum raft_part part;
};

struct raft_config {
    uint32_t count;
    struct raft_member members[RAFT_MEMBERS_MAX]; /* by rising node */
};

/* NULL: no member. */
const struct raft_member *raft_config_find(const struct raft_config *c, uint16_t node);
bool raft_config_is_voter(const struct raft_config *c, uint16_t node);
uint32_t raft_config_voters(const struct raft_config *c);

/* Adds the node or changes its part; false: no room (members, or voters). */
MUST_CHECK bool raft_config_set(struct raft_config *c, uint16_t node, enum raft_part part);
void raft_config_unset(struct raft_config *c, uint16_t node);

/* As octets: u8 version 1, u8 count, then u16 node, u8 part each. */
struct buf *raft_config_buf(const struct raft_config *c);
void raft_config_put(struct wire_out *w, const struct raft_config *c);
MUST_CHECK bool raft_config_take(struct wire *w, struct raft_config *out);

/* ---- what is kept on disk beside the entries ---- */

struct raft_hard {
    uint64_t term;
    uint16_t vote;      /* 0: nobody */
    bool is_recovering; /* the log lost what it had acknowledged, and has not caught up again */
};

/* A snapshot is known by (index, id); `id` tells apart two of the same index made by different
 * nodes (their octets may differ), so that a broken transfer is only resumed with the same. */
struct raft_snapshot {
    uint64_t index; /* of the last entry in it; 0: there is none */
    uint64_t term;  /* of that entry */
    uint64_t id;
    uint64_t bytes;        /* of its data */
    uint64_t config_index; /* the configuration in force at `index`, and the entry it came with */
    struct raft_config config;
};

#endif
