#include "base/check.h"
#include "base/mem.h"
#include "client/auth.h"
#include "control.h"
#include "io/http_text.h"
#include "mgmt/mgmt_definitions.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"

#include <string.h>

#define FLIGHT_MAX 256u /* commands on their way at a time */

struct importing;

/* An object on its way to being a command; what the command points to lives in here. */
struct item {
    struct importing *im;
    const json_t *json;
    struct meta_cmd cmd;
    struct text tags;
    struct text octets; /* of a hash */
    uint8_t *table;
    char *text; /* JSON */
    bool is_needless;
    const char *complaint;
};

/* Fill in item->cmd. False with item->complaint; true with is_needless when nothing is to be done.
 */
typedef bool (*item_fn)(struct item *it);

struct importing {
    struct mgmt_call *call;
    const json_t *doc;
    uint64_t vhost_id; /* 0: each object names its own */
    mgmt_imported_fn done;
    unsigned section;
    size_t at; /* the next of its objects */
    unsigned flight;
    bool has_hashed; /* in this turn */
    bool failed;
    char complaint[2 * META_TEXT_MAX];
    struct loop_task next;
};

/* ---- members ---- */

static struct slice member(const struct item *it, const char *name)
{
    const json_t *v = json_object_get(it->json, name);
    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v))
                             : slice_of(NULL, 0);
}

static bool flag(const struct item *it, const char *name)
{
    const json_t *v = json_object_get(it->json, name);
    return json_is_true(v) || (json_is_string(v) && strcmp(json_string_value(v), "true") == 0);
}

static bool complain(struct item *it, const char *what)
{
    it->complaint = what;
    return false;
}

static bool has_name(struct item *it)
{
    struct slice name = member(it, "name");
    if (name.len == 0 || name.len > META_NAME_MAX)
        return complain(it, "it has no name, or one that is too long");
    it->cmd.name = name;
    return true;
}

static const struct meta_vhost *vhost_of(const struct item *it)
{
    const struct meta_version *v = mgmt_meta(it->im->call);
    return it->im->vhost_id != 0 ? meta_vhost_get(v, it->im->vhost_id)
                                 : meta_vhost_find(v, member(it, "vhost"));
}

static bool has_vhost(struct item *it)
{
    const struct meta_vhost *vh = vhost_of(it);
    if (vh == NULL)
        return complain(it, "there is no such vhost");
    it->cmd.vhost_id = vh->vhost_id;
    return true;
}

static bool read_args(struct item *it, struct slice *out)
{
    const json_t *v = json_object_get(it->json, "arguments");
    if (v == NULL || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0))
        return true;
    return mgmt_json_to_table(v, &it->table, out) || complain(it, "its arguments are no table");
}

static bool read_json(struct item *it, const json_t *v, struct slice *out)
{
    it->text = v != NULL ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (it->text == NULL)
        return complain(it, "it has no value");
    *out = slice_str(it->text);
    return true;
}

/* ---- users and vhosts ---- */

static bool read_password(struct item *it)
{
    struct slice password = member(it, "password");
    struct slice hash = member(it, "password_hash");
    it->cmd.user.has_hash = true;
    if (password.len != 0) {
        struct password_hash made;
        it->im->has_hashed = true;
        it->cmd.user.hashing = auth_make_hash_now(mgmt_conf(it->im->call->m), password, &made);
        text_slice(&it->octets, password_hash_slice(&made));
    } else {
        it->cmd.user.hashing = mgmt_hashing_of(it->json);
        if (!http_base64_octets(hash, &it->octets))
            return complain(it, "its password_hash is not base64");
    }
    it->cmd.user.hash = text_view(&it->octets);
    return true;
}

