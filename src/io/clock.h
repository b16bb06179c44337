/*
 * clock: the only place that asks the system for the time. Any thread.
 *
 * Inside a loop's callbacks use loop_now_ms, which costs nothing.
 */
#ifndef WARREN_CLOCK_H
#define WARREN_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_us(void); /* since some fixed moment; never goes back */
uint64_t clock_mono_ms(void);
uint64_t clock_boot_us(void);       /* like clock_mono_us, and runs while the machine sleeps */
uint64_t clock_wall_ms(void);       /* since 1970, UTC; may jump */
uint64_t clock_thread_cpu_us(void); /* CPU time of the calling thread */

#endif
