/* Commands on the metadata as a log or another node has them: what is taken is written again as it
 * was, and may be replayed without breaking anything, whatever it says. */
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void free_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

static void write_again(const struct meta_cmd *cmd, uint64_t id, struct slice was)
{
    size_t size = meta_wire_size(cmd);
    CHECK(size == was.len);
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    meta_wire_put(&w, cmd, id);
    CHECK(!w.overflow && slice_eq(wire_out_slice(&w), was));
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
