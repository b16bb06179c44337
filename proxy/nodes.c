#include "nodes.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/resolve.h"

#include <string.h>

struct known {
    struct node node;
    struct nodes *nodes;
    struct resolve *resolve;
};

struct nodes {
    struct loop *loop;
    void (*changed)(void *arg);
    void *arg;
    struct known *items[NODES_MAX]; /* by number */
    size_t count;
};

static size_t place_of(const struct nodes *n, uint16_t number)
{
    size_t at = 0;
    while (at < n->count && n->items[at]->node.number < number)
        at++;
    return at;
}

static void drop(struct nodes *n, size_t at)
{
    struct known *k = n->items[at];
    resolve_cancel(&k->resolve);
    mem_free(k);
    n->count--;
    memmove(&n->items[at], &n->items[at + 1], (n->count - at) * sizeof n->items[0]);
}

/* ---- addresses --------------------------------------------------------------------------------
 */

static void on_resolved(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct known *k = arg;
    k->resolve = NULL;
    if (a->count == 0) { /* asked again with the next word of it */
        log_debug("nodes", k->node.name, "%s", why->text);
        return;
    }
    k->node.address = a->addrs[0];
    k->node.has_address = true;
    k->nodes->changed(k->nodes->arg);
}

static void look_up(struct nodes *n, struct known *k)
{
    resolve_cancel(&k->resolve);
    k->node.has_address = false;
    if (k->node.host[0] == '\0')
        return;
    if (sock_addr_ip(k->node.host, k->node.port, &k->node.address))
        k->node.has_address = true;
    else
        k->resolve = resolve_start(n->loop, k->node.host, k->node.port, on_resolved, k);
}

/* ---- words ------------------------------------------------------------------------------------
 */

static bool is_elsewhere(const struct node *a, const struct node *b)
{
    return strcmp(a->host, b->host) != 0 || a->port != b->port;
}

static bool is_same(const struct node *a, const struct node *b)
{
    return a->hearsay == b->hearsay && a->is_draining == b->is_draining &&
           strcmp(a->name, b->name) == 0 && !is_elsewhere(a, b);
}

static struct known *add(struct nodes *n, size_t at, uint16_t number)
{
    struct known *k = mem_zalloc(sizeof *k);
    k->nodes = n;
    k->node.number = number;
    memmove(&n->items[at + 1], &n->items[at], (n->count - at) * sizeof n->items[0]);
    n->items[at] = k;
    n->count++;
    return k;
}

void nodes_put(struct nodes *n, const struct node *heard)
{
    size_t at = place_of(n, heard->number);
    bool is_new = at == n->count || n->items[at]->node.number != heard->number;
    if (is_new && n->count == NODES_MAX)
        return; /* gossip has no more members than that */
    struct known *k = is_new ? add(n, at, heard->number) : n->items[at];
    struct node was = k->node;
    k->node = *heard;
    k->node.address = was.address;
    k->node.has_address = was.has_address;
    if (is_new || is_elsewhere(&was, heard) || (!was.has_address && k->resolve == NULL))
        look_up(n, k);
    if (is_new || !is_same(&was, heard))
        n->changed(n->arg);
}

void nodes_remove(struct nodes *n, uint16_t number)
{
    size_t at = place_of(n, number);
    if (at == n->count || n->items[at]->node.number != number)
        return;
    drop(n, at);
    n->changed(n->arg);
}

void nodes_clear(struct nodes *n)
{
    if (n->count == 0)
        return;
    while (n->count != 0)
        drop(n, n->count - 1);
    n->changed(n->arg);
}

/* ---- looking, life ----------------------------------------------------------------------------
 */

size_t nodes_count(const struct nodes *n)
{
    return n->count;
}

const struct node *nodes_at(const struct nodes *n, size_t index)
{
    CHECK(index < n->count);
    return &n->items[index]->node;
}

void nodes_place(const struct node *n, struct text *out)
{
    text_put(out, strchr(n->host, ':') != NULL ? "[%s]:%u" : "%s:%u", n->host, n->port);
}

struct nodes *nodes_new(struct loop *loop, void (*changed)(void *arg), void *arg)
{
    struct nodes *n = mem_zalloc(sizeof *n);
    n->loop = loop;
    n->changed = changed;
    n->arg = arg;
    return n;
}

void nodes_free(struct nodes **np)
{
    struct nodes *n = *np;
    *np = NULL;
    if (n == NULL)
        return;
    while (n->count != 0)
        drop(n, n->count - 1);
    mem_free(n);
}
