/*
 * sim_fiber: threads that take turns: each has a stack of its own and runs until it gives way.
 *
 * It stands in for src/io/lock.c, so that the journal's own thread runs in the simulator as it is,
 * and carries the jobs of pools. Whoever runs on the main stack and waits for a bell steps the
 * world until it rings.
 */
#ifndef WARREN_SIM_FIBER_H
#define WARREN_SIM_FIBER_H

#include <stdbool.h>
#include <stddef.h>

struct sim_fiber;

/* Begins when it is chosen. `fn` returning is its end. */
struct sim_fiber *sim_fiber_new(void (*fn)(void *arg), void *arg);
/* It has ended. */
void sim_fiber_free(struct sim_fiber **f);
bool sim_fiber_has_ended(const struct sim_fiber *f);

/* Those that do not wait for a bell; run one of them until it gives way. On the main stack. */
size_t sim_fiber_ready(void);
void sim_fiber_run(size_t index);

/* The moment at which the first that waits gives up; UINT64_MAX: none. */
unsigned long long sim_fiber_next_us(void);

/* Are we on one? Then others come first. */
bool sim_fiber_is_current(void);
void sim_fiber_give_way(void);

#endif
