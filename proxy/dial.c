#include "dial.h"

#include "base/check.h"
#include "io/proxy_proto.h"
#include "io/random.h"

_Static_assert(PROXY_V2_BUILD_MAX <= STREAM_PRELUDE_MAX, "a PROXY header fits a prelude");

const struct sock_addr *dial_address(const struct server *server)
{
    return (const struct sock_addr *)(uintptr_t)shared_get(&server->live->address);
}

/* A check has no client. Where there is a cookie it is told as a connection from the server to
 * itself, for only addresses can be proven, and a broker listens to nobody else who sends a header.
 */
static void send_header_v2(struct stream *s, const struct sock_addr *to,
                           const struct sock_addr *client, const struct sock_addr *door,
                           struct slice cookie)
{
    uint8_t room[PROXY_V2_BUILD_MAX];
    uint8_t nonce[PROXY_NONCE_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    random_octets(nonce, sizeof nonce);
    if (client != NULL)
        proxy_proto_put_v2(&w, client, door, cookie, nonce);
    else if (cookie.len != 0)
        proxy_proto_put_v2(&w, to, to, cookie, nonce);
    else
        proxy_proto_put_v2_local(&w);
    CHECK(!w.overflow);
    stream_prelude(s, wire_out_slice(&w));
}

/* A check tells of itself, as HAProxy's does. */
static void send_header_v1(struct stream *s, const struct sock_addr *to,
                           const struct sock_addr *client, const struct sock_addr *door)
{
    uint8_t room[PROXY_V1_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    proxy_proto_put_v1(&w, client != NULL ? client : to, client != NULL ? door : to);
    CHECK(!w.overflow);
    stream_prelude(s, wire_out_slice(&w));
}

struct stream *dial(struct loop *loop, const struct server *server, const struct sock_addr *to,
                    uint64_t timeout_ms, const struct sock_addr *client,
                    const struct sock_addr *door, struct slice cookie,
                    const struct stream_handlers *handlers, void *arg)
{
    const struct server_conf *conf = server->conf;
    struct stream *s = stream_connect(loop, to, timeout_ms, handlers, arg);
    if (conf->send_proxy)
        send_header_v2(s, to, client, door, cookie);
    else if (conf->send_proxy_v1)
        send_header_v1(s, to, client, door);
    if (server->tls != NULL)
        stream_start_tls_client(s, server->tls, conf->sni != NULL ? conf->sni : conf->at.host);
    return s;
}
