/*
 * follow: a channel that publishes goes after the master of its queue, when that was moved.
 *
 * Its leg would take a hop for every message from then on. So at a publish that finds all confirms
 * there, the client is held for a moment and the broker's channel is closed: the answer says that
 * all that was published there has been dealt with. The next leg is found as the first one was, and
 * the client hears nothing of it. Channels with consumers, with several legs or in the midst of
 * anything keep what they have; and who never lets all confirms come keeps the hop. A broker that
 * does not answer within timeout-connect is taken for lost, but for one that is not listened to
 * meanwhile, or takes nothing (connection.blocked).
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

/* The broker has closed a channel that was left. */
void follow_closed(struct session *s, struct channel *c);

/* The channel is over in another way: its broker's answer is waited for no more. */
void follow_forget(const struct channel *c);

#endif
