#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/mutation.h"
#include "cluster/meta_state.h"

/* What is wrong with a command that no client can send is told by an HTTP status, see meta.h. */
#define CONFLICT 409u

/* By rising number; replaced when one of them is. */
struct meta_node_list {
    uint64_t tag;
    size_t count;
    const struct meta_node *nodes[];
};

static const char *const type_names[] = {
#define X(name, text) [META_NODE_##name] = (text),
    META_NODE_TYPES(X)
#undef X
};
_Static_assert(ARRAY_COUNT(type_names) == META_NODE_TYPE_COUNT, "types of nodes");

static const char *const state_names[] = {
#define X(name, text) [META_NODE_##name] = (text),
    META_NODE_STATES(X)
#undef X
};

_Static_assert(ARRAY_COUNT(state_names) == META_NODE_STATE_COUNT, "states of nodes");

const char *meta_node_type_name(enum meta_node_type type)
{
    CHECK((unsigned)type < ARRAY_COUNT(type_names));
    return type_names[type];
}

const char *meta_node_state_name(enum meta_node_state state)
{
    CHECK((unsigned)state < ARRAY_COUNT(state_names));
    return state_names[state];
}

/* ---- reading ---- */

size_t meta_node_count(const struct meta_version *v)
{
    return v->nodes != NULL ? v->nodes->count : 0;
}

const struct meta_node *meta_node_at(const struct meta_version *v, size_t index)
{
    CHECK(index < meta_node_count(v));
    return v->nodes->nodes[index];
}

