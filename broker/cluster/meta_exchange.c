#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_state.h"

#define ALTERNATE     "alternate-exchange"
#define HASH_HEADER   "hash-header"
#define HASH_PROPERTY "hash-property"

static const char *const type_names[] = {
    [META_DIRECT] = "direct",
    [META_FANOUT] = "fanout",
    [META_TOPIC] = "topic",
    [META_HEADERS] = "headers",
    [META_CONSISTENT_HASH] = "x-consistent-hash",
};

const char *meta_exchange_type_name(enum meta_exchange_type type)
{
    CHECK((unsigned)type < ARRAY_COUNT(type_names));
    return type_names[type];
}

static bool type_of(struct slice name, enum meta_exchange_type *out)
{
    for (unsigned i = 0; i < ARRAY_COUNT(type_names); i++) {
        if (!slice_is(name, type_names[i]))
            continue;
        *out = (enum meta_exchange_type)i;
        return true;
    }
    return false;
}

/* ---- checks ---- */

static enum meta_verdict verdict(bool ok, enum meta_verdict if_ok)
{
    return ok ? if_ok : META_REFUSED;
}

static enum meta_verdict default_exchange(struct meta_refusal *why)
{
    struct text t = meta_refuse(why, AMQP_ACCESS_REFUSED);
    text_str(&t, "operation not permitted on the default exchange");
    return META_REFUSED;
}

/* Is the declaration the same as what is there? Asked in RabbitMQ's order. */
static bool is_same(const struct meta_vhost *vh, const struct meta_exchange_def *d,
                    const struct meta_cmd *cmd, enum meta_exchange_type type,
                    struct meta_refusal *why)
{
    const char *kind = "exchange";
    struct slice name = cmd->name;
    return meta_same_word("type", kind, name, vh, type_names[type], type_names[d->type], why) &&
           meta_same_bool("durable", kind, name, vh, cmd->exchange_declare.durable, d->durable,
                          why) &&
           meta_same_bool("auto_delete", kind, name, vh, cmd->exchange_declare.auto_delete,
                          d->auto_delete, why) &&
           meta_same_bool("internal", kind, name, vh, cmd->exchange_declare.internal, d->internal,
                          why) &&
           meta_same_arg(ALTERNATE, kind, name, vh, cmd->exchange_declare.args,
                         meta_exchange_args(d), why);
}

static bool is_string(const struct meta_vhost *vh, const struct meta_cmd *cmd, const char *arg,
                      struct meta_refusal *why)
{
    struct amqp_field f;
    if (!amqp_table_find(cmd->exchange_declare.args, arg, &f) || f.type == AMQP_FIELD_LONGSTR)
        return true;
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    text_put(&t, "invalid type '%s' for arg '%s' in ", amqp_field_type_name(f.type), arg);
    meta_put_thing(&t, "exchange", cmd->name, vh);
    return false;
}

static bool hash_args_suit(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                           struct meta_refusal *why)
{
    struct slice args = cmd->exchange_declare.args;
    if (!is_string(vh, cmd, HASH_HEADER, why) || !is_string(vh, cmd, HASH_PROPERTY, why))
        return false;
    struct slice property = amqp_table_longstr(args, HASH_PROPERTY);
    if (property.ptr == NULL)
        return true;
    struct text t = meta_refuse(why, AMQP_PRECONDITION_FAILED);
    if (amqp_table_longstr(args, HASH_HEADER).ptr != NULL) {
        text_str(&t, "hash-header and hash-property are mutually exclusive");
        return false;
    }
    text_str(&t, "Unsupported property: ");
    text_slice(&t, property);
    return slice_is(property, "message_id") || slice_is(property, "correlation_id") ||
           slice_is(property, "timestamp");
}

static bool may_be_made(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                        enum meta_exchange_type type, struct meta_refusal *why)
{
    if (slice_starts(cmd->name, "amq.")) {
        struct text t = meta_refuse(why, AMQP_ACCESS_REFUSED);
        text_str(&t, "exchange name '");
        text_slice(&t, cmd->name);
        text_str(&t, "' contains reserved prefix 'amq.*'");
        return false;
    }
    return is_string(vh, cmd, ALTERNATE, why) &&
           (type != META_CONSISTENT_HASH || hash_args_suit(vh, cmd, why));
}

