#include "control.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_wire.h"
#include "effects.h"

#define EFFECTS_KEPT_MAX ((size_t)1024) /* room for more is given back */

struct control {
    struct broker *broker;
    struct loop *loop;
    struct meta *meta;
    struct meta_result result;
    struct meta_effect *effects; /* of all commands of this turn */
    size_t effect_count;
    size_t effect_cap;
    STAILQ_HEAD(, control_op) applied; /* in this turn, to be answered at its end */
    struct loop_task show;
};

static void on_show(void *arg);

struct control *control_new(struct broker *broker, struct loop *loop, struct meta *meta)
{
    struct control *c = mem_zalloc(sizeof *c);
    c->broker = broker;
    c->loop = loop;
    c->meta = meta;
    STAILQ_INIT(&c->applied);
    meta_result_init(&c->result);
    loop_task_init(&c->show, on_show, c);
    return c;
}

void control_free(struct control **control)
{
    struct control *c = *control;
    *control = NULL;
    loop_task_cancel(c->loop, &c->show);
    struct control_op *op;
    while ((op = STAILQ_FIRST(&c->applied)) != NULL) {
        STAILQ_REMOVE_HEAD(&c->applied, entry);
        mem_free(op);
    }
    meta_result_fini(&c->result);
    mem_free(c->effects);
    mem_free(c);
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

/* ---- applying, on the control thread
 * ------------------------------------------------------------- */

static void keep_effects(struct control *c)
{
    size_t more = c->result.effect_count;
    if (c->effect_count + more > c->effect_cap) {
        c->effect_cap = (c->effect_count + more) * 2;
        c->effects = mem_realloc(c->effects, c->effect_cap * sizeof *c->effects);
    }
    if (more != 0)
        memcpy(c->effects + c->effect_count, c->result.effects, more * sizeof *c->effects);
    c->effect_count += more;
}

static void show(struct control *c)
{
    effects_before_publication(c->broker, c->effects, c->effect_count);
    meta_publish(c->meta);
    effects_after_publication(c->broker, c->effects, c->effect_count);
    c->effect_count = 0;
    if (c->effect_cap > EFFECTS_KEPT_MAX) {
        mem_free(c->effects);
        c->effects = NULL;
        c->effect_cap = 0;
    }
}

static void on_answer(struct mail *mail)
{
    struct control_op *op = CONTAINER_OF(mail, struct control_op, mail);
    op->done(op);
}

static void on_show(void *arg)
{
    struct control *c = arg;
    show(c);
    struct control_op *op;
    while ((op = STAILQ_FIRST(&c->applied)) != NULL) {
        STAILQ_REMOVE_HEAD(&c->applied, entry);
        if (op->done == NULL) {
            control_op_free(&op);
            continue;
        }
        op->mail.fn = on_answer;
        mailbox_post(op->reply_to, &op->mail);
    }
}

static void on_command(struct mail *mail)
{
    struct control_op *op = CONTAINER_OF(mail, struct control_op, mail);
    struct control *c = op->control;
    op->verdict = meta_apply(c->meta, &op->cmd, &c->result);
    op->id = c->result.id;
    if (op->verdict == META_REFUSED)
        op->refusal = c->result.refusal;
    keep_effects(c);
    STAILQ_INSERT_TAIL(&c->applied, op, entry);
    loop_at_turn_end(c->loop, &c->show);
}

void control_send(struct control *c, struct control_op **op)
{
    struct control_op *it = *op;
    *op = NULL;
    it->control = c;
    it->mail.fn = on_command;
    mailbox_post(c->loop, &it->mail);
}

bool control_apply_now(struct control *c, const struct meta_cmd *cmd, struct meta_refusal *why)
{
    enum meta_verdict verdict = meta_apply(c->meta, cmd, &c->result);
    if (verdict == META_REFUSED) {
        *why = c->result.refusal;
        return false;
    }
    keep_effects(c);
    show(c);
    return true;
}
