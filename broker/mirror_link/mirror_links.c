#include "mirror_link/mirror_links.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_node.h"
#include "control.h"
#include "doorway.h"
#include "ledger.h"
#include "link/link_door.h"
#include "mirror_link/mirror_proposals.h"
#include "node_place.h"
#include "shard.h"
#include "store/store.h"

/* Of one shard and turn; what is proposed beyond is proposed again. */
#define PROPOSED_MAX 16384u

struct mirror_links {
    struct shard *shard;
    struct mirror_streams *streams;
    struct node_place place; /* that was asked for last */
    struct loop_task propose_task;
    struct meta_isr_item *proposed;
    size_t count;
    size_t cap;
};

/* ---- what the streams ask -----------------------------------------------------------------------
 */

static bool find(void *arg, uint16_t node, struct mirror_place *out)
{
    struct mirror_links *l = arg;
    const struct meta_node *n = meta_node_get(broker_meta(l->shard->broker), node);
    if (n == NULL || !node_place_of(n, &l->place))
        return false;
    *out = (struct mirror_place){
        .host = l->place.host, .name = l->place.name, .port = l->place.port, .shards = n->mirrors
    };
    return true;
}

static enum link_refusal judge(void *arg, const struct link_peer *peer)
{
    const struct mirror_links *l = arg;
    const struct meta_version *v = broker_meta(l->shard->broker);
    if (meta_node_get(v, peer->id.node) != NULL)
        return LINK_REFUSED_NONE;
    return peer->id.node > v->last_node ? LINK_REFUSED_BUSY : LINK_REFUSED_NOT_MEMBER;
}

static bool is_behind(void *arg)
{
    const struct mirror_links *l = arg;
    return ledger_is_behind(l->shard->ledger);
}

static void begins(void *arg)
{
    const struct mirror_links *l = arg;
    ledger_begin(l->shard->ledger);
}

/* ---- proposals ----------------------------------------------------------------------------------
 */

static void on_propose(void *arg)
{
    struct mirror_links *l = arg;
    control_change_isr(broker_control(l->shard->broker), l->proposed, l->count);
    l->proposed = NULL;
    l->count = l->cap = 0;
}

void mirror_links_propose(struct shard *s, const struct mirror_queue *q, uint16_t node,
                          uint32_t inc, bool adds)
{
    struct mirror_links *l = s->mirror_links;
    if (l->count == PROPOSED_MAX)
        return;
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? 2 * l->cap : 16;
        l->proposed = mem_realloc(l->proposed, l->cap * sizeof *l->proposed);
    }
    l->proposed[l->count++] = (struct meta_isr_item){
        .qid = q->qid, .epoch = q->epoch, .ver = q->ver, .inc = inc, .node = node, .adds = adds
    };
    loop_at_turn_end(s->loop, &l->propose_task);
}

/* By what is known of both processes now: the other one may never have been reached. */
void mirror_links_propose_lag(struct shard *s, const struct mirror_stream *of)
{
    const struct meta_version *v = broker_meta(s->broker);
    const struct meta_node *mirror = meta_node_get(v, mirror_stream_node(of));
    const struct meta_node *self = meta_node_get(v, broker_node(s->broker));
    if (mirror == NULL || self == NULL)
        return;
    control_lags(broker_control(s->broker),
                 &(struct mirror_pair_of_nodes){ .master = self->node,
                                                 .mirror = mirror->node,
                                                 .master_inc = self->inc,
                                                 .mirror_inc = mirror->inc });
}

/* ---- for the shard ------------------------------------------------------------------------------
 */

struct mirror_stream *mirror_links_stream(struct shard *s, uint16_t node, uint64_t qid)
{
    return mirror_streams_get(s->mirror_links->streams, node, qid);
}

struct mirror_out *mirror_links_out(struct mirror_stream *to)
{
    return mirror_streams_out(to);
}

struct mirror_out *mirror_links_out_late(struct mirror_stream *to)
{
    return mirror_streams_out_late(to);
}

struct mirror_out *mirror_links_back(struct mirror_source *to)
{
    return mirror_streams_back(to);
}

uint16_t mirror_links_source_node(const struct mirror_source *of)
{
    return mirror_streams_source_node(of);
}

void mirror_links_soon(struct shard *s)
{
    mirror_streams_soon(s->mirror_links->streams);
}

void mirror_links_go_on(struct shard *s)
{
    mirror_streams_go_on(s->mirror_links->streams);
}

void mirror_links_each(struct shard *s, mirror_link_fn fn, void *arg)
{
    mirror_streams_each_link(s->mirror_links->streams, fn, arg);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

struct mirror_links *mirror_links_new(struct shard *s, struct mirror_master *m,
                                      struct mirror_replica *r)
{
    static const struct mirror_streams_ops ops = {
        .find = find, .judge = judge, .is_behind = is_behind, .begins = begins
    };
    struct mirror_links *l = mem_zalloc(sizeof *l);
    l->shard = s;
    loop_task_init(&l->propose_task, on_propose, l);
    l->streams = mirror_streams_new(
        &(struct mirror_streams_setup){ .loop = s->loop,
                                        .link_node = doorway_node(broker_doorway(s->broker)),
                                        .master = m,
                                        .replica = r,
                                        .name = broker_name(s->broker),
                                        .index = (uint16_t)s->index,
                                        .ops = &ops,
                                        .arg = l });
    return l;
}

void mirror_links_free(struct mirror_links **links)
{
    struct mirror_links *l = *links;
    *links = NULL;
    if (l == NULL)
        return;
    mirror_streams_free(&l->streams);
    loop_task_cancel(l->shard->loop, &l->propose_task);
    mem_free(l->proposed);
    mem_free(l);
}

void mirror_links_open(struct broker *b)
{
    uint32_t count = broker_shard_count(b);
    struct link_hall **halls = mem_array(count, sizeof(struct link_hall *));
    for (uint32_t i = 0; i < count; i++)
        halls[i] = mirror_streams_open(broker_shard(b, i)->mirror_links->streams);
    link_door_serve(doorway_door(broker_doorway(b)), LINK_MIRROR, halls, count);
    mem_free(halls);
}

void mirror_links_close(struct broker *b)
{
    for (uint32_t i = 0; i < broker_shard_count(b) && broker_shard(b, i) != NULL; i++)
        mirror_streams_close(broker_shard(b, i)->mirror_links->streams);
}
