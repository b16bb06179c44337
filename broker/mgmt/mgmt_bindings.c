#include "base/mem.h"
#include "mgmt/mgmt_definitions.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)256 * 1024)

/* ---- what was found, in memory of its own: there may be a million -------------------------------
 */

struct block {
    struct block *next;
    size_t used;
    uint8_t bytes[BLOCK_BYTES];
};

struct source {
    struct slice vhost;
    struct slice name;
};

/* A binding, or the one that every queue has to the default exchange without anybody saying so. */
struct row {
    const uint8_t *bytes; /* destination, routing key, arguments */
    uint32_t source;
    uint32_t args_bytes;
    uint8_t destination_bytes;
    uint8_t key_bytes;
    bool to_exchange;
};

struct found {
    struct mgmt_source base;
    struct block *blocks;
    struct source *sources;
    uint32_t source_count;
    struct row *rows;
    size_t cap;
    /* while it is gathered */
    const struct meta_version *v;
    const struct meta_vhost *vh;
    uint64_t to; /* to this destination alone; 0: to all */
};

static struct slice destination_of(const struct row *r)
{
    return slice_of(r->bytes, r->destination_bytes);
}

static struct slice key_of(const struct row *r)
{
    return slice_of(r->bytes + r->destination_bytes, r->key_bytes);
}

static struct slice args_of(const struct row *r)
{
    return slice_of(r->bytes + r->destination_bytes + r->key_bytes, r->args_bytes);
}

/* Room in a block; a piece that is larger than that gets one of its own size. */
static uint8_t *room(struct found *f, size_t octets)
{
    struct block *b = f->blocks;
    if (b == NULL || octets > BLOCK_BYTES - b->used) {
        size_t more = octets > BLOCK_BYTES ? octets - BLOCK_BYTES : 0;
        b = mem_alloc(sizeof *b + more);
        b->used = 0;
        b->next = f->blocks;
        f->blocks = b;
    }
    uint8_t *at = b->bytes + b->used;
    b->used = octets > BLOCK_BYTES - b->used ? BLOCK_BYTES : b->used + octets;
    return at;
}

static struct slice keep(struct found *f, struct slice s)
{
    uint8_t *at = room(f, s.len);
    if (s.len != 0)
        memcpy(at, s.ptr, s.len);
    return slice_of(at, s.len);
}

static void free_found(struct found *f)
{
    struct block *b;
    while ((b = f->blocks) != NULL) {
        f->blocks = b->next;
        mem_free(b);
    }
    mem_free(f->sources);
    mem_free(f->rows);
    mem_free(f);
}

static uint32_t source_of(struct found *f, struct slice name)
{
    struct slice vhost = meta_vhost_name(f->vh);
    const struct source *last = f->source_count != 0 ? &f->sources[f->source_count - 1] : NULL;
    if (last != NULL && slice_eq(last->name, name) && slice_eq(last->vhost, vhost))
        return f->source_count - 1;
    f->sources = mem_realloc(f->sources, (f->source_count + 1) * sizeof *f->sources);
    f->sources[f->source_count] = (struct source){ keep(f, vhost), keep(f, name) };
    return f->source_count++;
}

struct entry {
    struct slice source;
    struct slice destination;
    struct slice key;
    struct slice args;
    bool to_exchange;
};

