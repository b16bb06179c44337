/*
 * mirror_past: how far what a node has of a queue is what its master has.
 *
 * A node that had a queue in an earlier epoch, as its master or as a mirror, and is to have it no
 * more, may have what nobody else has. Before it drops that it asks who masters the queue now, on a
 * stream to there as if it mirrored something (PAST), and gets what a mirror gets with a JOIN: the
 * history, and the last numbers of the producers. See design.md 2.10. Few are asked, or told and
 * not at an end, at a time: answers are long, and so is what follows them. Who cannot answer yet is
 * asked again after a second. Part of the core of mirror_master.h, and as that: no I/O, one thread.
 */
#ifndef WARREN_MIRROR_PAST_H
#define WARREN_MIRROR_PAST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define MIRROR_PASTS_ASKED 16u   /* of a stream, at a time */
#define MIRROR_PAST_MS     1000u /* until it is asked again */

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
    uint64_t retry_ms;            /* private */
    TAILQ_ENTRY(mirror_past) entry;
};

/* Of that node; ops.past tells, and then it is the caller's to end it. `later`: it was asked just
 * now. */
void mirror_past_ask(struct mirror_master *m, struct mirror_past *p, uint16_t node, bool later);
/* It does not matter any more: another one has its turn. Nothing, where nothing is asked. */
void mirror_past_end(struct mirror_past *p);

#endif
