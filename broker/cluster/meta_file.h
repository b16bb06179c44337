/*
 * meta_file: the files that held the metadata before there were clusters, as octets: logs and
 * snapshots. They are read once, by meta_convert, and never written. No I/O, no state.
 *
 *   file   head, then from META_FILE_START on groups; zeros behind the last one of a log, LAST in
 *          the last one of a snapshot
 *   head   0 u64 magic   8 u32 format   12 u32 kind   16 u64 generation   24 u64 salt
 *          32 u64 first: number of the first group of this log, or of the log behind the snapshot
 *          40 store id, 16 octets   56 u64 check: XXH3 over what is before
 *   group  0 u32 magic   4 u32 octets of items   8 u64 number   16 u32 count of items   20 u32
 * flags 24 u64 check: XXH3 over what is before and the items, seeded with the salt and the group's
 * offset 32 items, then zeros up to a multiple of META_GROUP_ALIGN item   u8 kind; a command as
 * meta_wire.h has it, or u64: ids from this one on are given next
 *
 * A group is what was written and synced at once: all of it counts, or nothing. A log's are
 * numbered on from file to file, a snapshot's from 0; one that follows itself counts once. All
 * integers in network order.
 */
#ifndef WARREN_META_FILE_H
#define WARREN_META_FILE_H

#include "cluster/meta_wire.h"

#define META_HEAD_MAGIC      UINT64_C(0x57524e4d45544131) /* "WRNMETA1" */
#define META_GROUP_MAGIC     UINT32_C(0x4d475250)         /* "MGRP" */
#define META_FILE_FORMAT     1u
#define META_FILE_HEAD_BYTES 64u
#define META_GROUP_HEAD      32u
#define META_FILE_START      512u
#define META_GROUP_ALIGN     512u /* no sector is written again that holds something safe */
#define META_GROUP_MAX       ((size_t)1 << 30) /* octets of items */

enum meta_file_kind {
    META_FILE_LOG = 1,
    META_FILE_SNAPSHOT,
};

struct meta_file_head {
    enum meta_file_kind kind;
    uint64_t generation; /* a snapshot is followed by the log of the same one, that by the next */
    uint64_t salt;
    uint64_t first;
    uint8_t store_id[16];
};

enum meta_head_verdict {
    META_HEAD_GOOD,
    META_HEAD_BAD,
    META_HEAD_NEWER, /* good, and of a format that this version does not know */
};

MUST_CHECK enum meta_head_verdict meta_file_read_head(struct slice bytes,
                                                      struct meta_file_head *out);

/* ---- groups ---- */

enum meta_group_flags {
    META_GROUP_LAST = 1, /* of a snapshot */
};

struct meta_group {
    uint64_t number;
    uint32_t count;
    unsigned flags;
    size_t length;      /* of the whole */
    struct slice items; /* borrowed */
};

static inline size_t meta_group_length(size_t item_bytes)
{
    return (META_GROUP_HEAD + item_bytes + META_GROUP_ALIGN - 1) & ~(size_t)(META_GROUP_ALIGN - 1);
}

enum meta_cut {
    META_CUT_GROUP,
    META_CUT_MORE, /* *need octets are to be there first */
    META_CUT_NONE, /* zeros: no group was written here, as far as the head tells */
    META_CUT_BAD,
};

/* The group at `offset` of a file, which `bytes` begins with. */
MUST_CHECK enum meta_cut meta_group_cut(struct slice bytes, uint64_t salt, uint64_t offset,
                                        struct meta_group *out, size_t *need);

/* ---- items ---- */

enum meta_item_kind {
    META_ITEM_CMD = 1,
    META_ITEM_IDS,
};

struct meta_item {
    bool is_command;
    struct meta_cmd cmd;
    uint64_t id; /* first one of the command, or the next one */
};

/* Borrows its slices from the input. False: it is none. */
MUST_CHECK bool meta_item_take(struct wire *w, struct meta_item *out);

/* ---- names ---- */

#define META_NAME_ROOM 40u

/* "meta/log-0000002a", "meta/snapshot-0000002a" */
void meta_file_name(enum meta_file_kind kind, uint64_t generation, char name[META_NAME_ROOM]);

/* Of a name without the folder. */
MUST_CHECK bool meta_file_named(const char *name, enum meta_file_kind *kind, uint64_t *generation);

#endif
