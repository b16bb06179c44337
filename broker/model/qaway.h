/*
 * qaway: how ready messages of an index leave memory, and how they come back.
 *
 *                page out                    page out
 *   in memory ---------------> absent ---------------------> in a run
 *      ^                      (16 octets)   (whole chunks)  (next to nothing)
 *      +------- loaded ----------+-------- loaded --------------+
 *
 * Only what has a durable place in the journal leaves. The next ones to be handed out stay (the
 * head window). What comes back may be late: it is taken only if the message is still away and its
 * place the same.
 *
 * Positions are those of the index; with base added where others are told of them. Each step does
 * bounded work. One thread.
 */
#ifndef WARREN_QAWAY_H
#define WARREN_QAWAY_H

#include "model/qindex.h"

/* A message with its position. */
struct queue_item {
    uint64_t qseq;
    struct message *message;
    uint64_t body_bytes; /* where message is NULL */
    uint64_t expires_ms; /* 0: never */
    struct place place;
    uint32_t returns;
    bool persistent;
    bool redelivered;
    bool is_lost; /* it should have been read and cannot be */
};

/* ---- leaving ------------------------------------------------------------------------------------
 */

struct qpaging {
    uint64_t keep_count;  /* the head window: so many stay, */
    uint64_t keep_bytes;  /* or as many as have so many octets of bodies; one at least */
    uint64_t durable_lsn; /* records that begin below it can be read back */
    /* The segment has an index file: whole chunks may become runs. NULL: none may. */
    bool (*is_indexed)(uint32_t seg, void *arg);
    /* A large message's record says where it is, not what it is: is the file there, too? NULL: it
     * is. */
    bool (*has_file)(struct place place, void *arg);
    void *arg;
    size_t budget; /* entries to look at; what is left of it */

    uint64_t count;       /* added to: messages that left memory */
    uint64_t freed_bytes; /* added to: about what memory got back */
    bool is_done;         /* the end was reached; the next call begins anew */
};

/* `release` is given references. */
void qindex_page_out(struct qindex *ix, struct qpaging *p,
                     void (*release)(struct message *m, void *arg), void *arg);

/* Ready ones behind the head window of keep_count that are in memory and have no place: to be given
 * one. Their messages are borrowed. Goes on where it ended; *is_done as above. */
size_t qindex_unplaced(struct qindex *ix, uint64_t keep_count, struct queue_item *out, size_t max,
                       bool *is_done);

/* ---- coming back --------------------------------------------------------------------------------
 */

#define QWANT_MAX 256u

struct qwant {
    uint32_t run_seg; /* not 0: what its index file lists of the queue from first to last */
    uint64_t first;
    uint64_t last;
    size_t count; /* else these, in order */
    struct qwant_item {
        uint64_t qseq;
        struct place place;
        uint64_t body_bytes;
    } items[QWANT_MAX];
};

struct qwindow {
    uint64_t count; /* positions from the head on that should be in memory */
    size_t max_count;
    uint64_t max_bytes; /* of bodies in one want, about; one message at least */
};

/* The next ones behind `after` (0: from the head on) that are away and in the window. */
bool qindex_wants(struct qindex *ix, const struct qwindow *w, uint64_t after, struct qwant *out);

/* It was read. Takes the reference in it->message if true is returned. A lost one leaves. */
bool qindex_loaded(struct qindex *ix, struct queue_item *it, const struct qsink *to);

/* What is in runs of this segment from first to last is replaced by these, which are all that the
 * segment has of the queue there, in order: in memory, absent where there is no message. Takes the
 * references that it uses; those left are the caller's. A run that is not dense is cut only
 * from its beginning: it stays when it begins before `first`. */
void qindex_loaded_run(struct qindex *ix, uint32_t seg, uint64_t first, uint64_t last,
                       struct queue_item *items, size_t count, const struct qsink *to);

/* What is away from first to last cannot be read: it leaves. */
void qindex_lost(struct qindex *ix, uint64_t first, uint64_t last, const struct qsink *to);

#endif
