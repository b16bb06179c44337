/*
 * mirror_waits: confirms, and the marks that they wait for.
 *
 * A *mark* is a position that rises: up to there the own journal is durable, up to there a mirror
 * has acknowledged. What is to be confirmed waits until each mark of its set has come to its
 * position. Queues with the same set share one line, so that an acknowledgement moves a mark and
 * looks at the first of a few lines, however many confirms wait.
 *
 * Confirms of one channel and one queue, published in one turn, are one. One thread.
 */
#ifndef WARREN_MIRROR_WAITS_H
#define WARREN_MIRROR_WAITS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIRROR_SET_MAX 64u /* marks of one set */

/* Who is to be told. */
struct mirror_token {
    uint64_t a;
    uint64_t b;
};

struct mirror_confirm {
    uint64_t pos;
    uint64_t qid;
    uint64_t role; /* in which this node mastered the queue then */
    struct mirror_token to;
    uint64_t first; /* number of a publish, or of something else that is the caller's */
    uint32_t count;
    uint32_t turn;
    bool is_urgent; /* the caller's, the same for all of one token */
};

struct mirror_mark {
    uint64_t value;
    void *owner;
    uint8_t kind; /* the caller's */
    bool is_used;
};

struct mirror_set;

struct mirror_waits {
    struct mirror_mark *marks;
    uint32_t mark_count;
    struct mirror_set **sets;
    size_t set_count;
    size_t set_cap;
    struct mirror_set *last; /* the one that was asked for last */
    uint64_t waiting;
    uint32_t turn; /* the caller raises it */
};

void mirror_waits_fini(struct mirror_waits *w);

/* A number; it begins at `value`. */
uint32_t mirror_mark_new(struct mirror_waits *w, void *owner, uint8_t kind, uint64_t value);
/* Nobody waits for it any more: see mirror_waits_refit. */
void mirror_mark_free(struct mirror_waits *w, uint32_t mark);

static inline void mirror_mark_raise(struct mirror_waits *w, uint32_t mark, uint64_t value)
{
    if (value > w->marks[mark].value)
        w->marks[mark].value = value;
}

/* `marks` in any order, each once. Positions rise from call to call; one that is lower than another
 * that waits for the same waits as long as that. c->turn is set. */
void mirror_waits_add(struct mirror_waits *w, const uint32_t *marks, unsigned count,
                      const struct mirror_confirm *c);

/* The next that waits for nothing any more. False: there is none. */
MUST_CHECK bool mirror_waits_due(struct mirror_waits *w, struct mirror_confirm *out);

/* What a confirm waits for may be different now: each is shown with its marks, which may be
 * replaced (`marks` has room for MIRROR_SET_MAX); with them its position may be raised. False: it
 * is dropped. */
typedef bool (*mirror_refit_fn)(void *arg, struct mirror_confirm *c, uint32_t *marks,
                                unsigned *count);
void mirror_waits_refit(struct mirror_waits *w, mirror_refit_fn fn, void *arg);

#endif
