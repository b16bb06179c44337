/*
 * unacked: what a channel has handed to its client and not heard of again, by delivery tag.
 *
 * Tags rise by one for each delivery that wants an acknowledgement, from 1 (deliveries without one
 * take a tag too, and leave no entry). Any tag is found in constant time; the memory follows the
 * distance from the oldest open tag to the newest. Pure; one thread.
 */
#ifndef WARREN_UNACKED_H
#define WARREN_UNACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unacked_entry {
    uint64_t qid; /* 0: a hole: settled, or never wanted an acknowledgement */
    uint64_t qseq;
    uint64_t consumer; /* 0: from basic.get */
    uint32_t shard;    /* where the queue lives */
};

struct unacked {
    struct unacked_entry *entries; /* a ring, for tags base .. next - 1 */
    size_t cap;
    size_t head;
    uint64_t base;
    uint64_t next; /* the tag of the next delivery */
    uint64_t open; /* entries that are not holes */
};

void unacked_init(struct unacked *u);
void unacked_fini(struct unacked *u);

/* A delivery that wants an acknowledgement; returns its tag. */
uint64_t unacked_add(struct unacked *u, const struct unacked_entry *e);

/* A delivery that does not. */
uint64_t unacked_skip(struct unacked *u);

/* Close a tag; false when it is not open. */
bool unacked_take(struct unacked *u, uint64_t tag, struct unacked_entry *out);

/* Close the oldest open tag that is <= `upto`; false when there is none. */
bool unacked_take_oldest(struct unacked *u, uint64_t upto, struct unacked_entry *out);

/* Waits this tag for its acknowledgement? */
bool unacked_is_open(const struct unacked *u, uint64_t tag);

#endif
