#include "base/mem.h"
#include "mgmt/mgmt_definitions.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>
#include <string.h>

struct slice mgmt_exchange_named(struct slice in_path)
{
    return slice_is(in_path, MGMT_DEFAULT_EXCHANGE) ? slice_str("") : in_path;
}

/* As it was declared. */
static json_t *definition(const struct meta_vhost *vh, const struct meta_exchange *x)
{
    const struct meta_exchange_def *d = x->def;
    json_t *o = json_object();
    json_out_put(o, "name", json_out_text(meta_exchange_name(d)));
    json_out_put(o, "vhost", json_out_text(meta_vhost_name(vh)));
    json_out_put_str(o, "type", meta_exchange_type_name(d->type));
    json_out_put_bool(o, "durable", d->durable);
    json_out_put_bool(o, "auto_delete", d->auto_delete);
    json_out_put_bool(o, "internal", d->internal);
    json_out_put(o, "arguments", mgmt_json_table(meta_exchange_args(d)));
    return o;
}

static json_t *exchange(const struct meta_version *v, const struct meta_vhost *vh,
                        const struct meta_exchange *x)
{
    const struct meta_policy *policy = meta_policy_of_exchange(v, vh, x->def);
    json_t *o = definition(vh, x);
    if (policy != NULL)
        json_out_put(o, "policy", json_out_text(policy->name));
    return o;
}

/* ---- lists: by name, for nothing else finds an exchange in another version ---- */

struct exchange_row {
    uint64_t vhost_id;
    uint8_t name_bytes;
    uint8_t name[META_NAME_MAX];
};

struct exchange_source {
    struct mgmt_source base;
    struct mgmt_http *m;
    struct exchange_row *rows;
};

static struct slice name_of(const struct exchange_row *r)
{
    return slice_of(r->name, r->name_bytes);
}

static struct slice name_of_row(struct mgmt_source *s, uint32_t row)
{
    return name_of(&CONTAINER_OF(s, struct exchange_source, base)->rows[row]);
}

/* The exchange of a row, or NULL when it is gone. */
static const struct meta_exchange *exchange_of(const struct exchange_source *s, uint32_t row,
                                               const struct meta_vhost **vh)
{
    const struct exchange_row *r = &s->rows[row];
    const struct meta_version *v = broker_meta(s->m->broker);
    *vh = meta_vhost_get(v, r->vhost_id);
    return *vh != NULL ? meta_exchange_find(v, *vh, name_of(r)) : NULL;
}

static json_t *render(struct mgmt_source *source, uint32_t row, uint32_t nth)
{
    (void)nth;
    const struct exchange_source *s = CONTAINER_OF(source, struct exchange_source, base);
    const struct meta_vhost *vh;
    const struct meta_exchange *x = exchange_of(s, row, &vh);
    return x != NULL ? exchange(broker_meta(s->m->broker), vh, x) : NULL;
}

static void free_source(struct mgmt_source *s)
{
    struct exchange_source *x = CONTAINER_OF(s, struct exchange_source, base);
    mem_free(x->rows);
    mem_free(x);
}

static int compare_rows(const void *left, const void *right)
{
    return slice_cmp(name_of(left), name_of(right));
}

static void add_vhost(struct exchange_source *s, const struct meta_vhost *vh)
{
    uint32_t first = s->base.count;
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    const struct meta_exchange *x;
    while ((x = pmap_next(&it)) != NULL) {
        struct exchange_row *r = &s->rows[s->base.count++];
        struct slice name = meta_exchange_name(x->def);
        r->vhost_id = vh->vhost_id;
        r->name_bytes = (uint8_t)name.len;
        if (name.len != 0)
            memcpy(r->name, name.ptr, name.len);
    }
    qsort(s->rows + first, s->base.count - first, sizeof *s->rows, compare_rows);
}

static struct exchange_source *source_new(const struct mgmt_call *c,
                                          const struct meta_vhost *const *vhosts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += vhosts[i]->exchanges.count;
    struct exchange_source *s = mem_zalloc(sizeof *s);
    s->m = c->m;
    s->rows = mem_array(total + 1, sizeof *s->rows);
    s->base.name = name_of_row;
    s->base.render = render;
    s->base.free = free_source;
    for (size_t i = 0; i < count; i++)
        add_vhost(s, vhosts[i]);
    return s;
}

