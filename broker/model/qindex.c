#include "model/qindex.h"

#include "base/check.h"
#include "base/mem.h"

/* Small enough to be made anew whenever an empty queue gets a message: a million queues that were
 * used once must not hold a chunk each. */
#define CHUNK_ENTRIES 64u
#define RING_FIRST    4u

/* So many requeued ones are freed by the purge itself. */
#define PURGE_AT_ONCE 256u

struct qchunk {
    uint32_t live;
    uint64_t *expires_ms; /* of each entry; NULL: none expires */
    struct qentry entries[CHUNK_ENTRIES];
};

/* What a purge took away: whole chunks, and positions in chunks that stay. */
struct qgrave {
    struct qgrave *next;
    struct qchunk **chunks;
    size_t chunk_count;
    struct heap returned;
};

void qindex_init(struct qindex *ix, struct qcounts *counts)
{
    *ix = (struct qindex){ .counts = counts };
    heap_init(&ix->returned);
}

static void add(struct qcount *c, const struct message *m)
{
    c->count++;
    c->bytes += m->body_bytes;
    if (m->persistent) {
        c->persistent++;
        c->persistent_bytes += m->body_bytes;
    }
}

static void subtract(struct qcount *c, const struct message *m)
{
    c->count--;
    c->bytes -= m->body_bytes;
    if (m->persistent) {
        c->persistent--;
        c->persistent_bytes -= m->body_bytes;
    }
}

/* ---- chunks -----------------------------------------------------------------------------------
 */

static struct qchunk **chunk_at(const struct qindex *ix, size_t index)
{
    return &ix->chunks[(ix->head + index) & (ix->cap - 1)];
}

static void grow(struct qindex *ix)
{
    size_t cap = ix->cap != 0 ? ix->cap * 2 : RING_FIRST;
    struct qchunk **chunks = mem_array(cap, sizeof(struct qchunk *));
    for (size_t i = 0; i < ix->count; i++)
        chunks[i] = *chunk_at(ix, i);
    mem_free(ix->chunks);
    ix->chunks = chunks;
    ix->cap = cap;
    ix->head = 0;
}

static struct qchunk *find_chunk(const struct qindex *ix, uint64_t qseq)
{
    uint64_t number = qseq / CHUNK_ENTRIES;
    if (number < ix->first_chunk || number - ix->first_chunk >= ix->count)
        return NULL;
    return *chunk_at(ix, (size_t)(number - ix->first_chunk));
}

static struct qentry *find_entry(const struct qindex *ix, uint64_t qseq)
{
    struct qchunk *c = find_chunk(ix, qseq);
    return c != NULL ? &c->entries[qseq % CHUNK_ENTRIES] : NULL;
}

static struct qchunk *chunk_for_new(struct qindex *ix)
{
    uint64_t number = ix->next_new / CHUNK_ENTRIES;
    if (ix->count == 0)
        ix->first_chunk = number;
    if (number - ix->first_chunk < ix->count && *chunk_at(ix, ix->count - 1) != NULL)
        return *chunk_at(ix, ix->count - 1);
    if (ix->count == ix->cap)
        grow(ix);
    struct qchunk *c = mem_zalloc(sizeof *c);
    *chunk_at(ix, ix->count) = c;
    ix->count++;
    return c;
}

static void free_chunk(struct qchunk *c)
{
    mem_free(c->expires_ms);
    mem_free(c);
}

/* Gone chunks at the front, and a ring that is empty but large, hold no memory. */
static void trim(struct qindex *ix)
{
    while (ix->count != 0 && *chunk_at(ix, 0) == NULL) {
        ix->head = (ix->head + 1) & (ix->cap - 1);
        ix->first_chunk++;
        ix->count--;
    }
    if (ix->count != 0 || ix->cap <= RING_FIRST)
        return;
    mem_free(ix->chunks);
    ix->chunks = NULL;
    ix->cap = 0;
    ix->head = 0;
}

static void drop_chunk(struct qindex *ix, uint64_t number)
{
    struct qchunk **place = chunk_at(ix, (size_t)(number - ix->first_chunk));
    free_chunk(*place);
    *place = NULL;
    trim(ix);
}

/* A chunk without entries goes; the one that the next message goes into only with the last message
 * of all. */
static void drop_entry(struct qindex *ix, uint64_t qseq)
{
    uint64_t number = qseq / CHUNK_ENTRIES;
    struct qchunk *c = find_chunk(ix, qseq);
    c->entries[qseq % CHUNK_ENTRIES] = (struct qentry){ 0 };
    c->live--;
    ix->live--;
    if (c->live == 0 && number != ix->next_new / CHUNK_ENTRIES)
        drop_chunk(ix, number);
    if (ix->live == 0 && ix->count != 0)
        drop_chunk(ix, ix->first_chunk);
}

