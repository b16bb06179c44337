#include "sim_message.h"

#include "amqp/amqp_props.h"
#include "base/mem.h"
#include "sim_content.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PROPS_ROOM 64u

struct message *sim_message_new(const struct sim_publish *p)
{
    uint8_t room[PROPS_ROOM], key[8];
    char ttl[24];
    struct wire_out w = wire_out_over(room, sizeof room);
    struct amqp_props props = { .flags = AMQP_PROP_priority | AMQP_PROP_delivery_mode,
                                .priority = p->priority,
                                .delivery_mode = p->persistent ? 2 : 1 };
    if (p->ttl_ms != 0) {
        (void)snprintf(ttl, sizeof ttl, "%" PRIu64, p->ttl_ms);
        props.flags |= AMQP_PROP_expiration;
        props.expiration = slice_str(ttl);
    }
    amqp_props_encode(&w, &props);
    uint8_t *body = mem_alloc(p->body_bytes + 1);
    sim_fill(body, p->body_bytes, p->content, 2);
    memcpy(key, &p->content, sizeof key);
    struct message *m = message_new(slice_of("", 0), slice_of(key, sizeof key), wire_out_slice(&w),
                                    slice_of(body, p->body_bytes), p->persistent);
    mem_free(body);
    return m;
}

bool sim_message_is(const struct message *m, uint64_t content)
{
    if (!message_is_in_parts(m))
        return sim_is_body(message_body(m), content);
    const struct message_more *more = message_more(m);
    uint8_t *body = mem_alloc(m->body_bytes + 1);
    size_t len = 0;
    for (uint32_t i = 0; i < more->part_count; i++) {
        memcpy(body + len, more->parts[i]->data, more->parts[i]->len_bytes);
        len += more->parts[i]->len_bytes;
    }
    bool ok = len == m->body_bytes && sim_is_body(slice_of(body, len), content);
    mem_free(body);
    return ok;
}
