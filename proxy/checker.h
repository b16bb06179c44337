/*
 * checker: keeps an eye on one server: looks its name up, and finds out whether it is up.
 *
 * In an amqp-check a server is up when it greets with connection.start: a broker that accepts and
 * then says nothing is no broker. Otherwise accepting is enough, with TLS where it is asked for.
 * The rules are health's; what is found out goes into the server's live record.
 *
 * Control loop.
 */
#ifndef WARREN_CHECKER_H
#define WARREN_CHECKER_H

#include "amqp/amqp_hs_client.h"
#include "io/epoch.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "snapshot.h"

struct checker {
    struct loop *loop;
    struct epoch *epoch; /* addresses that are replaced are retired there */
    const struct server *server;
    struct slice cookie;
    void (*on_change)(void *arg); /* a server came up, went down, or got its first address */
    void *arg;
    struct loop_timer timer;
    struct resolve *resolve;
    struct stream *stream; /* of the check that runs */
    struct amqp_hs_client hs;
    uint64_t started_ms;
    uint64_t resolved_ms;
    bool is_open;     /* the connection of the check was made */
    bool name_failed; /* said so already */
};

/* `server` and `cookie` are borrowed until checker_fini. Looks and checks at once. */
void checker_init(struct checker *c, struct loop *loop, struct epoch *epoch,
                  const struct server *server, struct slice cookie, void (*on_change)(void *arg),
                  void *arg);
void checker_fini(struct checker *c);

/* Check soon: somebody met trouble there, or an operator wants it back. */
void checker_poke(struct checker *c);

/* "UP", "DOWN 1/2", "MAINT", "no check" ...: HAProxy's word for the server's state. */
const char *checker_status(const struct server *s, char *room, size_t bytes);

#endif
