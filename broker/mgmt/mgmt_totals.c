#include "mgmt/mgmt_totals.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "broker.h"
#include "client/channel.h"
#include "hosted.h"
#include "io/mailbox.h"
#include "mgmt/mgmt_ask.h"
#include "mgmt/mgmt_peers.h"
#include "shard.h"

#define QUEUES_A_TURN  512u
#define CLIENTS_A_TURN 64u
#define ANEW_MAX       3u /* how often a table that has grown meanwhile is begun anew */

struct sums {
    struct mgmt_totals *list; /* one a vhost */
    size_t count;
    size_t last; /* queues of one vhost often come together */
};

struct leg {
    struct mail mail;
    struct asking *asking;
    struct shard *shard;
    size_t at;
    size_t cap; /* of the table that `at` is in */
    unsigned begun;
    size_t client_at;
    struct sums sums;
};

struct asking {
    struct loop *loop;
    mgmt_totals_fn done;
    void *arg;
    struct sums others; /* of other nodes */
    uint32_t leg_count;
    uint32_t left; /* legs, and other nodes */
    struct leg legs[];
};

static struct mgmt_totals *totals_of(struct sums *s, uint64_t vhost_id)
{
    if (s->count != 0 && s->list[s->last].vhost_id == vhost_id)
        return &s->list[s->last];
    for (s->last = 0; s->last < s->count; s->last++) {
        if (s->list[s->last].vhost_id == vhost_id)
            return &s->list[s->last];
    }
    s->list = mem_realloc(s->list, (s->count + 1) * sizeof *s->list);
    s->list[s->count] = (struct mgmt_totals){ .vhost_id = vhost_id };
    return &s->list[s->count++];
}

void mgmt_totals_add(struct mgmt_totals *to, const struct mgmt_totals *more)
{
#define X(name) to->name += more->name;
    MGMT_TOTALS(X)
#undef X
}

/* ---- on a shard ---- */

/* What mirrors other nodes' queues is theirs to count. */
static void add_queue(struct sums *s, const struct hosted *h)
{
    if (!hosted_leads(h))
        return;
    const struct queue *q = &h->queue;
    const struct qcount *ready = &q->store.counts.ready;
    const struct qcount *out = &q->store.counts.out;
    struct mgmt_disk disk;
    mgmt_disk_of(h, &disk);
    mgmt_totals_add(totals_of(s, h->vhost_id), &(struct mgmt_totals){
                                                   .queues = 1,
                                                   .consumers = q->consumer_count,
                                                   .ready = ready->count,
                                                   .unacked = out->count,
                                                   .ready_bytes = ready->bytes,
                                                   .unacked_bytes = out->bytes,
                                                   .paged_out = disk.paged_out,
                                                   .paged_out_bytes = disk.paged_out_bytes,
                                                   .disk_reads = disk.reads,
                                                   .disk_writes = disk.writes,
                                                   .memory_bytes = disk.memory_bytes,
                                                   .published = q->published,
                                                   .delivered = q->delivered,
                                                   .redelivered = q->redelivered,
                                                   .acked = q->acked,
                                               });
}

static void add_client(struct sums *s, const struct connection *c)
{
    struct stream_totals octets = stream_totals(c->stream);
    struct mgmt_totals more = { .connections = 1,
                                .channels = c->channel_count,
                                .in_bytes = octets.in_bytes,
                                .out_bytes = octets.out_bytes };
    for (uint32_t i = 0; i < c->channel_cap; i++) {
        const struct channel *ch = c->channels[i];
        if (ch == NULL)
            continue;
        more.unconfirmed += ch->confirms ? confirm_waiting(&ch->confirm) : 0;
        more.prefetch += ch->channel_prefetch;
    }
    mgmt_totals_add(totals_of(s, c->vhost_id), &more);
}

static void on_answered(struct mail *mail);

/* Clients after queues. */
static void on_shard_clients(struct mail *mail)
{
    struct leg *l = CONTAINER_OF(mail, struct leg, mail);
    const struct connection *c = NULL;
    for (unsigned n = 0;
         n < CLIENTS_A_TURN && (c = idmap_next(&l->shard->connections, &l->client_at)) != NULL;
         n++) {
        if (connection_is_open(c))
            add_client(&l->sums, c);
    }
    if (c == NULL)
        l->mail.fn = on_answered;
    mailbox_post(c == NULL ? l->asking->loop : l->shard->loop, &l->mail);
}

static void begin(struct leg *l)
{
    mem_free(l->sums.list);
    l->sums = (struct sums){ 0 };
    l->at = 0;
    l->cap = l->shard->queues.cap;
    l->begun++;
}

static void on_shard(struct mail *mail)
{
    struct leg *l = CONTAINER_OF(mail, struct leg, mail);
    const struct idmap *all = &l->shard->queues;
    const struct hosted *h = NULL;
    if (l->begun == 0 || (l->cap != all->cap && l->begun < ANEW_MAX))
        begin(l);
    for (unsigned n = 0; n < QUEUES_A_TURN && (h = idmap_next(all, &l->at)) != NULL; n++)
        add_queue(&l->sums, h);
    if (h == NULL)
        l->mail.fn = on_shard_clients;
    mailbox_post(l->shard->loop, &l->mail);
}

