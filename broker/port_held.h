/*
 * port_held: publishes that wait until their queue may be served.
 *
 * They keep their order, and whoever published them is charged for them until the queue has them:
 * so what waits is bounded by what each may have under way. On the queue's shard.
 */
#ifndef WARREN_PORT_HELD_H
#define WARREN_PORT_HELD_H

#include "port_lane.h"

struct hosted;
struct port_held;

/* Takes the message in *it, which `asker` published. */
void port_hold(struct hosted *h, struct shard *asker, struct publish_item *it);

/* What waited for some queues is published: those of one shard together, at the end. */
struct port_opening {
    struct shard *shard;
    struct publish_batch **batches; /* by who published */
};
void port_opening_init(struct port_opening *o, struct shard *s);
/* False: the budget is used up before all of this queue's are. */
MUST_CHECK bool port_open(struct port_opening *o, struct hosted *h, size_t *budget);
void port_opening_end(struct port_opening *o);

/* Those that have waited for so long are refused. Returns after how long it will be the next one's
 * time; `for_ms`: there is none. */
uint64_t port_held_refuse(struct hosted *h, uint64_t now_ms, uint64_t for_ms);

/* They are another node's to take. */
void port_held_move(struct hosted *h);

/* The queue is gone, for whoever published to it. */
void port_held_end(struct hosted *h);
/* And so is the shard. */
void port_held_free(struct hosted *h);

#endif
