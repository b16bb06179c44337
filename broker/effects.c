#include "effects.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/connection.h"
#include "cluster/meta_node.h"
#include "hosted.h"
#include "io/mailbox.h"
#include "placements.h"
#include "remote/remote.h"

/* For one shard; a vhost's or user's name as clients are shown it. */
struct effect_notice {
    struct mail mail;
    struct shard *shard;
    uint64_t vhost_id;
    uint64_t user_id;
    uint16_t node;
    char *name;
};

static void free_notice(struct effect_notice *n)
{
    mem_free(n->name);
    mem_free(n);
}

static void on_policies_changed(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    shard_policies_changed(n->shard, n->vhost_id);
    free_notice(n);
}

/* ---- clients whose vhost or user is gone ---- */

#define SENT_AWAY_PER_TURN 200u

typedef bool (*concerns_fn)(const struct connection *c, const struct effect_notice *n);

/* Those who are to go, in turns: others live on the same thread. None can be added meanwhile, since
 * nobody can enter any more. */
struct leavers {
    struct loop_task task;
    struct shard *shard;
    char why[META_TEXT_MAX];
    size_t count;
    size_t at;
    uint64_t ids[];
};

static void send_away(void *arg)
{
    struct leavers *l = arg;
    for (unsigned n = 0; n < SENT_AWAY_PER_TURN && l->at < l->count; n++) {
        struct connection *c = connection_find(l->shard, l->ids[l->at++]);
        if (c != NULL)
            connection_force_out(c, l->why);
    }
    if (l->at < l->count)
        loop_again(l->shard->loop, &l->task);
    else
        mem_free(l);
}

static void force_out(const struct effect_notice *n, concerns_fn concerns, const char *kind)
{
    struct shard *s = n->shard;
    struct leavers *l = mem_zalloc(sizeof *l + s->connections.count * sizeof *l->ids);
    struct text why = text_over(l->why, sizeof l->why);
    text_put(&why, "%s '%s' is deleted", kind, n->name);
    l->shard = s;
    loop_task_init(&l->task, send_away, l);
    size_t at = 0;
    for (struct connection *c; (c = idmap_next(&s->connections, &at)) != NULL;)
        if (concerns(c, n))
            l->ids[l->count++] = c->id;
    send_away(l);
}

static bool is_in_vhost(const struct connection *c, const struct effect_notice *n)
{
    return c->vhost_id == n->vhost_id;
}

static bool is_of_user(const struct connection *c, const struct effect_notice *n)
{
    return c->user_id == n->user_id;
}

static void on_vhost_deleted(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    force_out(n, is_in_vhost, "vhost");
    free_notice(n);
}

static void on_user_deleted(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    force_out(n, is_of_user, "user");
    free_notice(n);
}

/* ---- another node is lost ---- */

/* One that stops in an order says itself what becomes of its queues, and ends its links then. */
static bool is_there_yet(const struct effect_notice *n)
{
    const struct meta_node *m = meta_node_get(broker_meta(n->shard->broker), n->node);
    return m != NULL && m->state == META_NODE_IS_STOPPED;
}

static void on_node_lost(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    if (is_there_yet(n))
        remote_node_stops(n->shard, n->node);
    else
        remote_node_lost(n->shard, n->node);
    free_notice(n);
}

static void on_self_lost(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    remote_self_lost(n->shard);
    free_notice(n);
}

/* ---- on the control thread ---- */

static void tell_all(struct broker *b, const struct meta_effect *e, mail_fn fn)
{
    char room[META_NAME_MAX * 4 + 1];
    struct text name = text_over(room, sizeof room);
    text_escaped(&name, e->name);
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        struct effect_notice *n = mem_zalloc(sizeof *n);
        *n = (struct effect_notice){ .mail = { NULL, fn },
                                     .shard = broker_shard(b, i),
                                     .vhost_id = e->vhost_id,
                                     .user_id = e->user_id,
                                     .node = e->node,
                                     .name = mem_strdup(room) };
        mailbox_post(n->shard->loop, &n->mail);
    }
}

void effects_before_publication(struct broker *b, const struct meta_effect *effects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (effects[i].kind == META_QUEUE_CREATED && effects[i].is != META_ROLE_NONE)
            shard_post_queue_created(broker_shard(b, effects[i].shard), effects[i].queue,
                                     effects[i].cohort != 0);
}

static void carry_out(struct broker *b, const struct meta_effect *e)
{
    switch (e->kind) {
    case META_QUEUE_CREATED:
        return;
    case META_QUEUE_DELETED:
        /* Where it is not to be, it may be about to go. */
        shard_post_queue_deleted(broker_shard(b, e->shard), e->qid);
        return;
    case META_POLICIES_CHANGED:
        tell_all(b, e, on_policies_changed);
        return;
    case META_VHOST_DELETED:
        tell_all(b, e, on_vhost_deleted);
        return;
    case META_USER_DELETED:
        tell_all(b, e, on_user_deleted);
        return;
    case META_NODE_LOST:
        /* We are there, whatever others have made of us; what they had here they gave up. */
        tell_all(b, e, e->node != broker_node(b) ? on_node_lost : on_self_lost);
        return;
    case META_NODES_CHANGED:
        return;
    case META_QUEUE_PLACED:
    case META_COHORT_PLACED: /* a shard asks where a queue is when it has something for it */
        return;
    }
    UNREACHABLE("effect");
}

void effects_after_publication(struct broker *b, const struct meta_effect *effects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        carry_out(b, &effects[i]);
    placements_tell(broker_placements(b), effects, count);
}

void effects_of_start(struct broker *b, const struct meta_version *v)
{
    struct pmap_iter it;
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;) {
        struct meta_placement p;
        meta_placement_of(v, q, &p);
        if (meta_placement_role(&p, broker_node(b)) != META_ROLE_NONE)
            shard_post_queue_created(broker_shard(b, q->shard), q, meta_placement_cohort(&p) != 0);
    }
}
