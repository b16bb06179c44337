#include "mgmt/mgmt_links.h"

#include "base/mem.h"
#include "broker.h"
#include "cluster/cluster.h"
#include "io/mailbox.h"
#include "mirror_link/mirror_links.h"
#include "remote/remote.h"
#include "shard.h"

/* Goes from shard to shard, and back to who asked. */
struct question {
    struct mail mail;
    struct broker *broker;
    struct loop *loop;
    mgmt_links_fn done;
    void *arg;
    uint32_t shard; /* the next */
    struct mgmt_link *links;
    size_t count, room;
};

static void on_link(void *arg, uint16_t node, const struct link_figure *f)
{
    struct question *q = arg;
    if (q->count == q->room) {
        q->room = q->room != 0 ? q->room * 2 : 16;
        q->links = mem_realloc(q->links, q->room * sizeof *q->links);
    }
    q->links[q->count++] = (struct mgmt_link){ node, *f };
}

static void add_control(struct question *q)
{
    const struct cluster_status *s = cluster_status(broker_cluster(q->broker));
    for (unsigned i = 0; i < s->count; i++)
        if (!s->peers[i].is_self)
            on_link(q, s->peers[i].id, &s->peers[i].links);
}

static void on_back(struct mail *mail)
{
    struct question *q = CONTAINER_OF(mail, struct question, mail);
    add_control(q);
    q->done(q->arg, q->links, q->count);
    mem_free(q->links);
    mem_free(q);
}

static void on_shard(struct mail *mail)
{
    struct question *q = CONTAINER_OF(mail, struct question, mail);
    struct broker *b = q->broker;
    struct shard *s = broker_shard(b, q->shard++);
    remote_each_link(s, on_link, q);
    mirror_links_each(s, on_link, q);
    bool is_last = q->shard == broker_shard_count(b);
    q->mail.fn = is_last ? on_back : on_shard;
    mailbox_post(is_last ? q->loop : broker_shard(b, q->shard)->loop, &q->mail);
}

void mgmt_ask_links(struct broker *b, struct loop *loop, mgmt_links_fn done, void *arg)
{
    struct question *q = mem_zalloc(sizeof *q);
    *q = (struct question){ .mail = { NULL, on_shard }, .broker = b, .loop = loop, .done = done };
    q->arg = arg;
    mailbox_post(broker_shard(b, 0)->loop, &q->mail);
}