/* ---- messages come and go
 * -------------------------------------------------------------------------- */

static uint64_t append(struct qindex *ix, struct message **m, enum qentry_state state,
                       uint64_t expires_ms)
{
    CHECK(*m != NULL);
    struct qchunk *c = chunk_for_new(ix);
    uint64_t qseq = ix->next_new++;
    c->entries[qseq % CHUNK_ENTRIES] = (struct qentry){ .message = *m, .state = (uint8_t)state };
    if (expires_ms != 0 && c->expires_ms == NULL)
        c->expires_ms = mem_array(CHUNK_ENTRIES, sizeof *c->expires_ms);
    if (c->expires_ms != NULL)
        c->expires_ms[qseq % CHUNK_ENTRIES] = expires_ms;
    c->live++;
    ix->live++;
    *m = NULL;
    return qseq;
}

uint64_t qindex_push(struct qindex *ix, struct message **m, uint64_t expires_ms)
{
    add(&ix->counts->ready, *m);
    return append(ix, m, QENTRY_READY, expires_ms);
}

uint64_t qindex_push_out(struct qindex *ix, struct message **m, uint64_t expires_ms)
{
    CHECK(qindex_ready(ix) == 0);
    add(&ix->counts->out, *m);
    uint64_t qseq = append(ix, m, QENTRY_OUT, expires_ms);
    ix->next_fresh = qseq + 1;
    return qseq;
}

/* Returned positions are all below next_fresh, so they come first. */
struct qentry *qindex_peek(const struct qindex *ix, uint64_t *qseq)
{
    if (qindex_ready(ix) == 0)
        return NULL;
    const struct heap_item *back = heap_min(&ix->returned);
    *qseq = back != NULL ? back->key : ix->next_fresh;
    struct qentry *e = find_entry(ix, *qseq);
    CHECK(e != NULL && e->state == QENTRY_READY);
    return e;
}

struct qentry *qindex_take(struct qindex *ix, uint64_t *qseq)
{
    struct qentry *e = qindex_peek(ix, qseq);
    CHECK(e != NULL);
    if (*qseq < ix->next_fresh)
        heap_pop(&ix->returned);
    else
        ix->next_fresh++;
    e->state = (uint8_t)QENTRY_OUT;
    subtract(&ix->counts->ready, e->message);
    add(&ix->counts->out, e->message);
    return e;
}

struct qentry *qindex_out(const struct qindex *ix, uint64_t qseq)
{
    struct qentry *e = find_entry(ix, qseq);
    return e != NULL && e->state == QENTRY_OUT ? e : NULL;
}

uint64_t qindex_expires_ms(const struct qindex *ix, uint64_t qseq)
{
    const struct qchunk *c = find_chunk(ix, qseq);
    return c != NULL && c->expires_ms != NULL ? c->expires_ms[qseq % CHUNK_ENTRIES] : 0;
}

struct message *qindex_settle(struct qindex *ix, uint64_t qseq)
{
    const struct qentry *e = qindex_out(ix, qseq);
    if (UNLIKELY(e == NULL))
        return NULL;
    struct message *m = e->message;
    subtract(&ix->counts->out, m);
    drop_entry(ix, qseq);
    return m;
}

struct qentry qindex_shift(struct qindex *ix)
{
    uint64_t qseq;
    const struct qentry *e = qindex_peek(ix, &qseq);
    CHECK(e != NULL);
    struct qentry was = *e;
    if (UNLIKELY(qseq < ix->next_fresh))
        heap_pop(&ix->returned);
    else
        ix->next_fresh++;
    subtract(&ix->counts->ready, was.message);
    drop_entry(ix, qseq);
    return was;
}

void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered)
{
    struct qentry *e = qindex_out(ix, qseq);
    CHECK(e != NULL);
    e->state = QENTRY_READY;
    e->redelivered = e->redelivered || redelivered;
    e->returns += redelivered;
    subtract(&ix->counts->out, e->message);
    add(&ix->counts->ready, e->message);
    heap_push(&ix->returned, qseq, 0);
}

void qindex_requeue_last(struct qindex *ix, uint64_t qseq)
{
    const struct qentry *e = qindex_out(ix, qseq);
    CHECK(e != NULL);
    struct qentry was = *e;
    uint64_t expires_ms = qindex_expires_ms(ix, qseq);
    subtract(&ix->counts->out, was.message);
    drop_entry(ix, qseq);
    struct qentry *now = find_entry(ix, qindex_push(ix, &was.message, expires_ms));
    now->redelivered = true;
    now->returns = was.returns + 1;
}

