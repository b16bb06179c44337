#include "mgmt/mgmt_call.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "control.h"
#include "io/http_text.h"
#include "mgmt/mgmt_access.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>
#include <string.h>

#define JSON_TYPE     "application/json"
#define VALUES_MAX    ((size_t)256 * 1024) /* in a body of who is no administrator */
#define LINE_OCTETS   79u                  /* where RabbitMQ's terms begin a new line */
#define REASON_OCTETS (META_TEXT_MAX + 64u)

/* ---- its life ---- */

/* The path without its leading slash, cut at the others and decoded in place. */
static bool read_path(struct mgmt_call *c)
{
    const char *raw = http_request_path(c->r);
    size_t len = strlen(raw);
    c->path = mem_alloc(len + 2);
    char *to = c->path;
    while (*raw == '/' && raw[1] != '\0') {
        size_t n = strcspn(++raw, "/");
        struct text t = text_over(to, len + 2 - (size_t)(to - c->path));
        if (c->segment_count == MGMT_SEGMENTS_MAX ||
            !http_percent_decode(slice_of(raw, n), false, &t))
            return false;
        c->segments[c->segment_count++] = slice_of(to, t.len);
        to += t.len + 1;
        raw += n;
    }
    return true;
}

struct mgmt_call *mgmt_call_new(struct mgmt_http *m, struct http_request *r)
{
    struct mgmt_call *c = mem_zalloc(sizeof *c);
    c->m = m;
    c->r = r;
    m->calls++;
    http_hold(r);
    if (read_path(c))
        return c;
    mgmt_not_found(c);
    return NULL;
}

void mgmt_call_end(struct mgmt_call *c)
{
    CHECK(c->m->calls > 0);
    c->m->calls--;
    json_decref(c->body);
    mem_free(c->data);
    mem_free(c->path);
    mem_free(c);
}

void mgmt_user_operator(struct mgmt_user *out)
{
    *out = (struct mgmt_user){ .tags = MGMT_TAG_ADMINISTRATOR, .is_operator = true };
}

/* In the order of enum mgmt_tag. */
static const char *const tag_names[] = { "management", "policymaker", "monitoring",
                                         "administrator" };

bool mgmt_user_named(struct mgmt_user *out, const struct meta_version *v, struct slice name)
{
    const struct meta_user *u = meta_user_find(v, name);
    if (u == NULL || name.len >= sizeof out->name)
        return false;
    if (out->name != (const char *)name.ptr)
        *out = (struct mgmt_user){ .name_len = name.len };
    memmove(out->name, name.ptr, name.len);
    out->tags = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(tag_names); i++)
        out->tags |= meta_user_has_tag(u, tag_names[i]) ? 1u << i : 0;
    return true;
}

/* ---- answers ---- */

void mgmt_reply_octets(struct mgmt_call *c, int status, const char *type, struct slice body)
{
    http_reply(c->r, status, type, body);
    mgmt_call_end(c);
}

void mgmt_reply(struct mgmt_call *c, int status, json_t *value)
{
    CHECK(value != NULL);
    char *text = json_dumps(value, JSON_COMPACT);
    CHECK(text != NULL);
    json_decref(value);
    http_reply_header(c->r, "Cache-Control", "no-cache");
    mgmt_reply_octets(c, status, JSON_TYPE, slice_str(text));
    mem_free(text); /* see json_set_alloc_funcs */
}

void mgmt_reply_empty(struct mgmt_call *c, int status)
{
    mgmt_reply_octets(c, status, NULL, slice_str(""));
}

void mgmt_refuse(struct mgmt_call *c, int status, const char *error, const char *reason)
{
    json_t *o = json_object();
    json_out_put_str(o, "error", error);
    json_out_put(o, "reason", mgmt_json_lines(reason));
    mgmt_reply(c, status, o);
}

