/* What a shard knows, looked up on its own thread in turns of bounded work. */
#include "base/mem.h"
#include "client/channel.h"
#include "client/channel_port.h"
#include "hosted.h"
#include "io/tls_about.h"
#include "mgmt/mgmt_ask_inner.h"
#include "mirrored_lead.h"

#include <stdlib.h>
#include <string.h>

/* What a shard does of it in one turn: some tens of microseconds. */
#define QUEUES_A_TURN      512u
#define CONNECTIONS_A_TURN 64u
#define CONSUMERS_A_TURN   1024u

/* ---- turns ---- */

static void on_leg_done(struct mail *mail)
{
    mgmt_ask_one_less(CONTAINER_OF(mail, struct mgmt_ask_leg, mail)->ask);
}

static void finish_leg(struct mgmt_ask_leg *l)
{
    l->mail.fn = on_leg_done;
    mailbox_post(l->ask->loop, &l->mail);
}

static void go_on(struct mgmt_ask_leg *l, size_t count)
{
    if (l->at < count)
        mailbox_post(l->shard->loop, &l->mail);
    else
        finish_leg(l);
}

/* ---- queues, on their shard ---- */

void mgmt_disk_of(const struct hosted *h, struct mgmt_disk *out)
{
    const struct qcount *ready = &h->queue.store.counts.ready;
    const struct qcount *out_now = &h->queue.store.counts.out;
    const struct qcount *away = &h->queue.store.counts.away;
    *out = (struct mgmt_disk){ .paged_out = away->count,
                               .paged_out_bytes = away->bytes,
                               .reads = h->pager.reads,
                               .writes = h->book.writes };
    uint64_t here = ready->count + out_now->count - out->paged_out;
    out->memory_bytes = sizeof *h + ready->bytes + out_now->bytes - out->paged_out_bytes +
                        here * (sizeof(struct message) + sizeof(struct qentry));
}

static void look_at_queue(struct shard *s, struct mgmt_queue *out)
{
    const struct hosted *h = shard_hosted(s, out->qid);
    out->found = h != NULL;
    if (h == NULL)
        return;
    const struct queue *q = &h->queue;
    struct mgmt_disk disk;
    mgmt_disk_of(h, &disk);
    out->paged_out = disk.paged_out;
    out->paged_out_bytes = disk.paged_out_bytes;
    out->disk_reads = disk.reads;
    out->disk_writes = disk.writes;
    out->memory_bytes = disk.memory_bytes;
    const struct qcount *ready = &q->store.counts.ready;
    const struct qcount *out_now = &q->store.counts.out;
    out->syncing = mirrored_is_syncing(h, &out->sync_messages) && out->sync_messages != 0;
    out->lag_count = mirrored_lags(h, out->lags);
    out->exclusive = q->has_exclusive;
    out->consumers = q->consumer_count;
    out->ready = ready->count;
    out->unacked = out_now->count;
    out->ready_bytes = ready->bytes;
    out->unacked_bytes = out_now->bytes;
    out->persistent = ready->persistent + out_now->persistent;
    out->persistent_bytes = ready->persistent_bytes + out_now->persistent_bytes;
    out->published = q->published;
    out->delivered = q->delivered;
    out->redelivered = q->redelivered;
    out->acked = q->acked;
    out->used_ms = q->used_at_ms;
    const struct message *head = queue_head(q);
    out->has_timestamp = head != NULL && message_timestamp(head, &out->head_timestamp);
    out->lone = port_lone_consumer(q, &out->lone_channel);
    out->lone_is_active = q->is_single;
}

void mgmt_ask_leg_queues(struct mail *mail)
{
    struct mgmt_ask_leg *l = CONTAINER_OF(mail, struct mgmt_ask_leg, mail);
    struct mgmt_ask *a = l->ask;
    for (size_t n = 0; n < QUEUES_A_TURN && l->at < a->queue_count; n++, l->at++) {
        if (mgmt_ask_is_here(a, a->queues[l->at].node) && a->queues[l->at].shard == l->shard->index)
            look_at_queue(l->shard, &a->queues[l->at]);
    }
    go_on(l, a->queue_count);
}

/* On the shard of the consumer's client. */
static void look_at_tag(struct shard *s, struct mgmt_queue *out)
{
    const struct channel *ch = channel_find(s, &out->lone_channel);
    struct slice tag = ch != NULL ? channel_consumer_tag(ch, out->lone) : slice_str("");
    out->lone_tag_bytes = (uint8_t)tag.len;
    if (tag.len != 0)
        memcpy(out->lone_tag, tag.ptr, tag.len);
}

void mgmt_ask_leg_tags(struct mail *mail)
{
    struct mgmt_ask_leg *l = CONTAINER_OF(mail, struct mgmt_ask_leg, mail);
    struct mgmt_ask *a = l->ask;
    for (size_t n = 0; n < QUEUES_A_TURN && l->at < a->queue_count; n++, l->at++) {
        struct mgmt_queue *q = &a->queues[l->at];
        uint64_t connection = q->lone_channel.connection;
        if (q->lone != 0 && mgmt_ask_is_here(a, node_of_id(connection)) &&
            shard_of_id(connection) == l->shard->index)
            look_at_tag(l->shard, q);
    }
    go_on(l, a->queue_count);
}

/* ---- clients, on their shard ---- */

/* Room for one more. */
static void *grown(void *array, size_t count, size_t *cap, size_t item_bytes)
{
    if (count < *cap)
        return array;
    *cap = *cap != 0 ? *cap * 2 : 64;
    return mem_realloc(array, *cap * item_bytes);
}

struct consumers_of {
    struct mgmt_ask_leg *leg;
    const struct channel *ch;
};

