/*
 * location_wire: the frames of the location feed (META_SUB), over a link of class LINK_FEED.
 *
 *     a proxy                                  a broker
 *       SUB     version 1 | check 8 | from 8 | how many digests 2 (0 or 4096) | each 8
 *                                                BEGIN    index 8 | nodes
 *                                                BUCKETS  index 8 | first 2 | count 2 | buckets
 *                                                END      index 8
 *                                                CHANGES  from 8 | to 8 | changes
 *
 * `check` tells whether both hash names alike. A broker that still has every change after `from`
 * goes on with them; else it sends a snapshot (BEGIN .. END) of the buckets whose digests differ,
 * which is true as of END's index once the changes after BEGIN's were applied. The table of the one
 * who asks is complete up to CHANGES' `to`.
 *
 *     nodes    how many 2, each: node 2 | is up 1 | version 8 | swept 8
 *     bucket   entries varint, each: hash, less the one before and the bucket's first, varint
 *              | index less version, zigzag varint | node varint | flags 1       about 12 octets
 *     change   kind 1 | index less `from` varint | PUT: hash 8, node 2, flags 1
 *              | NODE: node 2, is up 1, swept less `from`, zigzag varint
 */
#ifndef WARREN_LOCATION_WIRE_H
#define WARREN_LOCATION_WIRE_H

#include "base/wire.h"
#include "gossip/location.h"

#define LOCATION_FEED_VERSION 1u

enum location_frame {
    LOCATION_SUB = 32,
    LOCATION_BEGIN = 33,
    LOCATION_BUCKETS_FRAME = 34,
    LOCATION_END = 35,
    LOCATION_CHANGES = 36
};

#define LOCATION_FRAME_BYTES ((size_t)64 * 1024) /* of BUCKETS and CHANGES, about */

struct location_sub_word {
    uint8_t version;
    uint64_t check;
    uint64_t from;
    bool has_digests;
    struct slice digests; /* LOCATION_BUCKETS times 8 octets */
};
void location_sub_put(struct wire_out *w, uint64_t check, const struct location_table *t);
MUST_CHECK bool location_sub_take(struct slice in, struct location_sub_word *out);
uint64_t location_sub_digest(const struct location_sub_word *s, unsigned bucket);
#define LOCATION_SUB_MAX ((size_t)19 + LOCATION_BUCKETS * 8)

/* One thing that changed. */
enum location_change_kind { LOCATION_CHANGE_PUT = 1, LOCATION_CHANGE_NODE = 2 };
struct location_change {
    enum location_change_kind kind;
    struct location put; /* ver is its index */
    struct location_node node;
};
#define LOCATION_CHANGE_MAX 40u /* octets at most */
void location_change_put(struct wire_out *w, uint64_t from, const struct location_change *c);
MUST_CHECK bool location_change_take(struct wire *w, uint64_t from, struct location_change *out);

/* A bucket without its tombstones; and back into a table. */
void location_bucket_put(struct wire_out *w, const struct location_table *t, unsigned bucket,
                         uint64_t index);
MUST_CHECK bool location_bucket_take(struct wire *w, struct location_table *t, unsigned bucket,
                                     uint64_t index);
size_t location_bucket_most(const struct location_table *t, unsigned bucket); /* octets */

void location_nodes_put(struct wire_out *w, const struct location_table *t);
MUST_CHECK bool location_nodes_take(struct wire *w, struct location_table *t);

/* A change as a rumour (gossip_wire.h), and back: one key a queue or node, the index its version.
 */
size_t location_rumour_put(const struct location_change *c, uint8_t *room, uint64_t *key,
                           uint64_t *ver);
MUST_CHECK bool location_rumour_take(uint64_t key, uint64_t ver, struct slice in,
                                     struct location_change *out);
#define LOCATION_RUMOUR_MAX 24u

#endif
