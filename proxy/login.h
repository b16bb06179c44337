/*
 * login: what a client said of itself while it came in, kept so that it can be said again at each
 * broker that serves one of its channels.
 *
 * It holds a secret: the memory is wiped when it goes.
 */
#ifndef WARREN_LOGIN_H
#define WARREN_LOGIN_H

#include "amqp/amqp_handshake.h"
#include "base/attr.h"
#include "base/slice.h"

struct login {
    struct slice properties; /* these four point into `memory` */
    struct slice mechanism;
    struct slice response;
    struct slice subject; /* of the client's certificate; empty: it has shown none */
    struct slice memory;
    unsigned capabilities;     /* AMQP_CAP_... */
    struct amqp_limits limits; /* what the client agreed to, once is_complete */
    struct slice vhost;        /* points into vhost_room */
    bool is_complete;          /* limits and vhost are known: a broker can be opened to the end */
    uint8_t vhost_room[UINT8_MAX];
};

/* `subject` may be NULL. */
struct login *login_new(const struct amqp_hs_login *from, const char *subject);

/* Wipes it. *l becomes NULL; NULL is allowed. */
void login_free(struct login **l);

/* The client has tuned and asks for this vhost. */
void login_complete(struct login *l, const struct amqp_limits *limits, struct slice vhost);

/* The client has a new secret (connection.update-secret): put it in the place of the password.
 * False when the mechanism's response has no password that we know how to replace. */
MUST_CHECK bool login_set_secret(struct login *l, struct slice secret);

/* The user's name, for people and limits; empty when the mechanism does not tell. Of EXTERNAL it is
 * the certificate's subject: which part of it names the user is for brokers to say. */
struct slice login_user(const struct login *l);

#endif
