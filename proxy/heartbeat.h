/*
 * heartbeat: when to send one, and when a silent peer counts as dead (core; AMQP 4.2.7).
 *
 * Each side of the proxy has heartbeats of its own. We send after half an interval without output,
 * and give a peer up after two intervals without input. A peer that we do not listen to, because
 * the other side is slow, is never given up.
 */
#ifndef WARREN_HEARTBEAT_H
#define WARREN_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

struct heartbeat_view {
    uint64_t now_ms;
    uint64_t last_read_ms;
    uint64_t last_write_ms;
    uint64_t listening_since_ms; /* when we began to listen again; 0: always did */
    bool listening;
    bool has_output; /* octets wait to be sent: they are as good as a heartbeat */
};

enum heartbeat_verdict { HEARTBEAT_WAIT, HEARTBEAT_SEND, HEARTBEAT_DEAD };

/* What to do now, and after how many ms to ask again (*next_ms, at least 1). `interval_s` 0: there
 * are no heartbeats; then WAIT, and *next_ms is UINT64_MAX. */
enum heartbeat_verdict heartbeat_step(uint16_t interval_s, const struct heartbeat_view *v,
                                      uint64_t *next_ms);

#endif
