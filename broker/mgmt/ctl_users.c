/* Users and what they may do. */
#include "base/mem.h"
#include "base/pattern.h"
#include "client/auth.h"
#include "live.h"
#include "mgmt/ctl_change.h"
#include "mgmt/mgmt_json.h"

/* ---- users ---- */

static void add_tag(void *arg, struct slice tag)
{
    json_array_append_new(arg, json_out_text(tag));
}

void ctl_serve_list_users(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &broker_meta(c->broker)->users);
    const struct meta_user *u;
    while ((u = pmap_next(&it)) != NULL) {
        json_t *tags = json_array();
        meta_each_tag(u->tags, add_tag, tags);
        json_array_append_new(rows, json_pack("[o, o]", json_out_text(u->name), tags));
    }
    ctl_reply_rows(r, rows);
}

/* A password that is being hashed, for a user that is made or changed. */
struct making {
    struct ctl *ctl;
    struct http_request *request;
    struct text name;
    bool is_new;
};

static void put_hash(struct ctl *c, struct http_request *r, struct slice name, bool is_new,
                     enum meta_hashing hashing, struct slice hash)
{
    struct meta_cmd cmd = { .op = META_USER_PUT, .name = name };
    cmd.user.hash = hash;
    cmd.user.hashing = hashing;
    cmd.user.has_hash = true;
    cmd.user.must_be_new = is_new;
    cmd.user.must_exist = !is_new;
    ctl_change(c, r, &cmd);
}

static void on_hash(void *arg, enum meta_hashing hashing, const struct password_hash *hash)
{
    struct making *m = arg;
    if (hash != NULL)
        put_hash(m->ctl, m->request, text_view(&m->name), m->is_new, hashing,
                 password_hash_slice(hash));
    else
        ctl_refuse(m->request, "try_again", "the node stops");
    text_fini(&m->name);
    mem_free(m);
}

static void make_hash(struct ctl *c, struct http_request *r, const json_t *args, bool is_new)
{
    struct making *m = mem_zalloc(sizeof *m);
    m->ctl = c;
    m->request = r;
    m->is_new = is_new;
    text_init(&m->name, META_NAME_MAX + 2); /* too long a name stays too long */
    text_slice(&m->name, ctl_text(args, "user"));
    if (auth_make_hash(c->auth, broker_live(c->broker)->conf, ctl_text(args, "password"), on_hash,
                       m))
        return;
    text_fini(&m->name);
    mem_free(m);
    ctl_refuse(r, "too_many", "passwords");
}

static void put_password(struct ctl *c, struct http_request *r, const json_t *args, bool is_new)
{
    /* Without a password nobody logs in by one. */
    if (ctl_text(args, "password").len == 0)
        put_hash(c, r, ctl_text(args, "user"), is_new, META_HASHING_SHA256, slice_of(NULL, 0));
    else
        make_hash(c, r, args, is_new);
}

void ctl_serve_add_user(struct ctl *c, struct http_request *r, json_t *args)
{
    put_password(c, r, args, true);
}

void ctl_serve_change_password(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_user *u;
    if (ctl_user_of(c, r, args, &u))
        put_password(c, r, args, false);
}

void ctl_serve_delete_user(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_user *u;
    if (ctl_user_of(c, r, args, &u))
        ctl_change(c, r, &(struct meta_cmd){ .op = META_USER_DELETE, .name = u->name });
}

void ctl_serve_set_user_tags(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_user *u;
    if (!ctl_user_of(c, r, args, &u))
        return;
    struct meta_cmd cmd = { .op = META_USER_PUT, .name = u->name };
    cmd.user.tags = ctl_text(args, "tags");
    cmd.user.has_tags = cmd.user.must_exist = true;
    ctl_change(c, r, &cmd);
}

/* ---- logging in ---- */

struct login {
    struct http_request *request;
    struct auth_wait wait;
    struct sock_addr from;
};

static void answer_login(struct http_request *r, enum auth_verdict v)
{
    if (v == AUTH_OK || v == AUTH_LOOPBACK_ONLY)
        ctl_done(r);
    else if (v == AUTH_BUSY)
        ctl_refuse(r, "too_many", "logins");
    else
        ctl_refuse(r, "bad_credentials", "");
}

static void on_verdict(void *arg, enum auth_verdict v)
{
    struct login *l = arg;
    answer_login(l->request, v);
    mem_free(l);
}

