/* What other nodes know, asked through mgmt_peers. */
#include "base/check.h"
#include "base/mem.h"
#include "mgmt/mgmt_ask_inner.h"
#include "mgmt/mgmt_peers.h"

/* What one other node is asked. */
struct part {
    struct mgmt_ask *ask;
    enum mgmt_wire_kind kind;
    size_t count; /* of what is asked about, all NULL where the question says it */
    union {
        struct mgmt_queue **queues;
        struct mgmt_consumer **consumers;
    };
};

static void take_clients(struct mgmt_ask *a, struct slice body)
{
    struct mgmt_wire_clients more;
    if (mgmt_wire_take_clients(body, &more))
        a->others[a->other_count++] = more;
}

/* What cannot be read is as if nothing had come. */
static void take_part(struct part *p, struct slice body)
{
    switch (p->kind) {
    case MGMT_WIRE_QUEUES:
        if (!mgmt_wire_take_queues(body, p->queues, p->count, loop_now_ms(p->ask->loop)))
            for (size_t i = 0; i < p->count; i++)
                p->queues[i]->found = false;
        return;
    case MGMT_WIRE_CLIENTS:
        take_clients(p->ask, body);
        return;
    case MGMT_WIRE_TAGS:
        if (!mgmt_wire_take_tags(body, p->queues, p->count))
            for (size_t i = 0; i < p->count; i++)
                p->queues[i]->lone_tag_bytes = 0;
        return;
    case MGMT_WIRE_ACTIVITIES:
        if (!mgmt_wire_take_activities(body, p->consumers, p->count))
            for (size_t i = 0; i < p->count; i++)
                p->consumers[i]->activity = MGMT_UP;
        return;
    }
    UNREACHABLE("kind of figures");
}

static void on_part(uint16_t node, const struct http_answer *answer, const struct err *why,
                    void *arg)
{
    struct part *p = arg;
    struct mgmt_ask *a = p->ask;
    (void)node;
    (void)why; /* logged by mgmt_peers */
    if (answer != NULL && answer->status == 200)
        take_part(p, text_view(&answer->body));
    if (p->kind != MGMT_WIRE_CLIENTS)
        mem_free(p->queues);
    mem_free(p);
    mgmt_ask_one_less(a);
}

/* Takes the ids, and the part. */
static void ask_part(struct part *p, uint16_t node, struct mgmt_wire_question *q)
{
    struct text body;
    text_init(&body, SIZE_MAX / 2);
    mgmt_wire_put_question(&body, q);
    mem_free(q->ids);
    p->ask->left++;
    mgmt_peers_ask(p->ask->peers, node,
                   &(struct mgmt_peer_question){ .method = "POST",
                                                 .path = slice_str("/figures"),
                                                 .type = "application/octet-stream",
                                                 .body = text_view(&body) },
                   on_part, p);
    text_fini(&body);
}

void mgmt_ask_peers_clients(struct mgmt_ask *a)
{
    uint16_t nodes[MGMT_PEERS_MAX];
    size_t count = mgmt_peers_list(a->peers, nodes, MGMT_PEERS_MAX);
    a->others = mem_array(count + 1, sizeof *a->others);
    for (size_t i = 0; i < count; i++) {
        struct part *p = mem_zalloc(sizeof *p);
        *p = (struct part){ .ask = a, .kind = MGMT_WIRE_CLIENTS };
        ask_part(p, nodes[i],
                 &(struct mgmt_wire_question){ .kind = MGMT_WIRE_CLIENTS, .what = a->what });
    }
}

/* Of the queues from *at on those that `wanted` says are to be asked about there; at most as many
 * as one question takes. */
static struct part *queue_part(struct mgmt_ask *a, enum mgmt_wire_kind kind, size_t *at,
                               uint16_t node, uint16_t (*node_of)(const struct mgmt_queue *q))
{
    struct part *p = mem_zalloc(sizeof *p);
    *p = (struct part){ .ask = a, .kind = kind };
    p->queues = mem_array(MGMT_WIRE_IDS_MAX, sizeof(struct mgmt_queue *));
    for (; *at < a->queue_count && p->count < MGMT_WIRE_IDS_MAX; ++*at) {
        if (node_of(&a->queues[*at]) == node)
            p->queues[p->count++] = &a->queues[*at];
    }
    return p;
}

