#include "cluster/meta_items.h"

void meta_isr_item_put(struct wire_out *w, const struct meta_isr_item *item)
{
    wire_put_u64(w, item->qid);
    wire_put_u64(w, item->epoch);
    wire_put_u64(w, item->ver);
    wire_put_u16(w, item->node);
    wire_put_u32(w, item->inc);
    wire_put_u8(w, item->adds);
}

struct meta_isr_item meta_isr_item_take(struct wire *w)
{
    struct meta_isr_item item;
    item.qid = wire_u64(w);
    item.epoch = wire_u64(w);
    item.ver = wire_u64(w);
    item.node = wire_u16(w);
    item.inc = wire_u32(w);
    item.adds = wire_u8(w) != 0;
    return item;
}

void meta_move_item_put(struct wire_out *w, const struct meta_move_item *item)
{
    wire_put_u64(w, item->qid);
    wire_put_u64(w, item->epoch);
    wire_put_u16(w, item->node);
}

struct meta_move_item meta_move_item_take(struct wire *w)
{
    struct meta_move_item item;
    item.qid = wire_u64(w);
    item.epoch = wire_u64(w);
    item.node = wire_u16(w);
    return item;
}

void meta_set_item_put(struct wire_out *w, const struct meta_set_item *item)
{
    wire_put_u64(w, item->qid);
    wire_put_u64(w, item->ver);
}

struct meta_set_item meta_set_item_take(struct wire *w)
{
    struct meta_set_item item;
    item.qid = wire_u64(w);
    item.ver = wire_u64(w);
    return item;
}

void meta_replica_put(struct wire_out *w, const struct meta_replica *r)
{
    wire_put_u16(w, r->node);
    wire_put_u32(w, r->inc);
    wire_put_u64(w, r->left);
}

struct meta_replica meta_replica_take(struct wire *w)
{
    struct meta_replica r;
    r.node = wire_u16(w);
    r.inc = wire_u32(w);
    r.left = wire_u64(w);
    return r;
}

bool meta_items_suit(struct slice items, size_t item_bytes)
{
    return items.len != 0 && items.len % item_bytes == 0 &&
           items.len / item_bytes <= META_BATCH_MAX;
}
