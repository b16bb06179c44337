/*
 * raft_file: the files that hold consensus, as octets: logs, and snapshots. No I/O, no state.
 *
 *   file   head, then from RAFT_FILE_START on groups; zeros behind the last one of a log, LAST in
 *          the last one of a snapshot
 *
 *   head of a log       0 u64 magic   8 u32 format   12 u32 flags   16 u64 generation   24 u64 salt
 *                      32 u64 number of its first group   40 u64 base: the log ends here before
 * this file   48 u64 its term   56 id of the cluster, 16 octets   72 u16 node 74 six zeros   80 u64
 * check: XXH3 over what is before head of a snapshot  0 u64 magic   8 u32 format   12 u32 zero   16
 * u64 index   24 u64 term 32 u64 id   40 u64 index of the configuration   48 id of the cluster, 16
 *                      octets   64 u32 octets of the configuration and they   then u64 check
 *
 *   group  0 u32 magic   4 u32 octets of items   8 u64 number   16 u32 count of items   20 u16
 * flags 22 u16 vote   24 u64 term   32 u64 check: XXH3 over what is before and the items, seeded
 *            with the salt (of a snapshot: its id) and the group's offset
 *         40 items, then zeros up to a multiple of RAFT_GROUP_ALIGN
 *
 *   item of a log       u8 RAFT_ITEM_ENTRY, u8 kind, u64 index, u64 term, u32 octets and they
 *                       u8 RAFT_ITEM_TRUNCATE, u64 index: this entry and those behind it are gone
 *
 * A group is what was written and synced at once: all of it counts, or nothing. A log's are
 * numbered on from file to file; one that has the number of the one before it is that one once
 * more. In each stands the hard state as it is with it. All integers in network order.
 */
#ifndef WARREN_RAFT_FILE_H
#define WARREN_RAFT_FILE_H

#include "raft/raft_entry.h"

#define RAFT_FILE_FORMAT     1u
#define RAFT_FILE_START      512u
#define RAFT_FILE_HEAD_BYTES 88u /* of a log */
#define RAFT_GROUP_HEAD      40u
#define RAFT_GROUP_ALIGN     512u /* no sector is written again that holds something safe */
#define RAFT_GROUP_MAX       ((size_t)1 << 30) /* octets of items */
#define RAFT_CLUSTER_ID      16u

enum raft_head_verdict {
    RAFT_HEAD_GOOD,
    RAFT_HEAD_BAD,
    RAFT_HEAD_NEWER, /* good, and of a format that this version does not know */
};

enum raft_log_flags {
    RAFT_LOG_FRESH = 1, /* what older files hold is not part of it */
};

struct raft_log_head {
    uint64_t generation;
    uint64_t salt;
    uint64_t first;
    uint64_t base;
    uint64_t base_term;
    uint8_t cluster_id[RAFT_CLUSTER_ID];
    uint16_t node;
    bool is_fresh;
};

void raft_file_put_log(uint8_t out[RAFT_FILE_HEAD_BYTES], const struct raft_log_head *head);
MUST_CHECK enum raft_head_verdict raft_file_read_log(struct slice bytes, struct raft_log_head *out);

/* `is->bytes` is in no head: it is the file's size. */
void raft_file_put_snapshot(uint8_t out[RAFT_FILE_START], const struct raft_snapshot *is,
                            const uint8_t cluster_id[RAFT_CLUSTER_ID]);
MUST_CHECK enum raft_head_verdict raft_file_read_snapshot(struct slice bytes,
                                                          struct raft_snapshot *out,
                                                          uint8_t cluster_id[RAFT_CLUSTER_ID]);

/* ---- groups ---- */

enum raft_group_flags {
    RAFT_GROUP_LAST = 1,       /* of a snapshot */
    RAFT_GROUP_FOLLOWED = 2,   /* of a log, and there is a later one */
    RAFT_GROUP_RECOVERING = 4, /* the hard state says so */
};

struct raft_group {
    uint64_t number;
    uint32_t count;
    unsigned flags;
    uint16_t vote;
    uint64_t term;
    size_t length;      /* of the whole */
    struct slice items; /* borrowed */
};

static inline size_t raft_group_length(size_t item_bytes)
{
    return (RAFT_GROUP_HEAD + item_bytes + RAFT_GROUP_ALIGN - 1) & ~(size_t)(RAFT_GROUP_ALIGN - 1);
}

/* `bytes` has RAFT_GROUP_HEAD octets, then the items, then room for zeros: head and zeros are
 * filled in. Takes all of `g` but its length, and of the items their length. */
void raft_group_seal(uint8_t *bytes, const struct raft_group *g, uint64_t salt, uint64_t offset);

enum raft_cut {
    RAFT_CUT_GROUP,
    RAFT_CUT_MORE, /* *need octets are to be there first */
    RAFT_CUT_NONE, /* zeros: no group was written here, as far as the head tells */
    RAFT_CUT_BAD,
};

/* The group at `offset` of a file, which `bytes` begins with. */
MUST_CHECK enum raft_cut raft_group_cut(struct slice bytes, uint64_t salt, uint64_t offset,
                                        struct raft_group *out, size_t *need);

/* ---- items of a log ---- */

enum raft_item_kind {
    RAFT_ITEM_ENTRY = 1,
    RAFT_ITEM_TRUNCATE,
};

struct raft_item {
    enum raft_item_kind kind;
    uint64_t index;
    uint64_t term;
    enum raft_kind entry_kind;
    struct slice bytes; /* borrowed */
};

#define RAFT_TRUNCATE_BYTES 9u
size_t raft_item_entry_size(const struct raft_entry *e);
void raft_item_put_entry(struct wire_out *w, const struct raft_entry *e);
void raft_item_put_truncate(struct wire_out *w, uint64_t from);

/* False: it is none. */
MUST_CHECK bool raft_item_take(struct wire *w, struct raft_item *out);

/* ---- names ---- */

#define RAFT_FILE_NAME_ROOM 64u

/* "raft/log-0000002a", "raft/snapshot-000000000000002a-0123456789abcdef" (index and id) */
void raft_file_log_name(uint64_t generation, char name[RAFT_FILE_NAME_ROOM]);
void raft_file_snapshot_name(uint64_t index, uint64_t id, char name[RAFT_FILE_NAME_ROOM]);

/* Of names without the folder. */
MUST_CHECK bool raft_file_is_log(const char *name, uint64_t *generation);
MUST_CHECK bool raft_file_is_snapshot(const char *name, uint64_t *index, uint64_t *id);

#endif
