#include "cluster/cluster_place.h"

#include "base/mem.h"
#include "base/text.h"
#include "io/host.h"
#include "io/run_dir.h"

#include <stdlib.h>
#include <string.h>

static bool put_host(struct cluster_place *p, struct slice host)
{
    struct text t = text_over(p->host, sizeof p->host);
    text_slice(&t, host);
    return !t.cut && host.len != 0;
}

static bool take_port(struct cluster_place *p, const char *digits)
{
    char *end;
    unsigned long port = strtoul(digits, &end, 10);
    p->port = port <= UINT16_MAX ? (uint16_t)port : 0;
    return end != digits && *end == '\0' && p->port != 0;
}

/* host:port, [v6]:port, or a host alone. */
static bool of_address(const char *word, struct cluster_place *p)
{
    const char *colon = strrchr(word, ':');
    p->port = CLUSTER_PLACE_PORT;
    if (word[0] == '[') {
        const char *end = strchr(word, ']');
        if (end == NULL || !put_host(p, slice_of(word + 1, (size_t)(end - word - 1))))
            return false;
        return end[1] == '\0' || (end[1] == ':' && take_port(p, end + 2));
    }
    if (colon == NULL || strchr(word, ':') != colon) /* a v6 address alone has many */
        return put_host(p, slice_str(word));
    return put_host(p, slice_of(word, (size_t)(colon - word))) && take_port(p, colon + 1);
}

static bool is_here(const char *host)
{
    char name[256];
    host_short_name(name, sizeof name);
    return strcmp(host, name) == 0 || strcmp(host, "localhost") == 0 ||
           strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

/* The node of this name, or another of its first half when the host is this one. */
static uint16_t port_here(const char *name, const char *data_dir)
{
    struct run_node *nodes = mem_array(RUN_NODES_MAX, sizeof *nodes);
    size_t count = run_dir_nodes(nodes, RUN_NODES_MAX, &data_dir, 1);
    const char *at = strchr(name, '@');
    size_t half = (size_t)(at - name) + 1;
    uint16_t port = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(nodes[i].name, name) == 0) {
            port = nodes[i].port;
            break;
        }
        if (is_here(at + 1) && strncmp(nodes[i].name, name, half) == 0)
            port = nodes[i].port;
    }
    mem_free(nodes);
    return port;
}

static bool of_name(const char *word, const char *data_dir, struct cluster_place *p)
{
    const char *at = strchr(word, '@');
    if (strchr(at + 1, ':') != NULL)
        return of_address(at + 1, p);
    uint16_t port = port_here(word, data_dir);
    if (port == 0)
        return of_address(at + 1, p);
    p->port = port;
    return put_host(p, slice_str("127.0.0.1"));
}

size_t cluster_places(const char *words, const char *data_dir, struct cluster_place *out,
                      size_t room, struct err *err)
{
    size_t count = 0;
    char *copy = mem_strdup(words);
    char *rest = copy;
    for (char *word; count < room && (word = strtok_r(rest, ", ", &rest)) != NULL;) {
        bool ok = strchr(word, '@') != NULL ? of_name(word, data_dir, &out[count])
                                            : of_address(word, &out[count]);
        if (!ok) {
            err_set(err, ERR_RESOLVE, "'%s' is no node: NAME@HOST or host:port", word);
            mem_free(copy);
            return 0;
        }
        count++;
    }
    mem_free(copy);
    if (count == 0)
        err_set(err, ERR_USAGE, "no node is given: NAME@HOST or host:port");
    return count;
}
