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

/* `out` has no queues yet. Without an exchange of that name, or a vhost, it stays so: no key leads
 * anywhere. */
void gossip_leads_find(const struct meta_version *v, const struct location_pub *pub,
                       const struct location_ask *ask, struct location_leads *out);

#endif
