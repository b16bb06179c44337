/*
 * warrenctl_link: a connection to a node: found by its name, proven to it, and asked one thing
 * after the other by HTTP. It blocks; its loop runs while an answer is awaited.
 */
#ifndef WARREN_WARRENCTL_LINK_H
#define WARREN_WARRENCTL_LINK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"
#include "io/sock.h"

struct warrenctl_link;

/* Where a node is. */
struct warrenctl_target {
    const char *shown;  /* how to call it in complaints */
    const char *socket; /* its unix socket, or NULL: */
    const char *host;
    uint16_t port;
    struct slice cookie; /* for host and port; its ptr NULL: nothing is proven, nor can be asked */
};

/* Connect, and prove what there is to prove. */
MUST_CHECK struct warrenctl_link *warrenctl_link_new(const struct warrenctl_target *t,
                                                     uint64_t timeout_ms, struct err *err);
void warrenctl_link_free(struct warrenctl_link **l);

struct warrenctl_answer {
    int status;
    uint64_t list;    /* the number in Warren-List, 0: none */
    struct text body; /* the caller's, see text_fini */
};

/* `timeout_ms` 0: as long as it takes. On failure the link is of no more use, and `out` holds
 * nothing. */
MUST_CHECK bool warrenctl_link_ask(struct warrenctl_link *l, const char *method, const char *path,
                                   struct slice body, uint64_t timeout_ms,
                                   struct warrenctl_answer *out, struct err *err);

#endif
