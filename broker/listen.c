#include "listen.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/connection.h"
#include "client/guest.h"
#include "io/mailbox.h"
#include "io/nets.h"
#include "io/sock.h"
#include "io/tls.h"
#include "live.h"
#include "shard.h"

#include <string.h>

/* One address at one shard. */
struct ear {
    struct listen *listen;
    struct listener *door;
    struct shard *shard;
    struct listener *listener;
    struct tls_ctx *tls; /* a reference of this shard's own, or NULL */
    bool secure;
    struct guest_list guests; /* at a TLS port, before TLS */
};

struct listen {
    struct broker *broker;
    struct loop *loop;       /* the control thread's */
    struct listener **doors; /* bound, and not accepted from: what the ears share */
    size_t door_count;
    struct ear *ears;
    size_t count;
    size_t to_close; /* ears, once it is stopped */
};

static void on_client(int fd, const struct sock_addr *peer, void *arg)
{
    struct ear *ear = arg;
    if (ear->shard->stopping) {
        sock_close(fd);
        return;
    }
    sock_do_not_pace(fd, peer);
    if (ear->tls != NULL)
        guest_new(&ear->guests, ear->shard, fd, peer, ear->tls);
    else
        connection_new(ear->shard, fd, peer, NULL, NULL);
}

bool listen_address(const struct conf_address *a, const char *key, struct sock_addr *out,
                    struct err *err)
{
    if (a->kind == CONF_ADDRESS_UNIX) {
        if (sock_addr_unix(a->path, out))
            return true;
        return err_set(err, ERR_CONFIG, "[listen] %s: the path %s is too long", key, a->path);
    }
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    if (sock_addr_ip(host, a->port, out))
        return true;
    return err_set(err, ERR_CONFIG, "[listen] %s: %s is a name; give an address of this host", key,
                   a->host);
}

struct tls_ctx *listen_tls(const struct broker_conf *conf, struct err *err)
{
    struct tls_ctx *tls = tls_server_ctx_new(
        &(struct tls_options){
            .cert_file = conf->tls.cert,
            .key_file = conf->tls.key,
            .ca_file = conf->tls.ca,
            .verify_peer = conf->tls.verify != BROKER_VERIFY_NONE,
            .nobody_may_come = conf->tls.verify == BROKER_VERIFY_OPTIONAL,
            .min_version = conf->tls.min_version == BROKER_TLS_1_3 ? "1.3" : "1.2",
        },
        err);
    if (tls == NULL)
        (void)err_context(err, "[tls]");
    return tls;
}

bool listen_wants_tls(const struct broker_conf *conf)
{
    return conf->listen.amqps.count != 0 || conf->listen.management_tls.count != 0;
}

/* Doors are never opened: clients come through the ears. */
static void on_nobody(int fd, const struct sock_addr *peer, void *arg)
{
    (void)peer;
    (void)arg;
    sock_close(fd);
}

/* From the control thread to the shard of an ear, and, when it is closed, back. */
struct ear_notice {
    struct mail mail;
    struct ear *ear;
    struct tls_ctx *tls;
};

static void tell(struct ear *ear, mail_fn fn, struct tls_ctx *tls)
{
    struct ear_notice *n = mem_zalloc(sizeof *n);
    *n = (struct ear_notice){ { NULL, fn }, ear, tls };
    mailbox_post(ear->shard->loop, &n->mail);
}

static void on_begin(struct mail *mail)
{
    struct ear_notice *n = CONTAINER_OF(mail, struct ear_notice, mail);
    struct ear *ear = n->ear;
    struct err err;
    mem_free(n);
    ear->listener = listener_share(ear->door, ear->shard->loop, on_client, ear, &err);
    if (ear->listener == NULL)
        log_error("listen", "-", "a shard does not accept: %s", err.text);
}

/* One socket, which all shards share, so that a port the system chose is one port, and a second
 * broker on the same port is refused. */
