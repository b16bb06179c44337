/*
 * remote: a shard's dealings with other nodes: its channels with queues that live there, and its
 * node's queues with channels from there.
 *
 * For each node that has a queue somebody here uses there is one link, dialled when it is first
 * needed (remote_client.h is behind it); for each shard of another node that uses queues here there
 * is a session, on a link that it has dialled (remote_server.h). port.c is the only one to call for
 * a queue; what comes back goes to channels and queues as if it came from another shard.
 *
 * A session looks to queues like a channel of this shard whose number is 0, which no client's has.
 * All on the shard's thread but what says otherwise.
 */
#ifndef WARREN_REMOTE_H
#define WARREN_REMOTE_H

#include "client/reply_to.h"
#include "link/link_figures.h"
#include "model/message.h"
#include "port.h"

struct broker;
struct remotes;
struct remote_delivery;

struct remotes *remotes_new(struct shard *s);

/* All shards of a broker: others may come from now on. Before their loops run. */
void remotes_open(struct broker *b);

/* Their loops run no more: all links and sessions go, without a word to anybody here. */
void remotes_close(struct broker *b);

/* Of one shard, the same before. */
void remotes_free(struct remotes **r);

/* Another node is down, or was started anew: what was under way to it is given up, what it held
 * comes back. */
void remote_node_lost(struct shard *s, uint16_t node);

/* Another node stops in an order: it ends its links when it has said all. One that is broken by now
 * is tried once more. */
void remote_node_stops(struct shard *s, uint16_t node);

/* The others took this node for down: sessions whose connection is broken will not be resumed by
 * them, and what was out with those comes back now. */
void remote_self_lost(struct shard *s);

/* Placements of queues have changed: what waits for a master may have one. */
void remote_placed(struct shard *s);

/* This node is about to end, and has given its mirrored queues away. True: what other nodes'
 * channels have settled at it before they heard of that has been read, and passed on to where the
 * queues are now. Else that is under way, and the caller comes again. */
MUST_CHECK bool remote_leave(struct shard *s);

/* ---- queues of other nodes: what port.h says ---- */

/* As port_where: of a queue of this node. */
uint32_t remote_where(struct shard *s, uint16_t node);

/* `node` masters it, and nobody else has it. */
void remote_publish(struct shard *s, uint16_t node, uint64_t qid, struct message **m,
                    const struct port_channel_ref *from, uint64_t number);
void remote_published(struct shard *s);
void remote_ask(struct shard *s, struct port_request **r);
void remote_settle(struct shard *s, uint32_t where, uint64_t tag, enum port_settle how);
/* As port_settle_moved: that node masters the queue. */
void remote_settle_moved(struct shard *s, uint16_t node, uint64_t qid, uint64_t qseq,
                         enum port_settle how);
void remote_wake(struct shard *s, uint32_t where, uint64_t consumer, uint32_t credit);
void remote_abandon(struct shard *s, uint32_t where, uint64_t qid, uint64_t consumer);
void remote_fence_begin(struct shard *s);
uint32_t remote_fence(struct shard *s, const struct port_channel_ref *from, bool durable);
/* Of the nodes that this connection has dealt with, and where something may not be done yet. */
uint32_t remote_fence_undone(struct shard *s, const struct port_channel_ref *from);

/* As in port_reply.h, of a channel of that node, which is another one; false: it cannot be reached.
 */
MUST_CHECK bool remote_reply(struct shard *s, uint16_t node, const struct reply_address *to,
                             struct message *m, const struct port_channel_ref *from);
MUST_CHECK bool remote_reply_ask(struct shard *s, uint16_t node, const struct reply_address *to,
                                 const struct port_channel_ref *from);

/* Dead letters wait while a node takes so few that many are on their way;
 * dead_letters_go_on is called when they need no longer. */
bool remote_has_many_letters(const struct shard *s);

/* The links to other nodes that there are, and, for each node, those that have gone together. */
typedef void (*remote_each_link_fn)(void *arg, uint16_t node, const struct link_figure *f);
void remote_each_link(struct shard *s, remote_each_link_fn fn, void *arg);

/* Connections that wait for an answer of a node that is not reached now, each perhaps several
 * times. `fn` must not close any. */
typedef void (*remote_each_waiting_fn)(void *arg, uint64_t connection, uint16_t node);
void remote_each_waiting(struct shard *s, remote_each_waiting_fn fn, void *arg);

/* An alarm is over, or the disk keeps up again: publishers of other nodes may go on. */
void remote_go_on(struct shard *s);
/* Are there any? */
bool remote_is_used(const struct shard *s);

/* ---- sessions: what goes to a channel goes to them, if remote_is_session says so; and to the
 * shard's lane, see remote_carry.h ---- */

static inline bool remote_is_session(const struct port_channel_ref *ref)
{
    return UNLIKELY(ref->number == 0) && ref->connection != 0;
}

/* Is it still there? */
bool remote_session_lives(struct shard *s, const struct port_channel_ref *ref);

void remote_on_published(struct shard *s, const struct port_channel_ref *ref, uint64_t number,
                         bool ok);
/* It is not this node's to take, for that queue, or (0) for each that has not answered. */
void remote_on_publish_moved(struct shard *s, const struct port_channel_ref *ref, uint64_t number,
                             uint64_t qid);
void remote_on_durable(struct shard *s, const struct port_channel_ref *ref, uint64_t first,
                       uint32_t count);
void remote_on_taken(struct shard *s, const struct port_channel_ref *ref);
void remote_on_answer(struct shard *s, struct port_request *r);
void remote_on_fenced(struct shard *s, const struct port_channel_ref *ref, bool is_lost);
void remote_on_reply_known(struct shard *s, const struct port_channel_ref *ref, bool known);
/* False: it does not want it (any more). */
MUST_CHECK bool remote_on_delivery(struct shard *s, const struct port_channel_ref *ref,
                                   const struct remote_delivery *d, struct message *m);
void remote_on_resumed(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer);
void remote_on_served(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer);
void remote_on_cancelled(struct shard *s, const struct port_channel_ref *ref, uint64_t consumer);
void remote_on_consumer_moved(struct shard *s, const struct port_channel_ref *ref,
                              uint64_t consumer);

#endif
