#include "model/qindex.h"

#include "base/check.h"
#include "base/mem.h"

/* So many requeued ones are freed by the purge itself. */
#define PURGE_AT_ONCE 256u

/* What a purge took away: whole chunks, runs, and positions in chunks that stay. */
struct qgrave {
    struct qgrave *next;
    struct qchunk **chunks;
    size_t chunk_count;
    struct qruns runs;
    struct heap returned;
};

void qindex_init(struct qindex *ix, struct qcounts *counts, uint64_t base)
{
    *ix = (struct qindex){ .counts = counts, .base = base };
    heap_init(&ix->returned);
}

struct qaway *qindex_away(struct qindex *ix)
{
    if (ix->away == NULL) {
        ix->away = mem_zalloc(sizeof *ix->away);
        ix->away->first = UINT64_MAX;
    }
    return ix->away;
}

/* ---- counting ---------------------------------------------------------------------------------
 */

static inline void add(struct qcount *c, const struct qentry *e, uint64_t bytes)
{
    c->count++;
    c->bytes += bytes;
    if (e->persistent) {
        c->persistent++;
        c->persistent_bytes += bytes;
    }
}

static inline void subtract(struct qcount *c, const struct qentry *e, uint64_t bytes)
{
    c->count--;
    c->bytes -= bytes;
    if (e->persistent) {
        c->persistent--;
        c->persistent_bytes -= bytes;
    }
}

void qcount_add(struct qcount *c, const struct qentry *e)
{
    add(c, e, qentry_body_bytes(e));
}

void qcount_subtract(struct qcount *c, const struct qentry *e)
{
    subtract(c, e, qentry_body_bytes(e));
}

void qcount_add_run(struct qcount *c, const struct qrun *r)
{
    c->count += r->count;
    c->bytes += r->body_bytes;
    c->persistent += r->persistent_count;
    c->persistent_bytes += r->persistent_bytes;
}

void qcount_subtract_run(struct qcount *c, const struct qrun *r)
{
    c->count -= r->count;
    c->bytes -= r->body_bytes;
    c->persistent -= r->persistent_count;
    c->persistent_bytes -= r->persistent_bytes;
}

/* ---- entries ----------------------------------------------------------------------------------
 */

static struct qchunk *find_chunk(const struct qindex *ix, uint64_t qseq)
{
    return qchunks_find(&ix->chunks, qseq / QCHUNK_ENTRIES);
}

static struct qentry *find_entry(const struct qindex *ix, uint64_t qseq)
{
    struct qchunk *c = find_chunk(ix, qseq);
    return c != NULL ? &c->entries[qseq % QCHUNK_ENTRIES] : NULL;
}

struct qentry *qindex_entry(const struct qindex *ix, uint64_t qseq)
{
    struct qentry *e = find_entry(ix, qseq);
    return e != NULL && e->state != QENTRY_NONE ? e : NULL;
}

static struct qchunk *chunk_for_new(struct qindex *ix)
{
    uint64_t number = ix->next_new / QCHUNK_ENTRIES;
    struct qchunk *c = qchunks_find(&ix->chunks, number);
    return LIKELY(c != NULL) ? c : qchunks_add(&ix->chunks, number);
}

/* The chunk that the entry of this position is in. */
static struct qchunk *chunk_of(struct qentry *e, uint64_t qseq)
{
    return CONTAINER_OF(e - qseq % QCHUNK_ENTRIES, struct qchunk, entries[0]);
}

/* A chunk without entries goes; the one that the next message goes into only with the last message
 * of all. */
static void drop_entry(struct qindex *ix, struct qentry *e, uint64_t qseq)
{
    uint64_t number = qseq / QCHUNK_ENTRIES;
    uint64_t last = ix->next_new / QCHUNK_ENTRIES;
    struct qchunk *c = chunk_of(e, qseq);
    c->absent -= e->absent;
    *e = (struct qentry){ 0 };
    if (UNLIKELY(c->returns != NULL))
        c->returns[qseq % QCHUNK_ENTRIES] = 0;
    c->live--;
    ix->live--;
    if (UNLIKELY(c->live == 0 && number != last))
        qchunks_drop(&ix->chunks, number);
    if (UNLIKELY(ix->live == 0 && ix->chunks.count != 0))
        qchunks_drop(&ix->chunks, last);
}

