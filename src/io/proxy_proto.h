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
 *
 * A proxy that ends the client's TLS session says in a second one whom the client's certificate
 * names, so that the broker can take EXTERNAL for a login:
 *
 *     type 0xE6: HMAC-SHA256(cookie, "warren-proxy-names" lengths nonce address-block tls rest)
 *                (32 octets), and the rest: version (2), milliseconds since 1970 (64 bits), place
 *                (18 octets), names
 *
 * where the nonce is that of the first TLV, `tls` the value of PP2_TYPE_SSL or nothing, `lengths`
 * those of the address block and of `tls` (16 bits each), the place the address (as IPv6) and port
 * that the proxy connects to, and `names` the subject, its common name and the first DNS name, each
 * behind its length (16 bits). All are empty when the client has shown no certificate: then it has
 * no name, whatever the proxy's own session with the broker says.
 *
 * A header goes in plain before any TLS. So that who reads one cannot say it again, a broker takes
 * names for as long as they are new, at the place that they are for, and each nonce once.
 */
#ifndef WARREN_PROXY_PROTO_H
#define WARREN_PROXY_PROTO_H

#include "base/attr.h"
#include "base/slice.h"
#include "base/wire.h"
#include "io/sock.h"

#define PROXY_V1_MAX        ((size_t)107)  /* the line, its end included */
#define PROXY_V2_MAX        ((size_t)4096) /* ours: head, addresses and TLVs */
#define PROXY_NONCE_BYTES   16u
#define PROXY_TLV_TLS       0x20u /* PP2_TYPE_SSL */
#define PROXY_TLV_PROOF     0xE5u
#define PROXY_TLV_NAMES     0xE6u

#define PROXY_NAMES_VERSION 2u

/* An address, IPv4 mapped to IPv6, and a port; zeros for what is not IP. */
#define PROXY_PLACE_BYTES 18u

/* A longer name is left out: no user can be called so. */
#define PROXY_NAME_MAX ((size_t)255)
/* The same of a word of TLS. */
#define PROXY_WORD_MAX ((size_t)64)

/* What proxy_proto_put_v2 writes at most: head, addresses, proof, TLS and names. */
#define PROXY_V2_BUILD_MAX                                                                         \
    ((size_t)(16 + 216 + 3 + 48 + 3 + 5 + 3 * 3 + 2 * 64 + 255 + 3 + 32 + 27 + 3 * (2 + 255)))

/* What PP2_TYPE_SSL tells of the client's session. */
#define PROXY_TLS_USED      0x01u
#define PROXY_TLS_CERT_CONN 0x02u /* a certificate was shown on this connection */
#define PROXY_TLS_CERT_SESS 0x04u /* ... or on one that this one resumes */
#define PROXY_TLS_NO_CERT   1u    /* `verify` when there was none to be verified */
struct proxy_tls {
    unsigned used;            /* the bits above */
    uint32_t verify;          /* 0: a certificate was shown, and is good */
    struct slice version;     /* "TLSv1.3" */
    struct slice cipher;      /* as OpenSSL calls it */
    struct slice common_name; /* of the certificate; these three may be empty */
};

/* Whom the client's certificate names; each name may be empty. */
struct proxy_names {
    uint64_t at_ms;                   /* when it was said, wall clock */
    uint8_t place[PROXY_PLACE_BYTES]; /* to whom */
    struct slice subject;
    struct slice common_name;
    struct slice dns_name;
};

struct proxy_header {
    unsigned version;
    /* False: the connection is the sender's own (a health check), or of a kind that has no
     * addresses; then `client` and `server` are empty. */
    bool has_addresses;
    struct sock_addr client;
    struct sock_addr server;
    /* Version 2: parts of the input. */
    struct slice address_block;
    struct slice proof;      /* the value of our TLV, or empty */
    struct slice tls_octets; /* the value of PP2_TYPE_SSL, or empty: then `tls` is too */
    struct proxy_tls tls;
    struct slice names_octets; /* the value of our other TLV, or empty */
    struct proxy_names names;
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

/* Does it prove what it says of names, or that there is none? Nothing else in it does. Whether that
 * is new and for us is the caller's to judge. */
MUST_CHECK bool proxy_proto_names_are_proven(const struct proxy_header *h, struct slice cookie);

/* The nonce of a header that is proven. */
const uint8_t *proxy_proto_nonce(const struct proxy_header *h);

/* NULL, and what is not IP, is zeros. */
void proxy_proto_place(const struct sock_addr *a, uint8_t place[PROXY_PLACE_BYTES]);

/* "PROXY TCP4 10.0.0.1 10.0.0.2 1111 5672". Addresses of different families both become IPv6; what
 * is not IP becomes UNKNOWN. */
void proxy_proto_put_v1(struct wire_out *w, const struct sock_addr *client,
                        const struct sock_addr *server);

/* The same in version 2, with a proof when `cookie` is not empty; the nonce is the caller's, new
 * for each connection. What is not IP becomes "unspecified", and nothing else is told. */
void proxy_proto_put_v2(struct wire_out *w, const struct sock_addr *client,
                        const struct sock_addr *server, struct slice cookie,
                        const uint8_t nonce[PROXY_NONCE_BYTES]);

/* What is not IP becomes unix sockets without a name when there are names to be told of. */
struct proxy_told {
    const struct proxy_tls *tls;     /* NULL: nothing is told of it */
    const struct proxy_names *names; /* the same; needs a cookie */
};
void proxy_proto_put_v2_told(struct wire_out *w, const struct sock_addr *client,
                             const struct sock_addr *server, struct slice cookie,
                             const uint8_t nonce[PROXY_NONCE_BYTES], const struct proxy_told *told);

/* The connection is our own, such as a check. */
void proxy_proto_put_v2_local(struct wire_out *w);

#endif
