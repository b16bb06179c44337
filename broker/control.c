#include "control.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "cluster/meta_wire.h"
#include "mirror_link/mirror_proposals.h"

struct control {
    struct loop *loop;
    struct cluster *cluster;
    uint64_t last_id, index; /* that are shown */
    struct mirror_proposals *proposals;
    TAILQ_HEAD(, control_wait) waits;
};

static void propose(void *arg, const struct meta_cmd *cmd, cluster_proposed_fn done,
                    void *done_arg);

struct control *control_new(struct loop *loop)
{
    struct control *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->proposals = mirror_proposals_new(loop, propose, c);
    TAILQ_INIT(&c->waits);
    return c;
}

void control_free(struct control **control)
{
    struct control *c = *control;
    *control = NULL;
    if (c == NULL)
        return;
    for (struct control_wait *w; (w = TAILQ_FIRST(&c->waits)) != NULL; mem_free(w))
        TAILQ_REMOVE(&c->waits, w, entry);
    mirror_proposals_free(&c->proposals);
    mem_free(c);
}

void control_set_cluster(struct control *c, struct cluster *cluster)
{
    c->cluster = cluster;
}

/* ---- commands that own their octets
 * -------------------------------------------------------------- */

struct control_op *control_op_new(const struct meta_cmd *cmd)
{
    struct meta_cmd copy = *cmd;
    struct slice *slices[META_CMD_SLICES];
    unsigned n = meta_cmd_slices(&copy, slices);
    size_t octets = 0;
    for (unsigned i = 0; i < n; i++)
        octets += slices[i]->len;
    struct control_op *op = mem_zalloc(sizeof *op + octets);
    op->cmd = *cmd;
    meta_cmd_slices(&op->cmd, slices);
    uint8_t *at = op->bytes;
    for (unsigned i = 0; i < n; i++) {
        if (slices[i]->len != 0)
            memcpy(at, slices[i]->ptr, slices[i]->len);
        *slices[i] = slice_of(at, slices[i]->len);
        at += slices[i]->len;
    }
    return op;
}

void control_op_free(struct control_op **op)
{
    mem_free(*op);
    *op = NULL;
}

/* ---- on the control thread
 * ----------------------------------------------------------------------- */

static void on_answer(struct mail *mail)
{
    struct control_op *op = CONTAINER_OF(mail, struct control_op, mail);
    op->done(op);
}

static void on_done(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                    uint64_t id, bool is_made)
{
    struct control_op *op = arg;
    if (op->done == NULL) {
        control_op_free(&op);
        return;
    }
    op->verdict = verdict;
    op->id = id;
    op->is_made = is_made;
    if (verdict == META_REFUSED)
        op->refusal = *why;
    op->mail.fn = on_answer;
    mailbox_post(op->reply_to, &op->mail);
}

static void propose(void *arg, const struct meta_cmd *cmd, cluster_proposed_fn done, void *done_arg)
{
    const struct control *c = arg;
    struct meta_refusal why = { .code = AMQP_INTERNAL_ERROR };
    struct text t = text_over(why.text, sizeof why.text);
    if (c->cluster != NULL) {
        cluster_propose(c->cluster, cmd, done, done_arg);
        return;
    }
    text_str(&t, "the node stops");
    done(done_arg, META_REFUSED, &why, 0, false);
}

static void on_command(struct mail *mail)
{
    struct control_op *op = CONTAINER_OF(mail, struct control_op, mail);
    propose(op->control, &op->cmd, on_done, op);
}

void control_send(struct control *c, struct control_op **op)
{
    struct control_op *it = *op;
    *op = NULL;
    it->control = c;
    it->mail.fn = on_command;
    mailbox_post(c->loop, &it->mail);
}

/* ---- in-sync sets
 * -------------------------------------------------------------------------------- */

struct isr_mail {
    struct mail mail;
    struct control *control;
    struct meta_isr_item *items;
    size_t count;
};

static void on_isr(struct mail *mail)
{
    struct isr_mail *m = CONTAINER_OF(mail, struct isr_mail, mail);
    mirror_proposals_add(m->control->proposals, m->items, m->count);
    mem_free(m->items);
    mem_free(m);
}

void control_change_isr(struct control *c, struct meta_isr_item *items, size_t count)
{
    struct isr_mail *m = mem_alloc(sizeof *m);
    *m = (struct isr_mail){ { NULL, on_isr }, c, items, count };
    mailbox_post(c->loop, &m->mail);
}

struct lag_mail {
    struct mail mail;
    struct control *control;
    struct mirror_pair_of_nodes pair;
};

static void on_lags(struct mail *mail)
{
    struct lag_mail *m = CONTAINER_OF(mail, struct lag_mail, mail);
    mirror_proposals_lag(m->control->proposals, &m->pair);
    mem_free(m);
}

void control_lags(struct control *c, const struct mirror_pair_of_nodes *pair)
{
    struct lag_mail *m = mem_alloc(sizeof *m);
    *m = (struct lag_mail){ { NULL, on_lags }, c, *pair };
    mailbox_post(c->loop, &m->mail);
}

/* ---- those who wait for what others know already
 * ------------------------------------------------- */

static void tell(struct control_wait *w)
{
    w->mail.fn = w->done;
    mailbox_post(w->reply_to, &w->mail);
}

static bool is_shown(const struct control *c, const struct control_wait *w)
{
    return w->index != 0 ? w->index <= c->index : w->id <= c->last_id;
}

static void on_wait(struct mail *mail)
{
    struct control_wait *w = CONTAINER_OF(mail, struct control_wait, mail);
    if (is_shown(w->control, w))
        tell(w);
    else
        TAILQ_INSERT_TAIL(&w->control->waits, w, entry);
}

void control_await(struct control *c, struct control_wait **w)
{
    struct control_wait *it = *w;
    *w = NULL;
    it->control = c;
    it->mail.fn = on_wait;
    mailbox_post(c->loop, &it->mail);
}

void control_shown(struct control *c, uint64_t last_id, uint64_t index)
{
    c->last_id = last_id;
    c->index = index;
    struct control_wait *next;
    for (struct control_wait *w = TAILQ_FIRST(&c->waits); w != NULL; w = next) {
        next = TAILQ_NEXT(w, entry);
        if (!is_shown(c, w))
            continue;
        TAILQ_REMOVE(&c->waits, w, entry);
        tell(w);
    }
}
