/*
 * asker: has brokers asked where messages to exchanges land, and keeps what they say (leads.h).
 *
 * Workers ask as publishes come by; what is asked for goes to the broker that feeds the table of
 * queues, a bounded number at a time and a second. All is asked for again when that broker says
 * that routes have changed, when another one feeds us, and now and then; not more often than each
 * second. Control loop, but for the asking.
 */
#ifndef WARREN_ASKER_H
#define WARREN_ASKER_H

#include "base/text.h"
#include "gossip/location_sub.h"
#include "io/epoch.h"

struct asker;
struct leads;

/* `sub` outlives it. */
struct asker *asker_new(struct loop *loop, struct epoch *epoch, struct location_sub *sub);
/* Nobody asks any more; what was asked has been delivered (loop_settle). */
void asker_free(struct asker **a);

struct leads *asker_leads(struct asker *a);

/* Another cluster. */
void asker_clear(struct asker *a);

void asker_metrics(const struct asker *a, struct text *out);

#endif
