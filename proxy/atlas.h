/*
 * atlas: where queues are, in the form that workers read: without locks, on any worker's loop,
 * while the control loop changes it.
 *
 * A copy of a location_table (gossip/location.h), bucket by bucket: each is immutable, and one that
 * changes is replaced and retired through the epoch. A million queues are 16 MB; a change copies
 * one bucket of 4096, and what befalls a node is one word in a small list. Several atlases can be
 * about several clusters.
 *
 * What it says is a hint. A reader that looks while it changes gets what was or what will be.
 */
#ifndef WARREN_ATLAS_H
#define WARREN_ATLAS_H

#include "gossip/location.h"
#include "io/epoch.h"

struct atlas;
struct leads;

struct atlas *atlas_new(struct epoch *epoch);
/* Through the epoch: whoever looks now may do so to its end. */
void atlas_retire(struct atlas **a);

/* ---- the control loop ---- */

/* Take over what has changed in `t`, whose names are hashed by `key`. */
void atlas_follow(struct atlas *a, struct location_table *t, uint64_t key);

/* Where messages to exchanges land, of the same cluster, by this atlas' hashes; before anybody
 * looks. Not taken. */
void atlas_set_leads(struct atlas *a, struct leads *leads);

/* ---- any loop of the epoch ---- */

enum atlas_word {
    ATLAS_UNKNOWN, /* there is no such queue, as far as is known */
    ATLAS_UP,      /* at *node, which is up */
    ATLAS_DOWN,    /* at *node, which is not */
};

/* `hash` may be NULL: the name's number in this atlas. */
enum atlas_word atlas_find(const struct atlas *a, struct slice vhost, struct slice queue,
                           uint16_t *node, uint64_t *hash);

/* The same of a queue whose hash is known. */
enum atlas_word atlas_find_hashed(const struct atlas *a, uint64_t hash, uint16_t *node);

/* NULL: nobody knows. */
struct leads *atlas_leads(const struct atlas *a);

/* Is it known, and may its consumers leave it and come back (LOCATION_LOOSE)? */
bool atlas_is_loose(const struct atlas *a, struct slice vhost, struct slice queue);

/* Rises when a known queue has another master, and when a node goes or comes. */
uint64_t atlas_moves(const struct atlas *a);

/* Rises with each change at all. */
uint64_t atlas_news(const struct atlas *a);

/* How many queues are known, and how many each node masters; for lists. `masters` has room for
 * `most` nodes, sorted by number; returns how many were put. Nodes without queues are in it, too.
 */
struct atlas_master {
    uint16_t node;
    bool is_up;
    uint64_t queues;
};
size_t atlas_masters(const struct atlas *a, struct atlas_master *masters, size_t most);
uint64_t atlas_count(const struct atlas *a);

#endif
