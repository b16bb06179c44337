/* list_connections and list_channels. */
#include "base/mem.h"
#include "io/tls_about.h"
#include "mgmt/ctl_columns.h"
#include "mgmt/ctl_lister.h"
#include "mgmt/mgmt_ask.h"
#include "mgmt/mgmt_http.h"

#define CLIENT_NAME_MAX (2 * SOCK_ADDR_TEXT_MAX + 8)

/* "127.0.0.1:4711 -> 127.0.0.1:5672" */
static void put_client_name(const struct mgmt_connection *c, struct text *out)
{
    char from[SOCK_ADDR_TEXT_MAX], to[SOCK_ADDR_TEXT_MAX];
    text_put(out, "%s -> %s", sock_addr_text(&c->client, from), sock_addr_text(&c->local, to));
}

/* ---- connections ---- */

struct row {
    const struct ctl *ctl;
    const struct meta_version *v;
    const struct mgmt_connection *c;
    const struct mgmt_channel *ch; /* of a channel's row */
    struct ctl_row *out;
};

static void put_connection_pid(const struct row *r)
{
    char room[CTL_PID_MAX];
    struct text t = text_over(room, sizeof room);
    ctl_pid_of_connection(r->ctl, r->c->id, &t);
    ctl_row_slice(r->out, text_view(&t));
}

static void put_connection_name(const struct row *r)
{
    char room[CLIENT_NAME_MAX];
    struct text t = text_over(room, sizeof room);
    put_client_name(r->c, &t);
    ctl_row_slice(r->out, text_view(&t));
}

static void put_host(const struct row *r, const struct sock_addr *a)
{
    char room[SOCK_ADDR_TEXT_MAX];
    ctl_row_str(r->out, sock_addr_host(a, room));
}

static void put_connection_host(const struct row *r)
{
    put_host(r, &r->c->local);
}

static void put_connection_peer_host(const struct row *r)
{
    put_host(r, &r->c->client);
}

static void put_connection_vhost(const struct row *r)
{
    const struct meta_vhost *vh = meta_vhost_get(r->v, r->c->vhost_id);
    ctl_row_slice(r->out, vh != NULL ? meta_vhost_name(vh) : slice_str(""));
}

#define NUMBER(kind, name, value)                                                                  \
    static void put_##kind##_##name(const struct row *r)                                           \
    {                                                                                              \
        ctl_row_u64(r->out, (value));                                                              \
    }
#define WORD(kind, name, value)                                                                    \
    static void put_##kind##_##name(const struct row *r)                                           \
    {                                                                                              \
        ctl_row_str(r->out, (value));                                                              \
    }
#define BOOLEAN(kind, name, value)                                                                 \
    static void put_##kind##_##name(const struct row *r)                                           \
    {                                                                                              \
        ctl_row_bool(r->out, (value));                                                             \
    }

NUMBER(connection, port, sock_addr_port(&r->c->local))
NUMBER(connection, peer_port, sock_addr_port(&r->c->client))
BOOLEAN(connection, ssl, r->c->tls != NULL)

static void put_tls(const struct row *r, const char *value)
{
    ctl_row_str(r->out, value != NULL ? value : "");
}

#define TLS_WORD(name, word)                                                                       \
    static void put_connection_##name(const struct row *r)                                         \
    {                                                                                              \
        put_tls(r, r->c->tls != NULL ? r->c->tls->word : NULL);                                    \
    }

TLS_WORD(ssl_protocol, protocol)
TLS_WORD(ssl_key_exchange, key_exchange)
TLS_WORD(ssl_cipher, cipher)
TLS_WORD(ssl_hash, hash)
TLS_WORD(peer_cert_subject, subject)
TLS_WORD(peer_cert_issuer, issuer)
TLS_WORD(peer_cert_validity, validity)
WORD(connection, state, r->c->blocked ? "blocked" : "running")
NUMBER(connection, channels, r->c->channels)

static void put_connection_client_properties(const struct row *r)
{
    ctl_row_table(r->out, slice_of(r->c->client_properties, r->c->client_properties_bytes));
}

static void put_connection_protocol(const struct row *r)
{
    ctl_row_json(r->out, "[0,9,1]");
}

