/*
 * vitals: how this node does, as far as it can tell by itself: whether its loops turn, and whether
 * its disk keeps up.
 *
 * A thread of its own asks each loop for an answer again and again, which is one mail under way,
 * and sees how long the oldest of these has been waiting. It says so in the log when a loop hangs,
 * and when that is over: the loop that hangs cannot. Whoever leads the cluster hears of it with
 * each keepalive (cluster/ward.h). When the control thread is the one that hangs there is none, and
 * the node is taken for down.
 */
#ifndef WARREN_VITALS_H
#define WARREN_VITALS_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct loop;
struct vitals;

#define VITALS_ASK_MS  250u  /* between two looks */
#define VITALS_HANG_MS 2000u /* a loop that has not answered for so long is told of, and hangs */

/* The loops outlive it, or are only settled while it is freed. */
struct vitals *vitals_new(const char *node, struct loop *const *loops, size_t count);
/* Its thread. */
MUST_CHECK bool vitals_start(struct vitals *v, struct err *err);
void vitals_stop(struct vitals *v);
/* Stopped, and no mail of it is under way. NULL is allowed. */
void vitals_free(struct vitals **v);

/* The node stops, which wants all loops: when one of them hangs for so long from now on, `stuck` is
 * called on the thread of the vitals, once. Any thread. */
typedef void (*vitals_stuck_fn)(void *arg);
void vitals_leave(struct vitals *v, uint64_t within_ms, vitals_stuck_fn stuck, void *arg);

/* Any thread: for how long one of the loops has not turned, at least. */
uint32_t vitals_loop_ms(const struct vitals *v);
/* ... and how often one was told of since the start. */
uint64_t vitals_hangs(const struct vitals *v);

#endif
