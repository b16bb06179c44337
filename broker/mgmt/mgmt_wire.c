#include "mgmt/mgmt_wire.h"

#include "base/mem.h"
#include "base/wire.h"
#include "io/tls_about.h"

#include <string.h>

/* ---- octets ---- */

static void put_u64(struct text *out, uint64_t v)
{
    uint8_t octets[8];
    struct wire_out w = wire_out_over(octets, sizeof octets);
    wire_put_u64(&w, v);
    text_slice(out, wire_out_slice(&w));
}

static void put_u32(struct text *out, uint32_t v)
{
    uint8_t octets[4];
    struct wire_out w = wire_out_over(octets, sizeof octets);
    wire_put_u32(&w, v);
    text_slice(out, wire_out_slice(&w));
}

static void put_u8(struct text *out, uint8_t v)
{
    text_slice(out, slice_of(&v, 1));
}

static void put_longstr(struct text *out, struct slice s)
{
    put_u32(out, (uint32_t)s.len);
    text_slice(out, s);
}

static void put_head(struct text *out, enum mgmt_wire_kind kind)
{
    put_u8(out, MGMT_WIRE_FORMAT);
    put_u8(out, (uint8_t)kind);
}

static bool take_head(struct wire *w, enum mgmt_wire_kind kind)
{
    uint8_t format = wire_u8(w);
    return format == MGMT_WIRE_FORMAT && wire_u8(w) == kind;
}

static bool has_ended(const struct wire *w)
{
    return !w->ran_out && wire_left(w) == 0;
}

/* How many items of at least so many octets each follow. */
static bool take_count(struct wire *w, size_t item_least, size_t *out)
{
    *out = wire_u32(w);
    if (*out <= wire_left(w) / item_least)
        return true;
    *out = 0;
    return false;
}

/* ---- a question ---- */

void mgmt_wire_put_question(struct text *out, const struct mgmt_wire_question *q)
{
    put_head(out, q->kind);
    put_u8(out, (uint8_t)q->what);
    put_u32(out, (uint32_t)q->count);
    for (size_t i = 0; i < q->count; i++)
        put_u64(out, q->ids[i]);
}

static unsigned ids_each(enum mgmt_wire_kind kind)
{
    static const unsigned counts[] = { [MGMT_WIRE_QUEUES] = 1,
                                       [MGMT_WIRE_CLIENTS] = 1,
                                       [MGMT_WIRE_TAGS] = 3,
                                       [MGMT_WIRE_ACTIVITIES] = 2 };
    return counts[kind];
}

bool mgmt_wire_take_question(struct slice in, struct mgmt_wire_question *out)
{
    struct wire w = wire_over(in);
    uint8_t format = wire_u8(&w), kind = wire_u8(&w), what = wire_u8(&w);
    size_t count;
    if (format != MGMT_WIRE_FORMAT || kind < MGMT_WIRE_QUEUES || kind > MGMT_WIRE_ACTIVITIES ||
        what > MGMT_CONSUMERS || !take_count(&w, 8, &count))
        return false;
    unsigned each = ids_each((enum mgmt_wire_kind)kind);
    if (w.ran_out || wire_left(&w) != count * 8 || count % each != 0 ||
        count / each > MGMT_WIRE_IDS_MAX)
        return false;
    *out = (struct mgmt_wire_question){ .kind = (enum mgmt_wire_kind)kind,
                                        .what = (enum mgmt_clients)what,
                                        .count = count,
                                        .ids = mem_array(count + 1, sizeof *out->ids) };
    for (size_t i = 0; i < count; i++)
        out->ids[i] = wire_u64(&w);
    return true;
}

/* ---- queues ---- */

