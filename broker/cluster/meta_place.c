/* Where a queue comes to live when it is declared. All nodes find the same answer: it follows from
 * the version, from the entry's index and from who asked, and from nothing else. */
#include "amqp/amqp_spec.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mutation.h"
#include "cluster/meta_mirrors.h"
#include "cluster/meta_state.h"
#include "ids.h"

#define FIRST_NODE 1u /* of a cluster; a node that was never in any has no table of them */

enum locator { MIN_MASTERS, CLIENT_LOCAL, RANDOM };

/* RabbitMQ's words for classic queues and for quorum queues. */
static bool locator_of(struct slice word, enum locator *out)
{
    if (slice_is(word, "client-local"))
        *out = CLIENT_LOCAL;
    else if (slice_is(word, "random"))
        *out = RANDOM;
    else if (slice_is(word, "min-masters") || slice_is(word, "balanced") ||
             slice_is(word, "least-leaders"))
        *out = MIN_MASTERS;
    else
        return false;
    return true;
}

/* By its argument, else by its policy. A word that nobody knows counts as none. */
static enum locator locator_for(const struct meta_version *v, const struct meta_queue *q)
{
    bool is_quorum = meta_queue_is_quorum(q);
    const char *arg = is_quorum ? "x-queue-leader-locator" : "x-queue-master-locator";
    enum locator found;
    if (locator_of(amqp_table_longstr(meta_queue_args(q), arg), &found))
        return found;
    const struct meta_policy *p = meta_policy_of_queue(v, q);
    if (p != NULL &&
        locator_of(is_quorum ? p->keys.leader_locator : p->keys.master_locator, &found))
        return found;
    return MIN_MASTERS;
}

/* Nodes that are up are chosen among; where there are none, those that are about to go. */
struct candidates {
    const struct meta_node *nodes[META_NODES_MAX];
    size_t count;
};

static void gather(const struct meta_version *v, enum meta_node_state state, struct candidates *c)
{
    c->count = 0;
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *n = meta_node_at(v, i);
        if (n->state == state && meta_node_is_host(n))
            c->nodes[c->count++] = n;
    }
}

static const struct meta_node *fewest_queues(const struct meta_version *v,
                                             const struct candidates *c)
{
    const struct meta_node *best = NULL;
    uint64_t fewest = 0;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t count = meta_node_queue_count(v, c->nodes[i]->node);
        if (best != NULL && count >= fewest)
            continue;
        best = c->nodes[i];
        fewest = count;
    }
    return best;
}

/* Whoever asks, if it is one of them. */
static const struct meta_node *at_origin(const struct meta *m, const struct candidates *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->nodes[i]->node == m->origin)
            return c->nodes[i];
    return NULL;
}

/* No secret, but spread well. */
static uint64_t dice(const struct meta *m, const struct meta_queue *q)
{
    uint64_t secret = MUTATION(META_SECRET_DECIDES) ? m->kinds.queues.seed : 0;
    return hash_u64(m->draft.index + hash_u64(q->qid + secret));
}

/* A queue that is to be on nodes of some names begins on one of them, if any of them is there. */
static void keep_named(const struct meta_version *v, const struct meta_queue *q,
                       struct candidates *c)
{
    struct meta_mirror_rule rule;
    size_t named = 0;
    meta_mirror_rule_of(v, q, &rule);
    for (size_t i = 0; rule.mode == META_MIRROR_NODES && i < c->count; i++)
        if (meta_mirror_is_named(&rule, c->nodes[i]))
            c->nodes[named++] = c->nodes[i];
    if (named != 0)
        c->count = named;
}

static const struct meta_node *choose(const struct meta *m, const struct meta_queue *q,
                                      const struct candidates *c)
{
    const struct meta_node *n = NULL;
    switch (c->count > 1 ? locator_for(&m->draft, q) : MIN_MASTERS) {
    case MIN_MASTERS:
        break;
    case CLIENT_LOCAL:
        n = at_origin(m, c);
        break;
    case RANDOM:
        n = c->nodes[dice(m, q) % c->count];
        break;
    }
    return n != NULL ? n : fewest_queues(&m->draft, c);
}

static bool has_host(const struct meta_version *v)
{
    for (size_t i = 0; i < meta_node_count(v); i++)
        if (meta_node_is_host(meta_node_at(v, i)))
            return true;
    return false;
}

bool meta_place_check(const struct meta_version *v, const struct meta_vhost *vh,
                      const struct meta_cmd *cmd, struct meta_refusal *why)
{
    bool has_owner = cmd->conn != 0 || !cmd->queue_declare.exclusive;
    if (has_owner && meta_node_count(v) == 0)
        return true;
    if (cmd->queue_declare.exclusive) {
        const struct meta_node *n = meta_node_get(v, node_of_id(cmd->conn));
        if (n != NULL && n->type != META_NODE_WITNESS)
            return true;
    } else if (has_host(v)) {
        return true;
    }
    struct text t = meta_refuse(why, AMQP_RESOURCE_ERROR);
    text_str(&t, "no node is up that ");
    meta_put_thing(&t, "queue", cmd->name, vh);
    text_str(&t, " could live on");
    return false;
}

/* An exclusive queue lives where its connection does, and dies with both. */
uint16_t meta_place(const struct meta *m, const struct meta_queue *q)
{
    if (meta_node_count(&m->draft) == 0)
        return FIRST_NODE;
    if (q->owner != 0)
        return node_of_id(q->owner);
    struct candidates c;
    gather(&m->draft, META_NODE_IS_UP, &c);
    if (c.count == 0)
        gather(&m->draft, META_NODE_IS_DRAINING, &c);
    if (c.count == 0)
        gather(&m->draft, META_NODE_IS_UNWELL, &c);
    CHECK(c.count != 0); /* see meta_place_check */
    keep_named(&m->draft, q, &c);
    return choose(m, q, &c)->node;
}
