/*
 * rabbit_conf: the words of `discover = rabbitmq URL...`: where a RabbitMQ cluster's management
 * answers, and as whom it is asked.
 *
 * Messages of errors lack place and key, which the caller adds, and never show a password.
 */
#ifndef WARREN_RABBIT_CONF_H
#define WARREN_RABBIT_CONF_H

#include "proxy_conf.h"

/* The words behind `rabbitmq`; `out` lives in the value's store. */
MUST_CHECK bool rabbit_conf_of(const struct conf_value *value, struct rabbit_conf **out,
                               struct err *err);

/* Does any of the URLs begin with https? */
bool rabbit_conf_has_tls(const struct rabbit_conf *c);

/* Would one who asks by `a` ask the same by `b`? */
bool rabbit_conf_is_same(const struct rabbit_conf *a, const struct rabbit_conf *b);

#endif
