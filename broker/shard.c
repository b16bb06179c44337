#include "shard.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/auth.h"
#include "client/connection.h"
#include "control.h"
#include "io/mailbox.h"
#include "io/random.h"
#include "port.h"

static void release_message(struct message *m, void *arg)
{
    shard_message_drop(arg, &m);
}

/* With the next turn of the loop. */
static void queue_goes_on(struct queue *q, void *arg)
{
    struct shard *s = arg;
    loop_again(s->loop, &CONTAINER_OF(q, struct hosted, queue)->go_on);
}

static void on_go_on(void *arg)
{
    struct hosted *h = arg;
    queue_go_on(&h->queue);
}

struct shard *shard_new(struct broker *broker, uint32_t index, uint32_t shard_count,
                        struct loop *loop)
{
    struct shard *s = mem_zalloc(sizeof *s);
    s->broker = broker;
    s->index = index;
    s->loop = loop;
    s->hash_seed = random_u64();
    s->queue_ops =
        (struct queue_ops){ .release = release_message, .go_on = queue_goes_on, .arg = s };
    idmap_init(&s->queues);
    idmap_init(&s->consumers);
    idmap_init(&s->connections);
    port_init(s, shard_count);
    s->auth = broker_auth_new(broker, loop);
    return s;
}

static void free_hosted(struct shard *s, struct hosted *h)
{
    CHECK(!h->will_run);
    loop_task_cancel(s->loop, &h->go_on);
    queue_fini(&h->queue);
    mem_free(h);
}

void shard_free(struct shard **shard)
{
    struct shard *s = *shard;
    *shard = NULL;
    CHECK(s->connections.count == 0);
    struct hosted *h;
    while ((h = idmap_first(&s->queues)) != NULL) {
        idmap_take(&s->queues, h->queue.qid);
        port_cancel_all(s, &h->queue);
        free_hosted(s, h);
    }
    port_fini(s);
    auth_free(&s->auth);
    idmap_fini(&s->queues);
    idmap_fini(&s->consumers);
    idmap_fini(&s->connections);
    mem_free(s);
}

struct hosted *shard_hosted(struct shard *s, uint64_t qid)
{
    struct hosted *h = idmap_get(&s->queues, qid);
    return h != NULL && !h->deleting ? h : NULL;
}

struct queue *shard_queue(struct shard *s, uint64_t qid)
{
    struct hosted *h = shard_hosted(s, qid);
    return h != NULL ? &h->queue : NULL;
}

void shard_client_gone(struct shard *s)
{
    if (!s->stopping || s->idle_told || s->connections.count != 0)
        return;
    s->idle_told = true;
    broker_shard_is_idle(s);
}

void shard_stop_clients(struct shard *s)
{
    bool again = s->stopping;
    s->stopping = true;
    size_t count = s->connections.count;
    uint64_t *ids = mem_array(count + 1, sizeof *ids);
    size_t at = 0;
    struct connection *c;
    for (size_t i = 0; (c = idmap_next(&s->connections, &at)) != NULL; i++)
        ids[i] = c->id;
    for (size_t i = 0; i < count; i++) {
        c = connection_find(s, ids[i]);
        if (c != NULL)
            connection_stop(c, again);
    }
    mem_free(ids);
    shard_client_gone(s);
}

uint64_t shard_new_id(struct shard *s)
{
    return (uint64_t)s->index << 48 | ++s->next_id;
}

void shard_count_bytes(struct shard *s, int64_t change)
{
    int64_t was = atomic_load_explicit(&s->message_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->message_bytes, was + change, memory_order_relaxed);
}

void shard_message_made(struct shard *s, const struct message *m)
{
    shard_count_bytes(s, (int64_t)message_cost_bytes(m));
}

void shard_message_drop(struct shard *s, struct message **m)
{
    size_t gone = message_unref(m);
    if (gone != 0)
        shard_count_bytes(s, -(int64_t)gone);
}

/* ---- queues come and go
 * --------------------------------------------------------------------------- */

struct queue_notice {
    struct mail mail;
    struct shard *shard;
    uint64_t qid;
    bool auto_delete;
};

static void on_created(struct mail *mail)
{
    struct queue_notice *n = CONTAINER_OF(mail, struct queue_notice, mail);
    struct hosted *h = mem_zalloc(sizeof *h);
    queue_init(&h->queue, n->qid, &n->shard->queue_ops);
    loop_task_init(&h->go_on, on_go_on, h);
    h->auto_delete = n->auto_delete;
    idmap_put(&n->shard->queues, n->qid, h);
    mem_free(n);
}

static void on_deleted(struct mail *mail)
{
    struct queue_notice *n = CONTAINER_OF(mail, struct queue_notice, mail);
    struct hosted *h = idmap_take(&n->shard->queues, n->qid);
    if (h != NULL) {
        port_cancel_all(n->shard, &h->queue);
        free_hosted(n->shard, h);
    }
    mem_free(n);
}

static void post_notice(const struct queue_notice *notice)
{
    struct queue_notice *n = mem_dup(notice, sizeof *notice);
    mailbox_post(n->shard->loop, &n->mail);
}

void shard_post_queue_created(struct shard *s, const struct meta_queue *q)
{
    post_notice(&(struct queue_notice){
        .mail = { NULL, on_created }, .shard = s, .qid = q->qid, .auto_delete = q->auto_delete });
}

void shard_post_queue_deleted(struct shard *s, uint64_t qid)
{
    post_notice(&(struct queue_notice){ .mail = { NULL, on_deleted }, .shard = s, .qid = qid });
}

/* Queues ask the metadata for what they need when they need it: nothing to take over. */
void shard_policies_changed(struct shard *s, uint64_t vhost_id)
{
    CHECK(loop_is_current(s->loop));
    (void)vhost_id;
}

void shard_delete_queue(struct shard *s, uint64_t qid)
{
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), qid);
    if (q == NULL)
        return; /* it is gone already */
    struct control_op *op = control_op_new(&(struct meta_cmd){
        .op = META_QUEUE_DELETE, .vhost_id = q->vhost_id, .conn = q->owner, .qid = qid });
    control_send(broker_control(s->broker), &op);
}
