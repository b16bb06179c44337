/*
 * health: when a server that is checked counts as up or down (core).
 *
 * As in HAProxy: `fall` failures in a row take a server down, `rise` successes in a row bring it
 * back, and between the two it is asked more often. A server starts up, but at its first failure
 * it goes down. It knows nothing of how a check is made.
 */
#ifndef WARREN_HEALTH_H
#define WARREN_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

struct health_conf {
    unsigned rise; /* both at least 1 */
    unsigned fall;
    uint64_t inter_ms;     /* between checks of a server whose state is settled */
    uint64_t fastinter_ms; /* ... that is on its way up or down */
    uint64_t downinter_ms; /* ... that is down */
};

/*    0 .. rise-1   down; above 0 on the way up
 *    rise .. rise+fall-1   up; below the end on the way down */
struct health {
    unsigned score;
};

enum health_event { HEALTH_PASSED, HEALTH_FAILED };

enum health_change { HEALTH_SAME, HEALTH_WENT_UP, HEALTH_WENT_DOWN };

struct health_effects {
    enum health_change change;
    uint64_t next_after_ms; /* when to check again */
};

void health_init(struct health *h, const struct health_conf *conf);

void health_step(struct health *h, const struct health_conf *conf, enum health_event event,
                 struct health_effects *out);

bool health_is_up(const struct health *h, const struct health_conf *conf);

/* On its way: how many of `*of` steps it still stands (up) or has made (down). False when its state
 * is settled. */
bool health_is_moving(const struct health *h, const struct health_conf *conf, unsigned *step,
                      unsigned *of);

/* The same health under new rules (a reload): up stays up, down stays down. */
void health_adapt(struct health *h, const struct health_conf *from, const struct health_conf *to);

#endif
