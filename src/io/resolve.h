/*
 * resolve: names to addresses, off the loop (a system call that may take seconds), so that no
 * callback ever waits for a name server. Literal addresses are answered without a thread.
 */
#ifndef WARREN_RESOLVE_H
#define WARREN_RESOLVE_H

#include "base/err.h"
#include "io/loop.h"
#include "io/sock.h"
#include "io/work.h"

#define RESOLVE_ADDRS_MAX 8

struct resolve_answer {
    struct sock_addr addrs[RESOLVE_ADDRS_MAX]; /* in the system's order of preference */
    unsigned count;                            /* 0: *why says what failed */
};

typedef void (*resolve_fn)(const struct resolve_answer *a, const struct err *why, void *arg);

struct resolve;

/* Look names up on `pool` for this loop, from now on; before the first resolve_start of a name. Let
 * it be a pool of its own: a name server that is silent holds a thread for many seconds. The pool
 * is borrowed; work_pool_free comes after the loop's last turn. */
void resolve_use(struct loop *loop, struct work_pool *pool);

/* Ask; `fn` is called from the loop, once, never from inside this call. `host` is copied. */
struct resolve *resolve_start(struct loop *loop, const char *host, uint16_t port, resolve_fn fn,
                              void *arg);

/* `fn` will not be called any more. *r becomes NULL, and may be NULL. Once `fn` was called, *r is
 * gone already: `fn` forgets its pointer. */
void resolve_cancel(struct resolve **r);

#endif
