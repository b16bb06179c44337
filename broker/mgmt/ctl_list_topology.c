/* list_exchanges and list_bindings. */
#include "base/mem.h"
#include "mgmt/ctl_columns.h"
#include "mgmt/ctl_lister.h"

/* ---- exchanges ---- */

struct exchange_row {
    const struct meta_version *v;
    const struct meta_vhost *vh;
    const struct meta_exchange_def *x;
    struct ctl_row *out;
};

static void put_exchange_name(const struct exchange_row *r)
{
    ctl_row_slice(r->out, meta_exchange_name(r->x));
}

static void put_exchange_vhost(const struct exchange_row *r)
{
    ctl_row_slice(r->out, meta_vhost_name(r->vh));
}

static void put_exchange_type(const struct exchange_row *r)
{
    ctl_row_str(r->out, meta_exchange_type_name(r->x->type));
}

static void put_exchange_durable(const struct exchange_row *r)
{
    ctl_row_bool(r->out, r->x->durable);
}

static void put_exchange_auto_delete(const struct exchange_row *r)
{
    ctl_row_bool(r->out, r->x->auto_delete);
}

static void put_exchange_internal(const struct exchange_row *r)
{
    ctl_row_bool(r->out, r->x->internal);
}

static void put_exchange_arguments(const struct exchange_row *r)
{
    ctl_row_table(r->out, meta_exchange_args(r->x));
}

static void put_exchange_policy(const struct exchange_row *r)
{
    const struct meta_policy *p = meta_policy_of_exchange(r->v, r->vh, r->x);
    ctl_row_slice(r->out, p != NULL ? p->name : slice_str(""));
}

static const char *const exchange_names[] = {
#define X(name) #name,
    CTL_EXCHANGE_COLUMNS(X)
#undef X
};

static void (*const exchange_puts[])(const struct exchange_row *r) = {
#define X(name) put_exchange_##name,
    CTL_EXCHANGE_COLUMNS(X)
#undef X
};

static void add_exchanges(struct ctl_list *l, const struct meta_vhost *vh, struct text *rows)
{
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    const struct meta_exchange *x;
    while ((x = pmap_next(&it)) != NULL) {
        struct ctl_row out;
        struct exchange_row r = { broker_meta(l->ctl->broker), vh, x->def, &out };
        ctl_row_begin(&out, rows);
        for (unsigned c = 0; c < l->column_count; c++)
            exchange_puts[l->columns[c]](&r);
        ctl_row_end(&out);
    }
}

static void exchanges_piece(struct ctl_list *l)
{
    const struct meta_version *v = broker_meta(l->ctl->broker);
    struct text rows = ctl_list_rows();
    struct pmap_iter it;
    pmap_iter(&it, &v->vhosts);
    const struct meta_vhost *vh;
    while ((vh = pmap_next(&it)) != NULL) {
        if (l->vhost_id == 0 || vh->vhost_id == l->vhost_id)
            add_exchanges(l, vh, &rows);
    }
    ctl_list_reply(l, &rows);
}

const struct ctl_lister ctl_lister_exchanges = {
    .what = "exchanges",
    .columns = exchange_names,
    .column_count = ARRAY_COUNT(exchange_names),
    .piece = exchanges_piece,
};

/* ---- bindings ---- */

/* One of them, or the one that every queue has to the default exchange. */
struct binding_row {
    struct slice source;
    struct slice destination;
    bool to_exchange;
    struct slice key;
    struct slice args;
    struct ctl_row *out;
};

static void put_binding_source_name(const struct binding_row *r)
{
    ctl_row_slice(r->out, r->source);
}

static void put_binding_source_kind(const struct binding_row *r)
{
    ctl_row_str(r->out, "exchange");
}

static void put_binding_destination_name(const struct binding_row *r)
{
    ctl_row_slice(r->out, r->destination);
}

static void put_binding_destination_kind(const struct binding_row *r)
{
    ctl_row_str(r->out, r->to_exchange ? "exchange" : "queue");
}

static void put_binding_routing_key(const struct binding_row *r)
{
    ctl_row_slice(r->out, r->key);
}

static void put_binding_arguments(const struct binding_row *r)
{
    ctl_row_table(r->out, r->args);
}

static const char *const binding_names[] = {
#define X(name) #name,
    CTL_BINDING_COLUMNS(X)
#undef X
};

static void (*const binding_puts[])(const struct binding_row *r) = {
#define X(name) put_binding_##name,
    CTL_BINDING_COLUMNS(X)
#undef X
};

/* The ids are those of destinations: queues, then exchanges. */
static void bindings_begin(struct ctl_list *l)
{
    const struct meta_version *v = broker_meta(l->ctl->broker);
    const struct meta_vhost *vh = meta_vhost_get(v, l->vhost_id);
    l->count = 0;
    if (vh == NULL)
        return;
    l->ids = mem_array(vh->queues.count + vh->exchanges.count + 1, sizeof *l->ids);
    struct pmap_iter it;
    pmap_iter(&it, &vh->queues);
    const struct meta_queue *q;
    while ((q = pmap_next(&it)) != NULL)
        l->ids[l->count++] = q->qid;
    pmap_iter(&it, &vh->exchanges);
    const struct meta_exchange *x;
    while ((x = pmap_next(&it)) != NULL)
        l->ids[l->count++] = x->def->xid;
}

struct bindings_out {
    struct ctl_list *list;
    struct text *rows;
};

static void add_row(const struct bindings_out *o, struct binding_row *r)
{
    struct ctl_row out;
    r->out = &out;
    ctl_row_begin(&out, o->rows);
    for (unsigned c = 0; c < o->list->column_count; c++)
        binding_puts[o->list->columns[c]](r);
    ctl_row_end(&out);
}

static bool add_binding(void *arg, const struct meta_binding *b)
{
    const struct bindings_out *o = arg;
    struct binding_row r = {
        .source = meta_exchange_name(b->source),
        .destination = b->to_exchange ? meta_exchange_name(b->exchange) : meta_queue_name(b->queue),
        .to_exchange = b->to_exchange,
        .key = meta_binding_key(b),
        .args = meta_binding_args(b),
    };
    add_row(o, &r);
    return true;
}

static void bindings_piece(struct ctl_list *l)
{
    const struct meta_version *v = broker_meta(l->ctl->broker);
    struct text rows = ctl_list_rows();
    struct bindings_out o = { l, &rows };
    size_t count;
    const uint64_t *ids = ctl_list_next(l, &count);
    for (size_t i = 0; i < count; i++) {
        const struct meta_queue *q = meta_queue_get(v, ids[i]);
        if (q != NULL)
            add_row(&o, &(struct binding_row){ .destination = meta_queue_name(q),
                                               .key = meta_queue_name(q) });
        (void)meta_bindings_to(v, ids[i], add_binding, &o);
    }
    ctl_list_reply(l, &rows);
}

const struct ctl_lister ctl_lister_bindings = {
    .what = "bindings",
    .columns = binding_names,
    .column_count = ARRAY_COUNT(binding_names),
    .begin = bindings_begin,
    .piece = bindings_piece,
};
