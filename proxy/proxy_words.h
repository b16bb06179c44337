/*
 * proxy_words: the lines of a configuration that have words of their own: bind, server and
 * default-server.
 *
 * Messages of errors lack place and key; the caller adds them.
 */
#ifndef WARREN_PROXY_WORDS_H
#define WARREN_PROXY_WORDS_H

#include "proxy_conf.h"

MUST_CHECK bool proxy_words_bind(const struct conf_value *value, struct bind_conf *out,
                                 struct err *err);

/* limit = source|user|vhost [connections N] [channels N] [rate N/T] [alarm] */
MUST_CHECK bool proxy_words_limit(const struct conf_value *value, struct frontend_conf *io,
                                  struct err *err);

/* What a server has that no line says anything about. */
struct server_conf proxy_words_server_defaults(void);

MUST_CHECK bool proxy_words_default_server(const struct conf_value *value, struct server_conf *io,
                                           struct err *err);

/* `out` begins as a copy of the default server. */
MUST_CHECK bool proxy_words_server(const struct conf_value *value, struct server_conf *out,
                                   struct err *err);

/* Names of proxies and servers: letters, digits and `-_.:`, as in HAProxy. */
MUST_CHECK bool proxy_words_name(const char *name, struct err *err);

/* The words of default-server as those of a server that is not listed. */
void proxy_words_found(const struct server_conf *defaults, struct server_conf *out);

#endif
