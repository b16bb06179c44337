/*
 * remote_held: what a consumer's channel holds of a queue that was moved, in a request for the next
 * master and in its answer. See mirrored_handed.h.
 *
 * A core, of both sides.
 */
#ifndef WARREN_REMOTE_HELD_H
#define WARREN_REMOTE_HELD_H

#include "remote/remote_outbox.h"

/* Asking: put the request, with its claims as the list. */
void remote_held_ask(struct remote_outbox *out, uint64_t key, struct remote_record *ask,
                     const struct port_request *r);

/* Answering: claims from a list, into room for so many. False: it is too long. */
MUST_CHECK bool remote_held_count(const struct remote_record *ask, uint32_t *count);
void remote_held_take(struct slice list, uint64_t *claims, uint32_t count);

/* ... and the answer, which names those that are not the consumer's by their numbers. */
void remote_held_answer(struct remote_outbox *out, uint64_t key, struct remote_record *answer,
                        const struct port_request *r);

/* Asking: it has come. */
void remote_held_answered(struct port_request *r, const struct remote_record *answer);

#endif
