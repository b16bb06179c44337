/*
 * dial: a connection to a server, as its line in the configuration wants it: with a PROXY header in
 * front, over TLS.
 */
#ifndef WARREN_DIAL_H
#define WARREN_DIAL_H

#include "client_tls.h"
#include "io/stream.h"
#include "snapshot.h"

/* Who a connection is for; borrowed for the call. */
struct dial_client {
    const struct sock_addr *address; /* its own */
    const struct sock_addr *door;    /* where it came in */
    const struct stream *stream;
    const struct client_tls *told; /* by a balancer in front, or NULL */
    /* What the server reads is said by us, not by the client: whatever session we have with the
     * server, the client's name is that in the client's own certificate. */
    bool is_spoken_for;
    bool speaks_amqp; /* with a server that is a broker */
};

/* Brokers of Warren that have our cookie, and are known by gossip at that address, hear whom a
 * connection is for without being asked to: who is drained waits for those. The server has an
 * address. `client` is NULL for a connection of our own, such as a check. `cookie` proves to
 * Warren's brokers that we may speak for a client, and may be empty. */
struct stream *dial(struct loop *loop, const struct server *server, const struct sock_addr *to,
                    uint64_t timeout_ms, const struct dial_client *client, struct slice cookie,
                    const struct stream_handlers *handlers, void *arg);

/* Does a connection to it say, with proof, whom a client's certificate names? */
bool dial_tells_names(const struct server *server, const struct dial_client *client,
                      struct slice cookie);

/* The server's present address, or NULL. Good for this turn. */
const struct sock_addr *dial_address(const struct server *server);

#endif
