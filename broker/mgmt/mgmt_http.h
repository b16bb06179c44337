/*
 * mgmt_http: the node's management: RabbitMQ's HTTP API, metrics for Prometheus, a page for people.
 *
 * It has a loop and a thread of its own, so that neither a client's work nor a change of the
 * metadata waits for a long list. It reads the metadata as shards do, and asks the shards by mail
 * for what they alone know (see mgmt_ask.h), and the control thread
 * for changes.
 */
#ifndef WARREN_MGMT_HTTP_H
#define WARREN_MGMT_HTTP_H

#include "base/attr.h"
#include "base/err.h"

struct broker;
struct epoch;
struct loop;
struct mgmt_http;
struct http_request;
struct mgmt_user;

/* Bind every address of [listen] management; before the shards run. The error names the key. */
MUST_CHECK struct mgmt_http *mgmt_http_new(struct broker *b, struct epoch *epoch, struct err *err);

/* Answer a request that came some other way (http_route's handler on the management's loop), for
 * somebody whose identity is proven: see mgmt_user_operator in mgmt_call.h. */
void mgmt_dispatch(struct mgmt_http *m, struct http_request *r, const struct mgmt_user *who);

/* The same for who logs in with a password; an http_handler, `arg` is the management. */
void mgmt_on_request(struct http_request *r, void *arg);

/* How other nodes are asked, on its loop. */
struct mgmt_peers *mgmt_http_peers(const struct mgmt_http *m);

/* Serve. */
MUST_CHECK bool mgmt_http_start(struct mgmt_http *m, struct err *err);

/* Clients that come from now on see these certificates; borrowed. The control thread. */
struct tls_ctx;
void mgmt_http_set_tls(struct mgmt_http *m, struct tls_ctx *tls);

/* The node stops: no more requests. The control thread, once, while it serves. */
void mgmt_http_close(struct mgmt_http *m);

/* Close the addresses of [listen] management, while the thread goes on, and bind them again; what
 * cannot be bound is logged. The control thread. */
void mgmt_http_shut(struct mgmt_http *m);
void mgmt_http_reopen(struct mgmt_http *m);

/* Between mgmt_http_start and mgmt_http_stop. */
bool mgmt_http_is_running(const struct mgmt_http *m);

/* End the thread. No effect when it does not run. */
void mgmt_http_stop(struct mgmt_http *m);

/* For the settling of loops when all threads have ended. */
struct loop *mgmt_http_loop(const struct mgmt_http *m);

/* What it had asked is answered. NULL is allowed. */
void mgmt_http_free(struct mgmt_http **m);

#endif
