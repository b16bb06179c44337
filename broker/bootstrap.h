/*
 * bootstrap: what a node has that nobody has told anything yet: a vhost, a user, a cluster id.
 */
#ifndef WARREN_BOOTSTRAP_H
#define WARREN_BOOTSTRAP_H

#include "base/err.h"
#include "broker_conf.h"

struct cluster_first;

/* On the control thread, when a new cluster is made: at a first start, or in the course of a reset.
 * Hashes a password. False when the metadata refuse what [auth] default-... say. */
MUST_CHECK bool bootstrap(struct cluster_first *first, const struct broker_conf *conf,
                          struct err *err);

#endif
