/*
 * nets: is an address in one of these networks?
 */
#ifndef WARREN_NETS_H
#define WARREN_NETS_H

#include "base/attr.h"
#include "conf/conf_value.h"
#include "io/sock.h"

/* One network: an IPv4 or IPv6 address and how many of its leading bits count. */
struct net {
    uint8_t octets[16];
    uint8_t len; /* 4 or 16 octets */
    uint8_t bits;
};

/* "10.0.0.0/8", "::1/128", "192.0.2.7". */
MUST_CHECK bool net_of(const char *text, struct net *out, struct err *err);

/* An IPv4 address that is written as an IPv6 one (::ffff:a.b.c.d) counts as what it is. */
bool net_has(const struct net *net, const struct sock_addr *a);

/* True when one of the items, all checked by net_of before, has the address. A unix socket is in no
 * network. */
bool nets_have(const struct conf_list *items, const struct sock_addr *a);

#endif
