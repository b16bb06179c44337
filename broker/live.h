/*
 * live: what connections need of the configuration, as one counted, immutable snapshot.
 *
 * A reload makes a new one, and so does another name of the cluster; a connection keeps the one it
 * began with, since its limits were negotiated from it.
 */
#ifndef WARREN_BROKER_LIVE_H
#define WARREN_BROKER_LIVE_H

#include "amqp/amqp_hs_server.h"
#include "broker_conf.h"
#include "io/tls.h"

#define LIVE_PROPERTIES_BYTES 1024u
#define LIVE_CLUSTER_BYTES    256u /* of the cluster's name, as clients are told, and the end */
#define LIVE_MECHANISMS_BYTES 64u

struct live {
    atomic_uint refs;
    struct broker_conf *conf; /* a reference */
    struct tls_ctx *tls;      /* the certificates in force, or NULL */
    struct amqp_hs_server_conf handshake;
    struct amqp_hs_server_conf handshake_certified; /* for clients that TLS knows */
    struct amqp_hs_server_conf handshake_vouched;   /* ... and that a proxy speaks for */
    char mechanisms[2][LIVE_MECHANISMS_BYTES];
    char cluster_name[LIVE_CLUSTER_BYTES];
    uint8_t properties[LIVE_PROPERTIES_BYTES];
    uint8_t properties_vouched[LIVE_PROPERTIES_BYTES];
};

/* Takes the references in *conf and in *tls, which may be NULL. Of a cluster's name that is too
 * long clients are told the beginning. */
struct live *live_new(struct broker_conf **conf, struct tls_ctx **tls, const char *cluster_name);
struct live *live_ref(struct live *l);

/* *l becomes NULL; the last one frees. Any thread. */
void live_unref(struct live **l);
void live_drop(void *l); /* the same, for epoch_retire */

/* A new configuration is to take its place: what of it takes effect with the next start is said in
 * the node's name. */
void live_warn(const struct live *was, const struct broker_conf *now, const char *node);

#endif