#define QUEUE_FIELDS(U)                                                                            \
    U(consumers)                                                                                   \
    U(ready)                                                                                       \
    U(unacked)                                                                                     \
    U(ready_bytes)                                                                                 \
    U(unacked_bytes)                                                                               \
    U(persistent)                                                                                  \
    U(persistent_bytes)                                                                            \
    U(paged_out)                                                                                   \
    U(sync_messages)                                                                               \
    U(paged_out_bytes)                                                                             \
    U(disk_reads)                                                                                  \
    U(disk_writes)                                                                                 \
    U(memory_bytes)                                                                                \
    U(published)                                                                                   \
    U(delivered)                                                                                   \
    U(redelivered)                                                                                 \
    U(acked)                                                                                       \
    U(head_timestamp)                                                                              \
    U(lone)

enum {
    QUEUE_FOUND = 1,
    QUEUE_EXCLUSIVE = 2,
    QUEUE_TIMESTAMP = 4,
    QUEUE_LONE_ACTIVE = 8,
    QUEUE_SYNCING = 16,
    QUEUE_LAGS = 32, /* they come last */
};

static uint64_t age_of(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms < now_ms ? now_ms - at_ms : 0;
}

static void put_tag(struct text *out, const struct mgmt_queue *q)
{
    put_u8(out, q->lone_tag_bytes);
    text_slice(out, slice_of(q->lone_tag, q->lone_tag_bytes));
}

static void take_tag(struct wire *w, struct mgmt_queue *q)
{
    struct slice tag = wire_shortstr(w);
    q->lone_tag_bytes = (uint8_t)tag.len;
    if (tag.len != 0)
        memcpy(q->lone_tag, tag.ptr, tag.len);
}

static void put_lags(struct text *out, const struct mgmt_queue *q)
{
    put_u8(out, (uint8_t)q->lag_count);
    for (unsigned i = 0; i < q->lag_count; i++) {
        put_u32(out, q->lags[i].node);
        put_u64(out, q->lags[i].messages);
    }
}

/* A later version may say more of them than there is room for. */
static void take_lags(struct wire *w, struct mgmt_queue *q)
{
    unsigned count = wire_u8(w);
    q->lag_count = count < MIRRORED_LAGS_MAX ? count : MIRRORED_LAGS_MAX;
    for (unsigned i = 0; i < count; i++) {
        struct mirrored_lag lag = { .node = (uint16_t)wire_u32(w) };
        lag.messages = wire_u64(w);
        if (i < MIRRORED_LAGS_MAX)
            q->lags[i] = lag;
    }
}

static void put_queue(struct text *out, const struct mgmt_queue *q, bool with_lags, uint64_t now_ms)
{
    with_lags = with_lags && q->lag_count != 0;
    put_u8(out, (uint8_t)((q->found ? QUEUE_FOUND : 0) | (q->exclusive ? QUEUE_EXCLUSIVE : 0) |
                          (q->has_timestamp ? QUEUE_TIMESTAMP : 0) |
                          (q->lone_is_active ? QUEUE_LONE_ACTIVE : 0) |
                          (q->syncing ? QUEUE_SYNCING : 0) | (with_lags ? QUEUE_LAGS : 0)));
#define U(name) put_u64(out, q->name);
    QUEUE_FIELDS(U)
#undef U
    put_u64(out, age_of(q->used_ms, now_ms));
    put_u64(out, q->lone_channel.connection);
    put_u32(out, q->lone_channel.incarnation);
    put_u32(out, q->lone_channel.number);
    put_tag(out, q);
    if (with_lags)
        put_lags(out, q);
}

void mgmt_wire_put_queues(struct text *out, const struct mgmt_queue *q, size_t count,
                          bool with_lags, uint64_t now_ms)
{
    put_head(out, MGMT_WIRE_QUEUES);
    put_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        put_queue(out, &q[i], with_lags, now_ms);
}

