/*
 * effects: what a change of the metadata does to the shards: carried there by mail from the control
 * thread, carried out on the shard's.
 */
#ifndef WARREN_EFFECTS_H
#define WARREN_EFFECTS_H

#include "cluster/meta.h"

#include <stddef.h>

struct broker;

/* A shard hears of a new queue before anybody can find it, and of everything else after nobody can
 * find what was there before: whoever found it in a version has posted to it earlier or later than
 * that. */
void effects_before_publication(struct broker *b, const struct meta_effect *effects, size_t count);
void effects_after_publication(struct broker *b, const struct meta_effect *effects, size_t count);

/* At a start, before the shards run: each hears of the queues that were there before. */
void effects_of_start(struct broker *b, const struct meta_version *v);

#endif