static enum meta_verdict declare_check(const struct meta_version *v, const struct meta_vhost *vh,
                                       const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_refusal *why = &out->refusal;
    enum meta_exchange_type type = META_DIRECT;
    if (!cmd->exchange_declare.passive && !type_of(cmd->exchange_declare.type, &type)) {
        struct text t = meta_refuse(why, AMQP_COMMAND_INVALID);
        text_str(&t, cmd->exchange_declare.type.len == 0 ? "invalid exchange type '"
                                                         : "unknown exchange type '");
        text_slice(&t, cmd->exchange_declare.type);
        text_char(&t, '\'');
        return META_REFUSED;
    }
    if (cmd->name.len == 0)
        return default_exchange(why);

    const struct meta_exchange *x = meta_exchange_find(v, vh, cmd->name);
    if (x != NULL) {
        out->id = x->def->xid;
        return verdict(cmd->exchange_declare.passive || is_same(vh, x->def, cmd, type, why),
                       META_DONE);
    }
    if (cmd->exchange_declare.passive)
        return verdict(meta_no_exchange(vh, cmd->name, why), META_DONE);
    return verdict(may_be_made(vh, cmd, type, why), META_CHANGE);
}

static enum meta_verdict delete_check(const struct meta_version *v, const struct meta_vhost *vh,
                                      const struct meta_cmd *cmd, struct meta_result *out)
{
    if (cmd->name.len == 0)
        return default_exchange(&out->refusal);
    if (slice_starts(cmd->name, "amq.")) {
        struct text t = meta_refuse(&out->refusal, AMQP_ACCESS_REFUSED);
        text_str(&t, "deletion of system ");
        meta_put_thing(&t, "exchange", cmd->name, vh);
        text_str(&t, " not allowed");
        return META_REFUSED;
    }
    const struct meta_exchange *x = meta_exchange_find(v, vh, cmd->name);
    if (x == NULL)
        return META_DONE;
    out->id = x->def->xid;
    if (cmd->exchange_delete.if_unused && x->binding_count != 0) {
        struct text t = meta_refuse(&out->refusal, AMQP_PRECONDITION_FAILED);
        meta_put_thing(&t, "exchange", cmd->name, vh);
        text_str(&t, " in use");
        return META_REFUSED;
    }
    return META_CHANGE;
}

enum meta_verdict meta_exchange_check(const struct meta_version *v, const struct meta_vhost *vh,
                                      const struct meta_cmd *cmd, struct meta_result *out)
{
    return cmd->op == META_EXCHANGE_DECLARE ? declare_check(v, vh, cmd, out)
                                            : delete_check(v, vh, cmd, out);
}

/* ---- changes ---- */

static size_t def_bytes(const struct meta_exchange_def *d)
{
    return sizeof *d + d->name_bytes + d->args_bytes;
}

static void read_hash_args(struct meta_exchange_def *d)
{
    struct slice args = meta_exchange_args(d);
    struct slice header = amqp_table_longstr(args, HASH_HEADER);
    struct slice property = amqp_table_longstr(args, HASH_PROPERTY);
    if (header.ptr != NULL)
        d->hash_on = META_HASH_ON_HEADER;
    else if (property.ptr != NULL)
        d->hash_on = META_HASH_ON_PROPERTY;
    d->hash_name = header.ptr != NULL ? header : property;
}

static const struct meta_exchange_def *def_make(struct meta *m, const struct meta_cmd *cmd)
{
    struct slice name = cmd->name;
    struct slice args = cmd->exchange_declare.args;
    CHECK(name.len <= META_NAME_MAX && args.len <= UINT32_MAX);
    struct meta_exchange_def *d = pmap_edit_alloc(&m->edit, sizeof *d + name.len + args.len);
    *d = (struct meta_exchange_def){
        .xid = ++m->draft.last_id,
        .vhost_id = cmd->vhost_id,
        .durable = cmd->exchange_declare.durable,
        .auto_delete = cmd->exchange_declare.auto_delete,
        .internal = cmd->exchange_declare.internal,
        .name_bytes = (uint8_t)name.len,
        .args_bytes = (uint32_t)args.len,
    };
    bool known = type_of(cmd->exchange_declare.type, &d->type);
    CHECK(known);
    if (name.len != 0)
        memcpy(d->bytes, name.ptr, name.len);
    if (args.len != 0)
        memcpy(d->bytes + name.len, args.ptr, args.len);
    d->alternate = amqp_table_longstr(meta_exchange_args(d), ALTERNATE);
    if (d->type == META_CONSISTENT_HASH)
        read_hash_args(d);
    return d;
}

