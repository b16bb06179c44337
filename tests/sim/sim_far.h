/*
 * sim_far: random histories of channels that use queues of another node, over links that break.
 *
 * One seed decides what channels do, how frames, mail between threads, the disk and the metadata
 * lag behind each other, when a link is stuck, and when a session is over: the asking side begins a
 * new life at once, the answering side hears of it later. Each copy of each message is followed on
 * both sides: order is kept for each channel and queue and for each consumer, a publish is answered
 * once and confirmed only when all its copies are safe, credit and charges are what they are,
 * requests are answered once, what a channel settles is settled so and once, what was out comes
 * back with the session's end, queues that were promised to go are gone. In the end nothing is
 * under way, forgotten or counted.
 */
#ifndef WARREN_SIM_FAR_H
#define WARREN_SIM_FAR_H

#include "sim_log.h"

/* As sim_log_run. */
MUST_CHECK bool sim_far_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out);

#endif