static void add(struct found *f, const struct entry *e)
{
    if (f->base.count == f->cap) {
        f->cap = f->cap != 0 ? f->cap * 2 : 64;
        f->rows = mem_realloc(f->rows, f->cap * sizeof *f->rows);
    }
    struct row *r = &f->rows[f->base.count++];
    *r = (struct row){ .source = source_of(f, e->source),
                       .args_bytes = (uint32_t)e->args.len,
                       .destination_bytes = (uint8_t)e->destination.len,
                       .key_bytes = (uint8_t)e->key.len,
                       .to_exchange = e->to_exchange };
    uint8_t *at = room(f, e->destination.len + e->key.len + e->args.len);
    r->bytes = at;
    const struct slice parts[] = { e->destination, e->key, e->args };
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (parts[i].len != 0)
            memcpy(at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
}

/* ---- gathering ---- */

static bool on_binding(void *arg, const struct meta_binding *b)
{
    struct found *f = arg;
    if (f->to != 0 && f->to != (b->to_exchange ? b->exchange->xid : b->queue->qid))
        return true;
    add(f, &(struct entry){ .source = meta_exchange_name(b->source),
                            .destination = b->to_exchange ? meta_exchange_name(b->exchange)
                                                          : meta_queue_name(b->queue),
                            .key = meta_binding_key(b),
                            .args = meta_binding_args(b),
                            .to_exchange = b->to_exchange });
    return true;
}

static void add_default(struct found *f, const struct meta_queue *q)
{
    add(f, &(struct entry){ .source = slice_str(""),
                            .destination = meta_queue_name(q),
                            .key = meta_queue_name(q) });
}

static void add_from(struct found *f, const struct meta_exchange *x)
{
    if (x->def->name_bytes != 0) {
        meta_bindings_from(x, on_binding, f);
        return;
    }
    struct pmap_iter it;
    pmap_iter(&it, &f->vh->queues);
    const struct meta_queue *q;
    while ((q = pmap_next(&it)) != NULL) {
        if (f->to == 0 || f->to == q->qid)
            add_default(f, q);
    }
}

static void add_vhost(struct found *f)
{
    struct pmap_iter it;
    pmap_iter(&it, &f->vh->exchanges);
    const struct meta_exchange *x;
    while ((x = pmap_next(&it)) != NULL)
        add_from(f, x);
}

/* ---- order ---- */

static int compare_sources(const struct source *a, const struct source *b)
{
    int order = slice_cmp(a->vhost, b->vhost);
    return order != 0 ? order : slice_cmp(a->name, b->name);
}

struct numbered_source {
    struct source source;
    uint32_t was;
};

static int compare_numbered(const void *left, const void *right)
{
    const struct numbered_source *a = left;
    const struct numbered_source *b = right;
    return compare_sources(&a->source, &b->source);
}

/* Sources get numbers in the order of their names; two of one name get the same. */
static void number_sources(struct found *f)
{
    struct numbered_source *all = mem_array((size_t)f->source_count + 1, sizeof *all);
    uint32_t *now = mem_array((size_t)f->source_count + 1, sizeof *now);
    for (uint32_t i = 0; i < f->source_count; i++)
        all[i] = (struct numbered_source){ f->sources[i], i };
    qsort(all, f->source_count, sizeof *all, compare_numbered);
    uint32_t number = 0;
    for (uint32_t i = 0; i < f->source_count; i++) {
        if (i == 0 || compare_sources(&all[i].source, &all[i - 1].source) != 0)
            f->sources[number++] = all[i].source;
        now[all[i].was] = number - 1;
    }
    for (uint32_t i = 0; i < f->base.count; i++)
        f->rows[i].source = now[f->rows[i].source];
    mem_free(all);
    mem_free(now);
}

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left;
    const struct row *b = right;
    int order = (a->source > b->source) - (a->source < b->source);
    if (order == 0)
        order = slice_cmp(destination_of(a), destination_of(b));
    if (order == 0)
        order = slice_cmp(key_of(a), key_of(b));
    return order != 0 ? order : slice_cmp(args_of(a), args_of(b));
}

static void put_in_order(struct found *f)
{
    number_sources(f);
    if (f->base.count > 1)
        qsort(f->rows, f->base.count, sizeof *f->rows, compare_rows);
}

/* ---- as JSON ---- */

#define PROPERTIES_ROOM (3 * META_NAME_MAX + 32)

static struct slice properties_of(const struct row *r, struct text *room)
{
    mgmt_json_properties_key(key_of(r), args_of(r), room);
    return text_view(room);
}

static json_t *binding(const struct found *f, const struct row *r)
{
    char octets[PROPERTIES_ROOM];
    struct text key = text_over(octets, sizeof octets);
    const struct source *s = &f->sources[r->source];
    json_t *o = json_object();
    json_out_put(o, "source", json_out_text(s->name));
    json_out_put(o, "vhost", json_out_text(s->vhost));
    json_out_put(o, "destination", json_out_text(destination_of(r)));
    json_out_put_str(o, "destination_type", r->to_exchange ? "exchange" : "queue");
    json_out_put(o, "routing_key", json_out_text(key_of(r)));
    json_out_put(o, "arguments", mgmt_json_table(args_of(r)));
    json_out_put(o, "properties_key", json_out_text(properties_of(r, &key)));
    return o;
}

static json_t *render(struct mgmt_source *s, uint32_t row, uint32_t nth)
{
    (void)nth;
    const struct found *f = CONTAINER_OF(s, struct found, base);
    return binding(f, &f->rows[row]);
}

