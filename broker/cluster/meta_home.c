/* Which queues live on which node, so that what happens to a node touches no others. */
#include "base/check.h"
#include "cluster/meta_cohort.h"

const struct meta_home *meta_home_find(const struct meta_version *v, uint16_t node)
{
    const struct pmap_kind *kind = &v->kinds->homes;
    uint64_t id = node;
    return pmap_get(&v->homes, kind, meta_hash_id(kind, id), &id);
}

uint64_t meta_node_queue_count(const struct meta_version *v, uint16_t node)
{
    const struct meta_home *h = meta_home_find(v, node);
    return h != NULL ? h->lasting.count + h->passing.count + h->masters : 0;
}

uint64_t meta_node_mirror_count(const struct meta_version *v, uint16_t node)
{
    const struct meta_home *h = meta_home_find(v, node);
    return h != NULL ? h->mirrors : 0;
}

uint64_t meta_node_in_sync_count(const struct meta_version *v, uint16_t node)
{
    const struct meta_home *h = meta_home_find(v, node);
    return h != NULL ? h->in_sync : 0;
}

static struct meta_home *home_own(struct meta *m, uint16_t node)
{
    const struct meta_home *h = meta_home_find(&m->draft, node);
    if (h != NULL && h->tag == m->edit.tag)
        return (struct meta_home *)(uintptr_t)h;
    struct meta_home *copy = pmap_edit_alloc(&m->edit, sizeof *copy);
    *copy = (struct meta_home){ .node = node };
    if (h != NULL)
        *copy = *h;
    copy->tag = m->edit.tag;
    pmap_set(&m->draft.homes, &m->kinds.homes, &m->edit, copy);
    if (h != NULL)
        pmap_edit_drop(&m->edit, h, sizeof *h, h->tag);
    return copy;
}

static struct pmap *map_of(struct meta_home *h, const struct meta_queue *q)
{
    return q->durable ? &h->lasting : &h->passing;
}

/* Nothing of it is left. */
static void drop_if_empty(struct meta *m, const struct meta_home *h)
{
    if (h->lasting.count + h->passing.count + h->masters + h->mirrors != 0)
        return;
    uint64_t id = h->node;
    pmap_del(&m->draft.homes, &m->kinds.homes, &m->edit, meta_hash_id(&m->kinds.homes, id), &id);
    pmap_edit_drop(&m->edit, h, sizeof *h, h->tag);
}

void meta_home_enter(struct meta *m, const struct meta_queue *q)
{
    struct meta_home *h = home_own(m, q->node);
    const void *old = pmap_set(map_of(h, q), &m->kinds.queues, &m->edit, q);
    CHECK(old == NULL);
}

void meta_home_leave(struct meta *m, const struct meta_queue *q)
{
    struct meta_home *h = home_own(m, q->node);
    const void *gone = pmap_del(map_of(h, q), &m->kinds.queues, &m->edit,
                                meta_hash_id(&m->kinds.queues, q->qid), &q->qid);
    CHECK(gone == q);
    drop_if_empty(m, h);
}

void meta_home_add(struct meta *m, const struct meta_queue *q)
{
    m->draft.things += meta_digest_queue(q);
    meta_home_enter(m, q);
}

void meta_home_remove(struct meta *m, const struct meta_queue *q)
{
    const struct meta_placed *p = meta_placed_get(&m->draft, q->qid);
    m->draft.things -= meta_digest_queue(q);
    if (p != NULL)
        meta_placed_remove(m, p);
    else
        meta_home_leave(m, q);
}

void meta_home_tally(struct meta *m, uint16_t node, const struct meta_tally *more)
{
    struct meta_home *h = home_own(m, node);
    h->masters += (uint64_t)more->masters;
    h->mirrors += (uint64_t)more->mirrors;
    h->in_sync += (uint64_t)more->in_sync;
    drop_if_empty(m, h);
}

void meta_homes_prune(struct meta *m, bool (*goes)(void *arg, const void *queue), void *arg)
{
    /* They are few; the walk must not see what is changed. */
    uint16_t nodes[META_NODES_MAX];
    size_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.homes);
    for (const struct meta_home *h; (h = pmap_next(&it)) != NULL;) {
        CHECK(count < ARRAY_COUNT(nodes));
        nodes[count++] = h->node;
    }
    for (size_t i = 0; i < count; i++) {
        struct meta_home *h = home_own(m, nodes[i]);
        (void)pmap_prune(&h->lasting, &m->edit, goes, arg);
        (void)pmap_prune(&h->passing, &m->edit, goes, arg);
        drop_if_empty(m, h);
    }
}

void meta_homes_drop(struct meta *m)
{
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.homes);
    for (const struct meta_home *h; (h = pmap_next(&it)) != NULL;) {
        struct meta_home contents = *h;
        pmap_clear(&contents.lasting, &m->edit);
        pmap_clear(&contents.passing, &m->edit);
        pmap_edit_drop(&m->edit, h, sizeof *h, h->tag);
    }
    pmap_clear(&m->draft.homes, &m->edit);
}
