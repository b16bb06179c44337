#include "gossip/location_wire.h"

#include "base/check.h"
#include "base/mem.h"

#define ENTRIES_MAX 1000000u /* of one bucket: far more than there can be */

/* ---- varints: seven bits an octet, the low ones first -----------------------------------------
 */

static void put_varint(struct wire_out *w, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        wire_put_u8(w, (uint8_t)(v | 0x80));
    wire_put_u8(w, (uint8_t)v);
}

static uint64_t take_varint(struct wire *w)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t octet = wire_u8(w);
        v |= (uint64_t)(octet & 0x7F) << shift;
        if ((octet & 0x80) == 0)
            return v;
    }
    w->ran_out = true; /* longer than any number */
    return 0;
}

static uint64_t zigzag(uint64_t v)
{
    return v << 1 ^ (0 - (v >> 63));
}

static uint64_t unzigzag(uint64_t v)
{
    return v >> 1 ^ (0 - (v & 1));
}

/* ---- SUB --------------------------------------------------------------------------------------
 */

void location_sub_put(struct wire_out *w, uint64_t check, const struct location_table *t)
{
    bool has_digests = location_index(t) != 0;
    wire_put_u8(w, LOCATION_FEED_VERSION);
    wire_put_u64(w, check);
    wire_put_u64(w, location_index(t));
    wire_put_u16(w, has_digests ? LOCATION_BUCKETS : 0);
    for (unsigned i = 0; has_digests && i < LOCATION_BUCKETS; i++)
        wire_put_u64(w, location_bucket_digest(t, i));
}

bool location_sub_take(struct slice in, struct location_sub_word *out)
{
    struct wire w = wire_over(in);
    out->version = wire_u8(&w);
    out->check = wire_u64(&w);
    out->from = wire_u64(&w);
    uint16_t digests = wire_u16(&w);
    out->digests = wire_take(&w, (size_t)digests * 8);
    out->has_digests = digests != 0;
    return !w.ran_out && out->version == LOCATION_FEED_VERSION &&
           (digests == 0 || digests == LOCATION_BUCKETS);
}

uint64_t location_sub_digest(const struct location_sub_word *s, unsigned bucket)
{
    CHECK(s->has_digests && bucket < LOCATION_BUCKETS);
    struct wire w = wire_over(slice_from(s->digests, (size_t)bucket * 8));
    return wire_u64(&w);
}

/* ---- changes ----------------------------------------------------------------------------------
 */

void location_change_put(struct wire_out *w, uint64_t from, const struct location_change *c)
{
    wire_put_u8(w, (uint8_t)c->kind);
    switch (c->kind) {
    case LOCATION_CHANGE_PUT:
        CHECK(c->put.ver >= from);
        put_varint(w, c->put.ver - from);
        wire_put_u64(w, c->put.hash);
        wire_put_u16(w, c->put.node);
        wire_put_u8(w, c->put.flags);
        return;
    case LOCATION_CHANGE_NODE:
        CHECK(c->node.ver >= from);
        put_varint(w, c->node.ver - from);
        wire_put_u16(w, c->node.node);
        wire_put_u8(w, c->node.is_up);
        put_varint(w, zigzag(c->node.swept - from));
        return;
    }
    UNREACHABLE("change");
}

static bool is_ver(uint64_t ver)
{
    return ver >= 1 && ver <= LOCATION_VER_MAX;
}

bool location_change_take(struct wire *w, uint64_t from, struct location_change *out)
{
    *out = (struct location_change){ 0 };
    uint8_t kind = wire_u8(w);
    uint64_t ver = from + take_varint(w);
    switch (kind) {
    case LOCATION_CHANGE_PUT:
        out->kind = LOCATION_CHANGE_PUT;
        out->put.ver = ver;
        out->put.hash = wire_u64(w);
        out->put.node = wire_u16(w);
        out->put.flags = wire_u8(w);
        return !w->ran_out && is_ver(ver);
    case LOCATION_CHANGE_NODE:
        out->kind = LOCATION_CHANGE_NODE;
        out->node.ver = ver;
        out->node.node = wire_u16(w);
        out->node.is_up = wire_u8(w) != 0;
        out->node.swept = from + unzigzag(take_varint(w));
        return !w->ran_out && is_ver(ver) && out->node.swept <= LOCATION_VER_MAX;
    default:
        return false;
    }
}

/* ---- buckets ----------------------------------------------------------------------------------
 */

static uint64_t first_hash(unsigned bucket)
{
    return (uint64_t)bucket << 52;
}

size_t location_bucket_most(const struct location_table *t, unsigned bucket)
{
    return 5 + location_bucket_count(t, bucket) * (10 + 10 + 3 + 1);
}

void location_bucket_put(struct wire_out *w, const struct location_table *t, unsigned bucket,
                         uint64_t index)
{
    size_t count = location_bucket_count(t, bucket), alive = 0;
    uint64_t last = first_hash(bucket);
    for (size_t i = 0; i < count; i++)
        alive += (location_bucket_at(t, bucket, i).flags & LOCATION_GONE) == 0;
    put_varint(w, alive);
    for (size_t i = 0; i < count; i++) {
        struct location l = location_bucket_at(t, bucket, i);
        if ((l.flags & LOCATION_GONE) != 0)
            continue;
        put_varint(w, l.hash - last);
        put_varint(w, zigzag(index - l.ver));
        put_varint(w, l.node);
        wire_put_u8(w, l.flags);
        last = l.hash;
    }
}

