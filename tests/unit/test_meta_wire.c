#include "base/mem.h"
#include "base/rng.h"
#include "cluster/meta_wire.h"
#include "meta_world.h"

#define OPS (META_KEPT_STATE + 1)

/* A command of a kind with all its slices filled, and all else by chance of one octet. */
static struct meta_cmd filled(enum meta_op op, struct rng *r, struct args *table)
{
    struct meta_cmd c = { .op = op, .vhost_id = 7, .conn = UINT64_MAX, .qid = 99 };
    struct slice *slices[META_CMD_SLICES];
    unsigned n = meta_cmd_slices(&c, slices);
    struct slice args = args_str(table, "x-queue-type", "classic");
    for (unsigned i = 0; i < n; i++)
        *slices[i] = args; /* a table where one is needed, a word elsewhere */
    bool bit = rng_below(r, 2) != 0;
    if (op == META_POLICY_PUT || op == META_POLICY_CLEAR) {
        c.policy.priority = INT64_MIN + (int64_t)rng_below(r, 1000);
        c.policy.is_operator = bit;
    } else if (op == META_USER_PUT) {
        c.user.hashing = META_HASHING_PBKDF2;
        c.user.has_hash = bit;
        c.user.must_exist = !bit;
    } else if (op == META_QUEUE_DECLARE) {
        c.queue_declare.durable = bit;
        c.queue_declare.server_named = !bit;
    } else if (op == META_KEPT_ORIGIN) {
        c.kept_origin.inc = 0xFEDCBA98;
    } else if (op == META_KEPT_QUEUE) {
        c.kept_queue.durable = bit;
        c.kept_queue.node = 0xFEDC;
        c.kept_queue.epoch = UINT64_MAX - 1;
    } else if (op == META_KEPT_PLACEMENT) {
        c.kept_placement.ver = UINT64_MAX - 1;
        c.kept_placement.is_damaged = bit;
    } else if (op == META_REPLICAS_SET) {
        c.replicas_set.always_on_shutdown = bit;
    } else if (op == META_PAIR_LAG) {
        c.pair_lag.mirror = 0xFEDC;
        c.pair_lag.mirror_inc = 0xFEDCBA98;
    } else if (op == META_NODE_DAMAGED) {
        c.node_damaged.inc = 0xFEDCBA98;
    } else if (op == META_FORCE_PROMOTE) {
        c.force_promote.epoch = UINT64_MAX - 3;
    } else if (op == META_KEPT_STATE) {
        c.kept_state.is_frozen = bit;
        c.kept_state.index = UINT64_MAX - 1;
        c.kept_state.last_node = 0xFEDC;
    } else if (op == META_KEPT_NODE) {
        c.node.state = META_NODE_IS_STOPPED;
        c.node.type = META_NODE_WITNESS;
        c.node.since = UINT64_MAX - 2;
    } else if (op == META_NODE_UP) {
        c.node.inc = 0xFEDCBA98;
        c.node.mirrors = 0xFEDC;
        c.node.lost_data = !bit;
    } else if (op >= META_NODE_ADD) {
        c.node.type = op == META_NODE_ADD || op == META_NODE_TYPE ? META_NODE_WITNESS : c.node.type;
        c.node.place = op == META_NODE_ADD ? UINT64_MAX - 1 : 0;
        c.node.node = op != META_NODE_ADD ? 0xFEDC : 0;
        c.node.inc = 0xFEDCBA98;
    } else if (op == META_VHOST_PUT) {
        c.vhost.has_tracing = bit;
        c.vhost.tracing = true;
    }
    return c;
}

static size_t encode(const struct meta_cmd *c, uint64_t id, uint8_t *room, size_t len)
{
    struct wire_out w = wire_out_over(room, len);
    meta_wire_put(&w, c, id);
    cr_assert(not(w.overflow));
    cr_assert(eq(sz, wire_out_len(&w), meta_wire_size(c)));
    return wire_out_len(&w);
}

/* Decode, and encode what came out: the same octets. */
Test(meta_wire, reads_back_every_operation)
{
    struct rng r;
    rng_init(&r, 1);
    uint8_t room[1024], again[1024];
    for (int op = 0; op < OPS; op++) {
        struct args table;
        struct meta_cmd c = filled((enum meta_op)op, &r, &table), out;
        size_t len = encode(&c, 1234567, room, sizeof room);
        struct wire w = wire_over(slice_of(room, len));
        uint64_t id;
        cr_assert(meta_wire_take(&w, &out, &id), "operation %d", op);
        cr_expect(eq(u64, id, 1234567));
        cr_expect(eq(int, (int)out.op, op));
        cr_expect(out.vhost_id == 7 && out.conn == UINT64_MAX && out.qid == 99);
        cr_expect(slice_eq(out.name, c.name));
        cr_expect(eq(sz, wire_left(&w), 0));
        cr_assert(eq(sz, encode(&out, id, again, sizeof again), len));
        cr_expect(memcmp(room, again, len) == 0, "operation %d", op);
    }
}