WORD(connection, auth_mechanism, r->c->mechanism)
WORD(connection, user, r->c->user)
NUMBER(connection, timeout, r->c->heartbeat_s)
NUMBER(connection, frame_max, r->c->frame_max)
NUMBER(connection, channel_max, r->c->channel_max)
NUMBER(connection, recv_oct, r->c->in_bytes)
NUMBER(connection, send_oct, r->c->out_bytes)
NUMBER(connection, send_pend, r->c->pending_bytes)
NUMBER(connection, recv_cnt, r->c->in_count)
NUMBER(connection, send_cnt, r->c->out_count)
NUMBER(connection, connected_at, r->c->connected_ms)

static const char *const connection_names[] = {
#define X(name) #name,
    CTL_CONNECTION_COLUMNS(X)
#undef X
};

static void (*const connection_puts[])(const struct row *r) = {
#define X(name) put_connection_##name,
    CTL_CONNECTION_COLUMNS(X)
#undef X
};

/* ---- channels ---- */

static void put_channel_pid(const struct row *r)
{
    char room[CTL_PID_MAX];
    struct text t = text_over(room, sizeof room);
    ctl_pid_of_channel(r->ctl, r->c->id, r->ch->number, &t);
    ctl_row_slice(r->out, text_view(&t));
}

static void put_channel_name(const struct row *r)
{
    char room[CLIENT_NAME_MAX + 16];
    struct text t = text_over(room, sizeof room);
    put_client_name(r->c, &t);
    text_put(&t, " (%u)", (unsigned)r->ch->number);
    ctl_row_slice(r->out, text_view(&t));
}

static void put_channel_connection(const struct row *r)
{
    put_connection_pid(r);
}

static void put_channel_user(const struct row *r)
{
    put_connection_user(r);
}

static void put_channel_vhost(const struct row *r)
{
    put_connection_vhost(r);
}

NUMBER(channel, number, r->ch->number)
BOOLEAN(channel, transactional, r->ch->transactional)
BOOLEAN(channel, confirm, r->ch->confirms)
NUMBER(channel, consumer_count, r->ch->consumers)
NUMBER(channel, messages_unacknowledged, r->ch->unacked)
NUMBER(channel, messages_uncommitted, r->ch->uncommitted)
NUMBER(channel, acks_uncommitted, r->ch->uncommitted_acks)
NUMBER(channel, messages_unconfirmed, r->ch->unconfirmed)
NUMBER(channel, prefetch_count, r->ch->prefetch)
NUMBER(channel, global_prefetch_count, r->ch->channel_prefetch)

static const char *const channel_names[] = {
#define X(name) #name,
    CTL_CHANNEL_COLUMNS(X)
#undef X
};

static void (*const channel_puts[])(const struct row *r) = {
#define X(name) put_channel_##name,
    CTL_CHANNEL_COLUMNS(X)
#undef X
};

/* ---- consumers ---- */

struct consumer_row {
    const struct ctl *ctl;
    const struct meta_queue *q;
    const struct mgmt_consumer *k;
    struct ctl_row *out;
};

static void put_consumer_queue_name(const struct consumer_row *r)
{
    ctl_row_slice(r->out, meta_queue_name(r->q));
}

static void put_consumer_channel_pid(const struct consumer_row *r)
{
    char room[CTL_PID_MAX];
    struct text t = text_over(room, sizeof room);
    ctl_pid_of_channel(r->ctl, r->k->connection, r->k->channel, &t);
    ctl_row_slice(r->out, text_view(&t));
}

static void put_consumer_consumer_tag(const struct consumer_row *r)
{
    ctl_row_slice(r->out, slice_of(r->k->tag, r->k->tag_bytes));
}

static void put_consumer_ack_required(const struct consumer_row *r)
{
    ctl_row_bool(r->out, !r->k->no_ack);
}

static void put_consumer_prefetch_count(const struct consumer_row *r)
{
    ctl_row_u64(r->out, r->k->prefetch);
}

static void put_consumer_active(const struct consumer_row *r)
{
    ctl_row_bool(r->out, r->k->activity != MGMT_WAITING);
}

static void put_consumer_activity_status(const struct consumer_row *r)
{
    ctl_row_str(r->out, mgmt_activity_name(r->k->activity));
}

