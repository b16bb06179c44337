#include "control.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/meta_wire.h"
#include "definitions.h"
#include "effects.h"
#include "live.h"
#include "store/store.h"

#define EFFECTS_KEPT_MAX ((size_t)1024) /* room for more is given back */
#define GROUP_MAX        4096u          /* commands */
#define HELD_BITS        1024u

STAILQ_HEAD(control_ops, control_op);

struct control {
    struct broker *broker;
    struct loop *loop;
    struct meta *meta;
    struct definitions *definitions; /* NULL: nothing is kept */
    bool has_failed;
    struct meta_result result;
    struct meta_effect *effects; /* of all commands of the group */
    size_t effect_count;
    size_t effect_cap;
    struct control_ops waiting; /* to be applied */
    struct control_ops applied; /* of the group: to be answered when it is shown */
    struct loop_task go_on;
};

static void on_go_on(void *arg);
static void drop_effects(struct control *c);

struct control *control_new(struct broker *broker, struct loop *loop, struct meta *meta)
{
    struct control *c = mem_zalloc(sizeof *c);
    c->broker = broker;
    c->loop = loop;
    c->meta = meta;
    STAILQ_INIT(&c->waiting);
    STAILQ_INIT(&c->applied);
    meta_result_init(&c->result);
    loop_task_init(&c->go_on, on_go_on, c);
    return c;
}

static void free_ops(struct control_ops *ops)
{
    struct control_op *op;
    while ((op = STAILQ_FIRST(ops)) != NULL) {
        STAILQ_REMOVE_HEAD(ops, entry);
        mem_free(op);
    }
}

void control_stop(struct control *c)
{
    if (c->definitions != NULL)
        definitions_stop(c->definitions);
}

void control_free(struct control **control)
{
    struct control *c = *control;
    *control = NULL;
    loop_task_cancel(c->loop, &c->go_on);
    definitions_free(&c->definitions);
    free_ops(&c->waiting);
    free_ops(&c->applied);
    drop_effects(c);
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
    for (size_t i = 0; i < more; i++) {
        struct meta_effect *e = &c->effects[c->effect_count++];
        *e = c->result.effects[i];
        if (e->name.len != 0) /* the command may be gone when it is carried out */
            e->name.ptr = mem_dup(e->name.ptr, e->name.len);
    }
}

static void drop_effects(struct control *c)
{
    for (size_t i = 0; i < c->effect_count; i++)
        if (c->effects[i].name.len != 0)
            mem_free((void *)(uintptr_t)c->effects[i].name.ptr);
    c->effect_count = 0;
    if (c->effect_cap > EFFECTS_KEPT_MAX) {
        mem_free(c->effects);
        c->effects = NULL;
        c->effect_cap = 0;
    }
}

static void show(struct control *c)
{
    effects_before_publication(c->broker, c->effects, c->effect_count);
    meta_publish(c->meta);
    effects_after_publication(c->broker, c->effects, c->effect_count);
    drop_effects(c);
}

static void on_answer(struct mail *mail)
{
    struct control_op *op = CONTAINER_OF(mail, struct control_op, mail);
    op->done(op);
}

static void answer(struct control_op *op)
{
    if (op->done == NULL) {
        control_op_free(&op);
        return;
    }
    op->mail.fn = on_answer;
    mailbox_post(op->reply_to, &op->mail);
}

static void answer_all(struct control_ops *ops)
{
    struct control_op *op;
    while ((op = STAILQ_FIRST(ops)) != NULL) {
        STAILQ_REMOVE_HEAD(ops, entry);
        answer(op);
    }
}

/* ---- groups
 * -------------------------------------------------------------------------------------- */

static bool has_room(const struct control *c, const struct meta_cmd *cmd, struct meta_refusal *why)
{
    return c->definitions == NULL ||
           (definitions_take(cmd, why) && (definitions_have_room(c->definitions, cmd, why) ||
                                           !meta_lasts(meta_current(c->meta), cmd)));
}

static enum meta_verdict apply(struct control *c, const struct meta_cmd *cmd)
{
    enum meta_verdict verdict = meta_apply(c->meta, cmd, &c->result);
    if (verdict == META_DONE && c->definitions != NULL)
        definitions_add(c->definitions, cmd, &c->result);
    keep_effects(c);
    return verdict;
}

static void apply_op(struct control *c, struct control_op *op)
{
    STAILQ_INSERT_TAIL(&c->applied, op, entry);
    if (op->many != NULL) {
        op->many(op);
        return;
    }
    op->verdict = META_REFUSED;
    if (!has_room(c, &op->cmd, &op->refusal))
        return;
    op->verdict = apply(c, &op->cmd);
    op->id = c->result.id;
    if (op->verdict == META_REFUSED)
        op->refusal = c->result.refusal;
}

/* Connections that have something lasting in the group, and now and then another one. */
struct held {
    uint64_t bits[HELD_BITS / 64];
};

static bool is_held(const struct held *h, uint64_t conn)
{
    unsigned bit = (unsigned)(hash_u64(conn) % HELD_BITS);
    return (h->bits[bit / 64] >> bit % 64 & 1) != 0;
}

static void hold(struct held *h, uint64_t conn)
{
    unsigned bit = (unsigned)(hash_u64(conn) % HELD_BITS);
    h->bits[bit / 64] |= UINT64_C(1) << bit % 64;
}