Test(meta_wire, refuses_every_prefix)
{
    struct rng r;
    rng_init(&r, 2);
    uint8_t room[1024];
    for (int op = 0; op < OPS; op++) {
        struct args table;
        struct meta_cmd c = filled((enum meta_op)op, &r, &table), out;
        size_t len = encode(&c, 5, room, sizeof room);
        for (size_t n = 0; n < len; n++) {
            uint8_t *cut = mem_dup(room, n + 1); /* so that reading on is seen */
            struct wire w = wire_over(slice_of(cut, n));
            uint64_t id;
            cr_expect(not(meta_wire_take(&w, &out, &id)), "operation %d, %zu octets", op, n);
            mem_free(cut);
        }
    }
}

static void refuses_with(uint8_t *room, size_t len, size_t at, uint8_t value, const char *what)
{
    struct meta_cmd out;
    uint64_t id;
    uint8_t was = room[at];
    room[at] = value;
    struct wire w = wire_over(slice_of(room, len));
    cr_expect(not(meta_wire_take(&w, &out, &id)), "%s", what);
    room[at] = was;
}

Test(meta_wire, refuses_what_it_does_not_know)
{
    uint8_t room[1024];
    struct meta_cmd c = q_declare("q");
    size_t len = encode(&c, 5, room, sizeof room);
    refuses_with(room, len, 4, META_WIRE_FORMAT + 1, "a newer format");
    refuses_with(room, len, 5, 0, "no operation");
    refuses_with(room, len, 5, 200, "an operation to come");
    refuses_with(room, len, len - 1, 2, "a bit that is none");
    refuses_with(room, len, 3, (uint8_t)(len - 5), "an octet too few");

    struct meta_cmd user = user_put("u", "h", "t");
    len = encode(&user, 5, room, sizeof room);
    refuses_with(room, len, len - 6, META_HASHING_PBKDF2 + 1, "a way of hashing to come");

    struct meta_cmd type = { .op = META_NODE_TYPE };
    len = encode(&type, 5, room, sizeof room);
    refuses_with(room, len, len - 1, META_NODE_TYPE_COUNT, "a type of nodes to come");
}

/* What was written down by an earlier version, which had less to say. */
Test(meta_wire, reads_what_had_fewer_fields)
{
    static const struct {
        enum meta_op op;
        uint8_t number;
        size_t less;
    } older[] = { { META_NODE_UP, 30, 3 }, { META_KEPT_NODE, 35, 2 }, { META_KEPT_STATE, 38, 1 } };
    uint8_t room[1024];
    struct rng r;
    rng_init(&r, 3);
    for (size_t i = 0; i < ARRAY_COUNT(older); i++) {
        struct args table;
        struct meta_cmd c = filled(older[i].op, &r, &table), out;
        size_t len = encode(&c, 5, room, sizeof room) - older[i].less;
        uint64_t id;
        room[2] = (uint8_t)((len - 4) >> 8);
        room[3] = (uint8_t)(len - 4);
        room[5] = older[i].number;
        struct wire w = wire_over(slice_of(room, len));
        cr_assert(meta_wire_take(&w, &out, &id), "operation %d", (int)older[i].op);
        cr_expect(eq(int, (int)out.op, (int)older[i].op));
        cr_expect(not(older[i].op != META_KEPT_STATE && (out.node.mirrors || out.node.lost_data)));
        cr_expect(slice_eq(out.name, c.name));
    }
}

Test(meta_wire, refuses_names_and_tables_that_cannot_be)
{
    uint8_t room[1024], long_name[META_NAME_MAX + 1];
    memset(long_name, 'n', sizeof long_name);
    struct meta_cmd c = q_declare("q"), out;
    uint64_t id;
    c.name = slice_of(long_name, sizeof long_name);
    struct wire w = wire_over(slice_of(room, encode(&c, 5, room, sizeof room)));
    cr_expect(not(meta_wire_take(&w, &out, &id)));
    c.name = slice_of(long_name, META_NAME_MAX);
    w = wire_over(slice_of(room, encode(&c, 5, room, sizeof room)));
    cr_expect(meta_wire_take(&w, &out, &id));
    c.queue_declare.args = S("\x03two");
    w = wire_over(slice_of(room, encode(&c, 5, room, sizeof room)));
    cr_expect(not(meta_wire_take(&w, &out, &id)));
    struct meta_cmd b = q_bind("x", "key", "q");
    b.bind.key = slice_of(long_name, sizeof long_name);
    w = wire_over(slice_of(room, encode(&b, 5, room, sizeof room)));
    cr_expect(not(meta_wire_take(&w, &out, &id)));
}
