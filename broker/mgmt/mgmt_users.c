/* Users, and their limits. */
#include "base/check.h"
#include "base/mem.h"
#include "io/http_text.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>
#include <string.h>

/* ---- as JSON ---- */

static json_t *limits_of(const struct meta_user *u)
{
    json_t *o = json_object();
    if (u->max_connections != META_NO_LIMIT)
        json_out_put(o, "max-connections", json_integer(u->max_connections));
    if (u->max_channels != META_NO_LIMIT)
        json_out_put(o, "max-channels", json_integer(u->max_channels));
    return o;
}

json_t *mgmt_user_json(const struct meta_user *u)
{
    char room[META_HASH_MAX * 2];
    struct text hash = text_over(room, sizeof room);
    http_base64_encode(u->hash, &hash);
    json_t *o = json_object();
    json_out_put(o, "name", json_out_text(u->name));
    json_out_put_str(o, "password_hash", room);
    json_out_put_str(o, "hashing_algorithm", meta_hashing_name(u->hashing));
    json_out_put(o, "tags", mgmt_json_words(u->tags));
    json_out_put(o, "limits", limits_of(u));
    return o;
}

static int compare_users(const void *left, const void *right)
{
    const struct meta_user *const *a = left;
    const struct meta_user *const *b = right;
    return slice_cmp((*a)->name, (*b)->name);
}

const struct meta_user **mgmt_users_sorted(const struct meta_version *v, size_t *count)
{
    const struct meta_user **list = mem_array(v->users.count + 1, sizeof(struct meta_user *));
    struct pmap_iter it;
    pmap_iter(&it, &v->users);
    *count = 0;
    const struct meta_user *u;
    while ((u = pmap_next(&it)) != NULL)
        list[(*count)++] = u;
    qsort(list, *count, sizeof *list, compare_users);
    return list;
}

static const struct meta_user *named(struct mgmt_call *c)
{
    const struct meta_user *u = meta_user_find(mgmt_meta(c), mgmt_arg(c, 0));
    if (u == NULL)
        mgmt_not_found(c);
    return u;
}

/* ---- reading ---- */

void mgmt_serve_users(struct mgmt_call *c)
{
    size_t count;
    const struct meta_user **list = mgmt_users_sorted(mgmt_meta(c), &count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, mgmt_user_json(list[i]));
    mem_free(list);
    mgmt_reply_list(c, all);
}

static bool has_permissions(const struct meta_version *v, const struct meta_user *u)
{
    struct pmap_iter it;
    pmap_iter(&it, &v->vhosts);
    const struct meta_vhost *vh;
    while ((vh = pmap_next(&it)) != NULL) {
        if (meta_permission_find(v, vh, u->name) != NULL)
            return true;
    }
    return false;
}

void mgmt_serve_users_without(struct mgmt_call *c)
{
    size_t count;
    const struct meta_version *v = mgmt_meta(c);
    const struct meta_user **list = mgmt_users_sorted(v, &count);
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++) {
        if (!has_permissions(v, list[i]))
            json_array_append_new(all, mgmt_user_json(list[i]));
    }
    mem_free(list);
    mgmt_reply_list(c, all);
}

void mgmt_serve_user(struct mgmt_call *c)
{
    const struct meta_user *u = named(c);
    if (u != NULL)
        mgmt_reply_object(c, mgmt_user_json(u));
}

/* ---- writing ---- */

/* "a, b" or ["a", "b"] as "a,b". */
bool mgmt_tags_text(const json_t *tags, struct text *out)
{
    size_t index;
    const json_t *item;
    if (json_is_string(tags)) {
        text_str(out, json_string_value(tags));
        return true;
    }
    json_array_foreach((json_t *)(uintptr_t)tags, index, item)
    {
        if (!json_is_string(item))
            return false;
        text_put(out, "%s%s", index != 0 ? "," : "", json_string_value(item));
    }
    return json_is_array(tags);
}

/* What a PUT says, while the password is being hashed. */
struct user_put {
    struct mgmt_call *call;
    int status;
    struct text tags;
    char *limits; /* JSON, or NULL */
};

static void send_user(struct user_put *p, enum meta_hashing hashing, struct slice hash)
{
    struct mgmt_call *c = p->call;
    struct meta_cmd cmd = { .op = META_USER_PUT, .name = mgmt_arg(c, 0) };
    cmd.user.has_hash = true;
    cmd.user.hash = hash;
    cmd.user.hashing = hashing;
    cmd.user.has_tags = true;
    cmd.user.tags = text_view(&p->tags);
    cmd.user.has_limits = p->limits != NULL;
    cmd.user.limits = slice_str(p->limits != NULL ? p->limits : "");
    mgmt_change(c, &cmd, p->status);
}

static void free_put(struct user_put *p)
{
    text_fini(&p->tags);
    mem_free(p->limits);
    mem_free(p);
}

static void on_hash(void *arg, enum meta_hashing hashing, const struct password_hash *hash)
{
    struct user_put *p = arg;
    if (hash != NULL)
        send_user(p, hashing, password_hash_slice(hash));
    else
        mgmt_refuse(p->call, 503, "service_unavailable", "the node stops");
    free_put(p);
}

static void refuse_hash(struct mgmt_call *c, struct slice given)
{
    json_t *o = json_object();
    json_out_put_str(o, "error", "bad_request");
    json_out_put(o, "reason", json_pack("[so]", "not_base64", json_out_text(given)));
    mgmt_reply(c, 400, o);
}

enum meta_hashing mgmt_hashing_of(const json_t *user)
{
    enum meta_hashing hashing = META_HASHING_SHA256;
    const char *name = json_string_value(json_object_get(user, "hashing_algorithm"));
    if (name != NULL)
        (void)meta_hashing_find(slice_str(name), &hashing);
    return hashing;
}

