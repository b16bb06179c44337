#include "larges.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "broker.h"
#include "model/message.h"
#include "shard.h"
#include "store/store.h"

struct large {
    uint64_t id;
    uint32_t targets;
    bool is_safe;
};

/* Queues that are done with a file, said in records that are not written yet. */
struct done {
    uint64_t id;
    uint32_t targets;
};

struct larges {
    struct shard *shard;
    struct idmap by_place; /* struct large */
    struct done *done;
    size_t done_count;
    size_t done_cap;
};

struct writing {
    struct large_write write;
    struct shard *shard;
    struct place place;
    larges_fn fn;
    void *arg;
};

static struct large *find(const struct larges *l, struct place place)
{
    return l->by_place.count == 0 ? NULL : idmap_get(&l->by_place, place_lsn(place));
}

static void drop(struct larges *l, struct place place)
{
    struct large *g = idmap_take(&l->by_place, place_lsn(place));
    mem_free(g);
}

static struct large *add(struct larges *l, struct place place, uint64_t id, uint32_t targets)
{
    struct large *g = mem_zalloc(sizeof *g);
    g->id = id;
    g->targets = targets;
    idmap_put(&l->by_place, place_lsn(place), g);
    return g;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static void on_written(struct mail *mail)
{
    struct writing *w = CONTAINER_OF(mail, struct writing, write.mail);
    struct shard *s = w->shard;
    if (s->larges != NULL) {
        struct large *g = find(s->larges, w->place);
        if (g != NULL)
            g->is_safe = w->write.is_safe;
        w->fn(w->arg, w->write.is_safe ? w->write.lsn : UINT64_MAX);
    }
    shard_message_drop(s, &w->write.message);
    mem_free(w);
}

void larges_publish(struct larges *l, struct message *m, struct place place,
                    const struct msg_target *targets, uint32_t count, larges_fn fn, void *arg)
{
    struct shard *s = l->shard;
    add(l, place, message_large_id(m), count);
    struct writing *w = mem_zalloc(sizeof *w);
    w->shard = s;
    w->place = place;
    w->fn = fn;
    w->arg = arg;
    w->write.mail.fn = on_written;
    w->write.reply_to = s->loop;
    w->write.id = message_large_id(m);
    w->write.message = message_ref(m);
    w->write.targets = count;
    w->write.qids = mem_array(count, sizeof *w->write.qids);
    for (uint32_t i = 0; i < count; i++)
        w->write.qids[i] = targets[i].qid;
    store_write_large(s->store, &w->write);
}

/* ---- going ------------------------------------------------------------------------------------
 */

void larges_gone(struct larges *l, struct place place, uint32_t targets)
{
    struct large *g = find(l, place);
    if (g == NULL)
        return;
    if (l->done_count == l->done_cap) {
        l->done_cap = l->done_cap != 0 ? 2 * l->done_cap : 16;
        l->done = mem_realloc(l->done, l->done_cap * sizeof *l->done);
    }
    CHECK(targets <= g->targets);
    l->done[l->done_count++] = (struct done){ g->id, targets };
    g->targets -= targets;
    if (g->targets == 0)
        drop(l, place);
}

void larges_settled(struct larges *l)
{
    if (l->done_count == 0 || l->shard->store == NULL)
        return;
    uint64_t lsn = journal_end(store_journal(l->shard->store));
    for (size_t i = 0; i < l->done_count; i++)
        store_drop_large(l->shard->store, l->done[i].id, l->done[i].targets, lsn);
    l->done_count = 0;
}

/* ---- moving -----------------------------------------------------------------------------------
 */

void larges_moved(struct larges *l, struct place from, struct place to, uint32_t targets)
{
    struct large *g = find(l, from);
    if (g == NULL)
        return;
    struct large *moved = add(l, to, g->id, targets);
    moved->is_safe = g->is_safe;
    CHECK(targets <= g->targets);
    g->targets -= targets;
    if (g->targets == 0)
        drop(l, from);
}

bool larges_is_safe(const struct larges *l, struct place place)
{
    const struct large *g = find(l, place);
    return g != NULL && g->is_safe;
}

/* ---- start and end ----------------------------------------------------------------------------
 */

void larges_restore(struct larges *l, const struct recovered_large *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(l, found[i].place, found[i].id, found[i].alive)->is_safe = true;
}

struct larges *larges_new(struct shard *s)
{
    struct larges *l = mem_zalloc(sizeof *l);
    l->shard = s;
    idmap_init(&l->by_place);
    return l;
}

void larges_free(struct larges **larges)
{
    struct larges *l = *larges;
    *larges = NULL;
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->by_place.cap; i++)
        mem_free(l->by_place.slots[i].value);
    idmap_fini(&l->by_place);
    mem_free(l->done);
    mem_free(l);
}
