#include "port_held.h"

#include "base/mem.h"
#include "broker.h"
#include "hosted.h"

struct held_item {
    struct publish_item item;
    struct shard *asker;
    uint64_t since_ms;
    STAILQ_ENTRY(held_item) entry;
};

struct port_held {
    STAILQ_HEAD(, held_item) items;
};

void port_hold(struct hosted *h, struct shard *asker, struct publish_item *it)
{
    struct held_item *i = mem_alloc(sizeof *i);
    *i = (struct held_item){ .item = *it, .asker = asker, .since_ms = loop_now_ms(h->shard->loop) };
    it->message = NULL;
    if (h->held == NULL) {
        h->held = mem_alloc(sizeof *h->held);
        STAILQ_INIT(&h->held->items);
    }
    STAILQ_INSERT_TAIL(&h->held->items, i, entry);
}

/* The first that waits; the last takes the list with it. */
static struct publish_item take_first(struct hosted *h, struct shard **asker)
{
    struct held_item *i = STAILQ_FIRST(&h->held->items);
    struct publish_item item = i->item;
    *asker = i->asker;
    STAILQ_REMOVE_HEAD(&h->held->items, entry);
    mem_free(i);
    if (STAILQ_EMPTY(&h->held->items)) {
        mem_free(h->held);
        h->held = NULL;
    }
    return item;
}

/* ---- they are published -----------------------------------------------------------------------
 */

void port_opening_init(struct port_opening *o, struct shard *s)
{
    *o = (struct port_opening){ .shard = s };
}

static void add(struct port_opening *o, struct shard *asker, const struct publish_item *it)
{
    if (o->batches == NULL)
        o->batches =
            mem_zalloc(broker_shard_count(o->shard->broker) * sizeof(struct publish_batch *));
    struct publish_batch **b = &o->batches[asker->index];
    if (*b != NULL && (*b)->count == BATCH_ITEMS) {
        port_on_publishes(&(*b)->mail);
        *b = NULL;
    }
    if (*b == NULL) {
        *b = mem_alloc(sizeof **b);
        (*b)->from = asker;
        (*b)->to = o->shard;
        (*b)->count = 0;
    }
    (*b)->items[(*b)->count++] = *it;
}

bool port_open(struct port_opening *o, struct hosted *h, size_t *budget)
{
    for (; h->held != NULL && *budget != 0; --*budget) {
        struct shard *asker;
        const struct publish_item it = take_first(h, &asker);
        add(o, asker, &it);
    }
    return h->held == NULL;
}

void port_opening_end(struct port_opening *o)
{
    if (o->batches == NULL)
        return;
    for (uint32_t i = 0; i < broker_shard_count(o->shard->broker); i++)
        if (o->batches[i] != NULL)
            port_on_publishes(&o->batches[i]->mail);
    mem_free(o->batches);
}

/* ---- they are not -----------------------------------------------------------------------------
 */

/* To whom has published it, with what is said in the item. */
static void give_back(struct hosted *h, struct shard *asker, struct publish_item *it)
{
    struct publish_batch *b = mem_alloc(sizeof *b);
    shard_message_drop(h->shard, &it->message);
    b->from = asker;
    b->to = h->shard;
    b->count = 1;
    b->items[0] = *it;
    port_send_publishes_back(b);
}

uint64_t port_held_refuse(struct hosted *h, uint64_t now_ms, uint64_t for_ms)
{
    while (h->held != NULL) {
        uint64_t waited_ms = now_ms - STAILQ_FIRST(&h->held->items)->since_ms;
        if (waited_ms < for_ms)
            return for_ms - waited_ms;
        struct shard *asker;
        struct publish_item it = take_first(h, &asker);
        it.refused = true;
        give_back(h, asker, &it);
    }
    return for_ms;
}

void port_held_move(struct hosted *h)
{
    while (h->held != NULL) {
        struct shard *asker;
        struct publish_item it = take_first(h, &asker);
        it.moved = true;
        give_back(h, asker, &it);
    }
}

void port_held_end(struct hosted *h)
{
    while (h->held != NULL) {
        struct shard *asker;
        struct publish_item it = take_first(h, &asker);
        give_back(h, asker, &it);
    }
}

void port_held_free(struct hosted *h)
{
    while (h->held != NULL) {
        struct shard *asker;
        struct publish_item it = take_first(h, &asker);
        shard_message_drop(h->shard, &it.message);
    }
}