/* By hash, by password, or with no way to log in with one. */
static void put_by(struct user_put *p, struct slice password, const char *hash)
{
    struct mgmt_call *c = p->call;
    char room[META_HASH_MAX + 1];
    struct text octets = text_over(room, sizeof room);
    if (password.len != 0) {
        if (auth_make_hash(c->m->auth, mgmt_conf(c->m), password, on_hash, p))
            return;
        mgmt_refuse(c, 503, "service_unavailable", "Too many passwords at a time");
    } else if (hash != NULL && !http_base64_octets(slice_str(hash), &octets)) {
        refuse_hash(c, slice_str(hash));
    } else {
        send_user(p, mgmt_hashing_of(c->body), text_view(&octets));
    }
    free_put(p);
}

void mgmt_serve_user_put(struct mgmt_call *c)
{
    struct slice password = { NULL, 0 };
    if (!mgmt_read_body(c) || !mgmt_member_text(c, "password", &password))
        return;
    const json_t *tags = json_object_get(c->body, "tags");
    const json_t *limits = json_object_get(c->body, "limits");
    struct user_put *p = mem_zalloc(sizeof *p);
    p->call = c;
    p->status = meta_user_find(mgmt_meta(c), mgmt_arg(c, 0)) != NULL ? 204 : 201;
    p->limits = json_is_object(limits) ? json_dumps(limits, JSON_COMPACT) : NULL;
    text_init(&p->tags, META_TAGS_MAX + 1);
    if (tags == NULL || !mgmt_tags_text(tags, &p->tags) || p->tags.cut) {
        mgmt_bad_request(c, tags == NULL ? "tags_not_present" : "tags_not_understood");
        free_put(p);
        return;
    }
    put_by(p, password, json_string_value(json_object_get(c->body, "password_hash")));
}

void mgmt_serve_user_delete(struct mgmt_call *c)
{
    if (named(c) != NULL)
        mgmt_change(c, &(struct meta_cmd){ .op = META_USER_DELETE, .name = mgmt_arg(c, 0) }, 204);
}

/* ---- many at a time ---- */

static void delete_next(struct mgmt_call *c, uint64_t id)
{
    (void)id;
    if (c->m->is_shut) {
        mgmt_refuse(c, 503, "service_unavailable", "the application stops");
        return;
    }
    const json_t *name = json_array_get(json_object_get(c->body, "users"), c->number++);
    if (name == NULL)
        mgmt_reply_empty(c, 204);
    else
        mgmt_change_then(c,
                         &(struct meta_cmd){ .op = META_USER_DELETE,
                                             .name = slice_str(json_string_value(name)) },
                         delete_next);
}

void mgmt_serve_users_delete(struct mgmt_call *c)
{
    static const char *const needed[] = { "users", NULL };
    if (!mgmt_read_body_with(c, needed))
        return;
    size_t index;
    json_t *name;
    json_array_foreach(json_object_get(c->body, "users"), index, name)
    {
        const char *text = json_string_value(name);
        if (text == NULL || meta_user_find(mgmt_meta(c), slice_str(text)) == NULL) {
            mgmt_reply(c, 400,
                       json_pack("{s:s, s:[s, O]}", "error", "bad_request", "reason",
                                 "no_such_user", name));
            return;
        }
    }
    delete_next(c, 0);
}

/* ---- limits ---- */

static void add_limits(json_t *all, const struct meta_user *u)
{
    json_t *limits = limits_of(u);
    if (json_object_size(limits) == 0) {
        json_decref(limits);
        return;
    }
    json_t *o = json_object();
    json_out_put(o, "user", json_out_text(u->name));
    json_out_put(o, "value", limits);
    json_array_append_new(all, o);
}

void mgmt_serve_user_limits(struct mgmt_call *c)
{
    json_t *all = json_array();
    if (c->arg_count != 0) {
        const struct meta_user *u = meta_user_find(mgmt_meta(c), mgmt_arg(c, 0));
        if (u == NULL) {
            json_decref(all);
            mgmt_not_found(c);
            return;
        }
        add_limits(all, u);
        mgmt_reply_list(c, all);
        return;
    }
    size_t count;
    const struct meta_user **list = mgmt_users_sorted(mgmt_meta(c), &count);
    for (size_t i = 0; i < count; i++)
        add_limits(all, list[i]);
    mem_free(list);
    mgmt_reply_list(c, all);
}

/* As RabbitMQ: here it is the request that is bad, where others find no object. */
static void refuse_nobodys_limit(struct mgmt_call *c)
{
    json_t *reason = json_array();
    json_array_append_new(reason, json_string("no_such_user"));
    json_array_append_new(reason, json_out_text(mgmt_arg(c, 0)));
    json_t *o = json_object();
    json_out_put_str(o, "error", "bad_request");
    json_out_put(o, "reason", reason);
    mgmt_reply(c, 400, o);
}

void mgmt_serve_user_limit_put(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_USER_LIMITS_PUT, .name = mgmt_arg(c, 0) };
    if (meta_user_find(mgmt_meta(c), cmd.name) == NULL) {
        refuse_nobodys_limit(c);
        return;
    }
    char *definition = mgmt_limit_definition(c);
    if (definition == NULL)
        return;
    cmd.limits.definition = slice_str(definition);
    cmd.limits.merge = true;
    mgmt_change(c, &cmd, 204);
    mem_free(definition);
}

void mgmt_serve_user_limit_delete(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_USER_LIMITS_CLEAR, .name = mgmt_arg(c, 0) };
    cmd.limits.limit = mgmt_arg(c, 1);
    if (named(c) != NULL)
        mgmt_change(c, &cmd, 204);
}
