#include "bootstrap.h"

#include "client/auth.h"
#include "cluster/cluster.h"
#include "cluster/meta_user.h"
#include "io/random.h"

struct start {
    struct cluster_first *first;
    const struct broker_conf *conf;
    uint64_t vhost_id;
};

/* What the node starts with goes through commands, as everything does. */
static bool apply_for(const struct start *s, const struct meta_cmd *cmd, uint64_t *id,
                      const char *key, struct err *err)
{
    struct meta_refusal why;
    return cluster_first_add(s->first, cmd, id, &why) ||
           err_set(err, ERR_CONFIG, "[auth] %s: %s", key, why.text);
}

static bool apply(const struct start *s, const struct meta_cmd *cmd, const char *key,
                  struct err *err)
{
    return apply_for(s, cmd, NULL, key, err);
}

static bool make_vhost(struct start *s, struct err *err)
{
    struct meta_cmd cmd = { .op = META_VHOST_PUT, .name = slice_str(s->conf->auth.default_vhost) };
    cmd.vhost.description = slice_str("Default virtual host");
    cmd.vhost.has_description = true;
    return apply_for(s, &cmd, &s->vhost_id, "default-vhost", err);
}

static bool make_user(const struct start *s, struct slice name, struct err *err)
{
    struct password_hash hash;
    const char *tags = s->conf->auth.default_tags;
    struct meta_cmd cmd = { .op = META_USER_PUT, .name = name };
    cmd.user.hashing = auth_make_hash_now(s->conf, slice_str(s->conf->auth.default_pass), &hash);
    cmd.user.hash = password_hash_slice(&hash);
    cmd.user.tags = slice_str(tags != NULL ? tags : "");
    cmd.user.has_hash = cmd.user.has_tags = true;
    return apply(s, &cmd, "default-user", err);
}

static bool permit(const struct start *s, struct slice name, struct err *err)
{
    struct meta_cmd cmd = { .op = META_PERMISSION_PUT, .vhost_id = s->vhost_id };
    cmd.permission.user = name;
    cmd.permission.configure = slice_str(s->conf->auth.default_configure);
    cmd.permission.write = slice_str(s->conf->auth.default_write);
    cmd.permission.read = slice_str(s->conf->auth.default_read);
    return apply(s, &cmd, "default-configure, default-write, default-read", err);
}

/* RabbitMQ's form: readers of definitions know it. */
static bool make_cluster_id(const struct start *s, struct err *err)
{
    uint8_t chance[16];
    char name[META_GEN_NAME_BYTES];
    char room[64];
    random_octets(chance, sizeof chance);
    meta_gen_name(chance, name);
    struct text id = text_over(room, sizeof room);
    text_str(&id, "\"rabbitmq-cluster-id-");
    text_slice(&id, slice_from(slice_of(name, sizeof name), sizeof "amq.gen-" - 1));
    text_char(&id, '"');
    return apply(s,
                 &(struct meta_cmd){ .op = META_GLOBAL_PARAMETER_PUT,
                                     .name = slice_str("internal_cluster_id"),
                                     .parameter = { .value = text_view(&id) } },
                 "the cluster's id", err);
}

bool bootstrap(struct cluster_first *first, const struct broker_conf *conf, struct err *err)
{
    struct start s = { first, conf, 0 };
    if (!make_vhost(&s, err) || !make_cluster_id(&s, err))
        return false;
    if (conf->auth.default_user == NULL)
        return true;
    struct slice name = slice_str(conf->auth.default_user);
    return make_user(&s, name, err) && permit(&s, name, err);
}

bool bootstrap_has_more(const struct meta_version *v, const struct broker_conf *conf)
{
    const char *vhost = conf->auth.default_vhost;
    const char *user = conf->auth.default_user;
    bool has_vhost = meta_vhost_find(v, slice_str(vhost)) != NULL;
    bool has_user = user != NULL && meta_user_find(v, slice_str(user)) != NULL;
    return v->queues.count != 0 || v->vhosts.count > (has_vhost ? 1u : 0u) ||
           v->users.count > (has_user ? 1u : 0u);
}
