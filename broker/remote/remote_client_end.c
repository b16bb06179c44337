#include "base/mutation.h"
#include "remote/remote_client_inner.h"

/* ---- who waits --------------------------------------------------------------------------------
 */

void remote_client_each_waiting(const struct remote_client *c, remote_waiting_fn fn, void *arg)
{
    size_t at = 0;
    for (size_t i = 0; i < c->charges.count; i++) {
        const struct remote_charge *charge = remote_ring_at(&c->charges, i);
        if (charge->connection != 0 && charge->connection != REMOTE_PAID)
            fn(arg, charge->connection);
    }
    for (size_t i = 0; i < c->awaited.count; i++) {
        const struct remote_awaited *a = remote_ring_at(&c->awaited, i);
        if (a->copies != 0 && a->from.connection != 0)
            fn(arg, a->from.connection);
    }
    for (const struct remote_asked *a; (a = idmap_next(&c->asks, &at)) != NULL;)
        if (a->from.connection != 0)
            fn(arg, a->from.connection);
}

/* ---- the end of a life ------------------------------------------------------------------------
 */

static void lose_unsent(struct remote_client *c, struct idmap *unsent)
{
    struct remote_told t = { .ok = false };
    for (struct remote_unsent *u; (u = idmap_first(unsent)) != NULL; mem_free(u)) {
        idmap_take(unsent, u->mark);
        remote_client_add_told(c, &t, &u->awaited);
        remote_client_tell(c, &t);
    }
    idmap_fini(unsent);
}

static void lose_publishes(struct remote_client *c, struct remote_ring *charges,
                           struct remote_ring *awaited)
{
    struct remote_told t = { .ok = MUTATION(REMOTE_LOSS_CONFIRMED) };
    for (; awaited->count != 0; remote_ring_drop_first(awaited)) {
        const struct remote_awaited *a = remote_ring_at(awaited, 0);
        if (a->copies != 0 && !MUTATION(REMOTE_LOSS_NOT_TOLD))
            remote_client_add_told(c, &t, a);
    }
    remote_client_tell(c, &t);
    for (; charges->count != 0; remote_ring_drop_first(charges)) {
        const struct remote_charge *charge = remote_ring_at(charges, 0);
        if (charge->connection != REMOTE_PAID && !MUTATION(REMOTE_CHARGE_KEPT))
            c->ops->taken(c->arg, charge->connection, charge->octets * charge->copies);
    }
    remote_ring_fini(awaited);
    remote_ring_fini(charges);
}

static void lose_asks(struct remote_client *c, struct idmap *asks)
{
    for (struct remote_asked *a; (a = idmap_first(asks)) != NULL; mem_free(a)) {
        idmap_take(asks, a->token);
        if (MUTATION(REMOTE_ASK_NOT_ANSWERED)) {
            mem_free(a->request);
            continue;
        }
        if (a->request == NULL) {
            c->ops->reply_known(c->arg, &a->from, false);
            continue;
        }
        a->request->verdict = PORT_NODE_DOWN;
        c->ops->answer(c->arg, a->request);
    }
    idmap_fini(asks);
}

static void lose_consumers(struct remote_client *c, struct idmap *consumers)
{
    for (struct remote_subscriber *s; (s = idmap_first(consumers)) != NULL; mem_free(s)) {
        idmap_take(consumers, s->id);
        c->ops->consumer_moved(c->arg, &s->channel, s->id);
    }
    idmap_fini(consumers);
}

void remote_client_lost(struct remote_client *c)
{
    remote_client_published(c); /* to nobody, but it is charged and awaited */
    c->is_ending = true;
    struct remote_ring charges = c->charges;
    struct remote_ring awaited = c->awaited;
    struct idmap unsent = c->unsent;
    struct idmap asks = c->asks;
    struct idmap consumers = c->consumers;
    remote_client_free_all(&c->consumed);
    if (!MUTATION(REMOTE_KEPT_OUTLIVES))
        remote_kept_reset(&c->kept, c->out.pipe.drop, c->out.pipe.arg);
    c->life = c->life == UINT16_MAX ? 1 : (uint16_t)(c->life + 1);
    if (!MUTATION(REMOTE_OLD_LIFE_SPEAKS))
        remote_outbox_reset(&c->out);
    remote_inbox_reset(&c->in);
    remote_client_init_life(c);
    lose_unsent(c, &unsent);
    lose_publishes(c, &charges, &awaited);
    lose_asks(c, &asks);
    lose_consumers(c, &consumers);
    c->is_ending = false;
}
