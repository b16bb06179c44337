/*
 * qchunks: the entries of a queue's index, in chunks of consecutive positions.
 *
 * A row of chunks in order of their numbers. Numbers may be missing: where chunks went, and where a
 * queue that was read from disk has nothing. Finding one takes a look or two while the missing
 * ones lie together, else a binary search. Coming and going at the ends is cheap, in the middle it
 * moves the shorter side of the row. One thread. Empty, it holds next to no memory.
 */
#ifndef WARREN_QCHUNKS_H
#define WARREN_QCHUNKS_H

#include "model/message.h"
#include "store/place.h"

/* Small enough to be made anew whenever an empty queue gets a message: a million queues that were
 * used once must not hold a chunk each. */
#define QCHUNK_ENTRIES 64u

enum qentry_state {
    QENTRY_NONE,
    QENTRY_READY,
    QENTRY_OUT,
};

struct qentry {
    union {
        struct message *message; /* a reference of the index */
        uint64_t body_bytes;     /* absent */
    };
    uint32_t seg;             /* its place in the journal; 0: it has none */
    uint32_t offset8 : 27;    /* of its record, in units of PLACE_ALIGN */
    uint32_t state : 2;       /* enum qentry_state */
    uint32_t redelivered : 1; /* has been out before, or may have been */
    uint32_t absent : 1;      /* the message is not in memory, but at its place */
    uint32_t persistent : 1;
};
_Static_assert(sizeof(struct qentry) == 16, "there are millions");

static inline struct place qentry_place(const struct qentry *e)
{
    return (struct place){ e->seg, e->offset8 * PLACE_ALIGN };
}

static inline void qentry_set_place(struct qentry *e, struct place place)
{
    e->seg = place.seg;
    e->offset8 = place.offset / PLACE_ALIGN & (((uint32_t)1 << 27) - 1);
}

static inline uint64_t qentry_body_bytes(const struct qentry *e)
{
    return e->absent ? e->body_bytes : e->message->body_bytes;
}

struct qchunk {
    uint32_t live;        /* entries that are not QENTRY_NONE */
    uint32_t absent;      /* of these */
    uint64_t *expires_ms; /* of each entry; NULL: none expires */
    uint32_t *returns;    /* the same; NULL: none came back */
    struct qentry entries[QCHUNK_ENTRIES];
};

struct qslot {
    uint64_t number; /* of the chunk: its positions divided by QCHUNK_ENTRIES */
    struct qchunk *chunk;
};

struct qchunks {
    struct qslot *room;
    size_t first;
    size_t count;
    size_t cap;
};

static inline struct qslot *qchunks_at(const struct qchunks *r, size_t index)
{
    return &r->room[r->first + index];
}

/* The first one whose number is not below this; count when there is none. */
size_t qchunks_lower(const struct qchunks *r, uint64_t number);

struct qchunk *qchunks_search(const struct qchunks *r, uint64_t number);

/* The chunk of this number, or NULL. */
static inline struct qchunk *qchunks_find(const struct qchunks *r, uint64_t number)
{
    if (UNLIKELY(r->count == 0))
        return NULL;
    /* Nothing is missing before it, or nothing behind it. (Below the first it is far too much.) */
    const struct qslot *slots = r->room + r->first;
    uint64_t guess = number - slots[0].number;
    if (LIKELY(guess < r->count && slots[guess].number == number))
        return slots[guess].chunk;
    guess = r->count - 1 - (slots[r->count - 1].number - number);
    if (LIKELY(guess < r->count && slots[guess].number == number))
        return slots[guess].chunk;
    return qchunks_search(r, number);
}

/* Make the chunk of this number, which is not there. */
struct qchunk *qchunks_add(struct qchunks *r, uint64_t number);

/* Make room for so many at this index; the caller fills in what is there. */
void qchunks_open(struct qchunks *r, size_t index, size_t count);

/* They leave the row; the chunks are the caller's. */
void qchunks_close(struct qchunks *r, size_t index, size_t count);

/* The last one of this number leaves and is freed. */
void qchunks_drop(struct qchunks *r, uint64_t number);

struct qchunk *qchunk_new(void);
void qchunk_free(struct qchunk *c);

/* Arrays are made when first needed. */
void qchunk_set_expires(struct qchunk *c, size_t at, uint64_t expires_ms);
void qchunk_set_returns(struct qchunk *c, size_t at, uint32_t returns);

#endif