static bool add_address(struct listen *l, const struct conf_address *a, const char *key,
                        struct tls_ctx *tls, struct err *err)
{
    struct sock_addr at;
    if (!listen_address(a, key, &at, err))
        return false;
    struct listener *door = listener_new(
        l->loop, &at, &(struct listener_options){ .carries_much = true }, on_nobody, NULL, err);
    if (door == NULL)
        return err_context(err, "[listen] %s", key);
    listener_pause(door);
    l->doors[l->door_count++] = door;
    for (uint32_t i = 0; i < broker_shard_count(l->broker); i++) {
        struct ear *ear = &l->ears[l->count++];
        *ear = (struct ear){ .listen = l, .door = door, .shard = broker_shard(l->broker, i) };
        ear->secure = tls != NULL;
        ear->tls = tls != NULL ? tls_ctx_ref(tls) : NULL;
    }
    char where[SOCK_ADDR_TEXT_MAX];
    log_info("listen", sock_addr_text(listener_addr(door), where), "accepting AMQP%s",
             tls != NULL ? " over TLS" : "");
    return true;
}

static bool check_networks(const struct broker_conf *conf, struct err *err)
{
    struct net net;
    for (size_t i = 0; i < conf->listen.proxy_protocol.count; i++) {
        if (!net_of(conf->listen.proxy_protocol.items[i], &net, err))
            return err_context(err, "[listen] proxy-protocol");
    }
    return true;
}

static bool add_all(struct listen *l, struct err *err)
{
    const struct broker_conf *conf = broker_live(l->broker)->conf;
    for (size_t i = 0; i < conf->listen.amqp.count; i++) {
        if (!add_address(l, &conf->listen.amqp.items[i], "amqp", NULL, err))
            return false;
    }
    struct tls_ctx *tls = broker_live(l->broker)->tls;
    CHECK(tls != NULL || conf->listen.amqps.count == 0);
    for (size_t i = 0; i < conf->listen.amqps.count; i++) {
        if (!add_address(l, &conf->listen.amqps.items[i], "amqps", tls, err))
            return false;
    }
    return true;
}

struct listen *listen_new(struct broker *b, struct loop *loop, struct err *err)
{
    const struct broker_conf *conf = broker_live(b)->conf;
    struct listen *l = mem_zalloc(sizeof *l);
    l->broker = b;
    l->loop = loop;
    size_t addresses = conf->listen.amqp.count + conf->listen.amqps.count;
    l->doors = mem_array(addresses + 1, sizeof(struct listener *));
    l->ears = mem_array(addresses * broker_shard_count(b) + 1, sizeof *l->ears);
    if (!check_networks(conf, err) || !add_all(l, err)) {
        listen_free(&l);
        return NULL;
    }
    for (size_t i = 0; i < l->count; i++)
        tell(&l->ears[i], on_begin, NULL);
    return l;
}

/* ---- stopping, and certificates ---- */

static void on_closed(struct mail *mail)
{
    struct ear_notice *n = CONTAINER_OF(mail, struct ear_notice, mail);
    struct listen *l = n->ear->listen;
    mem_free(n);
    CHECK(l->to_close > 0);
    if (--l->to_close == 0)
        listen_free(&l);
}

static void on_end(struct mail *mail)
{
    struct ear_notice *n = CONTAINER_OF(mail, struct ear_notice, mail);
    listener_free(&n->ear->listener);
    guest_send_away(&n->ear->guests);
    n->mail.fn = on_closed;
    mailbox_post(n->ear->listen->loop, &n->mail);
}

void listen_stop(struct listen **listen)
{
    struct listen *l = *listen;
    *listen = NULL;
    l->to_close = l->count;
    for (size_t i = 0, count = l->count; i < count; i++)
        tell(&l->ears[i], on_end, NULL);
    if (l->count == 0)
        listen_free(&l);
}

static void on_tls(struct mail *mail)
{
    struct ear_notice *n = CONTAINER_OF(mail, struct ear_notice, mail);
    tls_ctx_unref(&n->ear->tls);
    n->ear->tls = n->tls;
    mem_free(n);
}

void listen_set_tls(struct listen *l, struct tls_ctx *tls)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->ears[i].secure)
            tell(&l->ears[i], on_tls, tls_ctx_ref(tls));
    }
}

void listen_free(struct listen **listen)
{
    struct listen *l = *listen;
    if (l == NULL)
        return;
    *listen = NULL;
    for (size_t i = 0; i < l->count; i++) {
        listener_free(&l->ears[i].listener);
        guest_send_away(&l->ears[i].guests);
        if (l->ears[i].tls != NULL)
            tls_ctx_unref(&l->ears[i].tls);
    }
    while (l->door_count != 0)
        listener_free(&l->doors[--l->door_count]);
    mem_free(l->doors);
    mem_free(l->ears);
    mem_free(l);
}