void qindex_drop(struct qindex *ix, uint64_t qseq)
{
    drop_entry(ix, find_entry(ix, qseq), qseq);
}

/* ---- messages come and go
 * -------------------------------------------------------------------------- */

static uint64_t append(struct qindex *ix, struct qcount *count, struct message **m,
                       enum qentry_state state, uint64_t expires_ms)
{
    CHECK(*m != NULL);
    struct qchunk *c = chunk_for_new(ix);
    uint64_t qseq = ix->next_new++;
    struct qentry *e = &c->entries[qseq % QCHUNK_ENTRIES];
    *e = (struct qentry){ .message = *m, .state = state, .persistent = (*m)->persistent };
    add(count, e, (*m)->body_bytes);
    if (UNLIKELY(expires_ms != 0 || c->expires_ms != NULL))
        qchunk_set_expires(c, qseq % QCHUNK_ENTRIES, expires_ms);
    c->live++;
    ix->live++;
    *m = NULL;
    return qseq;
}

uint64_t qindex_push(struct qindex *ix, struct message **m, uint64_t expires_ms)
{
    ix->ready++;
    return append(ix, &ix->counts->ready, m, QENTRY_READY, expires_ms);
}

uint64_t qindex_push_out(struct qindex *ix, struct message **m, uint64_t expires_ms)
{
    CHECK(ix->ready == 0);
    uint64_t qseq = append(ix, &ix->counts->out, m, QENTRY_OUT, expires_ms);
    ix->next_fresh = qseq + 1;
    return qseq;
}

/* The first position from next_fresh on that is not void, whose entry is *e unless it is in a run.
 * There is one. */
static uint64_t find_fresh(const struct qindex *ix, struct qentry **e)
{
    uint64_t from = ix->next_fresh;
    uint64_t found = UINT64_MAX;
    *e = NULL;
    size_t i = qchunks_lower(&ix->chunks, from / QCHUNK_ENTRIES);
    for (; i < ix->chunks.count && found == UINT64_MAX; i++) {
        const struct qslot *slot = qchunks_at(&ix->chunks, i);
        uint64_t first = slot->number * QCHUNK_ENTRIES;
        for (size_t at = from > first ? (size_t)(from - first) : 0; at < QCHUNK_ENTRIES; at++) {
            if (slot->chunk->entries[at].state == QENTRY_NONE)
                continue;
            found = first + at;
            *e = &slot->chunk->entries[at];
            break;
        }
    }
    if (ix->away != NULL) {
        i = qruns_lower(&ix->away->runs, from);
        if (i < ix->away->runs.count && qruns_at(&ix->away->runs, i)->first < found) {
            *e = NULL;
            uint64_t first = qruns_at(&ix->away->runs, i)->first;
            found = first > from ? first : from;
        }
    }
    CHECK(found != UINT64_MAX);
    return found;
}

/* Returned positions are all below next_fresh, so they come first. */
static inline struct qentry *find_head(const struct qindex *ix, uint64_t *qseq)
{
    const struct heap_item *back = heap_min(&ix->returned);
    *qseq = back != NULL ? back->key : ix->next_fresh;
    struct qentry *e = find_entry(ix, *qseq);
    if (UNLIKELY(e == NULL || e->state != QENTRY_READY)) {
        CHECK(back == NULL);
        *qseq = find_fresh(ix, &e);
    }
    return e;
}

enum qhead qindex_head(const struct qindex *ix, uint64_t *qseq, struct qentry **e)
{
    if (ix->ready == 0)
        return QHEAD_EMPTY;
    *e = find_head(ix, qseq);
    if (UNLIKELY(*e == NULL))
        return QHEAD_IN_RUN;
    return LIKELY(!(*e)->absent) ? QHEAD_HERE : QHEAD_ABSENT;
}

/* The one at the head is not ready any more. What somebody else may have been shown says so. */
static inline void advance(struct qindex *ix, struct qentry *e, uint64_t qseq)
{
    if (UNLIKELY(ix->away != NULL && qseq < ix->away->seen))
        e->redelivered = true;
    if (UNLIKELY(qseq < ix->next_fresh))
        heap_pop(&ix->returned);
    else
        ix->next_fresh = qseq + 1;
    ix->ready--;
}

