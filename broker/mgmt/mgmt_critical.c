/* Would queues be without a copy in sync if this node stopped now? RabbitMQ asks so of mirrored
 * classic queues and of quorum queues. */
#include "cluster/meta_placement.h"
#include "mgmt/ctl_inner.h"
#include "mgmt/mgmt_inner.h"

#define SHOWN_MAX 1000u /* queues; all are counted */

/* Nobody else could serve it. */
static bool is_critical(const struct meta_version *v, const struct meta_queue *q, uint16_t self)
{
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    if (p.master != self || q->owner != 0)
        return false;
    for (unsigned i = 0; i < p.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        if (r->node != self && mgmt_is_mirror(v, r, true))
            return false;
    }
    return true;
}

static json_t *shown(const struct meta_version *v, const struct meta_queue *q)
{
    const struct meta_vhost *vh = meta_vhost_get(v, q->vhost_id);
    json_t *o = json_object();
    json_out_put(o, "name", json_out_text(meta_queue_name(q)));
    json_out_put(o, "virtual_host", json_out_text(meta_vhost_name(vh)));
    json_out_put_str(o, "type", meta_queue_is_quorum(q) ? "quorum" : "classic");
    return o;
}

/* {"queues": [...], "count": all of them}; {"is_alone": true}: there is no other node. */
static json_t *find(struct broker *b, bool quorum)
{
    const struct meta_version *v = broker_meta(b);
    json_t *o = json_object(), *list = json_array();
    uint64_t count = 0;
    struct pmap_iter it;
    const struct meta_queue *q;
    bool is_alone = meta_node_count(v) <= 1;
    pmap_iter(&it, &v->queues);
    while (!is_alone && (q = pmap_next(&it)) != NULL) {
        bool is_asked =
            quorum ? meta_queue_is_quorum(q) : !meta_queue_is_quorum(q) && mgmt_is_mirrored(v, q);
        if (is_asked && is_critical(v, q, broker_node(b)) && count++ < SHOWN_MAX)
            json_array_append_new(list, shown(v, q));
    }
    json_out_put_bool(o, "is_alone", is_alone);
    json_out_put_u64(o, "count", count);
    json_out_put(o, "queues", list);
    return o;
}

/* ---- who asks ---- */

static void serve(struct mgmt_call *c, bool quorum, const char *reason)
{
    json_t *o = find(c->m->broker, quorum);
    bool is_alone = json_is_true(json_object_get(o, "is_alone"));
    bool is_well = json_integer_value(json_object_get(o, "count")) == 0;
    json_object_del(o, "is_alone");
    json_out_put_str(o, "status", is_well ? "ok" : "failed");
    if (is_alone || !is_well)
        json_out_put_str(o, "reason", is_alone ? "single node cluster" : reason);
    if (is_well) {
        json_object_del(o, "count");
        json_object_del(o, "queues");
    }
    mgmt_reply(c, is_well ? 200 : 503, o);
}

void mgmt_serve_mirror_check(struct mgmt_call *c)
{
    serve(c, false, "There are classic mirrored queues without online synchronised mirrors");
}

void mgmt_serve_quorum_check(struct mgmt_call *c)
{
    serve(c, true,
          "There are quorum queues that would lose their quorum if the target node is shut down");
}

void ctl_serve_critical(struct ctl *c, struct http_request *r, json_t *args)
{
    ctl_reply(r, find(c->broker, json_is_true(json_object_get(args, "quorum"))));
}