static void take_queue(struct wire *w, struct mgmt_queue *q, uint64_t now_ms)
{
    uint8_t flags = wire_u8(w);
    q->found = (flags & QUEUE_FOUND) != 0;
    q->exclusive = (flags & QUEUE_EXCLUSIVE) != 0;
    q->has_timestamp = (flags & QUEUE_TIMESTAMP) != 0;
    q->lone_is_active = (flags & QUEUE_LONE_ACTIVE) != 0;
    q->syncing = (flags & QUEUE_SYNCING) != 0;
#define U(name) q->name = (__typeof__(q->name))wire_u64(w);
    QUEUE_FIELDS(U)
#undef U
    uint64_t age = wire_u64(w);
    q->used_ms = age < now_ms ? now_ms - age : 0;
    q->lone_channel.connection = wire_u64(w);
    q->lone_channel.incarnation = wire_u32(w);
    q->lone_channel.number = (uint16_t)wire_u32(w);
    take_tag(w, q);
    q->lag_count = 0;
    if ((flags & QUEUE_LAGS) != 0)
        take_lags(w, q);
}

bool mgmt_wire_take_queues(struct slice in, struct mgmt_queue *const *q, size_t count,
                           uint64_t now_ms)
{
    struct wire w = wire_over(in);
    if (!take_head(&w, MGMT_WIRE_QUEUES) || wire_u32(&w) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        take_queue(&w, q[i], now_ms);
    return has_ended(&w);
}

void mgmt_wire_put_tags(struct text *out, const struct mgmt_queue *q, size_t count)
{
    put_head(out, MGMT_WIRE_TAGS);
    put_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        put_tag(out, &q[i]);
}

bool mgmt_wire_take_tags(struct slice in, struct mgmt_queue *const *q, size_t count)
{
    struct wire w = wire_over(in);
    if (!take_head(&w, MGMT_WIRE_TAGS) || wire_u32(&w) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        take_tag(&w, q[i]);
    return has_ended(&w);
}

void mgmt_wire_put_activities(struct text *out, const struct mgmt_consumer *c, size_t count)
{
    put_head(out, MGMT_WIRE_ACTIVITIES);
    put_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        put_u8(out, (uint8_t)c[i].activity);
}

bool mgmt_wire_take_activities(struct slice in, struct mgmt_consumer *const *c, size_t count)
{
    struct wire w = wire_over(in);
    if (!take_head(&w, MGMT_WIRE_ACTIVITIES) || wire_u32(&w) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint8_t activity = wire_u8(&w);
        if (activity > MGMT_WAITING)
            return false;
        c[i]->activity = (enum mgmt_activity)activity;
    }
    return has_ended(&w);
}

/* ---- clients ---- */

#define CONNECTION_FIELDS(U)                                                                       \
    U(id)                                                                                          \
    U(vhost_id)                                                                                    \
    U(blocked)                                                                                     \
    U(channel_max)                                                                                 \
    U(heartbeat_s)                                                                                 \
    U(frame_max)                                                                                   \
    U(channels)                                                                                    \
    U(connected_ms)                                                                                \
    U(in_bytes)                                                                                    \
    U(out_bytes)                                                                                   \
    U(in_count)                                                                                    \
    U(out_count)                                                                                   \
    U(pending_bytes)

#define CHANNEL_FIELDS(U)                                                                          \
    U(connection)                                                                                  \
    U(number)                                                                                      \
    U(prefetch)                                                                                    \
    U(channel_prefetch)                                                                            \
    U(confirms)                                                                                    \
    U(consumers)                                                                                   \
    U(unacked)                                                                                     \
    U(unconfirmed)                                                                                 \
    U(transactional)                                                                               \
    U(uncommitted)                                                                                 \
    U(uncommitted_acks)

#define CONSUMER_FIELDS(U)                                                                         \
    U(connection)                                                                                  \
    U(channel)                                                                                     \
    U(prefetch)                                                                                    \
    U(no_ack)                                                                                      \
    U(exclusive)                                                                                   \
    U(id)                                                                                          \
    U(qid)

/* An item takes at least a number for each of its fields, the head of it for the compiler. */
#define ONE(name)        +1u
#define CONNECTION_LEAST (8u * (0u CONNECTION_FIELDS(ONE)))
#define CHANNEL_LEAST    (8u * (0u CHANNEL_FIELDS(ONE) CHANNEL_COUNTERS(ONE)))
#define CONSUMER_LEAST   (8u * (0u CONSUMER_FIELDS(ONE)))

static void put_address(struct text *out, const struct sock_addr *a)
{
    char room[SOCK_ADDR_TEXT_MAX];
    put_longstr(out, slice_str(sock_addr_host(a, room)));
    put_u32(out, sock_addr_is_unix(a) ? 0 : sock_addr_port(a));
}

/* What is no address of the network, as the end of a unix socket, is shown as one without a name.
 */
static void take_address(struct wire *w, struct sock_addr *out)
{
    char room[SOCK_ADDR_TEXT_MAX];
    struct text host = text_over(room, sizeof room);
    text_slice(&host, wire_longstr(w));
    uint16_t port = (uint16_t)wire_u32(w);
    if (!sock_addr_ip(room, port, out) && !sock_addr_unix("", out))
        *out = (struct sock_addr){ .len = 0 };
}

static void put_text(struct text *out, const char *text)
{
    put_longstr(out, slice_str(text != NULL ? text : ""));
}

/* An empty one is NULL. */
static char *take_text(struct wire *w)
{
    struct slice s = wire_longstr(w);
    if (s.len == 0)
        return NULL;
    char *text = mem_zalloc(s.len + 1);
    memcpy(text, s.ptr, s.len);
    return text;
}

static void take_word(struct wire *w, char *room, size_t room_bytes)
{
    struct text t = text_over(room, room_bytes);
    text_slice(&t, wire_longstr(w));
}

#define TLS_WORDS(W) W(protocol) W(key_exchange) W(cipher) W(hash)
#define TLS_TEXTS(T) T(subject) T(issuer) T(validity)

static void put_tls(struct text *out, const struct tls_about *tls)
{
    put_u8(out, tls != NULL);
    if (tls == NULL)
        return;
#define X(name) put_text(out, tls->name);
    TLS_WORDS(X)
    TLS_TEXTS(X)
#undef X
}

static struct tls_about *take_tls(struct wire *w)
{
    if (wire_u8(w) == 0)
        return NULL;
    struct tls_about *tls = mem_zalloc(sizeof *tls);
#define X(name) take_word(w, tls->name, sizeof tls->name);
    TLS_WORDS(X)
#undef X
#define X(name) tls->name = take_text(w);
    TLS_TEXTS(X)
#undef X
    return tls;
}

static void put_connection(struct text *out, const struct mgmt_connection *c)
{
#define U(name) put_u64(out, c->name);
    CONNECTION_FIELDS(U)
#undef U
    put_address(out, &c->client);
    put_address(out, &c->local);
    put_text(out, c->user);
    put_text(out, c->mechanism);
    put_tls(out, c->tls);
    put_longstr(out, slice_of(c->client_properties, c->client_properties_bytes));
}

static void take_connection(struct wire *w, struct mgmt_connection *c)
{
#define U(name) c->name = (__typeof__(c->name))wire_u64(w);
    CONNECTION_FIELDS(U)
#undef U
    take_address(w, &c->client);
    take_address(w, &c->local);
    c->user = take_text(w);
    if (c->user == NULL)
        c->user = mem_strdup("");
    take_word(w, c->mechanism, sizeof c->mechanism);
    c->tls = take_tls(w);
    struct slice properties = wire_longstr(w);
    c->client_properties_bytes = (uint32_t)properties.len;
    c->client_properties = properties.len != 0 ? mem_dup(properties.ptr, properties.len) : NULL;
}

static void put_channel(struct text *out, const struct mgmt_channel *c)
{
#define U(name) put_u64(out, c->name);
    CHANNEL_FIELDS(U)
#undef U
#define U(name) put_u64(out, c->counts.name);
    CHANNEL_COUNTERS(U)
#undef U
}

static void take_channel(struct wire *w, struct mgmt_channel *c)
{
#define U(name) c->name = (__typeof__(c->name))wire_u64(w);
    CHANNEL_FIELDS(U)
#undef U
#define U(name) c->counts.name = wire_u64(w);
    CHANNEL_COUNTERS(U)
#undef U
}

static void put_consumer(struct text *out, const struct mgmt_consumer *c)
{
#define U(name) put_u64(out, c->name);
    CONSUMER_FIELDS(U)
#undef U
    put_u8(out, (uint8_t)c->activity);
    put_u8(out, c->tag_bytes);
    text_slice(out, slice_of(c->tag, c->tag_bytes));
    put_longstr(out, slice_of(c->arguments, c->arguments_bytes));
}

static void take_consumer(struct wire *w, struct mgmt_consumer *c)
{
#define U(name) c->name = (__typeof__(c->name))wire_u64(w);
    CONSUMER_FIELDS(U)
#undef U
    uint8_t activity = wire_u8(w);
    c->activity = activity <= MGMT_WAITING ? (enum mgmt_activity)activity : MGMT_UP;
    struct slice tag = wire_shortstr(w);
    c->tag_bytes = (uint8_t)tag.len;
    if (tag.len != 0)
        memcpy(c->tag, tag.ptr, tag.len);
    struct slice arguments = wire_longstr(w);
    c->arguments_bytes = (uint32_t)arguments.len;
    c->arguments = arguments.len != 0 ? mem_dup(arguments.ptr, arguments.len) : NULL;
}

void mgmt_wire_put_clients(struct text *out, const struct mgmt_wire_clients *c)
{
    put_head(out, MGMT_WIRE_CLIENTS);
    put_u32(out, (uint32_t)c->connection_count);
    for (size_t i = 0; i < c->connection_count; i++)
        put_connection(out, &c->connections[i]);
    put_u32(out, (uint32_t)c->channel_count);
    for (size_t i = 0; i < c->channel_count; i++)
        put_channel(out, &c->channels[i]);
    put_u32(out, (uint32_t)c->consumer_count);
    for (size_t i = 0; i < c->consumer_count; i++)
        put_consumer(out, &c->consumers[i]);
}

/* One more than `count`, so that there is always something. */
static void *zeros(size_t count, size_t item_bytes)
{
    return memset(mem_array(count + 1, item_bytes), 0, (count + 1) * item_bytes);
}

bool mgmt_wire_take_clients(struct slice in, struct mgmt_wire_clients *out)
{
    struct wire w = wire_over(in);
    *out = (struct mgmt_wire_clients){ 0 };
    bool ok = take_head(&w, MGMT_WIRE_CLIENTS) &&
              take_count(&w, CONNECTION_LEAST, &out->connection_count);
    out->connections = zeros(out->connection_count, sizeof *out->connections);
    for (size_t i = 0; i < out->connection_count; i++)
        take_connection(&w, &out->connections[i]);
    ok = ok && take_count(&w, CHANNEL_LEAST, &out->channel_count);
    out->channels = zeros(out->channel_count, sizeof *out->channels);
    for (size_t i = 0; i < out->channel_count; i++)
        take_channel(&w, &out->channels[i]);
    ok = ok && take_count(&w, CONSUMER_LEAST, &out->consumer_count);
    out->consumers = zeros(out->consumer_count, sizeof *out->consumers);
    for (size_t i = 0; i < out->consumer_count; i++)
        take_consumer(&w, &out->consumers[i]);
    if (ok && has_ended(&w))
        return true;
    mgmt_wire_free_clients(out);
    return false;
}

void mgmt_wire_free_clients(struct mgmt_wire_clients *c)
{
    for (size_t i = 0; i < c->connection_count; i++) {
        mem_free(c->connections[i].user);
        tls_about_free(&c->connections[i].tls);
        mem_free(c->connections[i].client_properties);
    }
    for (size_t i = 0; i < c->consumer_count; i++)
        mem_free(c->consumers[i].arguments);
    mem_free(c->connections);
    mem_free(c->channels);
    mem_free(c->consumers);
    *c = (struct mgmt_wire_clients){ 0 };
}