void ctl_serve_authenticate_user(struct ctl *c, struct http_request *r, json_t *args)
{
    struct login *l = mem_zalloc(sizeof *l);
    l->request = r;
    l->wait.fn = on_verdict;
    l->wait.arg = l;
    bool ok = sock_addr_ip("127.0.0.1", 1, &l->from);
    enum auth_verdict v =
        !ok ? AUTH_REFUSED
            : auth_login(c->auth,
                         &(struct auth_ask){ broker_live(c->broker)->conf, ctl_text(args, "user"),
                                             ctl_text(args, "password"), &l->from },
                         &l->wait);
    if (v == AUTH_PENDING)
        return;
    answer_login(r, v);
    mem_free(l);
}

/* ---- permissions ---- */

/* RabbitMQ's words: {:invalid_regexp, '(', {'missing )', 1}} */
static bool is_pattern(struct http_request *r, struct slice text)
{
    struct pattern_error why;
    struct pattern *p = pattern_new(text, &why);
    if (p != NULL) {
        pattern_free(&p);
        return true;
    }
    char room[META_TEXT_MAX];
    struct text t = text_over(room, sizeof room);
    text_str(&t, "{:invalid_regexp, '");
    text_utf8(&t, text);
    text_put(&t, "', {'%s', %zu}}", why.text, why.at);
    ctl_refuse(r, "refused", room);
    return false;
}

void ctl_serve_set_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    const struct meta_user *u;
    struct meta_cmd cmd = { .op = META_PERMISSION_PUT };
    if (!ctl_vhost_of(c, r, args, &vh) || !ctl_user_of(c, r, args, &u))
        return;
    cmd.vhost_id = vh->vhost_id;
    cmd.permission.user = u->name;
    cmd.permission.configure = ctl_text(args, "configure");
    cmd.permission.write = ctl_text(args, "write");
    cmd.permission.read = ctl_text(args, "read");
    if (is_pattern(r, cmd.permission.configure) && is_pattern(r, cmd.permission.write) &&
        is_pattern(r, cmd.permission.read))
        ctl_change(c, r, &cmd);
}

void ctl_serve_clear_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    const struct meta_user *u;
    if (!ctl_vhost_of(c, r, args, &vh) || !ctl_user_of(c, r, args, &u))
        return;
    if (meta_permission_find(broker_meta(c->broker), vh, u->name) == NULL) {
        ctl_done(r);
        return;
    }
    ctl_change(c, r,
               &(struct meta_cmd){ .op = META_PERMISSION_CLEAR,
                                   .vhost_id = vh->vhost_id,
                                   .permission = { .user = u->name } });
}

static void add_permission(json_t *rows, struct slice of, const struct meta_permission *p)
{
    json_array_append_new(
        rows, json_pack("[o, o, o, o]", json_out_text(of), json_out_text(p->configure.text),
                        json_out_text(p->write.text), json_out_text(p->read.text)));
}

void ctl_serve_list_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return;
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &vh->permissions);
    const struct meta_permission *p;
    while ((p = pmap_next(&it)) != NULL)
        add_permission(rows, p->user, p);
    ctl_reply_rows(r, rows);
}

void ctl_serve_list_user_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_version *v = broker_meta(c->broker);
    const struct meta_user *u;
    if (!ctl_user_of(c, r, args, &u))
        return;
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &v->vhosts);
    const struct meta_vhost *vh;
    while ((vh = pmap_next(&it)) != NULL) {
        const struct meta_permission *p = meta_permission_find(v, vh, u->name);
        if (p != NULL)
            add_permission(rows, meta_vhost_name(vh), p);
    }
    ctl_reply_rows(r, rows);
}

/* ---- topic permissions ---- */

void ctl_serve_set_topic_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    const struct meta_user *u;
    struct meta_cmd cmd = { .op = META_TOPIC_PERMISSION_PUT };
    if (!ctl_vhost_of(c, r, args, &vh) || !ctl_user_of(c, r, args, &u))
        return;
    cmd.vhost_id = vh->vhost_id;
    cmd.topic_permission.user = u->name;
    cmd.topic_permission.exchange = ctl_text(args, "exchange");
    cmd.topic_permission.write = ctl_text(args, "write");
    cmd.topic_permission.read = ctl_text(args, "read");
    if (is_pattern(r, cmd.topic_permission.write) && is_pattern(r, cmd.topic_permission.read))
        ctl_change(c, r, &cmd);
}

