#include "control.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "effects.h"

#include <stddef.h>

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

#define CMD_SLICES_MAX 4

/* Where the slices of a command are, besides its name. */
static const struct {
    unsigned count;
    size_t at[CMD_SLICES_MAX];
} cmd_slices[] = {
#define AT(member) offsetof(struct meta_cmd, member)
    [META_VHOST_ADD] = { 0, { 0 } },
    [META_VHOST_DELETE] = { 0, { 0 } },
    [META_EXCHANGE_DECLARE] = { 2, { AT(exchange_declare.type), AT(exchange_declare.args) } },
    [META_EXCHANGE_DELETE] = { 0, { 0 } },
    [META_QUEUE_DECLARE] = { 1, { AT(queue_declare.args) } },
    [META_QUEUE_DELETE] = { 0, { 0 } },
    [META_BIND] = { 4, { AT(bind.source), AT(bind.destination), AT(bind.key), AT(bind.args) } },
    [META_UNBIND] = { 4, { AT(bind.source), AT(bind.destination), AT(bind.key), AT(bind.args) } },
    [META_OWNER_GONE] = { 0, { 0 } },
    [META_VHOST_PUT] = { 3,
                         { AT(vhost.description), AT(vhost.tags), AT(vhost.default_queue_type) } },
    [META_VHOST_LIMITS_PUT] = { 2, { AT(limits.definition), AT(limits.limit) } },
    [META_VHOST_LIMITS_CLEAR] = { 2, { AT(limits.definition), AT(limits.limit) } },
    [META_USER_PUT] = { 3, { AT(user.hash), AT(user.tags), AT(user.limits) } },
    [META_USER_DELETE] = { 0, { 0 } },
    [META_USER_LIMITS_PUT] = { 2, { AT(limits.definition), AT(limits.limit) } },
    [META_USER_LIMITS_CLEAR] = { 2, { AT(limits.definition), AT(limits.limit) } },
    [META_PERMISSION_PUT] = { 4,
                              { AT(permission.user), AT(permission.configure), AT(permission.write),
                                AT(permission.read) } },
    [META_PERMISSION_CLEAR] = { 1, { AT(permission.user) } },
    [META_TOPIC_PERMISSION_PUT] = { 4,
                                    { AT(topic_permission.user), AT(topic_permission.exchange),
                                      AT(topic_permission.write), AT(topic_permission.read) } },
    [META_TOPIC_PERMISSION_CLEAR] = { 2,
                                      { AT(topic_permission.user),
                                        AT(topic_permission.exchange) } },
    [META_POLICY_PUT] = { 3, { AT(policy.pattern), AT(policy.definition), AT(policy.apply_to) } },
    [META_POLICY_CLEAR] = { 0, { 0 } },
    [META_PARAMETER_PUT] = { 2, { AT(parameter.component), AT(parameter.value) } },
    [META_PARAMETER_CLEAR] = { 1, { AT(parameter.component) } },
    [META_GLOBAL_PARAMETER_PUT] = { 1, { AT(parameter.value) } },
    [META_GLOBAL_PARAMETER_CLEAR] = { 0, { 0 } },
#undef AT
};

_Static_assert(ARRAY_COUNT(cmd_slices) == META_GLOBAL_PARAMETER_CLEAR + 1,
               "each command says which slices it has");

/* The slices of a command, whatever its kind; returns how many. */
static unsigned slices_of(struct meta_cmd *cmd, struct slice *out[CMD_SLICES_MAX + 1])
{
    CHECK((unsigned)cmd->op < ARRAY_COUNT(cmd_slices));
    unsigned n = 0;
    out[n++] = &cmd->name;
    for (unsigned i = 0; i < cmd_slices[cmd->op].count; i++)
        out[n++] = (struct slice *)(void *)((uint8_t *)cmd + cmd_slices[cmd->op].at[i]);
    return n;
}

struct control_op *control_op_new(const struct meta_cmd *cmd)
{
    struct meta_cmd copy = *cmd;
    struct slice *slices[CMD_SLICES_MAX + 1];
    unsigned n = slices_of(&copy, slices);
    size_t octets = 0;
    for (unsigned i = 0; i < n; i++)
        octets += slices[i]->len;
    struct control_op *op = mem_zalloc(sizeof *op + octets);
    op->cmd = *cmd;
    slices_of(&op->cmd, slices);
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
