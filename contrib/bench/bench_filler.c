#include "bench_filler.h"

#define PERIOD       251u
#define FILLER_BYTES ((size_t)PERIOD + (size_t)64 * 1024)

struct buf *bench_filler_new(void)
{
    struct buf *b = buf_new(FILLER_BYTES);
    for (size_t i = 0; i < FILLER_BYTES; i++)
        b->data[i] = (uint8_t)(i % PERIOD);
    b->len_bytes = (uint32_t)FILLER_BYTES;
    return b;
}

struct slice bench_filler_range(const struct buf *filler, uint64_t offset, uint64_t len)
{
    size_t from = (size_t)(offset % PERIOD);
    size_t most = FILLER_BYTES - from;
    return slice_of(filler->data + from, most < len ? most : (size_t)len);
}

bool bench_filler_matches(const struct buf *filler, uint64_t offset, struct slice octets)
{
    while (octets.len != 0) {
        struct slice want = bench_filler_range(filler, offset, octets.len);
        if (!slice_eq(want, slice_head(octets, want.len)))
            return false;
        offset += want.len;
        octets = slice_from(octets, want.len);
    }
    return true;
}
