/*
 * greeting: what the proxy says of itself in connection.start.
 */
#ifndef WARREN_GREETING_H
#define WARREN_GREETING_H

#include "amqp/amqp_hs_server.h"

/* The part of a session's handshake that is the same for all: properties and mechanisms. The offer
 * is the session's own. Constant for the life of the process once called. */
struct amqp_hs_server_conf greeting_conf(void);

/* The client has shown a certificate: it may log in by it, too. */
void greeting_certify(struct amqp_hs_server_conf *conf);

#endif
