/*
 * pattern: a regular expression with a bound on what a match may cost.
 *
 * Over PCRE2, on octets, searching anywhere in the subject, as Erlang's `re` does: patterns that a
 * RabbitMQ user wrote mean the same here. Whoever writes a pattern chooses what it costs, so a
 * match that takes more than MATCH_STEPS_MAX steps or HEAP_KIB_MAX of memory is no match. Compiled
 * once, then immutable: any thread.
 */
#ifndef WARREN_PATTERN_H
#define WARREN_PATTERN_H

#include "base/attr.h"
#include "base/slice.h"

#include <stdbool.h>

#define PATTERN_BYTES_MAX 4096u
#define PATTERN_WHY_MAX   128u

struct pattern;

/* Why a pattern is none. */
struct pattern_error {
    char text[PATTERN_WHY_MAX]; /* in the words of PCRE 8 where they are known: users know them */
    size_t at;                  /* octets from the start */
};

/* NULL, and *err filled, when the text is no pattern. */
MUST_CHECK struct pattern *pattern_new(struct slice text, struct pattern_error *err);
void pattern_free(struct pattern **p);

/* Octets that the compiled pattern takes. */
size_t pattern_bytes(const struct pattern *p);

/* Does it match somewhere in the subject? False too when to find out takes too much. */
bool pattern_matches(const struct pattern *p, struct slice subject);

#endif
