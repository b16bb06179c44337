#include "gossip_leads.h"

/* What was not looked at to its end goes by exchange and key, as far as anybody knows. */
static void take(const struct location_pub *pub, const struct location_ask *ask,
                 const struct route_out *route, struct location_leads *out)
{
    out->any_key = !route->by_key;
    if (route->is_cut || !route->by_names || route->count > LOCATION_LEADS_QUEUES)
        return;
    for (size_t i = 0; i < route->count; i++)
        out->hashes[out->count++] =
            location_pub_hash(pub, ask->vhost, meta_queue_name(route->queues[i]));
}

void gossip_leads_find(const struct meta_version *v, const struct location_pub *pub,
                       const struct location_ask *ask, struct route_out *route,
                       struct location_leads *out)
{
    struct meta_refusal why;
    const struct meta_vhost *vh = meta_vhost_find(v, ask->vhost);
    out->any_key = true;
    if (vh == NULL)
        return;
    struct route_in in = { .vhost_id = vh->vhost_id,
                           .exchange = ask->exchange,
                           .key = ask->key,
                           .queues_most = LOCATION_LEADS_QUEUES,
                           .steps_most = GOSSIP_LEADS_STEPS };
    if (exchange_route(v, &in, route, &why))
        take(pub, ask, route, out);
}
