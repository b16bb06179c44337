/*
 * bootstrap: what a node has that nobody has told anything yet: a vhost, a user, a cluster id.
 */
#ifndef WARREN_BOOTSTRAP_H
#define WARREN_BOOTSTRAP_H

#include "base/err.h"
#include "broker_conf.h"

struct control;
struct meta;

/* On the control thread, at start; hashes a password on it. False when the metadata refuse what
 * [auth] default-... say. */
MUST_CHECK bool bootstrap(struct control *control, const struct meta *meta,
                          const struct broker_conf *conf, struct err *err);

#endif
