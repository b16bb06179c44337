/*
 * death: what a dead-lettered message says of its deaths, and whether it goes round in circles.
 *
 * Its header x-death is an array with a table for each queue and reason, the newest first, with a
 * count; x-first-death-* tell of the first. RabbitMQ's forms to the octet: what is the client's own
 * in these headers is treated as it treats it. Stateless; any thread.
 */
#ifndef WARREN_DEATH_H
#define WARREN_DEATH_H

#include "model/message.h"

struct death {
    const char *reason; /* "rejected", "expired", "maxlen", "delivery_limit" */
    struct slice queue;
    uint64_t time_s;          /* since 1970 */
    struct slice to_exchange; /* what it is published again with */
    struct slice to_key;
    bool keep_cc; /* false: to_key takes the place of all former keys, header CC included */
};

/* The message as it is published again. */
struct message *death_message(const struct message *m, const struct death *d);

/* Was the message, which says of its deaths, in this queue before, and has nobody rejected it since
 * then? */
bool death_is_cycle(const struct message *m, struct slice queue);

/* In how many ways it has died, by the order of its header, since somebody rejected it. */
unsigned death_count(const struct message *m);

/* The same message with header x-delivery-count. */
struct message *death_counted(const struct message *m, uint32_t returns);

#endif
