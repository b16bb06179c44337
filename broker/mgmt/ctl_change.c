#include "mgmt/ctl_change.h"

#include "amqp/amqp_spec.h"
#include "base/mem.h"
#include "control.h"
#include "mgmt/mgmt_json.h"

#define CONFLICT 409

struct slice ctl_text(const json_t *args, const char *name)
{
    const json_t *v = json_object_get(args, name);
    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v))
                             : slice_of(NULL, 0);
}

bool ctl_has(const json_t *args, const char *name)
{
    const json_t *v = json_object_get(args, name);
    return v != NULL && !json_is_null(v);
}

static void refuse_named(struct http_request *r, const char *code, struct slice name)
{
    char room[META_TEXT_MAX];
    struct text t = text_over(room, sizeof room);
    text_utf8(&t, name);
    ctl_refuse(r, code, room);
}

/* ---- a change ---- */

/* On ctl's loop. */
static void on_changed(struct control_op *op)
{
    struct http_request *r = op->arg;
    if (op->verdict != META_REFUSED)
        ctl_done(r);
    else if (op->refusal.code == CONFLICT)
        refuse_named(r, "user_exists", op->cmd.name);
    else /* without a majority it may be possible later */
        ctl_refuse(r, op->refusal.code == AMQP_RESOURCE_ERROR ? "try_again" : "refused",
                   op->refusal.text);
    control_op_free(&op);
}

void ctl_change(struct ctl *c, struct http_request *r, const struct meta_cmd *cmd)
{
    struct control_op *op = control_op_new(cmd);
    op->reply_to = c->loop;
    op->done = on_changed;
    op->arg = r;
    control_send(broker_control(c->broker), &op);
}

/* ---- what is named ---- */

void ctl_refuse_queue(struct http_request *r, const json_t *args)
{
    char room[1200];
    struct text t = text_over(room, sizeof room);
    text_str(&t, "not_found: no queue '");
    text_escaped(&t, ctl_text(args, "queue"));
    text_str(&t, "' in vhost '");
    text_escaped(&t, ctl_text(args, "vhost"));
    text_str(&t, "'");
    ctl_refuse(r, "refused", room);
}

bool ctl_vhost_of(struct ctl *c, struct http_request *r, const json_t *args,
                  const struct meta_vhost **out)
{
    struct slice name = ctl_text(args, "vhost");
    *out = meta_vhost_find(broker_meta(c->broker), name);
    if (*out == NULL)
        refuse_named(r, "no_such_vhost", name);
    return *out != NULL;
}

bool ctl_user_of(struct ctl *c, struct http_request *r, const json_t *args,
                 const struct meta_user **out)
{
    struct slice name = ctl_text(args, "user");
    *out = meta_user_find(broker_meta(c->broker), name);
    if (*out == NULL)
        refuse_named(r, "no_such_user", name);
    return *out != NULL;
}

void ctl_reply_rows(struct http_request *r, json_t *rows)
{
    json_t *o = json_object();
    json_out_put(o, "rows", rows);
    ctl_reply(r, o);
}
