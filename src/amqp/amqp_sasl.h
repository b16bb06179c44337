/*
 * amqp_sasl: user and password in the responses of PLAIN and AMQPLAIN.
 *
 * Nothing is copied: what is read points into the response. Whether the password is right is
 * somebody else's matter, and so is not to log it. Stateless; any thread.
 */
#ifndef WARREN_AMQP_SASL_H
#define WARREN_AMQP_SASL_H

#include "base/attr.h"
#include "base/slice.h"
#include "base/wire.h"

#define AMQP_SASL_PLAIN    "PLAIN"
#define AMQP_SASL_AMQPLAIN "AMQPLAIN"
#define AMQP_SASL_EXTERNAL "EXTERNAL" /* says nothing: TLS has said it */

/* A broker says in its server-properties that it knows whom the client's certificate names because
 * a proxy has proven it: EXTERNAL is the client's then, not the proxy's. */
#define AMQP_CERTIFIED "warren_certified"

/* The word of a list, with blanks between, that equals `wanted`; empty when there is none. */
struct slice amqp_sasl_find(struct slice list, struct slice wanted);

struct amqp_credentials {
    struct slice user;
    struct slice password;
};

/* RFC 4616: NUL user NUL password. As with RabbitMQ, nobody acts for somebody else: there must be
 * nothing before the first NUL. */
MUST_CHECK bool amqp_sasl_plain_read(struct slice response, struct amqp_credentials *out);
void amqp_sasl_plain_write(struct wire_out *w, const struct amqp_credentials *c);

/* A raw field table with the long strings LOGIN and PASSWORD. */
MUST_CHECK bool amqp_sasl_amqplain_read(struct slice response, struct amqp_credentials *out);
void amqp_sasl_amqplain_write(struct wire_out *w, const struct amqp_credentials *c);

/* Either, by the name of the mechanism; false for another one too. */
MUST_CHECK bool amqp_sasl_read(struct slice mechanism, struct slice response,
                               struct amqp_credentials *out);

#endif
