/*
 * alarms: what is said when memory or disk is short, and when it no longer is.
 *
 * Who judges is the broker; here are the words, for publishers and for the log, and the news to
 * those that wait.
 */
#ifndef WARREN_ALARMS_H
#define WARREN_ALARMS_H

#include "broker.h"

/* What a publisher is told it waits for, in RabbitMQ's words. */
const char *alarms_text(unsigned alarms);

/* The last one has ended: publishers of all shards go on. On the control thread. */
void alarms_ended(const struct broker *b);

/* A line in the log. */
void alarms_tell_of_memory(const char *node, bool on, uint64_t bytes, uint64_t limit_bytes);

#endif
