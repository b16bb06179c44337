/*
 * err: a code and a message, for what the world can spoil.
 *
 * A function that can fail returns bool and takes a last `struct err *`, never NULL. Whoever
 * handles the error logs it, once; whoever passes it on may add context in front, silently.
 */
#ifndef WARREN_ERR_H
#define WARREN_ERR_H

#include "base/attr.h"

#include <stdarg.h>
#include <stdbool.h>

#define ERR_CODES(X)                                                                               \
    X(NONE, "no error")                                                                            \
    X(CONFIG, "bad configuration")                                                                 \
    X(USAGE, "bad usage")                                                                          \
    X(IO, "input or output failed")                                                                \
    X(RESOLVE, "name not found")                                                                   \
    X(TLS, "TLS failed")                                                                           \
    X(LIMIT, "a limit was reached")                                                                \
    X(PROTOCOL, "the peer broke the protocol")                                                     \
    X(REFUSED, "refused")                                                                          \
    X(NOT_FOUND, "not found")                                                                      \
    X(SYSTEM, "the operating system refused")

enum err_code {
#define X(name, text) ERR_##name,
    ERR_CODES(X)
#undef X
};

#define ERR_TEXT_MAX 512

struct err {
    enum err_code code;
    char text[ERR_TEXT_MAX]; /* names the thing and the cause; cut with "..." when too long */
};

/* Fill *err; always false, so that `return err_set(err, ...)` ends a failing function. */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "context: " before the message that is there; always false. */
bool err_context(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The code as words, for messages that have none of their own. */
const char *err_code_text(enum err_code code);

#endif
