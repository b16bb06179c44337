/*
 * mirrored: the queues of a shard that other nodes hold, too: as what this node has them, and how
 * that changes.
 *
 * What a queue is here is said by the metadata (meta_placement.h): this compares the two whenever
 * they may differ, and brings the queue to what it is to be, in turns. It owns the cores of
 * replication (mirror/mirror_master.h, mirror_replica.h). What they ask of the queues is answered
 * in mirrored_lead.c for those that this node masters, in mirrored_copy.c for those that it
 * mirrors; what they say to other nodes goes by way of mirror_link/mirror_links.h, which also gives
 * them the ends of turns and a clock.
 *
 *              in turns              in turns: what goes is cut off
 *   FOLLOWING ----------> STILL -----------------------------------------> CUTTING
 *      ^                  ^   |                                               |
 *      |                  |   v                                               |
 *      |                  COPY  a source says what comes and goes             |
 *      |                                                                      |
 *     USED <------------------------------------------------------------------+
 *      ^  |    (of another node from now on: FOLLOWING)
 *      |  v
 *     MASTER   in one epoch
 *
 * A queue that was never mirrored nor moved has no mirrored_queue at all: it is mastered here, and
 * nobody else knows of it. All on the shard's thread but what says otherwise.
 */
#ifndef WARREN_MIRRORED_H
#define WARREN_MIRRORED_H

#include "base/attr.h"
#include "base/log.h"
#include "cluster/meta_placement.h"
#include "mirror/mirror_master.h"
#include "mirror/mirror_replica.h"

#include <sys/queue.h>

struct hosted;
struct meta_queue;
struct mirror_links;
struct mirrored_keep;
struct mirrored_leave;
struct mirrored_recent;
struct mirrored_handed;
struct shard;

#define MIRRORED_STATES(X)                                                                         \
    X(USED, TO(MASTER) | TO(FOLLOWING))                                                            \
    X(FOLLOWING, TO(STILL))                                                                        \
    X(STILL, TO(COPY) | TO(CUTTING))                                                               \
    X(COPY, TO(STILL))                                                                             \
    X(CUTTING, TO(STILL) | TO(USED))                                                               \
    X(MASTER, TO(USED))

enum mirrored_state {
#define X(name, moves) MIRRORED_##name,
    MIRRORED_STATES(X)
#undef X
};

/* Of a queue that other nodes hold, too, or once did: hosted.mirrored. */
struct mirrored_queue {
    enum mirrored_state state;
    bool is_due;               /* goes on in a later turn */
    bool is_wanted;            /* somebody waits until this node serves it: before others. Until it
                                  does, or another one masters it: who waits asks again and again */
    bool serves;               /* MASTER: mirrored_lead.c's: it hands out, gets and accepts */
    bool has_freed;            /* something that was written has left, since this was made false */
    bool was_cut;              /* CUTTING: what had to go is gone */
    bool wants;                /* something of it is being read: mirrored_want */
    uint16_t master;           /* of the placement that was seen last; 0: none was */
    uint16_t earlier;          /* the one before this epoch, this node among them; 0: nobody: the
                                  queue was made in it */
    uint64_t epoch;            /* of the placement that was seen last */
    uint64_t since;            /* USED, MASTER: no other node has led since this epoch began */
    struct mirror_queue *lead; /* MASTER */
    struct mirror_copy *copy;  /* COPY */
    struct mirror_history history; /* the others */
    struct mirror_starts tops;     /* of each priority, the position behind all that the journal may
                                      have a settlement or a cut of: a message that comes before is
                                      MSG_AGAIN */
    struct mirror_starts cut;      /* CUTTING */
    uint64_t before_cut;           /* CUTTING: messages */
    struct mirrored_keep *keep; /* COPY, or about to leave: mirrored_keep.c's: what is to be kept */
    struct mirrored_recent *recent; /* the same: what the journal does not have; may be NULL */
    struct mirrored_leave *leave;   /* STILL: mirrored_leave.c's: it is not to be here any more */
    struct mirrored_lead *own;      /* MASTER: mirrored_lead.c's */
    struct mirrored_handed *handed; /* what its former master says is out, or NULL */
    TAILQ_ENTRY(hosted) due_entry;
};