struct qentry *qindex_take(struct qindex *ix, uint64_t *qseq)
{
    CHECK(ix->ready != 0);
    struct qentry *e = find_head(ix, qseq);
    CHECK(e != NULL && !e->absent);
    advance(ix, e, *qseq);
    e->state = QENTRY_OUT;
    subtract(&ix->counts->ready, e, e->message->body_bytes);
    add(&ix->counts->out, e, e->message->body_bytes);
    return e;
}

struct qentry qindex_shift(struct qindex *ix, uint64_t *qseq)
{
    CHECK(ix->ready != 0);
    struct qentry *e = find_head(ix, qseq);
    CHECK(e != NULL);
    advance(ix, e, *qseq);
    const struct qentry was = *e;
    subtract(&ix->counts->ready, &was, qentry_body_bytes(&was));
    if (UNLIKELY(was.absent))
        qcount_subtract(&ix->counts->away, &was);
    drop_entry(ix, e, *qseq);
    return was;
}

struct qentry *qindex_out(const struct qindex *ix, uint64_t qseq)
{
    struct qentry *e = find_entry(ix, qseq);
    return e != NULL && e->state == QENTRY_OUT ? e : NULL;
}

uint64_t qindex_expires_ms(const struct qindex *ix, uint64_t qseq)
{
    const struct qchunk *c = find_chunk(ix, qseq);
    return c != NULL && c->expires_ms != NULL ? c->expires_ms[qseq % QCHUNK_ENTRIES] : 0;
}

uint32_t qindex_returns(const struct qindex *ix, uint64_t qseq)
{
    const struct qchunk *c = find_chunk(ix, qseq);
    return c != NULL && c->returns != NULL ? c->returns[qseq % QCHUNK_ENTRIES] : 0;
}

void qindex_set_returns(struct qindex *ix, uint64_t qseq, uint32_t returns)
{
    qchunk_set_returns(find_chunk(ix, qseq), qseq % QCHUNK_ENTRIES, returns);
}

const struct qentry *qindex_set_place(struct qindex *ix, uint64_t qseq, struct place place)
{
    struct qentry *e = qindex_entry(ix, qseq);
    if (e != NULL)
        qentry_set_place(e, place);
    return e;
}

struct qentry qindex_settle(struct qindex *ix, uint64_t qseq)
{
    struct qentry *e = qindex_out(ix, qseq);
    if (UNLIKELY(e == NULL))
        return (struct qentry){ .state = QENTRY_NONE };
    const struct qentry was = *e;
    subtract(&ix->counts->out, &was, was.message->body_bytes);
    drop_entry(ix, e, qseq);
    return was;
}

