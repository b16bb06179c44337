#include "mgmt/warrenctl_node.h"

#include "base/mem.h"
#include "base/units.h"
#include "io/cookie.h"
#include "io/host.h"
#include "io/run_dir.h"
#include "mgmt/warrenctl_link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLUSTER_PORT 25672u
#define HOST_MAX     256u

/* "name@host:port", what is there of it. */
struct wanted {
    char name[RUN_NAME_MAX]; /* without the host; empty: any */
    char host[HOST_MAX];     /* empty: this one */
    uint16_t port;           /* 0: not given */
};

/* ---- reading what was given ---- */

static bool is_port(struct slice s, uint16_t *port)
{
    uint64_t n;
    if (!units_u64(s, &n) || n == 0 || n > UINT16_MAX)
        return false;
    *port = (uint16_t)n;
    return true;
}

static bool copy(char *room, size_t size, struct slice s)
{
    struct text t = text_over(room, size);
    if (s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']')
        s = slice_of(s.ptr + 1, s.len - 2);
    text_slice(&t, s);
    return !t.cut;
}

static bool read_wanted(const char *given, struct wanted *out)
{
    struct slice rest = slice_str(given);
    *out = (struct wanted){ .port = 0 };
    const char *at = strchr(given, '@');
    const char *colon = strrchr(given, ':');
    if (colon != NULL && is_port(slice_str(colon + 1), &out->port))
        rest.len = (size_t)(colon - given);
    if (at != NULL)
        return copy(out->name, sizeof out->name, slice_head(rest, (size_t)(at - given))) &&
               copy(out->host, sizeof out->host, slice_from(rest, (size_t)(at - given) + 1));
    /* Without a port it is a name, with one a host. */
    return out->port != 0 ? copy(out->host, sizeof out->host, rest)
                          : copy(out->name, sizeof out->name, rest);
}

static bool is_this_host(const char *host)
{
    char full[HOST_MAX], brief[HOST_MAX];
    if (host[0] == '\0' || strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
        strcmp(host, "::1") == 0)
        return true;
    host_short_name(brief, sizeof brief);
    if (gethostname(full, sizeof full) != 0)
        full[0] = '\0';
    full[sizeof full - 1] = '\0';
    return strcasecmp(host, brief) == 0 || strcasecmp(host, full) == 0;
}

/* ---- the nodes of this host ---- */

static size_t local_nodes(struct run_node *out, size_t room)
{
    char home_path[PATH_MAX];
    struct text t = text_over(home_path, sizeof home_path);
    const char *home = getenv("HOME");
    text_put(&t, "%s/.warren", home != NULL ? home : "");
    const char *const beside[] = { WARREN_STATEDIR, home_path };
    return run_dir_nodes(out, room, beside, home != NULL && !t.cut ? 2 : 1);
}

static bool is_named(const struct run_node *n, const struct wanted *want)
{
    const char *at = strchr(n->name, '@');
    size_t len = at != NULL ? (size_t)(at - n->name) : strlen(n->name);
    if (want->name[0] != '\0' && !slice_is(slice_of(n->name, len), want->name))
        return false;
    return want->host[0] == '\0' || at == NULL || strcasecmp(at + 1, want->host) == 0 ||
           is_this_host(want->host);
}

static void list_names(const struct run_node *nodes, size_t count, struct text *out)
{
    for (size_t i = 0; i < count; i++)
        text_put(out, "%s%s:%u", i != 0 ? ", " : "", nodes[i].name, (unsigned)nodes[i].port);
    if (count == 0)
        text_str(out, "none");
}

/* Leaves in front those that fit. */
static size_t pick(struct run_node *nodes, size_t count, const struct wanted *want)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_named(&nodes[i], want) && (want->port == 0 || nodes[i].port == want->port))
            nodes[found++] = nodes[i];
    }
    return found;
}

/* ---- the cookie ---- */

