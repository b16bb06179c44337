#include "entrance.h"

#include "base/log.h"
#include "base/mem.h"
#include "bootstrap.h"
#include "cluster/cluster.h"
#include "cluster/meta_items.h"
#include "control.h"
#include "doorway.h"
#include "effects.h"
#include "gossip_node.h"
#include "live.h"
#include "mgmt/mgmt_http.h"
#include "mirrored_lead.h"
#include "store/store.h"

#include <string.h>

#define ADDRESS_MAX 256u

struct loss;

struct entrance {
    struct broker *broker;
    struct meta *meta;
    struct meta_setup *meta_setup;
    struct cluster *cluster;
    struct gossip_node *gossip;
    char cluster_address[ADDRESS_MAX]; /* how others reach it; empty: not at all */
    char amqp_address[ADDRESS_MAX];
    char management_address[ADDRESS_MAX];
    broker_waits_fn waits;
    void *waits_arg;
    bool is_in;
    bool has_passed;
    bool has_failed;
    bool has_waited;
    struct err why;    /* it failed */
    struct loss *loss; /* what is to be told to the others */
};

/* ---- what the cluster asks of the node ---- */

static void before_show(const struct meta_effect *effects, size_t count, void *arg)
{
    const struct entrance *e = arg;
    effects_before_publication(e->broker, effects, count);
    gossip_node_before_show(e->gossip, effects, count);
}

static void after_show(const struct meta_effect *effects, size_t count, void *arg)
{
    const struct entrance *e = arg;
    effects_after_publication(e->broker, effects, count);
    gossip_node_after_show(e->gossip, effects, count);
    broker_name_cluster(e->broker);
    const struct meta_version *v = broker_meta(e->broker);
    control_shown(broker_control(e->broker), v->last_id, v->index);
}

static void on_checked(uint64_t index, uint64_t checksum, void *arg)
{
    const struct entrance *e = arg;
    gossip_node_checked(e->gossip, index, checksum);
}

static bool on_new_cluster(struct cluster_first *first, struct err *err, void *arg)
{
    const struct entrance *e = arg;
    return bootstrap(first, broker_live(e->broker)->conf, err);
}

static bool has_more(const struct meta_version *v, void *arg)
{
    const struct entrance *e = arg;
    return bootstrap_has_more(v, broker_live(e->broker)->conf);
}

static void on_identity(uint16_t node, void *arg)
{
    struct entrance *e = arg;
    if (node != broker_node(e->broker))
        gossip_node_stop(e->gossip); /* it was another one, of another cluster */
    broker_set_node(e->broker, node);
    meta_set_node(e->meta, node);
    e->meta_setup->node = node;
}

/* Hints alone: the node does without. */
static void start_gossip(struct entrance *e)
{
    struct err err;
    if (!gossip_node_start(e->gossip, &err))
        log_warn("gossip", broker_name(e->broker), "takes no part: %s", err.text);
}

static void on_ready(void *arg)
{
    struct entrance *e = arg;
    e->is_in = true;
    broker_name_cluster(e->broker);
    if (e->has_passed)
        start_gossip(e);
    else
        loop_stop(broker_loop(e->broker)); /* entrance_pass goes on */
}

static void on_grants(void *arg)
{
    const struct entrance *e = arg;
    for (uint32_t i = 0; i < broker_shard_count(e->broker); i++)
        mirrored_lead_granted(broker_shard(e->broker, i));
}

static void strain(struct cluster_strain *out, void *arg)
{
    const struct entrance *e = arg;
    broker_strain(e->broker, out);
}

static void on_failed(const struct err *err, void *arg)
{
    struct entrance *e = arg;
    if (e->has_passed) {
        broker_fail(e->broker, err);
        return;
    }
    if (e->has_waited) /* whoever started the node has gone */
        log_error("broker", broker_name(e->broker), "%s", err->text);
    e->has_failed = true;
    e->why = *err;
    loop_stop(broker_loop(e->broker));
}

