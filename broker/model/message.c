#include "model/message.h"

#include "base/check.h"
#include "base/mem.h"

static uint8_t *put(uint8_t *at, struct slice s)
{
    if (s.len != 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static uint8_t *put_short(uint8_t *at, struct slice s)
{
    *at = (uint8_t)s.len;
    return put(at + 1, s);
}

static struct message *make(struct slice exchange, struct slice key, struct slice props,
                            struct slice body, bool persistent)
{
    CHECK(exchange.len <= UINT8_MAX && key.len <= UINT8_MAX && props.len <= UINT32_MAX);
    size_t names = 2 + exchange.len + key.len;
    struct message *m = mem_alloc(sizeof *m + names + props.len + body.len);
    atomic_init(&m->refs, 1);
    m->props_bytes = (uint32_t)props.len;
    m->body_bytes = body.len;
    m->parts = NULL;
    m->part_count = 0;
    m->names_bytes = (uint16_t)names;
    m->persistent = persistent;
    put(put(put_short(put_short(m->bytes, exchange), key), props), body);
    return m;
}

struct message *message_new(struct slice exchange, struct slice key, struct slice props,
                            struct slice body, bool persistent)
{
    return make(exchange, key, props, body, persistent);
}

struct message *message_new_parts(struct slice exchange, struct slice key, struct slice props,
                                  struct buf **parts, uint32_t part_count, uint64_t body_bytes,
                                  bool persistent)
{
    struct message *m = make(exchange, key, props, slice_of(NULL, 0), persistent);
    m->parts = parts;
    m->part_count = part_count;
    m->body_bytes = body_bytes;
    return m;
}

static void free_message(struct message *m)
{
    for (uint32_t i = 0; i < m->part_count; i++)
        buf_unref(&m->parts[i]);
    mem_free(m->parts);
    mem_free(m);
}

size_t message_unref(struct message **message)
{
    struct message *m = *message;
    *message = NULL;
    /* The usual case, one holder, needs no locked operation. */
    if (atomic_load_explicit(&m->refs, memory_order_acquire) != 1) {
        unsigned was = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
        CHECK(was > 0);
        if (was > 1)
            return 0;
    }
    size_t cost = message_cost_bytes(m);
    free_message(m);
    return cost;
}
