/*
 * bootstrap: what a node has that nobody has told anything yet: a vhost, a user, a cluster id.
 */
#ifndef WARREN_BOOTSTRAP_H
#define WARREN_BOOTSTRAP_H

#include "base/err.h"
#include "broker_conf.h"

struct cluster_first;
struct meta_version;

/* On the control thread, when a new cluster is made: at a first start, or in the course of a reset.
 * Hashes a password. False when the metadata refuse what [auth] default-... say. */
MUST_CHECK bool bootstrap(struct cluster_first *first, const struct broker_conf *conf,
                          struct err *err);

/* Is there a queue, vhost or user that a node which nobody has told anything yet has not? */
bool bootstrap_has_more(const struct meta_version *v, const struct broker_conf *conf);

#endif