/* warrenctl is answered meanwhile, nobody else. */
static void on_waiting(void *arg)
{
    struct entrance *e = arg;
    struct err err;
    if (e->has_passed || broker_is_stopping(e->broker))
        return;
    e->has_waited = true;
    if (mgmt_http_start(broker_mgmt(e->broker), &err))
        mgmt_http_shut(broker_mgmt(e->broker));
    else
        log_warn("broker", broker_name(e->broker),
                 "warrenctl is not answered while the node waits: %s", err.text);
    if (e->waits != NULL)
        e->waits(e->waits_arg);
}

/* ---- how it is reached ---- */

/* The first of a list, as others may say it: where the host is left open, it is the one in the
 * node's name. */
static void put_address(const struct entrance *e, const struct conf_addresses *list, uint16_t port,
                        char *room)
{
    struct text t = text_over(room, ADDRESS_MAX);
    if (list->count == 0 || list->items[0].kind != CONF_ADDRESS_TCP)
        return;
    const char *host = list->items[0].host;
    if (host[0] == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        host = strchr(broker_name(e->broker), '@') + 1;
    text_put(&t, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
             port != 0 ? port : list->items[0].port);
}

static void put_addresses(struct entrance *e)
{
    const struct broker_conf *conf = broker_live(e->broker)->conf;
    uint16_t port = doorway_port(broker_doorway(e->broker));
    put_address(e, &conf->listen.cluster, port, e->cluster_address);
    put_address(e, &conf->listen.amqp, 0, e->amqp_address);
    put_address(e, &conf->listen.management, 0, e->management_address);
}

/* ---- passing ---- */

static void on_enter(void *arg)
{
    struct entrance *e = arg;
    struct err err;
    if (!cluster_start(e->cluster, &err))
        on_failed(&err, e);
}

bool entrance_pass(struct entrance *e, broker_waits_fn waits, void *arg, struct err *err)
{
    struct loop_task enter;
    e->waits = waits;
    e->waits_arg = arg;
    put_addresses(e);
    loop_task_init(&enter, on_enter, e);
    loop_again(broker_loop(e->broker), &enter);
    broker_set_app_running(e->broker, false);
    loop_run(broker_loop(e->broker));
    loop_task_cancel(broker_loop(e->broker), &enter);
    if (!e->has_failed)
        return true;
    *err = e->why;
    return false;
}

void entrance_passed(struct entrance *e)
{
    e->has_passed = true;
    start_gossip(e);
}

/* ---- what was lost ---- */

struct loss {
    struct entrance *entrance;
    bool is_told;
    bool is_any; /* it cannot be said of which queues */
    uint32_t count;
    uint8_t octets[META_BATCH_MAX * META_QUEUE_ITEM_BYTES];
};

/* A queue that was only ever here is as it is: nobody has more of it. */
static bool is_placed_here(const struct broker *b, uint64_t qid)
{
    const struct meta_version *v = broker_meta(b);
    const struct meta_queue *q = meta_queue_get(v, qid);
    struct meta_placement p;
    if (q == NULL)
        return false;
    meta_placement_of(v, q, &p);
    return meta_placement_cohort(&p) != 0 &&
           meta_placement_role(&p, broker_node(b)) != META_ROLE_NONE;
}

/* Rows of one queue follow each other, mostly; the same one twice does no harm. */
static void list_lost(struct loss *l, const struct recovered *found)
{
    const struct broker *b = l->entrance->broker;
    struct wire_out w = wire_out_over(l->octets, sizeof l->octets);
    uint64_t last = 0;
    for (size_t i = 0; i < found->damage_count && !l->is_any; i++) {
        uint64_t qid = found->damages[i].qid;
        l->is_any = qid == 0 || l->count == META_BATCH_MAX;
        if (l->is_any || qid == last || !is_placed_here(b, qid))
            continue;
        wire_put_u64(&w, qid);
        l->count++;
        last = qid;
    }
}

static void on_told(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                    uint64_t id, bool is_made)
{
    struct loss *l = arg;
    (void)id;
    (void)is_made;
    l->is_told = verdict != META_REFUSED;
    if (!l->is_told)
        log_warn("broker", broker_name(l->entrance->broker),
                 "the others do not know yet what is lost here, and nobody is served: %s",
                 why->text);
    loop_stop(broker_loop(l->entrance->broker));
}

static void log_loss(const struct broker *b, const struct loss *l)
{
    if (l->is_any)
        log_error("broker", broker_name(b),
                  "messages that were safe here are lost, and of which queues is not known: what "
                  "other nodes hold, too, comes from them; what they do not is not served before "
                  "'warrenctl force_promote QUEUE NODE'");
    else if (l->count != 0)
        log_error("broker", broker_name(b),
                  "messages that were safe here are lost: their queues come from other nodes, or "
                  "are not served before 'warrenctl force_promote QUEUE NODE' queues=%u",
                  l->count);
}

bool entrance_tell_loss(struct entrance *e, const struct recovered *found, struct err *err)
{
    struct broker *b = e->broker;
    struct loss *l = mem_zalloc(sizeof *l);
    e->loss = l;
    l->entrance = e;
    list_lost(l, found);
    l->is_any = l->is_any && broker_meta(b)->placed.count != 0;
    l->is_told = !l->is_any && l->count == 0;
    log_loss(b, l);
    while (!l->is_told && !broker_is_stopping(b) && !e->has_failed) {
        size_t octets = l->is_any ? 0 : (size_t)l->count * META_QUEUE_ITEM_BYTES;
        cluster_propose_damage(e->cluster, slice_of(l->octets, octets), on_told, l);
        loop_run(broker_loop(b));
    }
    if (e->has_failed)
        *err = e->why;
    return !e->has_failed;
}

/* ---- life ---- */

struct entrance *entrance_new(struct broker *b, struct epoch *epoch, struct meta *meta,
                              struct meta_setup *setup, struct err *err)
{
    struct entrance *e = mem_zalloc(sizeof *e);
    e->broker = b;
    e->meta = meta;
    e->meta_setup = setup;
    e->gossip = gossip_node_new(b, epoch);
    e->cluster = cluster_open(&(struct cluster_setup){ .loop = broker_loop(b),
                                                       .epoch = epoch,
                                                       .meta = meta,
                                                       .meta_setup = setup,
                                                       .conf = broker_live(b)->conf,
                                                       .disk = store_disk(broker_store(b)),
                                                       .inc = store_incarnation(broker_store(b)),
                                                       .link_node = doorway_node(broker_doorway(b)),
                                                       .link_door = doorway_door(broker_doorway(b)),
                                                       .cluster_address = e->cluster_address,
                                                       .amqp_address = e->amqp_address,
                                                       .management_address = e->management_address,
                                                       .before_show = before_show,
                                                       .after_show = after_show,
                                                       .on_checked = on_checked,
                                                       .begin = on_new_cluster,
                                                       .has_more = has_more,
                                                       .on_identity = on_identity,
                                                       .on_ready = on_ready,
                                                       .on_grants = on_grants,
                                                       .strain = strain,
                                                       .on_waiting = on_waiting,
                                                       .on_failed = on_failed,
                                                       .arg = e },
                              err);
    if (e->cluster == NULL) {
        gossip_node_free(&e->gossip);
        mem_free(e);
        return NULL;
    }
    control_set_cluster(broker_control(b), e->cluster);
    return e;
}

struct gossip_node *entrance_gossip(const struct entrance *e)
{
    return e != NULL ? e->gossip : NULL;
}

struct cluster *entrance_cluster(const struct entrance *e)
{
    return e != NULL ? e->cluster : NULL;
}

void entrance_stop(struct entrance *e)
{
    if (e == NULL)
        return;
    gossip_node_stop(e->gossip);
    cluster_stop(e->cluster);
}

void entrance_free(struct entrance **entrance)
{
    struct entrance *e = *entrance;
    *entrance = NULL;
    if (e == NULL)
        return;
    control_set_cluster(broker_control(e->broker), NULL);
    cluster_free(&e->cluster);
    gossip_node_free(&e->gossip);
    mem_free(e->loss);
    mem_free(e);
}
