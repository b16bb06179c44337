/*
 * cluster_place: where the cluster port of a node is, by what people call it.
 *
 * NAME@HOST (of this host: from its run folder; else the default port there), host:port,
 * [v6]:port, and several of these between commas. Looks into files: for a thread that may block.
 */
#ifndef WARREN_CLUSTER_PLACE_H
#define WARREN_CLUSTER_PLACE_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define CLUSTER_PLACE_HOST_BYTES 256u
#define CLUSTER_PLACE_PORT       25672u

struct cluster_place {
    char host[CLUSTER_PLACE_HOST_BYTES];
    uint16_t port;
};

/* How many were found, up to `room`. 0: *err says which of the words is no place. `data_dir` is
 * where the nodes' folders of this host lie. */
size_t cluster_places(const char *words, const char *data_dir, struct cluster_place *out,
                      size_t room, struct err *err);

#endif
