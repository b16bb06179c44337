/* What users may do: permissions, and those at topic exchanges. */
#include "base/mem.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>

/* ---- as JSON ---- */

static json_t *permission(const struct meta_vhost *vh, const struct meta_permission *p)
{
    json_t *o = json_object();
    json_out_put(o, "user", json_out_text(p->user));
    json_out_put(o, "vhost", json_out_text(meta_vhost_name(vh)));
    json_out_put(o, "configure", json_out_text(p->configure.text));
    json_out_put(o, "write", json_out_text(p->write.text));
    json_out_put(o, "read", json_out_text(p->read.text));
    return o;
}

static json_t *topic_permission(const struct meta_vhost *vh, const struct meta_topic_permission *p)
{
    json_t *o = json_object();
    json_out_put(o, "user", json_out_text(p->user));
    json_out_put(o, "vhost", json_out_text(meta_vhost_name(vh)));
    json_out_put(o, "exchange", json_out_text(p->exchange));
    json_out_put(o, "write", json_out_text(p->write.text));
    json_out_put(o, "read", json_out_text(p->read.text));
    return o;
}

static int compare(const void *left, const void *right)
{
    json_t *const *a = left;
    json_t *const *b = right;
    int order = mgmt_list_compare(json_object_get(*a, "user"), json_object_get(*b, "user"));
    return order != 0 ? order
                      : mgmt_list_compare(json_object_get(*a, "exchange"),
                                          json_object_get(*b, "exchange"));
}

/* Of one user, or, with an empty name, of all; in the order of their names. */
static void add(json_t *all, const struct meta_vhost *vh, struct slice user, bool topics)
{
    const struct pmap *map = topics ? &vh->topic_permissions : &vh->permissions;
    json_t **items = mem_array(map->count + 1, sizeof(json_t *));
    size_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, map);
    const void *p;
    while ((p = pmap_next(&it)) != NULL) {
        struct slice name = topics ? ((const struct meta_topic_permission *)p)->user
                                   : ((const struct meta_permission *)p)->user;
        if (user.len == 0 || slice_eq(user, name))
            items[count++] = topics ? topic_permission(vh, p) : permission(vh, p);
    }
    qsort(items, count, sizeof *items, compare);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, items[i]);
    mem_free(items);
}

json_t *mgmt_permissions_json(const struct meta_vhost *const *vhosts, size_t count,
                              struct slice user, bool topics)
{
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        add(all, vhosts[i], user, topics);
    return all;
}

/* ---- reading ---- */

static void reply_all(struct mgmt_call *c, struct slice user, bool topics)
{
    size_t count;
    c->sees_all = true;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    json_t *all = mgmt_permissions_json(vhosts, count, user, topics);
    mem_free(vhosts);
    mgmt_reply_list(c, all);
}

void mgmt_serve_permissions(struct mgmt_call *c)
{
    reply_all(c, slice_str(""), false);
}

void mgmt_serve_topic_permissions(struct mgmt_call *c)
{
    reply_all(c, slice_str(""), true);
}

static void reply_of_user(struct mgmt_call *c, bool topics)
{
    if (meta_user_find(mgmt_meta(c), mgmt_arg(c, 0)) == NULL)
        mgmt_not_found(c);
    else
        reply_all(c, mgmt_arg(c, 0), topics);
}

void mgmt_serve_permissions_of_user(struct mgmt_call *c)
{
    reply_of_user(c, false);
}

void mgmt_serve_topic_permissions_of_user(struct mgmt_call *c)
{
    reply_of_user(c, true);
}

static void reply_of_vhost(struct mgmt_call *c, bool topics)
{
    const struct meta_vhost *vh = meta_vhost_find(mgmt_meta(c), mgmt_arg(c, 0));
    if (vh == NULL)
        mgmt_not_found(c);
    else
        mgmt_reply_list(c, mgmt_permissions_json(&vh, 1, slice_str(""), topics));
}

void mgmt_serve_permissions_of_vhost(struct mgmt_call *c)
{
    reply_of_vhost(c, false);
}

void mgmt_serve_topic_permissions_of_vhost(struct mgmt_call *c)
{
    reply_of_vhost(c, true);
}

/* ---- /api/permissions/VHOST/USER ---- */

static const struct meta_vhost *vhost_named(const struct mgmt_call *c)
{
    return meta_vhost_find(mgmt_meta(c), mgmt_arg(c, 0));
}

