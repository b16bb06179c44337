/*
 * census_json: a session, a leg, a relay as JSON, for the census. The worker's loop; new
 * references.
 */
#ifndef WARREN_CENSUS_JSON_H
#define WARREN_CENSUS_JSON_H

#include "io/sock.h"

#include <jansson.h>

struct session;
struct channel;
struct leg;
struct relay;

json_t *census_json_session(const struct session *s);
json_t *census_json_relay(const struct relay *r);

/* One of the channel's legs; NULL: it has none now. */
json_t *census_json_leg(const struct session *s, const struct channel *c, const struct leg *leg);

/* HAProxy's word: "tcpv4", "tcpv6", "unix_stream". */
const char *census_protocol(const struct sock_addr *a);

#endif
