/*
 * listen: where the broker accepts clients: addresses, TLS, and whose word counts for a client's
 * own address. Each address is listened on by every shard.
 */
#ifndef WARREN_LISTEN_H
#define WARREN_LISTEN_H

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "io/sock.h"

struct broker;
struct broker_conf;
struct listen;

/* Bind everything that the config names, on the control thread's loop; the shards begin to accept
 * with their next turn. The error names the address and the key that says otherwise. */
MUST_CHECK struct listen *listen_new(struct broker *b, struct loop *loop, struct err *err);

/* An address of [listen]; it must be one of this host's own, and no name. */
MUST_CHECK bool listen_address(const struct conf_address *a, const char *key, struct sock_addr *out,
                               struct err *err);

/* Certificate and key as [tls] says; the error names them. */
struct tls_ctx;
MUST_CHECK struct tls_ctx *listen_tls(const struct broker_conf *conf, struct err *err);
/* Does any address speak TLS? */
bool listen_wants_tls(const struct broker_conf *conf);

/* Accept no more; the control thread, while shards may run. *l becomes NULL: it is freed when all
 * of them have heard of it. */
void listen_stop(struct listen **l);

/* Clients that come from now on see these certificates; borrowed. */
void listen_set_tls(struct listen *l, struct tls_ctx *tls);

/* After the shards have ended and were settled. */
void listen_free(struct listen **l);

#endif
