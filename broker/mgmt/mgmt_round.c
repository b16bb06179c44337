#include "mgmt/mgmt_round.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop.h"
#include "mgmt/mgmt_json.h"

#include <string.h>

struct round {
    struct mgmt_peers *peers;
    struct loop *loop;
    json_t *answers;
    size_t left; /* nodes that have not answered, and one for the asking itself */
    mgmt_round_fn fn;
    void *arg;
    struct loop_task end;
};

static void on_end(void *arg)
{
    struct round *r = arg;
    r->fn(r->answers, r->arg);
    json_decref(r->answers);
    mem_free(r);
}

static void one_less(struct round *r)
{
    CHECK(r->left > 0);
    if (--r->left == 0)
        loop_again(r->loop, &r->end);
}

static void on_answer(uint16_t node, const struct http_answer *a, const struct err *why, void *arg)
{
    struct round *r = arg;
    json_error_t error;
    char name[META_NAME_MAX + 1];
    (void)why; /* logged by mgmt_peers */
    struct slice body = a != NULL ? text_view(&a->body) : slice_str("");
    json_t *value = a != NULL && a->status == 200
                        ? json_loadb((const char *)body.ptr, body.len, JSON_DECODE_ANY, &error)
                        : NULL;
    if (value != NULL && mgmt_peers_name(r->peers, node, name))
        json_out_put(r->answers, name, json_incref(value));
    json_decref(value);
    one_less(r);
}

void mgmt_round_of(struct mgmt_peers *peers, struct loop *loop, const uint16_t *nodes, size_t count,
                   const struct mgmt_peer_question *q, mgmt_round_fn fn, void *arg)
{
    struct round *r = mem_zalloc(sizeof *r);
    *r = (struct round){ .peers = peers,
                         .loop = loop,
                         .answers = json_object(),
                         .left = count + 1,
                         .fn = fn,
                         .arg = arg };
    loop_task_init(&r->end, on_end, r);
    for (size_t i = 0; i < count; i++)
        mgmt_peers_ask(peers, nodes[i], q, on_answer, r);
    one_less(r);
}

void mgmt_round(struct mgmt_peers *peers, struct loop *loop, const struct mgmt_peer_question *q,
                mgmt_round_fn fn, void *arg)
{
    uint16_t nodes[MGMT_PEERS_MAX];
    size_t count = peers != NULL ? mgmt_peers_list(peers, nodes, MGMT_PEERS_MAX) : 0;
    mgmt_round_of(peers, loop, nodes, count, q, fn, arg);
}
