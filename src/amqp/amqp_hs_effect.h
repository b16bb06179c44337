/*
 * amqp_hs_effect: how the two machines of amqp_handshake list their effects. Internal to both.
 */
#ifndef WARREN_AMQP_HS_EFFECT_H
#define WARREN_AMQP_HS_EFFECT_H

#include "amqp/amqp_handshake.h"
#include "base/check.h"

static inline struct amqp_hs_effect *amqp_hs_emit(struct amqp_hs_effects *out,
                                                  enum amqp_hs_effect_kind kind)
{
    CHECK(out->count < AMQP_HS_EFFECTS_MAX);
    struct amqp_hs_effect *e = &out->list[out->count++];
    *e = (struct amqp_hs_effect){ .kind = kind };
    return e;
}

/* The method is the caller's to fill in. */
static inline struct amqp_method *amqp_hs_send(struct amqp_hs_effects *out, enum amqp_method_id id)
{
    struct amqp_hs_effect *e = amqp_hs_emit(out, AMQP_HS_SEND);
    e->method.id = id;
    return &e->method;
}

static inline void amqp_hs_hang_up(struct amqp_hs_effects *out, uint32_t after_ms)
{
    amqp_hs_emit(out, AMQP_HS_HANG_UP)->after_ms = after_ms;
}

static inline void amqp_hs_send_close(struct amqp_hs_effects *out,
                                      const struct amqp_connection_close *close)
{
    amqp_hs_send(out, AMQP_CONNECTION_CLOSE)->connection_close = *close;
}

/* Compose "CODE - text" in out->text; the method at fault may be 0. */
#define amqp_hs_reason(out, code, method, ...)                                                     \
    ((struct amqp_connection_close){                                                               \
        .reply_code = (uint16_t)(code),                                                            \
        .reply_text = amqp_reply_text((out)->text, (code), __VA_ARGS__),                           \
        .class_id = amqp_method_class(method),                                                     \
        .method_id = amqp_method_number(method),                                                   \
    })

/* The close that a CLOSE event asks for. */
static inline struct amqp_connection_close amqp_hs_close_of(const struct amqp_hs_event *ev,
                                                            struct amqp_hs_effects *out)
{
    struct amqp_connection_close close =
        amqp_hs_reason(out, ev->code, ev->method, "%.*s", SLICE_ARG(ev->text));
    if (ev->verbatim)
        close.reply_text = slice_head(ev->text, AMQP_REPLY_TEXT_MAX);
    return close;
}

/* How long to wait for the peer's last word. */
static inline uint32_t amqp_hs_close_wait_ms(const struct amqp_limits *limits)
{
    uint32_t ms = (uint32_t)limits->heartbeat_s * 1000u;
    return ms != 0 && ms < AMQP_HS_CLOSE_WAIT_MS ? ms : AMQP_HS_CLOSE_WAIT_MS;
}

#endif
