/*
 * mgmt_round: one question to all other nodes that are up, and their answers together.
 *
 * On the management's loop.
 */
#ifndef WARREN_MGMT_ROUND_H
#define WARREN_MGMT_ROUND_H

#include "mgmt/mgmt_peers.h"

#include <jansson.h>

/* What each of them said, by its name, lent: {"rabbit2@host": ..., ...}. Who did not answer with
 * 200 and JSON is missing; the log says who did not answer. */
typedef void (*mgmt_round_fn)(json_t *answers, void *arg);

/* `fn` is called once, later. `peers` NULL: nobody is asked. */
void mgmt_round(struct mgmt_peers *peers, struct loop *loop, const struct mgmt_peer_question *q,
                mgmt_round_fn fn, void *arg);

/* The same of these nodes. */
void mgmt_round_of(struct mgmt_peers *peers, struct loop *loop, const uint16_t *nodes, size_t count,
                   const struct mgmt_peer_question *q, mgmt_round_fn fn, void *arg);

#endif
