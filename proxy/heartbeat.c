#include "heartbeat.h"

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* From now until `due`, at least 1. */
static uint64_t until(uint64_t due, uint64_t now)
{
    return due > now ? due - now : 1;
}

enum heartbeat_verdict heartbeat_step(uint16_t interval_s, const struct heartbeat_view *v,
                                      uint64_t *next_ms)
{
    *next_ms = UINT64_MAX;
    if (interval_s == 0)
        return HEARTBEAT_WAIT;

    uint64_t interval_ms = (uint64_t)interval_s * 1000;
    uint64_t half_ms = interval_ms / 2;
    uint64_t dead_ms = later(v->last_read_ms, v->listening_since_ms) + 2 * interval_ms;
    if (v->listening && v->now_ms >= dead_ms)
        return HEARTBEAT_DEAD;

    bool send = !v->has_output && v->now_ms >= v->last_write_ms + half_ms;
    uint64_t send_ms = send || v->has_output ? v->now_ms + half_ms : v->last_write_ms + half_ms;
    *next_ms = until(send_ms, v->now_ms);
    if (v->listening && dead_ms < send_ms)
        *next_ms = until(dead_ms, v->now_ms);
    return send ? HEARTBEAT_SEND : HEARTBEAT_WAIT;
}
