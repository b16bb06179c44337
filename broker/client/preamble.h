/*
 * preamble: what a balancer may say before a client does: the PROXY protocol, see io/proxy_proto.h.
 *
 * Who comes from a network of [listen] proxy-protocol must say it. Anybody else may, in version 2
 * and with the proof that it knows the cookie: that is how Warren's own proxies do it.
 */
#ifndef WARREN_PREAMBLE_H
#define WARREN_PREAMBLE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "io/proxy_proto.h"
#include "io/sock.h"

struct broker_conf;

/* What one of Warren's own proxies says, with proof, of a client whose TLS session it ends: then
 * the session that it has with us names the proxy, and nobody else. */
struct preamble_name {
    bool is_told;
    char *name; /* by [auth] login-from; NULL: it has none. Whoever has the struct frees it */
};

void preamble_name_move(struct preamble_name *to, struct preamble_name *from);

enum preamble_verdict {
    PREAMBLE_NONE, /* the input is the client's own */
    PREAMBLE_MORE,
    PREAMBLE_TAKEN,   /* *len octets; *client is the client's address now, *name may be told */
    PREAMBLE_REFUSED, /* *why says it */
};

/* Judge the first octets of a connection. `cookie` is the cluster's. On entry *client is the
 * socket's peer. */
MUST_CHECK enum preamble_verdict preamble_cut(const struct broker_conf *conf, struct slice cookie,
                                              struct slice in, struct sock_addr *client,
                                              struct preamble_name *name, size_t *len,
                                              struct err *why);

/* The same for a header that was taken off the socket already: false with *why set. */
MUST_CHECK bool preamble_judge(const struct broker_conf *conf, struct slice cookie,
                               const struct proxy_header *h, struct sock_addr *client,
                               struct preamble_name *name, struct err *why);

#endif
