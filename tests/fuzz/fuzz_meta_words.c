/* Words from users and definitions in the metadata: JSON, patterns, names. A command is taken or
 * refused, what was taken reads back, and nothing is left of it at the end (meta_free looks). */
#include "base/check.h"
#include "cluster/meta.h"

#define FIELDS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void free_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

/* The input's fields stand between zero octets. */
static void split(struct slice in, struct slice fields[FIELDS])
{
    for (unsigned i = 0; i < FIELDS; i++) {
        const uint8_t *end = in.len != 0 ? memchr(in.ptr, 0, in.len) : NULL;
        size_t n = end != NULL && i + 1 < FIELDS ? (size_t)(end - in.ptr) : in.len;
        fields[i] = slice_head(in, n);
        in = slice_from(in, n + 1);
    }
}

static struct meta_cmd command(uint8_t kind, const struct slice f[FIELDS])
{
    static const enum meta_op ops[] = { META_POLICY_PUT,          META_POLICY_PUT,
                                        META_VHOST_LIMITS_PUT,    META_USER_PUT,
                                        META_PERMISSION_PUT,      META_TOPIC_PERMISSION_PUT,
                                        META_GLOBAL_PARAMETER_PUT };
    struct meta_cmd c = { .op = ops[kind % ARRAY_COUNT(ops)], .name = f[0] };
    switch (kind % ARRAY_COUNT(ops)) {
    case 0:
    case 1:
        c.policy.pattern = f[1];
        c.policy.definition = f[2];
        c.policy.apply_to = f[3];
        c.policy.is_operator = kind % ARRAY_COUNT(ops) == 1;
        break;
    case 2:
        c.limits.definition = f[1];
        break;
    case 3:
        c.user.hash = f[1];
        c.user.tags = f[2];
        c.user.limits = f[3];
        c.user.has_hash = c.user.has_tags = true;
        c.user.has_limits = f[3].len != 0;
        break;
    case 4:
        c.permission.user = slice_str("u");
        c.permission.configure = f[1];
        c.permission.write = f[2];
        c.permission.read = f[3];
        break;
    case 5:
        c.topic_permission.user = slice_str("u");
        c.topic_permission.exchange = f[0];
        c.topic_permission.write = f[1];
        c.topic_permission.read = f[2];
        break;
    default:
        c.parameter.value = f[1];
        break;
    }
    return c;
}

static void count_tag(void *arg, struct slice tag)
{
    CHECK(tag.len != 0);
    ++*(size_t *)arg;
}

/* Ask what was put; the answers do not matter. */
static void read_back(const struct meta_version *v, uint64_t vhost_id, const struct slice f[FIELDS])
{
    const struct meta_vhost *vh = meta_vhost_get(v, vhost_id);
    const struct meta_queue *q = meta_queue_find(v, vh, slice_str("q"));
    const struct meta_policy *p = meta_policy_of_queue(v, q);
    CHECK(p == NULL || p->keys.has != 0);
    p = meta_operator_policy_of_queue(v, q);
    CHECK(p == NULL || p->definition.len >= 2);
    const struct meta_permission *m = meta_permission_find(v, vh, slice_str("u"));
    if (m != NULL)
        CHECK(meta_pattern_matches(&m->write, f[0]) || !m->write.all);
    const struct meta_user *u = meta_user_find(v, f[0]);
    size_t tags = 0;
    if (u != NULL)
        meta_each_tag(u->tags, count_tag, &tags);
    CHECK(tags <= META_TAGS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct meta_setup setup = { .shard_count = 1, .retire = free_now };
    struct meta *meta = meta_new(&setup);
    struct meta_result r;
    struct slice f[FIELDS];
    meta_result_init(&r);
    struct meta_cmd c = { .op = META_VHOST_ADD, .name = slice_str("/") };
    meta_apply(meta, &c, &r);
    uint64_t vhost_id = r.id;
    c = (struct meta_cmd){ .op = META_USER_PUT, .name = slice_str("u") };
    meta_apply(meta, &c, &r);
    c = (struct meta_cmd){ .op = META_QUEUE_DECLARE, .vhost_id = vhost_id, .name = slice_str("q") };
    meta_apply(meta, &c, &r);
    split(slice_of(data + (size != 0), size - (size != 0)), f);
    c = command(size != 0 ? data[0] : 0, f);
    c.vhost_id = vhost_id;
    bool taken = meta_apply(meta, &c, &r) == META_DONE;
    CHECK(taken || (r.refusal.code != 0 && r.refusal.text[0] != '\0'));
    meta_publish(meta);
    read_back(meta_current(meta), vhost_id, f);
    meta_result_fini(&r);
    meta_free(&meta);
    return 0;
}
