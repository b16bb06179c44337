/*
 * amqp_handshake: open, tune and close a connection; all that is said on channel 0. (Core.)
 *
 * Two machines, one for each side: amqp_hs_server and amqp_hs_client. Both know states, methods and
 * RabbitMQ's reply codes; neither knows users, vhosts, sockets or the time. The driver turns what
 * happens into events and calls the machine's step; it then carries out the effects that the step
 * listed, in order. Deadlines are the driver's: it hangs up when the handshake takes too long.
 *
 * What an effect holds is borrowed: from the event, from the machine's configuration, or from the
 * list of effects itself. It is good until the driver takes the next step or its input moves.
 *
 *     struct amqp_hs_effects out;
 *     amqp_hs_server_step(&hs, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = f },
 *                         &out);
 *     for (unsigned i = 0; i < out.count; i++)
 *         carry_out(&out.list[i]);
 */
#ifndef WARREN_AMQP_HANDSHAKE_H
#define WARREN_AMQP_HANDSHAKE_H

#include "amqp/amqp_frame.h"
#include "amqp/amqp_method.h"

/* ---- limits (connection.tune) ---- */

struct amqp_limits {
    uint16_t channel_max; /* highest channel number; 0 in a tune means no limit */
    uint32_t frame_max;   /* octets, head and end included; 0 in a tune means no limit */
    uint16_t heartbeat_s; /* 0: none */
};

/* What a client settles for: the smaller of two limits, the one that is set when the other is not.
 * The result has no 0 but for heartbeats. */
struct amqp_limits amqp_limits_agree(const struct amqp_limits *want,
                                     const struct amqp_limits *offered);

/* ---- capabilities (a table inside client-properties and server-properties) ---- */

#define AMQP_CAPABILITIES(X)                                                                       \
    X(PUBLISHER_CONFIRMS, "publisher_confirms")                                                    \
    X(EXCHANGE_EXCHANGE_BINDINGS, "exchange_exchange_bindings")                                    \
    X(BASIC_NACK, "basic.nack")                                                                    \
    X(CONSUMER_CANCEL_NOTIFY, "consumer_cancel_notify")                                            \
    X(CONNECTION_BLOCKED, "connection.blocked")                                                    \
    X(CONSUMER_PRIORITIES, "consumer_priorities")                                                  \
    X(AUTHENTICATION_FAILURE_CLOSE, "authentication_failure_close")                                \
    X(PER_CONSUMER_QOS, "per_consumer_qos")                                                        \
    X(DIRECT_REPLY_TO, "direct_reply_to")

enum {
#define X(NAME, text) AMQP_CAP_INDEX_##NAME,
    AMQP_CAPABILITIES(X)
#undef X
        AMQP_CAP_COUNT
};
enum amqp_capability {
#define X(NAME, text) AMQP_CAP_##NAME = 1 << AMQP_CAP_INDEX_##NAME,
    AMQP_CAPABILITIES(X)
#undef X
};
#define AMQP_CAP_ALL ((1u << AMQP_CAP_COUNT) - 1)

/* What Warren's servers, broker and proxy alike, say they can do: what they do. */
#define AMQP_CAP_SERVED AMQP_CAP_ALL

/* The bits of amqp_capability that a peer's properties claim. */
unsigned amqp_capabilities_read(struct slice properties);

/* Write them as the field "capabilities" of a table of properties. */
void amqp_capabilities_put(struct wire_out *w, unsigned capabilities);

/* ---- events ---- */

enum amqp_hs_event_kind {
    /* both sides */
    AMQP_HS_EV_FRAME,     /* frame: any in the handshake, those of channel 0 once it is open */
    AMQP_HS_EV_BAD_FRAME, /* text: amqp_frame_why; nothing more can be read */
    AMQP_HS_EV_CLOSE,     /* code, text, method, verbatim: end it from our side, in any state */

    /* server */
    AMQP_HS_EV_HEADER,    /* the protocol header came; good: amqp_protocol_header_cut liked it */
    AMQP_HS_EV_AUTH_OK,   /* after AUTHENTICATE, one of these three, or CLOSE */
    AMQP_HS_EV_AUTH_MORE, /* bytes: a challenge */
    AMQP_HS_EV_AUTH_REFUSED,
    AMQP_HS_EV_ENTER_OK,  /* after ENTER: the vhost may be entered; else CLOSE with 530 or 403 */
    AMQP_HS_EV_SECRET_OK, /* after SECRET: taken; else CLOSE with 530 */
    AMQP_HS_EV_RELEASED,  /* after PEER_CLOSED: what the connection held is released */