static json_t *render_definition(struct mgmt_source *source, uint32_t row, uint32_t nth)
{
    (void)nth;
    const struct exchange_source *s = CONTAINER_OF(source, struct exchange_source, base);
    const struct meta_vhost *vh;
    const struct meta_exchange *x = exchange_of(s, row, &vh);
    struct slice name = name_of(&s->rows[row]);
    bool is_system = name.len == 0 || slice_starts(name, "amq.");
    return x != NULL && !is_system ? definition(vh, x) : NULL;
}

struct mgmt_source *mgmt_exchange_definitions(const struct mgmt_call *c,
                                              const struct meta_vhost *const *vhosts, size_t count)
{
    struct exchange_source *s = source_new(c, vhosts, count);
    s->base.render = render_definition;
    return &s->base;
}

void mgmt_serve_exchanges(struct mgmt_call *c)
{
    size_t count;
    if (!mgmt_read_list(c))
        return;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    struct exchange_source *s = source_new(c, vhosts, count);
    mem_free(vhosts);
    mgmt_listing_start(c, &s->base);
}

/* ---- one of them ---- */

/* The exchange that the path names, or NULL: answered. `vh` is the path's, or NULL. */
static const struct meta_exchange *named_in(struct mgmt_call *c, const struct meta_vhost *vh)
{
    const struct meta_exchange *x =
        vh != NULL ? meta_exchange_find(mgmt_meta(c), vh, mgmt_exchange_named(mgmt_arg(c, 1)))
                   : NULL;
    if (x == NULL)
        mgmt_not_found(c);
    return x;
}

static const struct meta_exchange *named(struct mgmt_call *c)
{
    return named_in(c, mgmt_vhost(c));
}

void mgmt_serve_exchange(struct mgmt_call *c)
{
    const struct meta_vhost *vh = mgmt_vhost(c);
    const struct meta_exchange *x = named_in(c, vh);
    if (x != NULL)
        mgmt_reply_object(c, exchange(mgmt_meta(c), vh, x));
}

void mgmt_serve_bindings_from(struct mgmt_call *c)
{
    const struct meta_exchange *x = named(c);
    if (x != NULL)
        mgmt_reply_bindings_from(c, x);
}

void mgmt_serve_bindings_to(struct mgmt_call *c)
{
    const struct meta_exchange *x = named(c);
    if (x != NULL)
        mgmt_reply_bindings_to(c, x->def->xid);
}

void mgmt_serve_exchange_put(struct mgmt_call *c)
{
    struct meta_cmd cmd = { .op = META_EXCHANGE_DECLARE,
                            .vhost_id = c->vhost_id,
                            .name = mgmt_exchange_named(mgmt_arg(c, 1)) };
    uint8_t *table = NULL;
    cmd.exchange_declare.type = slice_str("direct");
    if (!mgmt_read_body(c) || !mgmt_member_text(c, "type", &cmd.exchange_declare.type) ||
        !mgmt_member_bool(c, "durable", &cmd.exchange_declare.durable) ||
        !mgmt_member_bool(c, "auto_delete", &cmd.exchange_declare.auto_delete) ||
        !mgmt_member_bool(c, "internal", &cmd.exchange_declare.internal) ||
        !mgmt_member_table(c, "arguments", &table, &cmd.exchange_declare.args))
        return;
    const struct meta_vhost *vh = mgmt_vhost(c);
    bool is_there = vh != NULL && meta_exchange_find(mgmt_meta(c), vh, cmd.name) != NULL;
    c->data = table;
    mgmt_change(c, &cmd, is_there ? 204 : 201);
}

void mgmt_serve_exchange_delete(struct mgmt_call *c)
{
    const struct meta_exchange *x = named(c);
    if (x == NULL)
        return;
    struct meta_cmd cmd = { .op = META_EXCHANGE_DELETE,
                            .vhost_id = c->vhost_id,
                            .name = mgmt_exchange_named(mgmt_arg(c, 1)) };
    cmd.exchange_delete.if_unused = mgmt_query_is(c, "if-unused", "true");
    mgmt_change(c, &cmd, 204);
}
