#include "rabbit_list.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct rabbit_list {
    uint64_t key;
    uint64_t ver; /* of the list that counts */
    struct location_table *table;
    struct rabbit_node nodes[RABBIT_NODES_MAX];
    size_t node_count;
    uint64_t seen[3]; /* what the last answers were, by their hashes; 0: none yet */
};

enum answer { ANSWER_QUEUES, ANSWER_NODES, ANSWER_LISTENERS };

/* ---- nodes ------------------------------------------------------------------------------------
 */

/* Its number; 0: there are too many, or it is no name. */
static uint16_t number_of(struct rabbit_list *l, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < l->node_count; i++) {
        if (strcmp(l->nodes[i].name, name) == 0)
            return (uint16_t)(i + 1);
    }
    if (len == 0 || len >= RABBIT_NAME_MAX || l->node_count == RABBIT_NODES_MAX)
        return 0;
    struct rabbit_node *n = &l->nodes[l->node_count++];
    memcpy(n->name, name, len + 1);
    return (uint16_t)l->node_count;
}

static void show_node(struct rabbit_list *l, uint16_t number)
{
    (void)location_put_node(l->table, &(struct location_node){
                                          .node = number,
                                          .is_up = l->nodes[number - 1].is_running,
                                          .ver = l->ver,
                                      });
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static json_t *read_json(struct slice body, struct err *err)
{
    json_error_t why;
    json_t *j = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &why);
    if (j == NULL)
        err_set(err, ERR_PROTOCOL, "the answer is no JSON: %s", why.text);
    return j;
}

/* NULL: it has none, or it is no text. */
static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static enum rabbit_news refuse(json_t *j, const char *what, struct err *err)
{
    json_decref(j);
    err_set(err, ERR_PROTOCOL, "%s", what);
    return RABBIT_BROKEN;
}

/* The same answer as the last of its kind. A hash is kept, no answer: that they collide costs
 * nothing but a change that is seen with the next one. */
static bool is_same(struct rabbit_list *l, enum answer which, struct slice body)
{
    return (hash_bytes(body, l->key) | 1) == l->seen[which];
}

static void note(struct rabbit_list *l, enum answer which, struct slice body)
{
    l->seen[which] = hash_bytes(body, l->key) | 1;
}

/* ---- queues -----------------------------------------------------------------------------------
 */

static int by_hash(const void *a, const void *b)
{
    const struct location *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

/* False: it is no queue. One without a master or leader now is left out. RabbitMQ 3.10 lists no
 * node of a quorum queue, and no leader of a classic one. */
static bool read_queue(struct rabbit_list *l, const json_t *q, struct location *out, size_t *count)
{
    const json_t *vhost = json_object_get(q, "vhost"), *name = json_object_get(q, "name");
    const char *leader = text_of(q, "leader"), *node = leader != NULL ? leader : text_of(q, "node");
    if (!json_is_string(vhost) || !json_is_string(name))
        return false;
    uint16_t number = node != NULL ? number_of(l, node) : 0;
    if (number == 0)
        return true;
    struct slice v = slice_of(json_string_value(vhost), json_string_length(vhost));
    struct slice n = slice_of(json_string_value(name), json_string_length(name));
    out[(*count)++] = (struct location){ location_hash(l->key, v, n), l->ver, number, 0 };
    return true;
}

/* Of two queues with one hash the first counts. */
static size_t sort(struct location *list, size_t count)
{
    size_t kept = 0;
    qsort(list, count, sizeof *list, by_hash);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || list[kept - 1].hash != list[i].hash)
            list[kept++] = list[i];
    }
    return kept;
}

/* What stays where it is keeps its version, so that its bucket does not change. */
static void keep_versions(const struct rabbit_list *l, struct location *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct location was;
        bool is_up;
        if (location_find(l->table, list[i].hash, &was, &is_up) && was.node == list[i].node)
            list[i].ver = was.ver;
    }
}

static void put_all(struct rabbit_list *l, struct location *list, size_t count)
{
    size_t at = 0;
    keep_versions(l, list, count);
    for (unsigned b = 0; b < LOCATION_BUCKETS; b++) {
        size_t first = at;
        while (at < count && location_bucket_of(list[at].hash) == b)
            at++;
        if (!location_put_bucket(l->table, b, l->ver, &list[first], at - first))
            UNREACHABLE("a sorted list is in order");
    }
    CHECK(at == count);
}