void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered)
{
    struct qentry *e = qindex_out(ix, qseq);
    CHECK(e != NULL);
    e->state = QENTRY_READY;
    e->redelivered = e->redelivered || redelivered;
    qcount_subtract(&ix->counts->out, e);
    qcount_add(&ix->counts->ready, e);
    ix->ready++;
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

/* Rare: the heap is made anew without it. */
void qindex_forget_returned(struct qindex *ix, uint64_t qseq)
{
    struct heap old = ix->returned;
    heap_init(&ix->returned);
    for (size_t i = 0; i < old.count; i++) {
        if (old.items[i].key != qseq)
            heap_push(&ix->returned, old.items[i].key, 0);
    }
    heap_fini(&old);
}

/* ---- purging ----------------------------------------------------------------------------------
 */

static void tell_gone(const struct qindex *ix, const struct qsink *to, uint64_t first,
                      uint64_t last)
{
    to->range(ix->base + first, ix->base + last, to->arg);
}

static void free_entry(struct qindex *ix, uint64_t qseq, const struct qsink *to)
{
    struct qentry *e = find_entry(ix, qseq);
    const struct qentry was = *e;
    drop_entry(ix, e, qseq);
    to->entry(&was, to->arg);
}

/* Those of one chunk from this position on. All are ready. */
static void free_part(struct qindex *ix, uint64_t from, const struct qsink *to)
{
    uint64_t end = (from / QCHUNK_ENTRIES + 1) * QCHUNK_ENTRIES;
    for (; from < end; from++) {
        if (qindex_entry(ix, from) != NULL)
            free_entry(ix, from, to);
    }
}

/* Chunks that hold nothing but what was never out are unhooked: all from this number on, but for
 * the one that is being filled. */
static void bury_chunks(struct qindex *ix, struct qgrave *g, uint64_t from)
{
    size_t first = qchunks_lower(&ix->chunks, from);
    size_t end = qchunks_lower(&ix->chunks, ix->next_new / QCHUNK_ENTRIES);
    if (first >= end)
        return;
    g->chunk_count = end - first;
    g->chunks = mem_array(g->chunk_count, sizeof(struct qchunk *));
    for (size_t i = 0; i < g->chunk_count; i++) {
        g->chunks[i] = qchunks_at(&ix->chunks, first + i)->chunk;
        ix->live -= g->chunks[i]->live;
    }
    qchunks_close(&ix->chunks, first, g->chunk_count);
}

static void bury_fresh(struct qindex *ix, struct qgrave *g, const struct qsink *to)
{
    uint64_t from = ix->next_fresh;
    if (from == ix->next_new)
        return;
    tell_gone(ix, to, from, ix->next_new - 1);
    if (ix->away != NULL) {
        g->runs = ix->away->runs;
        ix->away->runs = (struct qruns){ 0 };
    }
    ix->next_fresh = ix->next_new;
    bury_chunks(ix, g, (from + QCHUNK_ENTRIES - 1) / QCHUNK_ENTRIES);
    if (from % QCHUNK_ENTRIES != 0)
        free_part(ix, from, to);
    uint64_t last = ix->next_new / QCHUNK_ENTRIES * QCHUNK_ENTRIES;
    if (last > from)
        free_part(ix, last, to);
    else if (from % QCHUNK_ENTRIES == 0)
        free_part(ix, from, to);
}

uint64_t qindex_purge(struct qindex *ix, const struct qsink *to)
{
    uint64_t purged = ix->ready;
    if (purged == 0)
        return 0;
    struct qgrave *g = mem_zalloc(sizeof *g);
    if (ix->returned.count > PURGE_AT_ONCE) {
        g->returned = ix->returned;
        heap_init(&ix->returned);
    }
    while (ix->returned.count != 0) {
        uint64_t qseq = heap_pop(&ix->returned).key;
        tell_gone(ix, to, qseq, qseq);
        free_entry(ix, qseq, to);
    }
    bury_fresh(ix, g, to);
    ix->ready = 0;
    if (ix->away != NULL)
        ix->away->first = UINT64_MAX;
    g->next = ix->graves;
    ix->graves = g;
    return purged;
}

/* Its entries in use. */
static void free_entries(struct qchunk *c, size_t *budget, const struct qsink *to)
{
    for (size_t n = 0; n < QCHUNK_ENTRIES; n++) {
        if (c->entries[n].state != QENTRY_NONE)
            to->entry(&c->entries[n], to->arg);
    }
    *budget -= *budget < QCHUNK_ENTRIES ? *budget : QCHUNK_ENTRIES;
    qchunk_free(c);
}

/* From the end, which moves nothing. */
static void free_runs(struct qruns *r, size_t *budget, const struct qsink *to)
{
    for (; r->count != 0 && *budget != 0; --*budget) {
        to->run(qruns_at(r, r->count - 1), to->arg);
        r->count--;
    }
    if (r->count == 0)
        qruns_fini(r);
}

static bool sweep_grave(struct qindex *ix, struct qgrave *g, size_t *budget, const struct qsink *to)
{
    for (; g->chunk_count != 0 && *budget != 0; g->chunk_count--)
        free_entries(g->chunks[g->chunk_count - 1], budget, to);
    free_runs(&g->runs, budget, to);
    for (; g->returned.count != 0 && *budget != 0; --*budget) {
        uint64_t qseq = g->returned.items[--g->returned.count].key;
        tell_gone(ix, to, qseq, qseq);
        free_entry(ix, qseq, to);
    }
    return g->chunk_count == 0 && g->runs.count == 0 && g->returned.count == 0;
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
    if (ix->away != NULL)
        free_runs(&ix->away->runs, budget, to);
    while (ix->chunks.count != 0) {
        if (*budget == 0)
            return false;
        free_entries(qchunks_at(&ix->chunks, ix->chunks.count - 1)->chunk, budget, to);
        qchunks_close(&ix->chunks, ix->chunks.count - 1, 1);
    }
    if (ix->away != NULL && ix->away->runs.count != 0)
        return false;
    mem_free(ix->chunks.room);
    mem_free(ix->away);
    heap_fini(&ix->returned);
    qindex_init(ix, ix->counts, ix->base);
    return true;
}
