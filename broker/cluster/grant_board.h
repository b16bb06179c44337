/*
 * grant_board: the grants that this node holds, for any thread to look at without locks.
 *
 * The control thread writes what the core of grants says (grant.h); whoever hands messages out
 * looks at it at that very moment. What is needed is noted there too, so that it is asked for:
 * nobody has to be told which queues there are. Node numbers are never given again, so each has a
 * place of its own for as long as the board exists.
 */
#ifndef WARREN_GRANT_BOARD_H
#define WARREN_GRANT_BOARD_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grant_board;

struct grant_board *grant_board_new(void);
void grant_board_free(struct grant_board **b);

/* Any thread. May a queue of this epoch be served at `now_us` (CLOCK_BOOTTIME, read for this call),
 * when these are the members of its in-sync set, as agreed upon or as proposed? `self` among them
 * does not count. What is missing is asked for. */
MUST_CHECK bool grant_board_may_serve(struct grant_board *b, uint16_t self, uint64_t epoch,
                                      const uint16_t *members, size_t count, int64_t now_us);

/* ---- the control thread ---- */

/* There is such a node: before that, nothing can be held of it. */
void grant_board_know(struct grant_board *b, uint16_t node);

/* A grant of that node, for queues of epochs up to `index`: both only ever rise. */
void grant_board_hold(struct grant_board *b, uint16_t node, uint64_t index, int64_t until_us);

/* None is held any more: this is another incarnation, or another node. Nobody is being served. */
void grant_board_clear(struct grant_board *b);

/* For each node that was needed since the last call, with the highest epoch. */
typedef void (*grant_needed_fn)(void *arg, uint16_t node, uint64_t epoch);
void grant_board_each_needed(struct grant_board *b, grant_needed_fn each, void *arg);

/* Since the last call somebody was told that a queue may not be served. */
MUST_CHECK bool grant_board_was_missed(struct grant_board *b);

#endif
