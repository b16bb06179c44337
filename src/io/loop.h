/*
 * loop: one event base a thread, and what a turn of it promises.
 *
 * A turn is: wait for events, run their callbacks and the mail that came, run what asked to run
 * again, then the tasks of the turn's end (where streams flush what was written in the turn), then
 * free the buried. Mail that was posted before a peer sent its octets is delivered before these are
 * shown to a stream's owner: who was told of something by one loop finds it done at another. Each
 * object belongs to one loop, and all calls on it happen on that loop's thread; loop_is_current
 * checks it. Other threads reach a loop through mailbox.h, and through loop_stop, nothing else.
 */
#ifndef WARREN_LOOP_H
#define WARREN_LOOP_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct loop;
struct event;
struct epoch;

/* A new loop, not running; `name` (copied) names its thread and its log lines. */
MUST_CHECK struct loop *loop_new(const char *name, struct err *err);

/* Not running any more; everything on it is freed already. *loop becomes NULL. */
void loop_free(struct loop **loop);

/* Run on the calling thread until loop_stop; it may be run again then. */
void loop_run(struct loop *loop);

/* Run on a thread of its own; loop_join waits for its end. */
MUST_CHECK bool loop_start(struct loop *loop, struct err *err);
void loop_join(struct loop *loop);

/* End loop_run when the present turn is over. Any thread, and signal handlers of loop_on_signal. */
void loop_stop(struct loop *loop);

/* For a loop that does not run (any more): deliver its mail and run what asked to run, on the
 * calling thread, without waiting for events. False when there was nothing to do. */
bool loop_settle(struct loop *loop);

bool loop_is_current(const struct loop *loop);
const char *loop_name(const struct loop *loop);

/* Monotonic time, read when the turn's events arrived. */
uint64_t loop_now_ms(const struct loop *loop);
uint64_t loop_now_us(const struct loop *loop);

/* Take part in the grace periods of `epoch` (see epoch.h); before the loop runs, once. */
void loop_join_epoch(struct loop *loop, struct epoch *epoch);

/* ---- things to do later; embedded in the object that wants them ----------------------------- */

typedef void (*loop_fn)(void *arg);

struct loop_task {
    loop_fn fn;
    void *arg;
    bool queued;
    bool at_turn_end; /* which list it is queued on */
    TAILQ_ENTRY(loop_task) entry;
};

void loop_task_init(struct loop_task *t, loop_fn fn, void *arg);

/* Once in the next turn, which then does not wait: others first, then the rest. */
void loop_again(struct loop *loop, struct loop_task *t);

/* Once at the end of this turn, before the buried are freed. */
void loop_at_turn_end(struct loop *loop, struct loop_task *t);

/* The same, ahead of all that waits for the turn's end: of what streams send, too. */
void loop_first_at_turn_end(struct loop *loop, struct loop_task *t);

/* Not after all; no effect when it is not queued. Needed before the task's memory goes. */
void loop_task_cancel(struct loop *loop, struct loop_task *t);

struct loop_timer {
    struct loop *loop;
    loop_fn fn;
    void *arg;
    struct event *event; /* made at the first start */
};

void loop_timer_init(struct loop_timer *t, struct loop *loop, loop_fn fn, void *arg);
void loop_timer_start(struct loop_timer *t, uint64_t after_ms); /* once; restarts a running one */
void loop_timer_stop(struct loop_timer *t);                     /* no effect when not running */
bool loop_timer_is_running(const struct loop_timer *t);
void loop_timer_fini(struct loop_timer *t); /* stops; the memory may go */

/* Free `ptr` with `free_fn` when the turn is over, so that nothing is freed under a caller. */
void loop_bury(struct loop *loop, void *ptr, void (*free_fn)(void *ptr));

/* `fn` on this loop's thread whenever `signo` comes; for the process's main loop, on the thread
 * that will run it. One that was held back (daemon_hold_signals) is not any more, and has come now.
 */
MUST_CHECK bool loop_on_signal(struct loop *loop, int signo, loop_fn fn, void *arg,
                               struct err *err);

#endif