/* ---- all have answered ---- */

static void finish(struct asking *a)
{
    struct sums all = { 0 };
    struct mgmt_totals total = { 0 };
    for (uint32_t i = 0; i < a->leg_count; i++) {
        struct sums *s = &a->legs[i].sums;
        for (size_t n = 0; n < s->count; n++) {
            mgmt_totals_add(totals_of(&all, s->list[n].vhost_id), &s->list[n]);
            mgmt_totals_add(&total, &s->list[n]);
        }
        mem_free(s->list);
    }
    for (size_t n = 0; n < a->others.count; n++) {
        mgmt_totals_add(totals_of(&all, a->others.list[n].vhost_id), &a->others.list[n]);
        mgmt_totals_add(&total, &a->others.list[n]);
    }
    mem_free(a->others.list);
    a->done(a->arg, &total, all.list, all.count);
    mem_free(all.list);
    mem_free(a);
}

static void one_less(struct asking *a)
{
    CHECK(a->left > 0);
    if (--a->left == 0)
        finish(a);
}

static void on_answered(struct mail *mail)
{
    one_less(CONTAINER_OF(mail, struct leg, mail)->asking);
}

/* ---- other nodes ---- */

void mgmt_totals_put(struct text *out, const struct mgmt_totals *vhosts, size_t count)
{
    uint8_t octets[sizeof *vhosts];
    struct wire_out w = wire_out_over(octets, sizeof octets);
    wire_put_u8(&w, MGMT_TOTALS_FORMAT);
    wire_put_u32(&w, (uint32_t)count);
    text_slice(out, wire_out_slice(&w));
    for (size_t i = 0; i < count; i++) {
        w = wire_out_over(octets, sizeof octets);
        wire_put_u64(&w, vhosts[i].vhost_id);
#define X(name) wire_put_u64(&w, vhosts[i].name);
        MGMT_TOTALS(X)
#undef X
        CHECK(!w.overflow);
        text_slice(out, wire_out_slice(&w));
    }
}

bool mgmt_totals_take(struct slice in, mgmt_totals_each_fn each, void *arg)
{
    struct wire w = wire_over(in);
    uint8_t format = wire_u8(&w);
    uint32_t count = wire_u32(&w);
    if (w.ran_out || format != MGMT_TOTALS_FORMAT ||
        wire_left(&w) != (size_t)count * sizeof(struct mgmt_totals))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct mgmt_totals one = { .vhost_id = wire_u64(&w) };
#define X(name) one.name = wire_u64(&w);
        MGMT_TOTALS(X)
#undef X
        each(arg, &one);
    }
    return true;
}

static void add_other(void *arg, const struct mgmt_totals *one)
{
    struct asking *a = arg;
    mgmt_totals_add(totals_of(&a->others, one->vhost_id), one);
}

static void on_other(uint16_t node, const struct http_answer *answer, const struct err *why,
                     void *arg)
{
    struct asking *a = arg;
    (void)node;
    (void)why; /* logged by mgmt_peers */
    if (answer != NULL && answer->status == 200 &&
        !mgmt_totals_take(text_view(&answer->body), add_other, a))
        log_warn("mgmt", "-", "the totals of another node cannot be read");
    one_less(a);
}

static void ask_others(struct asking *a, struct mgmt_peers *peers)
{
    uint16_t nodes[MGMT_PEERS_MAX];
    size_t count = mgmt_peers_list(peers, nodes, MGMT_PEERS_MAX);
    a->left += (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        mgmt_peers_ask(
            peers, nodes[i],
            &(struct mgmt_peer_question){ .method = "POST", .path = slice_str("/figures/totals") },
            on_other, a);
}

/* ---- asking ---- */

void mgmt_ask_totals(struct broker *b, struct loop *loop, struct mgmt_peers *peers,
                     mgmt_totals_fn done, void *arg)
{
    uint32_t count = broker_shard_count(b);
    struct asking *a = mem_zalloc(sizeof *a + count * sizeof(struct leg));
    *a = (struct asking){
        .loop = loop, .done = done, .arg = arg, .leg_count = count, .left = count
    };
    if (peers != NULL)
        ask_others(a, peers);
    for (uint32_t i = 0; i < count; i++)
        a->legs[i] =
            (struct leg){ .mail = { NULL, on_shard }, .asking = a, .shard = broker_shard(b, i) };
    /* The last leg may come back, and all of this go, as soon as it is posted. */
    for (uint32_t i = 0; i < count; i++)
        mailbox_post(a->legs[i].shard->loop, &a->legs[i].mail);
}

struct mgmt_totals mgmt_totals_of_vhost(const struct mgmt_totals *vhosts, size_t count,
                                        uint64_t vhost_id)
{
    for (size_t i = 0; i < count; i++) {
        if (vhosts[i].vhost_id == vhost_id)
            return vhosts[i];
    }
    return (struct mgmt_totals){ .vhost_id = vhost_id };
}
