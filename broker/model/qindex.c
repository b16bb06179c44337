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
    uint32_t *returns;    /* the same; NULL: none came back */
    struct qentry entries[CHUNK_ENTRIES];
};

/* What a purge took away: whole chunks, and positions in chunks that stay. */
struct qgrave {
    struct qgrave *next;
    struct qchunk **chunks;
    size_t chunk_count;
    struct heap returned;
};

void qindex_init(struct qindex *ix, struct qcounts *counts, uint64_t base)
{
    *ix = (struct qindex){ .counts = counts, .base = base };
    heap_init(&ix->returned);
}

static void add(struct qcount *c, const struct qentry *e)
{
    uint64_t bytes = qentry_body_bytes(e);
    c->count++;
    c->bytes += bytes;
    if (e->persistent) {
        c->persistent++;
        c->persistent_bytes += bytes;
    }
}

static void subtract(struct qcount *c, const struct qentry *e)
{
    uint64_t bytes = qentry_body_bytes(e);
    c->count--;
    c->bytes -= bytes;
    if (e->persistent) {
        c->persistent--;
        c->persistent_bytes -= bytes;
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
    mem_free(c->returns);
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
    if (UNLIKELY(c->returns != NULL))
        c->returns[qseq % CHUNK_ENTRIES] = 0;
    c->live--;
    ix->live--;
    if (c->live == 0 && number != ix->next_new / CHUNK_ENTRIES)
        drop_chunk(ix, number);
    if (ix->live == 0 && ix->count != 0)
        drop_chunk(ix, ix->first_chunk);
}

/* ---- messages come and go
 * -------------------------------------------------------------------------- */

static uint64_t append(struct qindex *ix, struct qcount *count, struct message **m,
                       enum qentry_state state, uint64_t expires_ms)
{
    CHECK(*m != NULL);
    struct qchunk *c = chunk_for_new(ix);
    uint64_t qseq = ix->next_new++;
    struct qentry *e = &c->entries[qseq % CHUNK_ENTRIES];
    *e = (struct qentry){ .message = *m, .state = state, .persistent = (*m)->persistent };
    add(count, e);
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
    return append(ix, &ix->counts->ready, m, QENTRY_READY, expires_ms);
}

uint64_t qindex_push_out(struct qindex *ix, struct message **m, uint64_t expires_ms)
{
    CHECK(qindex_ready(ix) == 0);
    uint64_t qseq = append(ix, &ix->counts->out, m, QENTRY_OUT, expires_ms);
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
    e->state = QENTRY_OUT;
    subtract(&ix->counts->ready, e);
    add(&ix->counts->out, e);
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

uint32_t qindex_returns(const struct qindex *ix, uint64_t qseq)
{
    const struct qchunk *c = find_chunk(ix, qseq);
    return c != NULL && c->returns != NULL ? c->returns[qseq % CHUNK_ENTRIES] : 0;
}

void qindex_set_returns(struct qindex *ix, uint64_t qseq, uint32_t returns)
{
    struct qchunk *c = find_chunk(ix, qseq);
    if (c->returns == NULL)
        c->returns = mem_array(CHUNK_ENTRIES, sizeof *c->returns);
    c->returns[qseq % CHUNK_ENTRIES] = returns;
}

const struct qentry *qindex_set_place(struct qindex *ix, uint64_t qseq, struct place place)
{
    struct qentry *e = find_entry(ix, qseq);
    if (e == NULL || e->state == QENTRY_NONE)
        return NULL;
    e->seg = place.seg;
    e->offset8 = place.offset / PLACE_ALIGN & (((uint32_t)1 << 27) - 1);
    return e;
}

struct qentry qindex_settle(struct qindex *ix, uint64_t qseq)
{
    const struct qentry *e = qindex_out(ix, qseq);
    if (UNLIKELY(e == NULL))
        return (struct qentry){ .state = QENTRY_NONE };
    struct qentry was = *e;
    subtract(&ix->counts->out, &was);
    drop_entry(ix, qseq);
    return was;
}

struct qentry qindex_shift(struct qindex *ix, uint64_t *qseq)
{
    const struct qentry *e = qindex_peek(ix, qseq);
    CHECK(e != NULL);
    struct qentry was = *e;
    if (UNLIKELY(*qseq < ix->next_fresh))
        heap_pop(&ix->returned);
    else
        ix->next_fresh++;
    subtract(&ix->counts->ready, &was);
    drop_entry(ix, *qseq);
    return was;
}

void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered)
{
    struct qentry *e = qindex_out(ix, qseq);
    CHECK(e != NULL);
    e->state = QENTRY_READY;
    e->redelivered = e->redelivered || redelivered;
    subtract(&ix->counts->out, e);
    add(&ix->counts->ready, e);
    heap_push(&ix->returned, qseq, 0);
}

uint64_t qindex_requeue_last(struct qindex *ix, uint64_t qseq)
{
    uint32_t returns = qindex_returns(ix, qseq);
    uint64_t expires_ms = qindex_expires_ms(ix, qseq);
    struct qentry was = qindex_settle(ix, qseq);
    CHECK(was.state == QENTRY_OUT);
    uint64_t now = qindex_push(ix, &was.message, expires_ms);
    find_entry(ix, now)->redelivered = true;
    if (returns != 0)
        qindex_set_returns(ix, now, returns);
    return now;
}

/* ---- purging ----------------------------------------------------------------------------------
 */

/* The next ready one. */
static void free_next(struct qindex *ix, const struct qsink *to)
{
    uint64_t qseq;
    struct qentry was = qindex_shift(ix, &qseq);
    to->entry(&was, to->arg);
}

static void tell_gone(const struct qindex *ix, const struct qsink *to, uint64_t first,
                      uint64_t last)
{
    to->range(ix->base + first, ix->base + last, to->arg);
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

uint64_t qindex_purge(struct qindex *ix, const struct qsink *to)
{
    uint64_t purged = qindex_ready(ix);
    if (purged == 0)
        return 0;
    struct qgrave *g = mem_zalloc(sizeof *g);
    if (ix->returned.count > PURGE_AT_ONCE) {
        g->returned = ix->returned;
        heap_init(&ix->returned);
    }
    while (ix->returned.count != 0) {
        uint64_t qseq = heap_min(&ix->returned)->key;
        tell_gone(ix, to, qseq, qseq);
        free_next(ix, to);
    }
    if (ix->next_fresh < ix->next_new)
        tell_gone(ix, to, ix->next_fresh, ix->next_new - 1);
    uint64_t whole = (ix->next_fresh + CHUNK_ENTRIES - 1) / CHUNK_ENTRIES * CHUNK_ENTRIES;
    uint64_t last = ix->next_new / CHUNK_ENTRIES * CHUNK_ENTRIES;
    while (ix->next_fresh < ix->next_new && ix->next_fresh < whole)
        free_next(ix, to);
    bury_chunks(ix, g);
    trim(ix);
    if (ix->next_fresh < last)
        ix->next_fresh = last;
    while (ix->next_fresh < ix->next_new)
        free_next(ix, to);
    g->next = ix->graves;
    ix->graves = g;
    return purged;
}

/* Its entries in use; false when the budget is used up. */
static void free_entries(struct qchunk *c, size_t *budget, const struct qsink *to)
{
    for (size_t n = 0; n < CHUNK_ENTRIES; n++) {
        if (c->entries[n].state != QENTRY_NONE)
            to->entry(&c->entries[n], to->arg);
    }
    *budget -= *budget < CHUNK_ENTRIES ? *budget : CHUNK_ENTRIES;
    free_chunk(c);
}

static bool sweep_grave(struct qindex *ix, struct qgrave *g, size_t *budget, const struct qsink *to)
{
    for (; g->chunk_count != 0 && *budget != 0; g->chunk_count--)
        free_entries(g->chunks[g->chunk_count - 1], budget, to);
    for (; g->returned.count != 0 && *budget != 0; --*budget) {
        uint64_t qseq = g->returned.items[--g->returned.count].key;
        struct qentry was = *find_entry(ix, qseq);
        drop_entry(ix, qseq);
        tell_gone(ix, to, qseq, qseq);
        to->entry(&was, to->arg);
    }
    return g->chunk_count == 0 && g->returned.count == 0;
}

bool qindex_sweep(struct qindex *ix, size_t *budget, const struct qsink *to)
{
    struct qgrave *g;
    while ((g = ix->graves) != NULL) {
        if (!sweep_grave(ix, g, budget, to))
            return false;
        ix->graves = g->next;
        mem_free(g->chunks);
        heap_fini(&g->returned);
        mem_free(g);
    }
    return true;
}

bool qindex_fini(struct qindex *ix, size_t *budget, const struct qsink *to)
{
    if (!qindex_sweep(ix, budget, to))
        return false;
    for (trim(ix); ix->count != 0; trim(ix)) {
        if (*budget == 0)
            return false;
        free_entries(*chunk_at(ix, 0), budget, to);
        *chunk_at(ix, 0) = NULL;
    }
    mem_free(ix->chunks);
    heap_fini(&ix->returned);
    qindex_init(ix, ix->counts, ix->base);
    return true;
}
