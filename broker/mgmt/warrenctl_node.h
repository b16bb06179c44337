/*
 * warrenctl_node: which node is meant, and how it is reached.
 *
 * A node of this host is found in the run folder by its name and reached by its unix socket. A name
 * with a port, or of another host, is reached over TCP at its cluster port, with the cookie. Errors
 * name the node and the remedy.
 */
#ifndef WARREN_WARRENCTL_NODE_H
#define WARREN_WARRENCTL_NODE_H

#include "mgmt/warrenctl.h"

/* Find it and connect. */
MUST_CHECK bool warrenctl_node_connect(struct warrenctl *w, struct err *err);

/* Is the node that is connected one of this host, whose process can be watched? */
bool warrenctl_node_is_here(const struct warrenctl *w);

#endif
