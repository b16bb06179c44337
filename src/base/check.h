/*
 * check: what must hold if we made no mistake. Never compiled out.
 *
 * A CHECK that fails prints the place and the condition and aborts. Nothing that a peer, a disk
 * or a config file does may trip one: those are errors (see err.h), not mistakes.
 */
#ifndef WARREN_CHECK_H
#define WARREN_CHECK_H

#include "base/attr.h"

NORETURN COLD void check_failed(const char *file, int line, const char *what);

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (UNLIKELY(!(cond)))                                                                     \
            check_failed(__FILE__, __LINE__, #cond);                                               \
    } while (0)

/* The end of a switch over one of our own enums. */
#define UNREACHABLE(what) check_failed(__FILE__, __LINE__, "unreachable: " what)

#endif
