#include "sim_meta_world.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_dump.h"
#include "ids.h"
#include "sim_meta_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOK_EVERY 16u /* entries: then all of a version is looked at */

struct entry {
    uint8_t *bytes;
    size_t len;
    bool is_known; /* what came of it: */
    enum meta_applied applied;
    enum meta_verdict verdict;
    uint64_t id;
    uint64_t checksum;
};

struct replica {
    struct meta *meta;
    struct meta_result result;
    uint64_t applied;
    uint64_t hash_seed;
    uint32_t shard_count;
};

/* What the oracle knows of a node. */
struct known {
    bool was_there, is_there, is_up, is_stopped, is_unwell, is_draining;
    uint16_t mirrors;
    uint32_t inc;
    uint64_t op;
    uint64_t since; /* index of what brought its incarnation */
};

struct mw {
    struct replica replicas[MW_REPLICAS];
    struct entry entries[MW_ENTRIES + 1]; /* from 1 */
    uint64_t count;
    struct known nodes[MW_NODES];
    struct model *model;
    uint64_t mirrors[MW_NODES]; /* of the version that is looked at */
    uint64_t in_sync[MW_NODES];
    uint64_t last_qid;
    sim_say_fn trace;
    void *arg;
    struct sim_report *report;
    bool is_wrong;
};

static void wrong(struct mw *w, uint64_t index, const char *what)
{
    if (w->is_wrong)
        return;
    w->is_wrong = true;
    snprintf(w->report->why, sizeof w->report->why, "entry %" PRIu64 ": %.200s", index, what);
}

bool mw_is_well(const struct mw *w)
{
    return !w->is_wrong;
}

bool mw_is_full(const struct mw *w)
{
    return w->count == MW_ENTRIES;
}

/* ---- life ---- */

static void free_now(void *arg, void *ptr, void (*free_fn)(void *ptr))
{
    (void)arg;
    free_fn(ptr);
}

static struct meta *fresh(const struct replica *r)
{
    return meta_new(&(struct meta_setup){
        .hash_seed = r->hash_seed, .shard_count = r->shard_count, .retire = free_now });
}

struct mw *mw_new(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *report)
{
    struct mw *w = mem_zalloc(sizeof *w);
    struct rng r;
    rng_init(&r, seed ^ 0x5EED);
    w->trace = trace;
    w->arg = arg;
    w->report = report;
    w->model = model_new();
    for (unsigned i = 0; i < MW_REPLICAS; i++) {
        w->replicas[i].hash_seed = rng_u64(&r);
        w->replicas[i].shard_count = 1 + (uint32_t)rng_below(&r, 8);
        w->replicas[i].meta = fresh(&w->replicas[i]);
        meta_result_init(&w->replicas[i].result);
    }
    return w;
}

void mw_free(struct mw **world)
{
    struct mw *w = *world;
    *world = NULL;
    for (unsigned i = 0; i < MW_REPLICAS; i++) {
        meta_result_fini(&w->replicas[i].result);
        meta_free(&w->replicas[i].meta);
    }
    for (uint64_t i = 1; i <= w->count; i++)
        mem_free(w->entries[i].bytes);
    model_free(&w->model);
    mem_free(w);
}

unsigned mw_first(const struct mw *w)
{
    unsigned best = 0;
    for (unsigned i = 1; i < MW_REPLICAS; i++)
        if (w->replicas[i].applied > w->replicas[best].applied)
            best = i;
    return best;
}

const struct meta_version *mw_shown(const struct mw *w)
{
    return meta_current(w->replicas[mw_first(w)].meta);
}

/* ---- the log ---- */

static void say(const struct mw *w, uint64_t index, const struct meta_envelope *e)
{
    char line[200];
    if (w->trace == NULL)
        return;
    snprintf(line, sizeof line, "%" PRIu64 ": node %u inc %u op %" PRIu64 ": %d '%.*s' node %u/%u",
             index, e->node, e->inc, e->op, (int)e->cmd.op, (int)e->cmd.name.len,
             e->cmd.name.len != 0 ? (const char *)e->cmd.name.ptr : "",
             e->cmd.op > META_CLUSTER_FORM ? e->cmd.node.node : 0,
             e->cmd.op > META_CLUSTER_FORM ? e->cmd.node.inc : 0);
    w->trace(line, w->arg);
}

