/*
 * pages: the HTTP side of a frontend with mode = http: the page, its CSV, metrics, health.
 *
 * Who may look: the networks of stats-allow; without it, loopback alone, unless stats-auth asks for
 * a password, then all. Health needs no password: those who ask have none. Control loop.
 */
#ifndef WARREN_PAGES_H
#define WARREN_PAGES_H

#include "io/handover.h"
#include "view.h"

struct pages;

/* Opens what `snapshot` asks for and `before` (may be NULL) does not have yet, and takes over the
 * rest from it, which is left as it was. False: nothing has changed. */
MUST_CHECK struct pages *pages_open(const struct view *v, struct snapshot *snapshot,
                                    struct pages *before, struct err *err);

/* The new ones are in force: the old ones go, but for what the new ones took over. */
void pages_commit(struct pages *fresh, struct pages **before);

/* They are not: what was opened for them goes, and the old ones stay. */
void pages_cancel(struct pages **fresh);

/* Copies of what they listen at. */
void pages_hand_over(const struct pages *p, struct handover_out *out);

/* The paths of what was inherited are ours. */
void pages_own_paths(struct pages *p);

void pages_free(struct pages **p);

#endif
