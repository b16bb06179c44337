#include "mgmt/mgmt_shard.h"

#include "base/check.h"
#include "base/mem.h"
#include "mgmt/mgmt_inner.h"

struct request {
    struct mail mail;
    struct mgmt_call *call;
    struct shard *shard;
    struct port_request asked;
    mgmt_shard_fn done;
};

static void on_answer(struct mail *mail)
{
    struct request *q = CONTAINER_OF(mail, struct request, mail);
    q->done(q->call, &q->asked);
    mem_free(q);
}

static void on_request(struct mail *mail)
{
    struct request *q = CONTAINER_OF(mail, struct request, mail);
    port_serve(q->shard, &q->asked);
    q->mail.fn = on_answer;
    mailbox_post(q->call->m->loop, &q->mail);
}

void mgmt_shard_ask(struct mgmt_call *c, const struct meta_queue *queue,
                    const struct port_request *r, mgmt_shard_fn done)
{
    CHECK(r->op != PORT_CONSUME && r->op != PORT_CANCEL);
    struct request *q = mem_zalloc(sizeof *q);
    q->mail.fn = on_request;
    q->call = c;
    q->shard = broker_shard(c->m->broker, queue->shard);
    q->asked = *r;
    q->asked.qid = queue->qid;
    q->asked.where = queue->shard;
    q->asked.asker = q->shard;
    q->done = done;
    mailbox_post(q->shard->loop, &q->mail);
}
