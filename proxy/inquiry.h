/*
 * inquiry: one question to the management of a broker, over its cluster port, where the cookie has
 * been proven as warrenctl does it: what somebody looks at once, and no table is kept of.
 *
 * Brokers are tried in turn until one can be reached. Control loop; `fn` is called once, from the
 * loop, or by inquiry_free.
 */
#ifndef WARREN_INQUIRY_H
#define WARREN_INQUIRY_H

#include "base/text.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "link/link_node.h"

#define INQUIRY_PLACES_MAX 3u
#define INQUIRY_ANSWER_MAX ((size_t)4 * 1024 * 1024)

struct inquiry;

struct inquiry_place {
    char host[256];
    uint16_t port;
};

/* `answer` is lent, NULL when there is none: *why says what happened. */
typedef void (*inquiry_fn)(const struct http_answer *answer, const struct err *why, void *arg);

/* At least one place; all is copied. *self, where it is kept, becomes NULL before `fn` is called.
 */
void inquiry_start(struct loop *loop, struct link_node *node, const struct inquiry_place *places,
                   size_t count, struct slice path, inquiry_fn fn, void *arg,
                   struct inquiry **self);

/* It is told that it is over (ERR_IO). NULL is allowed. */
void inquiry_free(struct inquiry **q);

#endif
