/* What a channel's user may do: the permissions of access.h, asked in RabbitMQ's order, and before
 * anybody looks whether the thing is there. */
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "client/access.h"
#include "client/channel.h"
#include "client/connection_login.h"

/* Without a word to the client. */
static bool may(struct channel *ch, enum access_right right, enum access_kind kind,
                struct slice name, struct meta_refusal *why)
{
    const struct meta_version *v = channel_meta(ch);
    const struct meta_permission *p = connection_permission(ch->conn, v);
    return access_may(p, channel_vhost(ch, v), slice_str(ch->conn->user), right, kind, name, why);
}

bool channel_may(struct channel *ch, enum access_right right, enum access_kind kind,
                 struct slice name, uint32_t method)
{
    struct meta_refusal why;
    if (LIKELY(may(ch, right, kind, name, &why)))
        return true;
    channel_refuse(ch, &why, method);
    return false;
}

/* Messages for one exchange come in rows: a pattern is asked once for each row. */
static bool has_asked(const struct connection *c, const struct meta_version *v, struct slice name)
{
    const struct written_to *w = c->written_to;
    return w != NULL && w->rights == v->rights && w->name_bytes == name.len &&
           (name.len == 0 || memcmp(w->name, name.ptr, name.len) == 0);
}

static void note_asked(struct connection *c, const struct meta_version *v, struct slice name)
{
    if (c->written_to == NULL)
        c->written_to = mem_alloc(sizeof *c->written_to);
    c->written_to->rights = v->rights;
    c->written_to->name_bytes = (uint8_t)name.len;
    if (name.len != 0)
        memcpy(c->written_to->name, name.ptr, name.len);
}

bool channel_may_publish(struct channel *ch, struct slice exchange)
{
    struct connection *c = ch->conn;
    const struct meta_version *v = channel_meta(ch);
    const struct meta_permission *p = connection_permission(c, v);
    if (LIKELY(p != NULL && p->write.all) || has_asked(c, v, exchange))
        return true;
    if (!channel_may(ch, ACCESS_WRITE, ACCESS_EXCHANGE, exchange, AMQP_BASIC_PUBLISH))
        return false;
    note_asked(c, v, exchange);
    return true;
}

bool channel_may_topic(struct channel *ch, enum access_right right, struct slice exchange,
                       struct slice key, uint32_t method)
{
    const struct meta_version *v = channel_meta(ch);
    const struct meta_vhost *vh = channel_vhost(ch, v);
    struct meta_refusal why;
    if (LIKELY(vh->topic_permissions.count == 0))
        return true;
    const struct meta_exchange *x = meta_exchange_find(v, vh, exchange);
    if (x == NULL || x->def->type != META_TOPIC ||
        access_may_topic(v, vh, slice_str(ch->conn->user), right, exchange, key,
                         &ch->conn->topic_kept, &why))
        return true;
    channel_refuse(ch, &why, method);
    return false;
}

/* An argument that names an exchange to be written to; false when it is not there, or is none. */
static bool exchange_in(struct slice args, const char *key, struct slice *out)
{
    struct amqp_field f;
    return amqp_table_find(args, key, &f) && amqp_field_as_longstr(&f, out);
}

/* Whoever makes a queue that dead-letters, or an exchange with an alternate one, must be allowed to
 * do what that will do in its name: to read from the one and to write to the other. */
static bool may_pass_on(struct channel *ch, const struct meta_cmd *cmd, enum access_kind kind,
                        const char *argument, struct slice args, struct meta_refusal *why)
{
    struct slice target;
    return !exchange_in(args, argument, &target) ||
           (may(ch, ACCESS_READ, kind, cmd->name, why) &&
            may(ch, ACCESS_WRITE, ACCESS_EXCHANGE, target, why));
}

static bool is_reserved(struct slice name)
{
    return name.len >= 4 && memcmp(name.ptr, "amq.", 4) == 0;
}

/* A reserved name is refused as such first; what is passed on counts only for a new one. */
static bool may_declare_queue(struct channel *ch, const struct meta_cmd *cmd,
                              struct meta_refusal *why)
{
    const struct meta_version *v = channel_meta(ch);
    if (cmd->queue_declare.passive || (is_reserved(cmd->name) && !cmd->queue_declare.server_named))
        return true;
    if (!may(ch, ACCESS_CONFIGURE, ACCESS_QUEUE, cmd->name, why))
        return false;
    return meta_queue_find(v, channel_vhost(ch, v), cmd->name) != NULL ||
           may_pass_on(ch, cmd, ACCESS_QUEUE, "x-dead-letter-exchange", cmd->queue_declare.args,
                       why);
}

static bool may_declare_exchange(struct channel *ch, const struct meta_cmd *cmd,
                                 struct meta_refusal *why)
{
    const struct meta_version *v = channel_meta(ch);
    if (cmd->exchange_declare.passive || cmd->name.len == 0)
        return true; /* the default exchange is refused as such */
    if (!may(ch, ACCESS_CONFIGURE, ACCESS_EXCHANGE, cmd->name, why))
        return false;
    return is_reserved(cmd->name) ||
           meta_exchange_find(v, channel_vhost(ch, v), cmd->name) != NULL ||
           may_pass_on(ch, cmd, ACCESS_EXCHANGE, "alternate-exchange", cmd->exchange_declare.args,
                       why);
}

/* System exchanges are refused as such. */
static bool may_delete_exchange(struct channel *ch, const struct meta_cmd *cmd,
                                struct meta_refusal *why)
{
    return cmd->name.len == 0 || is_reserved(cmd->name) ||
           may(ch, ACCESS_CONFIGURE, ACCESS_EXCHANGE, cmd->name, why);
}

static bool may_bind(struct channel *ch, const struct meta_cmd *cmd, struct meta_refusal *why)
{
    const struct meta_version *v = channel_meta(ch);
    const struct meta_vhost *vh = channel_vhost(ch, v);
    enum access_kind kind = cmd->bind.to_exchange ? ACCESS_EXCHANGE : ACCESS_QUEUE;
    if (!may(ch, ACCESS_WRITE, kind, cmd->bind.destination, why))
        return false;
    if (cmd->bind.source.len == 0 || cmd->bind.destination.len == 0)
        return true; /* the default exchange is refused as such */
    if (!may(ch, ACCESS_READ, ACCESS_EXCHANGE, cmd->bind.source, why))
        return false;
    const struct meta_exchange *x = meta_exchange_find(v, vh, cmd->bind.source);
    return x == NULL || x->def->type != META_TOPIC ||
           access_may_topic(v, vh, slice_str(ch->conn->user), ACCESS_READ, cmd->bind.source,
                            cmd->bind.key, &ch->conn->topic_kept, why);
}

bool channel_may_command(struct channel *ch, const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (cmd->op == META_QUEUE_DECLARE)
        return may_declare_queue(ch, cmd, why);
    if (cmd->op == META_EXCHANGE_DECLARE)
        return may_declare_exchange(ch, cmd, why);
    if (cmd->op == META_EXCHANGE_DELETE)
        return may_delete_exchange(ch, cmd, why);
    if (cmd->op == META_BIND || cmd->op == META_UNBIND)
        return may_bind(ch, cmd, why);
    return true;
}
