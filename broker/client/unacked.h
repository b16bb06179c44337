/*
 * unacked: what a channel has handed to its client and not heard of again, by delivery tag.
 *
 * Tags rise by one for each delivery, from 1; those that want an acknowledgement are kept, in
 * order, in a ring. One that is settled leaves a hole, which goes when it is the oldest or when the
 * ring is full, so the memory follows the number of open tags and not the distance between them: a
 * task may take days while others come and go. A tag is found at once when nothing older has left a
 * gap, else by bisection. Pure; one thread.
 */
#ifndef WARREN_UNACKED_H
#define WARREN_UNACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A position that is not known, or means nothing any more. */
#define UNACKED_NOWHERE UINT64_MAX

struct unacked_entry {
    uint64_t qid; /* 0: a hole */
    uint64_t qseq;
    uint64_t consumer; /* 0: from basic.get */
    uint32_t where;    /* the queue is, see port_where */
    uint32_t at_ds;    /* when it was handed out, in tenths of a second of monotonic time */
    uint64_t position; /* its queue's, whoever masters that; or UNACKED_NOWHERE */
    uint64_t known;    /* the metadata's index when it was handed out or, from another node, when
                        * that was asked or it came: masters of later ones do not know it */
};

/* A tag and what it stands for. */
struct unacked_slot {
    uint64_t tag;
    struct unacked_entry entry;
};

struct unacked {
    struct unacked_slot *slots; /* a ring of `count`, by rising tags; the first is no hole */
    size_t cap;                 /* a power of two, or 0 */
    size_t head;
    size_t count;
    uint64_t next; /* the tag of the next delivery */
    uint64_t open; /* slots that are no holes */
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

/* The oldest open tag that is <= `upto`, or 0. */
uint64_t unacked_oldest(const struct unacked *u, uint64_t upto);

/* Tags that were closed are open again, in their old places; they come in rising order. */
void unacked_reopen(struct unacked *u, const struct unacked_slot *slots, size_t count);

/* The oldest open one, borrowed until the next change; NULL when there is none. */
const struct unacked_entry *unacked_first(const struct unacked *u);

/* The entry of a tag, lent until the next change; NULL when it is not open. */
struct unacked_entry *unacked_at(struct unacked *u, uint64_t tag);

/* All that are open, in order; the entries may be changed, but for their queue. */
typedef void (*unacked_each_fn)(uint64_t tag, struct unacked_entry *e, void *arg);
void unacked_each(struct unacked *u, unacked_each_fn fn, void *arg);

/* Waits this tag for its acknowledgement? */
bool unacked_is_open(const struct unacked *u, uint64_t tag);

#endif
