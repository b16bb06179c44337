#include "cluster/meta_cohort.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutation.h"

/* ---- looking ---- */

const struct meta_placed *meta_placed_get(const struct meta_version *v, uint64_t qid)
{
    const struct pmap_kind *kind = &v->kinds->placed;
    if (LIKELY(v->placed.count == 0))
        return NULL;
    return pmap_get(&v->placed, kind, meta_hash_id(kind, qid), &qid);
}

const struct meta_cohort *meta_cohort_get(const struct meta_version *v, uint32_t cohort)
{
    const struct pmap_kind *kind = &v->kinds->cohorts;
    uint64_t id = cohort;
    return pmap_get(&v->cohorts, kind, meta_hash_id(kind, id), &id);
}

void meta_record_of_cohort(const struct meta_cohort *c, struct meta_record *out)
{
    out->flags = c->flags;
    out->count = c->count;
    memcpy(out->replicas, c->replicas, c->count * sizeof *c->replicas);
}

/* A node that was never up in a cluster, because there was none, is its first incarnation. */
static uint32_t inc_of(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && n->inc != 0 ? n->inc : 1;
}

void meta_record_of(const struct meta_version *v, const struct meta_queue *q,
                    struct meta_record *out)
{
    const struct meta_placed *p = meta_placed_get(v, q->qid);
    if (p != NULL) {
        meta_record_of_cohort(meta_cohort_get(v, p->cohort), out);
        return;
    }
    out->flags = q->durable ? META_RECORD_LASTS : 0;
    out->count = 1;
    out->replicas[0] = (struct meta_replica){ .inc = inc_of(v, q->node), .node = q->node };
}

/* ---- by what they say ---- */

static uint64_t hash_of(uint8_t flags, unsigned count, const struct meta_replica *replicas,
                        uint64_t seed)
{
    return hash_u64(meta_digest_of_record(flags, count, replicas) ^ seed);
}

static bool same(const struct meta_cohort *c, uint8_t flags, unsigned count,
                 const struct meta_replica *replicas)
{
    if (c->flags != flags || c->count != count)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (c->replicas[i].node != replicas[i].node || c->replicas[i].inc != replicas[i].inc ||
            c->replicas[i].left != replicas[i].left)
            return false;
    return true;
}

uint64_t meta_record_hash(const void *item, uint64_t seed)
{
    const struct meta_cohort *c = item;
    return hash_of(c->flags, c->count, c->replicas, seed);
}

bool meta_record_is(const void *item, const void *key)
{
    const struct meta_record *r = key;
    return same(item, r->flags, r->count, r->replicas);
}

bool meta_record_same(const void *item, const void *other)
{
    const struct meta_cohort *c = other;
    return same(item, c->flags, c->count, c->replicas);
}

/* Only one that has no epoch or ver of its own is found by its record. */
static bool is_plain(const struct meta_cohort *c)
{
    return c->ver == 0;
}

/* ---- what is counted of them ---- */

static uint64_t share(const struct meta_cohort *c)
{
    return c->sum * meta_digest_of_record(c->flags, c->count, c->replicas) + c->epochs + c->vers;
}

static void tally(struct meta *m, const struct meta_cohort *c, int64_t queues)
{
    if (queues == 0)
        return;
    for (unsigned i = 0; i < c->count; i++) {
        bool in_sync = c->replicas[i].inc != 0;
        struct meta_tally t = { .masters = i == 0 ? queues : 0,
                                .mirrors = i != 0 ? queues : 0,
                                .in_sync = i != 0 && in_sync ? queues : 0 };
        meta_home_tally(m, c->replicas[i].node, &t);
    }
}

static bool is_damaged(const struct meta_cohort *c)
{
    return (c->flags & META_RECORD_DAMAGED) != 0;
}

/* ---- the cohorts themselves ---- */

static size_t cohort_bytes(const struct meta_cohort *c)
{
    return sizeof *c + c->count * sizeof *c->replicas;
}

static void cohort_free(struct meta *m, const struct meta_cohort *c)
{
    pmap_edit_drop(&m->edit, c, cohort_bytes(c), c->tag);
}

static struct meta_cohort *cohort_make(struct meta *m, const struct meta_record *r)
{
    size_t bytes = r->count * sizeof *r->replicas;
    struct meta_cohort *c = pmap_edit_alloc(&m->edit, sizeof *c + bytes);
    *c = (struct meta_cohort){ .tag = m->edit.tag, .flags = r->flags, .count = (uint8_t)r->count };
    memcpy(c->replicas, r->replicas, bytes);
    return c;
}