static bool take_user(struct item *it)
{
    const json_t *tags = json_object_get(it->json, "tags");
    const json_t *limits = json_object_get(it->json, "limits");
    it->cmd.op = META_USER_PUT;
    if (!has_name(it) || !read_password(it))
        return false;
    if (tags == NULL)
        return complain(it, "tags_not_present");
    if (!mgmt_tags_text(tags, &it->tags) || it->tags.cut)
        return complain(it, "its tags are not understood");
    it->cmd.user.has_tags = true;
    it->cmd.user.tags = text_view(&it->tags);
    it->cmd.user.has_limits = json_is_object(limits);
    return !it->cmd.user.has_limits || read_json(it, limits, &it->cmd.user.limits);
}

/* Older files have these in "metadata". */
static const json_t *of_vhost(const struct item *it, const char *name)
{
    const json_t *v = json_object_get(it->json, name);
    return v != NULL ? v : json_object_get(json_object_get(it->json, "metadata"), name);
}

static bool take_vhost(struct item *it)
{
    const json_t *tags = of_vhost(it, "tags");
    const char *description = json_string_value(of_vhost(it, "description"));
    const char *type = json_string_value(of_vhost(it, "default_queue_type"));
    it->cmd.op = META_VHOST_PUT;
    if (!has_name(it))
        return false;
    it->cmd.vhost.has_description = description != NULL;
    it->cmd.vhost.description = slice_str(description != NULL ? description : "");
    it->cmd.vhost.has_default_queue_type = type != NULL && strcmp(type, "undefined") != 0;
    it->cmd.vhost.default_queue_type = slice_str(type != NULL ? type : "");
    it->cmd.vhost.has_tracing = json_object_get(it->json, "tracing") != NULL;
    it->cmd.vhost.tracing = flag(it, "tracing");
    it->cmd.vhost.has_tags = tags != NULL;
    if (tags != NULL && (!mgmt_tags_text(tags, &it->tags) || it->tags.cut))
        return complain(it, "its tags are not understood");
    it->cmd.vhost.tags = text_view(&it->tags);
    return true;
}

static bool take_permission(struct item *it)
{
    it->cmd.op = META_PERMISSION_PUT;
    it->cmd.permission.user = member(it, "user");
    it->cmd.permission.configure = member(it, "configure");
    it->cmd.permission.write = member(it, "write");
    it->cmd.permission.read = member(it, "read");
    return has_vhost(it);
}

static bool take_topic_permission(struct item *it)
{
    it->cmd.op = META_TOPIC_PERMISSION_PUT;
    it->cmd.topic_permission.user = member(it, "user");
    it->cmd.topic_permission.exchange = member(it, "exchange");
    it->cmd.topic_permission.write = member(it, "write");
    it->cmd.topic_permission.read = member(it, "read");
    return has_vhost(it);
}

/* ---- policies and parameters ---- */

static bool read_policy(struct item *it, const json_t *from)
{
    const json_t *priority = json_object_get(from, "priority");
    it->cmd.op = META_POLICY_PUT;
    it->cmd.policy.pattern = slice_str("");
    const char *pattern = json_string_value(json_object_get(from, "pattern"));
    const char *to = json_string_value(json_object_get(from, "apply-to"));
    if (pattern == NULL)
        return complain(it, "it has no pattern");
    it->cmd.policy.pattern = slice_str(pattern);
    it->cmd.policy.apply_to = slice_str(to != NULL ? to : "");
    it->cmd.policy.priority = json_is_integer(priority) ? json_integer_value(priority) : 0;
    return read_json(it, json_object_get(from, "definition"), &it->cmd.policy.definition);
}

static bool take_policy(struct item *it)
{
    return has_name(it) && has_vhost(it) && read_policy(it, it->json);
}

/* Operator policies and limits are parameters to RabbitMQ. */
static bool take_parameter(struct item *it)
{
    struct slice component = member(it, "component");
    const json_t *value = json_object_get(it->json, "value");
    if (!has_name(it) || !has_vhost(it))
        return false;
    if (slice_is(component, "operator_policy") || slice_is(component, "policy")) {
        it->cmd.policy.is_operator = slice_is(component, "operator_policy");
        return read_policy(it, value);
    }
    if (slice_is(component, "vhost-limits")) {
        it->cmd.op = META_VHOST_LIMITS_PUT;
        it->cmd.name = slice_of(NULL, 0);
        return read_json(it, value, &it->cmd.limits.definition);
    }
    it->cmd.op = META_PARAMETER_PUT;
    it->cmd.parameter.component = component;
    return read_json(it, value, &it->cmd.parameter.value);
}

