/*
 * connection_login: who a connection is, where it goes, and what it may do there. The part of
 * connection.c that asks auth, the limits and the permissions.
 */
#ifndef WARREN_CONNECTION_LOGIN_H
#define WARREN_CONNECTION_LOGIN_H

#include "client/access.h"
#include "client/connection.h"

/* How the handshake goes on; in connection.c. */
void connection_step(struct connection *c, const struct amqp_hs_event *ev);

void connection_login_init(struct connection *c);

/* It ends: it does not wait for an answer any more, and others may take its place. */
void connection_login_end(struct connection *c);

/* The client is about to be greeted: which mechanisms can it use? */
void connection_choose_mechanisms(struct connection *c);

/* The handshake's AUTHENTICATE and ENTER. */
void connection_authenticate(struct connection *c, const struct amqp_hs_login *login);
void connection_enter(struct connection *c, struct slice vhost);

/* One more channel of its user; false when there are as many as it may have, and the connection was
 * closed for it. */
MUST_CHECK bool connection_take_user_channel(struct connection *c);
void connection_give_user_channel(struct connection *c);

/* May it send messages in the name of that user? In its own, and an impersonator in any. */
bool connection_may_claim(const struct connection *c, struct slice user);

/* What its user may do in its vhost, in the current version; NULL: nothing. */
const struct meta_permission *connection_permission(struct connection *c,
                                                    const struct meta_version *v);

#endif