static void put_consumer_arguments(const struct consumer_row *r)
{
    ctl_row_table(r->out, slice_of(r->k->arguments, r->k->arguments_bytes));
}

static const char *const consumer_names[] = {
#define X(name) #name,
    CTL_CONSUMER_COLUMNS(X)
#undef X
};

static void (*const consumer_puts[])(const struct consumer_row *r) = {
#define X(name) put_consumer_##name,
    CTL_CONSUMER_COLUMNS(X)
#undef X
};

static void on_consumers(struct mgmt_ask *a, void *arg)
{
    struct ctl_list *l = arg;
    const struct meta_version *v = broker_meta(l->ctl->broker);
    struct text rows = ctl_list_rows();
    size_t count;
    const struct mgmt_consumer *k = mgmt_ask_consumer_list(a, &count);
    for (size_t i = 0; i < count; i++) {
        const struct meta_queue *q = meta_queue_get(v, k[i].qid);
        if (q == NULL || (l->vhost_id != 0 && q->vhost_id != l->vhost_id))
            continue;
        struct ctl_row out;
        struct consumer_row r = { l->ctl, q, &k[i], &out };
        ctl_row_begin(&out, &rows);
        for (unsigned c = 0; c < l->column_count; c++)
            consumer_puts[l->columns[c]](&r);
        ctl_row_end(&out);
    }
    ctl_list_reply(l, &rows);
}

static void consumers_piece(struct ctl_list *l)
{
    mgmt_ask_clients(l->ctl->broker, l->ctl->loop, mgmt_http_peers(l->ctl->mgmt), MGMT_CONSUMERS,
                     on_consumers, l);
}

const struct ctl_lister ctl_lister_consumers = {
    .what = "consumers",
    .columns = consumer_names,
    .column_count = ARRAY_COUNT(consumer_names),
    .piece = consumers_piece,
};

/* ---- rows ---- */

static void add_row(struct ctl_list *l, struct row *r, void (*const *puts_of)(const struct row *),
                    struct text *rows)
{
    struct ctl_row out;
    r->out = &out;
    ctl_row_begin(&out, rows);
    for (unsigned c = 0; c < l->column_count; c++)
        puts_of[l->columns[c]](r);
    ctl_row_end(&out);
}

static void add_connections(struct ctl_list *l, const struct mgmt_ask *a, struct text *rows)
{
    size_t count;
    const struct mgmt_connection *c = mgmt_ask_connection_list(a, &count);
    for (size_t i = 0; i < count; i++) {
        struct row r = { l->ctl, broker_meta(l->ctl->broker), &c[i], NULL, NULL };
        add_row(l, &r, connection_puts, rows);
    }
}

/* Channels come behind each other as their connections do. */
static void add_channels(struct ctl_list *l, const struct mgmt_ask *a, struct text *rows)
{
    size_t connections, channels, at = 0;
    const struct mgmt_connection *c = mgmt_ask_connection_list(a, &connections);
    const struct mgmt_channel *ch = mgmt_ask_channel_list(a, &channels);
    for (size_t i = 0; i < channels; i++) {
        while (at < connections && c[at].id != ch[i].connection)
            at++;
        struct row r = { l->ctl, broker_meta(l->ctl->broker), &c[at], &ch[i], NULL };
        add_row(l, &r, channel_puts, rows);
    }
}

static void on_clients(struct mgmt_ask *a, void *arg)
{
    struct ctl_list *l = arg;
    struct text rows = ctl_list_rows();
    if (l->how == &ctl_lister_channels)
        add_channels(l, a, &rows);
    else
        add_connections(l, a, &rows);
    ctl_list_reply(l, &rows);
}

static void piece(struct ctl_list *l)
{
    mgmt_ask_clients(l->ctl->broker, l->ctl->loop, mgmt_http_peers(l->ctl->mgmt),
                     l->how == &ctl_lister_channels ? MGMT_CHANNELS : MGMT_CONNECTIONS, on_clients,
                     l);
}

const struct ctl_lister ctl_lister_connections = {
    .what = "connections",
    .columns = connection_names,
    .column_count = ARRAY_COUNT(connection_names),
    .piece = piece,
};

const struct ctl_lister ctl_lister_channels = {
    .what = "channels",
    .columns = channel_names,
    .column_count = ARRAY_COUNT(channel_names),
    .piece = piece,
};
