#include "mgmt/ctl.h"

#include "base/check.h"
#include "base/mem.h"
#include "client/auth.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "io/run_dir.h"
#include "listen.h"
#include "live.h"
#include "mgmt/ctl_inner.h"
#include "mgmt/mgmt_http.h"

#include <unistd.h>

#define SOCKET_NAME    "ctl.sock"
#define TIMEOUT_MS     60000u
#define BODY_MAX_BYTES ((size_t)64 * 1024 * 1024) /* definitions */
#define CLIENTS_MAX    64u

static const struct broker_conf *conf_of(const struct ctl *c)
{
    return broker_live(c->broker)->conf;
}

/* ---- listening ---- */

static bool open_socket(struct ctl *c, char path[PATH_MAX], struct err *err)
{
    struct sock_addr at;
    struct text t = text_over(path, PATH_MAX);
    text_put(&t, "%s/" SOCKET_NAME, conf_of(c)->node.data_path);
    if (t.cut || !sock_addr_unix(path, &at))
        return err_set(err, ERR_CONFIG,
                       "[node] data-dir: %s is too long a path for a unix socket (107 octets): "
                       "give a shorter folder",
                       path);
    c->server = http_server_new(c->loop, &at,
                                &(struct http_options){
                                    .body_max_bytes = BODY_MAX_BYTES,
                                    .timeout_ms = TIMEOUT_MS,
                                    .connections_max = CLIENTS_MAX,
                                    .server_name = "Warren",
                                },
                                err);
    return c->server != NULL;
}

static void on_visitor(int fd, const struct sock_addr *peer, void *arg)
{
    ctl_visitor_new(arg, fd, peer);
}

static bool open_doors(struct ctl *c, struct err *err)
{
    const struct conf_addresses *at = &conf_of(c)->listen.cluster;
    c->doors = mem_array(at->count + 1, sizeof(struct listener *));
    for (size_t i = 0; i < at->count; i++) {
        struct sock_addr a;
        if (!listen_address(&at->items[i], "cluster", &a, err))
            return false;
        struct listener *l =
            listener_new(c->loop, &a, &(struct listener_options){ 0 }, on_visitor, c, err);
        if (l == NULL)
            return err_context(err, "[listen] cluster");
        c->doors[c->door_count++] = l;
        char where[SOCK_ADDR_TEXT_MAX];
        log_info("listen", sock_addr_text(listener_addr(l), where), "accepting warrenctl, cluster");
    }
    return true;
}

/* So that warrenctl finds us by name. A node without it works, and is found by its address. */
static void be_found(struct ctl *c, const char *socket)
{
    const struct broker_conf *conf = conf_of(c);
    struct run_node *n = mem_zalloc(sizeof *n);
    struct text name = text_over(n->name, sizeof n->name);
    struct text path = text_over(n->socket, sizeof n->socket);
    struct text cookie = text_over(n->cookie_file, sizeof n->cookie_file);
    text_str(&name, conf->node.name);
    text_str(&path, socket);
    text_str(&cookie, conf->cluster.cookie_file);
    n->pid = (uint64_t)getpid();
    n->port = c->door_count != 0 ? sock_addr_port(listener_addr(c->doors[0])) : 0;
    struct err err;
    if (!run_dir_leave(n, conf->node.data_dir, c->run_file, &err)) {
        log_warn("ctl", conf->node.name, "warrenctl will not find this node by its name: %s",
                 err.text);
        c->run_file[0] = '\0';
    }
    mem_free(n);
}

/* ---- life ---- */

struct ctl *ctl_new(struct broker *b, struct mgmt_http *m, struct err *err)
{
    struct ctl *c = mem_zalloc(sizeof *c);
    c->broker = b;
    c->mgmt = m;
    c->loop = mgmt_http_loop(m);
    c->auth = broker_auth_new(b, c->loop);
    c->started_s = clock_wall_ms() / 1000u;
    LIST_INIT(&c->visitors);
    LIST_INIT(&c->lists);
    char socket[PATH_MAX];
    if (!open_socket(c, socket, err) || !open_doors(c, err)) {
        ctl_free(&c);
        return NULL;
    }
    ctl_add_routes(c);
    be_found(c, socket);
    return c;
}

static void end(struct ctl *c)
{
    while (c->door_count != 0)
        listener_free(&c->doors[--c->door_count]);
    ctl_visitors_send_away(c);
    ctl_lists_free(c);
    http_server_free(&c->server);
    run_dir_forget(c->run_file);
    c->run_file[0] = '\0';
}

struct ctl_notice {
    struct mail mail;
    struct ctl *ctl;
};

static void on_close(struct mail *mail)
{
    struct ctl_notice *n = CONTAINER_OF(mail, struct ctl_notice, mail);
    end(n->ctl);
    mem_free(n);
}

void ctl_close(struct ctl *c)
{
    struct ctl_notice *n = mem_zalloc(sizeof *n);
    *n = (struct ctl_notice){ { NULL, on_close }, c };
    mailbox_post(c->loop, &n->mail);
}

void ctl_free(struct ctl **ctl)
{
    struct ctl *c = *ctl;
    *ctl = NULL;
    if (c == NULL)
        return;
    end(c);
    auth_free(&c->auth);
    mem_free(c->doors);
    mem_free(c);
}
