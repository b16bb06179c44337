#include "cluster/cluster_inner.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"

#define DRIVES_MAX 64u
#define AGAIN_MS   500u

/* A change of the node table that somebody here waits for. */
struct cluster_wish {
    TAILQ_ENTRY(cluster_wish) entry;
    struct buf *bytes; /* an envelope of nobody's */
    uint64_t since_ms;
    uint64_t sent_ms;
    cluster_done_fn done;
    void *arg;
};

void cluster_drive_init(struct cluster *c)
{
    TAILQ_INIT(&c->drive.wishes);
}

static struct buf *envelope_of(const struct meta_cmd *cmd)
{
    struct meta_envelope e = { .cmd = *cmd };
    struct buf *b = buf_new(meta_envelope_size(&e));
    struct wire_out w = wire_out_over(b->data, b->cap_bytes);
    meta_envelope_put(&w, &e);
    CHECK(!w.overflow);
    b->len_bytes = (uint32_t)wire_out_len(&w);
    return b;
}

static struct meta_cmd cmd_of(const struct buf *bytes)
{
    struct wire w = wire_over(buf_slice(bytes));
    struct meta_envelope e;
    CHECK(meta_envelope_take(&w, &e));
    return e.cmd;
}

/* ---- at the leader ---- */

/* Who may ask for it in nobody's name: any node, for these. */
bool cluster_drive_is_allowed(const struct meta_envelope *e)
{
    return e->node == 0 && (e->cmd.op == META_NODE_ADD || e->cmd.op == META_NODE_REMOVE ||
                            e->cmd.op == META_NODE_TYPE || e->cmd.op == META_NODE_UP);
}

/* ---- anywhere ---- */

void cluster_drive_once(struct cluster *c, const struct meta_cmd *cmd)
{
    struct buf *b = envelope_of(cmd);
    bool ok = c->leader == c->identity.node ? cluster_raft_propose(c, &b, 1, c->identity.node)
                                            : cluster_links_send_ops(c, c->leader, b);
    if (!ok)
        log_debug("cluster", c->name, "a change of the nodes was not sent, tried again later");
    buf_unref(&b);
}

static void send(struct cluster *c, struct cluster_wish *w, uint64_t now_ms)
{
    bool ok = false; /* else again in a moment */
    if (c->leader == c->identity.node)
        ok = cluster_raft_propose(c, &w->bytes, 1, c->identity.node);
    else if (c->leader != 0)
        ok = cluster_links_send_ops(c, c->leader, w->bytes);
    w->sent_ms = ok ? now_ms : 0;
}

static void finish(struct cluster *c, struct cluster_wish *w, enum meta_verdict verdict,
                   const struct meta_refusal *why, uint64_t id)
{
    TAILQ_REMOVE(&c->drive.wishes, w, entry);
    c->drive.count--;
    w->done(w->arg, verdict, why, id);
    buf_unref(&w->bytes);
    mem_free(w);
}

/* What the node table says of the wish by now: META_CHANGE when it is not fulfilled yet. */
static enum meta_verdict judge(const struct cluster *c, const struct cluster_wish *w,
                               struct meta_result *r)
{
    struct meta_cmd cmd = cmd_of(w->bytes);
    return meta_check(meta_current(c->meta), &cmd, r);
}

void cluster_drive(struct cluster *c, const struct meta_cmd *cmd, cluster_done_fn done, void *arg)
{
    struct meta_result r;
    struct meta_refusal why = { .code = AMQP_RESOURCE_ERROR };
    struct text t = text_over(why.text, sizeof why.text);
    meta_result_init(&r);
    if (meta_check(meta_current(c->meta), cmd, &r) != META_CHANGE) {
        done(arg, r.verdict, &r.refusal, r.id);
    } else if (c->raft.core == NULL || c->is_cut_off || c->drive.count >= DRIVES_MAX) {
        text_str(&t,
                 "the nodes of the cluster cannot be changed: no majority of the voters is seen; ");
        cluster_put_voters(c, &t);
        done(arg, META_REFUSED, &why, 0);
    } else {
        struct cluster_wish *w = mem_zalloc(sizeof *w);
        w->bytes = envelope_of(cmd);
        w->done = done;
        w->arg = arg;
        w->since_ms = clock_mono_ms();
        TAILQ_INSERT_TAIL(&c->drive.wishes, w, entry);
        c->drive.count++;
        send(c, w, w->since_ms);
    }
    meta_result_fini(&r);
}

static void give_up(struct cluster *c, struct cluster_wish *w)
{
    struct meta_refusal why = { .code = AMQP_RESOURCE_ERROR };
    struct text t = text_over(why.text, sizeof why.text);
    text_str(&t, "the cluster did not answer in time, and may or may not have made the change; ");
    cluster_put_voters(c, &t);
    finish(c, w, META_REFUSED, &why, 0);
}

void cluster_drive_look(struct cluster *c, uint64_t now_ms)
{
    struct cluster_wish *w, *next;
    struct meta_result r;
    meta_result_init(&r);
    for (w = TAILQ_FIRST(&c->drive.wishes); w != NULL; w = next) {
        next = TAILQ_NEXT(w, entry);
        enum meta_verdict verdict = judge(c, w, &r);
        if (verdict != META_CHANGE)
            finish(c, w, verdict, &r.refusal, r.id);
        else if (now_ms - w->since_ms >= CLUSTER_UNKNOWN_MS)
            give_up(c, w);
        else if (now_ms - w->sent_ms >= AGAIN_MS)
            send(c, w, now_ms);
    }
    meta_result_fini(&r);
}

void cluster_drive_refuse_all(struct cluster *c, const char *text)
{
    struct meta_refusal why = { .code = AMQP_RESOURCE_ERROR };
    struct text t = text_over(why.text, sizeof why.text);
    text_str(&t, text);
    while (!TAILQ_EMPTY(&c->drive.wishes))
        finish(c, TAILQ_FIRST(&c->drive.wishes), META_REFUSED, &why, 0);
}
