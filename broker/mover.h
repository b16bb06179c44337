/*
 * mover: a shard's part in giving up segments of the journal.
 *
 * Asked by the store (struct store_ask) it appends what is alive in a segment anew, and carries
 * what a segment says of queues (what is settled, how far was handed out, how often returned,
 * epochs and numbers of producers) to the journal's end: one statement of each queue's state that
 * makes all older ones superfluous. Of a queue that has gone from here, and is elsewhere, that is
 * that nothing of it is here. For that it knows which segments have such statements of which queue.
 * Bounded work a turn. On the shard's thread.
 */
#ifndef WARREN_MOVER_H
#define WARREN_MOVER_H

#include "store/recover.h"
#include "store/store.h"

struct hosted;
struct mover;
struct shard;

/* In each queue; zero at first. */
struct mover_queue {
    uint32_t first_seg; /* segments between these may hold messages of it; 0: none does */
    uint32_t last_seg;
    uint32_t state_seg; /* the last that has a state of it, see recover.h */
    uint32_t
        carried_seg; /* everything said in segments before this is said again there, or later */
};

struct mover *mover_new(struct shard *s);

/* Its loop has ended, and so has the store: nobody waits for answers. */
void mover_free(struct mover **m);

void mover_on_ask(struct mover *m, struct store_ask *ask);

/* SETTLE, RETURNS, EPOCH or MSG_PRODUCER of the queue were appended there; a message of it was. */
void mover_note_state(struct hosted *h, uint32_t seg);
static inline void mover_note_message(struct mover_queue *q, uint32_t seg)
{
    q->last_seg = seg > q->last_seg ? seg : q->last_seg;
    q->first_seg = q->first_seg == 0 || seg < q->first_seg ? seg : q->first_seg;
}

/* It was said just now that nothing of the queue is here: any segment may have messages of it. */
void mover_note_void(struct hosted *h);

/* At start: before its loop runs. */
void mover_restore(struct hosted *h, const struct recovered_queue *found);
void mover_restore_refs(struct mover *m, const struct recovered_state_ref *refs, size_t count);

#endif
