#include "cluster/meta_wire.h"

#include "amqp/amqp_table.h"
#include "base/check.h"

#include <stddef.h>

#define FIELDS_MAX 10u
#define HEAD_BYTES 38u /* up to the name */

enum kind {
    NAME = 1, /* a short string */
    WORDS,    /* any octets */
    TABLE,    /* a field table */
    BIT,
    NUMBER,  /* int64_t */
    HASHING, /* enum meta_hashing */
    NODE,    /* uint16_t */
    INC,     /* uint32_t */
    TYPE,    /* enum meta_node_type */
    STATE,   /* enum meta_node_state */
};

struct field {
    enum kind kind;
    size_t at;
};

/* What each operation is called in octets, which never changes, and what it has beside its name.
 * A field more, in front or behind, is another format. */
static const struct form {
    uint8_t number;
    struct field fields[FIELDS_MAX];
} forms[] = {
#define AT(member) offsetof(struct meta_cmd, member)
#define LIMITS                                                                                     \
    {                                                                                              \
        { WORDS, AT(limits.definition) }, { WORDS, AT(limits.limit) }, { BIT, AT(limits.merge) },  \
    }
#define BINDING                                                                                    \
    {                                                                                              \
        { NAME, AT(bind.source) }, { NAME, AT(bind.destination) }, { NAME, AT(bind.key) },         \
            { TABLE, AT(bind.args) }, { BIT, AT(bind.to_exchange) },                               \
    }
#define PERMISSION                                                                                 \
    {                                                                                              \
        { WORDS, AT(permission.user) }, { WORDS, AT(permission.configure) },                       \
            { WORDS, AT(permission.write) }, { WORDS, AT(permission.read) },                       \
    }
#define TOPIC_PERMISSION                                                                           \
    {                                                                                              \
        { WORDS, AT(topic_permission.user) }, { WORDS, AT(topic_permission.exchange) },            \
            { WORDS, AT(topic_permission.write) }, { WORDS, AT(topic_permission.read) },           \
            { BIT, AT(topic_permission.every_exchange) },                                          \
    }
#define POLICY                                                                                     \
    {                                                                                              \
        { WORDS, AT(policy.pattern) }, { WORDS, AT(policy.definition) },                           \
            { WORDS, AT(policy.apply_to) }, { NUMBER, AT(policy.priority) },                       \
            { BIT, AT(policy.is_operator) },                                                       \
    }
#define PARAMETER                                                                                  \
    {                                                                                              \
        { WORDS, AT(parameter.component) }, { WORDS, AT(parameter.value) },                        \
    }
    [META_VHOST_ADD] = { 1, { { 0 } } },
    [META_VHOST_DELETE] = { 2, { { 0 } } },
    [META_EXCHANGE_DECLARE] = { 3,
                                { { NAME, AT(exchange_declare.type) },
                                  { TABLE, AT(exchange_declare.args) },
                                  { BIT, AT(exchange_declare.passive) },
                                  { BIT, AT(exchange_declare.durable) },
                                  { BIT, AT(exchange_declare.auto_delete) },
                                  { BIT, AT(exchange_declare.internal) } } },
    [META_EXCHANGE_DELETE] = { 4, { { BIT, AT(exchange_delete.if_unused) } } },
    [META_QUEUE_DECLARE] = { 5,
                             { { TABLE, AT(queue_declare.args) },
                               { BIT, AT(queue_declare.passive) },
                               { BIT, AT(queue_declare.durable) },
                               { BIT, AT(queue_declare.auto_delete) },
                               { BIT, AT(queue_declare.exclusive) },
                               { BIT, AT(queue_declare.server_named) } } },
    [META_QUEUE_DELETE] = { 6, { { 0 } } },
    [META_BIND] = { 7, BINDING },
    [META_UNBIND] = { 8, BINDING },
    [META_OWNER_GONE] = { 9, { { 0 } } },
    [META_VHOST_PUT] = { 10,
                         { { WORDS, AT(vhost.description) },
                           { WORDS, AT(vhost.tags) },
                           { WORDS, AT(vhost.default_queue_type) },
                           { BIT, AT(vhost.has_description) },
                           { BIT, AT(vhost.has_tags) },
                           { BIT, AT(vhost.has_default_queue_type) },
                           { BIT, AT(vhost.has_tracing) },
                           { BIT, AT(vhost.tracing) } } },
    [META_VHOST_LIMITS_PUT] = { 11, LIMITS },
    [META_VHOST_LIMITS_CLEAR] = { 12, LIMITS },
    [META_USER_PUT] = { 13,
                        { { WORDS, AT(user.hash) },
                          { WORDS, AT(user.tags) },
                          { WORDS, AT(user.limits) },
                          { HASHING, AT(user.hashing) },
                          { BIT, AT(user.has_hash) },
                          { BIT, AT(user.has_tags) },
                          { BIT, AT(user.has_limits) },
                          { BIT, AT(user.must_be_new) },
                          { BIT, AT(user.must_exist) } } },
    [META_USER_DELETE] = { 14, { { 0 } } },
    [META_USER_LIMITS_PUT] = { 15, LIMITS },
    [META_USER_LIMITS_CLEAR] = { 16, LIMITS },
    [META_PERMISSION_PUT] = { 17, PERMISSION },
    [META_PERMISSION_CLEAR] = { 18, PERMISSION },
    [META_TOPIC_PERMISSION_PUT] = { 19, TOPIC_PERMISSION },
    [META_TOPIC_PERMISSION_CLEAR] = { 20, TOPIC_PERMISSION },
    [META_POLICY_PUT] = { 21, POLICY },
    [META_POLICY_CLEAR] = { 22, POLICY },
    [META_PARAMETER_PUT] = { 23, PARAMETER },
    [META_PARAMETER_CLEAR] = { 24, PARAMETER },
    [META_GLOBAL_PARAMETER_PUT] = { 25, PARAMETER },
    [META_GLOBAL_PARAMETER_CLEAR] = { 26, PARAMETER },
    [META_ISR_CHANGE] = { 39, { { WORDS, AT(isr_change.items) } } },
    [META_NODE_DAMAGED] = { 50,
                            { { NODE, AT(node_damaged.node) },
                              { INC, AT(node_damaged.inc) },
                              { WORDS, AT(node_damaged.items) } } },
    [META_PAIR_LAG] = { 40,
                        { { NODE, AT(pair_lag.master) },
                          { INC, AT(pair_lag.master_inc) },
                          { NODE, AT(pair_lag.mirror) },
                          { INC, AT(pair_lag.mirror_inc) } } },
    [META_MASTER_MOVE] = { 41, { { WORDS, AT(master_move.items) } } },
    [META_REPLICAS_SET] = { 42,
                            { { WORDS, AT(replicas_set.nodes) },
                              { WORDS, AT(replicas_set.items) },
                              { BIT, AT(replicas_set.always_on_failure) },
                              { BIT, AT(replicas_set.always_on_shutdown) } } },
    [META_FORCE_PROMOTE] = { 43,
                             { { NODE, AT(force_promote.node) },
                               { NUMBER, AT(force_promote.epoch) } } },
    [META_CLUSTER_FREEZE] = { 44, { { 0 } } },
    [META_CLUSTER_THAW] = { 45, { { 0 } } },
    [META_CLUSTER_FORM] = { 27, { { 0 } } },
    [META_NODE_ADD] = { 28,
                        { { TYPE, AT(node.type) },
                          { NUMBER, AT(node.place) },
                          { NAME, AT(node.cluster_address) },
                          { NAME, AT(node.amqp_address) },
                          { NAME, AT(node.management_address) } } },
    [META_NODE_REMOVE] = { 29, { { NODE, AT(node.node) } } },
    [META_NODE_UP] = { 46,
                       { { NODE, AT(node.node) },
                         { INC, AT(node.inc) },
                         { NAME, AT(node.cluster_address) },
                         { NAME, AT(node.amqp_address) },
                         { NAME, AT(node.management_address) },
                         { NODE, AT(node.mirrors) },
                         { BIT, AT(node.lost_data) } } },
    [META_NODE_DOWN] = { 31, { { NODE, AT(node.node) }, { INC, AT(node.inc) } } },
    [META_NODE_STOPPED] = { 32, { { NODE, AT(node.node) }, { INC, AT(node.inc) } } },
    [META_NODE_DRAIN] = { 33, { { NODE, AT(node.node) }, { INC, AT(node.inc) } } },
    [META_NODE_UNWELL] = { 51, { { NODE, AT(node.node) }, { INC, AT(node.inc) } } },
    [META_NODE_WELL] = { 52, { { NODE, AT(node.node) }, { INC, AT(node.inc) } } },
    [META_NODE_TYPE] = { 34, { { NODE, AT(node.node) }, { TYPE, AT(node.type) } } },
    [META_KEPT_NODE] = { 47,
                         { { NODE, AT(node.node) },
                           { INC, AT(node.inc) },
                           { TYPE, AT(node.type) },
                           { STATE, AT(node.state) },
                           { NUMBER, AT(node.place) },
                           { NUMBER, AT(node.since) },
                           { NAME, AT(node.cluster_address) },
                           { NAME, AT(node.amqp_address) },
                           { NAME, AT(node.management_address) },
                           { NODE, AT(node.mirrors) } } },
    [META_KEPT_ORIGIN] = { 36, { { NODE, AT(kept_origin.node) }, { INC, AT(kept_origin.inc) } } },
    [META_KEPT_QUEUE] = { 37,
                          { { TABLE, AT(kept_queue.args) },
                            { BIT, AT(kept_queue.durable) },
                            { BIT, AT(kept_queue.auto_delete) },
                            { NODE, AT(kept_queue.node) },
                            { NUMBER, AT(kept_queue.epoch) } } },
    [META_KEPT_PLACEMENT] = { 48,
                              { { WORDS, AT(kept_placement.replicas) },
                                { NUMBER, AT(kept_placement.epoch) },
                                { NUMBER, AT(kept_placement.ver) },
                                { BIT, AT(kept_placement.is_damaged) },
                                { BIT, AT(kept_placement.always_on_failure) },
                                { BIT, AT(kept_placement.always_on_shutdown) } } },
    [META_KEPT_STATE] = { 49,
                          { { NUMBER, AT(kept_state.index) },
                            { NODE, AT(kept_state.last_node) },
                            { BIT, AT(kept_state.is_frozen) } } },
};

