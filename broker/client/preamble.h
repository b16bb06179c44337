/*
 * preamble: what a balancer may say before a client does: the PROXY protocol, see io/proxy_proto.h.
 *
 * Who comes from a network of [listen] proxy-protocol must say it. Anybody else may, in version 2
 * and with the proof that it knows the cookie: that is how Warren's own proxies do it.
 *
 * The header is readable on its way. Names in it are taken while they are new, at the address that
 * they were told to, and once: who says them again is refused. Those that come too early or late,
 * or to another address, are not believed, with a line in the log: then the client has no name.
 */
#ifndef WARREN_PREAMBLE_H
#define WARREN_PREAMBLE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "io/proxy_proto.h"
#include "io/sock.h"

struct broker;
struct broker_conf;
struct nonces;

/* Names hold for so long before and after what the broker's clock says: its own and the proxy's may
 * differ by it. So each is remembered for twice as long, and this many at once. */
#define PREAMBLE_NAMES_MS      60000u
#define PREAMBLE_NAMES_KEPT_MS (2 * PREAMBLE_NAMES_MS + 1)
#define PREAMBLE_NAMES_MAX     65536u

/* What a header is judged by. */
struct preamble_rules {
    const struct broker_conf *conf;
    struct slice cookie; /* the cluster's */
    struct nonces *nonces;
    const struct sock_addr *door; /* where the connection came in: the socket's own address */
    uint64_t wall_ms;
    uint64_t mono_ms;
};

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

/* As of now; borrows `door` and what the broker has. */
struct preamble_rules preamble_rules_of(const struct broker *b, const struct broker_conf *conf,
                                        const struct sock_addr *door);

/* Judge the first octets of a connection. On entry *client is the socket's peer. */
MUST_CHECK enum preamble_verdict preamble_cut(const struct preamble_rules *rules, struct slice in,
                                              struct sock_addr *client, struct preamble_name *name,
                                              size_t *len, struct err *why);

/* The same for a header that was taken off the socket already: false with *why set. */
MUST_CHECK bool preamble_judge(const struct preamble_rules *rules, const struct proxy_header *h,
                               struct sock_addr *client, struct preamble_name *name,
                               struct err *why);

#endif
