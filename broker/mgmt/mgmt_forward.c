/* Calls that another node has to answer. */
#include "base/mem.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_peers.h"

struct mgmt_peers *mgmt_call_peers(const struct mgmt_call *c)
{
    return c->is_local ? NULL : c->m->peers;
}

static const char *method_name(const struct mgmt_call *c)
{
    static const char *const names[] = { [HTTP_GET] = "GET",
                                         [HTTP_HEAD] = "GET",
                                         [HTTP_POST] = "POST",
                                         [HTTP_PUT] = "PUT",
                                         [HTTP_DELETE] = "DELETE" };
    return names[c->route->method];
}

static void on_answer(uint16_t node, const struct http_answer *a, const struct err *why, void *arg)
{
    struct mgmt_call *c = arg;
    char name[META_NAME_MAX + 1], room[META_TEXT_MAX];
    struct text reason = text_over(room, sizeof room);
    if (a == NULL && mgmt_peers_name(c->m->peers, node, name))
        text_put(&reason, "node '%s' does not answer: ", name);
    if (a == NULL) {
        text_str(&reason, why->text);
        mgmt_refuse(c, 503, "service_unavailable", room);
    } else if (a->body.len == 0) {
        mgmt_reply_empty(c, a->status);
    } else {
        mgmt_reply_octets(c, a->status, "application/json", text_view(&a->body));
    }
}

void mgmt_forward(struct mgmt_call *c, uint16_t node)
{
    struct text path;
    text_init(&path, HTTP_HEAD_MAX);
    text_str(&path, http_request_path(c->r));
    struct slice query = http_request_raw_query(c->r);
    if (query.len != 0)
        text_put(&path, "?%.*s", SLICE_ARG(query));
    struct slice body = http_request_body(c->r);
    mgmt_peers_ask(c->m->peers, node,
                   &(struct mgmt_peer_question){ .method = method_name(c),
                                                 .path = text_view(&path),
                                                 .user = c->user.is_operator ? NULL : c->user.name,
                                                 .type = body.len != 0 ? "application/json" : NULL,
                                                 .body = body },
                   on_answer, c);
    text_fini(&path);
}

bool mgmt_forwarded_home(struct mgmt_call *c, const struct meta_queue *q)
{
    struct meta_refusal why;
    const struct meta_version *v = mgmt_meta(c);
    uint16_t master = meta_queue_master(v, q);
    if (master == broker_node(c->m->broker))
        return false;
    if (!meta_queue_is_at_hand(v, q, &why))
        mgmt_refuse_meta(c, &why);
    else if (c->is_local)
        mgmt_refuse(c, 503, "service_unavailable", "the queue is on its way to another node");
    else
        mgmt_forward(c, master);
    return true;
}