static void cohort_show(struct meta *m, const struct meta_cohort *c)
{
    pmap_set(&m->draft.cohorts, &m->kinds.cohorts, &m->edit, c);
    if (is_plain(c))
        pmap_set(&m->draft.records, &m->kinds.records, &m->edit, c);
}

/* A copy of it that may be written to, in its place. */
static struct meta_cohort *cohort_own(struct meta *m, const struct meta_cohort *c)
{
    if (c->tag == m->edit.tag)
        return (struct meta_cohort *)(uintptr_t)c;
    struct meta_cohort *copy = pmap_edit_alloc(&m->edit, cohort_bytes(c));
    memcpy(copy, c, cohort_bytes(c));
    copy->tag = m->edit.tag;
    cohort_show(m, copy);
    cohort_free(m, c);
    return copy;
}

static void forget_record(struct meta *m, const struct meta_cohort *c)
{
    struct meta_record r;
    if (!is_plain(c))
        return;
    meta_record_of_cohort(c, &r);
    uint64_t hash = meta_record_hash(c, m->kinds.records.seed);
    const void *gone = pmap_del(&m->draft.records, &m->kinds.records, &m->edit, hash, &r);
    CHECK(gone == c);
}

/* Numbers go round, some day. */
static uint32_t new_id(struct meta *m)
{
    do
        m->draft.last_cohort++;
    while (m->draft.last_cohort == 0 || meta_cohort_get(&m->draft, m->draft.last_cohort) != NULL);
    return m->draft.last_cohort;
}

static struct meta_cohort *cohort_for(struct meta *m, const struct meta_record *r)
{
    uint64_t hash = hash_of(r->flags, r->count, r->replicas, m->kinds.records.seed);
    const struct meta_cohort *found = pmap_get(&m->draft.records, &m->kinds.records, hash, r);
    if (found != NULL)
        return cohort_own(m, found);
    struct meta_cohort *c = cohort_make(m, r);
    c->id = new_id(m);
    cohort_show(m, c);
    m->draft.damaged += is_damaged(c);
    return c;
}

static void drop_if_empty(struct meta *m, const struct meta_cohort *c)
{
    if (c->queues.count != 0)
        return;
    uint64_t id = c->id;
    forget_record(m, c);
    pmap_del(&m->draft.cohorts, &m->kinds.cohorts, &m->edit, meta_hash_id(&m->kinds.cohorts, id),
             &id);
    m->draft.damaged -= is_damaged(c);
    cohort_free(m, c);
}

/* ---- queues ---- */

static void count_queue(struct meta_cohort *c, const struct meta_placed *p, bool comes)
{
    uint64_t h = meta_digest_of_qid(p->queue->qid) * (comes ? 1 : UINT64_MAX);
    c->sum += h;
    c->epochs += h * meta_digest_of_epoch(meta_placed_epoch(p, c));
    c->vers += h * meta_digest_of_ver(meta_placed_ver(p, c));
}

static void placed_free(struct meta *m, const struct meta_placed *p)
{
    pmap_edit_drop(&m->edit, p, sizeof *p, 0);
}

/* The queue's entry in `placed` still says that it is there. */
static void leave_cohort(struct meta *m, const struct meta_placed *p)
{
    struct meta_cohort *c = cohort_own(m, meta_cohort_get(&m->draft, p->cohort));
    uint64_t qid = p->queue->qid;
    tally(m, c, -1);
    m->draft.things -= share(c);
    count_queue(c, p, false);
    m->draft.things += share(c);
    const void *gone =
        pmap_del(&c->queues, &m->kinds.placed, &m->edit, meta_hash_id(&m->kinds.placed, qid), &qid);
    CHECK(gone == p);
    drop_if_empty(m, c);
}

void meta_placed_put(struct meta *m, const struct meta_queue *q, const struct meta_record *r,
                     uint64_t epoch, uint64_t ver)
{
    CHECK(r->count != 0 && r->replicas[0].inc != 0 && epoch <= ver && ver != 0);
    struct meta_placed *p = pmap_edit_alloc(&m->edit, sizeof *p);
    const struct meta_placed *old = meta_placed_get(&m->draft, q->qid);
    if (old != NULL)
        leave_cohort(m, old);
    else
        meta_home_leave(m, q);
    struct meta_cohort *c = cohort_for(m, r);
    *p = (struct meta_placed){ .queue = q, .epoch = epoch, .ver = ver, .cohort = c->id };
    pmap_set(&m->draft.placed, &m->kinds.placed, &m->edit, p);
    pmap_set(&c->queues, &m->kinds.placed, &m->edit, p);
    m->draft.things -= share(c);
    count_queue(c, p, true);
    m->draft.things += share(c);
    tally(m, c, 1);
    if (old != NULL)
        placed_free(m, old);
}

