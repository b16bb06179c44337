#include "remote/remote_wire.h"

#include "base/check.h"

#define CONTENT_HEAD_BYTES 10u /* three lengths */

#define HAS_FLAGS          0x0001u

/* Each operation has code of its own, in which the fields that it has not are not asked for: a
 * record is written and read for every message. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* ---- writing ----------------------------------------------------------------------------------
 */

size_t remote_size(const struct remote_record *r)
{
    size_t n = REMOTE_RECORD_BYTES + r->list.len + r->bytes.len;
    if (r->message != NULL && (r->flags & REMOTE_IN_PARTS) == 0)
        n += (size_t)r->message->names_bytes + r->message->props_bytes + r->message->body_bytes;
    return n;
}

static void put_channel(struct wire_out *w, const struct port_channel_ref *c)
{
    wire_put_u64(w, c->connection);
    wire_put_u32(w, c->incarnation);
    wire_put_u16(w, c->number);
}

static void put_body(struct wire_out *w, const struct message *m)
{
    if (LIKELY(!message_is_in_parts(m))) {
        wire_put_bytes(w, message_body(m));
        return;
    }
    const struct message_more *more = message_more(m);
    for (uint32_t i = 0; i < more->part_count; i++)
        wire_put_bytes(w, buf_slice(more->parts[i]));
}

static void put_content(struct wire_out *w, const struct message *m, bool in_parts)
{
    wire_put_u16(w, m->names_bytes);
    wire_put_u32(w, m->props_bytes);
    wire_put_u32(w, m->body_bytes);
    if (UNLIKELY(in_parts))
        return;
    wire_put_bytes(w, message_names(m));
    wire_put_bytes(w, message_props(m));
    put_body(w, m);
}

static inline uint8_t flags_of(const struct remote_record *r, unsigned fields)
{
    if ((fields & REMOTE_HAS_CONTENT) == 0)
        return r->flags;
    if (r->message == NULL)
        return r->flags | REMOTE_NO_CONTENT;
    unsigned flags = r->flags & ~(unsigned)(REMOTE_NO_CONTENT | REMOTE_PERSISTENT);
    return (uint8_t)(flags | (r->message->persistent ? REMOTE_PERSISTENT : 0));
}

static void put_list(struct wire_out *w, struct slice list, size_t item_bytes)
{
    CHECK(list.len % item_bytes == 0 && list.len / item_bytes <= UINT16_MAX);
    wire_put_u16(w, (uint16_t)(list.len / item_bytes));
    wire_put_bytes(w, list);
}

/* What stands behind its octet. */
static ALWAYS_INLINE void put_fields(struct wire_out *w, const struct remote_record *r,
                                     unsigned fields)
{
    uint8_t flags = flags_of(r, fields);
    if ((fields & HAS_FLAGS) != 0)
        wire_put_u8(w, flags);
#define X(bit, member, size)                                                                       \
    if ((fields & (bit) & ~HAS_FLAGS) != 0)                                                        \
        wire_put_##size(w, r->member);
    REMOTE_FIELDS(X)
#undef X
    if ((fields & REMOTE_HAS_CHANNEL) != 0)
        put_channel(w, &r->channel);
    if ((fields & REMOTE_HAS_SECRET) != 0)
        wire_put_bytes(w, slice_of(r->secret, sizeof r->secret));
    if ((fields & REMOTE_HAS_QIDS) != 0)
        put_list(w, r->list, sizeof(uint64_t));
    if ((fields & REMOTE_HAS_RANGES) != 0)
        put_list(w, r->list, REMOTE_RANGE_BYTES);
    if ((fields & REMOTE_HAS_BYTES) != 0)
        wire_put_longstr(w, r->bytes);
    if ((fields & REMOTE_HAS_CONTENT) != 0 && r->message != NULL)
        put_content(w, r->message, (flags & REMOTE_IN_PARTS) != 0);
}

