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
 *       ASK     id 8 | vhost | exchange | key, short strings each
 *                                                LEADS    id 8 | any key 1 | how many 1 | hashes 8
 *                                                ROUTES
 *
 * A proxy may ask where messages to an exchange with a key land: LEADS names the queues by their
 * hashes, none when it is nowhere, not known by exchange and key alone, or too many; `any key` says
 * that other keys lead there as well. Whoever has asked hears once in a while (ROUTES) that answers
 * may have changed. A broker of before passes over ASK, and says neither: so the version is the
 * same.
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
    LOCATION_CHANGES = 36,
    LOCATION_ASK = 37,
    LOCATION_LEADS = 38,
    LOCATION_ROUTES = 39,
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

/* Where does a message land? The names are lent. */
struct location_ask {
    uint64_t id; /* for the answer */
    struct slice vhost, exchange, key;
};
void location_ask_put(struct wire_out *w, const struct location_ask *a);
MUST_CHECK bool location_ask_take(struct slice in, struct location_ask *out);
#define LOCATION_ASK_MAX ((size_t)8 + 3 * 256)

struct location_leads {
    uint64_t id;
    bool any_key;
    uint8_t count;
#define LOCATION_LEADS_QUEUES 32u
    uint64_t hashes[LOCATION_LEADS_QUEUES];
};
void location_leads_put(struct wire_out *w, const struct location_leads *l);
MUST_CHECK bool location_leads_take(struct slice in, struct location_leads *out);
#define LOCATION_LEADS_MAX ((size_t)10 + LOCATION_LEADS_QUEUES * 8)

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
