/*
 * client_tls: what is known of a client's TLS session: our own with it, or what a balancer in front
 * of us told in its PROXY header.
 */
#ifndef WARREN_CLIENT_TLS_H
#define WARREN_CLIENT_TLS_H

#include "base/attr.h"
#include "io/proxy_proto.h"
#include "io/stream.h"

struct client_tls;

/* A copy of what the header tells; NULL when it tells nothing. The caller's. */
struct client_tls *client_tls_told(const struct proxy_header *h);
void client_tls_free(struct client_tls **t); /* NULL is allowed */

/* Our own session counts first; `told` may be NULL. Good while both live. All of it is zero for a
 * client of neither: it came in plain. */
void client_tls_look(const struct stream *client, const struct client_tls *told,
                     struct proxy_tls *out);

/* Whom the certificate names that the client has shown to us: nobody, if it has shown none. Good
 * while the stream lives. */
struct proxy_names client_tls_names(const struct stream *client);

#endif
