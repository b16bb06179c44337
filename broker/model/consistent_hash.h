/*
 * consistent_hash: which of several weighted destinations a value belongs to.
 *
 * By rendezvous: each destination draws a number from the value and its own name, and the one that
 * draws best gets it, where a weight makes good numbers likelier in proportion. So equal values go
 * the same way on every node and after every restart, one destination more or less moves no value
 * but those that it gets or had, and a weight takes no memory, however large. (The plugin of
 * RabbitMQ fills a ring with as many places as weights add up to, for the same promises.)
 *
 *     struct consistent_hash best = consistent_hash_for(value);
 *     for each destination: if (consistent_hash_offer(&best, name, weight)) chosen = it;
 */
#ifndef WARREN_CONSISTENT_HASH_H
#define WARREN_CONSISTENT_HASH_H

#include "base/attr.h"
#include "base/slice.h"

struct consistent_hash {
    uint64_t value;
    double least; /* the best draw so far */
};

struct consistent_hash consistent_hash_for(struct slice value);

/* For the octets of a header, type included, or for a property; for one value that stands for all
 * messages without it. */
struct consistent_hash consistent_hash_for_header(struct slice headers, struct slice name);
struct consistent_hash consistent_hash_for_property(struct slice props, struct slice name);

/* Is this one better than all before? `weight` is as the binding key has it. */
bool consistent_hash_offer(struct consistent_hash *c, struct slice name, struct slice weight);

/* A whole number as Erlang reads it: a sign or none, then digits. False when it is none. One that
 * is too large for a double to tell from its neighbours is a number still. */
MUST_CHECK bool consistent_hash_weight(struct slice text, double *out);

#endif