static void free_source(struct mgmt_source *s)
{
    free_found(CONTAINER_OF(s, struct found, base));
}

static struct found *found_new(const struct mgmt_call *c)
{
    struct found *f = mem_zalloc(sizeof *f);
    f->base.render = render;
    f->base.free = free_source;
    f->v = mgmt_meta(c);
    f->vh = mgmt_vhost(c);
    return f;
}

static void reply(struct mgmt_call *c, struct found *f)
{
    if (!mgmt_read_list(c)) {
        free_found(f);
        return;
    }
    put_in_order(f);
    mgmt_listing_start(c, &f->base);
}

/* ---- lists ---- */

void mgmt_serve_bindings(struct mgmt_call *c)
{
    size_t count;
    const struct meta_vhost **vhosts = mgmt_vhosts(c, &count);
    struct found *f = found_new(c);
    for (size_t i = 0; i < count; i++) {
        f->vh = vhosts[i];
        add_vhost(f);
    }
    mem_free(vhosts);
    reply(c, f);
}

static json_t *render_definition(struct mgmt_source *s, uint32_t row, uint32_t nth)
{
    json_t *o = render(s, row, nth);
    json_object_del(o, "properties_key");
    return o;
}

static bool on_binding_to_keep(void *arg, const struct meta_binding *b)
{
    bool is_private = !b->to_exchange && b->queue->owner != 0;
    return is_private || on_binding(arg, b);
}

struct mgmt_source *mgmt_binding_definitions(const struct mgmt_call *c,
                                             const struct meta_vhost *const *vhosts, size_t count)
{
    struct found *f = found_new(c);
    f->base.render = render_definition;
    for (size_t i = 0; i < count; i++) {
        f->vh = vhosts[i];
        struct pmap_iter it;
        pmap_iter(&it, &f->vh->exchanges);
        const struct meta_exchange *x;
        while ((x = pmap_next(&it)) != NULL) {
            if (x->def->name_bytes != 0)
                meta_bindings_from(x, on_binding_to_keep, f);
        }
    }
    put_in_order(f);
    return &f->base;
}

void mgmt_reply_bindings_to(struct mgmt_call *c, uint64_t id)
{
    struct found *f = found_new(c);
    if (f->vh == NULL) {
        free_found(f);
        mgmt_not_found(c); /* it went meanwhile */
        return;
    }
    const struct meta_queue *q = meta_queue_get(f->v, id);
    if (q != NULL)
        add_default(f, q);
    meta_bindings_to(f->v, id, on_binding, f);
    reply(c, f);
}

void mgmt_reply_bindings_from(struct mgmt_call *c, const struct meta_exchange *x)
{
    struct found *f = found_new(c);
    if (f->vh == NULL) {
        free_found(f);
        mgmt_not_found(c); /* it went meanwhile */
        return;
    }
    add_from(f, x);
    reply(c, f);
}

/* ---- /api/bindings/VHOST/e/SOURCE/(e|q)/DESTINATION[/PROPS] ---- */

enum { ARG_SOURCE = 1, ARG_KIND, ARG_TO, ARG_PROPS };

/* NULL: one of the two is not there, and it is answered. */
static struct found *between(struct mgmt_call *c)
{
    struct slice kind = mgmt_arg(c, ARG_KIND);
    const struct meta_version *v = mgmt_meta(c);
    const struct meta_vhost *vh = mgmt_vhost(c);
    bool to_exchange = slice_is(kind, "e");
    const struct meta_exchange *x =
        vh != NULL ? meta_exchange_find(v, vh, mgmt_exchange_named(mgmt_arg(c, ARG_SOURCE))) : NULL;
    uint64_t id = 0;
    if (x != NULL && to_exchange) {
        const struct meta_exchange *to =
            meta_exchange_find(v, vh, mgmt_exchange_named(mgmt_arg(c, ARG_TO)));
        id = to != NULL ? to->def->xid : 0;
    } else if (x != NULL && slice_is(kind, "q")) {
        const struct meta_queue *q = meta_queue_find(v, vh, mgmt_arg(c, ARG_TO));
        id = q != NULL ? q->qid : 0;
    }
    if (id == 0) {
        mgmt_not_found(c);
        return NULL;
    }
    struct found *f = found_new(c);
    f->vh = vh;
    f->to = id;
    add_from(f, x);
    return f;
}