/* ---- purging ----------------------------------------------------------------------------------
 */

/* The next ready one. */
static void free_next(struct qindex *ix, qindex_fn each, void *arg)
{
    each(qindex_shift(ix).message, arg);
}

/* Chunks that hold nothing but what was never out are unhooked: all behind the one that next_fresh
 * is in, up to the one that is being filled. */
static void bury_chunks(struct qindex *ix, struct qgrave *g)
{
    uint64_t from = (ix->next_fresh + CHUNK_ENTRIES - 1) / CHUNK_ENTRIES;
    uint64_t to = ix->next_new / CHUNK_ENTRIES;
    if (from >= to)
        return;
    g->chunk_count = (size_t)(to - from);
    g->chunks = mem_array(g->chunk_count, sizeof(struct qchunk *));
    for (size_t i = 0; i < g->chunk_count; i++) {
        struct qchunk **place = chunk_at(ix, (size_t)(from - ix->first_chunk) + i);
        g->chunks[i] = *place;
        *place = NULL;
    }
    ix->live -= (uint64_t)g->chunk_count * CHUNK_ENTRIES;
}

uint64_t qindex_purge(struct qindex *ix, qindex_fn each, void *arg)
{
    uint64_t purged = qindex_ready(ix);
    if (purged == 0)
        return 0;
    struct qgrave *g = mem_zalloc(sizeof *g);
    if (ix->returned.count > PURGE_AT_ONCE) {
        g->returned = ix->returned;
        heap_init(&ix->returned);
    }
    while (ix->returned.count != 0)
        free_next(ix, each, arg);
    uint64_t whole = (ix->next_fresh + CHUNK_ENTRIES - 1) / CHUNK_ENTRIES * CHUNK_ENTRIES;
    uint64_t last = ix->next_new / CHUNK_ENTRIES * CHUNK_ENTRIES;
    while (ix->next_fresh < ix->next_new && ix->next_fresh < whole)
        free_next(ix, each, arg);
    bury_chunks(ix, g);
    trim(ix);
    if (ix->next_fresh < last)
        ix->next_fresh = last;
    while (ix->next_fresh < ix->next_new)
        free_next(ix, each, arg);
    g->next = ix->graves;
    ix->graves = g;
    return purged;
}

/* Its entries in use; false when the budget is used up. */
static void free_entries(struct qchunk *c, size_t *budget, qindex_fn each, void *arg)
{
    for (size_t n = 0; n < CHUNK_ENTRIES; n++) {
        if (c->entries[n].state != QENTRY_NONE)
            each(c->entries[n].message, arg);
    }
    *budget -= *budget < CHUNK_ENTRIES ? *budget : CHUNK_ENTRIES;
    free_chunk(c);
}

static bool sweep_grave(struct qindex *ix, struct qgrave *g, size_t *budget, qindex_fn each,
                        void *arg)
{
    for (; g->chunk_count != 0 && *budget != 0; g->chunk_count--)
        free_entries(g->chunks[g->chunk_count - 1], budget, each, arg);
    for (; g->returned.count != 0 && *budget != 0; --*budget) {
        uint64_t qseq = g->returned.items[--g->returned.count].key;
        struct message *m = find_entry(ix, qseq)->message;
        drop_entry(ix, qseq);
        each(m, arg);
    }
    return g->chunk_count == 0 && g->returned.count == 0;
}

bool qindex_sweep(struct qindex *ix, size_t *budget, qindex_fn each, void *arg)
{
    struct qgrave *g;
    while ((g = ix->graves) != NULL) {
        if (!sweep_grave(ix, g, budget, each, arg))
            return false;
        ix->graves = g->next;
        mem_free(g->chunks);
        heap_fini(&g->returned);
        mem_free(g);
    }
    return true;
}

bool qindex_fini(struct qindex *ix, size_t *budget, qindex_fn each, void *arg)
{
    if (!qindex_sweep(ix, budget, each, arg))
        return false;
    for (trim(ix); ix->count != 0; trim(ix)) {
        if (*budget == 0)
            return false;
        free_entries(*chunk_at(ix, 0), budget, each, arg);
        *chunk_at(ix, 0) = NULL;
    }
    mem_free(ix->chunks);
    heap_fini(&ix->returned);
    qindex_init(ix, ix->counts);
    return true;
}