    /* client */
    AMQP_HS_EV_CONNECTED, /* octets can be sent */
    AMQP_HS_EV_LOGIN,     /* after STARTED: mechanism, bytes (response), properties */
    AMQP_HS_EV_RESPONSE,  /* after CHALLENGED: bytes */
    AMQP_HS_EV_ENTER,     /* after TUNED: bytes, the vhost */
    AMQP_HS_EV_SECRET,    /* when open: bytes, the new one; text, the reason */
};

struct amqp_hs_event {
    enum amqp_hs_event_kind kind;
    bool good;
    struct amqp_frame frame;
    struct slice bytes;
    struct slice text;
    struct slice mechanism;
    struct slice properties; /* raw table */
    uint16_t code;           /* an amqp_reply_code, or what a peer said */
    uint32_t method;         /* the method at fault, 0: none */
    bool verbatim; /* text is the whole reply text, as a peer gave it: no "NAME - " in front */
};

/* ---- effects ---- */

enum amqp_hs_effect_kind {
    /* both sides */
    AMQP_HS_SEND_HEADER, /* the protocol header */
    AMQP_HS_SEND,        /* method, on channel 0 */
    AMQP_HS_OPENED,      /* limits: agreed on; channels may be used */
    AMQP_HS_PEER_CLOSED, /* close: the peer ends it. Release everything; a server that had opened
                          * the connection then says RELEASED, and only then is it answered */
    AMQP_HS_FAILED,  /* close: the peer broke the protocol, for the log; CLOSE is sent already */
    AMQP_HS_HANG_UP, /* after_ms: close the socket when that much time has passed, or at the
                      * peer's end of stream; a later one of these replaces an earlier one. With
                      * 0: as soon as what was sent is on its way */

    /* server */
    AMQP_HS_AUTHENTICATE, /* login: mechanism and response (of start-ok or secure-ok). Feed no
                           * frame until AUTH_OK, AUTH_MORE, AUTH_REFUSED or CLOSE */
    AMQP_HS_ENTER,        /* bytes: vhost. Feed no frame until ENTER_OK or CLOSE */
    AMQP_HS_SECRET,       /* bytes: the new secret. SECRET_OK or CLOSE answers */

    /* client */
    AMQP_HS_STARTED,    /* start: what the server says of itself. LOGIN answers */
    AMQP_HS_CHALLENGED, /* bytes. RESPONSE answers */
    AMQP_HS_TUNED,      /* limits: agreed on, credentials accepted. ENTER answers */
    AMQP_HS_BLOCKED,    /* bytes: the reason; do not publish */
    AMQP_HS_UNBLOCKED,
    AMQP_HS_SECRET_TAKEN,
};

struct amqp_hs_login {
    struct slice mechanism;
    struct slice response;
    struct slice properties; /* the client's, raw table; empty when it comes from secure-ok */
};

struct amqp_hs_effect {
    enum amqp_hs_effect_kind kind;
    union {
        struct amqp_method method;
        struct amqp_limits limits;
        struct amqp_connection_close close;
        struct amqp_connection_start start;
        struct amqp_hs_login login;
        struct slice bytes;
        uint32_t after_ms;
    };
};

#define AMQP_HS_EFFECTS_MAX 4

struct amqp_hs_effects {
    unsigned count;
    struct amqp_hs_effect list[AMQP_HS_EFFECTS_MAX];
    char text[AMQP_REPLY_TEXT_MAX + 1]; /* where reply texts are composed */
};

/* How long to wait for a close-ok or for the peer to hang up, as RabbitMQ does: one heartbeat if
 * that is less than this. */
#define AMQP_HS_CLOSE_WAIT_MS 30000u
/* Before the limits are tuned. Also how long a refused login is kept waiting, when the client does
 * not understand a close at this point. */
#define AMQP_HS_EARLY_WAIT_MS 3000u
/* After a frame that cannot be read: for the close to arrive. */
#define AMQP_HS_BROKEN_WAIT_MS 1000u
/* After close-ok the socket is the client's to close, as with RabbitMQ: one that has asked twice
 * must find the answer and not the end. It may forget it. */
#define AMQP_HS_BYE_WAIT_MS 1000u

#endif
