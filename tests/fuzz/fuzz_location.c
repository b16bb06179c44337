/* What a broker's feed, a proxy's question and rumours may hold: whatever is taken leaves the table
 * whole, and is written again as it was understood. */
#include "base/check.h"
#include "base/mem.h"
#include "gossip/location_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(struct location_table *t, const struct location_change *c)
{
    if (c->kind == LOCATION_CHANGE_PUT)
        (void)location_put(t, &c->put);
    else
        (void)location_put_node(t, &c->node);
}

static void take_changes(struct location_table *t, struct wire w)
{
    uint64_t from = wire_u64(&w) & LOCATION_VER_MAX;
    struct location_change c, again;
    while (wire_left(&w) != 0 && location_change_take(&w, from, &c)) {
        uint8_t room[LOCATION_CHANGE_MAX];
        uint64_t ver = c.kind == LOCATION_CHANGE_PUT ? c.put.ver : c.node.ver;
        struct wire_out o = wire_out_over(room, sizeof room);
        apply(t, &c);
        if (ver < from)
            continue; /* it wrapped around, which no broker writes */
        location_change_put(&o, from, &c);
        struct wire r = wire_over(wire_out_slice(&o));
        CHECK(!o.overflow && location_change_take(&r, from, &again));
        CHECK(c.put.hash == again.put.hash && c.node.swept == again.node.swept);
    }
}

static void take_buckets(struct location_table *t, struct wire w)
{
    uint64_t index = wire_u64(&w) & LOCATION_VER_MAX;
    unsigned first = wire_u16(&w) % LOCATION_BUCKETS;
    while (wire_left(&w) != 0 && first < LOCATION_BUCKETS &&
           location_bucket_take(&w, t, first, index)) {
        size_t most = location_bucket_most(t, first);
        uint8_t *room = mem_alloc(most);
        struct wire_out o = wire_out_over(room, most);
        location_bucket_put(&o, t, first++, index);
        CHECK(!o.overflow);
        mem_free(room);
    }
}

static void take_ask(struct slice body)
{
    struct location_ask a;
    uint8_t room[LOCATION_ASK_MAX];
    struct wire_out o = wire_out_over(room, sizeof room);
    if (!location_ask_take(body, &a))
        return;
    location_ask_put(&o, &a);
    CHECK(!o.overflow && slice_eq(wire_out_slice(&o), body));
}

static void take_leads(struct slice body)
{
    struct location_leads l;
    uint8_t room[LOCATION_LEADS_MAX];
    struct wire_out o = wire_out_over(room, sizeof room);
    if (!location_leads_take(body, &l))
        return;
    location_leads_put(&o, &l);
    CHECK(!o.overflow && slice_eq(wire_out_slice(&o), body));
}

/* The first octet says which frame it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct location_table *t = location_new();
    struct location_sub_word word;
    struct location_change c;
    struct wire w = wire_over(slice_of(data, size));
    while (wire_left(&w) != 0) {
        uint8_t kind = wire_u8(&w);
        uint16_t len = wire_u16(&w);
        struct slice body = wire_take(&w, len < wire_left(&w) ? len : wire_left(&w));
        struct wire b = wire_over(body);
        switch (kind % 8) {
        case 0:
            take_changes(t, b);
            break;
        case 1:
            take_buckets(t, b);
            break;
        case 2:
            (void)!location_nodes_take(&b, t);
            break;
        case 3:
            if (location_sub_take(body, &word) && word.has_digests)
                (void)location_sub_digest(&word, LOCATION_BUCKETS - 1);
            break;
        case 4:
            if (location_rumour_take(7, 1 + kind, body, &c))
                apply(t, &c);
            break;
        case 6:
            take_ask(body);
            break;
        case 7:
            take_leads(body);
            break;
        default:
            location_reach(t, wire_u64(&b) & LOCATION_VER_MAX);
        }
        location_check(t);
    }
    location_free(&t);
    return 0;
}