static bool take_global_parameter(struct item *it)
{
    it->cmd.op = META_GLOBAL_PARAMETER_PUT;
    return has_name(it) &&
           read_json(it, json_object_get(it->json, "value"), &it->cmd.parameter.value);
}

/* ---- queues, exchanges, bindings: what is there already stays as it is ---- */

static bool take_queue(struct item *it)
{
    it->cmd.op = META_QUEUE_DECLARE;
    if (!has_name(it) || !has_vhost(it) || !read_args(it, &it->cmd.queue_declare.args))
        return false;
    it->cmd.queue_declare.durable = flag(it, "durable");
    it->cmd.queue_declare.auto_delete = flag(it, "auto_delete");
    it->cmd.queue_declare.server_named = slice_starts(it->cmd.name, "amq."); /* it was, once */
    it->is_needless = meta_queue_find(mgmt_meta(it->im->call), vhost_of(it), it->cmd.name) != NULL;
    return true;
}

static bool take_exchange(struct item *it)
{
    it->cmd.op = META_EXCHANGE_DECLARE;
    if (!has_name(it) || !has_vhost(it) || !read_args(it, &it->cmd.exchange_declare.args))
        return false;
    it->cmd.exchange_declare.type = member(it, "type");
    it->cmd.exchange_declare.durable = flag(it, "durable");
    it->cmd.exchange_declare.auto_delete = flag(it, "auto_delete");
    it->cmd.exchange_declare.internal = flag(it, "internal");
    it->is_needless =
        meta_exchange_find(mgmt_meta(it->im->call), vhost_of(it), it->cmd.name) != NULL;
    return true;
}

static bool take_binding(struct item *it)
{
    it->cmd.op = META_BIND;
    it->cmd.bind.source = member(it, "source");
    it->cmd.bind.destination = member(it, "destination");
    it->cmd.bind.key = member(it, "routing_key");
    it->cmd.bind.to_exchange = slice_is(member(it, "destination_type"), "exchange");
    it->is_needless = it->cmd.bind.source.len == 0; /* every queue has it */
    if (it->cmd.bind.source.len > META_NAME_MAX || it->cmd.bind.destination.len > META_NAME_MAX ||
        it->cmd.bind.key.len > META_NAME_MAX)
        return complain(it, "a name is too long");
    return has_vhost(it) && read_args(it, &it->cmd.bind.args);
}

/* ---- the lists, in the order in which they need each other ---- */

static const struct section {
    const char *name;
    const char *what;
    item_fn take;
    bool is_of_all; /* not for the definitions of one vhost */
} sections[] = {
    { "users", "user", take_user, true },
    { "vhosts", "vhost", take_vhost, true },
    { "permissions", "permissions of", take_permission, true },
    { "topic_permissions", "topic permissions of", take_topic_permission, true },
    { "global_parameters", "global parameter", take_global_parameter, true },
    { "parameters", "parameter", take_parameter, false },
    { "policies", "policy", take_policy, false },
    { "queues", "queue", take_queue, false },
    { "exchanges", "exchange", take_exchange, false },
    { "bindings", "binding", take_binding, false },
};