void mgmt_serve_bindings_between(struct mgmt_call *c)
{
    struct found *f = between(c);
    if (f != NULL)
        reply(c, f);
}

/* Is it this key? What `known` escapes may be written as it is. */
static bool is_key(struct slice known, struct slice given)
{
    for (size_t i = 0; i < given.len; i++) {
        char octets[4];
        struct text code = text_over(octets, sizeof octets);
        if (known.len != 0 && known.ptr[0] == given.ptr[i])
            text_char(&code, (char)given.ptr[i]);
        else
            text_put(&code, "%%%02X", given.ptr[i]);
        if (!slice_eq(slice_head(known, code.len), text_view(&code)))
            return false;
        known = slice_from(known, code.len);
    }
    return known.len == 0;
}

/* The row that the path's properties key names, or NULL: answered, and f is freed. */
static const struct row *row_of_props(struct mgmt_call *c, struct found *f)
{
    put_in_order(f);
    for (uint32_t i = 0; i < f->base.count; i++) {
        char octets[PROPERTIES_ROOM];
        struct text key = text_over(octets, sizeof octets);
        if (is_key(properties_of(&f->rows[i], &key), mgmt_arg(c, ARG_PROPS)))
            return &f->rows[i];
    }
    free_found(f);
    mgmt_not_found(c);
    return NULL;
}

void mgmt_serve_binding(struct mgmt_call *c)
{
    struct found *f = between(c);
    const struct row *r = f != NULL ? row_of_props(c, f) : NULL;
    if (r == NULL)
        return;
    json_t *o = binding(f, r);
    free_found(f);
    mgmt_reply_object(c, o);
}

static struct meta_cmd command(const struct mgmt_call *c, enum meta_op op)
{
    struct meta_cmd cmd = { .op = op, .vhost_id = c->vhost_id };
    cmd.bind.source = mgmt_exchange_named(mgmt_arg(c, ARG_SOURCE));
    cmd.bind.to_exchange = slice_is(mgmt_arg(c, ARG_KIND), "e");
    cmd.bind.destination =
        cmd.bind.to_exchange ? mgmt_exchange_named(mgmt_arg(c, ARG_TO)) : mgmt_arg(c, ARG_TO);
    return cmd;
}

void mgmt_serve_binding_delete(struct mgmt_call *c)
{
    struct found *f = between(c);
    const struct row *r = f != NULL ? row_of_props(c, f) : NULL;
    if (r == NULL)
        return;
    struct meta_cmd cmd = command(c, META_UNBIND);
    cmd.bind.key = key_of(r);
    cmd.bind.args = args_of(r);
    mgmt_change(c, &cmd, 204);
    free_found(f);
}

static void on_bound(struct mgmt_call *c, uint64_t id)
{
    (void)id;
    http_reply_header(c->r, "Location", (const char *)c->word.ptr);
    mgmt_reply_empty(c, 201);
}

/* Where the new binding is, relative to where it was asked for. */
static char *location_of(const struct meta_cmd *cmd)
{
    char octets[PROPERTIES_ROOM], where[9 * META_NAME_MAX + 128];
    struct text key = text_over(octets, sizeof octets), t = text_over(where, sizeof where);
    mgmt_json_properties_key(cmd->bind.key, cmd->bind.args, &key);
    mgmt_json_percent(cmd->bind.destination, &t);
    text_char(&t, '/');
    mgmt_json_percent(text_view(&key), &t);
    return mem_strdup(where);
}

void mgmt_serve_binding_post(struct mgmt_call *c)
{
    struct meta_cmd cmd = command(c, META_BIND);
    uint8_t *table = NULL;
    struct slice kind = mgmt_arg(c, ARG_KIND);
    if (!slice_is(kind, "e") && !slice_is(kind, "q")) {
        mgmt_not_found(c);
        return;
    }
    if (!mgmt_read_body(c) || !mgmt_member_text(c, "routing_key", &cmd.bind.key) ||
        !mgmt_member_table(c, "arguments", &table, &cmd.bind.args))
        return;
    if (cmd.bind.key.len > META_NAME_MAX) {
        mem_free(table);
        mgmt_bad_request(c, "routing key longer than %u octets", META_NAME_MAX);
        return;
    }
    c->data = location_of(&cmd);
    c->word = slice_str(c->data);
    mgmt_change_then(c, &cmd, on_bound);
    mem_free(table);
}
