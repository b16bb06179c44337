/*
 * dial: a connection to a server, as its line in the configuration wants it: with a PROXY header in
 * front, over TLS.
 */
#ifndef WARREN_DIAL_H
#define WARREN_DIAL_H

#include "io/stream.h"
#include "snapshot.h"

/* The server has an address. `client` is who it is for, `door` where that client came in; both NULL
 * for a connection of our own, such as a check. `cookie` proves to Warren's brokers that we may say
 * so, and may be empty. */
struct stream *dial(struct loop *loop, const struct server *server, const struct sock_addr *to,
                    uint64_t timeout_ms, const struct sock_addr *client,
                    const struct sock_addr *door, struct slice cookie,
                    const struct stream_handlers *handlers, void *arg);

/* The server's present address, or NULL. Good for this turn. */
const struct sock_addr *dial_address(const struct server *server);

#endif