bool location_bucket_take(struct wire *w, struct location_table *t, unsigned bucket, uint64_t index)
{
    uint64_t count = take_varint(w);
    uint64_t last = first_hash(bucket);
    /* Four octets an entry at least: nothing is taken for more than there is. */
    if (w->ran_out || count > ENTRIES_MAX || count > wire_left(w) / 4)
        return false;
    struct location *list = mem_array((size_t)count + 1, sizeof *list);
    for (size_t i = 0; i < count; i++) {
        list[i].hash = last += take_varint(w);
        list[i].ver = index - unzigzag(take_varint(w));
        uint64_t node = take_varint(w);
        list[i].node = (uint16_t)node;
        list[i].flags = wire_u8(w);
        w->ran_out |= node > UINT16_MAX || (list[i].flags & LOCATION_GONE) != 0;
    }
    bool ok = !w->ran_out && location_put_bucket(t, bucket, index, list, (size_t)count);
    mem_free(list);
    return ok;
}

void location_nodes_put(struct wire_out *w, const struct location_table *t)
{
    size_t count = location_node_count(t);
    wire_put_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        struct location_node n = location_node_at(t, i);
        wire_put_u16(w, n.node);
        wire_put_u8(w, n.is_up);
        wire_put_u64(w, n.ver);
        wire_put_u64(w, n.swept);
    }
}

bool location_nodes_take(struct wire *w, struct location_table *t)
{
    uint16_t count = wire_u16(w);
    if (count > LOCATION_NODES_MAX)
        return false;
    for (uint16_t i = 0; i < count; i++) {
        struct location_node n = { .node = wire_u16(w), .is_up = wire_u8(w) != 0 };
        n.ver = wire_u64(w);
        n.swept = wire_u64(w);
        if (w->ran_out || n.ver > LOCATION_VER_MAX || n.swept > LOCATION_VER_MAX)
            return false;
        (void)location_put_node(t, &n);
    }
    return !w->ran_out;
}

/* ---- rumours ----------------------------------------------------------------------------------
 */

#define NODE_KEY ((uint64_t)1 << 63 | (uint64_t)0x6E6F6465 << 16)

size_t location_rumour_put(const struct location_change *c, uint8_t *room, uint64_t *key,
                           uint64_t *ver)
{
    struct wire_out w = wire_out_over(room, LOCATION_RUMOUR_MAX);
    wire_put_u8(&w, (uint8_t)c->kind);
    switch (c->kind) {
    case LOCATION_CHANGE_PUT:
        *key = c->put.hash;
        *ver = c->put.ver;
        wire_put_u16(&w, c->put.node);
        wire_put_u8(&w, c->put.flags);
        break;
    case LOCATION_CHANGE_NODE:
        *key = NODE_KEY | c->node.node;
        *ver = c->node.ver;
        wire_put_u16(&w, c->node.node);
        wire_put_u8(&w, c->node.is_up);
        wire_put_u64(&w, c->node.swept);
        break;
    }
    CHECK(!w.overflow);
    return wire_out_len(&w);
}

bool location_rumour_take(uint64_t key, uint64_t ver, struct slice in, struct location_change *out)
{
    struct wire w = wire_over(in);
    *out = (struct location_change){ 0 };
    uint8_t kind = wire_u8(&w);
    uint16_t node = wire_u16(&w);
    uint8_t last = wire_u8(&w);
    if (!is_ver(ver))
        return false;
    switch (kind) {
    case LOCATION_CHANGE_PUT:
        out->kind = LOCATION_CHANGE_PUT;
        out->put = (struct location){ key, ver, node, last };
        return !w.ran_out;
    case LOCATION_CHANGE_NODE:
        out->kind = LOCATION_CHANGE_NODE;
        out->node = (struct location_node){ node, last != 0, ver, wire_u64(&w) };
        return !w.ran_out && out->node.swept <= LOCATION_VER_MAX;
    default:
        return false;
    }
}

/* ---- ASK and LEADS ----------------------------------------------------------------------------
 */

void location_ask_put(struct wire_out *w, const struct location_ask *a)
{
    wire_put_u64(w, a->id);
    wire_put_shortstr(w, a->vhost);
    wire_put_shortstr(w, a->exchange);
    wire_put_shortstr(w, a->key);
}

bool location_ask_take(struct slice in, struct location_ask *out)
{
    struct wire w = wire_over(in);
    out->id = wire_u64(&w);
    out->vhost = wire_shortstr(&w);
    out->exchange = wire_shortstr(&w);
    out->key = wire_shortstr(&w);
    return !w.ran_out && wire_left(&w) == 0;
}

void location_leads_put(struct wire_out *w, const struct location_leads *l)
{
    CHECK(l->count <= LOCATION_LEADS_QUEUES);
    wire_put_u64(w, l->id);
    wire_put_u8(w, l->any_key);
    wire_put_u8(w, l->count);
    for (unsigned i = 0; i < l->count; i++)
        wire_put_u64(w, l->hashes[i]);
}

bool location_leads_take(struct slice in, struct location_leads *out)
{
    struct wire w = wire_over(in);
    out->id = wire_u64(&w);
    uint8_t any_key = wire_u8(&w);
    out->any_key = any_key != 0;
    out->count = wire_u8(&w);
    if (any_key > 1 || out->count > LOCATION_LEADS_QUEUES)
        return false;
    for (unsigned i = 0; i < out->count; i++)
        out->hashes[i] = wire_u64(&w);
    return !w.ran_out && wire_left(&w) == 0;
}
