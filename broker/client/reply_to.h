/*
 * reply_to: the addresses of direct reply-to: names that stand for a channel and not for a queue.
 *
 *     amq.rabbitmq.reply-to. <connection, incarnation, number: 28 hex digits> . <secret: 32>
 *
 * Whoever knows the address may answer, so it cannot be guessed: the secret comes from the system's
 * randomness each time a channel begins to consume, and is compared in constant time. Pure.
 */
#ifndef WARREN_REPLY_TO_H
#define WARREN_REPLY_TO_H

#include "base/attr.h"
#include "base/slice.h"
#include "port.h"

#define REPLY_TO_NAME          "amq.rabbitmq.reply-to"
#define REPLY_TO_SECRET_BYTES  16u
#define REPLY_TO_ADDRESS_BYTES (sizeof REPLY_TO_NAME - 1 + 1 + 28 + 1 + 2 * REPLY_TO_SECRET_BYTES)

struct reply_address {
    struct port_channel_ref channel;
    uint8_t secret[REPLY_TO_SECRET_BYTES];
};

/* Writes REPLY_TO_ADDRESS_BYTES octets. */
void reply_to_write(const struct reply_address *a, uint8_t *out);

/* False for any other name, one that only begins like an address included. */
MUST_CHECK bool reply_to_read(struct slice name, struct reply_address *out);

bool reply_to_same_secret(const struct reply_address *a, const struct reply_address *b);

/* For lists of them: the same address compares as 0. */
int reply_to_compare(const struct reply_address *a, const struct reply_address *b);

#endif