void mgmt_bad_request(struct mgmt_call *c, const char *fmt, ...)
{
    char room[REASON_OCTETS];
    struct text t = text_over(room, sizeof room);
    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
    mgmt_refuse(c, 400, "bad_request", room);
}

void mgmt_not_found(struct mgmt_call *c)
{
    mgmt_refuse(c, 404, "Object Not Found", "Not Found");
}

void mgmt_refuse_access(struct mgmt_call *c, const char *reason)
{
    mgmt_refuse(c, 401, "not_authorised", reason);
}

/* RabbitMQ's page shows what it says of policies as it comes, so that it is escaped for HTML. */
static void refuse_escaped(struct mgmt_call *c, const char *text)
{
    struct text t;
    text_init(&t, 8 * META_TEXT_MAX);
    for (; *text != '\0'; text++) {
        if (*text == '<')
            text_str(&t, "&lt;");
        else if (*text == '>')
            text_str(&t, "&gt;");
        else
            text_char(&t, *text);
    }
    mgmt_refuse(c, 400, "bad_request", t.ptr);
    text_fini(&t);
}

void mgmt_refuse_meta(struct mgmt_call *c, const struct meta_refusal *why)
{
    if (why->code == 403)
        mgmt_refuse_access(c, "Access refused.");
    else if (why->code == 404)
        mgmt_refuse(c, 404, "not_found", why->text);
    else if (why->code == AMQP_RESOURCE_ERROR) /* no majority: it may be possible later */
        mgmt_refuse(c, 503, "service_unavailable", why->text);
    else if (c->is_html)
        refuse_escaped(c, why->text);
    else
        mgmt_refuse(c, 400, "bad_request", why->text);
}

void mgmt_reply_object(struct mgmt_call *c, json_t *object)
{
    if (!mgmt_read_list(c)) {
        json_decref(object);
        return;
    }
    mgmt_list_columns(&c->list, object);
    mgmt_reply(c, 200, object);
}

/* ---- the query ---- */

bool mgmt_read_list(struct mgmt_call *c)
{
    static const char *const names[] = { "page", "page_size",    "name",   "use_regex",
                                         "sort", "sort_reverse", "columns" };
    char room[ARRAY_COUNT(names)][MGMT_COLUMNS_MAX + 1];
    const char *given[ARRAY_COUNT(names)];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct text t = text_over(room[i], sizeof room[i]);
        given[i] = http_request_query(c->r, names[i], &t) ? room[i] : NULL;
    }
    struct mgmt_complaint why;
    struct mgmt_list_texts texts = { given[0], given[1], given[2], given[3],
                                     given[4], given[5], given[6] };
    if (mgmt_list_read(&c->list, &texts, &why))
        return true;
    mgmt_refuse(c, 400, why.error, why.reason);
    return false;
}

bool mgmt_query_is(const struct mgmt_call *c, const char *name, const char *value)
{
    char room[64];
    struct text t = text_over(room, sizeof room);
    return http_request_query(c->r, name, &t) && strcmp(room, value) == 0;
}

/* ---- vhosts, and who sees them ---- */

const struct meta_version *mgmt_meta(const struct mgmt_call *c)
{
    return broker_meta(c->m->broker);
}

const struct meta_vhost *mgmt_vhost(const struct mgmt_call *c)
{
    return c->vhost_id != 0 ? meta_vhost_get(mgmt_meta(c), c->vhost_id) : NULL;
}

bool mgmt_has_tag(const struct mgmt_call *c, enum mgmt_level level)
{
    unsigned tags = c->user.tags;
    switch (level) {
    case MGMT_OPEN:
        return true;
    case MGMT_MANAGEMENT:
        return tags != 0;
    case MGMT_POLICYMAKER:
        return (tags & (MGMT_TAG_POLICYMAKER | MGMT_TAG_ADMINISTRATOR)) != 0;
    case MGMT_MONITORING:
        return (tags & (MGMT_TAG_MONITORING | MGMT_TAG_ADMINISTRATOR)) != 0;
    case MGMT_ADMINISTRATOR:
        return (tags & MGMT_TAG_ADMINISTRATOR) != 0;
    }
    UNREACHABLE("level");
}

