/*
 * udp: a socket for single packets, on one loop.
 */
#ifndef WARREN_UDP_H
#define WARREN_UDP_H

#include "base/attr.h"
#include "base/err.h"
#include "io/loop.h"
#include "io/sock.h"

#define UDP_PACKET_MAX 2048u /* octets that are read of one; the rest is cut off */

struct udp;

/* May free the socket. `packet` is good during the call. */
typedef void (*udp_fn)(struct slice packet, const struct sock_addr *from, void *arg);

/* Bind now; packets come when the loop runs. */
MUST_CHECK struct udp *udp_new(struct loop *loop, const struct sock_addr *at, udp_fn fn, void *arg,
                               struct err *err);
void udp_free(struct udp **u);

const struct sock_addr *udp_addr(const struct udp *u); /* with the port that was bound */

/* False: the system did not take it. It is lost then, as it may be on the way. */
bool udp_send(struct udp *u, const struct sock_addr *to, struct slice packet);

#endif
