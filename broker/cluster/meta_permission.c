/* What users may do in a vhost, and the patterns that say so. */
#include "base/check.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "cluster/meta_state.h"

#define LINE_MAX_COLUMNS 80u

/* ---- words and patterns ---- */

struct slice meta_put_word(uint8_t **at, struct slice word)
{
    struct slice copy = { *at, word.len };
    if (word.len != 0)
        memcpy(*at, word.ptr, word.len);
    if (*at != NULL)
        *at += word.len;
    return copy;
}

bool meta_pattern_matches(const struct meta_pattern *p, struct slice name)
{
    return p->all || (!p->none && pattern_matches(p->code, name));
}

/* As io_lib prints a tuple from this column on: what would pass the 80th is broken. */
void meta_pattern_put_error(struct text *t, const struct pattern_error *err, size_t column)
{
    char room[PATTERN_WHY_MAX * 2];
    struct text words = text_over(room, sizeof room);
    meta_put_quoted(&words, slice_str(err->text));
    bool breaks = column + words.len + sizeof "{,1}" - 1 >= LINE_MAX_COLUMNS - 1;
    text_put(t, "{%s,", room);
    if (breaks)
        text_put(t, "\n%*s", (int)column + 1, "");
    text_put(t, "%zu}", err->at);
}

/* As rabbitmqctl shows the term. */
bool meta_pattern_check(struct slice text, struct meta_refusal *why)
{
    struct pattern_error err;
    struct pattern *p = pattern_new(text, &err);
    if (p != NULL) {
        pattern_free(&p);
        return true;
    }
    struct text t = meta_refuse(why, 400);
    text_str(&t, "{:invalid_regexp, '");
    text_slice(&t, text);
    text_put(&t, "', {'%s', %zu}}", err.text, err.at);
    return false;
}

static bool is_all(struct slice text)
{
    return slice_is(text, ".*") || slice_is(text, "^.*") || slice_is(text, "^");
}

void meta_pattern_make(struct meta *m, struct meta_pattern *p, struct slice text,
                       bool is_permission)
{
    struct pattern_error err;
    *p = (struct meta_pattern){ .text = text };
    p->all = is_all(text) || (!is_permission && text.len == 0);
    p->none = slice_is(text, "^$") || (is_permission && text.len == 0);
    if (p->all || p->none)
        return;
    p->code = pattern_new(text, &err);
    CHECK(p->code != NULL);
    m->pattern_count++;
}

static void put_expanded(struct text *t, struct slice from, const char *name, struct slice value)
{
    size_t n = strlen(name);
    while (from.len != 0) {
        const uint8_t *found = memmem(from.ptr, from.len, name, n);
        size_t before = found != NULL ? (size_t)(found - from.ptr) : from.len;
        text_slice(t, slice_head(from, before));
        if (found == NULL)
            return;
        text_slice(t, value);
        from = slice_from(from, before + n);
    }
}

/* Of routing keys, which may be empty. {username} and {vhost} in it stand for what the permission
 * is about. A name may make nonsense of it: then it matches nothing. */
static void topic_pattern_make(struct meta *m, struct meta_pattern *p, struct slice text,
                               struct slice user, struct slice vhost)
{
    struct pattern_error err;
    struct text half, whole;
    *p = (struct meta_pattern){ .text = text, .all = is_all(text) };
    if (p->all)
        return;
    text_init(&half, (size_t)1 << 20);
    text_init(&whole, (size_t)1 << 20);
    put_expanded(&half, text.len != 0 ? text : slice_str("^$"), "{username}", user);
    put_expanded(&whole, text_view(&half), "{vhost}", vhost);
    p->code = pattern_new(text_view(&whole), &err);
    p->none = p->code == NULL;
    m->pattern_count += !p->none;
    text_fini(&half);
    text_fini(&whole);
}

static void free_pattern(void *ptr)
{
    struct pattern *p = ptr;
    pattern_free(&p);
}

void meta_pattern_drop(struct meta *m, const struct meta_pattern *p, uint64_t tag)
{
    if (p->code == NULL)
        return;
    m->pattern_count--;
    if (tag == m->edit.tag)
        free_pattern(p->code);
    else
        meta_collect(m, p->code, free_pattern);
}

/* ---- reading ---- */

const struct meta_permission *meta_permission_find(const struct meta_version *v,
                                                   const struct meta_vhost *vh, struct slice user)
{
    const struct pmap_kind *kind = &v->kinds->permissions;
    return pmap_get(&vh->permissions, kind, meta_hash_name(kind, user), &user);
}

