/* Definitions as RabbitMQ exports them: of all, or of one vhost; sent in pieces. */
#include "mgmt/mgmt_definitions.h"
#include "base/check.h"
#include "base/mem.h"
#include "mgmt/mgmt_export.h"
#include "mgmt/mgmt_inner.h"

#define JSON_TYPE "application/json"

/* Readers decide by it what else to expect in the file: we write what this version does. */
#define RABBIT_VERSION "3.10.8"

/*
 * The short lists are written at once; queues, exchanges and bindings row by row:
 *   {"rabbit_version":...,"policies":[...]  ,"queues":[ rows ]  ,"exchanges":[ rows ]  ... }
 */
enum { LONG_LISTS = 3 };

static const char *const long_names[LONG_LISTS] = { "queues", "exchanges", "bindings" };

struct exporting {
    struct mgmt_call *call;
    struct mgmt_source *sources[LONG_LISTS];
    unsigned stage; /* the list we are in */
    uint32_t at;
    bool is_streaming;
    bool is_of_vhost; /* then the objects do not name it */
    struct text out;
    struct loop_task next;
};

/* ---- the short lists ---- */

static void put_version(json_t *o)
{
    json_out_put_str(o, "rabbit_version", RABBIT_VERSION);
    json_out_put_str(o, "rabbitmq_version", RABBIT_VERSION);
    json_out_put_str(o, "product_name", "Warren");
    json_out_put_str(o, "product_version", WARREN_VERSION);
}

static json_t *users_of(const struct meta_version *v)
{
    size_t count;
    json_t *all = json_array();
    const struct meta_user **list = mgmt_users_sorted(v, &count);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, mgmt_user_json(list[i]));
    mem_free(list);
    return all;
}

static json_t *vhost_of(const struct meta_vhost *vh)
{
    json_t *o = json_object();
    json_out_put(o, "name", json_out_text(meta_vhost_name(vh)));
    if (vh->description.len != 0)
        json_out_put(o, "description", json_out_text(vh->description));
    if (vh->tags.len != 0)
        json_out_put(o, "tags", mgmt_json_words(vh->tags));
    if (vh->default_queue_type.len != 0)
        json_out_put(o, "default_queue_type", json_out_text(vh->default_queue_type));
    if (vh->tracing)
        json_out_put_bool(o, "tracing", true);
    return o;
}

static void add_parameter(json_t *all, const struct meta_vhost *vh, const char *component,
                          json_t *name, json_t *value)
{
    json_t *o = json_object();
    json_out_put(o, "value", value);
    json_out_put(o, "vhost", json_out_text(meta_vhost_name(vh)));
    json_out_put_str(o, "component", component);
    json_out_put(o, "name", name);
    json_array_append_new(all, o);
}

/* Operator policies are parameters to RabbitMQ. */
static void add_parameters(json_t *all, const struct meta_vhost *vh)
{
    size_t index;
    json_t *policy;
    mgmt_parameters_json(all, vh);
    json_t *policies = json_array();
    mgmt_policies_json(policies, vh, true);
    json_array_foreach(policies, index, policy)
    {
        json_t *name = json_incref(json_object_get(policy, "name"));
        json_object_del(policy, "name");
        json_object_del(policy, "vhost");
        add_parameter(all, vh, "operator_policy", name, json_incref(policy));
    }
    json_decref(policies);
}

/* All but the long lists. */
static json_t *short_lists(const struct exporting *e, const struct meta_vhost *const *vhosts,
                           size_t count)
{
    const struct meta_version *v = mgmt_meta(e->call);
    json_t *o = json_object(), *names = json_array(), *parameters = json_array(),
           *policies = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(names, vhost_of(vhosts[i]));
        add_parameters(parameters, vhosts[i]);
        mgmt_policies_json(policies, vhosts[i], false);
    }
    put_version(o);
    if (!e->is_of_vhost) {
        json_out_put(o, "users", users_of(v));
        json_out_put(o, "vhosts", json_incref(names));
        json_out_put(o, "permissions", mgmt_permissions_json(vhosts, count, slice_str(""), false));
        json_out_put(o, "topic_permissions",
                     mgmt_permissions_json(vhosts, count, slice_str(""), true));
        json_out_put(o, "global_parameters", mgmt_global_parameters_json(v));
    }
    json_decref(names);
    json_out_put(o, "parameters", parameters);
    json_out_put(o, "policies", policies);
    return o;
}

/* ---- sending ---- */

static void free_exporting(struct exporting *e)
{
    for (unsigned i = 0; i < LONG_LISTS; i++)
        e->sources[i]->free(e->sources[i]);
    loop_task_cancel(e->call->m->loop, &e->next);
    text_fini(&e->out);
    mem_free(e);
}

