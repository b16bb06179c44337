/*
 * loader: messages read back from the journal's segments and from large files.
 *
 * A load asks for messages of one queue: those of a run, which are found through the segment's
 * index file, or those at places. It is bounded (LOAD_COUNT_MAX, LOAD_BYTES_MAX, but at least one
 * message); what lies close together is read in one go. Segments and their indexes stay open for a
 * while, at most LOADER_OPEN_MAX that nobody reads from at the moment. Every record is verified;
 * what cannot be read is told as lost, and the rest goes on. A file that cannot be opened now
 * (too many are open) is tried again until it can: that is no loss.
 */
#ifndef WARREN_LOADER_H
#define WARREN_LOADER_H

#include "io/disk.h"
#include "io/mailbox.h"
#include "store/place.h"
#include "store/record.h"
#include "store/segs.h"

#define LOAD_COUNT_MAX  ((size_t)256)
#define LOAD_BYTES_MAX  ((uint64_t)1 << 20)
#define LOAD_INDEX_MAX  ((size_t)8192)
#define LOAD_WHY_MAX    160u
#define LOADER_OPEN_MAX 64u

struct message;
struct store;

/* One message that was asked for, and what was found. */
struct load_item {
    uint64_t qseq;
    uint64_t body_bytes; /* as the queue knows it: how much to read */
    struct place place;
    uint64_t expires_ms; /* found: wall clock; 0: never */
    uint32_t returns;
    struct msg_producer producer; /* found; a pid of 0: none is known */
    bool is_persistent;           /* found by index */
    struct message *message;      /* a reference; NULL: it is lost */
};

struct load {
    struct mail mail; /* mail.fn is the asker's: comes with this to `reply_to` when it is done */
    struct loop *reply_to;
    uint64_t qid;
    /* With items: those (count of them; qseq, body_bytes and place are set). Without (NULL, 0): of
     * segment `seg` those with first <= qseq <= last, as many as a load may; then items are made,
     * in order of qseq, and `is_all` tells whether there are no more. load_fini frees them. */
    struct load_item *items;
    size_t count;
    bool only_index; /* without items: not the messages, only where they stand; then a load may be
                        LOAD_INDEX_MAX long */
    uint32_t seg;
    uint64_t first;
    uint64_t last;

    bool is_cancelled; /* the store stops: nothing is known */
    bool is_all;
    bool is_lost; /* without items: neither segment nor index can be read: all of it is lost */
    uint32_t lost_count;
    char why[LOAD_WHY_MAX]; /* of the first that was lost */

    /* The store's. */
    struct mail way;
    struct store *store;
    struct load *next;
    uint32_t *order; /* of items, by place */
    size_t at;       /* so many of them are done with */
    bool by_index;
    bool is_done;
    bool must_wait; /* a file cannot be opened now */
};

/* Any thread, before it is given to the loader's loop: from here on nothing that it needs is put to
 * other use. At least one entry that it asks for is alive there. */
void load_hold(const struct load *load, struct segs *segs);

/* Frees items, and the messages that are still in them. */
void load_fini(struct load *load);

struct journal;
struct loader;

struct loader_setup {
    struct disk *disk;
    struct segs *segs;
    struct journal *journal; /* what is not durable yet is waited for; NULL: all is */
    struct loop *loop;       /* all below is called there */
    unsigned threads;
    const char *node; /* for log lines; borrowed */
};

struct loader *loader_new(const struct loader_setup *setup);

/* Its threads end; loads that are not done come back cancelled, as mail (some through the loop). */
void loader_stop(struct loader *l);

/* After that, and when the loop's mail is delivered. */
void loader_free(struct loader **l);

void loader_take(struct loader *l, struct load *load);

/* Nobody reads from this segment any more, and it is about to go. */
void loader_forget(struct loader *l, uint32_t seg);

struct loader_stats {
    atomic_uint_fast64_t loads; /* any thread */
    atomic_uint_fast64_t messages;
    atomic_uint_fast64_t bytes; /* of bodies */
    atomic_uint_fast64_t reads;
    atomic_uint_fast64_t lost;
};
const struct loader_stats *loader_stats(const struct loader *l);

#endif
