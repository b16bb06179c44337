/*
 * bind_addr: the address that a bind line means.
 */
#ifndef WARREN_BIND_ADDR_H
#define WARREN_BIND_ADDR_H

#include "io/sock.h"
#include "proxy_conf.h"

/* An address of this host, "localhost", or a path; other names are refused, with the place. */
MUST_CHECK bool bind_addr(const struct bind_conf *b, struct sock_addr *out, struct err *err);

#endif
