/*
 * remote_lane: what this shard publishes to queues that are mirrored, until it is answered for
 * good.
 *
 * Such a queue outlives its node: another one becomes its master. What was published and not
 * answered by then is sent there again, in its order, with the numbers that it had: the pid of the
 * lane and a seq that rises with each message. The new master takes what it does not have and
 * answers for the rest. What is published while there is no master waits for one, for a while.
 *
 * Nothing may overtake: a master that took seq 6 would call 5 a duplicate. So each hop keeps the
 * order, and each copy says in which *epoch* of the queue it is meant to be taken: its master takes
 * nothing of another epoch. When the epoch changes, all that is not answered is sent anew, first
 * things first, before anything else of that queue.
 *
 *    publish ──► kept ──► sent, with (pid, seq, epoch, ticket) ──► answered: gone
 *                 ▲  not this master's, lost with its node  │
 *                 └──────────────────────────────────────────┘
 *
 * A *ticket* is one record on its way to one node: a message for one queue there or for several.
 * Its answers come by its number; each time something is sent again it has another one, so that
 * late answers of former masters mean nothing.
 *
 * Bounded: while more is kept than LANE_BYTES or LANE_COUNT for queues that have a master (or for
 * those that have none), whoever publishes to such is not relieved of what it was charged, and
 * stops. What nobody waits for holds up nobody: over the bound it is
 * forgotten once its master has read it. A core: it knows no link and no channel. One thread.
 */
#ifndef WARREN_REMOTE_LANE_H
#define WARREN_REMOTE_LANE_H

#include "base/idmap.h"
#include "model/message.h"
#include "port.h"
#include "remote/remote_ring.h"

#include <sys/queue.h>

#define LANE_BYTES   ((uint64_t)32 * 1024 * 1024)
#define LANE_COUNT   ((uint64_t)65536)
#define LANE_WAIT_MS ((uint64_t)30000) /* for a master */
#define LANE_TICK_MS 100u              /* call remote_lane_tick so often while remote_lane_waits */

struct lane_queue;

/* Where a queue is to be published to. */
struct lane_place {
    uint64_t epoch;
    uint16_t node; /* its master; 0: this node */
};

enum lane_found {
    LANE_HERE_IS, /* out is filled */
    LANE_NOWHERE, /* it has no master that is up */
    LANE_GONE,    /* it was deleted */
};

/* What a message is told from others by. */
struct lane_number {
    uint64_t pid;
    uint64_t seq;
};

struct lane_ops {
    enum lane_found (*find)(void *arg, uint64_t qid, struct lane_place *out);
    /* Hand one copy on, whose message is borrowed; calls for one ticket follow each other, and then
     * comes `sent`. PORT_LATER: remote_lane_on_published or _on_durable tells. `payer`: the
     * connection that is relieved when it is taken; 0: none. A pid of 0: the lane's own. */
    enum port_published (*send)(void *arg, const struct lane_place *to, uint64_t qid,
                                struct message *m, uint64_t payer, uint64_t ticket,
                                const struct lane_number *as);
    /* True: those that took it at once are to be waited for, together. */
    bool (*sent)(void *arg, uint16_t node, uint64_t ticket);
    /* How much has been said to that node, and: has it read what was said up to there? */
    uint64_t (*said)(void *arg, uint16_t node);
    bool (*is_read)(void *arg, uint16_t node, uint64_t said);
    /* A copy of this publish is answered for good. `lost`: nobody knows, or nobody was there. */
    void (*answer)(void *arg, const struct port_channel_ref *from, uint64_t number, bool ok,
                   bool lost);
    /* A connection need not be charged for this any more. */
    void (*relieve)(void *arg, uint64_t connection, uint64_t octets);
    void (*drop)(void *arg, struct message **m);
    /* remote_lane_flush is wanted at the turn's end. */
    void (*soon)(void *arg);
};

struct lane_item;
struct lane_copy;

/* Where a queue stands decides which bound its copies are under: those that wait for a master must
 * not hold up the others. */
enum lane_side { LANE_FLOWS, LANE_STANDS, LANE_SIDES };

struct lane_share {
    uint64_t octets, count;     /* kept */
    struct remote_ring charges; /* struct lane_charge: are given back when there is room */
};

struct remote_lane {
    const struct lane_ops *ops;
    void *arg;
    bool is_ending; /* nobody is told anything */
    uint64_t last_seq, last_ticket;
    uint64_t now_ms;
    struct lane_share shares[LANE_SIDES];
    struct idmap queues;  /* struct lane_queue by qid: those with copies */
    struct idmap tickets; /* struct lane_ticket by number */
    TAILQ_HEAD(lane_standing, lane_queue) standing; /* those that wait for a master */
    TAILQ_HEAD(, lane_item) loose;                  /* nobody waits for them; eldest first */
    struct lane_item *item; /* being published to one queue after the other */
    uint64_t expired;       /* copies for which no master came */
    uint64_t sent_again;
};

struct remote_lane *remote_lane_new(const struct lane_ops *ops, void *arg);

/* Nobody is told anything. */
void remote_lane_free(struct remote_lane **l);

/* As port_publish and port_published; what comes of it is always told later. Takes the reference.
 */
void remote_lane_publish(struct remote_lane *l, uint64_t qid, struct message **m,
                         const struct port_channel_ref *from, uint64_t number, uint64_t now_ms);
void remote_lane_published(struct remote_lane *l);

/* The same of one that another producer published before, under this number. */
void remote_lane_publish_as(struct remote_lane *l, uint64_t qid, struct message **m,
                            const struct port_channel_ref *from, uint64_t number,
                            const struct lane_number *as, uint64_t now_ms);

/* Is anything of this queue not answered yet? */
MUST_CHECK bool remote_lane_has(const struct remote_lane *l, uint64_t qid);

/* A message is being published, and remote_lane_published not called yet. */
static inline bool remote_lane_is_publishing(const struct remote_lane *l)
{
    return l->item != NULL;
}

/* ---- what becomes of it. Tickets that are not known (any more) are passed over. ---- */

/* `count` tickets from `first` on have each `answers` answers more, which are `ok` or not. */
void remote_lane_on_answers(struct remote_lane *l, uint64_t first, uint32_t count, uint32_t answers,
                            bool ok);

/* The queue (0: each of this ticket) is not to be had there in that epoch. The answer for the
 * ticket itself comes all the same. */
void remote_lane_on_moved(struct remote_lane *l, uint64_t ticket, uint64_t qid);

/* The payer of a copy, which has been taken. */
void remote_lane_on_taken(struct remote_lane *l, uint64_t connection, uint64_t octets);

/* What was said to that node and not answered never will be. */
void remote_lane_on_lost(struct remote_lane *l, uint16_t node);

/* ---- time ---- */

/* Placements may have changed. */
void remote_lane_look(struct remote_lane *l, uint64_t now_ms);
void remote_lane_tick(struct remote_lane *l, uint64_t now_ms);
void remote_lane_flush(struct remote_lane *l);

/* Is there a queue without a master? Then it is to be ticked. */
static inline bool remote_lane_waits(const struct remote_lane *l)
{
    return !TAILQ_EMPTY(&l->standing);
}

/* Is more kept for those than there should be? */
bool remote_lane_is_full(const struct remote_lane *l, enum lane_side side);

#endif
