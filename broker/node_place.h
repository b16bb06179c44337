/*
 * node_place: where another node of the cluster is dialled, from what it has said of itself. No
 * state.
 */
#ifndef WARREN_NODE_PLACE_H
#define WARREN_NODE_PLACE_H

#include "base/attr.h"
#include "cluster/meta.h"

struct meta_node;

struct node_place {
    char host[META_NAME_MAX + 1];
    char name[META_NAME_MAX + 1]; /* NAME@HOST, that is to answer */
    uint16_t port;
};

/* False: it has not said so. */
MUST_CHECK bool node_place_of(const struct meta_node *n, struct node_place *out);

#endif
