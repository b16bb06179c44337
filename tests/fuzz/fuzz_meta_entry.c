/* Entries of a cluster's log: envelopes that are taken are written again as they were (of an older
 * version: as of today), and may be applied without breaking anything, whatever they say; the
 * checksum that is kept stays that of what is there. */
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void free_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

static uint8_t *write_down(const struct meta_envelope *e, size_t size)
{
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    meta_envelope_put(&w, e);
    CHECK(!w.overflow && wire_out_slice(&w).len == size);
    return room;
}

/* What an older version wrote has fewer fields: it is written as of today, and that stays. */
static void write_again(const struct meta_envelope *e, struct slice was)
{
    size_t size = meta_envelope_size(e);
    uint8_t *room = write_down(e, size);
    if (size == was.len) {
        CHECK(slice_eq(slice_of(room, size), was));
    } else {
        struct meta_envelope now;
        struct wire w = wire_over(slice_of(room, size));
        CHECK(size > was.len && meta_envelope_take(&w, &now) && meta_envelope_size(&now) == size);
        uint8_t *again = write_down(&now, size);
        CHECK(slice_eq(slice_of(again, size), slice_of(room, size)));
        mem_free(again);
    }
    mem_free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct meta *meta =
        meta_new(&(struct meta_setup){ .hash_seed = 1, .shard_count = 2, .retire = free_now });
    struct meta_result result;
    meta_result_init(&result);
    struct wire w = wire_over(slice_of(data, size));
    struct meta_envelope e;
    const uint8_t *at = w.at;
    for (uint64_t index = 1; meta_envelope_take(&w, &e); index++) {
        write_again(&e, slice_of(at, (size_t)(w.at - at)));
        at = w.at;
        (void)meta_apply_entry(meta, index, &e, &result);
        if (index % 4 == 0)
            meta_publish(meta);
    }
    meta_publish(meta);
    CHECK(meta_checksum(meta) == meta_checksum_walk(meta));
    meta_result_fini(&result);
    meta_free(&meta);
    return 0;
}
