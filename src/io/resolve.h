/*
 * resolve: names to addresses, off the loop (a system call that may take seconds), so that no
 * callback ever waits for a name server. Literal addresses are answered without a thread. A loop
 * that asks for a name gets a few threads of its own; those that still wait for a name server when
 * it is freed are let go, so that no end has to wait for them.
 */
#ifndef WARREN_RESOLVE_H
#define WARREN_RESOLVE_H

#include "base/err.h"
#include "io/loop.h"
#include "io/sock.h"

#define RESOLVE_ADDRS_MAX 8

struct resolve_answer {
    struct sock_addr addrs[RESOLVE_ADDRS_MAX]; /* in the system's order of preference */
    unsigned count;                            /* 0: *why says what failed */
};

typedef void (*resolve_fn)(const struct resolve_answer *a, const struct err *why, void *arg);

struct resolve;

/* Ask; `fn` is called from the loop, once, never from inside this call. `host` is copied. */
struct resolve *resolve_start(struct loop *loop, const char *host, uint16_t port, resolve_fn fn,
                              void *arg);

/* `fn` will not be called any more. *r becomes NULL, and may be NULL. Once `fn` was called, *r is
 * gone already: `fn` forgets its pointer. */
void resolve_cancel(struct resolve **r);

#endif
