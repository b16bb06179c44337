/*
 * recover: channels that outlive their brokers, in backends that route by master.
 *
 * When a broker is gone, a channel that had nothing in flight there goes on: no delivery is
 * outstanding, all that it published is settled, and it awaits no answer. Its consumers are
 * subscribed again where their queues are mastered then; until that is known they are astray, up to
 * timeout-failover, and the channel is used meanwhile. When its first leg is lost another takes the
 * place, or one is looked for with the client's next method. The client sees a pause and no more.
 * What had something in flight is told so (splice_loss): nobody knows what became of that.
 *
 * After timeout-failover a consumer is subscribed at any broker, which forwards it, or says why
 * that cannot be.
 *
 * What a consumer that was taken off its leg (shift.h) has outstanding there still counts: it is
 * subscribed again when all that is settled, or, when its client settles no more for a while, with
 * a limit that is lower by so much.
 */
#ifndef WARREN_RECOVER_H
#define WARREN_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

/* How long the last word of where a queue is holds, when it is where a broker was lost, and how
 * often it is looked up when nobody tells us of a change. */
#define RECOVER_RETRY_MS 500u

/* A client that has settled nothing for so long is taken to keep what it has. */
#define RECOVER_KEPT_MS 1000u

struct session;
struct channel;
struct leg;
struct upstream;

/* Can the channel go on without the leg? It is living. */
bool recover_can(const struct channel *c, const struct leg *leg);

/* It does: the leg goes. recover_tend follows, when its upstream is freed. */
void recover_leave(struct session *s, struct channel *c, struct leg *leg);

/* Tell the client of consumers that wished to hear of a failover; later, when it is in the middle
 * of a message (split_say_owed). The channel has a split. */
void recover_cancel(struct session *s, struct channel *c);

/* A channel has its first leg, maybe once more; and what was hunted for, or what there is instead.
 */
void recover_restore(struct channel *c);
void recover_attached(struct session *s, struct channel *c, struct leg *leg);

/* There are consumers astray, from now on. */
void recover_begin(struct session *s);

/* Subscribe what is astray and can be subscribed now. It may hunt, or end the session. */
void recover_tend(struct session *s);

/* After how many ms to call again; UINT64_MAX: never. */
uint64_t recover_tick(struct session *s);

#endif
