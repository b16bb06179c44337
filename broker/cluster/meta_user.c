#include "cluster/meta_user.h"

#include "base/check.h"
#include "cluster/meta_limits.h"
#include "cluster/meta_state.h"

#define USER_EXISTS 409

static const char *const hashing_names[] = {
#define X(name, text) [META_HASHING_##name] = text,
    META_HASHINGS(X)
#undef X
};

const char *meta_hashing_name(enum meta_hashing hashing)
{
    CHECK((unsigned)hashing < ARRAY_COUNT(hashing_names));
    return hashing_names[hashing];
}

bool meta_hashing_find(struct slice name, enum meta_hashing *out)
{
    for (unsigned i = 0; i < ARRAY_COUNT(hashing_names); i++) {
        if (!slice_is(name, hashing_names[i]))
            continue;
        *out = (enum meta_hashing)i;
        return true;
    }
    return false;
}

/* ---- reading ---- */

const struct meta_user *meta_user_find(const struct meta_version *v, struct slice name)
{
    const struct pmap_kind *kind = &v->kinds->users;
    return pmap_get(&v->users, kind, meta_hash_name(kind, name), &name);
}

void meta_each_tag(struct slice tags, meta_tag_fn each, void *arg)
{
    while (tags.len != 0) {
        const uint8_t *comma = memchr(tags.ptr, ',', tags.len);
        size_t n = comma != NULL ? (size_t)(comma - tags.ptr) : tags.len;
        struct slice tag = slice_trim(slice_head(tags, n));
        if (tag.len != 0)
            each(arg, tag);
        tags = slice_from(tags, n + 1);
    }
}

struct tag_wanted {
    const char *tag;
    bool found;
};

static void look_for_tag(void *arg, struct slice tag)
{
    struct tag_wanted *w = arg;
    w->found = w->found || slice_is(tag, w->tag);
}

bool meta_user_has_tag(const struct meta_user *u, const char *tag)
{
    struct tag_wanted w = { tag, false };
    meta_each_tag(u->tags, look_for_tag, &w);
    return w.found;
}

/* ---- checks ---- */

static enum meta_verdict refuse_user(struct meta_result *out, unsigned code, struct slice name,
                                     const char *what)
{
    struct text t = meta_refuse(&out->refusal, code);
    text_str(&t, "User \"");
    text_slice(&t, name);
    text_put(&t, "\" %s", what);
    return META_REFUSED;
}

static bool words_fit(const struct meta_cmd *cmd, struct meta_refusal *why)
{
    if (cmd->name.len <= META_NAME_MAX && cmd->user.hash.len <= META_HASH_MAX &&
        cmd->user.tags.len <= META_TAGS_MAX)
        return true;
    struct text t = meta_refuse(why, 400);
    text_str(&t, "the name, the hash of the password or the tags of the user are too long");
    return false;
}

static enum meta_verdict put_check(const struct meta_user *u, const struct meta_cmd *cmd,
                                   struct meta_result *out)
{
    int64_t limits[META_LIMITS_COUNT];
    if (u != NULL && cmd->user.must_be_new)
        return refuse_user(out, USER_EXISTS, cmd->name, "already exists");
    if (u == NULL && cmd->user.must_exist)
        return refuse_user(out, 404, cmd->name, "does not exist");
    if (!words_fit(cmd, &out->refusal) ||
        (cmd->user.has_limits && !meta_user_limits_read(cmd->user.limits, limits, &out->refusal)))
        return META_REFUSED;
    return META_CHANGE;
}

enum meta_verdict meta_user_check(const struct meta_version *v, const struct meta_vhost *none,
                                  const struct meta_cmd *cmd, struct meta_result *out)
{
    CHECK(none == NULL);
    int64_t limits[META_LIMITS_COUNT];
    const struct meta_user *u = meta_user_find(v, cmd->name);
    if (u != NULL)
        out->id = u->user_id;
    if (cmd->op == META_USER_PUT)
        return put_check(u, cmd, out);
    if (u == NULL)
        return refuse_user(out, 404, cmd->name, "does not exist");
    if (cmd->op == META_USER_LIMITS_PUT &&
        !meta_user_limits_read(cmd->limits.definition, limits, &out->refusal))
        return META_REFUSED;
    return META_CHANGE;
}

