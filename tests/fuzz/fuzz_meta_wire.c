/* Commands on the metadata as a log or another node has them: what is taken is written again as it
 * was (of an older version: as of today), and may be replayed without breaking anything, whatever
 * it says. */
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void free_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

static uint8_t *write_down(const struct meta_cmd *cmd, uint64_t id, size_t size)
{
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    meta_wire_put(&w, cmd, id);
    CHECK(!w.overflow && wire_out_slice(&w).len == size);
    return room;
}

/* What an older version wrote has fewer fields: it is written as of today, and that stays. */
static void write_again(const struct meta_cmd *cmd, uint64_t id, struct slice was)
{
    size_t size = meta_wire_size(cmd);
    uint8_t *room = write_down(cmd, id, size);
    if (size == was.len) {
        CHECK(slice_eq(slice_of(room, size), was));
    } else {
        struct meta_cmd now;
        uint64_t same_id;
        struct wire w = wire_over(slice_of(room, size));
        CHECK(size > was.len && meta_wire_take(&w, &now, &same_id) && same_id == id &&
              meta_wire_size(&now) == size);
        uint8_t *again = write_down(&now, id, size);
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
    struct meta_cmd cmd;
    uint64_t id;
    const uint8_t *at = w.at;
    while (meta_wire_take(&w, &cmd, &id)) {
        write_again(&cmd, id, slice_of(at, (size_t)(w.at - at)));
        at = w.at;
        (void)meta_replay(meta, &cmd, id, &result);
    }
    meta_publish(meta);
    meta_result_fini(&result);
    meta_free(&meta);
    return 0;
}
