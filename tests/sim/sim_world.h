/*
 * sim_world: loops, mail, pools of threads and clocks, on one thread and by one seed.
 *
 * It stands in for src/io/{loop,mailbox,work,crew,clock,random,lock}.c when the simulator is
 * linked, so that everything above runs as it is. Each step is a turn of one loop or a stretch of
 * one thread (sim_fiber.h), chosen by chance among what could run; a thread that waits for the disk
 * may give way there. Time is virtual: it passes with what is done, and jumps to the next timer
 * when nothing else is left.
 *
 * There is one world at a time.
 */
#ifndef WARREN_SIM_WORLD_H
#define WARREN_SIM_WORLD_H

#include "io/loop.h"

#include <stdint.h>

void sim_world_begin(uint64_t seed);
/* Every loop and pool is freed. */
void sim_world_end(void);

/* One step. False: nothing can run, and no timer is set. */
bool sim_world_step(void);

/* Steps until nothing can run without time passing, at most `most` of them. */
void sim_world_settle(unsigned most);

/* Somebody waits here for a disk: others may run meanwhile. */
void sim_world_yield(void);

uint64_t sim_world_now_us(void);
void sim_world_pass(uint64_t us);

/* How often yields let others run, of 1000; 0 for none. */
void sim_world_interleave(unsigned per_mille);

/* Now and then one of the loops hardly runs for a while, as on a machine that has other things to
 * do. */
void sim_world_starve(bool on);

/* The history, a line at a time, with the time in front; NULL: nobody reads it. */
void sim_world_trace(void (*fn)(const char *line, void *arg), void *arg);
void sim_world_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- between sim_world.c and sim_work.c ---------------------------------------------------------
 */

/* Pools whose next job could begin; it gets a fiber. */
size_t sim_work_ready(void);
void sim_work_begin(size_t index);
void sim_work_reap(void);    /* fibers of jobs that are done */
bool sim_work_is_idle(void); /* no pool is left */

uint64_t sim_world_below(uint64_t bound);

#endif
