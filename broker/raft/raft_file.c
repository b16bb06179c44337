#include "raft/raft_file.h"

#include "base/check.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_MAGIC      UINT64_C(0x57524e524c4f4731) /* "WRNRLOG1" */
#define SNAPSHOT_MAGIC UINT64_C(0x57524e52534e5031) /* "WRNRSNP1" */
#define GROUP_MAGIC    UINT32_C(0x52475250)         /* "RGRP" */
#define LOG_SUMMED     80u
#define SUM_AT         32u
#define CONFIG_AT      68u
#define CONFIG_MAX     (2u + 3u * RAFT_MEMBERS_MAX)

_Static_assert(CONFIG_AT + CONFIG_MAX + 8 <= RAFT_FILE_START, "a snapshot's head has room");

/* ---- heads ---- */

/* At fixed places, where there is room. */
static void put_u16(uint8_t *at, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(at, &v, sizeof v);
}

static void put_u32(uint8_t *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof v);
}

static void put_u64(uint8_t *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof v);
}

void raft_file_put_log(uint8_t out[RAFT_FILE_HEAD_BYTES], const struct raft_log_head *head)
{
    memset(out, 0, RAFT_FILE_HEAD_BYTES);
    put_u64(out, LOG_MAGIC);
    put_u32(out + 8, RAFT_FILE_FORMAT);
    put_u32(out + 12, head->is_fresh ? RAFT_LOG_FRESH : 0);
    put_u64(out + 16, head->generation);
    put_u64(out + 24, head->salt);
    put_u64(out + 32, head->first);
    put_u64(out + 40, head->base);
    put_u64(out + 48, head->base_term);
    memcpy(out + 56, head->cluster_id, sizeof head->cluster_id);
    put_u16(out + 72, head->node);
    put_u64(out + LOG_SUMMED, hash_bytes(slice_of(out, LOG_SUMMED), 0));
}

enum raft_head_verdict raft_file_read_log(struct slice bytes, struct raft_log_head *out)
{
    struct wire w = wire_over(slice_head(bytes, RAFT_FILE_HEAD_BYTES));
    uint64_t magic = wire_u64(&w);
    uint32_t format = wire_u32(&w);
    uint32_t flags = wire_u32(&w);
    *out = (struct raft_log_head){ .is_fresh = (flags & RAFT_LOG_FRESH) != 0 };
    out->generation = wire_u64(&w);
    out->salt = wire_u64(&w);
    out->first = wire_u64(&w);
    out->base = wire_u64(&w);
    out->base_term = wire_u64(&w);
    struct slice id = wire_take(&w, sizeof out->cluster_id);
    out->node = wire_u16(&w);
    (void)wire_take(&w, 6);
    uint64_t sum = wire_u64(&w);
    if (w.ran_out || magic != LOG_MAGIC || sum != hash_bytes(slice_head(bytes, LOG_SUMMED), 0))
        return RAFT_HEAD_BAD;
    memcpy(out->cluster_id, id.ptr, sizeof out->cluster_id);
    return format > RAFT_FILE_FORMAT ? RAFT_HEAD_NEWER : RAFT_HEAD_GOOD;
}

void raft_file_put_snapshot(uint8_t out[RAFT_FILE_START], const struct raft_snapshot *is,
                            const uint8_t cluster_id[RAFT_CLUSTER_ID])
{
    memset(out, 0, RAFT_FILE_START);
    put_u64(out, SNAPSHOT_MAGIC);
    put_u32(out + 8, RAFT_FILE_FORMAT);
    put_u64(out + 16, is->index);
    put_u64(out + 24, is->term);
    put_u64(out + 32, is->id);
    put_u64(out + 40, is->config_index);
    memcpy(out + 48, cluster_id, RAFT_CLUSTER_ID);
    struct wire_out w = wire_out_over(out + CONFIG_AT, CONFIG_MAX);
    raft_config_put(&w, &is->config);
    CHECK(!w.overflow);
    put_u32(out + CONFIG_AT - 4, (uint32_t)wire_out_len(&w));
    size_t summed = CONFIG_AT + wire_out_len(&w);
    put_u64(out + summed, hash_bytes(slice_of(out, summed), 0));
}

enum raft_head_verdict raft_file_read_snapshot(struct slice bytes, struct raft_snapshot *out,
                                               uint8_t cluster_id[RAFT_CLUSTER_ID])
{
    struct wire w = wire_over(slice_head(bytes, RAFT_FILE_START));
    uint64_t magic = wire_u64(&w);
    uint32_t format = wire_u32(&w);
    (void)wire_u32(&w);
    *out = (struct raft_snapshot){ .index = wire_u64(&w) };
    out->term = wire_u64(&w);
    out->id = wire_u64(&w);
    out->config_index = wire_u64(&w);
    struct slice cluster = wire_take(&w, RAFT_CLUSTER_ID);
    struct wire config = wire_over(wire_longstr(&w));
    size_t summed = slice_head(bytes, RAFT_FILE_START).len - wire_left(&w);
    uint64_t sum = wire_u64(&w);
    if (w.ran_out || magic != SNAPSHOT_MAGIC || sum != hash_bytes(slice_head(bytes, summed), 0))
        return RAFT_HEAD_BAD;
    if (format > RAFT_FILE_FORMAT)
        return RAFT_HEAD_NEWER;
    memcpy(cluster_id, cluster.ptr, RAFT_CLUSTER_ID);
    return raft_config_take(&config, &out->config) && out->index != 0 ? RAFT_HEAD_GOOD
                                                                      : RAFT_HEAD_BAD;
}

/* ---- groups ---- */