bool mgmt_may_enter(const struct mgmt_call *c, const struct meta_vhost *vh)
{
    return c->user.is_operator ||
           meta_permission_find(mgmt_meta(c), vh, slice_of(c->user.name, c->user.name_len)) != NULL;
}

bool mgmt_sees(const struct mgmt_call *c, const struct meta_vhost *vh)
{
    return (c->sees_all && mgmt_has_tag(c, MGMT_MONITORING)) || mgmt_may_enter(c, vh);
}

static int compare_vhosts(const void *left, const void *right)
{
    const struct meta_vhost *const *a = left;
    const struct meta_vhost *const *b = right;
    return slice_cmp(meta_vhost_name(*a), meta_vhost_name(*b));
}

const struct meta_vhost **mgmt_vhosts(const struct mgmt_call *c, size_t *count)
{
    const struct meta_version *v = mgmt_meta(c);
    const struct meta_vhost **out = mem_array(v->vhosts.count + 1, sizeof(struct meta_vhost *));
    *count = 0;
    const struct meta_vhost *vh = mgmt_vhost(c);
    if (c->vhost_id != 0) {
        if (vh != NULL)
            out[(*count)++] = vh;
        return out;
    }
    struct pmap_iter it;
    pmap_iter(&it, &v->vhosts);
    while ((vh = pmap_next(&it)) != NULL) {
        if (mgmt_sees(c, vh))
            out[(*count)++] = vh;
    }
    qsort(out, *count, sizeof *out, compare_vhosts);
    return out;
}

/* ---- the body ---- */

/* About: what stands outside of strings and begins a list or an object, or parts two values. Each
 * value takes some hundred octets, where "[]," takes three. */
static size_t count_values(struct slice text)
{
    bool in_string = false;
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else
            count += c == '[' || c == '{' || c == ',';
    }
    return count;
}

bool mgmt_read_body(struct mgmt_call *c)
{
    if (c->body != NULL)
        return true;
    struct slice body = http_request_body(c->r);
    if (!mgmt_has_tag(c, MGMT_ADMINISTRATOR) && count_values(body) > VALUES_MAX) {
        mgmt_refuse(c, 413, "bad_request", "too many values");
        return false;
    }
    if (body.len == 0)
        c->body = json_object();
    else
        c->body = json_loadb((const char *)body.ptr, body.len, JSON_ALLOW_NUL, NULL);
    if (json_is_object(c->body))
        return true;
    mgmt_refuse(c, 400, "bad_request", "not_json");
    return false;
}

static size_t missing(const json_t *body, const char *const *names, const char *between,
                      struct text *out)
{
    size_t count = 0;
    text_clear(out);
    text_char(out, '[');
    for (; *names != NULL; names++) {
        if (json_object_get(body, *names) == NULL)
            text_put(out, "%s{key_missing,%s}", count++ != 0 ? between : "", *names);
    }
    text_char(out, ']');
    return count;
}

bool mgmt_read_body_with(struct mgmt_call *c, const char *const *names)
{
    if (!mgmt_read_body(c))
        return false;
    char room[512];
    struct text t = text_over(room, sizeof room);
    if (missing(c->body, names, ",", &t) == 0)
        return true;
    if (t.len >= LINE_OCTETS)
        (void)missing(c->body, names, ",\n ", &t);
    mgmt_reply(c, 400, json_pack("{s:s, s:s}", "error", "bad_request", "reason", room));
    return false;
}

/* {"error":"bad_request","reason":["not_boolean", value]} */
static bool wrong_type(struct mgmt_call *c, const char *what, const json_t *value)
{
    json_t *reason = json_array();
    json_array_append_new(reason, json_string(what));
    json_array_append_new(reason, json_deep_copy(value));
    json_t *o = json_object();
    json_out_put_str(o, "error", "bad_request");
    json_out_put(o, "reason", reason);
    mgmt_reply(c, 400, o);
    return false;
}