void meta_exchange_add(struct meta *m, const struct meta_cmd *cmd)
{
    struct meta_vhost *vh = meta_vhost_own(m, cmd->vhost_id);
    struct meta_exchange *x = pmap_edit_alloc(&m->edit, sizeof *x);
    const struct meta_exchange_def *d = def_make(m, cmd);
    *x = (struct meta_exchange){ .def = d,
                                 .tag = m->edit.tag,
                                 .alternate = meta_policy_alternate(vh, d) };
    const void *old = pmap_set(&vh->exchanges, &m->kinds.exchanges, &m->edit, x);
    CHECK(old == NULL);
    m->draft.things += meta_digest_exchange(d);
    m->exchange_count++;
    m->routes_changed = true;
}

struct meta_exchange *meta_exchange_own(struct meta *m, const struct meta_exchange_def *def)
{
    struct meta_vhost *vh = meta_vhost_own(m, def->vhost_id);
    const struct meta_exchange *x = meta_exchange_find(&m->draft, vh, meta_exchange_name(def));
    if (x == NULL || x->def != def)
        return NULL;
    if (x->tag == m->edit.tag)
        return (struct meta_exchange *)(uintptr_t)x;
    struct meta_exchange *copy = pmap_edit_alloc(&m->edit, sizeof *copy);
    *copy = *x;
    copy->tag = m->edit.tag;
    pmap_set(&vh->exchanges, &m->kinds.exchanges, &m->edit, copy);
    pmap_edit_drop(&m->edit, x, sizeof *x, x->tag);
    return copy;
}

void meta_exchange_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    if (cmd->op == META_EXCHANGE_DECLARE) {
        meta_exchange_add(m, cmd);
        out->id = m->draft.last_id;
        return;
    }
    uint64_t xid = out->id;
    const struct meta_vhost *vh = meta_vhost_get(&m->draft, cmd->vhost_id);
    meta_exchange_delete(m, meta_exchange_find(&m->draft, vh, cmd->name));
    meta_unbind_destination(m, xid);
}

void meta_exchange_drop(struct meta *m, const struct meta_exchange *x)
{
    const struct meta_exchange_def *d = x->def;
    m->draft.things -= meta_digest_exchange(d);
    pmap_edit_drop(&m->edit, x, sizeof *x, x->tag);
    pmap_edit_drop(&m->edit, d, def_bytes(d), 0);
}

void meta_exchange_delete(struct meta *m, const struct meta_exchange *x)
{
    const struct meta_exchange_def *d = x->def;
    struct meta_exchange *mine = meta_exchange_own(m, d);
    CHECK(mine != NULL);
    meta_unbind_source(m, mine);

    struct meta_vhost *vh = meta_vhost_own(m, d->vhost_id);
    struct slice name = meta_exchange_name(d);
    const void *gone = pmap_del(&vh->exchanges, &m->kinds.exchanges, &m->edit,
                                meta_hash_name(&m->kinds.exchanges, name), &name);
    CHECK(gone == mine);
    meta_exchange_drop(m, mine);
    m->exchange_count--;
    m->routes_changed = true;
}

/* Those of a vhost, for as long as nothing is published. */
static const struct meta_exchange_def **list_transient(const struct meta_vhost *vh, size_t *count)
{
    const struct meta_exchange_def **list =
        mem_array(vh->exchanges.count + 1, sizeof(const struct meta_exchange_def *));
    struct pmap_iter it;
    pmap_iter(&it, &vh->exchanges);
    *count = 0;
    for (const struct meta_exchange *x; (x = pmap_next(&it)) != NULL;)
        if (!x->def->durable)
            list[(*count)++] = x->def;
    return list;
}

/* Another one may go with one of them, by auto-delete: then it is not there any more. */
static void delete_listed(struct meta *m, const struct meta_exchange_def *d)
{
    const struct meta_exchange *x = meta_exchange_own(m, d);
    if (x == NULL)
        return;
    uint64_t xid = d->xid;
    meta_exchange_delete(m, x);
    meta_unbind_destination(m, xid);
}

void meta_transient_exchanges_delete(struct meta *m)
{
    struct pmap vhosts = m->draft.vhosts;
    uint64_t *ids = mem_array(vhosts.count + 1, sizeof *ids);
    size_t vhost_count = 0;
    struct pmap_iter it;
    pmap_iter(&it, &vhosts);
    for (const struct meta_vhost *vh; (vh = pmap_next(&it)) != NULL;)
        ids[vhost_count++] = vh->vhost_id;
    for (size_t i = 0; i < vhost_count; i++) {
        size_t count;
        const struct meta_exchange_def **list =
            list_transient(meta_vhost_get(&m->draft, ids[i]), &count);
        for (size_t k = 0; k < count; k++)
            delete_listed(m, list[k]);
        mem_free(list);
    }
    mem_free(ids);
}