void mw_append(struct mw *w, const struct meta_envelope *e)
{
    CHECK(w->count < MW_ENTRIES);
    struct entry *to = &w->entries[++w->count];
    to->len = meta_envelope_size(e);
    to->bytes = mem_alloc(to->len);
    struct wire_out out = wire_out_over(to->bytes, to->len);
    meta_envelope_put(&out, e);
    CHECK(!out.overflow);
    w->report->steps++;
    say(w, w->count, e);
}

/* ---- what must hold ---- */

static bool oracle_says_applied(const struct mw *w, const struct meta_envelope *e)
{
    if (e->node == 0)
        return true;
    const struct known *k = &w->nodes[e->node];
    if (!k->is_there || e->inc < k->inc)
        return false;
    if (e->inc > k->inc)
        return e->op == 1 && e->cmd.op == META_NODE_UP && e->cmd.node.node == e->node &&
               e->cmd.node.inc == e->inc;
    return e->op == k->op + 1 && k->is_up;
}

static void follow_node(struct mw *w, uint64_t index, const struct meta_envelope *e, uint64_t id)
{
    struct known *k = &w->nodes[e->cmd.op == META_NODE_ADD ? id : e->cmd.node.node];
    bool same = k->is_there && e->cmd.node.inc == k->inc && k->inc != 0;
    if (e->cmd.op == META_NODE_ADD) {
        if (!k->is_there && k->was_there)
            wrong(w, index, "a number is given again");
        k->was_there = k->is_there = true;
    } else if (e->cmd.op == META_NODE_REMOVE) {
        k->is_there = k->is_up = false;
    } else if (e->cmd.op == META_NODE_UP && (same || (k->is_there && e->cmd.node.inc > k->inc))) {
        if (e->cmd.node.inc > k->inc) {
            k->op = 0;
            k->since = index;
        }
        k->inc = e->cmd.node.inc;
        k->mirrors = e->cmd.node.mirrors;
        bool stays_unwell = k->is_unwell && k->is_up && same;
        k->is_up = true;
        k->is_stopped = k->is_draining = false;
        k->is_unwell = stays_unwell;
    } else if (e->cmd.op == META_NODE_DRAIN && same && k->is_up) {
        k->is_draining = true;
        k->is_unwell = false;
    } else if (e->cmd.op == META_NODE_UNWELL && same && k->is_up && !k->is_draining) {
        k->is_unwell = true;
    } else if (e->cmd.op == META_NODE_WELL && same) {
        k->is_unwell = false;
    } else if (e->cmd.op == META_NODE_STOPPED && same) {
        k->is_up = false;
        k->is_stopped = true;
    } else if (e->cmd.op == META_NODE_DOWN && same) {
        k->is_up = false;
    }
}

static void nodes_of_model(const struct mw *w, struct model_node *nodes)
{
    for (unsigned i = 0; i < MW_NODES; i++)
        nodes[i] = (struct model_node){ .is_there = w->nodes[i].is_there,
                                        .is_up = w->nodes[i].is_up,
                                        .is_stopped = w->nodes[i].is_stopped,
                                        .is_unwell = w->nodes[i].is_unwell,
                                        .is_draining = w->nodes[i].is_draining,
                                        .mirrors = w->nodes[i].mirrors,
                                        .inc = w->nodes[i].inc };
}

static void follow_queues(struct mw *w, uint64_t index, const struct meta_envelope *e,
                          const struct meta_version *v, bool is_done)
{
    struct model_node nodes[MW_NODES];
    nodes_of_model(w, nodes);
    if (is_done)
        model_follow(w->model, nodes, index, &e->cmd);
    const char *why = model_compare(w->model, nodes, v, &e->cmd);
    if (why != NULL)
        wrong(w, index, why);
}

