/*
 * late_answer: what a client is told once all that its connection had to say to other nodes is done
 * there.
 *
 * Whoever hears of the answer, and asks on another connection, then finds what it tells of. Queues
 * of this node need no waiting: mail between its threads keeps the order. While an answer waits,
 * its connection reads no further. One shard.
 */
#ifndef WARREN_LATE_ANSWER_H
#define WARREN_LATE_ANSWER_H

#include "client/connection.h"
#include "port.h"

/* As connection_send, at once if nothing is under way. */
void late_answer_send(struct connection *c, uint16_t channel, const struct amqp_method *m);

/* The same for what the connection does then (RELEASED of its handshake). False: nothing is under
 * way, and nothing will be called. */
MUST_CHECK bool late_answer_release(struct connection *c, void (*then)(struct connection *c));

/* One of those that were asked has done all. False: no answer here waits for this one. */
MUST_CHECK bool late_answer_on_fenced(struct shard *s, const struct port_channel_ref *ref);

/* A client of this channel has said something to another node, or asked it. What a connection may
 * wait for are those alone: a node that is silent holds up nobody else. (Two nodes whose numbers
 * are alike but for a multiple of 256 count as one.) */
void late_answer_note(struct shard *s, const struct port_channel_ref *from, uint16_t node);
MUST_CHECK bool late_answer_concerns(struct shard *s, const struct port_channel_ref *from,
                                     uint16_t node);

/* The connection ends. */
void late_answers_free(struct connection *c);

#endif