/* "queue 'q' in vhost '/': why" */
static void fail(struct importing *im, const struct section *s, const json_t *json, const char *why)
{
    static const char *const names[] = { "name", "user", "source" };
    if (im->failed)
        return; /* the first one counts */
    im->failed = true;
    struct text t = text_over(im->complaint, sizeof im->complaint);
    const char *name = NULL, *vhost = json_string_value(json_object_get(json, "vhost"));
    for (size_t i = 0; name == NULL && i < ARRAY_COUNT(names); i++)
        name = json_string_value(json_object_get(json, names[i]));
    text_put(&t, "%s '%.200s'", s->what, name != NULL ? name : "");
    if (json_object_get(json, "destination") != NULL)
        text_put(&t, " to '%.200s'",
                 json_string_value(json_object_get(json, "destination")) != NULL
                     ? json_string_value(json_object_get(json, "destination"))
                     : "");
    if (vhost != NULL)
        text_put(&t, " in vhost '%.200s'", vhost);
    text_put(&t, ": %s", why);
}

static void finish(struct importing *im)
{
    loop_task_cancel(im->call->m->loop, &im->next);
    im->done(im->call, im->failed ? im->complaint : NULL);
    mem_free(im);
}

/* What a command was made from, to name it when it is refused. */
struct sent {
    struct importing *im;
    const struct section *section;
    const json_t *json;
};

static void on_applied(struct control_op *op)
{
    struct sent *s = op->arg;
    struct importing *im = s->im;
    if (op->verdict == META_REFUSED)
        fail(im, s->section, s->json, op->refusal.text);
    mem_free(s);
    control_op_free(&op);
    CHECK(im->flight > 0);
    if (--im->flight == 0)
        loop_again(im->call->m->loop, &im->next);
}

static void send(struct item *it, const struct section *section)
{
    struct importing *im = it->im;
    struct sent *s = mem_zalloc(sizeof *s);
    *s = (struct sent){ im, section, it->json };
    struct control_op *op = control_op_new(&it->cmd);
    op->reply_to = im->call->m->loop;
    op->done = on_applied;
    op->arg = s;
    im->flight++;
    control_send(broker_control(im->call->m->broker), &op);
}

static void take(struct importing *im, const struct section *section, const json_t *json)
{
    struct item it = { .im = im, .json = json };
    text_init(&it.tags, META_TAGS_MAX + 1);
    text_init(&it.octets, META_HASH_MAX + 1);
    if (!json_is_object(json))
        fail(im, section, NULL, "it is no object");
    else if (!section->take(&it))
        fail(im, section, json, it.complaint);
    else if (!it.is_needless)
        send(&it, section);
    text_fini(&it.tags);
    text_fini(&it.octets);
    mem_free(it.table);
    mem_free(it.text);
}

/* A node that stops does not wait for the end of it. */
static void look_whether_shut(struct importing *im)
{
    if (!im->call->m->is_shut || im->failed)
        return;
    im->failed = true;
    struct text t = text_over(im->complaint, sizeof im->complaint);
    text_str(&t, "the application stops; what was done before stays");
}

/* A flight of commands; the next one begins when all have come back. */
static void on_next(void *arg)
{
    struct importing *im = arg;
    im->has_hashed = false;
    look_whether_shut(im);
    for (unsigned n = 0; n < FLIGHT_MAX && im->section < ARRAY_COUNT(sections) && !im->failed;
         n++) {
        const struct section *s = &sections[im->section];
        const json_t *list = json_object_get(im->doc, s->name);
        if ((s->is_of_all && im->vhost_id != 0) || im->at >= json_array_size(list)) {
            im->section++;
            im->at = 0;
            break; /* what it made is seen when it has come back */
        }
        take(im, s, json_array_get(list, im->at++));
        if (im->has_hashed)
            break; /* that takes its time: others first */
    }
    if (im->flight != 0)
        return;
    if (im->failed || im->section == ARRAY_COUNT(sections))
        finish(im);
    else
        loop_again(im->call->m->loop, &im->next);
}

void mgmt_import(struct mgmt_call *c, const json_t *doc, uint64_t vhost_id, mgmt_imported_fn done)
{
    struct importing *im = mem_zalloc(sizeof *im);
    im->call = c;
    im->doc = doc;
    im->vhost_id = vhost_id;
    im->done = done;
    loop_task_init(&im->next, on_next, im);
    loop_again(c->m->loop, &im->next);
}
