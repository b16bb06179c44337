/*
 * gossip_leads: what this broker answers to proxies that ask where messages land (location_pub).
 *
 * It routes as a publish would, by the exchange and the key alone: no message is there to be looked
 * at. Control thread.
 */
#ifndef WARREN_GOSSIP_LEADS_H
#define WARREN_GOSSIP_LEADS_H

#include "cluster/meta.h"
#include "gossip/location_pub.h"
#include "model/exchange.h"

/* Bindings that are looked at for one answer: the control thread has other things to do. Where more
 * of them would have to be, nobody can say. */
#define GOSSIP_LEADS_STEPS 1024u

/* `out` has no queues yet. Without an exchange of that name, or a vhost, it stays so: no key leads
 * anywhere. `route` is initialised, and used again and again. */
void gossip_leads_find(const struct meta_version *v, const struct location_pub *pub,
                       const struct location_ask *ask, struct route_out *route,
                       struct location_leads *out);

#endif
