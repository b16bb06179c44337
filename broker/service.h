/*
 * service: is the node there for clients? It opens and closes the doors: at the start and the end
 * of the process, and when warrenctl asks for it (stop_app, start_app, reset, drain, revive,
 * suspend_listeners, resume_listeners), while the process goes on.
 *
 * The control thread's, but for service_send.
 */
#ifndef WARREN_SERVICE_H
#define WARREN_SERVICE_H

#include "base/err.h"
#include "io/mailbox.h"

#include <sys/queue.h>

struct broker;
struct service;

enum service_order {
    SERVICE_STOP_APP, /* clients are closed with 320, nothing listens; the process and its data stay
                       */
    SERVICE_START_APP, /* and back */
    SERVICE_RESET,     /* while it is stopped: as a new node, without anything */
    SERVICE_DRAIN,     /* as stop_app for clients, but the node counts as running */
    SERVICE_REVIVE,
    SERVICE_SUSPEND, /* no new clients */
    SERVICE_RESUME,
    SERVICE_STOP, /* the process */
};

struct service_ask;
typedef void (*service_fn)(struct service_ask *ask);

/* An order and its answer. */
struct service_ask {
    struct mail mail;
    enum service_order order;
    struct service *service;
    struct loop *reply_to;
    service_fn done; /* on reply_to's thread; owns the ask */
    void *arg;
    bool ok;
    struct err err;
    STAILQ_ENTRY(service_ask) entry;
};

struct service *service_new(struct broker *b, struct loop *loop);
void service_free(struct service **s);

/* Open the doors for the first time, before the shards run; but not when stop_app was said while
 * the node waited for others. */
MUST_CHECK bool service_open(struct service *s, struct err *err);

/* The node has read its journal: orders that came meanwhile are carried out from now on. */
void service_has_read(struct service *s);

/* The node ends before it was open: whatever is ordered is refused. */
void service_give_up(struct service *s);

/* Clients that come from now on see these certificates; borrowed. */
struct tls_ctx;
void service_set_tls(struct service *s, struct tls_ctx *tls);

/* Any thread; takes the ask, which was made with mem_zalloc. */
void service_send(struct service *s, struct service_ask **ask);

/* The process is to end: broker_has_left follows when the last client is gone. Where proxies are
 * known, and other nodes, those get up to 10 s to take their clients there. */
void service_leave(struct service *s);

/* A shard that was told to close its clients has none any more. */
void service_shard_is_idle(struct service *s);

#endif
