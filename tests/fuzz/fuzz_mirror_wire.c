/* What another node says of queues that are mirrored: records that were taken are written again as
 * they were. */
#include "base/check.h"
#include "base/mem.h"
#include "mirror/mirror_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct mirror_record *r, struct slice was)
{
    size_t size = mirror_wire_size(r);
    CHECK(size == was.len);
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    mirror_wire_put(&w, r);
    CHECK(!w.overflow && slice_eq(wire_out_slice(&w), was));
    mem_free(room);
}

/* As the journal keeps it, with all that is beside the epochs. */
static void take_history(struct slice in)
{
    struct wire w = wire_over(in);
    struct mirror_history h, copy = { 0 };
    if (!mirror_history_take(&w, true, &h))
        return;
    mirror_history_copy(&copy, &h);
    CHECK(mirror_history_size(&copy, true) == in.len - wire_left(&w));
    mirror_history_fini(&copy);
    mirror_history_fini(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire w = wire_over(slice_of(data, size));
    struct mirror_record r;
    const uint8_t *at = w.at;
    while (wire_left(&w) != 0 && mirror_wire_take(&w, &r)) {
        write_again(&r, slice_of(at, (size_t)(w.at - at)));
        mirror_record_fini(&r);
        at = w.at;
    }
    take_history(slice_of(data, size));
    return 0;
}
