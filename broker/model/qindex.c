#include "model/qindex.h"

#include "base/check.h"
#include "base/mem.h"

/* Small enough to be made anew whenever an empty queue gets a message: a million queues that were
 * used once must not hold a chunk each. */
#define CHUNK_ENTRIES 64u

struct qchunk {
    uint32_t live;
    struct qentry entries[CHUNK_ENTRIES];
};

void qindex_init(struct qindex *ix)
{
    *ix = (struct qindex){ 0 };
    heap_init(&ix->returned);
}

static struct qchunk **chunk_at(const struct qindex *ix, size_t index)
{
    return &ix->chunks[(ix->head + index) & (ix->cap - 1)];
}

static void grow(struct qindex *ix)
{
    size_t cap = ix->cap != 0 ? ix->cap * 2 : 4;
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
    if (number - ix->first_chunk < ix->count)
        return *chunk_at(ix, (size_t)(number - ix->first_chunk));
    if (ix->count == ix->cap)
        grow(ix);
    struct qchunk *c = mem_zalloc(sizeof *c);
    *chunk_at(ix, ix->count) = c;
    ix->count++;
    return c;
}

static uint64_t append(struct qindex *ix, struct message **m, enum qentry_state state)
{
    CHECK(*m != NULL);
    struct qchunk *c = chunk_for_new(ix);
    uint64_t qseq = ix->next_new++;
    c->entries[qseq % CHUNK_ENTRIES] = (struct qentry){ .message = *m, .state = (uint8_t)state };
    c->live++;
    *m = NULL;
    return qseq;
}

static void forget_memory(struct qindex *ix)
{
    mem_free(ix->chunks);
    ix->chunks = NULL;
    ix->cap = 0;
    ix->head = 0;
    ix->count = 0;
    heap_fini(&ix->returned);
}

static void drop_chunk(struct qindex *ix, uint64_t number)
{
    struct qchunk **place = chunk_at(ix, (size_t)(number - ix->first_chunk));
    mem_free(*place);
    *place = NULL;
    while (ix->count != 0 && *chunk_at(ix, 0) == NULL) {
        ix->head = (ix->head + 1) & (ix->cap - 1);
        ix->first_chunk++;
        ix->count--;
    }
}

/* A chunk without entries goes; the one that the next message goes into only with the last message
 * of all. */
static void drop_entry(struct qindex *ix, uint64_t qseq)
{
    uint64_t number = qseq / CHUNK_ENTRIES;
    struct qchunk *c = find_chunk(ix, qseq);
    c->entries[qseq % CHUNK_ENTRIES] = (struct qentry){ 0 };
    c->live--;
    if (c->live == 0 && number != ix->next_new / CHUNK_ENTRIES)
        drop_chunk(ix, number);
    if (ix->ready_count + ix->out_count == 0 && ix->count != 0)
        drop_chunk(ix, ix->first_chunk);
}

uint64_t qindex_push(struct qindex *ix, struct message **m)
{
    ix->ready_count++;
    ix->ready_bytes += (*m)->body_bytes;
    return append(ix, m, QENTRY_READY);
}

uint64_t qindex_push_out(struct qindex *ix, struct message **m)
{
    CHECK(ix->ready_count == 0);
    ix->out_count++;
    ix->out_bytes += (*m)->body_bytes;
    uint64_t qseq = append(ix, m, QENTRY_OUT);
    ix->next_fresh = qseq + 1;
    return qseq;
}

/* Returned positions are all below next_fresh, so they come first. */
struct qentry *qindex_peek(struct qindex *ix, uint64_t *qseq)
{
    if (ix->ready_count == 0)
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
    ix->ready_count--;
    ix->out_count++;
    ix->ready_bytes -= e->message->body_bytes;
    ix->out_bytes += e->message->body_bytes;
    return e;
}

struct qentry *qindex_out(struct qindex *ix, uint64_t qseq)
{
    struct qentry *e = find_entry(ix, qseq);
    return e != NULL && e->state == QENTRY_OUT ? e : NULL;
}

struct message *qindex_settle(struct qindex *ix, uint64_t qseq)
{
    struct qentry *e = qindex_out(ix, qseq);
    CHECK(e != NULL);
    struct message *m = e->message;
    ix->out_count--;
    ix->out_bytes -= m->body_bytes;
    drop_entry(ix, qseq);
    return m;
}

void qindex_requeue(struct qindex *ix, uint64_t qseq, bool redelivered)
{
    struct qentry *e = qindex_out(ix, qseq);
    CHECK(e != NULL);
    e->state = QENTRY_READY;
    e->redelivered = e->redelivered || redelivered;
    ix->out_count--;
    ix->ready_count++;
    ix->out_bytes -= e->message->body_bytes;
    ix->ready_bytes += e->message->body_bytes;
    heap_push(&ix->returned, qseq, 0);
}

uint64_t qindex_purge(struct qindex *ix, qindex_fn each, void *arg)
{
    uint64_t n = 0;
    uint64_t qseq;
    while (ix->ready_count != 0) {
        qindex_take(ix, &qseq);
        each(qindex_settle(ix, qseq), arg);
        n++;
    }
    return n;
}

void qindex_fini(struct qindex *ix, qindex_fn each, void *arg)
{
    for (size_t i = 0; i < ix->count; i++) {
        struct qchunk *c = *chunk_at(ix, i);
        for (size_t n = 0; c != NULL && n < CHUNK_ENTRIES; n++) {
            if (c->entries[n].state != QENTRY_NONE)
                each(c->entries[n].message, arg);
        }
        mem_free(c);
    }
    forget_memory(ix);
    ix->ready_count = ix->out_count = 0;
    ix->ready_bytes = ix->out_bytes = 0;
}
