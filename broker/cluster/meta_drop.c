/* The end of all metadata: every thing is let go of once, in the order in which things refer to
 * each other, and meta_free then sees that the count is even. */
#include "cluster/meta_state.h"

/* A writable copy would only be made to be thrown away: the map and what it holds go together. */
static void exchanges_drop(struct meta *m, struct pmap *exchanges)
{
    struct pmap_iter it;
    pmap_iter(&it, exchanges);
    for (const struct meta_exchange *x; (x = pmap_next(&it)) != NULL;) {
        struct meta_exchange last = *x;
        meta_bindings_drop(m, &last);
        meta_exchange_drop(m, x);
    }
    pmap_clear(exchanges, &m->edit);
}

static void vhosts_drop(struct meta *m)
{
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.vhosts);
    for (const struct meta_vhost *vh; (vh = pmap_next(&it)) != NULL;) {
        struct pmap exchanges = vh->exchanges;
        struct pmap queues = vh->queues;
        exchanges_drop(m, &exchanges);
        pmap_clear(&queues, &m->edit);
        meta_vhost_drop(m, vh);
    }
    pmap_clear(&m->draft.vhosts, &m->edit);
    pmap_clear(&m->draft.vhosts_by_name, &m->edit);
}

static void owners_drop(struct meta *m)
{
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.owners);
    for (const struct meta_owner *o; (o = pmap_next(&it)) != NULL;) {
        struct pmap queues = o->queues;
        pmap_clear(&queues, &m->edit);
        meta_owner_drop(m, o);
    }
    pmap_clear(&m->draft.owners, &m->edit);
}

void meta_drop_all(struct meta *m)
{
    meta_destinations_drop(m);
    owners_drop(m);
    vhosts_drop(m);
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        meta_queue_drop(m, q);
    pmap_clear(&m->draft.queues, &m->edit);
}
