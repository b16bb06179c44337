#include "base/mem.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"

static json_t *metadata(const struct meta_vhost *vh)
{
    json_t *o = json_object();
    json_out_put(o, "description", json_out_text(vh->description));
    json_out_put(o, "tags", mgmt_json_words(vh->tags));
    return o;
}

static json_t *vhost(const struct mgmt_http *m, const struct meta_vhost *vh,
                     const struct mgmt_totals *t)
{
    json_t *o = json_object();
    json_t *state = json_object();
    json_out_put_str(state, mgmt_conf(m)->node.name, "running");
    json_out_put(o, "name", json_out_text(meta_vhost_name(vh)));
    json_out_put(o, "description", json_out_text(vh->description));
    json_out_put(o, "tags", mgmt_json_words(vh->tags));
    json_out_put(o, "default_queue_type",
                 json_out_text(vh->default_queue_type.len != 0 ? vh->default_queue_type
                                                               : slice_str("undefined")));
    json_out_put(o, "metadata", metadata(vh));
    json_out_put_bool(o, "tracing", vh->tracing);
    json_out_put(o, "cluster_state", state);
    json_out_put_u64(o, "messages", t->ready + t->unacked);
    json_out_put_u64(o, "messages_ready", t->ready);
    json_out_put_u64(o, "messages_unacknowledged", t->unacked);
    return o;
}

static json_t *vhost_of(const struct mgmt_http *m, const struct meta_vhost *vh,
                        const struct mgmt_totals *vhosts, size_t vhost_count)
{
    struct mgmt_totals t = mgmt_totals_of_vhost(vhosts, vhost_count, vh->vhost_id);
    return vhost(m, vh, &t);
}

static void on_vhosts(void *arg, const struct mgmt_totals *total, const struct mgmt_totals *vhosts,
                      size_t vhost_count)
{
    (void)total;
    struct mgmt_call *c = arg;
    size_t count;
    const struct meta_vhost **list = mgmt_vhosts(c, &count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, vhost_of(c->m, list[i], vhosts, vhost_count));
    mem_free(list);
    mgmt_reply_list(c, all);
}

void mgmt_serve_vhosts(struct mgmt_call *c)
{
    c->sees_all = true;
    mgmt_ask_totals(c->m->broker, c->m->loop, mgmt_call_peers(c), on_vhosts, c);
}

static const struct meta_vhost *named(const struct mgmt_call *c)
{
    return meta_vhost_find(mgmt_meta(c), mgmt_arg(c, 0));
}

static void on_vhost(void *arg, const struct mgmt_totals *total, const struct mgmt_totals *vhosts,
                     size_t vhost_count)
{
    (void)total;
    struct mgmt_call *c = arg;
    const struct meta_vhost *vh = named(c);
    if (vh != NULL)
        mgmt_reply_object(c, vhost_of(c->m, vh, vhosts, vhost_count));
    else
        mgmt_not_found(c);
}

void mgmt_serve_vhost(struct mgmt_call *c)
{
    if (named(c) != NULL)
        mgmt_ask_totals(c->m->broker, c->m->loop, mgmt_call_peers(c), on_vhost, c);
    else
        mgmt_not_found(c);
}

/* Whoever makes a vhost may do everything in it, as with RabbitMQ. */
static void on_made(struct mgmt_call *c, uint64_t id)
{
    struct slice all = slice_str(".*");
    struct meta_cmd cmd = { .op = META_PERMISSION_PUT, .vhost_id = id };
    cmd.permission.user = slice_of(c->user.name, c->user.name_len);
    cmd.permission.configure = cmd.permission.write = cmd.permission.read = all;
    if (c->user.is_operator)
        mgmt_reply_empty(c, 201);
    else
        mgmt_change(c, &cmd, 201);
}

static void change_vhost(struct mgmt_call *c, const struct meta_cmd *cmd)
{
    if (named(c) != NULL)
        mgmt_change(c, cmd, 204);
    else
        mgmt_change_then(c, cmd, on_made);
}

void mgmt_serve_vhost_put(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_VHOST_PUT, .name = mgmt_arg(c, 0) };
    char room[META_TAGS_MAX + 1];
    struct text tags = text_over(room, sizeof room);
    if (!mgmt_read_body(c))
        return;
    const json_t *given = json_object_get(c->body, "tags");
    cmd.vhost.has_description = json_object_get(c->body, "description") != NULL;
    cmd.vhost.has_default_queue_type = json_object_get(c->body, "default_queue_type") != NULL;
    cmd.vhost.has_tracing = json_object_get(c->body, "tracing") != NULL;
    cmd.vhost.has_tags = given != NULL;
    if (given != NULL && (!mgmt_tags_text(given, &tags) || tags.cut)) {
        mgmt_bad_request(c, "tags_not_understood");
        return;
    }
    cmd.vhost.tags = text_view(&tags);
    if (mgmt_member_text(c, "description", &cmd.vhost.description) &&
        mgmt_member_text(c, "default_queue_type", &cmd.vhost.default_queue_type) &&
        mgmt_member_bool(c, "tracing", &cmd.vhost.tracing))
        change_vhost(c, &cmd);
}

void mgmt_serve_vhost_delete(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_VHOST_DELETE, .name = mgmt_arg(c, 0) };
    if (named(c) == NULL)
        mgmt_not_found(c);
    else
        mgmt_change(c, &cmd, 204);
}

void mgmt_serve_vhost_start(struct mgmt_call *c)
{
    if (named(c) == NULL || !mgmt_is_this_node(c, 1))
        mgmt_not_found(c);
    else
        mgmt_reply_empty(c, 204);
}
