#include "mgmt/mgmt_access.h"

#include "amqp/amqp_table.h"
#include "mgmt/mgmt_inner.h"

static struct slice user_of(const struct mgmt_call *c)
{
    return slice_of(c->user.name, c->user.name_len);
}

static bool may_or_why(const struct mgmt_call *c, enum access_right right, enum access_kind kind,
                       struct slice name, struct meta_refusal *why)
{
    const struct meta_vhost *vh = mgmt_vhost(c);
    return c->user.is_operator ||
           (vh != NULL && access_may(meta_permission_find(mgmt_meta(c), vh, user_of(c)), vh,
                                     user_of(c), right, kind, name, why));
}

/* Without a word. */
static bool may(const struct mgmt_call *c, enum access_right right, enum access_kind kind,
                struct slice name)
{
    struct meta_refusal why;
    return may_or_why(c, right, kind, name, &why);
}

static bool may_topic(const struct mgmt_call *c, enum access_right right, struct slice exchange,
                      struct slice key, struct meta_refusal *why)
{
    const struct meta_version *v = mgmt_meta(c);
    const struct meta_vhost *vh = mgmt_vhost(c);
    const struct meta_exchange *x = vh != NULL ? meta_exchange_find(v, vh, exchange) : NULL;
    if (c->user.is_operator || x == NULL || x->def->type != META_TOPIC)
        return true;
    struct access_topic_kept kept = { 0 };
    bool ok = access_may_topic(v, vh, user_of(c), right, exchange, key, &kept, why);
    access_topic_forget(&kept);
    return ok;
}

static bool answer(struct mgmt_call *c, bool ok)
{
    if (!ok)
        mgmt_refuse_access(c, "Access refused.");
    return ok;
}

bool mgmt_may(struct mgmt_call *c, enum access_right right, enum access_kind kind,
              struct slice name)
{
    return answer(c, may(c, right, kind, name));
}

bool mgmt_may_publish(struct mgmt_call *c, struct slice exchange, struct slice key)
{
    struct meta_refusal why = { 0 };
    bool ok = may_or_why(c, ACCESS_WRITE, ACCESS_EXCHANGE, exchange, &why) &&
              may_topic(c, ACCESS_WRITE, exchange, key, &why);
    if (!ok)
        mgmt_bad_request(c, "403 ACCESS_REFUSED - %s", why.text);
    return ok;
}

/* Whoever makes a queue that dead-letters, or an exchange with an alternate one, must be allowed to
 * do what that will do in his name. */
static bool may_pass_on(const struct mgmt_call *c, enum access_kind kind, struct slice name,
                        struct slice args, const char *argument)
{
    struct slice target = amqp_table_longstr(args, argument);
    return target.len == 0 ||
           (may(c, ACCESS_READ, kind, name) && may(c, ACCESS_WRITE, ACCESS_EXCHANGE, target));
}

static bool may_bind(const struct mgmt_call *c, const struct meta_cmd *cmd)
{
    struct meta_refusal why;
    enum access_kind kind = cmd->bind.to_exchange ? ACCESS_EXCHANGE : ACCESS_QUEUE;
    return may(c, ACCESS_WRITE, kind, cmd->bind.destination) &&
           may(c, ACCESS_READ, ACCESS_EXCHANGE, cmd->bind.source) &&
           may_topic(c, ACCESS_READ, cmd->bind.source, cmd->bind.key, &why);
}

bool mgmt_may_command(struct mgmt_call *c, const struct meta_cmd *cmd)
{
    if (cmd->op == META_QUEUE_DECLARE)
        return answer(c, may(c, ACCESS_CONFIGURE, ACCESS_QUEUE, cmd->name) &&
                             may_pass_on(c, ACCESS_QUEUE, cmd->name, cmd->queue_declare.args,
                                         "x-dead-letter-exchange"));
    if (cmd->op == META_EXCHANGE_DECLARE)
        return answer(c, may(c, ACCESS_CONFIGURE, ACCESS_EXCHANGE, cmd->name) &&
                             may_pass_on(c, ACCESS_EXCHANGE, cmd->name, cmd->exchange_declare.args,
                                         "alternate-exchange"));
    if (cmd->op == META_EXCHANGE_DELETE)
        return answer(c, may(c, ACCESS_CONFIGURE, ACCESS_EXCHANGE, cmd->name));
    if (cmd->op == META_BIND || cmd->op == META_UNBIND)
        return answer(c, may_bind(c, cmd));
    return true;
}
