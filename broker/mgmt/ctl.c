#include "mgmt/ctl.h"

#include "base/check.h"
#include "base/mem.h"
#include "client/auth.h"
#include "doorway.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "io/run_dir.h"
#include "link/link_door.h"
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

/* Who comes to the cluster port and is proven is one more client of that server. */
static void on_proven(struct stream **s, const struct link_peer *peer, void *arg)
{
    (void)peer;
    struct ctl *c = arg;
    http_server_adopt(c->server, s);
}

static const struct link_hall_handlers hall_handlers = { .on_stream = on_proven };

static void open_hall(struct ctl *c)
{
    struct doorway *d = broker_doorway(c->broker);
    c->hall = link_hall_new(c->loop, doorway_node(d),
                            &(struct link_hall_options){ .class = LINK_CTL }, &hall_handlers, c);
    link_door_serve(doorway_door(d), LINK_CTL, &c->hall, 1);
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
    n->port = doorway_port(broker_doorway(c->broker));
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
    LIST_INIT(&c->lists);
    LIST_INIT(&c->requeues);
    char socket[PATH_MAX];
    if (!open_socket(c, socket, err)) {
        ctl_free(&c);
        return NULL;
    }
    open_hall(c);
    ctl_add_routes(c);
    be_found(c, socket);
    return c;
}

static void end(struct ctl *c)
{
    link_hall_free(&c->hall);
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

/* On the door's loop. What it has handed on already is before any later mail of ours. */
static void close_door(struct ctl *c)
{
    link_door_serve(doorway_door(broker_doorway(c->broker)), LINK_CTL, NULL, 0);
}

void ctl_close(struct ctl *c)
{
    close_door(c);
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
    close_door(c);
    end(c);
    auth_free(&c->auth);
    mem_free(c);
}
