#include "base/check.h"
#include "base/mem.h"
#include "mgmt/mgmt_ask_inner.h"

#include <stdlib.h>

/* ---- the answer is whole ---- */

static struct mgmt_wire_clients clients_of(const struct mgmt_ask *a)
{
    return (struct mgmt_wire_clients){ a->connections,   a->connection_count, a->channels,
                                       a->channel_count, a->consumers,        a->consumer_count };
}

static void free_ask(void *ptr)
{
    struct mgmt_ask *a = ptr;
    struct mgmt_wire_clients all = clients_of(a);
    mgmt_wire_free_clients(&all);
    mem_free(a->others);
    mem_free(a->queues);
    mem_free(a);
}

static int compare_connections(const void *left, const void *right)
{
    const struct mgmt_connection *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

static int compare_channels(const void *left, const void *right)
{
    const struct mgmt_channel *a = left, *b = right;
    if (a->connection != b->connection)
        return a->connection > b->connection ? 1 : -1;
    return (int)a->number - (int)b->number;
}

static int compare_consumers(const void *left, const void *right)
{
    const struct mgmt_consumer *a = left, *b = right;
    if (a->connection != b->connection)
        return a->connection > b->connection ? 1 : -1;
    if (a->channel != b->channel)
        return (int)a->channel - (int)b->channel;
    return (a->id > b->id) - (a->id < b->id);
}

static void append(struct mgmt_ask *a, const struct mgmt_wire_clients *more)
{
    for (size_t n = 0; n < more->connection_count; n++)
        a->connections[a->connection_count++] = more->connections[n];
    for (size_t n = 0; n < more->channel_count; n++)
        a->channels[a->channel_count++] = more->channels[n];
    for (size_t n = 0; n < more->consumer_count; n++)
        a->consumers[a->consumer_count++] = more->consumers[n];
    mem_free(more->connections);
    mem_free(more->channels);
    mem_free(more->consumers);
}

static struct mgmt_wire_clients clients_of_leg(const struct mgmt_ask_leg *l)
{
    return (struct mgmt_wire_clients){ l->connections,   l->connection_count, l->channels,
                                       l->channel_count, l->consumers,        l->consumer_count };
}

/* All parts one behind the other, then in the order of ids. */
static void gather(struct mgmt_ask *a)
{
    size_t connections = 0, channels = 0, consumers = 0;
    size_t count = a->leg_count + a->other_count;
    struct mgmt_wire_clients *parts = mem_array(count + 1, sizeof *parts);
    for (uint32_t i = 0; i < a->leg_count; i++) {
        parts[i] = clients_of_leg(&a->legs[i]);
        mem_free(a->legs[i].ids);
    }
    for (size_t i = 0; i < a->other_count; i++)
        parts[a->leg_count + i] = a->others[i];
    for (size_t i = 0; i < count; i++) {
        connections += parts[i].connection_count;
        channels += parts[i].channel_count;
        consumers += parts[i].consumer_count;
    }
    a->connections = mem_array(connections + 1, sizeof *a->connections);
    a->channels = mem_array(channels + 1, sizeof *a->channels);
    a->consumers = mem_array(consumers + 1, sizeof *a->consumers);
    for (size_t i = 0; i < count; i++)
        append(a, &parts[i]);
    mem_free(parts);
    qsort(a->connections, connections, sizeof *a->connections, compare_connections);
    qsort(a->channels, channels, sizeof *a->channels, compare_channels);
    qsort(a->consumers, consumers, sizeof *a->consumers, compare_consumers);
}

/* Where the queues of the consumers live now; node 0: nowhere. */
static void find_homes(struct mgmt_ask *a)
{
    const struct meta_version *v = broker_meta(a->broker);
    for (size_t i = 0; i < a->consumer_count; i++) {
        const struct meta_queue *q = meta_queue_get(v, a->consumers[i].qid);
        a->consumers[i].node = q != NULL ? meta_queue_master(v, q) : 0;
        a->consumers[i].shard = q != NULL ? q->shard : 0;
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
            return mgmt_ask_leg_tags;
    }
    return a->consumer_count != 0 ? mgmt_ask_leg_activities : NULL;
}

/* To all shards; other nodes are asked by `ask_others`, which counts their parts. */
static void send(struct mgmt_ask *a, mail_fn fn, void (*ask_others)(struct mgmt_ask *a))
{
    a->left = a->leg_count;
    if (a->peers != NULL)
        ask_others(a);
    /* The last leg may come back, and the ask go, as soon as it is posted. */
    for (uint32_t i = 0, count = a->leg_count; i < count; i++) {
        a->legs[i].at = 0;
        a->legs[i].mail.fn = fn;
        mailbox_post(a->legs[i].shard->loop, &a->legs[i].mail);
    }
}

void mgmt_ask_one_less(struct mgmt_ask *a)
{
    CHECK(a->left > 0);
    if (--a->left != 0)
        return;
    if (!a->is_second) {
        gather(a);
        find_homes(a);
    }
    mail_fn more = second_round(a);
    if (more != NULL) {
        a->is_second = true;
        send(a, more, more == mgmt_ask_leg_tags ? mgmt_ask_peers_tags : mgmt_ask_peers_activities);
        return;
    }
    a->done(a, a->arg);
    if (!a->is_kept)
        free_ask(a);
}

const char *mgmt_activity_name(enum mgmt_activity a)
{
    static const char *const names[] = {
        [MGMT_UP] = "up", [MGMT_ACTIVE] = "single_active", [MGMT_WAITING] = "waiting"
    };
    return names[a];
}

/* ---- asking ---- */

static struct mgmt_ask *ask_new(struct broker *b, struct loop *loop, struct mgmt_peers *peers,
                                mgmt_ask_fn done, void *arg)
{
    uint32_t count = broker_shard_count(b);
    struct mgmt_ask *a = mem_zalloc(sizeof *a + count * sizeof(struct mgmt_ask_leg));
    a->broker = b;
    a->loop = loop;
    a->peers = peers;
    a->done = done;
    a->arg = arg;
    a->leg_count = count;
    for (uint32_t i = 0; i < count; i++)
        a->legs[i] = (struct mgmt_ask_leg){ .ask = a, .shard = broker_shard(b, i) };
    return a;
}

void mgmt_ask_queues(struct broker *b, struct loop *loop, struct mgmt_peers *peers,
                     struct mgmt_queue **queues, size_t count, mgmt_ask_fn done, void *arg)
{
    struct mgmt_ask *a = ask_new(b, loop, peers, done, arg);
    a->queues = *queues;
    a->queue_count = count;
    *queues = NULL;
    send(a, mgmt_ask_leg_queues, mgmt_ask_peers_queues);
}

void mgmt_ask_clients(struct broker *b, struct loop *loop, struct mgmt_peers *peers,
                      enum mgmt_clients what, mgmt_ask_fn done, void *arg)
{
    struct mgmt_ask *a = ask_new(b, loop, peers, done, arg);
    a->what = what;
    send(a, mgmt_ask_leg_clients, mgmt_ask_peers_clients);
}

void mgmt_ask_tags(struct broker *b, struct loop *loop, struct mgmt_queue **queues, size_t count,
                   mgmt_ask_fn done, void *arg)
{
    struct mgmt_ask *a = ask_new(b, loop, NULL, done, arg);
    a->queues = *queues;
    a->queue_count = count;
    *queues = NULL;
    a->is_second = true;
    send(a, mgmt_ask_leg_tags, NULL);
}

void mgmt_ask_activities(struct broker *b, struct loop *loop, struct mgmt_consumer **consumers,
                         size_t count, mgmt_ask_fn done, void *arg)
{
    struct mgmt_ask *a = ask_new(b, loop, NULL, done, arg);
    a->consumers = *consumers;
    a->consumer_count = count;
    *consumers = NULL;
    a->is_second = true;
    send(a, mgmt_ask_leg_activities, NULL);
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

void mgmt_ask_put_clients(const struct mgmt_ask *a, struct text *out)
{
    struct mgmt_wire_clients all = clients_of(a);
    mgmt_wire_put_clients(out, &all);
}

void mgmt_ask_keep(struct mgmt_ask *a)
{
    a->is_kept = true;
}

void mgmt_ask_free(struct mgmt_ask **a)
{
    CHECK((*a)->is_kept && (*a)->left == 0);
    loop_bury((*a)->loop, *a, free_ask); /* `done` may be under way */
    *a = NULL;
}