static const struct meta_permission *found(const struct mgmt_call *c, const struct meta_vhost *vh)
{
    return vh != NULL ? meta_permission_find(mgmt_meta(c), vh, mgmt_arg(c, 1)) : NULL;
}

void mgmt_serve_permission(struct mgmt_call *c)
{
    const struct meta_vhost *vh = vhost_named(c);
    const struct meta_permission *p = found(c, vh);
    if (p != NULL)
        mgmt_reply_object(c, permission(vh, p));
    else
        mgmt_not_found(c);
}

/* The vhost and the user are there, or it is refused. */
static const struct meta_vhost *both(struct mgmt_call *c)
{
    const struct meta_version *v = mgmt_meta(c);
    const struct meta_vhost *vh = meta_vhost_find(v, mgmt_arg(c, 0));
    if (vh != NULL && meta_user_find(v, mgmt_arg(c, 1)) != NULL)
        return vh;
    mgmt_bad_request(c, "vhost_or_user_not_found");
    return NULL;
}

void mgmt_serve_permission_put(struct mgmt_call *c)
{
    static const char *const needed[] = { "configure", "write", "read", NULL };
    struct meta_cmd cmd = { .op = META_PERMISSION_PUT };
    if (!mgmt_read_body_with(c, needed) ||
        !mgmt_member_text(c, "configure", &cmd.permission.configure) ||
        !mgmt_member_text(c, "write", &cmd.permission.write) ||
        !mgmt_member_text(c, "read", &cmd.permission.read))
        return;
    const struct meta_vhost *vh = both(c);
    if (vh == NULL)
        return;
    cmd.vhost_id = vh->vhost_id;
    cmd.permission.user = mgmt_arg(c, 1);
    mgmt_change(c, &cmd, found(c, vh) != NULL ? 204 : 201);
}

void mgmt_serve_permission_delete(struct mgmt_call *c)
{
    const struct meta_permission *p = found(c, vhost_named(c));
    struct meta_cmd cmd = { .op = META_PERMISSION_CLEAR };
    if (p == NULL) {
        mgmt_not_found(c);
        return;
    }
    cmd.vhost_id = p->vhost_id;
    cmd.permission.user = mgmt_arg(c, 1);
    mgmt_change(c, &cmd, 204);
}

/* ---- /api/topic-permissions/VHOST/USER ---- */

/* Those of the path's user in the vhost, or NULL: there are none. */
static json_t *topics_found(const struct mgmt_call *c, const struct meta_vhost *vh)
{
    json_t *all = json_array();
    if (vh != NULL)
        add(all, vh, mgmt_arg(c, 1), true);
    if (json_array_size(all) != 0)
        return all;
    json_decref(all);
    return NULL;
}

void mgmt_serve_topic_permission(struct mgmt_call *c)
{
    json_t *all = topics_found(c, vhost_named(c));
    if (all != NULL)
        mgmt_reply_list(c, all);
    else
        mgmt_not_found(c);
}

void mgmt_serve_topic_permission_put(struct mgmt_call *c)
{
    static const char *const needed[] = { "exchange", "write", "read", NULL };
    struct meta_cmd cmd = { .op = META_TOPIC_PERMISSION_PUT };
    if (!mgmt_read_body_with(c, needed) ||
        !mgmt_member_text(c, "exchange", &cmd.topic_permission.exchange) ||
        !mgmt_member_text(c, "write", &cmd.topic_permission.write) ||
        !mgmt_member_text(c, "read", &cmd.topic_permission.read))
        return;
    const struct meta_vhost *vh = both(c);
    if (vh == NULL)
        return;
    json_t *before = topics_found(c, vh);
    cmd.vhost_id = vh->vhost_id;
    cmd.topic_permission.user = mgmt_arg(c, 1);
    mgmt_change(c, &cmd, before != NULL ? 204 : 201);
    json_decref(before);
}

void mgmt_serve_topic_permission_delete(struct mgmt_call *c)
{
    const struct meta_vhost *vh = vhost_named(c);
    json_t *before = topics_found(c, vh);
    struct meta_cmd cmd = { .op = META_TOPIC_PERMISSION_CLEAR };
    if (before == NULL) {
        mgmt_not_found(c);
        return;
    }
    json_decref(before);
    cmd.vhost_id = vh->vhost_id;
    cmd.topic_permission.user = mgmt_arg(c, 1);
    cmd.topic_permission.every_exchange = true;
    mgmt_change(c, &cmd, 204);
}