void ctl_serve_clear_topic_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    const struct meta_user *u;
    struct meta_cmd cmd = { .op = META_TOPIC_PERMISSION_CLEAR };
    if (!ctl_vhost_of(c, r, args, &vh) || !ctl_user_of(c, r, args, &u))
        return;
    cmd.vhost_id = vh->vhost_id;
    cmd.topic_permission.user = u->name;
    cmd.topic_permission.exchange = ctl_text(args, "exchange");
    cmd.topic_permission.every_exchange = !ctl_has(args, "exchange");
    bool one = ctl_has(args, "exchange");
    if (one && meta_topic_permission_find(broker_meta(c->broker), vh, u->name,
                                          cmd.topic_permission.exchange) == NULL)
        ctl_done(r);
    else
        ctl_change(c, r, &cmd);
}

/* Those of one user, or of all: {vhost or user, exchange, write, read}. */
static void add_topics(json_t *rows, const struct meta_vhost *vh, const struct meta_user *u)
{
    struct pmap_iter it;
    pmap_iter(&it, &vh->topic_permissions);
    const struct meta_topic_permission *p;
    while ((p = pmap_next(&it)) != NULL) {
        if (u != NULL && !slice_eq(p->user, u->name))
            continue;
        json_array_append_new(rows,
                              json_pack("[o, o, o, o]",
                                        json_out_text(u != NULL ? meta_vhost_name(vh) : p->user),
                                        json_out_text(p->exchange), json_out_text(p->write.text),
                                        json_out_text(p->read.text)));
    }
}

void ctl_serve_list_topic_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh;
    if (!ctl_vhost_of(c, r, args, &vh))
        return;
    json_t *rows = json_array();
    add_topics(rows, vh, NULL);
    ctl_reply_rows(r, rows);
}

void ctl_serve_list_user_topic_permissions(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_user *u;
    if (!ctl_user_of(c, r, args, &u))
        return;
    json_t *rows = json_array();
    struct pmap_iter it;
    pmap_iter(&it, &broker_meta(c->broker)->vhosts);
    const struct meta_vhost *vh;
    while ((vh = pmap_next(&it)) != NULL)
        add_topics(rows, vh, u);
    ctl_reply_rows(r, rows);
}

/* ---- limits ---- */

static json_t *limits_of(const struct meta_user *u)
{
    json_t *o = json_object();
    if (u->max_connections != META_NO_LIMIT)
        json_object_set_new(o, "max-connections", json_integer(u->max_connections));
    if (u->max_channels != META_NO_LIMIT)
        json_object_set_new(o, "max-channels", json_integer(u->max_channels));
    return o;
}

void ctl_serve_set_user_limits(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_user *u;
    if (!ctl_user_of(c, r, args, &u))
        return;
    ctl_change(c, r,
               &(struct meta_cmd){
                   .op = META_USER_LIMITS_PUT,
                   .name = u->name,
                   .limits = { .definition = ctl_text(args, "definition"), .merge = true } });
}

void ctl_serve_clear_user_limits(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_user *u;
    struct slice limit = ctl_text(args, "limit");
    if (!ctl_user_of(c, r, args, &u))
        return;
    ctl_change(c, r,
               &(struct meta_cmd){
                   .op = META_USER_LIMITS_CLEAR,
                   .name = u->name,
                   .limits = { .limit = slice_is(limit, "all") ? slice_of(NULL, 0) : limit } });
}

/* One user's limits, or, without a user, those of all who have any. */
void ctl_serve_list_user_limits(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_user *u;
    json_t *rows = json_array();
    if (ctl_has(args, "user")) {
        if (ctl_user_of(c, r, args, &u))
            ctl_reply(r, limits_of(u));
        json_decref(rows);
        return;
    }
    struct pmap_iter it;
    pmap_iter(&it, &broker_meta(c->broker)->users);
    while ((u = pmap_next(&it)) != NULL) {
        json_t *limits = limits_of(u);
        if (json_object_size(limits) != 0)
            json_array_append_new(rows, json_pack("[o, O]", json_out_text(u->name), limits));
        json_decref(limits);
    }
    ctl_reply_rows(r, rows);
}
