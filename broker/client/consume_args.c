#include "client/consume_args.h"

#include "amqp/amqp_table.h"

/* The text so far: which argument of which queue. */
static struct text refuse(const struct meta_vhost *vh, const struct meta_queue *q, const char *arg,
                          struct meta_refusal *why)
{
    why->code = AMQP_PRECONDITION_FAILED;
    struct text t = text_over(why->text, sizeof why->text);
    text_put(&t, "invalid arg '%s' for queue '", arg);
    text_slice(&t, meta_queue_name(q));
    text_str(&t, "' in vhost '");
    text_slice(&t, meta_vhost_name(vh));
    text_char(&t, '\'');
    return t;
}

bool consume_args_read(const struct meta_vhost *vh, const struct meta_queue *q, struct slice args,
                       struct consume_args *out, struct meta_refusal *why)
{
    static const char priority[] = "x-priority";
    static const char failover[] = "x-cancel-on-ha-failover";
    static const char offset[] = "x-stream-offset";
    struct amqp_field f;
    *out = (struct consume_args){ 0 };
    if (args.len == 0)
        return true;
    if (amqp_table_find(args, offset, &f)) {
        struct text t = refuse(vh, q, offset, why);
        text_put(&t, " of queue type rabbit_%s_queue",
                 meta_queue_is_quorum(q) ? "quorum" : "classic");
        return false;
    }
    if (amqp_table_find(args, priority, &f) && !amqp_field_as_i64(&f, &out->priority)) {
        struct text t = refuse(vh, q, priority, why);
        text_put(&t, ": \"expected integer, got %s\"", amqp_field_type_name(f.type));
        return false;
    }
    if (amqp_table_find(args, failover, &f) &&
        !amqp_field_as_bool(&f, &out->cancel_on_ha_failover)) {
        struct text t = refuse(vh, q, failover, why);
        text_put(&t, ": {unacceptable_type,%s}", amqp_field_type_name(f.type));
        return false;
    }
    return true;
}
