/*
 * meta_items: the lists in commands on placements, as octets. No state.
 *
 *   META_ISR_CHANGE    8 qid   8 epoch   8 ver   2 node   4 incarnation   1 adds: 0 or 1
 *   META_MASTER_MOVE   8 qid   8 epoch   2 node
 *   META_REPLICAS_SET  nodes: 2 node     items: 8 qid   8 ver
 *   META_NODE_DAMAGED  8 qid
 *   META_KEPT_PLACEMENT  2 node   4 incarnation   8 left
 *
 * Each is so many octets and the next one follows. All integers in network order.
 */
#ifndef WARREN_META_ITEMS_H
#define WARREN_META_ITEMS_H

#include "base/wire.h"
#include "cluster/meta_placement.h"

#define META_BATCH_MAX          4096u /* items of one command */
#define META_ISR_ITEM_BYTES     31u
#define META_MOVE_ITEM_BYTES    18u
#define META_SET_ITEM_BYTES     16u
#define META_NODE_ITEM_BYTES    2u
#define META_QUEUE_ITEM_BYTES   8u
#define META_REPLICA_ITEM_BYTES 14u

struct meta_isr_item {
    uint64_t qid;
    uint64_t epoch;
    uint64_t ver;
    uint32_t inc;
    uint16_t node;
    bool adds; /* else it takes the node out */
};

struct meta_move_item {
    uint64_t qid;
    uint64_t epoch;
    uint16_t node;
};

struct meta_set_item {
    uint64_t qid;
    uint64_t ver;
};

void meta_isr_item_put(struct wire_out *w, const struct meta_isr_item *item);
void meta_move_item_put(struct wire_out *w, const struct meta_move_item *item);
void meta_set_item_put(struct wire_out *w, const struct meta_set_item *item);
void meta_replica_put(struct wire_out *w, const struct meta_replica *r);

/* Of a list that meta_items_suit. */
struct meta_isr_item meta_isr_item_take(struct wire *w);
struct meta_move_item meta_move_item_take(struct wire *w);
struct meta_set_item meta_set_item_take(struct wire *w);
struct meta_replica meta_replica_take(struct wire *w);

/* A list of whole items, at least one and at most META_BATCH_MAX. */
MUST_CHECK bool meta_items_suit(struct slice items, size_t item_bytes);

#endif
