/*
 * mirrored_handed: what is out with consumers when a queue gets another master by a planned move.
 *
 * The node that was the master says at the end of its stream, behind all that it has said of the
 * queue, which messages are out (mirror_master_hand_over). The next one waits for that, for a
 * while, before it leaves its copy's place: so it has all settlements, too. Then those messages are
 * out there, with nobody yet (*held*). Whoever holds them, a channel anywhere, claims them with the
 * request by which its consumer is carried over (port_request.claims), and from then on they are
 * out with that consumer as if it had been handed them here. What reaches the former master in
 * between is settled here by position (port_settle_moved). What nobody claims in HANDED_GRACE_MS
 * goes back to its place, redelivered.
 *
 *   former master       next master (COPY)                          (MASTER)
 *     moved away  --->  awaits HANDED  --->  held, with nobody  --->  claimed | settled | back
 *
 * If nothing is said in HANDED_WAIT_MS, or not all, it is as after a failover: all that may have
 * been handed out is ready, and redelivered. What was said, and who has taken which of it, is kept
 * by a core (mirror/mirror_handed.h); here are its clock and its queue. On the shard's thread.
 */
#ifndef WARREN_MIRRORED_HANDED_H
#define WARREN_MIRRORED_HANDED_H

#include "mirrored.h"
#include "port.h"

/* ---- the master that was ---- */

/* The queue is mastered by that node from now on. Before mirror_master_end. */
void mirrored_hand_over(struct hosted *h, uint16_t to);

/* ---- the next one ---- */

/* mirror_replica_ops.handed */
void mirrored_handed_take(struct hosted *h, const struct mirror_record *r);

/* COPY, and to lead: is the former master's word to be waited for? If so mirrored_is_due is called
 * when it has come, or will not. */
MUST_CHECK bool mirrored_handed_awaits(struct hosted *h);

/* It was waited for, and is not any more. */
MUST_CHECK bool mirrored_handed_is_decided(const struct hosted *h);

/* Another one is to lead by now: what was awaited means nothing. What comes before this node knows
 * that it is to lead stays. */
void mirrored_handed_leads_not(struct hosted *h);

/* It leads, and has handed out nothing. */
void mirrored_handed_hold(struct hosted *h);

/* The epoch has begun: what was settled before is, and the rest is waited for so long. */
void mirrored_handed_began(struct hosted *h);

/* These are this consumer's: those that are not held become PORT_NO_POSITION. */
void mirrored_handed_claim(struct hosted *h, struct consumer *c, uint64_t *positions,
                           uint32_t count);

/* One that was handed out by the former master is settled; what is not held is passed over. */
void mirrored_handed_settle(struct hosted *h, uint64_t qseq, enum port_settle how);

/* Nothing is held or awaited any more: what is out stays out. */
void mirrored_handed_forget(struct hosted *h);

#endif
