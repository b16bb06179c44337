#include "mgmt/mgmt_ask.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel.h"
#include "client/channel_port.h"
#include "hosted.h"
#include "io/mailbox.h"
#include "io/tls_about.h"

#include <stdlib.h>
#include <string.h>

/* What a shard does of it in one turn: some tens of microseconds. */
#define QUEUES_A_TURN      512u
#define CONNECTIONS_A_TURN 64u
#define CONSUMERS_A_TURN   1024u

/* The part of one shard. */
struct leg {
    struct mail mail;
    struct mgmt_ask *ask;
    struct shard *shard;
    size_t at; /* where to go on */
    uint64_t *ids;
    size_t id_count;
    struct mgmt_connection *connections;
    size_t connection_count;
    size_t connection_cap;
    struct mgmt_channel *channels;
    size_t channel_count;
    size_t channel_cap;
    struct mgmt_consumer *consumers;
    size_t consumer_count;
    size_t consumer_cap;
};

struct mgmt_ask {
    struct loop *loop;
    mgmt_ask_fn done;
    void *arg;
    enum mgmt_clients what;
    bool is_kept;
    bool is_second;            /* what other shards know of what the first round found */
    struct mgmt_queue *queues; /* each is written by its shard alone */
    size_t queue_count;
    struct mgmt_connection *connections;
    size_t connection_count;
    struct mgmt_channel *channels;
    size_t channel_count;
    struct mgmt_consumer *consumers;
    size_t consumer_count;
    uint32_t leg_count;
    uint32_t legs_left;
    struct leg legs[];
};

static void on_tags(struct mail *mail);
static void on_activity(struct mail *mail);

/* ---- the answer is whole ---- */

static void free_ask(void *ptr)
{
    struct mgmt_ask *a = ptr;
    for (size_t i = 0; i < a->connection_count; i++) {
        mem_free(a->connections[i].user);
        tls_about_free(&a->connections[i].tls);
        mem_free(a->connections[i].client_properties);
    }
    for (size_t i = 0; i < a->consumer_count; i++)
        mem_free(a->consumers[i].arguments);
    mem_free(a->queues);
    mem_free(a->connections);
    mem_free(a->channels);
    mem_free(a->consumers);
    mem_free(a);
}

static void gather(struct mgmt_ask *a)
{
    size_t connections = 0, channels = 0, consumers = 0;
    for (uint32_t i = 0; i < a->leg_count; i++) {
        connections += a->legs[i].connection_count;
        channels += a->legs[i].channel_count;
        consumers += a->legs[i].consumer_count;
    }
    a->connections = mem_array(connections + 1, sizeof *a->connections);
    a->channels = mem_array(channels + 1, sizeof *a->channels);
    a->consumers = mem_array(consumers + 1, sizeof *a->consumers);
    for (uint32_t i = 0; i < a->leg_count; i++) {
        struct leg *l = &a->legs[i];
        for (size_t n = 0; n < l->connection_count; n++)
            a->connections[a->connection_count++] = l->connections[n];
        for (size_t n = 0; n < l->channel_count; n++)
            a->channels[a->channel_count++] = l->channels[n];
        for (size_t n = 0; n < l->consumer_count; n++)
            a->consumers[a->consumer_count++] = l->consumers[n];
        mem_free(l->ids);
        mem_free(l->connections);
        mem_free(l->channels);
        mem_free(l->consumers);
    }
}

/* What is asked of the other side, when all have answered: queues know their consumers by number,
 * consumers do not know whom their queue serves. NULL: nothing. */
static mail_fn second_round(const struct mgmt_ask *a)
{
    if (a->is_second)
        return NULL;
    for (size_t i = 0; i < a->queue_count; i++) {
        if (a->queues[i].lone != 0)
            return on_tags;
    }
    return a->consumer_count != 0 ? on_activity : NULL;
}

static void send(struct mgmt_ask *a, mail_fn fn)
{
    a->legs_left = a->leg_count;
    /* The last leg may come back, and the ask go, as soon as it is posted. */
    for (uint32_t i = 0, count = a->leg_count; i < count; i++) {
        a->legs[i].at = 0;
        a->legs[i].mail.fn = fn;
        mailbox_post(a->legs[i].shard->loop, &a->legs[i].mail);
    }
}

static void on_leg_done(struct mail *mail)
{
    struct leg *l = CONTAINER_OF(mail, struct leg, mail);
    struct mgmt_ask *a = l->ask;
    CHECK(a->legs_left > 0);
    if (--a->legs_left != 0)
        return;
    if (!a->is_second)
        gather(a);
    mail_fn more = second_round(a);
    if (more != NULL) {
        a->is_second = true;
        send(a, more);
        return;
    }
    a->done(a, a->arg);
    if (!a->is_kept)
        free_ask(a);
}

static void finish_leg(struct leg *l)
{
    l->mail.fn = on_leg_done;
    mailbox_post(l->ask->loop, &l->mail);
}

static void go_on(struct leg *l, size_t count)
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

