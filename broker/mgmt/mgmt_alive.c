#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/mem.h"
#include "control.h"
#include "hosted.h"
#include "io/mailbox.h"
#include "mgmt/mgmt_access.h"
#include "mgmt/mgmt_inner.h"

#define QUEUE_NAME "aliveness-test"
#define BODY       "test_message"

/*
 * A message goes through a queue of the vhost, as RabbitMQ's check does it: declare, publish, get.
 * The queue stays, so that a check every few seconds does not change the metadata each time.
 *
 *   request -- declared already --------------------> at the queue's shard --> reply
 *          \-- to the control thread -- declared --/  |
 *                                                      \-- another node's: it makes the test
 */
struct mgmt_test {
    struct mail mail;
    struct mgmt_call *call;
    struct shard *shard;
    uint64_t qid;
    bool passed;
};

static void end_test(struct mgmt_test *t)
{
    mem_free(t);
}

static void fail(struct mgmt_test *t, int status, const char *error, const char *reason)
{
    mgmt_refuse(t->call, status, error, reason);
    end_test(t);
}

static void on_tested(struct mail *mail)
{
    struct mgmt_test *t = CONTAINER_OF(mail, struct mgmt_test, mail);
    if (!t->passed) {
        mgmt_reply(
            t->call, 200,
            json_pack("{s:s, s:s}", "status", "failed", "reason", QUEUE_NAME " queue is empty"));
        end_test(t);
        return;
    }
    mgmt_reply(t->call, 200, json_pack("{s:s}", "status", "ok"));
    end_test(t);
}

/* Of the tests' own messages, so many may wait for mirrors before a test fails. */
#define WAIT_MOST 8u

/* On the queue's shard. What is fetched may be an older message of the same kind; what may not be
 * shown yet, because mirrors are to have it first, is there for the next test. */
static bool pass_through(struct shard *s, struct queue *q)
{
    static const uint8_t no_props[2] = { 0, 0 };
    uint64_t now_ms = loop_now_ms(s->loop);
    struct queue_got got;
    struct queue_put put;
    bool is_full = q->store.counts.ready.count >= WAIT_MOST;
    if (!is_full) {
        struct message *m =
            message_new(slice_str(""), slice_str(QUEUE_NAME), slice_of(no_props, sizeof no_props),
                        slice_str(BODY), false);
        shard_message_made(s, m);
        if (queue_publish(q, &m, now_ms, &put) == QUEUE_REFUSED)
            return false;
    }
    enum queue_get_verdict verdict = queue_get(q, true, now_ms, &got);
    if (verdict == QUEUE_GOT)
        shard_message_drop(s, &got.message);
    return verdict == QUEUE_GOT || (verdict == QUEUE_GET_AWAY && !is_full);
}

static void on_shard(struct mail *mail)
{
    struct mgmt_test *t = CONTAINER_OF(mail, struct mgmt_test, mail);
    struct queue *q = shard_queue(t->shard, t->qid);
    t->passed = q != NULL && pass_through(t->shard, q);
    t->mail.fn = on_tested;
    mailbox_post(t->call->m->loop, &t->mail);
}

/* The queue is there, in the version that is shown now. */
static void go_to_queue(struct mgmt_test *t, uint64_t qid)
{
    struct broker *b = t->call->m->broker;
    const struct meta_queue *q = meta_queue_get(broker_meta(b), qid);
    if (q == NULL) {
        fail(t, 503, "service_unavailable", "the queue " QUEUE_NAME " was deleted meanwhile");
        return;
    }
    if (mgmt_forwarded_home(t->call, q)) { /* which finds it declared */
        end_test(t);
        return;
    }
    t->qid = qid;
    t->shard = broker_shard(b, q->shard);
    t->mail.fn = on_shard;
    mailbox_post(t->shard->loop, &t->mail);
}

static void on_verdict(struct mgmt_test *t, enum meta_verdict verdict, uint64_t qid,
                       const struct meta_refusal *why)
{
    if (verdict == META_REFUSED && why->code == AMQP_RESOURCE_ERROR)
        fail(t, 503, "service_unavailable", why->text);
    else if (verdict == META_REFUSED)
        fail(t, 400, "bad_request", why->text);
    else
        go_to_queue(t, qid);
}

static void on_declared(struct control_op *op)
{
    on_verdict(op->arg, op->verdict, op->id, &op->refusal);
    control_op_free(&op);
}

/* What does not change the metadata is answered from what is shown. */
static void declare(struct mgmt_test *t, const struct meta_vhost *vh)
{
    struct mgmt_http *m = t->call->m;
    struct meta_cmd cmd = { .op = META_QUEUE_DECLARE,
                            .vhost_id = vh->vhost_id,
                            .name = slice_str(QUEUE_NAME) };
    struct meta_result result;
    meta_result_init(&result);
    enum meta_verdict verdict = meta_check(broker_meta(m->broker), &cmd, &result);
    if (verdict == META_CHANGE) {
        struct control_op *op = control_op_new(&cmd);
        op->reply_to = m->loop;
        op->done = on_declared;
        op->arg = t;
        control_send(broker_control(m->broker), &op);
    } else {
        on_verdict(t, verdict, result.id, &result.refusal);
    }
    meta_result_fini(&result);
}

void mgmt_serve_aliveness(struct mgmt_call *c)
{
    const struct meta_vhost *vh = mgmt_vhost(c);
    struct slice name = slice_str(QUEUE_NAME);
    if (vh == NULL) {
        mgmt_not_found(c); /* it went meanwhile */
        return;
    }
    if (!mgmt_may(c, ACCESS_CONFIGURE, ACCESS_QUEUE, name) ||
        !mgmt_may(c, ACCESS_WRITE, ACCESS_EXCHANGE, slice_str("")) ||
        !mgmt_may(c, ACCESS_READ, ACCESS_QUEUE, name))
        return;
    struct mgmt_test *t = mem_zalloc(sizeof *t);
    t->call = c;
    declare(t, vh);
}