static bool read_cookie(const struct warrenctl *w, const char *known, struct cookie *out,
                        struct err *err)
{
    const char *text = w->cookie != NULL ? w->cookie : getenv("RABBITMQ_ERLANG_COOKIE");
    if (text != NULL && w->cookie_file == NULL) {
        out->len = strlen(text);
        if (out->len == 0 || out->len > COOKIE_MAX)
            return err_set(err, ERR_CONFIG, "the cookie has %zu octets, of 1 to %zu", out->len,
                           COOKIE_MAX);
        memcpy(out->bytes, text, out->len);
        return true;
    }
    char path[PATH_MAX];
    struct text t = text_over(path, sizeof path);
    const char *env = getenv("WARREN_CLUSTER_COOKIE_FILE");
    const char *home = getenv("HOME");
    if (w->cookie_file != NULL || env != NULL || known != NULL)
        text_str(&t, w->cookie_file != NULL ? w->cookie_file : env != NULL ? env : known);
    else if (access(WARREN_STATEDIR "/.cookie", R_OK) == 0)
        text_str(&t, WARREN_STATEDIR "/.cookie");
    else
        text_put(&t, "%s/.warren.cookie", home != NULL ? home : "");
    return cookie_read(path, out, err) ||
           err_context(err, "the cookie of the node is needed (--cookie-file FILE)");
}

/* ---- connecting ---- */

static uint64_t timeout_of(const struct warrenctl *w)
{
    return w->timeout_is_given && w->timeout_s != 0 ? w->timeout_s * 1000u
                                                    : WARRENCTL_TIMEOUT_S * 1000u;
}

static bool over_socket(struct warrenctl *w, const struct run_node *n, struct err *err)
{
    struct text name = text_over(w->node_name, sizeof w->node_name);
    text_str(&name, n->name);
    if (access(n->socket, R_OK | W_OK) != 0)
        return err_set(err, ERR_REFUSED,
                       "this user may not use %s; run it as the user of the node, or as root",
                       n->socket);
    struct warrenctl_target t = { .shown = n->name, .socket = n->socket };
    w->link = warrenctl_link_new(&t, timeout_of(w), err);
    return w->link != NULL;
}

static bool over_tcp(struct warrenctl *w, const struct wanted *want, const char *cookie_file,
                     struct err *err)
{
    struct cookie cookie;
    if (!read_cookie(w, cookie_file, &cookie, err))
        return false;
    struct warrenctl_target t = {
        .shown = w->node,
        .host = want->host[0] != '\0' ? want->host : "localhost",
        .port = want->port != 0 ? want->port : CLUSTER_PORT,
        .cookie = cookie_slice(&cookie),
    };
    w->link = warrenctl_link_new(&t, timeout_of(w), err);
    cookie_wipe(&cookie);
    return w->link != NULL || err_context(err, "%s port %u", t.host, (unsigned)t.port);
}

static bool refuse_choice(const struct warrenctl *w, const struct run_node *nodes, size_t count,
                          struct err *err)
{
    char room[400];
    struct text names = text_over(room, sizeof room);
    list_names(nodes, count, &names);
    return err_set(err, ERR_NOT_FOUND, "several nodes fit '%s': %s; say which with its port",
                   w->node, room);
}

static bool connect_to(struct warrenctl *w, struct run_node *nodes, struct err *err)
{
    struct wanted want;
    if (!read_wanted(w->node, &want))
        return err_set(err, ERR_CONFIG, "the name is too long");
    size_t all = local_nodes(nodes, RUN_NODES_MAX);
    char room[400];
    struct text names = text_over(room, sizeof room);
    list_names(nodes, all, &names);
    bool local = is_this_host(want.host);
    /* Nobody said which: the only one there is, if it is only one. */
    bool any = !w->node_is_given && all == 1;
    size_t count = any ? 1 : pick(nodes, all, &want);
    if (want.port != 0)
        return over_tcp(w, &want, local && count == 1 ? nodes[0].cookie_file : NULL, err);
    if (count > 1)
        return refuse_choice(w, nodes, count, err);
    if (count == 1)
        return over_socket(w, &nodes[0], err);
    if (!local)
        return over_tcp(w, &want, NULL, err);
    return err_set(err, ERR_NOT_FOUND,
                   "no node of that name runs on this host (running: %s); start it, or name "
                   "another with -n NODE",
                   room);
}

bool warrenctl_node_connect(struct warrenctl *w, struct err *err)
{
    struct run_node *nodes = mem_array(RUN_NODES_MAX, sizeof *nodes);
    bool ok = connect_to(w, nodes, err);
    mem_free(nodes);
    return ok;
}

bool warrenctl_node_is_here(const struct warrenctl *w)
{
    struct wanted want;
    return read_wanted(w->node, &want) && is_this_host(want.host);
}
