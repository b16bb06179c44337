/*
 * loader: messages read back from the journal's segments and from large files.
 *
 * A load asks for messages of one queue: those of a run, which are found through the segment's
 * index file, or those at places. It is bounded (LOAD_COUNT_MAX, LOAD_BYTES_MAX, but at least one
 * message); what lies close together is read in one go. Segments and index files stay open for a
 * while, so many at a time as LOADER_OPEN_MAX. Every record is verified; what cannot be read is
 * told as lost, and the rest goes on.
 */
#ifndef WARREN_LOADER_H
#define WARREN_LOADER_H

#include "io/disk.h"
#include "io/mailbox.h"
#include "store/place.h"
#include "store/segs.h"

#define LOAD_COUNT_MAX ((size_t)256)
#define LOAD_BYTES_MAX ((uint64_t)1 << 20)

struct message;

/* One message that was asked for, and what was found. */
struct load_item {
    uint64_t qseq;
    uint64_t body_bytes; /* as the queue knows it; a guess of how much to read */
    struct place place;
    uint64_t expires_ms; /* found: wall clock; 0: never */
    uint32_t returns;
    struct message *message; /* a reference; NULL: it is lost */
};

struct load {
    struct mail mail; /* mail.fn is the asker's: comes with this on `reply_to` when it is done */
    struct loop *reply_to;
    uint64_t qid;
    /* With items: those (count of them; qseq, body_bytes and place are set). Without (count is 0):
     * of segment `seg` those with first <= qseq <= last, as many as a load may; then `items` is
     * made, and `is_all` tells whether there are no more. */
    struct load_item *items; /* from mem; the asker frees it, and what is in it */
    size_t count;
    uint32_t seg;
    uint64_t first;
    uint64_t last;

    bool is_all;
    /* With seg: its index file cannot be read, and neither can it be made again. Everything in the
     * run is lost. */
    bool is_lost;
    uint32_t lost_count;
    char why[160]; /* of the first that was lost */

    /* The loader's. */
    struct load *next;
    uint32_t held_seg;
};

struct loader;

#endif
