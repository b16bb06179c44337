/*
 * first_octets: takes so many octets off an accepted socket, and not one more, so that what
 * follows, be it TLS, is still there for a stream of whichever loop they say it is for.
 */
#ifndef WARREN_FIRST_OCTETS_H
#define WARREN_FIRST_OCTETS_H

#include "base/slice.h"
#include "io/loop.h"

#define FIRST_OCTETS_MAX ((size_t)64)

struct first_octets;

/* From the loop, once. `octets` is good for the call. All of them: the fd is the caller's again.
 * Fewer (what had come when the peer closed, failed, or when the time was over): it is closed and
 * -1. */
typedef void (*first_octets_fn)(int fd, struct slice octets, void *arg);

/* Takes fd. */
struct first_octets *first_octets_start(struct loop *loop, int fd, size_t count,
                                        uint64_t timeout_ms, first_octets_fn fn, void *arg);

/* Close the fd; `fn` is not called. After `fn` was called, it is gone already. May be NULL. */
void first_octets_cancel(struct first_octets **f);

#endif