void meta_placed_remove(struct meta *m, const struct meta_placed *p)
{
    uint64_t qid = p->queue->qid;
    leave_cohort(m, p);
    pmap_del(&m->draft.placed, &m->kinds.placed, &m->edit, meta_hash_id(&m->kinds.placed, qid),
             &qid);
    placed_free(m, p);
}

/* ---- changes by an entry ---- */

/* Where the rules are told that a mutation breaks: an epoch, or a ver, is the entry's index. */
static uint64_t epoch_now(const struct meta *m, uint64_t before, uint8_t how)
{
    if ((how & META_HOW_MASTER) == 0)
        return before;
    return MUTATION(META_EPOCH_COUNTS) ? before + 1 : m->draft.index;
}

/* Whether a queue can be served is for its master to say, and for nobody else that has it. */
static void tell(struct meta *m, struct meta_effect *e, const struct meta_record *was,
                 const struct meta_record *is, uint8_t how, struct meta_result *out)
{
    m->queues_changed = m->queues_changed || (how & META_HOW_MASTER) != 0;
    e->how = how;
    e->node = is->replicas[0].node;
    e->node_was = was->replicas[0].node;
    e->was = meta_record_role(was, m->self);
    e->is = meta_record_role(is, m->self);
    meta_tell(out, e);
}

void meta_placed_change(struct meta *m, const struct meta_queue *q, const struct meta_record *r,
                        uint8_t how, struct meta_result *out)
{
    struct meta_record was;
    meta_record_of(&m->draft, q, &was);
    meta_placed_put(m, q, r, epoch_now(m, meta_queue_epoch(&m->draft, q), how), m->draft.index);
    struct meta_effect e = { .kind = META_QUEUE_PLACED,
                             .shard = q->shard,
                             .qid = q->qid,
                             .vhost_id = q->vhost_id,
                             .queue = q };
    tell(m, &e, &was, r, how, out);
}

void meta_cohort_change(struct meta *m, const struct meta_cohort *old, const struct meta_record *r,
                        uint8_t how, struct meta_result *out)
{
    struct meta_record was;
    int64_t queues = (int64_t)old->queues.count;
    meta_record_of_cohort(old, &was);
    CHECK(how != 0 && r->replicas[0].inc != 0);
    struct meta_cohort *c = cohort_make(m, r);
    c->id = old->id;
    c->queues = old->queues;
    c->sum = old->sum;
    c->ver = m->draft.index;
    c->vers = c->sum * meta_digest_of_ver(c->ver);
    c->epoch = epoch_now(m, old->epoch, how);
    c->epochs = c->epoch != old->epoch ? c->sum * meta_digest_of_epoch(c->epoch) : old->epochs;
    m->draft.damaged += is_damaged(c);
    m->draft.damaged -= is_damaged(old);
    m->draft.things += share(c) - share(old);
    tally(m, old, -queues);
    tally(m, c, queues);
    forget_record(m, old);
    cohort_show(m, c);
    cohort_free(m, old);
    struct meta_effect e = { .kind = META_COHORT_PLACED,
                             .cohort = c->id,
                             .count = (uint64_t)queues };
    tell(m, &e, &was, r, how, out);
}

/* ---- the end ---- */

void meta_cohorts_drop(struct meta *m)
{
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.placed);
    for (const struct meta_placed *p; (p = pmap_next(&it)) != NULL;)
        placed_free(m, p);
    pmap_iter(&it, &m->draft.cohorts);
    for (const struct meta_cohort *c; (c = pmap_next(&it)) != NULL;) {
        struct pmap queues = c->queues;
        m->draft.things -= share(c);
        pmap_clear(&queues, &m->edit);
        cohort_free(m, c);
    }
    pmap_clear(&m->draft.placed, &m->edit);
    pmap_clear(&m->draft.records, &m->edit);
    pmap_clear(&m->draft.cohorts, &m->edit);
}
