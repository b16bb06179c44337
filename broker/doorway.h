/*
 * doorway: the node's place in its cluster's network: the cluster port ([listen] cluster), and who
 * the node is to those who come there and to whom it goes.
 *
 * It owns the door and the identity; the halls behind the door are their owners' (mgmt/ctl.h, ...),
 * of which it opens and closes those of the shards (remote/remote.h).
 * The control thread, but for doorway_node.
 */
#ifndef WARREN_DOORWAY_H
#define WARREN_DOORWAY_H

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

struct broker;
struct broker_conf;
struct doorway;
struct link_door;
struct link_node;

MUST_CHECK struct doorway *doorway_new(struct broker *b, struct err *err);

/* Bind; accepting starts when the control thread's loop runs. The halls are there by then. */
MUST_CHECK bool doorway_open(struct doorway *d, struct err *err);
uint16_t doorway_port(const struct doorway *d); /* the first that was bound; 0: none */

/* Who we are to others; any thread. */
struct link_node *doorway_node(const struct doorway *d);
struct link_door *doorway_door(const struct doorway *d);

/* Links to other nodes that begin from now on show and demand the certificates of [tls]. False:
 * they cannot be read, and all stays as it was. */
MUST_CHECK bool doorway_set_certificate(struct doorway *d, const struct broker_conf *conf,
                                        struct err *err);

/* Accept no more. */
void doorway_close(struct doorway *d);

/* No link and no hall is left. NULL is allowed. */
void doorway_free(struct doorway **d);

#endif
