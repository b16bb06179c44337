#include "base/buf.h"

#include "base/check.h"
#include "base/mem.h"

struct buf *buf_new(size_t cap_bytes)
{
    CHECK(cap_bytes <= UINT32_MAX);
    struct buf *b = mem_alloc(sizeof *b + cap_bytes);
    atomic_init(&b->refs, 1);
    b->cap_bytes = (uint32_t)cap_bytes;
    b->len_bytes = 0;
    return b;
}

struct buf *buf_copy(struct slice bytes)
{
    struct buf *b = buf_new(bytes.len);
    if (bytes.len != 0)
        memcpy(b->data, bytes.ptr, bytes.len);
    b->len_bytes = (uint32_t)bytes.len;
    return b;
}

void buf_unref(struct buf **b)
{
    struct buf *it = *b;
    *b = NULL;
    if (it == NULL)
        return;
    /* Sole holder: nobody else can take a reference, so the count needs no locked operation. */
    if (!buf_is_sole(it)) {
        unsigned was = atomic_fetch_sub_explicit(&it->refs, 1, memory_order_acq_rel);
        CHECK(was > 0);
        if (was > 1)
            return;
    }
    mem_free(it);
}
