/*
 * old_log_kit: definitions on disk as versions before the cluster kept them, for the tests of what
 * reads them. The layout is in meta_file.h.
 */
#ifndef WARREN_TESTS_OLD_LOG_KIT_H
#define WARREN_TESTS_OLD_LOG_KIT_H

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cluster/meta_file.h"
#include "mem_disk.h"

static inline void old_head_put(uint8_t out[META_FILE_HEAD_BYTES], const struct meta_file_head *h)
{
    struct wire_out w = wire_out_over(out, META_FILE_HEAD_BYTES);
    wire_put_u64(&w, META_HEAD_MAGIC);
    wire_put_u32(&w, META_FILE_FORMAT);
    wire_put_u32(&w, (uint32_t)h->kind);
    wire_put_u64(&w, h->generation);
    wire_put_u64(&w, h->salt);
    wire_put_u64(&w, h->first);
    wire_put_bytes(&w, slice_of(h->store_id, sizeof h->store_id));
    wire_put_u64(&w, hash_bytes(wire_out_slice(&w), 0));
}

static inline size_t old_item_size(const struct meta_item *item)
{
    return 1 + (item->is_command ? meta_wire_size(&item->cmd) : 8);
}

static inline void old_item_put(struct wire_out *w, const struct meta_item *item)
{
    wire_put_u8(w, item->is_command ? META_ITEM_CMD : META_ITEM_IDS);
    if (item->is_command)
        meta_wire_put(w, &item->cmd, item->id);
    else
        wire_put_u64(w, item->id);
}

/* As meta_file.h says: head, items (which are there already), zeros. */
static inline void old_group_seal(uint8_t *group, const struct meta_group *g, uint64_t salt,
                                  uint64_t offset)
{
    uint8_t head[META_GROUP_HEAD * 2];
    struct wire_out w = wire_out_over(head, sizeof head);
    wire_put_u32(&w, META_GROUP_MAGIC);
    wire_put_u32(&w, (uint32_t)g->items.len);
    wire_put_u64(&w, g->number);
    wire_put_u32(&w, g->count);
    wire_put_u32(&w, g->flags);
    uint64_t sum = hash_bytes(wire_out_slice(&w), salt ^ hash_u64(offset));
    wire_put_u64(&w, hash_bytes(slice_of(group + META_GROUP_HEAD, g->items.len), sum));
    memcpy(group, head, META_GROUP_HEAD);
    size_t end = META_GROUP_HEAD + g->items.len;
    memset(group + end, 0, meta_group_length(g->items.len) - end);
}

/* A file that is being made, in memory. */
struct old_file {
    struct meta_file_head head;
    uint64_t next_number;
    uint8_t *bytes;
    size_t len;
};

static inline void old_file_begin(struct old_file *f, enum meta_file_kind kind, uint64_t generation,
                                  uint64_t first)
{
    *f = (struct old_file){ .head = { kind, generation, generation + 99, first, { 0 } } };
    f->next_number = kind == META_FILE_LOG ? first : 0;
    f->len = META_FILE_START;
    f->bytes = mem_zalloc(f->len);
    old_head_put(f->bytes, &f->head);
}

static inline void old_file_add(struct old_file *f, const struct meta_item *items, uint32_t count,
                                unsigned flags)
{
    struct meta_group g = { .number = f->next_number++, .count = count, .flags = flags };
    for (uint32_t i = 0; i < count; i++)
        g.items.len += old_item_size(&items[i]);
    size_t length = meta_group_length(g.items.len);
    f->bytes = mem_realloc(f->bytes, f->len + length);
    struct wire_out w = wire_out_over(f->bytes + f->len + META_GROUP_HEAD, g.items.len);
    for (uint32_t i = 0; i < count; i++)
        old_item_put(&w, &items[i]);
    CHECK(!w.overflow && wire_out_len(&w) == g.items.len);
    old_group_seal(f->bytes + f->len, &g, f->head.salt, f->len);
    f->len += length;
}

/* Onto the disk, with `zeros` behind it. */
static inline void old_file_end(struct old_file *f, struct disk *disk, size_t zeros)
{
    char name[META_NAME_ROOM];
    meta_file_name(f->head.kind, f->head.generation, name);
    mem_disk_put(disk, name, slice_of(f->bytes, f->len));
    mem_disk_resize(disk, name, f->len + zeros);
    mem_free(f->bytes);
}

#endif
