/*
 * proxy_proto: the PROXY protocol, versions 1 and 2: the line or block before the first octet of a
 * connection by which a balancer tells whose connection it is.
 *
 * Pure: cut and build, nothing else. Warren's own proxies prove in version 2 that they know the
 * cluster's cookie, in a TLV of a type that is left to private use:
 *
 *     type 0xE5, length 48: nonce (16 octets), HMAC-SHA256(cookie,
 *                           "warren-proxy-address" nonce address-block) (32 octets)
 *
 * where the address block is the addresses and ports as they lie in the header. So a broker
 * believes the address of a client that a proxy of the cluster tells, and nobody else's unless its
 * configuration names the sender.
 */
#ifndef WARREN_PROXY_PROTO_H
#define WARREN_PROXY_PROTO_H

#include "base/attr.h"
#include "base/slice.h"
#include "base/wire.h"
#include "io/sock.h"

#define PROXY_V1_MAX      ((size_t)107)  /* the line, its end included */
#define PROXY_V2_MAX      ((size_t)4096) /* ours: head, addresses and TLVs */
#define PROXY_NONCE_BYTES 16u
#define PROXY_TLV_PROOF   0xE5u

/* What proxy_proto_put_v2 writes at most. */
#define PROXY_V2_BUILD_MAX ((size_t)(16 + 36 + 3 + 48))

struct proxy_header {
    unsigned version;
    /* False: the connection is the sender's own (a health check), or of a kind that has no
     * addresses; then `client` and `server` are empty. */
    bool has_addresses;
    struct sock_addr client;
    struct sock_addr server;
    /* Version 2: parts of the input. */
    struct slice address_block;
    struct slice proof; /* the value of our TLV, or empty */
};

enum proxy_cut {
    PROXY_CUT_HEADER, /* *out is set, *len is its length */
    PROXY_CUT_MORE,   /* may become one */
    PROXY_CUT_BAD     /* is none, or a malformed one: close */
};

/* Cut the header off. Never waits for more than the two bounds above. */
MUST_CHECK enum proxy_cut proxy_proto_cut(struct slice in, struct proxy_header *out, size_t *len);

/* Does the header prove that its sender knows the cookie? */
MUST_CHECK bool proxy_proto_is_proven(const struct proxy_header *h, struct slice cookie);

/* "PROXY TCP4 10.0.0.1 10.0.0.2 1111 5672". Addresses of different families both become IPv6; what
 * is not IP becomes UNKNOWN. */
void proxy_proto_put_v1(struct wire_out *w, const struct sock_addr *client,
                        const struct sock_addr *server);

/* The same in version 2, with a proof when `cookie` is not empty; the nonce is the caller's, new
 * for each connection. What is not IP becomes "unspecified". */
void proxy_proto_put_v2(struct wire_out *w, const struct sock_addr *client,
                        const struct sock_addr *server, struct slice cookie,
                        const uint8_t nonce[PROXY_NONCE_BYTES]);

/* The connection is our own, such as a check. */
void proxy_proto_put_v2_local(struct wire_out *w);

#endif
