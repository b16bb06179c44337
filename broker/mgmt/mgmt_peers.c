#include "mgmt/mgmt_peers.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "broker.h"
#include "cluster/cluster.h"
#include "cluster/meta_node.h"
#include "doorway.h"
#include "io/http_client.h"
#include "io/http_text.h"
#include "link/link_call.h"

#include <string.h>
#include <sys/queue.h>

#define IDLE_MS         30000u
#define CALL_TIMEOUT_MS 2000u
#define LOOK_MS         500u /* whether those that owe an answer are in reach */
#define COMPLAINTS      10u  /* in COMPLAINTS_MS */
#define COMPLAINTS_MS   10000u
#define WAITING_MAX     1024u /* for a connection */
#define FIELDS_MAX      1024u /* octets: a user's name in base64, and the rest */

/*
 *   (none) -- asked --> CALLING -- proven --> CONNECTED -- broken, or idle --> (none)
 *                          |
 *                          +-- not reached --> (none), and what waited is told so
 */
struct peer {
    struct mgmt_peers *all;
    LIST_ENTRY(peer) entry;
    uint16_t node;
    struct link_call *call;
    struct http_client *client;
    STAILQ_HEAD(, question) waiting; /* for the connection */
    unsigned waiting_count;
    unsigned asked; /* questions that are not answered yet */
    struct loop_timer idle;
    struct loop_timer look; /* runs while an answer is due */
    bool was_out;           /* of reach, when it was looked for last */
};

struct question {
    struct peer *peer; /* once it is sent */
    uint16_t node;
    STAILQ_ENTRY(question) entry;
    mgmt_peer_fn fn;
    void *arg;
    const char *method; /* a constant */
    char *path;
    char *fields;
    const char *type; /* a constant */
    uint8_t *body;
    size_t body_bytes;
    uint64_t timeout_ms;
    struct err why; /* of one that is refused */
};

struct mgmt_peers {
    struct broker *broker;
    struct loop *loop;
    LIST_HEAD(, peer) peers;
    STAILQ_HEAD(, question) refused; /* to be told so */
    struct loop_task refusal;
    struct log_rate complaints;
    bool is_ending;
};

bool mgmt_peers_name(const struct mgmt_peers *p, uint16_t node, char room[META_NAME_MAX + 1])
{
    const struct meta_node *n = meta_node_get(broker_meta(p->broker), node);
    struct text t = text_over(room, META_NAME_MAX + 1);
    if (n != NULL)
        text_slice(&t, n->name);
    return n != NULL;
}

static void complain(struct mgmt_peers *p, uint16_t node, const char *what)
{
    unsigned left_out;
    char name[META_NAME_MAX + 1];
    if (mgmt_peers_name(p, node, name) &&
        log_rate_ok(&p->complaints, COMPLAINTS, COMPLAINTS_MS, &left_out))
        log_warn("mgmt", name, "its figures are missing: %s", what);
}

/* ---- questions ---- */

static void free_question(struct question *q)
{
    mem_free(q->path);
    mem_free(q->fields);
    mem_free(q->body);
    mem_free(q);
}

static void answer(struct question *q, uint16_t node, const struct http_answer *a,
                   const struct err *why)
{
    q->fn(node, a, why, q->arg);
    free_question(q);
}

static void on_answer(const struct http_answer *a, const struct err *why, void *arg)
{
    struct question *q = arg;
    struct peer *p = q->peer;
    CHECK(p->asked > 0);
    if (--p->asked == 0 && !p->all->is_ending)
        loop_timer_start(&p->idle, IDLE_MS); /* the next look finds nothing due, and is the last */
    if (a == NULL && !p->all->is_ending)
        complain(p->all, p->node, why->text);
    answer(q, p->node, a, why);
}

/* False: the connection has just broken. */
static bool send(struct peer *p, struct question *q)
{
    struct http_question ask = { .method = q->method,
                                 .path = slice_str(q->path),
                                 .fields = q->fields,
                                 .type = q->type,
                                 .body = slice_of(q->body, q->body_bytes),
                                 .answer_max = MGMT_PEER_ANSWER_MAX,
                                 .timeout_ms = q->timeout_ms,
                                 .done = on_answer,
                                 .arg = q };
    if (!http_client_ask(p->client, &ask))
        return false;
    loop_timer_stop(&p->idle);
    if (p->asked++ == 0) {
        p->was_out = false;
        loop_timer_start(&p->look, LOOK_MS);
    }
    return true;
}