/* Whether it lasts is judged by what is published: if that turns out to be wrong, the command waits
 * for the disk after all, or did not have to. */
static bool may_go_first(const struct control *c, const struct held *h, const struct control_op *op)
{
    return op->many == NULL && !is_held(h, op->cmd.conn) &&
           !meta_lasts(meta_current(c->meta), &op->cmd);
}

/* Apply what may go first of those that wait, and leave the others in `later`. */
static void apply_first(struct control *c, struct control_ops *later)
{
    struct held held = { { 0 } };
    struct control_op *op;
    for (unsigned n = 0; n < GROUP_MAX && (op = STAILQ_FIRST(&c->waiting)) != NULL; n++) {
        STAILQ_REMOVE_HEAD(&c->waiting, entry);
        if (c->definitions == NULL || may_go_first(c, &held, op)) {
            apply_op(c, op);
            continue;
        }
        hold(&held, op->cmd.conn);
        STAILQ_INSERT_TAIL(later, op, entry);
    }
}

static bool must_be_safe(const struct control *c)
{
    return c->definitions != NULL && definitions_have_gathered(c->definitions);
}

static bool has_enough(const struct control *c)
{
    return c->definitions != NULL && definitions_have_enough(c->definitions);
}

static void show_and_answer(struct control *c)
{
    show(c);
    answer_all(&c->applied);
}

static void make_group(struct control *c)
{
    struct control_ops later = STAILQ_HEAD_INITIALIZER(later);
    apply_first(c, &later);
    if (!must_be_safe(c))
        show_and_answer(c);
    struct control_op *op;
    while ((op = STAILQ_FIRST(&later)) != NULL && !has_enough(c)) {
        STAILQ_REMOVE_HEAD(&later, entry);
        apply_op(c, op);
    }
    STAILQ_CONCAT(&later, &c->waiting); /* the rest makes another group */
    STAILQ_CONCAT(&c->waiting, &later);
    if (must_be_safe(c))
        definitions_send(c->definitions);
    else
        show_and_answer(c);
}

static void refuse_all(struct control_ops *ops)
{
    struct control_op *op;
    STAILQ_FOREACH (op, ops, entry) {
        struct text t = text_over(op->refusal.text, sizeof op->refusal.text);
        op->verdict = META_REFUSED;
        op->refusal.code = AMQP_INTERNAL_ERROR;
        text_str(&t, "the node stops: definitions cannot be stored any more");
    }
    answer_all(ops);
}

static void on_go_on(void *arg)
{
    struct control *c = arg;
    if (c->has_failed) {
        refuse_all(&c->waiting);
        return;
    }
    if (c->definitions != NULL && definitions_are_on_their_way(c->definitions))
        return;
    make_group(c);
    if (!STAILQ_EMPTY(&c->waiting))
        loop_again(c->loop, &c->go_on);
}

static void on_safe(void *arg)
{
    struct control *c = arg;
    show_and_answer(c);
    if (!STAILQ_EMPTY(&c->waiting))
        loop_at_turn_end(c->loop, &c->go_on);
}

/* What was applied is never shown. */
static void on_failed(const struct err *err, void *arg)
{
    struct control *c = arg;
    c->has_failed = true;
    drop_effects(c);
    refuse_all(&c->applied);
    refuse_all(&c->waiting);
    broker_fail(c->broker, err);
}

static void on_command(struct mail *mail)
{
    struct control_op *op = CONTAINER_OF(mail, struct control_op, mail);
    struct control *c = op->control;
    STAILQ_INSERT_TAIL(&c->waiting, op, entry);
    loop_at_turn_end(c->loop, &c->go_on);
}

void control_send(struct control *c, struct control_op **op)
{
    struct control_op *it = *op;
    *op = NULL;
    it->control = c;
    it->mail.fn = on_command;
    mailbox_post(c->loop, &it->mail);
}

/* ---- at the start
 * -------------------------------------------------------------------------------- */

bool control_open(struct control *c, struct store *store, struct epoch *epoch, bool *is_new,
                  struct err *err)
{
    c->definitions = definitions_open(
        &(struct definitions_setup){ .loop = c->loop,
                                     .meta = c->meta,
                                     .epoch = epoch,
                                     .disk = store_disk(store),
                                     .store_id = store_id(store),
                                     .starts = store_incarnation(store),
                                     .node = broker_name(c->broker),
                                     .slow_ms =
                                         (uint64_t)broker_live(c->broker)->conf->store.slow_ms,
                                     .on_safe = on_safe,
                                     .on_failed = on_failed,
                                     .arg = c },
        is_new, err);
    if (c->definitions == NULL)
        return false;
    effects_of_start(c->broker, meta_current(c->meta));
    return true;
}

bool control_apply_now(struct control *c, const struct meta_cmd *cmd, uint64_t *id,
                       struct meta_refusal *why)
{
    enum meta_verdict verdict = apply(c, cmd);
    if (id != NULL)
        *id = c->result.id;
    if (verdict == META_REFUSED)
        *why = c->result.refusal;
    return verdict != META_REFUSED;
}

bool control_show_now(struct control *c, struct err *err)
{
    if (must_be_safe(c))
        return definitions_send_now(c->definitions, err);
    show_and_answer(c);
    return true;
}
