#include "client/access.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/pattern.h"

#include <ctype.h>

#define DEFAULT_EXCHANGE "amq.default" /* what patterns call the one without a name */

static bool refuse(struct meta_refusal *why, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool refuse(struct meta_refusal *why, const char *fmt, ...)
{
    why->code = AMQP_ACCESS_REFUSED;
    struct text t = text_over(why->text, sizeof why->text);
    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
    return false;
}

static const struct meta_pattern *pattern_of(const struct meta_permission *p,
                                             enum access_right right)
{
    switch (right) {
    case ACCESS_CONFIGURE:
        return &p->configure;
    case ACCESS_WRITE:
        return &p->write;
    case ACCESS_READ:
        return &p->read;
    }
    UNREACHABLE("access right");
}

bool access_may(const struct meta_permission *p, const struct meta_vhost *vh, struct slice user,
                enum access_right right, enum access_kind kind, struct slice name,
                struct meta_refusal *why)
{
    if (kind == ACCESS_EXCHANGE && name.len == 0)
        name = slice_str(DEFAULT_EXCHANGE);
    const struct meta_pattern *pattern = p != NULL ? pattern_of(p, right) : NULL;
    if (LIKELY(pattern != NULL && (pattern->all || meta_pattern_matches(pattern, name))))
        return true;
    return refuse(why, "access to %s '%.*s' in vhost '%.*s' refused for user '%.*s'",
                  kind == ACCESS_QUEUE ? "queue" : "exchange", SLICE_ARG(name),
                  SLICE_ARG(meta_vhost_name(vh)), SLICE_ARG(user));
}

/* ---- topics
 * -----------------------------------------------------------------------------------------------------
 */

static bool begins_with(struct slice s, const char *word)
{
    size_t n = strlen(word);
    return s.len >= n && memcmp(s.ptr, word, n) == 0;
}

static bool is_variable(struct slice text)
{
    for (; text.len != 0; text = slice_from(text, 1)) {
        if (begins_with(text, "{username}") || begins_with(text, "{vhost}"))
            return true;
    }
    return false;
}

/* As the name itself, whatever is in it: else a user called ".*" could do what all may. */
static void put_quoted(struct text *t, struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        if (c < 0x80 && !isalnum(c))
            text_str(t, "\\");
        text_slice(t, slice_of(&name.ptr[i], 1));
    }
}

static void fill_in(struct text *t, struct slice text, struct slice user, struct slice vhost)
{
    while (text.len != 0) {
        size_t used = 1;
        if (begins_with(text, "{username}")) {
            put_quoted(t, user);
            used = strlen("{username}");
        } else if (begins_with(text, "{vhost}")) {
            put_quoted(t, vhost);
            used = strlen("{vhost}");
        } else {
            text_slice(t, slice_head(text, 1));
        }
        text = slice_from(text, used);
    }
}

void access_topic_forget(struct access_topic_kept *kept)
{
    if (kept->code != NULL)
        pattern_free(&kept->code);
    *kept = (struct access_topic_kept){ 0 };
}

/* What comes out too long, or wrong, matches nothing. */
static struct pattern *compile(struct slice text, struct slice user, struct slice vhost)
{
    struct text t;
    text_init(&t, PATTERN_BYTES_MAX + 1);
    fill_in(&t, text, user, vhost);
    struct pattern_error err;
    struct pattern *code = t.cut ? NULL : pattern_new(text_view(&t), &err);
    text_fini(&t);
    return code;
}

static bool matches_filled_in(const struct meta_version *v, const struct meta_vhost *vh,
                              const struct meta_topic_permission *p, enum access_right right,
                              struct slice key, struct access_topic_kept *kept)
{
    const struct meta_pattern *pattern = right == ACCESS_WRITE ? &p->write : &p->read;
    if (!is_variable(pattern->text))
        return meta_pattern_matches(pattern, key);
    if (kept->rights != v->rights || kept->permission != p || kept->right != right) {
        access_topic_forget(kept);
        *kept = (struct access_topic_kept){
            .rights = v->rights,
            .permission = p,
            .right = right,
            .code = compile(pattern->text, p->user, meta_vhost_name(vh)),
        };
    }
    return kept->code != NULL && pattern_matches(kept->code, key);
}

bool access_may_topic(const struct meta_version *v, const struct meta_vhost *vh, struct slice user,
                      enum access_right right, struct slice exchange, struct slice key,
                      struct access_topic_kept *kept, struct meta_refusal *why)
{
    CHECK(right != ACCESS_CONFIGURE);
    const struct meta_topic_permission *p = meta_topic_permission_find(v, vh, user, exchange);
    if (p == NULL || matches_filled_in(v, vh, p, right, key, kept))
        return true;
    return refuse(why,
                  "access to topic '%.*s' in exchange '%.*s' in vhost '%.*s' refused for user "
                  "'%.*s'",
                  SLICE_ARG(key), SLICE_ARG(exchange), SLICE_ARG(meta_vhost_name(vh)),
                  SLICE_ARG(user));
}
