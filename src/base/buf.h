/*
 * buf: counted blocks of bytes, written once and then shared.
 *
 * The maker fills `data` up to `cap_bytes` and sets `len_bytes`; once a second holder exists
 * nothing below `len_bytes` changes any more (the maker may still append behind it). Any thread
 * may hold, take and drop references; the last one to drop frees the block.
 */
#ifndef WARREN_BUF_H
#define WARREN_BUF_H

#include "base/attr.h"
#include "base/slice.h"

#include <stdatomic.h>

struct buf {
    atomic_uint refs;
    uint32_t cap_bytes;
    uint32_t len_bytes;
    uint8_t data[];
};

/* A new block with one reference, empty. */
struct buf *buf_new(size_t cap_bytes);
struct buf *buf_copy(struct slice bytes);

static inline struct buf *buf_ref(struct buf *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

/* Drop the reference in *b, which becomes NULL. NULL is allowed. */
void buf_unref(struct buf **b);

/* True when the caller's reference is the only one. */
static inline bool buf_is_sole(const struct buf *b)
{
    return atomic_load_explicit(&b->refs, memory_order_acquire) == 1;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){ b->data, b->len_bytes };
}

#endif