/* As they were written once: with fewer fields at the end, which are 0. */
static const struct {
    uint8_t number;
    enum meta_op op;
    unsigned fields;
} older[] = {
    { 30, META_NODE_UP, 5 },
    { 35, META_KEPT_NODE, 9 },
    { 38, META_KEPT_STATE, 2 },
};
#undef AT

_Static_assert(ARRAY_COUNT(forms) == META_KEPT_STATE + 1, "each command has a form");

static const struct form *form_of(enum meta_op op)
{
    CHECK((unsigned)op < ARRAY_COUNT(forms));
    return &forms[op];
}

static bool is_slice(enum kind kind)
{
    return kind == NAME || kind == WORDS || kind == TABLE;
}

static void *member(struct meta_cmd *cmd, const struct field *f)
{
    return (uint8_t *)cmd + f->at;
}

static const void *member_of(const struct meta_cmd *cmd, const struct field *f)
{
    return (const uint8_t *)cmd + f->at;
}

#define EACH_FIELD(f, form)                                                                        \
    for (const struct field *f = (form)->fields; f < (form)->fields + FIELDS_MAX && f->kind != 0;  \
         f++)

unsigned meta_cmd_slices(struct meta_cmd *cmd, struct slice *out[META_CMD_SLICES])
{
    unsigned n = 0;
    out[n++] = &cmd->name;
    EACH_FIELD(f, form_of(cmd->op))
    {
        if (!is_slice(f->kind))
            continue;
        CHECK(n < META_CMD_SLICES);
        out[n++] = member(cmd, f);
    }
    return n;
}