static void add_consumer(const struct channel_consumer_view *v, void *arg)
{
    const struct consumers_of *of = arg;
    struct mgmt_ask_leg *l = of->leg;
    l->consumers = grown(l->consumers, l->consumer_count, &l->consumer_cap, sizeof *l->consumers);
    struct mgmt_consumer *out = &l->consumers[l->consumer_count++];
    *out = (struct mgmt_consumer){ .connection = of->ch->conn->id,
                                   .channel = of->ch->number,
                                   .prefetch = v->prefetch,
                                   .no_ack = v->no_ack,
                                   .exclusive = v->exclusive,
                                   .id = v->id,
                                   .qid = v->qid,
                                   .tag_bytes = (uint8_t)v->tag.len };
    if (v->arguments.len != 0) {
        out->arguments = mem_dup(v->arguments.ptr, v->arguments.len);
        out->arguments_bytes = (uint32_t)v->arguments.len;
    }
    if (v->tag.len != 0)
        memcpy(out->tag, v->tag.ptr, v->tag.len);
}

static void add_channel(struct mgmt_ask_leg *l, const struct channel *ch)
{
    l->channels = grown(l->channels, l->channel_count, &l->channel_cap, sizeof *l->channels);
    l->channels[l->channel_count++] = (struct mgmt_channel){
        .connection = ch->conn->id,
        .number = ch->number,
        .prefetch = ch->prefetch,
        .channel_prefetch = ch->channel_prefetch,
        .confirms = ch->confirms,
        .consumers = ch->consumers.count,
        .unacked = ch->unacked.open,
        .unconfirmed = ch->confirms ? confirm_waiting(&ch->confirm) : 0,
        .transactional = ch->tx != NULL,
        .uncommitted = channel_tx_messages(ch),
        .uncommitted_acks = channel_tx_acks(ch),
        .counts = ch->counts,
    };
    if (l->ask->what == MGMT_CONSUMERS)
        channel_each_consumer(ch, add_consumer, &(struct consumers_of){ l, ch });
}

static void add_connection(struct mgmt_ask_leg *l, const struct connection *c)
{
    l->connections =
        grown(l->connections, l->connection_count, &l->connection_cap, sizeof *l->connections);
    struct mgmt_connection *out = &l->connections[l->connection_count++];
    struct stream_totals totals = stream_totals(c->stream);
    *out = (struct mgmt_connection){
        .id = c->id,
        .vhost_id = c->vhost_id,
        .client = c->client,
        .local = *stream_local(c->stream),
        .user = mem_strdup(c->user),
        .tls = stream_tls_about(c->stream),
        .blocked = c->blocked,
        .channel_max = c->hs.limits.channel_max,
        .heartbeat_s = c->hs.limits.heartbeat_s,
        .frame_max = c->hs.limits.frame_max,
        .channels = c->channel_count,
        .connected_ms = c->connected_ms,
        .in_bytes = totals.in_bytes,
        .out_bytes = totals.out_bytes,
        .in_count = totals.in_count,
        .out_count = totals.out_count,
        .pending_bytes = stream_pending(c->stream),
        .client_properties_bytes = c->client_properties_bytes,
    };
    if (c->client_properties != NULL)
        out->client_properties = mem_dup(c->client_properties, c->client_properties_bytes);
    struct text mechanism = text_over(out->mechanism, sizeof out->mechanism);
    text_slice(&mechanism, c->hs.mechanism);
    for (uint32_t i = 0; l->ask->what != MGMT_CONNECTIONS && i < c->channel_cap; i++) {
        if (c->channels[i] != NULL)
            add_channel(l, c->channels[i]);
    }
}

static int compare_ids(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Which ones there are: they may come and go while we look at them in pieces. */
static void note_connections(struct mgmt_ask_leg *l)
{
    const struct idmap *all = &l->shard->connections;
    l->ids = mem_array(all->count + 1, sizeof *l->ids);
    size_t at = 0;
    const struct connection *c;
    while ((c = idmap_next(all, &at)) != NULL)
        l->ids[l->id_count++] = c->id;
    qsort(l->ids, l->id_count, sizeof *l->ids, compare_ids);
}

void mgmt_ask_leg_clients(struct mail *mail)
{
    struct mgmt_ask_leg *l = CONTAINER_OF(mail, struct mgmt_ask_leg, mail);
    if (l->ids == NULL)
        note_connections(l);
    for (size_t n = 0; n < CONNECTIONS_A_TURN && l->at < l->id_count; n++, l->at++) {
        const struct connection *c = connection_find(l->shard, l->ids[l->at]);
        if (c != NULL && connection_is_open(c))
            add_connection(l, c);
    }
    go_on(l, l->id_count);
}

/* ---- consumers, on the shard of their queue ---- */

static void look_at_activity(struct shard *s, struct mgmt_consumer *out)
{
    const struct queue *q = shard_queue(s, out->qid);
    if (q != NULL && q->is_single)
        out->activity = port_active_consumer(q) == out->id ? MGMT_ACTIVE : MGMT_WAITING;
}

void mgmt_ask_leg_activities(struct mail *mail)
{
    struct mgmt_ask_leg *l = CONTAINER_OF(mail, struct mgmt_ask_leg, mail);
    struct mgmt_ask *a = l->ask;
    for (size_t n = 0; n < CONSUMERS_A_TURN && l->at < a->consumer_count; n++, l->at++) {
        if (mgmt_ask_is_here(a, a->consumers[l->at].node) &&
            a->consumers[l->at].shard == l->shard->index)
            look_at_activity(l->shard, &a->consumers[l->at]);
    }
    go_on(l, a->consumer_count);
}
