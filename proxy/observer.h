/*
 * observer: the proxy's place in the brokers' cluster: it takes part in gossip, by which it knows
 * who is there, and keeps a table of where queues are. Control loop.
 *
 * It is there when [global] says gossip = ADDRESS; packets and talks use that one port number.
 */
#ifndef WARREN_OBSERVER_H
#define WARREN_OBSERVER_H

#include "base/text.h"
#include "io/loop.h"
#include "proxy_conf.h"

struct observer;

/* *out stays NULL when the configuration names no gossip. Binds now, begins when the loop runs. */
MUST_CHECK bool observer_open(struct loop *loop, const struct global_conf *conf,
                              struct slice cookie, struct observer **out, struct err *err);

/* Says goodbye. The loop does not run any more. NULL is allowed. */
void observer_close(struct observer **o);

/* The configuration was read again: other seeds take effect, another port does not. */
void observer_reload(struct observer *o, const struct global_conf *was,
                     const struct global_conf *now);

/* `o` may be NULL. */
void observer_show(const struct observer *o, struct text *out);
void observer_metrics(const struct observer *o, struct text *out);

#endif
