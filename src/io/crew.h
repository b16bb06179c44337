/*
 * crew: one piece of work, cut into many parts, done by a few threads that live as long as it does.
 *
 * For starts and for tools, where somebody may wait for all of it. Work beside a loop belongs to a
 * work pool (work.h).
 */
#ifndef WARREN_CREW_H
#define WARREN_CREW_H

#include <stddef.h>

#define CREW_THREADS_MAX 64u

typedef void (*crew_fn)(size_t index, void *arg);

/* Calls `each` with every index below `count`, in their order but side by side, on at most
 * `threads` threads, of which the caller's is one; returns when all are done. With 0 or 1, or if
 * the system gives no thread, all on the caller's. */
void crew_run(unsigned threads, size_t count, crew_fn each, void *arg);

#endif