/* In each shard. */
struct mirrored {
    struct mirror_master *m;
    struct mirror_replica *r;
    struct mirrored_work *work;   /* private to mirrored.c */
    struct mirrored_leads *leads; /* private to mirrored_lead.c */
    struct log_rate handed_told;  /* mirrored_handed.c's */
    struct log_rate keep_told;    /* mirrored_keep.c's */
};

/* With s->mirror_links; neither says anything before a queue asks. */
struct mirrored *mirrored_new(struct shard *s);
/* Its loop has ended, its queues are gone. */
void mirrored_free(struct mirrored **m, struct mirror_links **links);

/* ---- roles --------------------------------------------------------------------------------------
 */

/* The placement of the queue may be another one than it was: make it so, at once as far as that
 * goes, the rest in turns. The queue may be here afterwards, or gone. Called after the publication
 * for each queue of META_QUEUE_CREATED (that is placed), META_QUEUE_PLACED, META_COHORT_PLACED
 * whose home on this node is this shard. */
void mirrored_reconcile(struct shard *s, const struct meta_queue *q);

/* A hosted queue that is placed was made, and is empty: nobody serves it until it is reconciled. */
void mirrored_arrives(struct hosted *h);
/* What recovery found of it was restored... */
struct recovered_queue;
void mirrored_restore(struct hosted *h, const struct recovered_queue *found);
/* ...or nothing was, and what an earlier life may have left in the journal is to be void. */
void mirrored_begins_anew(struct hosted *h);

/* What older segments say of it is said anew, for they go: its history. Returns the segment, *bytes
 * is what it takes; 0: there is none. */
uint32_t mirrored_carry(struct hosted *h, size_t *bytes);

/* It is about to be freed, without consumers. Nothing, if it was never placed. */
void mirrored_forget(struct hosted *h);

/* Something that has a place in the journal has left it. */
static inline void mirrored_note_freed(struct mirrored_queue *mq)
{
    if (UNLIKELY(mq != NULL))
        mq->has_freed = true;
}

/* Have *want read into memory, for a copy or for a mirror of a master; mirrored_loaded follows. */
struct qwant;
void mirrored_want(struct hosted *h, const struct qwant *want);
/* The pager has read something of the queue, or could not. */
void mirrored_loaded(struct hosted *h);

/* The journal is durable up to here: from promises_on_durable's mail. Tells both cores. */
void mirrored_durable(struct shard *s, uint64_t lsn);

/* ---- the two sides ------------------------------------------------------------------------------
 */

/* mirrored_lead.c: arg is the shard; a mirror_queue's owner is its hosted. */
extern const struct mirror_master_ops mirrored_lead_ops;
/* The queue is mastered here from now on (h->mirrored->lead), and hands out nothing until
 * mirrored_lead.c lets it: it asks when it may begin, and activates it. */
void mirrored_lead_began(struct shard *s, struct hosted *h);
/* Its placement is another one, in the same epoch. */
void mirrored_lead_placed(struct shard *s, struct hosted *h);
/* It is not any more: before mirror_master_end. Its consumers go, paths of publishers to it break.
 */
void mirrored_lead_ends(struct shard *s, struct hosted *h);

/* mirrored_copy.c: arg is the shard; a mirror_copy's owner is its hosted. */
extern const struct mirror_replica_ops mirrored_copy_ops;

/* Take out what is at or behind `cut`, and lower the next positions to that. It is written with the
 * history, see mirrored_journal.h. LATER: mirrored_goes_on follows. */
enum mirror_taken mirrored_cut(struct hosted *h, const struct mirror_starts *cut);

/* In a later turn, or when what it wanted is there, what could not go on for this queue goes on. */
void mirrored_is_due(struct hosted *h);

/* Somebody waits for the queue, which this node is the master of by now: what is to be done for
 * that is done soon, and before the rest of those that came to it with this one. */
void mirrored_is_wanted(struct hosted *h);

/* So many entries may be changed or dropped in this turn, for all queues. */
size_t *mirrored_budget(struct shard *s);

/* Something was appended to the journal that one of the cores waits for: the journal is woken at
 * the turn's end, and mirrored_durable told. */
void mirrored_appended(struct shard *s, uint64_t lsn);

/* Somebody waits for what was appended so far. */
void mirrored_hurry(struct shard *s);

void mirrored_starts(const struct hosted *h, struct mirror_starts *out);
void mirrored_raise(struct hosted *h, const struct mirror_starts *least);

#endif
