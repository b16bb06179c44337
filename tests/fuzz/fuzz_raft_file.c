/* The files of Raft's disk: heads, groups and items, whatever is in them. The first octet says
 * which; items that are taken are written again as they were. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/raft_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_heads(struct slice in)
{
    struct raft_log_head log;
    struct raft_snapshot snapshot;
    uint8_t cluster_id[RAFT_CLUSTER_ID], room[RAFT_FILE_START];
    if (raft_file_read_log(in, &log) == RAFT_HEAD_GOOD)
        raft_file_put_log(room, &log);
    if (raft_file_read_snapshot(in, &snapshot, cluster_id) == RAFT_HEAD_GOOD) {
        raft_file_put_snapshot(room, &snapshot, cluster_id);
        CHECK(raft_config_voters(&snapshot.config) <= RAFT_VOTERS_MAX);
    }
}

static void cut_groups(struct slice in)
{
    struct raft_group g;
    size_t need = 0;
    for (uint64_t at = 0; at < in.len; at += RAFT_GROUP_ALIGN) {
        struct slice rest = slice_of(in.ptr + at, in.len - (size_t)at);
        enum raft_cut cut = raft_group_cut(rest, 1, at, &g, &need);
        CHECK(cut != RAFT_CUT_MORE || need > rest.len);
        CHECK(cut != RAFT_CUT_GROUP || g.length <= rest.len);
    }
}

static void write_again(const struct raft_item *item, struct slice was)
{
    uint8_t *room = mem_alloc(was.len);
    struct wire_out w = wire_out_over(room, was.len);
    struct raft_entry e = { .index = item->index, .term = item->term, .kind = item->entry_kind };
    if (item->bytes.len != 0)
        e.bytes = buf_copy(item->bytes);
    if (item->kind == RAFT_ITEM_ENTRY)
        raft_item_put_entry(&w, &e);
    else
        raft_item_put_truncate(&w, item->index);
    CHECK(!w.overflow && slice_eq(wire_out_slice(&w), was));
    buf_unref(&e.bytes);
    mem_free(room);
}

static void take_items(struct slice in)
{
    struct wire w = wire_over(in);
    struct raft_item item;
    const uint8_t *at = w.at;
    while (wire_left(&w) != 0 && raft_item_take(&w, &item)) {
        write_again(&item, slice_of(at, (size_t)(w.at - at)));
        at = w.at;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice in = slice_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        read_heads(in);
        break;
    case 1:
        cut_groups(in);
        break;
    default:
        take_items(in);
    }
    return 0;
}
