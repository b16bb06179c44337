/*
 * mirrored_lead: the queues of a shard that this node masters and others hold, too: their mirrors
 * are told what comes and goes, publishers what all of them have, and nothing is served before it
 * may be.
 *
 *   mirrored_lead.c      when a queue begins to be served, pauses, and ends
 *   mirrored_publish.c   what is published to it, and the answers
 *   mirrored_say.c       what its mirrors are told
 *   mirrored_fence.c     who waits for what was settled, or for what is to be shown
 *
 * The ledger says what is to be told, since that is what it writes down; the port asks before it
 * takes something in. See mirrored.h for how a queue comes to be mastered here. All on the shard's
 * thread but what says otherwise.
 */
#ifndef WARREN_MIRRORED_LEAD_H
#define WARREN_MIRRORED_LEAD_H

#include "mirrored.h"
#include "port.h"

struct mirrored_leads;
struct message;
struct queue_item;
struct queue_put;
struct slice;

/* Of a shard: mirrored.leads. */
struct mirrored_leads *mirrored_leads_new(struct shard *s);
/* The queues are gone. NULL is allowed. */
void mirrored_leads_free(struct mirrored_leads **l);

/* ---- serving ------------------------------------------------------------------------------------
 */

/* May it be handed out from, got from and published to, now? If not it is told when it may:
 * queue_run, and hosted_loaded for requests that wait. */
MUST_CHECK bool mirrored_lead_may_serve(struct hosted *h);

/* A request is to wait for hosted_loaded: it is not known yet whether it is for this node to
 * answer, or it may not be at the moment. */
MUST_CHECK bool mirrored_must_wait(struct hosted *h, enum port_op op);

/* It leads, and is to serve before others. */
void mirrored_lead_hurry(struct hosted *h);

/* It is known by now who masters the queue, for those who wait for that. */
void mirrored_is_settled(struct hosted *h);

/* Grants may have come: any thread, see cluster_setup.on_grants. */
void mirrored_lead_granted(struct shard *s);

/* Policies may say something else of it. */
void mirrored_lead_judge(struct hosted *h);

/* ---- publishing ---------------------------------------------------------------------------------
 */

/* Whose publish it is: published on this shard. */
struct lead_publish {
    struct shard *asker;
    const struct port_channel_ref *from;
    const struct port_origin *origin;
    uint64_t number;
};

/* As port_publish, for a queue with a mirrored_queue; PORT_LATER: it is to be parked, and the
 * reference is still the caller's. Of one message's queues mirrored_lead_write follows. */
enum port_published mirrored_publish(struct shard *s, struct hosted *h, struct message **m,
                                     const struct lead_publish *p);

/* shard.is_led: some were kept. The message is with all its queues: mirrors are told, and what is
 * awaited is. `lsn`: of its record; 0: it has none. */
void mirrored_lead_write(struct shard *s, uint64_t lsn);

/* The same for a large one, of which is known later what is to be waited for: then _large_written,
 * with that, or UINT64_MAX if it can never be safe. */
struct lead_large;
struct lead_large *mirrored_lead_write_large(struct shard *s);
void mirrored_lead_large_written(struct shard *s, struct lead_large **l, uint64_t lsn);

/* ---- what the ledger does -----------------------------------------------------------------------
 */

/* Is it to be told of this queue? */
static inline bool mirrored_is_lead(const struct mirrored_queue *mq)
{
    return UNLIKELY(mq != NULL) && mq->lead != NULL;
}

/* Settlements are about to be written, perhaps while a message is being given to queues: mirrors
 * hear of that first. */
void mirrored_lead_say_first(struct shard *s);

/* This record, SETTLE or RETURNS, was written, or would be if the queue outlived the node (lsn 0).
 */
void mirrored_lead_note(struct shard *s, struct hosted *h, struct slice record, uint64_t lsn);

/* A message has another position; its record has this LSN, or it has none (0). Of a large one
 * MIRROR_LSN_LATER: then _again_written tells at what is returned; UINT64_MAX: it never will be. */
uint64_t mirrored_lead_again(struct shard *s, struct hosted *h, const struct queue_item *item,
                             uint64_t lsn);
void mirrored_lead_again_written(struct shard *s, uint64_t pos, uint64_t lsn);

/* All marks are to be written anew, for a mirror that has not heard of them. */
MUST_CHECK bool mirrored_lead_takes_marks(struct hosted *h);

/* ---- who waits ----------------------------------------------------------------------------------
 */

/* Post the mail when all that was settled here so far is as safe as what is confirmed, with the
 * journal up to `lsn` (0: it need not be asked). False: it is. *is_lost is made true before if a
 * queue is not mastered here any more, and its next master may not know. */
MUST_CHECK bool mirrored_lead_fence(struct shard *s, uint64_t lsn, struct mail *mail,
                                    bool *is_lost);

/* Marks were written, and said to mirrors: what they cover may be shown when all have them that are
 * waited for. */
void mirrored_lead_marks_said(struct hosted *h);

/* May the message at this position, which waits, be shown: is it known to all who may master the
 * queue next that it may have been and, with deliver-after-replication, do they have it? If not
 * queue_run and hosted_loaded are called when it may. */
MUST_CHECK bool mirrored_lead_may_show(struct hosted *h, uint64_t qseq);

/* Is that so, by deliver-after-replication? */
MUST_CHECK bool mirrored_lead_shows_late(const struct hosted *h);

/* May one that comes be handed out at once, or is it to wait for that, too? */
MUST_CHECK bool mirrored_lead_may_pass(const struct hosted *h);

/* ---- an operator's word -------------------------------------------------------------------------
 */

/* All mirrors that lack something are to get it, whatever the policy says; or no more of it. False:
 * the queue has no mirrors here, or nothing is being sent to any. */
bool mirrored_sync(struct hosted *h);
/* Is a mirror being sent what it lacks, and how many messages have mirrors been sent? */
bool mirrored_is_syncing(const struct hosted *h, uint64_t *sent);
bool mirrored_cancel_sync(struct hosted *h);

/* Mirrors that do not have all of the queue yet, and how many messages they may lack at most: with
 * those that were not compared with what is there. What is merely under way to one that is whole
 * does not count. Returns how many; of more than MIRRORED_LAGS_MAX the first. */
#define MIRRORED_LAGS_MAX 8u
struct mirrored_lag {
    uint64_t messages;
    uint16_t node;
};
unsigned mirrored_lags(const struct hosted *h, struct mirrored_lag *out);

/* ---- the end ------------------------------------------------------------------------------------
 */

/* The journal is closed: nobody is told anything any more, but who waits goes on. */
void mirrored_leads_stop(struct shard *s);

#endif