/* `shown` is what came of it. */
static void follow(struct mw *w, uint64_t index, const struct meta_envelope *e,
                   const struct entry *found, const struct meta_version *shown)
{
    bool applied = found->applied == META_APPLIED;
    if (applied != oracle_says_applied(w, e))
        wrong(w, index, applied ? "was applied, and should not have been" : "was not applied");
    follow_queues(w, index, e, shown, applied && found->verdict == META_DONE);
    if (!applied)
        return;
    if (found->verdict == META_DONE && e->cmd.op > META_CLUSTER_FORM)
        follow_node(w, index, e, found->id);
    if (e->node != 0 && w->nodes[e->node].is_there)
        w->nodes[e->node].op = e->op;
}

static void look_at_queue(struct mw *w, const struct meta_version *v, const struct meta_queue *q)
{
    struct meta_placement p;
    meta_placement_of(v, q, &p);
    const struct known *k = &w->nodes[p.master];
    if (!k->is_there || meta_queue_master(v, q) != p.master)
        wrong(w, v->index, "a queue lives on no member");
    if (!q->durable && (!k->is_up || p.epoch < k->since))
        wrong(w, v->index, "a transient queue has outlived its node");
    if (q->owner != 0 && node_of_id(q->owner) != p.master)
        wrong(w, v->index, "an exclusive queue lives apart from its owner");
    if (q->qid > v->last_id || p.epoch > p.ver || p.ver > v->index)
        wrong(w, v->index, "a queue from the future");
    if (p.isr_count == 0 || meta_placement_replica(&p, 0)->inc == 0)
        wrong(w, v->index, "a master is not in sync");
    for (unsigned i = 0; i < p.count; i++) {
        const struct meta_replica *r = meta_placement_replica(&p, i);
        bool is_told = meta_placement_find(&p, r->node) == r &&
                       meta_placement_is_in_sync(&p, r->node) == (r->inc != 0);
        if (!w->nodes[r->node].is_there || !is_told)
            wrong(w, v->index, "a replica is on no member, or twice on one");
        if (r->inc != 0 && r->inc != w->nodes[r->node].inc)
            wrong(w, v->index, "a replica is in sync as a process that is no more");
        w->mirrors[r->node] += i != 0;
        w->in_sync[r->node] += i != 0 && r->inc != 0;
    }
}

static void look(struct mw *w, const struct meta_version *v)
{
    uint64_t on_nodes = 0;
    unsigned discs = 0;
    struct pmap_iter it;
    memset(w->mirrors, 0, sizeof w->mirrors);
    memset(w->in_sync, 0, sizeof w->in_sync);
    pmap_iter(&it, &v->queues);
    for (const struct meta_queue *q; (q = pmap_next(&it)) != NULL;)
        look_at_queue(w, v, q);
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *n = meta_node_at(v, i);
        const struct known *k = &w->nodes[n->node];
        on_nodes += meta_node_queue_count(v, n->node);
        discs += n->type == META_NODE_DISC;
        if (meta_node_mirror_count(v, n->node) != w->mirrors[n->node] ||
            meta_node_in_sync_count(v, n->node) != w->in_sync[n->node])
            wrong(w, v->index, "mirrors are not counted where they are");
        if (n->type == META_NODE_WITNESS &&
            meta_node_queue_count(v, n->node) + w->mirrors[n->node] != 0)
            wrong(w, v->index, "a witness has queues");
        if (!k->is_there || k->inc != n->inc || k->is_up != meta_node_is_serving(n))
            wrong(w, v->index, "a node is not what became of it");
    }
    if (on_nodes != v->queues.count)
        wrong(w, v->index, "queues are not counted where they live");
    if (meta_node_count(v) != 0 && discs == 0)
        wrong(w, v->index, "no disc node is left");
}

/* ---- applying ---- */

