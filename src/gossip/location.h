/*
 * location: which node each queue is at, as a proxy keeps it: a table of 16 octets an entry.
 *
 *     entry   hash of vhost and name 8 | version 5 | node 2 | flags 1
 *
 * A projection of the metadata log: a version is the index of the entry that put a queue where it
 * is, or took it away. An entry is replaced only by one with a higher version, always; so hints,
 * feeds of several brokers and snapshots may come in any order. The table is *complete* up to an
 * index when everything up to it was heard: what is not there then does not exist, and an older
 * word about it does not count. What was taken away at a later index leaves a tombstone until then.
 *
 * What is transient goes with its node: a node that went down, or came back as another process, has
 * lost it, and whatever is older than that does not count either. So one word moves any number of
 * queues. What is durable stays, and is out of reach while its node is down.
 *
 * Hashes may collide, and words may be late: a wrong answer costs one redirect by the broker, which
 * knows the names. Pure, but for memory.
 */
#ifndef WARREN_LOCATION_H
#define WARREN_LOCATION_H

#include "base/attr.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define LOCATION_VER_MAX   (((uint64_t)1 << 40) - 1)
#define LOCATION_BUCKETS   4096u
#define LOCATION_NODES_MAX 4096u

enum location_flag {
    LOCATION_TRANSIENT = 1, /* goes with its node */
    LOCATION_GONE = 2,      /* a tombstone */
    LOCATION_LOOSE = 4,     /* a consumer may leave it and come back: nobody gains by that */
};

struct location {
    uint64_t hash;
    uint64_t ver;
    uint16_t node;
    uint8_t flags;
};

/* What is known of a node. */
struct location_node {
    uint16_t node;
    bool is_up;
    uint64_t ver;   /* of that */
    uint64_t swept; /* what was transient there before this index is gone */
};

struct location_table;

struct location_table *location_new(void);
void location_free(struct location_table **t);
void location_clear(struct location_table *t);

/* `key` is the cluster's own, so that nobody can choose names that collide. */
uint64_t location_hash(uint64_t key, struct slice vhost, struct slice name);

/* False: it is older than what is known, and nothing changed. A version is at least 1. */
bool location_put(struct location_table *t, const struct location *l);

/* A node is up or down since `ver`, and what was transient there before `swept` is gone. False: it
 * is older than what is known. */
bool location_put_node(struct location_table *t, const struct location_node *n);

/* False: there is no such queue, as far as is known. *is_up: so is its node. */
bool location_find(const struct location_table *t, uint64_t hash, struct location *out,
                   bool *is_up);

/* Everything up to `index` has been told. Never falls. */
void location_reach(struct location_table *t, uint64_t index);
uint64_t location_index(const struct location_table *t);

/* A snapshot as of `index` begins: whatever is not there yet and is not younger than that comes
 * with it alone, since its bucket may have been told already, or is not told because its digest was
 * the same when we asked: so from asking on, with LOCATION_VER_MAX. 0: it is over, or given up, or
 * there is none. */
void location_snapshot(struct location_table *t, uint64_t index);

/* ---- by buckets: in the order of their hashes ---- */

/* Its entries, tombstones among them; borrowed until the next change. */
struct location_bucket;
size_t location_bucket_count(const struct location_table *t, unsigned bucket);
struct location location_bucket_at(const struct location_table *t, unsigned bucket, size_t i);
/* The same for tables whose buckets have the same entries, whatever their tombstones. */
uint64_t location_bucket_digest(const struct location_table *t, unsigned bucket);
unsigned location_bucket_of(uint64_t hash);

/* A bucket as it was at `index` or, in parts, later: `list` in rising order of hashes, no
 * tombstones. What is not in the list and not younger than `index` is gone. False: the list is not
 * in order, or not of this bucket. */
MUST_CHECK bool location_put_bucket(struct location_table *t, unsigned bucket, uint64_t index,
                                    const struct location *list, size_t count);

/* The number of a bucket that has changed since it was last answered here, or -1: what is copied
 * elsewhere is copied by these. All of them have, when the table is new or was cleared. */
int location_take_changed(struct location_table *t);

size_t location_node_count(const struct location_table *t);
struct location_node location_node_at(const struct location_table *t, size_t i);

/* ---- figures ---- */

struct location_figures {
    uint64_t index;
    uint64_t entries, tombstones;
    uint64_t bytes; /* of memory */
    uint64_t old;   /* words that did not count */
};
void location_figures(const struct location_table *t, struct location_figures *out);

/* What must hold; for tests. */
void location_check(const struct location_table *t);

#endif
