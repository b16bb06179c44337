/*
 * content: where one direction of a channel stands in a message (method, header, bodies; 4.2.6).
 */
#ifndef WARREN_CONTENT_H
#define WARREN_CONTENT_H

#include "amqp/amqp_frame.h"

struct content {
    enum { CONTENT_NONE, CONTENT_HEADER, CONTENT_BODY } next;
    uint64_t body_left; /* octets */
};

/* A method frame with this id passes: a message begins, or none is under way any more. */
static inline void content_method(struct content *c, uint32_t id)
{
    c->next = amqp_method_has_content(id) ? CONTENT_HEADER : CONTENT_NONE;
}

/* A header or body frame passes. What is out of place is left for the receiver to judge. */
static inline void content_frame(struct content *c, uint8_t type, struct slice payload)
{
    if (type == AMQP_FRAME_BODY && c->next == CONTENT_BODY && payload.len < c->body_left) {
        c->body_left -= payload.len;
        return;
    }
    c->body_left = 0;
    if (type == AMQP_FRAME_HEADER && c->next == CONTENT_HEADER) {
        struct wire w = wire_over(payload);
        (void)wire_u32(&w); /* class and weight */
        c->body_left = wire_u64(&w);
    }
    c->next = c->body_left != 0 ? CONTENT_BODY : CONTENT_NONE;
}

static inline bool content_is_open(const struct content *c)
{
    return c->next != CONTENT_NONE;
}

#endif
