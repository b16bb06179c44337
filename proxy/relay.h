/*
 * relay: mode tcp: octets from a client to one server and back, as they are.
 *
 * The server is chosen when the client comes in; when it does not answer the next one is tried, up
 * to timeout-failover. A client for whom no server is up is hung up on at once. When one side says
 * that it has no more to send, the other one is told so, and may still answer.
 */
#ifndef WARREN_RELAY_H
#define WARREN_RELAY_H

#include "access.h"
#include "client_tls.h"
#include "io/stream.h"
#include "worker.h"

struct relay {
    TAILQ_ENTRY(relay) entry;   /* of the worker's */
    TAILQ_ENTRY(relay) waiting; /* for a server */
    struct worker *worker;
    struct snapshot *snapshot;
    const struct frontend *frontend;
    const struct server *server; /* NULL: being looked for */
    struct sock_addr peer;       /* the client's own address */
    struct client_tls *told;     /* what a balancer said of its TLS session, or NULL */
    struct stream *client;
    struct stream *upstream; /* NULL: waiting for a server */
    struct loop_timer timer;
    uint64_t id;
    uint64_t skip; /* servers tried in vain, in this round */
    uint64_t deadline_ms;
    uint64_t started_ms; /* the connection to the server */
    uint64_t began_ms;
    struct access access;
    struct quota_entry *quota; /* of its source; NULL where no limit is */
    bool is_shaking;           /* TLS: who the client is comes first, for the server is told it */
    bool is_open;
    bool client_ended; /* they have said that nothing more comes */
    bool server_ended;
    bool is_queued;
};

/* Takes fd and *told. False, and the fd is closed, when there is no room. */
MUST_CHECK bool relay_new(struct worker *w, struct snapshot *snapshot,
                          const struct frontend *frontend, unsigned bind, int fd,
                          const struct sock_addr *peer, struct client_tls **told);

/* A server may be there now. */
void relay_again(struct relay *r);

/* End it at once. */
void relay_end(struct relay *r);

#endif
