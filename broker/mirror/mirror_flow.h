/*
 * mirror_flow: how much of a stream is under way, and for how long.
 *
 * A stream holds `window` octets that the mirror has not taken; half of that may be old messages,
 * so that what is published now is not held up by a mirror that catches up. A mirror *lags* for as
 * long as the eldest of what it has not acknowledged as durable. One thread.
 */
#ifndef WARREN_MIRROR_FLOW_H
#define WARREN_MIRROR_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIRROR_FLOW_POINTS 64u

struct mirror_flow_point { /* all up to `pos` */
    uint64_t pos;
    uint64_t bytes;
    uint64_t old_bytes;
};

struct mirror_flow {
    uint64_t window;
    uint64_t bytes;                                      /* not taken */
    uint64_t old_bytes;                                  /* of these, of old messages */
    struct mirror_flow_point points[MIRROR_FLOW_POINTS]; /* a ring */
    unsigned head;
    unsigned count;
    uint64_t sent;     /* the last position */
    uint64_t durable;  /* ... that is durable there */
    uint64_t mark_pos; /* not durable, and sent at mark_ms; 0: all is durable */
    uint64_t mark_ms;
};

void mirror_flow_init(struct mirror_flow *f, uint64_t window);

/* The session is over: what was under way counts no more. */
void mirror_flow_reset(struct mirror_flow *f);

void mirror_flow_sent(struct mirror_flow *f, uint64_t pos, uint64_t bytes, bool is_old,
                      uint64_t now_ms);
void mirror_flow_acked(struct mirror_flow *f, uint64_t received, uint64_t durable, uint64_t now_ms);

static inline bool mirror_flow_is_full(const struct mirror_flow *f)
{
    return f->bytes >= f->window;
}

static inline bool mirror_flow_has_room(const struct mirror_flow *f)
{
    return f->bytes < f->window / 2;
}

static inline bool mirror_flow_has_old_room(const struct mirror_flow *f)
{
    return f->old_bytes < f->window / 2 && f->bytes < f->window;
}

/* All that was said is durable there. */
static inline bool mirror_flow_is_done(const struct mirror_flow *f)
{
    return f->mark_pos == 0;
}

uint64_t mirror_flow_lag_ms(const struct mirror_flow *f, uint64_t now_ms);

#endif