/* ---- writing ---- */

static size_t field_size(const struct meta_cmd *cmd, const struct field *f)
{
    switch (f->kind) {
    case NAME:
    case WORDS:
    case TABLE:
        return 4 + ((const struct slice *)member_of(cmd, f))->len;
    case BIT:
    case HASHING:
        return 1;
    case TYPE:
    case STATE:
        return 1;
    case NODE:
        return 2;
    case INC:
        return 4;
    case NUMBER:
        return 8;
    }
    UNREACHABLE("field");
}

size_t meta_wire_size(const struct meta_cmd *cmd)
{
    size_t size = HEAD_BYTES + 4 + cmd->name.len;
    EACH_FIELD(f, form_of(cmd->op))
    size += field_size(cmd, f);
    return size;
}

static void put_field(struct wire_out *w, const struct meta_cmd *cmd, const struct field *f)
{
    const void *m = member_of(cmd, f);
    switch (f->kind) {
    case NAME:
    case WORDS:
    case TABLE:
        wire_put_longstr(w, *(const struct slice *)m);
        return;
    case BIT:
        wire_put_u8(w, *(const bool *)m);
        return;
    case HASHING:
        wire_put_u8(w, (uint8_t) * (const enum meta_hashing *)m);
        return;
    case TYPE:
        wire_put_u8(w, (uint8_t) * (const enum meta_node_type *)m);
        return;
    case STATE:
        wire_put_u8(w, (uint8_t) * (const enum meta_node_state *)m);
        return;
    case NODE:
        wire_put_u16(w, *(const uint16_t *)m);
        return;
    case INC:
        wire_put_u32(w, *(const uint32_t *)m);
        return;
    case NUMBER:
        wire_put_u64(w, (uint64_t) * (const int64_t *)m);
        return;
    }
    UNREACHABLE("field");
}

