/*
 * greeting: what the proxy says of itself in connection.start.
 */
#ifndef WARREN_GREETING_H
#define WARREN_GREETING_H

#include "amqp/amqp_hs_server.h"

#define GREETING_CLUSTER_MAX 255u /* octets of a cluster's name; of a longer one the beginning */
#define GREETING_BYTES       1024u

/* The part of a session's handshake that is the same for all: mechanisms. Properties and offer are
 * the session's own. Constant for the life of the process. */
struct amqp_hs_server_conf greeting_conf(void);

/* The properties, in `room`; `cluster` is the name of the brokers' cluster, NULL: it is not known.
 */
struct slice greeting_properties(const char *cluster, uint8_t room[GREETING_BYTES]);

/* The client has shown a certificate: it may log in by it, too. */
void greeting_certify(struct amqp_hs_server_conf *conf);

#endif