const struct meta_topic_permission *meta_topic_permission_find(const struct meta_version *v,
                                                               const struct meta_vhost *vh,
                                                               struct slice user,
                                                               struct slice exchange)
{
    const struct pmap_kind *kind = &v->kinds->topic_permissions;
    struct meta_pair pair = { user, exchange };
    return pmap_get(&vh->topic_permissions, kind, meta_hash_pair(kind, &pair), &pair);
}

/* ---- checks ---- */

static enum meta_verdict user_is_there(const struct meta_version *v, struct slice user,
                                       struct meta_result *out)
{
    if (meta_user_find(v, user) != NULL)
        return META_CHANGE;
    struct text t = meta_refuse(&out->refusal, 404);
    text_str(&t, "User ");
    text_slice(&t, user);
    text_str(&t, " does not exist");
    return META_REFUSED;
}

enum meta_verdict meta_permission_check(const struct meta_version *v, const struct meta_vhost *vh,
                                        const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_refusal *why = &out->refusal;
    (void)vh;
    if (cmd->op == META_PERMISSION_PUT && (!meta_pattern_check(cmd->permission.configure, why) ||
                                           !meta_pattern_check(cmd->permission.write, why) ||
                                           !meta_pattern_check(cmd->permission.read, why)))
        return META_REFUSED;
    if (cmd->op == META_PERMISSION_PUT || cmd->op == META_PERMISSION_CLEAR)
        return user_is_there(v, cmd->permission.user, out);
    if (cmd->op == META_TOPIC_PERMISSION_PUT &&
        (!meta_pattern_check(cmd->topic_permission.write, why) ||
         !meta_pattern_check(cmd->topic_permission.read, why)))
        return META_REFUSED;
    if (cmd->topic_permission.exchange.len > META_NAME_MAX) {
        struct text t = meta_refuse(why, 400);
        text_str(&t, "the name of an exchange has at most 255 octets");
        return META_REFUSED;
    }
    return user_is_there(v, cmd->topic_permission.user, out);
}

/* ---- changes ---- */

void meta_permission_drop(struct meta *m, const struct meta_permission *p)
{
    m->draft.things -= meta_digest_permission(p);
    meta_pattern_drop(m, &p->configure, p->tag);
    meta_pattern_drop(m, &p->write, p->tag);
    meta_pattern_drop(m, &p->read, p->tag);
    size_t words = p->user.len + p->configure.text.len + p->write.text.len + p->read.text.len;
    pmap_edit_drop(&m->edit, p, sizeof *p + words, p->tag);
}

void meta_topic_permission_drop(struct meta *m, const struct meta_topic_permission *p)
{
    m->draft.things -= meta_digest_topic_permission(p);
    meta_pattern_drop(m, &p->write, p->tag);
    meta_pattern_drop(m, &p->read, p->tag);
    size_t words = p->user.len + p->exchange.len + p->write.text.len + p->read.text.len;
    pmap_edit_drop(&m->edit, p, sizeof *p + words, p->tag);
}

static void permission_put(struct meta *m, const struct meta_cmd *cmd)
{
    struct slice configure = cmd->permission.configure;
    struct slice write = cmd->permission.write;
    struct slice read = cmd->permission.read;
    size_t words = cmd->permission.user.len + configure.len + write.len + read.len;
    struct meta_permission *p = pmap_edit_alloc(&m->edit, sizeof *p + words);
    *p = (struct meta_permission){ .vhost_id = cmd->vhost_id, .tag = m->edit.tag };
    uint8_t *at = p->bytes;
    p->user = meta_put_word(&at, cmd->permission.user);
    meta_pattern_make(m, &p->configure, meta_put_word(&at, configure), true);
    meta_pattern_make(m, &p->write, meta_put_word(&at, write), true);
    meta_pattern_make(m, &p->read, meta_put_word(&at, read), true);
    struct meta_vhost *vh = meta_vhost_own(m, cmd->vhost_id);
    m->draft.things += meta_digest_permission(p);
    const void *old = pmap_set(&vh->permissions, &m->kinds.permissions, &m->edit, p);
    if (old != NULL)
        meta_permission_drop(m, old);
}

