#include "minority.h"

#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/connection.h"
#include "cluster/cluster.h"
#include "io/clock.h"
#include "live.h"
#include "remote/remote.h"
#include "shard.h"

#define LOOK_MS 500u

struct minority {
    struct broker *broker;
    struct loop_timer timer;
};

/* ---- a shard's ---- */

struct minority_notice {
    struct mail mail;
    struct shard *shard;
};

/* A connection that waits, and the node that it waits for. */
struct waiter {
    uint64_t connection;
    uint16_t node;
};

struct waiters {
    struct waiter *list;
    size_t count, room;
};

/* Mostly the same one many times in a row. */
static void on_waiting(void *arg, uint64_t connection, uint16_t node)
{
    struct waiters *w = arg;
    if (w->count != 0 && w->list[w->count - 1].connection == connection)
        return;
    if (w->count == w->room) {
        w->room = w->room != 0 ? w->room * 2 : 64;
        w->list = mem_realloc(w->list, w->room * sizeof *w->list);
    }
    w->list[w->count++] = (struct waiter){ connection, node };
}

static void close_one(struct shard *s, const struct waiter *w)
{
    struct connection *c = connection_find(s, w->connection);
    const struct meta_node *n = meta_node_get(broker_meta(s->broker), w->node);
    char room[META_NAME_MAX + 128];
    struct text why = text_over(room, sizeof room);
    if (c == NULL || !connection_is_open(c))
        return; /* it has gone, or is being closed */
    text_str(&why, "this node is cut off from the majority of its cluster and does not reach '");
    if (n != NULL)
        text_slice(&why, n->name);
    text_str(&why, "'");
    connection_force_out(c, room);
}

static void on_notice(struct mail *mail)
{
    struct minority_notice *n = CONTAINER_OF(mail, struct minority_notice, mail);
    struct shard *s = n->shard;
    struct waiters w = { NULL, 0, 0 };
    mem_free(n);
    remote_each_waiting(s, on_waiting, &w);
    if (w.count != 0)
        log_warn("broker", broker_name(s->broker),
                 "without a majority, clients that wait for nodes out of reach are closed "
                 "shard=%u connections=%zu",
                 s->index, w.count);
    for (size_t i = 0; i < w.count; i++)
        close_one(s, &w.list[i]);
    mem_free(w.list);
}

/* ---- the node's ---- */

static bool is_due(const struct broker *b)
{
    const struct cluster_status *s = cluster_status(broker_cluster(b));
    return s->is_cut_off && s->leaderless_since_ms != 0 &&
           clock_mono_ms() - s->leaderless_since_ms >=
               broker_live(b)->conf->cluster.minority_close_after_ms;
}

static void on_look(void *arg)
{
    struct minority *m = arg;
    loop_timer_start(&m->timer, LOOK_MS);
    if (!is_due(m->broker))
        return;
    for (uint32_t i = 0; i < broker_shard_count(m->broker); i++) {
        struct minority_notice *n = mem_zalloc(sizeof *n);
        *n = (struct minority_notice){ { NULL, on_notice }, broker_shard(m->broker, i) };
        mailbox_post(n->shard->loop, &n->mail);
    }
}

struct minority *minority_new(struct broker *b)
{
    struct minority *m = mem_zalloc(sizeof *m);
    m->broker = b;
    loop_timer_init(&m->timer, broker_loop(b), on_look, m);
    loop_timer_start(&m->timer, LOOK_MS);
    return m;
}

void minority_free(struct minority **m)
{
    if (*m == NULL)
        return;
    loop_timer_fini(&(*m)->timer);
    mem_free(*m);
    *m = NULL;
}