static void note(struct mw *w, uint64_t index, const struct meta_envelope *e,
                 const struct entry *found, const struct meta_version *shown)
{
    struct entry *known = &w->entries[index];
    if (!known->is_known) {
        known->is_known = true;
        known->applied = found->applied;
        known->verdict = found->verdict;
        known->id = found->id;
        known->checksum = found->checksum;
        follow(w, index, e, found, shown);
        return;
    }
    if (known->applied != found->applied || known->verdict != found->verdict ||
        known->id != found->id)
        wrong(w, index, "something else came of it elsewhere");
    if (known->checksum != found->checksum)
        wrong(w, index, "checksums differ");
}

static void apply_next(struct mw *w, struct replica *r)
{
    uint64_t index = ++r->applied;
    struct wire in = wire_over(slice_of(w->entries[index].bytes, w->entries[index].len));
    struct meta_envelope e;
    bool ok = meta_envelope_take(&in, &e);
    CHECK(ok);
    bool is_first = !w->entries[index].is_known;
    struct entry found = { .applied = meta_apply_entry(r->meta, index, &e, &r->result) };
    found.verdict = r->result.verdict;
    found.id = r->result.id;
    found.checksum = meta_checksum(r->meta);
    meta_publish(r->meta);
    note(w, index, &e, &found, meta_current(r->meta));
    if (is_first && index % LOOK_EVERY == 0)
        look(w, meta_current(r->meta));
}

void mw_apply(struct mw *w, unsigned replica, uint64_t count)
{
    struct replica *r = &w->replicas[replica];
    while (count-- != 0 && r->applied < w->count && !w->is_wrong)
        apply_next(w, r);
}

static void compare(struct mw *w, const struct replica *a, const struct replica *b)
{
    if (meta_checksum(b->meta) != meta_checksum_walk(b->meta))
        wrong(w, b->applied, "the checksum is not that of what is there");
    if (a->applied == b->applied && meta_digest(a->meta) != meta_digest(b->meta))
        wrong(w, b->applied, "two are not equal");
}

/* ---- snapshots ---- */

struct copying {
    struct mw *w;
    struct meta *to;
    struct meta_result *result;
};

/* By way of octets, as they are on disk and on their way to another node. */
static bool copy_one(void *arg, const struct meta_cmd *cmd, uint64_t first_id)
{
    struct copying *c = arg;
    size_t size = meta_wire_size(cmd);
    uint8_t *bytes = mem_alloc(size);
    struct wire_out out = wire_out_over(bytes, size);
    meta_wire_put(&out, cmd, first_id);
    struct wire in = wire_over(wire_out_slice(&out));
    struct meta_cmd read;
    uint64_t id;
    bool ok = meta_wire_take(&in, &read, &id);
    CHECK(ok);
    if (meta_replay(c->to, &read, id, c->result) == META_REFUSED)
        wrong(c->w, meta_index(c->to), c->result->refusal.text);
    mem_free(bytes);
    return !c->w->is_wrong;
}

void mw_snapshot(struct mw *w, unsigned from, unsigned to)
{
    struct replica *a = &w->replicas[from];
    struct replica *b = &w->replicas[to];
    if (a->applied <= b->applied || w->is_wrong)
        return;
    struct copying c = { w, fresh(b), &b->result };
    bool whole = meta_dump(meta_current(a->meta), copy_one, &c);
    meta_publish(c.to);
    if (whole && meta_index(c.to) != a->applied)
        wrong(w, a->applied, "a snapshot is of another entry");
    if (whole && meta_checksum(c.to) != meta_checksum(a->meta))
        wrong(w, a->applied, "a snapshot is not what it was made of");
    meta_free(&b->meta);
    b->meta = c.to;
    b->applied = a->applied;
    w->report->restarts++;
}

void mw_settle(struct mw *w)
{
    for (unsigned i = 0; i < MW_REPLICAS; i++)
        mw_apply(w, i, UINT64_MAX);
    look(w, mw_shown(w));
    for (unsigned i = 0; i < MW_REPLICAS && !w->is_wrong; i++)
        compare(w, &w->replicas[0], &w->replicas[i]);
}