static const json_t *member(const struct mgmt_call *c, const char *name)
{
    const json_t *v = json_object_get(c->body, name);
    return json_is_null(v) ? NULL : v;
}

bool mgmt_member_bool(struct mgmt_call *c, const char *name, bool *out)
{
    const json_t *v = member(c, name);
    if (v == NULL)
        return true;
    if (json_is_boolean(v))
        *out = json_is_true(v);
    else if (json_is_string(v) && strcmp(json_string_value(v), "true") == 0)
        *out = true;
    else if (json_is_string(v) && strcmp(json_string_value(v), "false") == 0)
        *out = false;
    else
        return wrong_type(c, "not_boolean", v);
    return true;
}

bool mgmt_member_text(struct mgmt_call *c, const char *name, struct slice *out)
{
    const json_t *v = member(c, name);
    if (v == NULL)
        return true;
    if (!json_is_string(v))
        return wrong_type(c, "not_a_string", v);
    *out = slice_of(json_string_value(v), json_string_length(v));
    return true;
}

/* RabbitMQ takes numbers in words too. */
bool mgmt_member_i64(struct mgmt_call *c, const char *name, int64_t *out)
{
    const json_t *v = member(c, name);
    char *end = NULL;
    if (v == NULL)
        return true;
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (json_is_string(v) && json_string_length(v) != 0) {
        long long n = strtoll(json_string_value(v), &end, 10);
        if (*end == '\0') {
            *out = n;
            return true;
        }
    }
    return wrong_type(c, "not_a_number", v);
}

bool mgmt_member_table(struct mgmt_call *c, const char *name, uint8_t **table, struct slice *out)
{
    const json_t *v = member(c, name);
    *table = NULL;
    *out = slice_of(NULL, 0);
    if (v == NULL)
        return true;
    if (mgmt_json_to_table(v, table, out))
        return true;
    mem_free(*table);
    *table = NULL;
    return wrong_type(c, "not_a_table", v);
}

/* ---- changes of the metadata ---- */

struct change {
    struct mgmt_call *call;
    mgmt_changed_fn then;
    int status;
};

static void finish(const struct change *how, enum meta_verdict verdict, uint64_t id,
                   const struct meta_refusal *why)
{
    if (verdict == META_REFUSED)
        mgmt_refuse_meta(how->call, why);
    else if (how->then != NULL)
        how->then(how->call, id);
    else
        mgmt_reply_empty(how->call, how->status);
}

static void on_changed(struct control_op *op)
{
    struct change *how = op->arg;
    finish(how, op->verdict, op->id, &op->refusal);
    mem_free(how);
    control_op_free(&op);
}

/* What does not change the metadata is answered from what is shown. */
static void change(const struct change *how, const struct meta_cmd *cmd)
{
    struct mgmt_http *m = how->call->m;
    struct meta_result result;
    if (!mgmt_may_command(how->call, cmd))
        return;
    meta_result_init(&result);
    enum meta_verdict verdict = meta_check(broker_meta(m->broker), cmd, &result);
    if (verdict == META_CHANGE) {
        struct control_op *op = control_op_new(cmd);
        op->reply_to = m->loop;
        op->done = on_changed;
        op->arg = mem_dup(how, sizeof *how);
        control_send(broker_control(m->broker), &op);
    } else {
        finish(how, verdict, result.id, &result.refusal);
    }
    meta_result_fini(&result);
}

void mgmt_change(struct mgmt_call *c, const struct meta_cmd *cmd, int status)
{
    change(&(struct change){ c, NULL, status }, cmd);
}

void mgmt_change_then(struct mgmt_call *c, const struct meta_cmd *cmd, mgmt_changed_fn then)
{
    change(&(struct change){ c, then, 0 }, cmd);
}
