/*
 * link_node: who this program is to the others of its cluster, and what it proves that with.
 *
 * One a process, made before any loop runs. It holds the cookie, an ephemeral key with its
 * self-signed certificate (what makes a link trustworthy is the proof of the cookie over the TLS
 * session, not the certificate), and the identity that handshakes state. The identity may change
 * while links run (a node that joins another cluster): handshakes that begin later state the new
 * one. So may a certificate of the operator's, which links between nodes (control, bulk, ask) show
 * and demand on top of that proof; proxies and warrenctl have none, and are not asked for one. Any
 * thread, but where it says otherwise.
 */
#ifndef WARREN_LINK_NODE_H
#define WARREN_LINK_NODE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define LINK_NAME_MAX      256u /* NAME@HOST and its end, as in run_dir.h */
#define LINK_CLUSTER_BYTES 16u

struct link_identity {
    uint8_t cluster[LINK_CLUSTER_BYTES]; /* zeros: of no cluster yet */
    uint16_t node;                       /* 0: none yet, or a proxy */
    uint32_t inc;
    char name[LINK_NAME_MAX];
};

struct link_node;
struct tls_ctx;

/* `cookie` is copied, and wiped at the end. */
MUST_CHECK struct link_node *link_node_new(struct slice cookie, const struct link_identity *self,
                                           struct err *err);
/* All links, doors and halls made with it are freed. */
void link_node_free(struct link_node **n);

/* One thread at a time. */
void link_node_set_self(struct link_node *n, const struct link_identity *self);
void link_node_self(const struct link_node *n, struct link_identity *out);
uint64_t link_node_boot(const struct link_node *n); /* random: tells this process from others */

/* Show this certificate on links between nodes that begin from now on, and accept only what `ca`
 * vouches for; who shows none is accepted unless it is `demanded`. Whose name it bears does not
 * matter: that is proven by the cookie. NULL: the ephemeral one again. One thread at a time; on
 * failure all stays as it was. */
struct link_certificate {
    const char *cert_file, *key_file; /* PEM; key NULL: it is in the file of the certificate */
    const char *ca_file;              /* NULL: the system's */
    bool demanded;
};
MUST_CHECK bool link_node_set_certificate(struct link_node *n, const struct link_certificate *c,
                                          struct err *err);

/* Speak these versions of the cluster protocol, as another release would: for tests, before it is
 * used. */
void link_node_set_versions(struct link_node *n, uint16_t least, uint16_t most);

/* ---- for src/link ---- */

void link_node_versions(const struct link_node *n, uint16_t *least, uint16_t *most); /* 0: ours */

struct slice link_node_cookie(const struct link_node *n);
/* References. `of_nodes`: for a class that is between nodes alone. */
struct tls_ctx *link_node_server_tls(struct link_node *n, bool of_nodes);
struct tls_ctx *link_node_client_tls(struct link_node *n, bool of_nodes);

#endif
