#include "cluster/meta_file.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_SUMMED 56u
#define SUM_AT      24u

/* ---- head ---- */

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
    if (w.ran_out || magic != META_HEAD_MAGIC ||
        sum != hash_bytes(slice_head(bytes, HEAD_SUMMED), 0))
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
    if (magic != META_GROUP_MAGIC || len > META_GROUP_MAX)
        return META_CUT_BAD;
    *need = out->length;
    if (bytes.len < out->length)
        return META_CUT_MORE;
    out->items = slice_of(bytes.ptr + META_GROUP_HEAD, len);
    return sum == group_sum(head, out->items, salt, offset) ? META_CUT_GROUP : META_CUT_BAD;
}

/* ---- items ---- */

bool meta_item_take(struct wire *w, struct meta_item *out)
{
    uint8_t kind = wire_u8(w);
    out->is_command = kind == META_ITEM_CMD;
    if (out->is_command)
        return meta_wire_take(w, &out->cmd, &out->id);
    out->id = wire_u64(w);
    return kind == META_ITEM_IDS && !w->ran_out;
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
