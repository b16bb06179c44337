/*
 * proxy_accept: takes the PROXY header off an accepted socket, and not an octet more, so that what
 * follows, be it TLS, is still there for a stream.
 *
 * Who may send a header, and what it proves, is the caller's matter.
 */
#ifndef WARREN_PROXY_ACCEPT_H
#define WARREN_PROXY_ACCEPT_H

#include "base/err.h"
#include "io/loop.h"
#include "io/proxy_proto.h"

struct proxy_accept;

/* From the loop, once. With a header the fd is the caller's again; `h` is good for the call.
 * Without one (`h` is NULL, *why says it) the fd is closed. */
typedef void (*proxy_accept_fn)(int fd, const struct proxy_header *h, const struct err *why,
                                void *arg);

/* Takes fd. Optional: who begins as no header does is handed on with all that it said. */
struct proxy_accept *proxy_accept_start(struct loop *loop, int fd, bool optional,
                                        uint64_t timeout_ms, proxy_accept_fn fn, void *arg);

/* Close the fd; `fn` is not called. After `fn` was called, it is gone already. */
void proxy_accept_cancel(struct proxy_accept **a);

#endif
