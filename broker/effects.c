#include "effects.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/connection.h"
#include "hosted.h"
#include "io/mailbox.h"

/* For one shard; a vhost's or user's name as clients are shown it. */
struct effect_notice {
    struct mail mail;
    struct shard *shard;
    uint64_t vhost_id;
    uint64_t user_id;
    char *name;
};

static void free_notice(struct effect_notice *n)
{
    mem_free(n->name);
    mem_free(n);
}

static void on_policies_changed(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    shard_policies_changed(n->shard, n->vhost_id);
    free_notice(n);
}

/* ---- clients whose vhost or user is gone ---- */

typedef bool (*concerns_fn)(const struct connection *c, const struct effect_notice *n);

static void force_out(const struct effect_notice *n, concerns_fn concerns, const char *kind)
{
    struct shard *s = n->shard;
    char room[META_TEXT_MAX];
    struct text why = text_over(room, sizeof room);
    text_put(&why, "%s '%s' is deleted", kind, n->name);
    uint64_t *ids = mem_array(s->connections.count + 1, sizeof *ids);
    size_t count = 0, at = 0;
    for (struct connection *c; (c = idmap_next(&s->connections, &at)) != NULL;)
        if (concerns(c, n))
            ids[count++] = c->id;
    for (size_t i = 0; i < count; i++) {
        struct connection *c = connection_find(s, ids[i]);
        if (c != NULL)
            connection_force_out(c, why.ptr);
    }
    mem_free(ids);
}

static bool is_in_vhost(const struct connection *c, const struct effect_notice *n)
{
    return c->vhost_id == n->vhost_id;
}

static bool is_of_user(const struct connection *c, const struct effect_notice *n)
{
    return c->user_id == n->user_id;
}

static void on_vhost_deleted(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    force_out(n, is_in_vhost, "vhost");
    free_notice(n);
}

static void on_user_deleted(struct mail *mail)
{
    struct effect_notice *n = CONTAINER_OF(mail, struct effect_notice, mail);
    force_out(n, is_of_user, "user");
    free_notice(n);
}

/* ---- on the control thread ---- */

static void tell_all(struct broker *b, const struct meta_effect *e, mail_fn fn)
{
    char room[META_NAME_MAX * 4 + 1];
    struct text name = text_over(room, sizeof room);
    text_escaped(&name, e->name);
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        struct effect_notice *n = mem_zalloc(sizeof *n);
        *n = (struct effect_notice){ .mail = { NULL, fn },
                                     .shard = broker_shard(b, i),
                                     .vhost_id = e->vhost_id,
                                     .user_id = e->user_id,
                                     .name = mem_strdup(room) };
        mailbox_post(n->shard->loop, &n->mail);
    }
}

void effects_before_publication(struct broker *b, const struct meta_effect *effects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (effects[i].kind == META_QUEUE_CREATED)
            shard_post_queue_created(broker_shard(b, effects[i].shard), effects[i].queue);
}

static void carry_out(struct broker *b, const struct meta_effect *e)
{
    switch (e->kind) {
    case META_QUEUE_CREATED:
        return;
    case META_QUEUE_DELETED:
        shard_post_queue_deleted(broker_shard(b, e->shard), e->qid);
        return;
    case META_POLICIES_CHANGED:
        tell_all(b, e, on_policies_changed);
        return;
    case META_VHOST_DELETED:
        tell_all(b, e, on_vhost_deleted);
        return;
    case META_USER_DELETED:
        tell_all(b, e, on_user_deleted);
        return;
    }
    UNREACHABLE("effect");
}

void effects_after_publication(struct broker *b, const struct meta_effect *effects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        carry_out(b, &effects[i]);
}
