/*
 * amqp_hs_client: the client's side of amqp_handshake, for upstream connections, health checks and
 * the bench. The caller is asked for each thing that is not the protocol's: who logs in once the
 * server has said what it offers, and which vhost once the credentials are accepted. A check that
 * only wants to know whether the server greets ends there.
 */
#ifndef WARREN_AMQP_HS_CLIENT_H
#define WARREN_AMQP_HS_CLIENT_H

#include "amqp/amqp_handshake.h"

/*
 *   IDLE -> GREETING -> CHOOSING -> AUTHENTICATING -> TUNED -> ENTERING -> RUNNING -> DONE
 *                      (caller's     |        ^      (caller's
 *                       login)       v        |       vhost)
 *                                  ANSWERING (caller's response)
 *
 *   ENTERING, RUNNING: we close -> CLOSED (waits for close-ok) -> DONE
 *   any: the peer closes, or we do before there is anything to close -> DONE
 */
#define AMQP_HS_CLIENT_STATES(X)                                                                   \
    X(IDLE, TO(GREETING) | TO(DONE))                                                               \
    X(GREETING, TO(CHOOSING) | TO(DONE))                                                           \
    X(CHOOSING, TO(AUTHENTICATING) | TO(DONE))                                                     \
    X(AUTHENTICATING, TO(ANSWERING) | TO(TUNED) | TO(DONE))                                        \
    X(ANSWERING, TO(AUTHENTICATING) | TO(DONE))                                                    \
    X(TUNED, TO(ENTERING) | TO(DONE))                                                              \
    X(ENTERING, TO(RUNNING) | TO(CLOSED) | TO(DONE))                                               \
    X(RUNNING, TO(CLOSED) | TO(DONE))                                                              \
    X(CLOSED, TO(DONE))                                                                            \
    X(DONE, 0)

enum amqp_hs_client_state {
#define X(name, moves) AMQP_HS_CLIENT_##name,
    AMQP_HS_CLIENT_STATES(X)
#undef X
};

struct amqp_hs_client {
    enum amqp_hs_client_state state;
    unsigned capabilities;     /* AMQP_CAP_...: the server's, from STARTED on */
    struct amqp_limits want;   /* 0: whatever the server offers */
    struct amqp_limits limits; /* agreed on, from TUNED on */
};

/* want->frame_max is 0 or at least AMQP_FRAME_MAX_LEAST. */
void amqp_hs_client_init(struct amqp_hs_client *hs, const struct amqp_limits *want);

/* out is overwritten. An event that the state does not allow is the driver's mistake, but frames
 * are always the server's. Names from a server need not be UTF-8. */
void amqp_hs_client_step(struct amqp_hs_client *hs, const struct amqp_hs_event *ev,
                         struct amqp_hs_effects *out);

/* What frames may be as long as. Before tuning it is what a server's greeting may need, though the
 * specification grants 4096 (RabbitMQ itself sends more when its properties are many). */
uint32_t amqp_hs_client_frame_max(const struct amqp_hs_client *hs);

/* "RUNNING", for logs. */
const char *amqp_hs_client_state_name(const struct amqp_hs_client *hs);

#endif
