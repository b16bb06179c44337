/*
 * observer: the proxy's place in the brokers' cluster: it takes part in gossip, by which it knows
 * who is there, and keeps a table of where queues are; both are told to the backends that route by
 * master. Control loop.
 *
 * It is there when [global] says gossip = ADDRESS; packets and talks use that one port number.
 */
#ifndef WARREN_OBSERVER_H
#define WARREN_OBSERVER_H

#include "base/text.h"
#include "inquiry.h"
#include "io/epoch.h"
#include "io/loop.h"
#include "snapshot.h"

struct failovers;
struct gossip_net;
struct observer;

struct observer_calls {
    /* Queues may be elsewhere, or known for the first time: at once for what moves, now and then
     * for what is new. */
    void (*moved)(void *arg);
    /* A server of the snapshot in force was found: it is to be checked. */
    void (*found)(const struct server *server, void *arg);
    /* Gossip says something else of this server's node. */
    void (*heard)(const struct server_live *server, void *arg);
};

/* *out stays NULL when the configuration names no gossip. Binds now, begins when the loop runs. One
 * that takes another process's place may find its port in use: then any other will do. */
MUST_CHECK bool observer_open(struct loop *loop, struct epoch *epoch,
                              const struct global_conf *conf, bool takes_over, struct slice cookie,
                              const struct observer_calls *calls, void *arg, struct observer **out,
                              struct err *err);

/* Says goodbye. The loop does not run any more. NULL is allowed. */
void observer_close(struct observer **o);

/* The configuration was read again: other seeds take effect, another port does not. */
void observer_reload(struct observer *o, const struct global_conf *was,
                     const struct global_conf *now);

/* The snapshot in force. `o` may be NULL, here and below. */
void observer_follow(struct observer *o, struct snapshot *s);

/* Servers may have other addresses. */
void observer_look(struct observer *o);

/* The last of them; NULL when there is no gossip. */
const struct failovers *observer_failovers(const struct observer *o);

/* Ask the management of a broker that gossip says is alive. False: nobody can be asked now, and
 * `fn` is not called. */
#define OBSERVER_INQUIRIES_MAX 4u /* at a time */
MUST_CHECK bool observer_inquire(struct observer *o, struct slice path, inquiry_fn fn, void *arg,
                                 struct err *err);

/* Who takes part; NULL when there is no gossip. */
const struct gossip_net *observer_net(const struct observer *o);

void observer_show(const struct observer *o, struct text *out);
void observer_metrics(const struct observer *o, struct text *out);

#endif