static void on_queues(struct mail *mail)
{
    struct leg *l = CONTAINER_OF(mail, struct leg, mail);
    struct mgmt_ask *a = l->ask;
    for (size_t n = 0; n < QUEUES_A_TURN && l->at < a->queue_count; n++, l->at++) {
        if (a->queues[l->at].shard == l->shard->index)
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

static void on_tags(struct mail *mail)
{
    struct leg *l = CONTAINER_OF(mail, struct leg, mail);
    struct mgmt_ask *a = l->ask;
    for (size_t n = 0; n < QUEUES_A_TURN && l->at < a->queue_count; n++, l->at++) {
        struct mgmt_queue *q = &a->queues[l->at];
        if (q->lone != 0 && shard_of_id(q->lone_channel.connection) == l->shard->index)
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
    struct leg *leg;
    const struct channel *ch;
};

static void add_consumer(const struct channel_consumer_view *v, void *arg)
{
    const struct consumers_of *of = arg;
    struct leg *l = of->leg;
    l->consumers = grown(l->consumers, l->consumer_count, &l->consumer_cap, sizeof *l->consumers);
    struct mgmt_consumer *out = &l->consumers[l->consumer_count++];
    *out = (struct mgmt_consumer){ .connection = of->ch->conn->id,
                                   .channel = of->ch->number,
                                   .prefetch = v->prefetch,
                                   .no_ack = v->no_ack,
                                   .exclusive = v->exclusive,
                                   .id = v->id,
                                   .qid = v->qid,
                                   .shard = v->where,
                                   .tag_bytes = (uint8_t)v->tag.len };
    if (v->arguments.len != 0) {
        out->arguments = mem_dup(v->arguments.ptr, v->arguments.len);
        out->arguments_bytes = (uint32_t)v->arguments.len;
    }
    if (v->tag.len != 0)
        memcpy(out->tag, v->tag.ptr, v->tag.len);
}

static void add_channel(struct leg *l, const struct channel *ch)
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

static void add_connection(struct leg *l, const struct connection *c)
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
static void note_connections(struct leg *l)
{
    const struct idmap *all = &l->shard->connections;
    l->ids = mem_array(all->count + 1, sizeof *l->ids);
    size_t at = 0;
    const struct connection *c;
    while ((c = idmap_next(all, &at)) != NULL)
        l->ids[l->id_count++] = c->id;
    qsort(l->ids, l->id_count, sizeof *l->ids, compare_ids);
}

static void on_clients(struct mail *mail)
{
    struct leg *l = CONTAINER_OF(mail, struct leg, mail);
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

const char *mgmt_activity_name(enum mgmt_activity a)
{
    static const char *const names[] = {
        [MGMT_UP] = "up", [MGMT_ACTIVE] = "single_active", [MGMT_WAITING] = "waiting"
    };
    return names[a];
}

static void look_at_activity(struct shard *s, struct mgmt_consumer *out)
{
    const struct queue *q = shard_queue(s, out->qid);
    if (q != NULL && q->is_single)
        out->activity = port_active_consumer(q) == out->id ? MGMT_ACTIVE : MGMT_WAITING;
}

static void on_activity(struct mail *mail)
{
    struct leg *l = CONTAINER_OF(mail, struct leg, mail);
    struct mgmt_ask *a = l->ask;
    for (size_t n = 0; n < CONSUMERS_A_TURN && l->at < a->consumer_count; n++, l->at++) {
        if (a->consumers[l->at].shard == l->shard->index)
            look_at_activity(l->shard, &a->consumers[l->at]);
    }
    go_on(l, a->consumer_count);
}

/* ---- asking ---- */

static struct mgmt_ask *ask_new(struct broker *b, struct loop *loop, mgmt_ask_fn done, void *arg)
{
    uint32_t count = broker_shard_count(b);
    struct mgmt_ask *a = mem_zalloc(sizeof *a + count * sizeof(struct leg));
    a->loop = loop;
    a->done = done;
    a->arg = arg;
    a->leg_count = count;
    for (uint32_t i = 0; i < count; i++)
        a->legs[i] = (struct leg){ .ask = a, .shard = broker_shard(b, i) };
    return a;
}

void mgmt_ask_queues(struct broker *b, struct loop *loop, struct mgmt_queue **queues, size_t count,
                     mgmt_ask_fn done, void *arg)
{
    struct mgmt_ask *a = ask_new(b, loop, done, arg);
    a->queues = *queues;
    a->queue_count = count;
    *queues = NULL;
    send(a, on_queues);
}

void mgmt_ask_clients(struct broker *b, struct loop *loop, enum mgmt_clients what, mgmt_ask_fn done,
                      void *arg)
{
    struct mgmt_ask *a = ask_new(b, loop, done, arg);
    a->what = what;
    send(a, on_clients);
}

const struct mgmt_queue *mgmt_ask_queue_list(const struct mgmt_ask *a, size_t *count)
{
    *count = a->queue_count;
    return a->queues;
}

const struct mgmt_connection *mgmt_ask_connection_list(const struct mgmt_ask *a, size_t *count)
{
    *count = a->connection_count;
    return a->connections;
}

const struct mgmt_channel *mgmt_ask_channel_list(const struct mgmt_ask *a, size_t *count)
{
    *count = a->channel_count;
    return a->channels;
}

const struct mgmt_consumer *mgmt_ask_consumer_list(const struct mgmt_ask *a, size_t *count)
{
    *count = a->consumer_count;
    return a->consumers;
}

void mgmt_ask_keep(struct mgmt_ask *a)
{
    a->is_kept = true;
}

void mgmt_ask_free(struct mgmt_ask **a)
{
    CHECK((*a)->is_kept && (*a)->legs_left == 0);
    loop_bury((*a)->loop, *a, free_ask); /* `done` may be under way */
    *a = NULL;
}