void meta_wire_put(struct wire_out *w, const struct meta_cmd *cmd, uint64_t first_id)
{
    const struct form *form = form_of(cmd->op);
    size_t mark = wire_put_hole_u32(w);
    wire_put_u8(w, META_WIRE_FORMAT);
    wire_put_u8(w, form->number);
    wire_put_u64(w, first_id);
    wire_put_u64(w, cmd->vhost_id);
    wire_put_u64(w, cmd->conn);
    wire_put_u64(w, cmd->qid);
    wire_put_longstr(w, cmd->name);
    EACH_FIELD(f, form)
    put_field(w, cmd, f);
    wire_fill_u32(w, mark);
}

/* ---- reading ---- */

/* *fields: how many of its fields there are. */
static const struct form *form_numbered(uint8_t number, unsigned *fields)
{
    *fields = FIELDS_MAX;
    for (unsigned i = 0; i < ARRAY_COUNT(forms); i++)
        if (forms[i].number == number)
            return &forms[i];
    for (unsigned i = 0; i < ARRAY_COUNT(older); i++) {
        if (older[i].number != number)
            continue;
        *fields = older[i].fields;
        return &forms[older[i].op];
    }
    return NULL;
}

static bool take_slice(struct wire *w, enum kind kind, struct slice *out)
{
    *out = wire_longstr(w);
    switch (kind) {
    case NAME:
        return out->len <= META_NAME_MAX;
    case TABLE:
        return amqp_table_check(*out);
    case WORDS:
    case BIT:
    case NUMBER:
    case HASHING:
    case NODE:
    case INC:
    case TYPE:
    case STATE:
        return true;
    }
    UNREACHABLE("field");
}

static bool take_field(struct wire *w, struct meta_cmd *cmd, const struct field *f)
{
    void *m = member(cmd, f);
    uint8_t v;
    switch (f->kind) {
    case NAME:
    case WORDS:
    case TABLE:
        return take_slice(w, f->kind, m);
    case NUMBER:
        *(int64_t *)m = (int64_t)wire_u64(w);
        return true;
    case NODE:
        *(uint16_t *)m = wire_u16(w);
        return true;
    case INC:
        *(uint32_t *)m = wire_u32(w);
        return true;
    case BIT:
        v = wire_u8(w);
        *(bool *)m = v == 1;
        return v <= 1;
    case HASHING:
        v = wire_u8(w);
        *(enum meta_hashing *)m = (enum meta_hashing)v;
        return v <= META_HASHING_PBKDF2;
    case TYPE:
        v = wire_u8(w);
        *(enum meta_node_type *)m = (enum meta_node_type)v;
        return v < META_NODE_TYPE_COUNT;
    case STATE:
        v = wire_u8(w);
        *(enum meta_node_state *)m = (enum meta_node_state)v;
        return v < META_NODE_STATE_COUNT;
    }
    UNREACHABLE("field");
}

/* The names of what AMQP clients make are short strings; meta counts on it. Those of users, vhosts
 * and the rest it judges itself. */
static bool name_fits(const struct meta_cmd *cmd)
{
    return cmd->op > META_UNBIND || cmd->name.len <= META_NAME_MAX;
}

bool meta_wire_take(struct wire *w, struct meta_cmd *cmd, uint64_t *first_id)
{
    struct wire in = wire_over(wire_longstr(w));
    if (w->ran_out || wire_left(&in) > META_WIRE_MAX || wire_u8(&in) != META_WIRE_FORMAT)
        return false;
    unsigned fields;
    const struct form *form = form_numbered(wire_u8(&in), &fields);
    if (form == NULL)
        return false;
    memset(cmd, 0, sizeof *cmd);
    cmd->op = (enum meta_op)(form - forms);
    *first_id = wire_u64(&in);
    cmd->vhost_id = wire_u64(&in);
    cmd->conn = wire_u64(&in);
    cmd->qid = wire_u64(&in);
    cmd->name = wire_longstr(&in);
    EACH_FIELD(f, form)
    if (f < form->fields + fields && !take_field(&in, cmd, f))
        return false;
    return !in.ran_out && wire_left(&in) == 0 && name_fits(cmd);
}
