/*
 * sim_message: messages of simulated clients: their key is their content's number, and their body
 * follows from it.
 */
#ifndef WARREN_SIM_MESSAGE_H
#define WARREN_SIM_MESSAGE_H

#include "model/message.h"
#include "sim_client.h"

struct message *sim_message_new(const struct sim_publish *p);

/* Has it the body of this content? */
bool sim_message_is(const struct message *m, uint64_t content);

#endif
