#include "cluster/meta_file.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_MAGIC  UINT64_C(0x57524e4d45544131) /* "WRNMETA1" */
#define GROUP_MAGIC UINT32_C(0x4d475250)         /* "MGRP" */
#define HEAD_SUMMED 56u
#define SUM_AT      24u
#define ITEM_CMD    1u
#define ITEM_IDS    2u

/* At fixed places, where there is room. */
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

/* ---- head ---- */

void meta_file_put_head(uint8_t out[META_FILE_HEAD_BYTES], const struct meta_file_head *head)
{
    put_u64(out, HEAD_MAGIC);
    put_u32(out + 8, META_FILE_FORMAT);
    put_u32(out + 12, (uint32_t)head->kind);
    put_u64(out + 16, head->generation);
    put_u64(out + 24, head->salt);
    put_u64(out + 32, head->first);
    memcpy(out + 40, head->store_id, sizeof head->store_id);
    put_u64(out + HEAD_SUMMED, hash_bytes(slice_of(out, HEAD_SUMMED), 0));
}

enum meta_head_verdict meta_file_read_head(struct slice bytes, struct meta_file_head *out)
{
    struct wire w = wire_over(slice_head(bytes, META_FILE_HEAD_BYTES));
    uint64_t magic = wire_u64(&w);
    uint32_t format = wire_u32(&w);
    uint32_t kind = wire_u32(&w);
    *out = (struct meta_file_head){ .kind = (enum meta_file_kind)kind };
    out->generation = wire_u64(&w);
    out->salt = wire_u64(&w);
    out->first = wire_u64(&w);
    struct slice id = wire_take(&w, sizeof out->store_id);
    uint64_t sum = wire_u64(&w);
    if (w.ran_out || magic != HEAD_MAGIC || sum != hash_bytes(slice_head(bytes, HEAD_SUMMED), 0))
        return META_HEAD_BAD;
    memcpy(out->store_id, id.ptr, sizeof out->store_id);
    if (format > META_FILE_FORMAT)
        return META_HEAD_NEWER;
    return kind == META_FILE_LOG || kind == META_FILE_SNAPSHOT ? META_HEAD_GOOD : META_HEAD_BAD;
}

/* ---- groups ---- */

/* Of a head and the items behind its sum. */
static uint64_t group_sum(struct slice head, struct slice items, uint64_t salt, uint64_t offset)
{
    return hash_bytes(items, hash_bytes(slice_head(head, SUM_AT), salt ^ hash_u64(offset)));
}

void meta_group_seal(uint8_t *group, const struct meta_group *g, uint64_t salt, uint64_t offset)
{
    CHECK(g->items.len <= META_GROUP_MAX && offset % META_GROUP_ALIGN == 0);
    put_u32(group, GROUP_MAGIC);
    put_u32(group + 4, (uint32_t)g->items.len);
    put_u64(group + 8, g->number);
    put_u32(group + 16, g->count);
    put_u32(group + 20, g->flags);
    put_u64(group + SUM_AT,
            group_sum(slice_of(group, SUM_AT), slice_of(group + META_GROUP_HEAD, g->items.len),
                      salt, offset));
    size_t end = META_GROUP_HEAD + g->items.len;
    memset(group + end, 0, meta_group_length(g->items.len) - end);
}

static bool is_zero(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != 0)
            return false;
    return true;
}

enum meta_cut meta_group_cut(struct slice bytes, uint64_t salt, uint64_t offset,
                             struct meta_group *out, size_t *need)
{
    struct slice head = slice_head(bytes, META_GROUP_HEAD);
    *need = META_GROUP_HEAD;
    if (head.len < META_GROUP_HEAD)
        return META_CUT_MORE;
    if (is_zero(head))
        return META_CUT_NONE;
    struct wire w = wire_over(head);
    uint32_t magic = wire_u32(&w);
    uint32_t len = wire_u32(&w);
    *out = (struct meta_group){ .number = wire_u64(&w), .length = meta_group_length(len) };
    out->count = wire_u32(&w);
    out->flags = wire_u32(&w);
    uint64_t sum = wire_u64(&w);
    /* Judged before it is waited for. */
    if (magic != GROUP_MAGIC || len > META_GROUP_MAX)
        return META_CUT_BAD;
    *need = out->length;
    if (bytes.len < out->length)
        return META_CUT_MORE;
    out->items = slice_of(bytes.ptr + META_GROUP_HEAD, len);
    return sum == group_sum(head, out->items, salt, offset) ? META_CUT_GROUP : META_CUT_BAD;
}

/* ---- items ---- */

size_t meta_item_size(const struct meta_item *item)
{
    return 1 + (item->is_command ? meta_wire_size(&item->cmd) : 8);
}

void meta_item_put(struct wire_out *w, const struct meta_item *item)
{
    wire_put_u8(w, item->is_command ? ITEM_CMD : ITEM_IDS);
    if (item->is_command)
        meta_wire_put(w, &item->cmd, item->id);
    else
        wire_put_u64(w, item->id);
}

bool meta_item_take(struct wire *w, struct meta_item *out)
{
    uint8_t kind = wire_u8(w);
    out->is_command = kind == ITEM_CMD;
    if (out->is_command)
        return meta_wire_take(w, &out->cmd, &out->id);
    out->id = wire_u64(w);
    return kind == ITEM_IDS && !w->ran_out;
}

/* ---- names ---- */

static const char *const kinds[] = { [META_FILE_LOG] = "log-", [META_FILE_SNAPSHOT] = "snapshot-" };

void meta_file_name(enum meta_file_kind kind, uint64_t generation, char name[META_NAME_ROOM])
{
    int len = snprintf(name, META_NAME_ROOM, "meta/%s%08llx", kinds[kind],
                       (unsigned long long)generation);
    CHECK(len > 0 && (unsigned)len < META_NAME_ROOM);
}

bool meta_file_named(const char *name, enum meta_file_kind *kind, uint64_t *generation)
{
    char back[META_NAME_ROOM];
    for (unsigned k = META_FILE_LOG; k <= META_FILE_SNAPSHOT; k++) {
        size_t n = strlen(kinds[k]);
        if (strncmp(name, kinds[k], n) != 0)
            continue;
        *kind = (enum meta_file_kind)k;
        *generation = strtoull(name + n, NULL, 16);
        meta_file_name(*kind, *generation, back);
        return strcmp(back + sizeof "meta/" - 1, name) == 0;
    }
    return false;
}