/* Of a head and the items behind its sum. */
static uint64_t group_sum(struct slice head, struct slice items, uint64_t salt, uint64_t offset)
{
    return hash_bytes(items, hash_bytes(slice_head(head, SUM_AT), salt ^ hash_u64(offset)));
}

void raft_group_seal(uint8_t *bytes, const struct raft_group *g, uint64_t salt, uint64_t offset)
{
    CHECK(g->items.len <= RAFT_GROUP_MAX && offset % RAFT_GROUP_ALIGN == 0);
    struct slice items = slice_of(bytes + RAFT_GROUP_HEAD, g->items.len);
    put_u32(bytes, GROUP_MAGIC);
    put_u32(bytes + 4, (uint32_t)g->items.len);
    put_u64(bytes + 8, g->number);
    put_u32(bytes + 16, g->count);
    put_u16(bytes + 20, (uint16_t)g->flags);
    put_u16(bytes + 22, g->vote);
    put_u64(bytes + 24, g->term);
    put_u64(bytes + SUM_AT, group_sum(slice_of(bytes, SUM_AT), items, salt, offset));
    size_t end = RAFT_GROUP_HEAD + g->items.len;
    memset(bytes + end, 0, raft_group_length(g->items.len) - end);
}

static bool is_zero(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != 0)
            return false;
    return true;
}

enum raft_cut raft_group_cut(struct slice bytes, uint64_t salt, uint64_t offset,
                             struct raft_group *out, size_t *need)
{
    struct slice head = slice_head(bytes, RAFT_GROUP_HEAD);
    *need = RAFT_GROUP_HEAD;
    if (head.len < RAFT_GROUP_HEAD)
        return RAFT_CUT_MORE;
    if (is_zero(head))
        return RAFT_CUT_NONE;
    struct wire w = wire_over(head);
    uint32_t magic = wire_u32(&w);
    uint32_t len = wire_u32(&w);
    *out = (struct raft_group){ .number = wire_u64(&w), .length = raft_group_length(len) };
    out->count = wire_u32(&w);
    out->flags = wire_u16(&w);
    out->vote = wire_u16(&w);
    out->term = wire_u64(&w);
    uint64_t sum = wire_u64(&w);
    /* Judged before it is waited for. */
    if (magic != GROUP_MAGIC || len > RAFT_GROUP_MAX)
        return RAFT_CUT_BAD;
    *need = out->length;
    if (bytes.len < out->length)
        return RAFT_CUT_MORE;
    out->items = slice_of(bytes.ptr + RAFT_GROUP_HEAD, len);
    return sum == group_sum(head, out->items, salt, offset) ? RAFT_CUT_GROUP : RAFT_CUT_BAD;
}

/* ---- items ---- */

size_t raft_item_entry_size(const struct raft_entry *e)
{
    return 1 + 1 + 8 + 8 + 4 + raft_entry_slice(e).len;
}

void raft_item_put_entry(struct wire_out *w, const struct raft_entry *e)
{
    wire_put_u8(w, RAFT_ITEM_ENTRY);
    wire_put_u8(w, (uint8_t)e->kind);
    wire_put_u64(w, e->index);
    wire_put_u64(w, e->term);
    wire_put_longstr(w, raft_entry_slice(e));
}

void raft_item_put_truncate(struct wire_out *w, uint64_t from)
{
    wire_put_u8(w, RAFT_ITEM_TRUNCATE);
    wire_put_u64(w, from);
}

bool raft_item_take(struct wire *w, struct raft_item *out)
{
    uint8_t kind = wire_u8(w);
    *out = (struct raft_item){ .kind = (enum raft_item_kind)kind };
    if (kind == RAFT_ITEM_ENTRY) {
        uint8_t entry_kind = wire_u8(w);
        out->entry_kind = (enum raft_kind)entry_kind;
        out->index = wire_u64(w);
        out->term = wire_u64(w);
        out->bytes = wire_longstr(w);
        return !w->ran_out && entry_kind >= RAFT_NOOP && entry_kind <= RAFT_CONFIG;
    }
    out->index = wire_u64(w);
    return kind == RAFT_ITEM_TRUNCATE && !w->ran_out;
}

/* ---- names ---- */

void raft_file_log_name(uint64_t generation, char name[RAFT_FILE_NAME_ROOM])
{
    int len = snprintf(name, RAFT_FILE_NAME_ROOM, "raft/log-%08" PRIx64, generation);
    CHECK(len > 0 && (unsigned)len < RAFT_FILE_NAME_ROOM);
}

void raft_file_snapshot_name(uint64_t index, uint64_t id, char name[RAFT_FILE_NAME_ROOM])
{
    int len =
        snprintf(name, RAFT_FILE_NAME_ROOM, "raft/snapshot-%016" PRIx64 "-%016" PRIx64, index, id);
    CHECK(len > 0 && (unsigned)len < RAFT_FILE_NAME_ROOM);
}

bool raft_file_is_log(const char *name, uint64_t *generation)
{
    char back[RAFT_FILE_NAME_ROOM];
    if (strncmp(name, "log-", 4) != 0)
        return false;
    *generation = strtoull(name + 4, NULL, 16);
    raft_file_log_name(*generation, back);
    return strcmp(back + sizeof "raft/" - 1, name) == 0;
}

bool raft_file_is_snapshot(const char *name, uint64_t *index, uint64_t *id)
{
    char back[RAFT_FILE_NAME_ROOM];
    char *end;
    if (strncmp(name, "snapshot-", 9) != 0)
        return false;
    *index = strtoull(name + 9, &end, 16);
    *id = *end == '-' ? strtoull(end + 1, NULL, 16) : 0;
    raft_file_snapshot_name(*index, *id, back);
    return strcmp(back + sizeof "raft/" - 1, name) == 0;
}
