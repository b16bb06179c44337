/*
 * bootstrap: what a node has that nobody has told anything yet: a vhost, a user, a cluster id.
 */
#ifndef WARREN_BOOTSTRAP_H
#define WARREN_BOOTSTRAP_H

#include "base/err.h"
#include "broker_conf.h"

struct control;

/* On the control thread, at a first start or in the course of a reset: commands that are shown with
 * the rest of their group (control_apply_now). Hashes a password. False when the metadata refuse
 * what [auth] default-... say. */
MUST_CHECK bool bootstrap(struct control *control, const struct broker_conf *conf, struct err *err);

#endif