static void finish(struct exporting *e)
{
    struct mgmt_call *c = e->call;
    if (e->is_streaming) {
        http_reply_piece(c->r, text_view(&e->out));
        http_reply_end(c->r);
    } else {
        http_reply(c->r, 200, JSON_TYPE, text_view(&e->out));
    }
    free_exporting(e);
    mgmt_call_end(c);
}

static void on_room(void *arg)
{
    struct exporting *e = arg;
    loop_again(e->call->m->loop, &e->next);
}

static void flush(struct exporting *e)
{
    if (!e->is_streaming) {
        e->is_streaming = true;
        http_reply_begin(e->call->r, 200, JSON_TYPE, on_room, e);
    }
    http_reply_piece(e->call->r, text_view(&e->out));
    text_clear(&e->out);
}

static void put_row(struct exporting *e, json_t *item, bool *is_first)
{
    if (item == NULL)
        return;
    if (e->is_of_vhost)
        json_object_del(item, "vhost");
    char *text = json_dumps(item, JSON_COMPACT);
    CHECK(text != NULL);
    if (!*is_first)
        text_char(&e->out, ',');
    *is_first = false;
    text_str(&e->out, text);
    mem_free(text);
    json_decref(item);
}

/* Some rows of the list that we are in. */
static void put_rows(struct exporting *e)
{
    struct mgmt_source *s = e->sources[e->stage];
    bool is_first = e->at == 0;
    if (e->at == 0)
        text_put(&e->out, ",\"%s\":[", long_names[e->stage]);
    for (unsigned n = 0; n < MGMT_PIECE_ROWS && e->at < s->count; n++, e->at++)
        put_row(e, s->render(s, e->at, 0), &is_first);
    if (e->at < s->count) {
        flush(e);
        return;
    }
    text_char(&e->out, ']');
    e->stage++;
    e->at = 0;
}

static void on_next(void *arg)
{
    struct exporting *e = arg;
    bool is_gone = http_reply_is_gone(e->call->r);
    if (!is_gone && e->is_streaming && http_reply_is_full(e->call->r))
        return; /* on_room */
    if (!is_gone && e->stage < LONG_LISTS) {
        put_rows(e);
        loop_again(e->call->m->loop, &e->next);
        return;
    }
    text_char(&e->out, '}');
    finish(e);
}

static void export_all(struct mgmt_call *c, const struct meta_vhost *const *vhosts, size_t count,
                       bool is_of_vhost)
{
    struct exporting *e = mem_zalloc(sizeof *e);
    e->call = c;
    e->is_of_vhost = is_of_vhost;
    loop_task_init(&e->next, on_next, e);
    text_init(&e->out, SIZE_MAX / 2);
    json_t *head = short_lists(e, vhosts, count);
    char *text = json_dumps(head, JSON_COMPACT);
    CHECK(text != NULL);
    text_slice(&e->out, slice_of(text, strlen(text) - 1)); /* it goes on */
    mem_free(text);
    json_decref(head);
    e->sources[0] = mgmt_queue_definitions(c, vhosts, count);
    e->sources[1] = mgmt_exchange_definitions(c, vhosts, count);
    e->sources[2] = mgmt_binding_definitions(c, vhosts, count);
    loop_again(c->m->loop, &e->next);
}

void mgmt_serve_definitions(struct mgmt_call *c)
{
    size_t count;
    char name[256];
    struct text t = text_over(name, sizeof name);
    c->sees_all = true;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    if (http_request_query(c->r, "download", &t)) {
        char where[320];
        struct text d = text_over(where, sizeof where);
        text_put(&d, "attachment; filename=%s", name);
        http_reply_header(c->r, "Content-Disposition", where);
    }
    export_all(c, vhosts, count, false);
    mem_free(vhosts);
}

void mgmt_serve_definitions_of_vhost(struct mgmt_call *c)
{
    const struct meta_vhost *vh = meta_vhost_find(mgmt_meta(c), mgmt_arg(c, 0));
    if (vh != NULL)
        export_all(c, &vh, 1, true);
    else
        mgmt_bad_request(c, "vhost_not_found"); /* so RabbitMQ says it here */
}

/* ---- importing ---- */

static void on_imported(struct mgmt_call *c, const char *complaint)
{
    if (complaint == NULL)
        mgmt_reply_empty(c, 204);
    else
        mgmt_refuse(c, 400, "bad_request", complaint);
}

static void import(struct mgmt_call *c, uint64_t vhost_id)
{
    if (mgmt_read_body(c))
        mgmt_import(c, c->body, vhost_id, on_imported);
}

void mgmt_serve_definitions_post(struct mgmt_call *c)
{
    import(c, 0);
}

void mgmt_serve_definitions_of_vhost_post(struct mgmt_call *c)
{
    const struct meta_vhost *vh = meta_vhost_find(mgmt_meta(c), mgmt_arg(c, 0));
    if (vh != NULL)
        import(c, vh->vhost_id);
    else
        mgmt_refuse(c, 404, "not_found", "vhost_not_found");
}