enum rabbit_news rabbit_list_queues(struct rabbit_list *l, struct slice body, struct err *err)
{
    if (is_same(l, ANSWER_QUEUES, body))
        return RABBIT_SAME;
    json_t *j = read_json(body, err);
    if (j == NULL)
        return RABBIT_BROKEN;
    if (!json_is_array(j))
        return refuse(j, "the queues are no list", err);
    size_t all = json_array_size(j), count = 0;
    struct location *list = mem_array(all + 1, sizeof *list);
    bool ok = true;
    l->ver++;
    for (size_t i = 0; i < all && ok; i++)
        ok = read_queue(l, json_array_get(j, i), list, &count);
    if (ok) {
        put_all(l, list, sort(list, count));
        location_reach(l->table, l->ver);
        note(l, ANSWER_QUEUES, body);
    }
    mem_free(list);
    if (!ok)
        return refuse(j, "a queue has no vhost or no name", err);
    json_decref(j);
    return RABBIT_OTHER;
}

/* ---- nodes and their ports --------------------------------------------------------------------
 */

static bool is_list_of_named(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (text_of(json_array_get(list, i), name) == NULL)
            return false;
    }
    return json_is_array(list);
}

enum rabbit_news rabbit_list_nodes(struct rabbit_list *l, struct slice body, struct err *err)
{
    if (is_same(l, ANSWER_NODES, body))
        return RABBIT_SAME;
    json_t *j = read_json(body, err);
    if (j == NULL)
        return RABBIT_BROKEN;
    if (!is_list_of_named(j, "name"))
        return refuse(j, "the nodes are no list of names", err);
    l->ver++;
    for (size_t i = 0; i < l->node_count; i++)
        l->nodes[i].is_listed = l->nodes[i].is_running = l->nodes[i].is_draining = false;
    for (size_t i = 0; i < json_array_size(j); i++) {
        const json_t *one = json_array_get(j, i);
        uint16_t number = number_of(l, text_of(one, "name"));
        if (number == 0)
            continue;
        struct rabbit_node *n = &l->nodes[number - 1];
        n->is_listed = true;
        n->is_running = json_is_true(json_object_get(one, "running"));
        n->is_draining = json_is_true(json_object_get(one, "being_drained"));
    }
    for (size_t i = 0; i < l->node_count; i++)
        show_node(l, (uint16_t)(i + 1));
    note(l, ANSWER_NODES, body);
    json_decref(j);
    return RABBIT_OTHER;
}

/* One that is bound to an address of its own is met there alone. */
static void note_ip(struct rabbit_node *n, const char *ip)
{
    struct text t = text_over(n->ip, sizeof n->ip);
    if (ip != NULL && strcmp(ip, "::") != 0 && strcmp(ip, "0.0.0.0") != 0)
        text_str(&t, ip);
    if (t.cut)
        n->ip[0] = '\0';
}

/* Whose it is, if it is one for AMQP. */
static void note_listener(struct rabbit_list *l, const json_t *one)
{
    const char *protocol = text_of(one, "protocol");
    json_int_t port = json_integer_value(json_object_get(one, "port"));
    bool is_tls = protocol != NULL && strcmp(protocol, "amqp/ssl") == 0;
    if (protocol == NULL || (!is_tls && strcmp(protocol, "amqp") != 0) || port < 1 ||
        port > UINT16_MAX)
        return;
    uint16_t number = number_of(l, text_of(one, "node"));
    if (number == 0)
        return;
    struct rabbit_node *n = &l->nodes[number - 1];
    *(is_tls ? &n->port_tls : &n->port) = (uint16_t)port;
    note_ip(n, text_of(one, "ip_address"));
}

enum rabbit_news rabbit_list_listeners(struct rabbit_list *l, struct slice body, struct err *err)
{
    if (is_same(l, ANSWER_LISTENERS, body))
        return RABBIT_SAME;
    json_t *j = read_json(body, err);
    if (j == NULL)
        return RABBIT_BROKEN;
    const json_t *list = json_object_get(j, "listeners");
    if (!is_list_of_named(list, "node"))
        return refuse(j, "the listeners are no list with nodes", err);
    for (size_t i = 0; i < json_array_size(list); i++)
        note_listener(l, json_array_get(list, i));
    note(l, ANSWER_LISTENERS, body);
    json_decref(j);
    return RABBIT_OTHER;
}

/* ---- looking, life ----------------------------------------------------------------------------
 */

struct location_table *rabbit_list_table(struct rabbit_list *l)
{
    return l->table;
}

uint64_t rabbit_list_key(const struct rabbit_list *l)
{
    return l->key;
}

size_t rabbit_list_node_count(const struct rabbit_list *l)
{
    return l->node_count;
}

const struct rabbit_node *rabbit_list_node(const struct rabbit_list *l, size_t number)
{
    CHECK(number >= 1 && number <= l->node_count);
    return &l->nodes[number - 1];
}

struct rabbit_list *rabbit_list_new(uint64_t key)
{
    struct rabbit_list *l = mem_zalloc(sizeof *l);
    l->key = key;
    l->table = location_new();
    return l;
}

void rabbit_list_free(struct rabbit_list **l)
{
    if (*l == NULL)
        return;
    location_free(&(*l)->table);
    mem_free(*l);
    *l = NULL;
}