/* ---- changes ---- */

static size_t user_bytes(const struct meta_user *u)
{
    return sizeof *u + u->name.len + u->hash.len + u->tags.len;
}

void meta_user_drop(struct meta *m, const struct meta_user *u)
{
    m->draft.things -= meta_digest_user(u);
    pmap_edit_drop(&m->edit, u, user_bytes(u), u->tag);
}

/* Put a copy of `u`, with its words wherever they are, in the place of the user of its name. */
static void put(struct meta *m, const struct meta_user *u)
{
    struct meta_user *copy = pmap_edit_alloc(&m->edit, user_bytes(u));
    *copy = *u;
    copy->tag = m->edit.tag;
    uint8_t *at = copy->bytes;
    copy->name = meta_put_word(&at, u->name);
    copy->hash = meta_put_word(&at, u->hash);
    copy->tags = meta_put_word(&at, u->tags);
    m->draft.things += meta_digest_user(copy);
    const void *old = pmap_set(&m->draft.users, &m->kinds.users, &m->edit, copy);
    if (old != NULL)
        meta_user_drop(m, old);
}

static struct meta_user user_now(struct meta *m, struct slice name)
{
    const struct meta_user *u = meta_user_find(&m->draft, name);
    if (u != NULL)
        return *u;
    return (struct meta_user){ .user_id = ++m->draft.last_id,
                               .hashing = META_HASHING_SHA256,
                               .max_connections = META_NO_LIMIT,
                               .max_channels = META_NO_LIMIT,
                               .name = name };
}

static void set_limits(struct meta_user *u, struct slice json)
{
    struct meta_refusal why;
    int64_t limits[META_LIMITS_COUNT] = { u->max_connections, u->max_channels };
    bool ok = meta_user_limits_read(json, limits, &why);
    CHECK(ok);
    u->max_connections = limits[0];
    u->max_channels = limits[1];
}

static void clear_limits(struct meta_user *u, struct slice limit)
{
    if (limit.len == 0 || slice_is(limit, meta_user_limit_names.names[0]))
        u->max_connections = META_NO_LIMIT;
    if (limit.len == 0 || slice_is(limit, meta_user_limit_names.names[1]))
        u->max_channels = META_NO_LIMIT;
}

static void user_put(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_user u = user_now(m, cmd->name);
    if (cmd->user.has_hash) {
        u.hash = cmd->user.hash;
        u.hashing = cmd->user.hashing;
    }
    if (cmd->user.has_tags)
        u.tags = cmd->user.tags;
    if (cmd->user.has_limits)
        set_limits(&u, cmd->user.limits);
    put(m, &u);
    out->id = u.user_id;
}

static void user_delete(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    const struct pmap_kind *kind = &m->kinds.users;
    const void *gone =
        pmap_del(&m->draft.users, kind, &m->edit, meta_hash_name(kind, cmd->name), &cmd->name);
    CHECK(gone != NULL);
    meta_permissions_delete(m, cmd->name);
    meta_user_drop(m, gone);
    meta_tell(out, &(struct meta_effect){
                       .kind = META_USER_DELETED, .user_id = out->id, .name = cmd->name });
}

void meta_user_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    m->rights_changed = true;
    if (cmd->op == META_USER_PUT) {
        user_put(m, cmd, out);
        return;
    }
    if (cmd->op == META_USER_DELETE) {
        user_delete(m, cmd, out);
        return;
    }
    struct meta_user u = user_now(m, cmd->name);
    if (cmd->op == META_USER_LIMITS_PUT)
        set_limits(&u, cmd->limits.definition);
    else
        clear_limits(&u, cmd->limits.limit);
    put(m, &u);
}