void remote_put(struct wire_out *w, const struct remote_record *r)
{
    wire_put_u8(w, (uint8_t)r->op);
    switch (r->op) {
#define X(name, octet, fields)                                                                     \
    case REMOTE_##name:                                                                            \
        put_fields(w, r, fields);                                                                  \
        return;
        REMOTE_OPS(X)
#undef X
    }
    UNREACHABLE("remote op");
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static struct port_channel_ref take_channel(struct wire *w)
{
    struct port_channel_ref c = { .connection = wire_u64(w) };
    c.incarnation = wire_u32(w);
    c.number = wire_u16(w);
    return c;
}

bool remote_names(struct slice names, struct slice *exchange, struct slice *key)
{
    struct wire w = wire_over(names);
    *exchange = wire_shortstr(&w);
    *key = wire_shortstr(&w);
    return !w.ran_out && wire_left(&w) == 0;
}

static bool take_content(struct wire *w, struct remote_record *r)
{
    struct remote_content *c = &r->content;
    c->names_bytes = wire_u16(w);
    c->props_bytes = wire_u32(w);
    c->body_bytes = wire_u32(w);
    if ((r->flags & REMOTE_IN_PARTS) != 0)
        return c->names_bytes >= 2 && c->props_bytes >= 2;
    c->names = wire_take(w, c->names_bytes);
    c->props = wire_take(w, c->props_bytes);
    c->body = wire_take(w, c->body_bytes);
    struct slice exchange, key;
    return c->props_bytes >= 2 && remote_names(c->names, &exchange, &key);
}

/* What stands behind its octet. */
static ALWAYS_INLINE bool take_fields(struct wire *w, struct remote_record *r, unsigned fields)
{
#define X(bit, member, size)                                                                       \
    if ((fields & (bit)) != 0)                                                                     \
        r->member = wire_##size(w);
    REMOTE_FIELDS(X)
#undef X
    if ((fields & REMOTE_HAS_CHANNEL) != 0)
        r->channel = take_channel(w);
    if ((fields & REMOTE_HAS_SECRET) != 0) {
        struct slice secret = wire_take(w, sizeof r->secret);
        if (secret.len != 0)
            memcpy(r->secret, secret.ptr, sizeof r->secret);
    }
    if ((fields & REMOTE_HAS_QIDS) != 0)
        r->list = wire_take(w, (size_t)wire_u16(w) * sizeof(uint64_t));
    if ((fields & REMOTE_HAS_RANGES) != 0)
        r->list = wire_take(w, (size_t)wire_u16(w) * REMOTE_RANGE_BYTES);
    if ((fields & REMOTE_HAS_BYTES) != 0)
        r->bytes = wire_longstr(w);
    r->has_content = (fields & REMOTE_HAS_CONTENT) != 0 && (r->flags & REMOTE_NO_CONTENT) == 0;
    if (r->has_content && !take_content(w, r))
        return false;
    return !w->ran_out;
}

bool remote_take(struct wire *w, struct remote_record *r)
{
    unsigned octet = wire_u8(w);
    *r = (struct remote_record){ .op = (enum remote_op)octet };
    switch (octet) {
#define X(name, number, fields)                                                                    \
    case number:                                                                                   \
        return take_fields(w, r, fields);
        REMOTE_OPS(X)
#undef X
    default:
        return false; /* there is no such operation */
    }
}

struct message *remote_message(struct remote_record *r)
{
    struct message *m = r->assembled;
    r->assembled = NULL;
    struct slice exchange, key;
    if (m == NULL && remote_names(r->content.names, &exchange, &key))
        m = message_new(exchange, key, r->content.props, r->content.body,
                        (r->flags & REMOTE_PERSISTENT) != 0);
    return m;
}

struct message *remote_message_kept(struct remote_record *r, uint64_t by, uint64_t as)
{
    struct slice exchange, key;
    CHECK(r->assembled == NULL);
    if (!remote_names(r->content.names, &exchange, &key))
        return NULL;
    return message_new_kept(exchange, key, r->content.props, r->content.body,
                            (r->flags & REMOTE_PERSISTENT) != 0, by, as);
}

bool remote_next_qid(struct slice *list, uint64_t *qid)
{
    struct wire w = wire_over(*list);
    *qid = wire_u64(&w);
    *list = slice_from(*list, sizeof *qid);
    return !w.ran_out;
}

bool remote_next_range(struct slice *list, uint64_t *first, uint32_t *count)
{
    struct wire w = wire_over(*list);
    *first = wire_u64(&w);
    *count = wire_u32(&w);
    *list = slice_from(*list, REMOTE_RANGE_BYTES);
    return !w.ran_out;
}
