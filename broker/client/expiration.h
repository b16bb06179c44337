/*
 * expiration: is a message's expiration the number of milliseconds that it should be? Pure.
 */
#ifndef WARREN_EXPIRATION_H
#define WARREN_EXPIRATION_H

#include "base/slice.h"

#define EXPIRATION_MAX_MS    315360000000u /* ten years */
#define EXPIRATION_FAULT_MAX 1400u

/* NULL if it is, else what RabbitMQ says is wrong with it, in `room`. */
const char *expiration_fault(struct slice text, char room[EXPIRATION_FAULT_MAX]);

#endif
