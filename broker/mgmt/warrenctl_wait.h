/*
 * warrenctl_wait: looking again and again, with a pause in between and an end.
 */
#ifndef WARREN_WARRENCTL_WAIT_H
#define WARREN_WARRENCTL_WAIT_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct warrenctl_wait {
    uint64_t until_ms; /* 0: no end */
    uint64_t pause_ms;
};

/* `seconds` 0: without an end. */
void warrenctl_wait_begin(struct warrenctl_wait *t, uint64_t seconds);

/* Pause, longer from time to time. False when the time is over. */
MUST_CHECK bool warrenctl_wait_more(struct warrenctl_wait *t);

#endif