static void permission_clear(struct meta *m, uint64_t vhost_id, struct slice user)
{
    const struct meta_vhost *now = meta_vhost_get(&m->draft, vhost_id);
    if (meta_permission_find(&m->draft, now, user) == NULL)
        return;
    struct meta_vhost *vh = meta_vhost_own(m, vhost_id);
    const struct pmap_kind *kind = &m->kinds.permissions;
    meta_permission_drop(
        m, pmap_del(&vh->permissions, kind, &m->edit, meta_hash_name(kind, user), &user));
}

static void topic_put(struct meta *m, const struct meta_cmd *cmd)
{
    struct slice user = cmd->topic_permission.user;
    struct slice exchange = cmd->topic_permission.exchange;
    struct slice write = cmd->topic_permission.write;
    struct slice read = cmd->topic_permission.read;
    size_t words = user.len + exchange.len + write.len + read.len;
    struct meta_topic_permission *p = pmap_edit_alloc(&m->edit, sizeof *p + words);
    *p = (struct meta_topic_permission){ .vhost_id = cmd->vhost_id, .tag = m->edit.tag };
    uint8_t *at = p->bytes;
    p->user = meta_put_word(&at, user);
    p->exchange = meta_put_word(&at, exchange);
    struct meta_vhost *vh = meta_vhost_own(m, cmd->vhost_id);
    topic_pattern_make(m, &p->write, meta_put_word(&at, write), user, meta_vhost_name(vh));
    topic_pattern_make(m, &p->read, meta_put_word(&at, read), user, meta_vhost_name(vh));
    m->draft.things += meta_digest_topic_permission(p);
    const void *old = pmap_set(&vh->topic_permissions, &m->kinds.topic_permissions, &m->edit, p);
    if (old != NULL)
        meta_topic_permission_drop(m, old);
}

static void topic_clear_one(struct meta *m, uint64_t vhost_id, struct meta_pair pair)
{
    const struct meta_vhost *now = meta_vhost_get(&m->draft, vhost_id);
    if (meta_topic_permission_find(&m->draft, now, pair.first, pair.second) == NULL)
        return;
    struct meta_vhost *vh = meta_vhost_own(m, vhost_id);
    const struct pmap_kind *kind = &m->kinds.topic_permissions;
    meta_topic_permission_drop(
        m, pmap_del(&vh->topic_permissions, kind, &m->edit, meta_hash_pair(kind, &pair), &pair));
}

/* What goes is collected first: an iteration does not see changes to its map. */
static void topic_clear_all(struct meta *m, uint64_t vhost_id, struct slice user)
{
    const struct meta_vhost *vh = meta_vhost_get(&m->draft, vhost_id);
    const struct meta_topic_permission **list =
        mem_array(vh->topic_permissions.count + 1, sizeof(const struct meta_topic_permission *));
    size_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, &vh->topic_permissions);
    for (const struct meta_topic_permission *p; (p = pmap_next(&it)) != NULL;)
        if (slice_eq(p->user, user))
            list[count++] = p;
    for (size_t i = 0; i < count; i++)
        topic_clear_one(m, vhost_id, (struct meta_pair){ list[i]->user, list[i]->exchange });
    mem_free(list);
}

void meta_permission_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    (void)out;
    m->rights_changed = true;
    if (cmd->op == META_PERMISSION_PUT) {
        permission_put(m, cmd);
    } else if (cmd->op == META_PERMISSION_CLEAR) {
        permission_clear(m, cmd->vhost_id, cmd->permission.user);
    } else if (cmd->op == META_TOPIC_PERMISSION_PUT) {
        topic_put(m, cmd);
    } else if (cmd->topic_permission.every_exchange) {
        topic_clear_all(m, cmd->vhost_id, cmd->topic_permission.user);
    } else {
        topic_clear_one(
            m, cmd->vhost_id,
            (struct meta_pair){ cmd->topic_permission.user, cmd->topic_permission.exchange });
    }
}

void meta_permissions_delete(struct meta *m, struct slice user)
{
    size_t count = m->draft.vhosts.count;
    uint64_t *ids = mem_array(count + 1, sizeof *ids);
    struct pmap_iter it;
    pmap_iter(&it, &m->draft.vhosts);
    for (size_t i = 0; i < count; i++)
        ids[i] = ((const struct meta_vhost *)pmap_next(&it))->vhost_id;
    for (size_t i = 0; i < count; i++) {
        permission_clear(m, ids[i], user);
        topic_clear_all(m, ids[i], user);
    }
    mem_free(ids);
}
