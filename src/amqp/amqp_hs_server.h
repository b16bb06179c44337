/*
 * amqp_hs_server: the server's side of amqp_handshake, with RabbitMQ's codes and texts.
 */
#ifndef WARREN_AMQP_HS_SERVER_H
#define WARREN_AMQP_HS_SERVER_H

#include "amqp/amqp_handshake.h"

/*
 *   HEADER -> STARTING -> SECURING -> TUNING -> OPENING -> ENTERING -> RUNNING
 *                          |    ^                                        |
 *                          v    |                          peer closes   |
 *                        CHALLENGED                                      v
 *                                                                     CLOSING -> DONE
 *   any of them: we close -> CLOSED (close sent, waits for close-ok) -> DONE
 *
 * In SECURING and ENTERING the driver decides, and frames wait. RabbitMQ's names where it has one:
 * they appear in reply texts.
 */
#define AMQP_HS_SERVER_STATES(X)                                                                   \
    X(HEADER, TO(STARTING) | TO(DONE))                                                             \
    X(STARTING, TO(SECURING) | TO(CLOSED) | TO(DONE))                                              \
    X(SECURING, TO(CHALLENGED) | TO(TUNING) | TO(CLOSED) | TO(DONE))                               \
    X(CHALLENGED, TO(SECURING) | TO(CLOSED) | TO(DONE))                                            \
    X(TUNING, TO(OPENING) | TO(CLOSED) | TO(DONE))                                                 \
    X(OPENING, TO(ENTERING) | TO(CLOSED) | TO(DONE))                                               \
    X(ENTERING, TO(RUNNING) | TO(CLOSED) | TO(DONE))                                               \
    X(RUNNING, TO(CLOSING) | TO(CLOSED) | TO(DONE))                                                \
    X(CLOSING, TO(DONE))                                                                           \
    X(CLOSED, TO(DONE))                                                                            \
    X(DONE, 0)

enum amqp_hs_server_state {
#define X(name, moves) AMQP_HS_SERVER_##name,
    AMQP_HS_SERVER_STATES(X)
#undef X
};

/* The same for all connections of a listener; outlives them. */
struct amqp_hs_server_conf {
    struct slice properties;  /* raw table: server-properties */
    struct slice mechanisms;  /* "PLAIN AMQPLAIN" */
    struct amqp_limits offer; /* frame_max is set and at least AMQP_FRAME_MAX_LEAST */
};

struct amqp_hs_server {
    enum amqp_hs_server_state state;
    unsigned capabilities;     /* AMQP_CAP_...: the client's, from start-ok on */
    struct amqp_limits limits; /* agreed on, from OPENING on; no 0 but for heartbeats */
    struct slice mechanism;    /* the chosen one, within conf->mechanisms */
    const struct amqp_hs_server_conf *conf;
};

/* Borrows conf. */
void amqp_hs_server_init(struct amqp_hs_server *hs, const struct amqp_hs_server_conf *conf);

/* out is overwritten. An event that the state does not allow is the driver's mistake, but frames
 * are always the client's. */
void amqp_hs_server_step(struct amqp_hs_server *hs, const struct amqp_hs_event *ev,
                         struct amqp_hs_effects *out);

/* False while the driver owes a decision and when nothing more is of interest. */
bool amqp_hs_server_takes_frames(const struct amqp_hs_server *hs);

/* What frames may be as long as, before and after tuning. */
uint32_t amqp_hs_server_frame_max(const struct amqp_hs_server *hs);

/* "RUNNING", for logs. */
const char *amqp_hs_server_state_name(const struct amqp_hs_server *hs);

#endif
