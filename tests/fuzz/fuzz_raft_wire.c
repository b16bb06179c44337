/* What members say to each other: what is taken is written again as it was, and a member that hears
 * it goes on. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/raft.h"
#include "raft/raft_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct raft_msg *m, struct slice was)
{
    size_t size = raft_wire_size(m);
    CHECK(size == was.len);
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    raft_wire_put(&w, m);
    CHECK(!w.overflow && slice_eq(wire_out_slice(&w), was));
    mem_free(room);
}

/* To a member with a log of its own, whose disk is done at once. */
static void hear(struct raft_msg *m)
{
    struct raft_setup setup;
    struct raft_config c = { 0 };
    for (uint16_t node = 1; node <= 3; node++)
        CHECK(raft_config_set(&c, node, RAFT_VOTER));
    struct raft_entry e[] = { { 1, 1, RAFT_CONFIG, raft_config_buf(&c) },
                              { 2, 1, RAFT_NOOP, NULL },
                              { 3, 2, RAFT_NOOP, NULL } };
    struct raft_start start = {
        .hard = { .term = 3 }, .entries = e, .count = ARRAY_COUNT(e), .is_whole = m->boot % 2 == 0
    };
    raft_setup_default(&setup);
    setup.node = m->to;
    setup.boot = 1;
    struct raft *r = raft_new(&setup, &start);
    struct raft_effects fx;
    raft_effects_init(&fx);
    raft_step(r, &(struct raft_event){ .kind = RAFT_EV_MESSAGE, .msg = m }, &fx);
    for (size_t i = 0; i < fx.count; i++)
        if (fx.list[i].kind == RAFT_DO_WRITE)
            raft_step(
                r,
                &(struct raft_event){ .kind = RAFT_EV_WRITTEN, .number = fx.list[i].write->number },
                &fx);
    raft_step(r, &(struct raft_event){ .kind = RAFT_EV_TIME, .now_us = 5000000 }, &fx);
    raft_effects_fini(&fx);
    raft_free(&r);
    buf_unref(&e[0].bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_msg m;
    if (!raft_wire_take(slice_of(data, size), &m))
        return 0;
    write_again(&m, slice_of(data, size));
    hear(&m);
    raft_msg_fini(&m);
    return 0;
}