/* The first whose number is not below: where it is, or would be. */
static size_t place_of(const struct meta_version *v, uint16_t node)
{
    size_t low = 0, high = meta_node_count(v);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (v->nodes->nodes[middle]->node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct meta_node *meta_node_get(const struct meta_version *v, uint16_t node)
{
    size_t at = place_of(v, node);
    const struct meta_node *n = at < meta_node_count(v) ? meta_node_at(v, at) : NULL;
    return n != NULL && n->node == node ? n : NULL;
}

const struct meta_node *meta_node_find(const struct meta_version *v, struct slice name)
{
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (slice_eq(meta_node_at(v, i)->name, name))
            return meta_node_at(v, i);
    return NULL;
}

bool meta_node_is_serving(const struct meta_node *n)
{
    return meta_node_is_fit(n) || n->state == META_NODE_IS_UNWELL;
}

bool meta_node_is_fit(const struct meta_node *n)
{
    return n->state == META_NODE_IS_UP || n->state == META_NODE_IS_DRAINING;
}

bool meta_node_is_host(const struct meta_node *n)
{
    return n->type != META_NODE_WITNESS && meta_node_is_serving(n);
}

bool meta_home_is_down(const struct meta_version *v, const struct meta_queue *q,
                       struct meta_refusal *why)
{
    const struct meta_node *n = meta_node_get(v, meta_queue_master(v, q));
    struct text t = meta_refuse(why, AMQP_NOT_FOUND);
    text_str(&t, "home node '");
    text_slice(&t, n != NULL ? n->name : slice_str("nonode"));
    text_str(&t, "' of durable ");
    meta_put_thing(&t, "queue", meta_queue_name(q), meta_vhost_get(v, q->vhost_id));
    text_str(&t, " is down or inaccessible");
    return false;
}

bool meta_queue_is_at_hand(const struct meta_version *v, const struct meta_queue *q,
                           struct meta_refusal *why)
{
    return meta_queue_is_served(v, q) || meta_home_is_down(v, q, why);
}

/* ---- checks ---- */

static enum meta_verdict refused(struct meta_refusal *why, unsigned code, struct slice name,
                                 const char *what)
{
    struct text t = meta_refuse(why, code);
    text_str(&t, "node '");
    text_slice(&t, name);
    text_put(&t, "' %s", what);
    return META_REFUSED;
}

static bool is_last_disc(const struct meta_version *v, const struct meta_node *n)
{
    size_t others = 0;
    for (size_t i = 0; i < meta_node_count(v); i++)
        others += meta_node_at(v, i)->type == META_NODE_DISC && meta_node_at(v, i) != n;
    return others == 0 && !MUTATION(META_LAST_DISC_GOES) &&
           (n == NULL || n->type == META_NODE_DISC);
}

/* The same place may ask again; another one under an old name has to be told apart from it. */
static enum meta_verdict add_check(const struct meta_version *v, const struct meta_cmd *cmd,
                                   struct meta_result *out)
{
    const struct meta_node *n = meta_node_find(v, cmd->name);
    if (n != NULL && cmd->node.place != 0 && n->place != 0 && cmd->node.place != n->place)
        return refused(&out->refusal, CONFLICT, cmd->name,
                       "is a member of the cluster already, with other data");
    if (n != NULL) {
        out->id = n->node;
        return META_DONE;
    }
    if (cmd->name.len == 0 || cmd->name.len > META_NAME_MAX)
        return refused(&out->refusal, 400, slice_head(cmd->name, META_NAME_MAX),
                       "has no name that a node can have");
    if (cmd->node.type != META_NODE_DISC && is_last_disc(v, NULL))
        return refused(&out->refusal, CONFLICT, cmd->name,
                       "would be the first and is no disc node");
    if (meta_node_count(v) == META_NODES_MAX || v->last_node == UINT16_MAX)
        return refused(&out->refusal, CONFLICT, cmd->name, "is one too many for a cluster");
    return META_CHANGE;
}

static bool says_anew(const struct meta_node *n, const struct meta_cmd *cmd)
{
    return (cmd->node.cluster_address.len != 0 &&
            !slice_eq(cmd->node.cluster_address, n->cluster_address)) ||
           (cmd->node.amqp_address.len != 0 &&
            !slice_eq(cmd->node.amqp_address, n->amqp_address)) ||
           (cmd->node.management_address.len != 0 &&
            !slice_eq(cmd->node.management_address, n->management_address)) ||
           cmd->node.mirrors != n->mirrors;
}

static enum meta_verdict type_check(const struct meta_version *v, const struct meta_node *n,
                                    const struct meta_cmd *cmd, struct meta_result *out)
{
    if (n->type == cmd->node.type)
        return META_DONE;
    if (is_last_disc(v, n))
        return refused(&out->refusal, CONFLICT, n->name, "is the only disc node");
    if (cmd->node.type == META_NODE_WITNESS &&
        meta_node_queue_count(v, n->node) + meta_node_mirror_count(v, n->node) != 0)
        return refused(&out->refusal, CONFLICT, n->name, "has queues: it cannot be a witness");
    return META_CHANGE;
}

static enum meta_verdict change_if(bool changes)
{
    return changes ? META_CHANGE : META_DONE;
}

static enum meta_verdict known_check(const struct meta_version *v, const struct meta_node *n,
                                     const struct meta_cmd *cmd, struct meta_result *out)
{
    bool same = cmd->node.inc == n->inc && n->inc != 0;
    bool same_down = same || MUTATION(META_OLD_DOWN);
    bool is_new = cmd->node.inc > n->inc || MUTATION(META_OLD_UP);
    bool serves = meta_node_is_serving(n);
    if (cmd->op == META_NODE_REMOVE)
        return is_last_disc(v, n)
                   ? refused(&out->refusal, CONFLICT, n->name, "is the only disc node")
                   : META_CHANGE;
    if (cmd->op == META_NODE_TYPE)
        return type_check(v, n, cmd, out);
    if (cmd->op == META_NODE_DOWN)
        return change_if(same_down && serves);
    if (cmd->op == META_NODE_STOPPED)
        return change_if(same && n->state != META_NODE_IS_STOPPED);
    if (cmd->op == META_NODE_DRAIN)
        return change_if(same && (n->state == META_NODE_IS_UP || n->state == META_NODE_IS_UNWELL));
    if (cmd->op == META_NODE_UNWELL)
        return change_if(same && (n->state == META_NODE_IS_UP || meta_unwell_is_due(v, n)));
    if (cmd->op == META_NODE_WELL)
        return change_if(same && n->state == META_NODE_IS_UNWELL);
    CHECK(cmd->op == META_NODE_UP);
    bool is_up = n->state == META_NODE_IS_UP || n->state == META_NODE_IS_UNWELL;
    return change_if(is_new || (same && (!is_up || says_anew(n, cmd))));
}

enum meta_verdict meta_node_check(const struct meta_version *v, const struct meta_vhost *none,
                                  const struct meta_cmd *cmd, struct meta_result *out)
{
    CHECK(none == NULL);
    if (cmd->op == META_NODE_ADD)
        return add_check(v, cmd, out);
    out->id = cmd->node.node;
    const struct meta_node *n = meta_node_get(v, cmd->node.node);
    if (n != NULL)
        return known_check(v, n, cmd, out);
    if (cmd->op != META_NODE_UP && cmd->op != META_NODE_TYPE)
        return META_DONE; /* it was removed, and whatever is to become of it has */
    struct text t = meta_refuse(&out->refusal, 404);
    text_put(&t, "node %u is no member of the cluster", (unsigned)cmd->node.node);
    return META_REFUSED;
}

enum meta_verdict meta_cluster_check(const struct meta_version *v, const struct meta_vhost *none,
                                     const struct meta_cmd *cmd, struct meta_result *out)
{
    static const uint8_t no_id[META_CLUSTER_ID_BYTES];
    CHECK(none == NULL);
    struct slice id = slice_of(v->cluster_id, sizeof v->cluster_id);
    if (slice_eq(id, cmd->name))
        return META_DONE;
    if (cmd->name.len == id.len && slice_eq(id, slice_of(no_id, sizeof no_id)))
        return META_CHANGE;
    struct text t = meta_refuse(&out->refusal, cmd->name.len != id.len ? 400 : CONFLICT);
    text_str(&t, "a cluster has one id, for good");
    return META_REFUSED;
}

/* ---- changes of the list ---- */

static size_t list_bytes(const struct meta_node_list *l)
{
    return sizeof *l + l->count * sizeof(const struct meta_node *);
}

static size_t node_bytes(const struct meta_node *n)
{
    return sizeof *n + n->name.len + n->cluster_address.len + n->amqp_address.len +
           n->management_address.len;
}

static void node_drop(struct meta *m, const struct meta_node *n)
{
    pmap_edit_drop(&m->edit, n, node_bytes(n), n->tag);
}

/* A list with `n` in the place of the node of that number, or without that one if `n` is NULL. */
static void put(struct meta *m, uint16_t node, const struct meta_node *n)
{
    const struct meta_node_list *old = m->draft.nodes;
    size_t at = place_of(&m->draft, node);
    bool is_there = meta_node_get(&m->draft, node) != NULL;
    size_t before = meta_node_count(&m->draft);
    size_t after = before - is_there + (n != NULL);
    struct meta_node_list *l =
        pmap_edit_alloc(&m->edit, sizeof *l + after * sizeof(const struct meta_node *));
    *l = (struct meta_node_list){ .tag = m->edit.tag, .count = after };
    size_t to = 0;
    m->draft.unserved = 0;
    for (size_t i = 0; i <= before; i++) {
        if (i == at && n != NULL)
            l->nodes[to++] = n;
        if (i < before && !(i == at && is_there))
            l->nodes[to++] = old->nodes[i];
    }
    CHECK(to == after);
    for (size_t i = 0; i < after; i++)
        m->draft.unserved += !meta_node_is_serving(l->nodes[i]);
    m->draft.nodes = l;
    if (is_there)
        node_drop(m, old->nodes[at]);
    if (old != NULL)
        pmap_edit_drop(&m->edit, old, list_bytes(old), old->tag);
    m->routes_changed = true;
}

/* A copy of `n`, with its words wherever they are, in the place of the node of its number. */
static void put_copy(struct meta *m, const struct meta_node *n)
{
    struct meta_node *copy = pmap_edit_alloc(&m->edit, node_bytes(n));
    *copy = *n;
    copy->tag = m->edit.tag;
    uint8_t *at = copy->bytes;
    copy->name = meta_put_word(&at, n->name);
    copy->cluster_address = meta_put_word(&at, n->cluster_address);
    copy->amqp_address = meta_put_word(&at, n->amqp_address);
    copy->management_address = meta_put_word(&at, n->management_address);
    put(m, n->node, copy);
}

void meta_nodes_drop(struct meta *m)
{
    const struct meta_node_list *l = m->draft.nodes;
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->count; i++)
        node_drop(m, l->nodes[i]);
    pmap_edit_drop(&m->edit, l, list_bytes(l), l->tag);
    m->draft.nodes = NULL;
}

/* ---- changes ---- */

static void tell(struct meta_result *out, enum meta_effect_kind kind, uint16_t node)
{
    meta_tell(out, &(struct meta_effect){ .kind = kind, .node = node });
}

static bool another_serves(const struct meta_version *v, const struct meta_node *n)
{
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (meta_node_at(v, i) != n && meta_node_is_serving(meta_node_at(v, i)))
            return true;
    return false;
}

static void lose_passing(struct meta *m, uint16_t node, struct meta_result *out)
{
    const struct meta_home *h = meta_home_find(&m->draft, node);
    if (h == NULL)
        return;
    struct pmap queues = h->passing;
    meta_queues_delete(m, &queues, out);
}

static void take_addresses(struct meta_node *n, const struct meta_cmd *cmd)
{
    if (cmd->node.cluster_address.len != 0)
        n->cluster_address = cmd->node.cluster_address;
    if (cmd->node.amqp_address.len != 0)
        n->amqp_address = cmd->node.amqp_address;
    if (cmd->node.management_address.len != 0)
        n->management_address = cmd->node.management_address;
}

static uint16_t new_number(struct meta *m)
{
    if (MUTATION(META_NUMBER_AGAIN)) {
        size_t count = meta_node_count(&m->draft);
        m->draft.last_node = count != 0 ? meta_node_at(&m->draft, count - 1)->node : 0;
    }
    return ++m->draft.last_node;
}

static void add(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    struct meta_node n = { .node = new_number(m),
                           .type = cmd->node.type,
                           .state = META_NODE_IS_DOWN,
                           .place = cmd->node.place,
                           .name = cmd->name };
    take_addresses(&n, cmd);
    put_copy(m, &n);
    meta_origin_set(m, &(struct meta_origin){ .node = n.node });
    out->id = n.node;
}

static void remove_node(struct meta *m, const struct meta_node *n, struct meta_result *out)
{
    uint16_t node = n->node;
    bool was_serving = meta_node_is_serving(n);
    meta_fate(m, &(struct meta_fate){ .kind = META_FATE_REMOVED, .node = node }, out);
    lose_passing(m, node, out);
    const struct meta_home *h = meta_home_find(&m->draft, node);
    if (h != NULL) {
        struct pmap queues = h->lasting;
        meta_queues_delete(m, &queues, out);
    }
    put(m, node, NULL);
    meta_origin_remove(m, node);
    if (was_serving)
        tell(out, META_NODE_LOST, node);
}

static void start_anew(struct meta *m, struct meta_node *n, const struct meta_cmd *cmd,
                       struct meta_result *out)
{
    bool was_serving = meta_node_is_serving(n);
    if (!MUTATION(META_PASSING_STAYS))
        lose_passing(m, n->node, out);
    meta_fate(m,
              &(struct meta_fate){ .kind = cmd->node.lost_data ? META_FATE_LOST : META_FATE_ANEW,
                                   .node = n->node,
                                   .inc = cmd->node.inc },
              out);
    if (!another_serves(&m->draft, meta_node_get(&m->draft, n->node)))
        meta_transient_exchanges_delete(m);
    n->inc = cmd->node.inc;
    n->since = m->draft.index;
    meta_origin_set(m, &(struct meta_origin){ n->node, n->inc, 0 });
    if (was_serving)
        tell(out, META_NODE_LOST, n->node);
}

static void go_down(struct meta *m, struct meta_node *n, enum meta_node_state state,
                    struct meta_result *out)
{
    bool was_serving = meta_node_is_serving(n);
    bool stops = state == META_NODE_IS_STOPPED;
    n->state = state;
    if (!was_serving)
        return;
    lose_passing(m, n->node, out);
    meta_fate(
        m,
        &(struct meta_fate){ .kind = stops ? META_FATE_STOPPED : META_FATE_DOWN, .node = n->node },
        out);
    tell(out, META_NODE_LOST, n->node);
}

static void change_known(struct meta *m, const struct meta_node *before, const struct meta_cmd *cmd,
                         struct meta_result *out)
{
    struct meta_node n = *before;
    if (cmd->op == META_NODE_TYPE) {
        n.type = cmd->node.type;
    } else if (cmd->op == META_NODE_DRAIN) {
        n.state = META_NODE_IS_DRAINING;
    } else if (cmd->op == META_NODE_UNWELL) {
        n.state = META_NODE_IS_UNWELL;
        meta_fate(m, &(struct meta_fate){ .kind = META_FATE_UNWELL, .node = n.node }, out);
    } else if (cmd->op == META_NODE_WELL) {
        n.state = META_NODE_IS_UP;
    } else if (cmd->op == META_NODE_DOWN) {
        go_down(m, &n, META_NODE_IS_DOWN, out);
    } else if (cmd->op == META_NODE_STOPPED) {
        go_down(m, &n, META_NODE_IS_STOPPED, out);
    } else {
        CHECK(cmd->op == META_NODE_UP);
        bool is_new = cmd->node.inc != n.inc;
        if (is_new)
            start_anew(m, &n, cmd, out);
        if (is_new || n.state != META_NODE_IS_UNWELL)
            n.state = META_NODE_IS_UP; /* who is unwell does not say when that is over */
        n.mirrors = cmd->node.mirrors;
        take_addresses(&n, cmd);
    }
    put_copy(m, &n);
}

void meta_node_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    const struct meta_node *n = meta_node_get(&m->draft, cmd->node.node);
    if (cmd->op == META_NODE_ADD)
        add(m, cmd, out);
    else if (cmd->op == META_NODE_REMOVE)
        remove_node(m, n, out);
    else
        change_known(m, n, cmd, out);
    tell(out, META_NODES_CHANGED, (uint16_t)out->id);
}

void meta_node_put(struct meta *m, const struct meta_node *n)
{
    put_copy(m, n);
}

void meta_cluster_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)
{
    (void)out;
    memcpy(m->draft.cluster_id, cmd->name.ptr, sizeof m->draft.cluster_id);
    if (cmd->qid <= UINT64_MAX / 2)
        meta_skip_ids(m, cmd->qid);
}
