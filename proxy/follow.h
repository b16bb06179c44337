/*
 * follow: a channel that publishes goes after the master of its queue, when that was moved.
 *
 * Its leg would take a hop for every message from then on. So at a publish that finds all confirms
 * there, the client is held for a moment and the broker's channel is closed: the answer says that
 * all that was published there has been dealt with. The next leg is found as the first one was, and
 * the client hears nothing of it. One with several legs publishes by another of them, if that is
 * where its queue is now (its consumers have moved there). Channels with consumers or in the midst
 * of anything keep what they have; and who never lets all confirms come keeps the hop. A broker
 * that does not answer within timeout-connect is taken for lost, but for one that is not listened
 * to meanwhile, or takes nothing (connection.blocked).
 */
#ifndef WARREN_FOLLOW_H
#define WARREN_FOLLOW_H

#include "run.h"

struct session;
struct channel;
struct leg;

/* The client publishes, and the channel's place wants another leg: PASS, as before; or LEAVE, and
 * follow_leave is next. The channel has a leg. */
enum run_pass follow_publish(const struct session *s, struct channel *c);

/* What the client said before that has gone on: no more is taken while the leg is being left. */
void follow_leave(struct session *s, struct channel *c);

/* With several legs, in confirm mode and with all confirms there: is one of the others where the
 * client's publishes are mastered? Then that becomes the main leg, at once and without a word to
 * the client; this leg keeps its consumers. Without confirms nobody would know whether what came
 * before has been taken. */
bool follow_may_turn(const struct session *s, const struct channel *c);
void follow_turn(struct session *s, struct channel *c);

/* The broker has closed a channel that was left. */
void follow_closed(struct session *s, struct channel *c);

/* The channel is over in another way: its broker's answer is waited for no more. */
void follow_forget(const struct channel *c);

#endif
