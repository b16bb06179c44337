#include "doorway.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "broker.h"
#include "link/link_door.h"
#include "listen.h"
#include "live.h"
#include "mirror_link/mirror_links.h"
#include "remote/remote.h"

struct doorway {
    struct broker *broker;
    struct link_node *node;
    struct link_door *door;
    uint16_t port;
};

static bool set_certificate(struct link_node *n, const struct broker_conf *conf, struct err *err)
{
    struct link_certificate c = { .cert_file = conf->tls.cert,
                                  .key_file = conf->tls.key,
                                  .ca_file = conf->tls.ca,
                                  .demanded = conf->tls.verify == BROKER_VERIFY_PEER };
    bool shown = conf->tls.cert != NULL && conf->tls.verify != BROKER_VERIFY_NONE;
    return link_node_set_certificate(n, shown ? &c : NULL, err) || err_context(err, "[tls]");
}

bool doorway_set_certificate(struct doorway *d, const struct broker_conf *conf, struct err *err)
{
    return set_certificate(d->node, conf, err);
}

struct doorway *doorway_new(struct broker *b, struct err *err)
{
    struct link_identity self = { .node = 0 };
    struct text name = text_over(self.name, sizeof self.name);
    text_str(&name, broker_name(b));
    struct link_node *node = link_node_new(broker_cookie(b), &self, err);
    if (node != NULL && !set_certificate(node, broker_live(b)->conf, err))
        link_node_free(&node);
    if (node == NULL)
        return NULL;
    struct doorway *d = mem_zalloc(sizeof *d);
    d->broker = b;
    d->node = node;
    d->door = link_door_new(broker_loop(b));
    return d;
}

bool doorway_open(struct doorway *d, struct err *err)
{
    const struct conf_addresses *at = &broker_live(d->broker)->conf->listen.cluster;
    remotes_open(d->broker);
    mirror_links_open(d->broker);
    for (size_t i = 0; i < at->count; i++) {
        struct sock_addr a;
        char where[SOCK_ADDR_TEXT_MAX];
        if (!listen_address(&at->items[i], "cluster", &a, err))
            return false;
        uint16_t port = link_door_listen(d->door, &a, err);
        if (port == 0)
            return err_context(err, "[listen] cluster");
        if (d->port == 0)
            d->port = port;
        sock_addr_set_port(&a, port);
        log_info("listen", sock_addr_text(&a, where), "accepting nodes and warrenctl");
    }
    return true;
}

uint16_t doorway_port(const struct doorway *d)
{
    return d->port;
}

struct link_node *doorway_node(const struct doorway *d)
{
    return d->node;
}

struct link_door *doorway_door(const struct doorway *d)
{
    return d->door;
}

void doorway_close(struct doorway *d)
{
    link_door_close(d->door);
}

void doorway_free(struct doorway **doorway)
{
    struct doorway *d = *doorway;
    *doorway = NULL;
    if (d == NULL)
        return;
    remotes_close(d->broker);
    mirror_links_close(d->broker);
    link_door_free(&d->door);
    link_node_free(&d->node);
    mem_free(d);
}
