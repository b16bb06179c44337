/*
 * mirror_past: how far what a node has of a queue is what its master has.
 *
 * A node that had a queue in an earlier epoch, as its master or as a mirror, and is to have it no
 * more, may have what nobody else has. Before it drops that it asks who masters the queue now, on a
 * stream to there as if it mirrored something (PAST), and gets what a mirror gets with a JOIN: the
 * history, and the last numbers of the producers. See design.md 2.10. Few are asked at a time; who
 * cannot answer yet is asked again with the next tick. Part of the core of mirror_master.h, and as
 * that: no I/O, one thread.
 */
#ifndef WARREN_MIRROR_PAST_H
#define WARREN_MIRROR_PAST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define MIRROR_PASTS_ASKED 64u /* of a stream, at a time */

struct mirror_master;
struct mirror_stream;

TAILQ_HEAD(mirror_pasts, mirror_past);

/* The caller's; what is private means nothing while nothing is asked. */
struct mirror_past {
    uint64_t qid;
    uint64_t epoch; /* of the master that is to answer */
    void *owner;
    struct mirror_stream *stream; /* private; NULL: nothing is asked */
    struct mirror_pasts *list;    /* private */
    TAILQ_ENTRY(mirror_past) entry;
};

/* Of that node; ops.past tells. `later`: not before the next tick. */
void mirror_past_ask(struct mirror_master *m, struct mirror_past *p, uint16_t node, bool later);
/* It does not matter any more. Nothing, where nothing is asked. */
void mirror_past_end(struct mirror_past *p);

#endif
