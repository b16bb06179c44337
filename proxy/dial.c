#include "dial.h"

#include "base/check.h"
#include "io/clock.h"
#include "io/proxy_proto.h"
#include "io/random.h"

_Static_assert(PROXY_V2_BUILD_MAX <= STREAM_PRELUDE_MAX, "a PROXY header fits a prelude");

const struct sock_addr *dial_address(const struct server *server)
{
    return (const struct sock_addr *)(uintptr_t)shared_get(&server->live->address);
}

static bool is_ours(const struct server *server, const struct dial_client *client)
{
    return client != NULL && client->speaks_amqp && !server->conf->send_proxy_v1 &&
           shared_get(&server->live->ours) != 0;
}

bool dial_tells_names(const struct server *server, const struct dial_client *client,
                      struct slice cookie)
{
    return cookie.len != 0 && (server->conf->send_proxy || is_ours(server, client));
}

static void put_client(struct wire_out *w, const struct server_conf *conf,
                       const struct sock_addr *to, const struct dial_client *client,
                       struct slice cookie, const uint8_t *nonce)
{
    struct proxy_tls tls;
    struct proxy_names names = client_tls_names(client->stream);
    struct proxy_told told = { .names = client->is_spoken_for ? &names : NULL };
    names.at_ms = clock_wall_ms();
    proxy_proto_place(to, names.place);
    client_tls_look(client->stream, client->told, &tls);
    if (!conf->send_proxy_ssl_cn)
        tls.common_name = slice_of(NULL, 0);
    if (conf->send_proxy_ssl)
        told.tls = &tls;
    proxy_proto_put_v2_told(w, client->address, client->door, cookie, nonce, &told);
}

/* A check has no client. Where there is a cookie it is told as a connection from the server to
 * itself, for only addresses can be proven, and a broker listens to nobody else who sends a header.
 */
static void send_header_v2(struct stream *s, const struct server_conf *conf,
                           const struct sock_addr *to, const struct dial_client *client,
                           struct slice cookie)
{
    uint8_t room[PROXY_V2_BUILD_MAX];
    uint8_t nonce[PROXY_NONCE_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    random_octets(nonce, sizeof nonce);
    if (client != NULL)
        put_client(&w, conf, to, client, cookie, nonce);
    else if (cookie.len != 0)
        proxy_proto_put_v2(&w, to, to, cookie, nonce);
    else
        proxy_proto_put_v2_local(&w);
    CHECK(!w.overflow);
    stream_prelude(s, wire_out_slice(&w));
}

/* A check tells of itself, as HAProxy's does. */
static void send_header_v1(struct stream *s, const struct sock_addr *to,
                           const struct dial_client *client)
{
    uint8_t room[PROXY_V1_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    proxy_proto_put_v1(&w, client != NULL ? client->address : to,
                       client != NULL ? client->door : to);
    CHECK(!w.overflow);
    stream_prelude(s, wire_out_slice(&w));
}

struct stream *dial(struct loop *loop, const struct server *server, const struct sock_addr *to,
                    uint64_t timeout_ms, const struct dial_client *client, struct slice cookie,
                    const struct stream_handlers *handlers, void *arg)
{
    const struct server_conf *conf = server->conf;
    struct stream *s = stream_connect_as(loop, to, timeout_ms, true, handlers, arg);
    if (conf->send_proxy || dial_tells_names(server, client, cookie))
        send_header_v2(s, conf, to, client, cookie);
    else if (conf->send_proxy_v1)
        send_header_v1(s, to, client);
    if (server->tls != NULL)
        stream_start_tls_client(s, server->tls, conf->sni != NULL ? conf->sni : conf->at.host);
    return s;
}