static void drop_part(struct part *p)
{
    mem_free(p->queues);
    mem_free(p);
}

static uint16_t home_of(const struct mgmt_queue *q)
{
    return q->node;
}

static uint16_t lone_home_of(const struct mgmt_queue *q)
{
    return q->lone != 0 ? node_of_id(q->lone_channel.connection) : 0;
}

static void ask_queues_of(struct mgmt_ask *a, uint16_t node)
{
    for (size_t at = 0; at < a->queue_count;) {
        struct part *p = queue_part(a, MGMT_WIRE_QUEUES, &at, node, home_of);
        if (p->count == 0) {
            drop_part(p);
            continue;
        }
        uint64_t *ids = mem_array(p->count, sizeof *ids);
        for (size_t i = 0; i < p->count; i++)
            ids[i] = p->queues[i]->qid;
        ask_part(
            p, node,
            &(struct mgmt_wire_question){ MGMT_WIRE_QUEUES, MGMT_WIRE_WITH_LAGS, p->count, ids });
    }
}

static void ask_tags_of(struct mgmt_ask *a, uint16_t node)
{
    for (size_t at = 0; at < a->queue_count;) {
        struct part *p = queue_part(a, MGMT_WIRE_TAGS, &at, node, lone_home_of);
        if (p->count == 0) {
            drop_part(p);
            continue;
        }
        uint64_t *ids = mem_array(p->count * 3, sizeof *ids);
        for (size_t i = 0; i < p->count; i++) {
            const struct mgmt_queue *q = p->queues[i];
            ids[3 * i] = q->lone_channel.connection;
            ids[3 * i + 1] = (uint64_t)q->lone_channel.incarnation << 16 | q->lone_channel.number;
            ids[3 * i + 2] = q->lone;
        }
        ask_part(
            p, node,
            &(struct mgmt_wire_question){ MGMT_WIRE_TAGS, MGMT_CONNECTIONS, p->count * 3, ids });
    }
}

static void ask_activities_of(struct mgmt_ask *a, uint16_t node)
{
    for (size_t at = 0; at < a->consumer_count;) {
        struct part *p = mem_zalloc(sizeof *p);
        *p = (struct part){ .ask = a, .kind = MGMT_WIRE_ACTIVITIES };
        p->consumers = mem_array(MGMT_WIRE_IDS_MAX, sizeof(struct mgmt_consumer *));
        uint64_t *ids = mem_array(MGMT_WIRE_IDS_MAX * 2, sizeof *ids);
        for (; at < a->consumer_count && p->count < MGMT_WIRE_IDS_MAX; at++) {
            struct mgmt_consumer *c = &a->consumers[at];
            if (c->node != node)
                continue;
            ids[2 * p->count] = c->qid;
            ids[2 * p->count + 1] = c->id;
            p->consumers[p->count++] = c;
        }
        if (p->count == 0) {
            mem_free(ids);
            drop_part(p);
            continue;
        }
        ask_part(p, node,
                 &(struct mgmt_wire_question){ MGMT_WIRE_ACTIVITIES, MGMT_CONNECTIONS, p->count * 2,
                                               ids });
    }
}

static void ask_each(struct mgmt_ask *a, void (*ask_of)(struct mgmt_ask *a, uint16_t node))
{
    uint16_t nodes[MGMT_PEERS_MAX];
    size_t count = mgmt_peers_list(a->peers, nodes, MGMT_PEERS_MAX);
    for (size_t i = 0; i < count; i++)
        ask_of(a, nodes[i]);
}

void mgmt_ask_peers_queues(struct mgmt_ask *a)
{
    ask_each(a, ask_queues_of);
}

void mgmt_ask_peers_tags(struct mgmt_ask *a)
{
    ask_each(a, ask_tags_of);
}

void mgmt_ask_peers_activities(struct mgmt_ask *a)
{
    ask_each(a, ask_activities_of);
}
