#include "io/outq.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop_event.h"

#include <string.h>

#define SMALL_BYTES ((size_t)16 * 1024) /* so little is not worth holding a whole block for */
#define CAP_KEPT    16                  /* a ring no larger than this is kept when empty */

void outq_init(struct outq *q)
{
    *q = (struct outq){ 0 };
}

static struct outq_piece *piece_at(const struct outq *q, size_t index)
{
    return &q->pieces[(q->head + index) & (q->cap - 1)];
}

static void drop_all(struct outq *q)
{
    for (size_t i = 0; i < q->count; i++)
        buf_unref(&piece_at(q, i)->block);
    q->head = 0;
    q->count = 0;
    q->octets = 0;
}

void outq_fini(struct outq *q)
{
    drop_all(q);
    buf_unref(&q->open_block);
    mem_free(q->pieces);
    outq_init(q);
}

static void grow(struct outq *q)
{
    size_t cap = q->cap != 0 ? q->cap * 2 : 4;
    struct outq_piece *pieces = mem_array(cap, sizeof *pieces);
    for (size_t i = 0; i < q->count; i++)
        pieces[i] = *piece_at(q, i);
    mem_free(q->pieces);
    q->pieces = pieces;
    q->cap = cap;
    q->head = 0;
}

static void push(struct outq *q, struct buf *block, const uint8_t *at, size_t len)
{
    if (q->count == q->cap)
        grow(q);
    q->count++;
    *piece_at(q, q->count - 1) = (struct outq_piece){ buf_ref(block), at, len };
}

/* Octets that follow the last piece in memory make it longer: no new piece, no new reference. */
static void append(struct outq *q, struct buf *block, const uint8_t *at, size_t len)
{
    struct outq_piece *last = q->count != 0 ? piece_at(q, q->count - 1) : NULL;
    if (last != NULL && last->block == block && last->at + last->len == at)
        last->len += len;
    else
        push(q, block, at, len);
    q->octets += len;
}

uint8_t *outq_reserve(struct outq *q, struct loop *loop, size_t n)
{
    CHECK(n <= LOOP_BLOCK_OUT_BYTES);
    if (q->open_block == NULL || q->open_block->cap_bytes - q->open_block->len_bytes < n) {
        buf_unref(&q->open_block);
        q->open_block = loop_block_out(loop);
    }
    return q->open_block->data + q->open_block->len_bytes;
}

void outq_commit(struct outq *q, size_t n)
{
    struct buf *b = q->open_block;
    CHECK(b != NULL && n <= b->cap_bytes - b->len_bytes);
    if (n == 0)
        return;
    append(q, b, b->data + b->len_bytes, n);
    b->len_bytes += (uint32_t)n;
}

void outq_share(struct outq *q, struct buf *block, struct slice octets)
{
    CHECK(octets.ptr >= block->data && octets.ptr + octets.len <= block->data + block->cap_bytes);
    if (octets.len != 0)
        append(q, block, octets.ptr, octets.len);
}

const struct outq_piece *outq_at(const struct outq *q, size_t index)
{
    CHECK(index < q->count);
    return piece_at(q, index);
}

static void let_go(struct outq *q)
{
    buf_unref(&q->open_block);
    q->head = 0;
    if (q->cap > CAP_KEPT) {
        mem_free(q->pieces);
        q->pieces = NULL;
        q->cap = 0;
    }
}

void outq_sent(struct outq *q, size_t n)
{
    CHECK(n <= q->octets);
    q->octets -= n;
    while (n > 0) {
        struct outq_piece *p = piece_at(q, 0);
        if (n < p->len) {
            p->at += n;
            p->len -= n;
            break;
        }
        n -= p->len;
        buf_unref(&p->block);
        q->head = (q->head + 1) & (q->cap - 1);
        q->count--;
    }
    if (q->octets == 0)
        let_go(q);
}

void outq_settle(struct outq *q)
{
    if (q->octets == 0 || q->octets > SMALL_BYTES)
        return;
    struct buf *small = buf_new(q->octets);
    for (size_t i = 0; i < q->count; i++) {
        struct outq_piece *p = piece_at(q, i);
        memcpy(small->data + small->len_bytes, p->at, p->len);
        small->len_bytes += (uint32_t)p->len;
    }
    drop_all(q);
    buf_unref(&q->open_block);
    append(q, small, small->data, small->len_bytes);
    buf_unref(&small);
}
