/* The end of all metadata: every thing is let go of once, in the order in which things refer to
 * each other, and meta_free then sees that the count is even. */
#include "cluster/meta_cohort.h"

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
        struct meta_vhost contents = *vh;
        m->draft.things -= meta_digest_vhost(vh);
        exchanges_drop(m, &exchanges);
        pmap_clear(&queues, &m->edit);
        meta_vhost_contents_drop(m, &contents);
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

static void users_drop(struct meta *m)
{
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.users);
    for (const struct meta_user *u; (u = pmap_next(&it)) != NULL;)
        meta_user_drop(m, u);
    pmap_clear(&m->draft.users, &m->edit);
}

static void global_parameters_drop(struct meta *m)
{
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.global_parameters);
    for (const struct meta_parameter *p; (p = pmap_next(&it)) != NULL;)
        meta_parameter_drop(m, p);
    pmap_clear(&m->draft.global_parameters, &m->edit);
}

void meta_drop_all(struct meta *m)
{
    meta_destinations_drop(m);
    owners_drop(m);
    meta_homes_drop(m);
    meta_cohorts_drop(m);
    meta_nodes_drop(m);
    meta_origins_drop(m);
    vhosts_drop(m);
    users_drop(m);
    global_parameters_drop(m);
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;) {
        m->draft.things -= meta_digest_queue(q);
        meta_queue_drop(m, q);
    }
    pmap_clear(&m->draft.queues, &m->edit);
}