static void refuse_waiting(struct peer *p, const struct err *why)
{
    struct question *q;
    while ((q = STAILQ_FIRST(&p->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&p->waiting, entry);
        p->waiting_count--;
        answer(q, p->node, NULL, why);
    }
}

/* ---- connections ---- */

/* As many may wait here as there. */
_Static_assert(WAITING_MAX <= HTTP_CLIENT_WAITING_MAX, "what waits for a connection can be sent");

static void on_stream(struct stream **s, const struct link_peer *peer, void *arg)
{
    struct peer *p = arg;
    (void)peer;
    p->call = NULL;
    p->client = http_client_new(p->all->loop, s);
    struct question *q;
    while ((q = STAILQ_FIRST(&p->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&p->waiting, entry);
        p->waiting_count--;
        bool is_sent = send(p, q);
        CHECK(is_sent);
    }
}

static void on_failed(enum link_trouble what, enum link_refusal refusal, const struct err *why,
                      void *arg)
{
    struct peer *p = arg;
    (void)what;
    (void)refusal;
    p->call = NULL;
    complain(p->all, p->node, why->text);
    refuse_waiting(p, why);
}

static const struct link_call_handlers handlers = { .on_stream = on_stream,
                                                    .on_failed = on_failed };

struct place {
    char host[META_NAME_MAX + 1];
    uint16_t port;
};

/* "host:port", where a host may have colons itself. */
static bool place_of(struct slice address, struct place *out)
{
    size_t colon = address.len;
    while (colon != 0 && address.ptr[colon - 1] != ':')
        colon--;
    uint64_t port;
    struct text host = text_over(out->host, sizeof out->host);
    if (colon < 2 || !units_u64(slice_from(address, colon), &port) || port > UINT16_MAX)
        return false;
    text_slice(&host, slice_head(address, colon - 1));
    out->port = (uint16_t)port;
    return !host.cut;
}

static bool call(struct peer *p, struct err *err)
{
    const struct meta_node *n = meta_node_get(broker_meta(p->all->broker), p->node);
    if (n == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no such node");
    struct place at;
    if (!place_of(n->cluster_address, &at))
        return err_set(err, ERR_RESOLVE, "its address is not known");
    char name[LINK_NAME_MAX];
    struct text t = text_over(name, sizeof name);
    text_slice(&t, n->name);
    p->call = link_call(
        p->all->loop, doorway_node(broker_doorway(p->all->broker)),
        &(struct link_options){
            .class = LINK_CTL, .host = at.host, .port = at.port, .name = name, .node = n->node },
        CALL_TIMEOUT_MS, &handlers, p);
    return true;
}

/* A connection that broke is replaced by the next question. */
static bool be_connected(struct peer *p, struct err *err)
{
    if (p->client != NULL && http_client_is_broken(p->client) && p->asked == 0)
        http_client_free(&p->client);
    return p->client != NULL || p->call != NULL || call(p, err);
}

static void on_idle(void *arg)
{
    struct peer *p = arg;
    if (p->asked == 0)
        http_client_free(&p->client);
}

static bool is_in_reach(const struct peer *p)
{
    const struct cluster_status *s = cluster_status(broker_cluster(p->all->broker));
    for (unsigned i = 0; i < s->count; i++) {
        if (s->peers[i].id == p->node)
            return s->peers[i].is_linked;
    }
    return false;
}

/* Whoever is cut off does not answer, however much time a question has. Twice, because links that
 * have just broken may come back. */
static void on_look(void *arg)
{
    struct peer *p = arg;
    if (p->asked == 0)
        return;
    loop_timer_start(&p->look, LOOK_MS);
    bool is_out = !is_in_reach(p);
    if (is_out && p->was_out)
        http_client_free(&p->client);
    p->was_out = is_out;
}

static struct peer *peer_of(struct mgmt_peers *all, uint16_t node)
{
    struct peer *p;
    LIST_FOREACH (p, &all->peers, entry) {
        if (p->node == node)
            return p;
    }
    p = mem_zalloc(sizeof *p);
    p->all = all;
    p->node = node;
    STAILQ_INIT(&p->waiting);
    loop_timer_init(&p->idle, all->loop, on_idle, p);
    loop_timer_init(&p->look, all->loop, on_look, p);
    LIST_INSERT_HEAD(&all->peers, p, entry);
    return p;
}

/* ---- asking ---- */

static void on_refusal(void *arg)
{
    struct mgmt_peers *p = arg;
    struct question *q;
    while ((q = STAILQ_FIRST(&p->refused)) != NULL) {
        STAILQ_REMOVE_HEAD(&p->refused, entry);
        if (!p->is_ending)
            complain(p, q->node, q->why.text);
        answer(q, q->node, NULL, &q->why);
    }
}

static char *fields_of(const struct mgmt_peer_question *ask)
{
    char room[FIELDS_MAX];
    struct text t = text_over(room, sizeof room);
    text_str(&t, "Warren-Local: yes\r\n");
    if (ask->user != NULL) {
        text_str(&t, "Warren-User: ");
        http_base64_encode(slice_str(ask->user), &t);
        text_str(&t, "\r\n");
    }
    CHECK(!t.cut);
    return mem_strdup(room);
}

static struct question *question_new(uint16_t node, const struct mgmt_peer_question *ask,
                                     mgmt_peer_fn fn, void *arg)
{
    struct question *q = mem_zalloc(sizeof *q);
    q->node = node;
    q->fn = fn;
    q->arg = arg;
    q->method = ask->method;
    q->path = mem_zalloc(ask->path.len + 1);
    memcpy(q->path, ask->path.ptr, ask->path.len);
    q->fields = fields_of(ask);
    q->type = ask->type;
    if (ask->body.len != 0)
        q->body = mem_dup(ask->body.ptr, ask->body.len);
    q->body_bytes = ask->body.len;
    q->timeout_ms = ask->timeout_ms != 0 ? ask->timeout_ms : MGMT_PEER_TIMEOUT_MS;
    return q;
}

/* Sent, or waiting for the connection; false: *err says why it is neither. */
static bool take(struct mgmt_peers *all, struct question *q)
{
    if (all->is_ending)
        return err_set(&q->why, ERR_IO, "the node ends");
    struct peer *p = peer_of(all, q->node);
    q->peer = p;
    if (p->waiting_count == WAITING_MAX)
        return err_set(&q->why, ERR_LIMIT, "too many wait for it");
    if (!be_connected(p, &q->why))
        return false;
    if (p->client != NULL)
        return send(p, q) || err_set(&q->why, ERR_IO, "too many wait for it, or it hung up");
    STAILQ_INSERT_TAIL(&p->waiting, q, entry);
    p->waiting_count++;
    return true;
}

void mgmt_peers_ask(struct mgmt_peers *all, uint16_t node, const struct mgmt_peer_question *ask,
                    mgmt_peer_fn fn, void *arg)
{
    struct question *q = question_new(node, ask, fn, arg);
    if (take(all, q))
        return;
    STAILQ_INSERT_TAIL(&all->refused, q, entry);
    loop_again(all->loop, &all->refusal);
}

size_t mgmt_peers_list(const struct mgmt_peers *p, uint16_t *out, size_t max)
{
    const struct meta_version *v = broker_meta(p->broker);
    size_t count = 0;
    for (size_t i = 0, all = meta_node_count(v); count < max && i < all; i++) {
        const struct meta_node *n = meta_node_at(v, i);
        if (n->node != broker_node(p->broker) && meta_node_is_serving(n))
            out[count++] = n->node;
    }
    return count;
}

/* ---- its life ---- */

struct mgmt_peers *mgmt_peers_new(struct broker *b, struct loop *loop)
{
    struct mgmt_peers *p = mem_zalloc(sizeof *p);
    p->broker = b;
    p->loop = loop;
    LIST_INIT(&p->peers);
    STAILQ_INIT(&p->refused);
    loop_task_init(&p->refusal, on_refusal, p);
    return p;
}

static void free_peer(struct peer *p)
{
    struct err err;
    err_set(&err, ERR_IO, "the node ends");
    link_call_free(&p->call);
    refuse_waiting(p, &err);
    http_client_free(&p->client);
    loop_timer_fini(&p->idle);
    loop_timer_fini(&p->look);
    LIST_REMOVE(p, entry);
    loop_bury(p->all->loop, p, mem_free);
}

void mgmt_peers_end(struct mgmt_peers *p)
{
    p->is_ending = true;
    struct peer *one;
    while ((one = LIST_FIRST(&p->peers)) != NULL)
        free_peer(one);
}

void mgmt_peers_free(struct mgmt_peers **peers)
{
    struct mgmt_peers *p = *peers;
    *peers = NULL;
    if (p == NULL)
        return;
    CHECK(LIST_EMPTY(&p->peers) && STAILQ_EMPTY(&p->refused));
    mem_free(p);
}
