#include "cluster/cluster_inner.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"

#include <stdio.h>
#include <string.h>

#define REMOVED_WAIT_MS 3000u  /* for the others to go on without this node */
#define JOINED_WAIT_MS  30000u /* for the state of the cluster that was joined */
#define ORDERS_MAX      64u

/* ---- answers ---- */

static void on_done(struct mail *mail)
{
    struct cluster_ask *a = CONTAINER_OF(mail, struct cluster_ask, mail);
    a->done(a);
}

void cluster_answer(struct cluster_ask *a, bool ok)
{
    a->ok = ok;
    a->mail.fn = on_done;
    mailbox_post(a->reply_to, &a->mail);
}

static void refuse(struct cluster_ask *a, enum err_code code, const char *why)
{
    err_set(&a->err, code, "%s", why);
    cluster_answer(a, false);
}

static void refuse_by(struct cluster_ask *a, const struct meta_refusal *why)
{
    refuse(a, why->code == AMQP_RESOURCE_ERROR ? ERR_LIMIT : ERR_REFUSED, why->text);
}

/* The one that is being carried out, in steps, is done. */
static void finish(struct cluster *c, bool ok, const struct err *why)
{
    struct cluster_ask *a = c->orders.now;
    c->orders.now = NULL;
    c->orders.step = CLUSTER_STEP_NONE;
    if (a == NULL)
        return;
    if (!ok)
        a->err = *why;
    cluster_answer(a, ok);
}

static void begin_step(struct cluster *c, enum cluster_step step)
{
    c->orders.step = step;
    c->orders.step_ms = clock_mono_ms();
}

/* ---- being new and alone ---- */

static void on_parted_to_be_new(struct cluster *c)
{
    struct err err;
    begin_step(c, CLUSTER_STEP_READY);
    if (cluster_found(c, &err))
        return;
    cluster_raft_fail(c, &err);
    finish(c, false, &err);
}

/* Whoever is alone is a disc node, whatever it was among others. */
static void become_new(struct cluster *c)
{
    c->type = BROKER_NODE_DISC;
    begin_step(c, CLUSTER_STEP_PARTING);
    cluster_part(c, on_parted_to_be_new);
}

static void on_removed(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                       uint64_t id)
{
    struct cluster *c = arg;
    struct err err;
    (void)id;
    if (c->orders.step != CLUSTER_STEP_ASKING)
        return; /* it was learned in another way */
    if (verdict != META_REFUSED) {
        begin_step(c, CLUSTER_STEP_REMOVED);
        return;
    }
    err_set(&err, why->code == AMQP_RESOURCE_ERROR ? ERR_LIMIT : ERR_REFUSED,
            "the cluster does not let this node go: %s", why->text);
    finish(c, false, &err);
}

static void reset(struct cluster *c)
{
    struct err busy;
    if (!c->is_ready) {
        err_set(
            &busy, ERR_LIMIT,
            "the cluster does not let this node go: it waits for a majority of the voters; "
            "'warrenctl force_reset' makes it leave without telling anybody, and what it had is "
            "lost");
        finish(c, false, &busy);
        return;
    }
    if (meta_node_count(meta_current(c->meta)) <= 1) {
        become_new(c);
        return;
    }
    struct meta_cmd cmd = { .op = META_NODE_REMOVE };
    cmd.node.node = c->identity.node;
    begin_step(c, CLUSTER_STEP_ASKING);
    cluster_drive(c, &cmd, on_removed, c);
}

/* The others may hang up before this node hears that its wish was granted. */
bool cluster_orders_disowned(struct cluster *c)
{
    struct cluster_orders *o = &c->orders;
    if (o->now == NULL || o->now->order != CLUSTER_RESET || o->step != CLUSTER_STEP_ASKING)
        return false;
    o->step = CLUSTER_STEP_REMOVED;
    o->step_ms = 0; /* there is nothing to wait for */
    cluster_members_look(c);
    return true;
}

/* Removed: the others no longer count on it, or have had time enough. */
static bool is_let_go(const struct cluster *c, uint64_t now_ms)
{
    const struct raft_config *config = raft_config(c->raft.core);
    bool leads = c->leader == c->identity.node;
    return (!leads && (raft_config_find(config, c->identity.node) == NULL || c->leader == 0)) ||
           now_ms - c->orders.step_ms > REMOVED_WAIT_MS;
}

/* ---- joining ---- */

bool cluster_has_things_of_its_own(const struct cluster *c)
{
    return c->setup.has_more != NULL && c->setup.has_more(meta_current(c->meta), c->setup.arg);
}

static void on_parted_to_join(struct cluster *c)
{
    struct err err;
    begin_step(c, CLUSTER_STEP_READY);
    if (!cluster_enter(c, c->orders.cluster, c->orders.node, &err)) {
        cluster_raft_fail(c, &err);
        finish(c, false, &err);
        return;
    }
    cluster_seek_know(c);
}

static void on_sought(struct cluster *c, const uint8_t *id, uint16_t node, const struct err *why)
{
    if (id == NULL) {
        c->type = c->orders.type_was;
        finish(c, false, why);
        return;
    }
    memcpy(c->orders.cluster, id, sizeof c->orders.cluster);
    c->orders.node = node;
    begin_step(c, CLUSTER_STEP_PARTING);
    cluster_part(c, on_parted_to_join);
}

static void run_resolve(struct work_job *job)
{
    struct cluster_orders *o = CONTAINER_OF(job, struct cluster_orders, resolve);
    struct cluster *c = CONTAINER_OF(o, struct cluster, orders);
    o->place_count = cluster_places(o->now->target, c->conf->node.data_dir, o->places,
                                    CLUSTER_SEEK_MAX, &o->place_err);
    o->has_resolved = true;
}

static void on_resolved(struct work_job *job)
{
    struct cluster_orders *o = CONTAINER_OF(job, struct cluster_orders, resolve);
    struct cluster *c = CONTAINER_OF(o, struct cluster, orders);
    if (o->now == NULL)
        return;
    if (!o->has_resolved)
        err_set(&o->place_err, ERR_REFUSED, "the node stops");
    if (!o->has_resolved || o->place_count == 0) {
        finish(c, false, &o->place_err);
        return;
    }
    o->type_was = c->type;
    c->type = o->now->type;
    begin_step(c, CLUSTER_STEP_ASKING);
    cluster_seek(c, o->places, o->place_count, on_sought);
}

static void join(struct cluster *c)
{
    struct err busy;
    if (meta_node_count(meta_current(c->meta)) > 1) {
        err_set(&busy, ERR_REFUSED,
                "the node is a member of a cluster already: 'warrenctl reset' makes it leave");
        finish(c, false, &busy);
    } else if (!c->is_ready) {
        err_set(
            &busy, ERR_REFUSED,
            "the node waits for its cluster: 'warrenctl force_reset' makes it leave, and what it "
            "had is lost");
        finish(c, false, &busy);
    } else if (cluster_has_things_of_its_own(c)) {
        err_set(&busy, ERR_REFUSED,
                "the node has queues, vhosts or users of its own, which would be lost: 'warrenctl "
                "reset' drops them, and then it can join");
        finish(c, false, &busy);
    } else {
        c->orders.has_resolved = false;
        if (!work_submit(c->orders.pool, c->loop, &c->orders.resolve, &busy))
            finish(c, false, &busy);
    }
}

/* ---- other nodes ---- */

static void on_changed(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                       uint64_t id)
{
    struct cluster_ask *a = arg;
    (void)id;
    if (verdict == META_REFUSED)
        refuse_by(a, why);
    else
        cluster_answer(a, true);
}

static void forget(struct cluster *c, struct cluster_ask *a)
{
    const struct meta_node *m = meta_node_find(meta_current(c->meta), slice_str(a->target));
    char room[CLUSTER_TEXT_BYTES];
    struct text t = text_over(room, sizeof room);
    if (c->is_cut_off) { /* and who else is running is not known */
        cluster_put_voters(c, &t);
        err_set(&a->err, ERR_LIMIT,
                "the metadata cannot be changed: this node sees no majority of the voters; %s",
                room);
        cluster_answer(a, false);
    } else if (m == NULL) {
        err_set(&a->err, ERR_NOT_FOUND, "the node %s is not a member of the cluster", a->target);
        cluster_answer(a, false);
    } else if (m->node == c->identity.node) {
        refuse(a, ERR_REFUSED, "a node cannot forget itself: 'warrenctl reset' makes it leave");
    } else if (meta_node_is_serving(m)) {
        err_set(&a->err, ERR_REFUSED,
                "the node %s is running: it can leave by itself ('warrenctl reset' there), or must "
                "be stopped first",
                a->target);
        cluster_answer(a, false);
    } else {
        struct meta_cmd cmd = { .op = META_NODE_REMOVE };
        cmd.node.node = m->node;
        cluster_drive(c, &cmd, on_changed, a);
    }
}

static void on_type_changed(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                            uint64_t id)
{
    struct cluster_ask *a = arg;
    if (verdict != META_REFUSED)
        a->cluster->type = a->type;
    on_changed(a, verdict, why, id);
}

/* A disc node gives up its vote, and then what it has on disk (cluster_members.c). The other way is
 * refused: a voter whose log is in memory would forget what it has voted for. */
static void change_type(struct cluster *c, struct cluster_ask *a)
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), c->identity.node);
    struct meta_cmd cmd = { .op = META_NODE_TYPE };
    cmd.node.node = c->identity.node;
    cmd.node.type = cluster_meta_type(a->type);
    if (c->conf->node.type == BROKER_NODE_WITNESS)
        refuse(a, ERR_REFUSED, "a witness stays one: [node] type says so");
    else if (m != NULL && m->type == META_NODE_RAM && a->type == BROKER_NODE_DISC)
        refuse(a, ERR_REFUSED,
               "a RAM node has nothing on disk to vote with: 'warrenctl reset', then 'warrenctl "
               "join_cluster --disc NODE' make it a disc node (its own queues go)");
    else
        cluster_drive(c, &cmd, on_type_changed, a);
}

static void lead(struct cluster *c, struct cluster_ask *a)
{
    const struct meta_node *m = meta_node_find(meta_current(c->meta), slice_str(a->target));
    if (c->leader != c->identity.node) {
        refuse(a, ERR_REFUSED, "this node does not lead the cluster");
        return;
    }
    struct raft_event ev = { .kind = RAFT_EV_TRANSFER, .node = m != NULL ? m->node : 0 };
    cluster_raft_step(c, &ev);
    cluster_answer(a, true);
}

/* ---- taking them ---- */

static bool takes_steps(enum cluster_order order)
{
    return order == CLUSTER_JOIN || order == CLUSTER_RESET || order == CLUSTER_FORCE_RESET;
}

static void begin_order(struct cluster *c, struct cluster_ask *a)
{
    if (c->orders.now != NULL) {
        refuse(a, ERR_REFUSED, "the node is joining or leaving a cluster; try again in a moment");
        return;
    }
    if (c->identity.node == 0) {
        refuse(a, ERR_REFUSED,
               "the node is in no cluster yet, and looks for its seeds: its log names "
               "them");
        return;
    }
    if (c->is_ready && c->app != CLUSTER_APP_STOPPED) {
        refuse(a, ERR_REFUSED, "the application runs: stop it with stop_app");
        return;
    }
    if (c->conf->node.type == BROKER_NODE_WITNESS) {
        refuse(a, ERR_REFUSED,
               "a witness cannot be alone, and joins by its seeds: to make it leave, stop it and "
               "say forget_cluster_node elsewhere; with an empty data folder it joins anew");
        return;
    }
    c->orders.now = a;
    if (a->order == CLUSTER_JOIN)
        join(c);
    else if (a->order == CLUSTER_RESET)
        reset(c);
    else
        become_new(c);
}

static void carry_out(struct cluster *c, struct cluster_ask *a)
{
    if (takes_steps(a->order))
        begin_order(c, a);
    else if (c->raft.core == NULL)
        refuse(a, ERR_REFUSED, "the node is in no cluster yet");
    else if (a->order == CLUSTER_FORGET)
        forget(c, a);
    else if (a->order == CLUSTER_REBALANCE)
        cluster_plan_rebalance(c, a);
    else if (a->order == CLUSTER_CHANGE_TYPE && c->app != CLUSTER_APP_STOPPED)
        refuse(a, ERR_REFUSED, "the application runs: stop it with stop_app");
    else if (a->order == CLUSTER_CHANGE_TYPE)
        change_type(c, a);
    else
        lead(c, a);
}

static void on_ask(struct mail *mail)
{
    struct cluster_ask *a = CONTAINER_OF(mail, struct cluster_ask, mail);
    struct cluster *c = a->cluster;
    if (c->raft.is_stopped || c->leave_fn != NULL)
        refuse(a, ERR_REFUSED, "the node stops");
    else
        carry_out(c, a);
}

void cluster_send(struct cluster *c, struct cluster_ask **ask)
{
    struct cluster_ask *a = *ask;
    *ask = NULL;
    a->cluster = c;
    a->mail.fn = on_ask;
    mailbox_post(c->loop, &a->mail);
}

/* ---- the next step ---- */

void cluster_orders_look(struct cluster *c, uint64_t now_ms)
{
    struct cluster_orders *o = &c->orders;
    struct err err;
    if (o->step == CLUSTER_STEP_REMOVED && is_let_go(c, now_ms)) {
        become_new(c);
    } else if (o->step == CLUSTER_STEP_READY && c->is_ready) {
        finish(c, true, NULL);
    } else if (o->step == CLUSTER_STEP_READY && now_ms - o->step_ms > JOINED_WAIT_MS) {
        err_set(&err, ERR_LIMIT, "the cluster has not told its state yet; the node goes on trying");
        finish(c, false, &err);
    }
}

void cluster_orders_init(struct cluster *c)
{
    c->orders.pool = work_pool_new("cluster", 1, 4);
    work_job_init(&c->orders.resolve, run_resolve, on_resolved);
}

/* The answer goes to a loop that may end before the cluster does. */
void cluster_orders_stop(struct cluster *c)
{
    struct err err;
    work_pool_free(&c->orders.pool);
    err_set(&err, ERR_REFUSED, "the node stops");
    finish(c, false, &err);
}

void cluster_orders_fini(const struct cluster *c)
{
    CHECK(c->orders.now == NULL);
}

/* ---- the application ---------------------------------------------------------------------------
 */

static bool app_is_as_wanted(const struct cluster *c)
{
    const struct meta_node *m = meta_node_get(meta_current(c->meta), c->identity.node);
    return m == NULL || !c->is_ready || cluster_app_is_told(c, m);
}

void cluster_app(struct cluster *c, enum cluster_app what, void (*done)(void *arg), void *arg)
{
    CHECK(c->app_fn == NULL || c->app_fn == done); /* something else is to be told */
    c->app = what;
    c->said_ms = 0;
    c->app_fn = done;
    c->app_arg = arg;
    c->app_ms = clock_mono_ms();
    cluster_members_look(c);
    cluster_app_look(c);
}

/* It is so, or nobody can be told. Masters are given away before whoever waits sends clients away.
 */
void cluster_app_look(struct cluster *c)
{
    void (*done)(void *arg) = c->app_fn;
    uint64_t for_ms = clock_mono_ms() - c->app_ms;
    bool is_due = for_ms > CLUSTER_UNKNOWN_MS;
    bool is_told = is_due || app_is_as_wanted(c);
    bool is_free = c->app != CLUSTER_APP_DRAINED || !cluster_plan_may_drain(c) ||
                   for_ms > c->conf->cluster.drain_timeout_ms;
    if (done == NULL || (!(is_told && is_free) && !c->is_cut_off && !c->raft.has_failed))
        return;
    c->app_fn = NULL;
    done(c->app_arg);
}

/* ---- an orderly stop ---------------------------------------------------------------------------
 */

void cluster_left(struct cluster *c)
{
    void (*done)(void *arg) = c->leave_fn;
    c->leave_fn = NULL;
    if (done != NULL)
        done(c->leave_arg);
}

void cluster_leave(struct cluster *c, uint64_t within_ms, void (*done)(void *arg), void *arg)
{
    bool is_alone = meta_node_count(meta_current(c->meta)) <= 1;
    c->app = CLUSTER_APP_STOPPED;
    if (c->raft.core == NULL || !c->is_ready || is_alone || c->is_cut_off || c->raft.has_failed) {
        c->phase = CLUSTER_LEAVING;
        done(arg);
        return;
    }
    CHECK(c->leave_fn == NULL);
    c->leave_fn = done;
    c->leave_arg = arg;
    c->leaving_ms = clock_mono_ms();
    c->leave_within_ms = within_ms;
    c->said_ms = 0;
    c->phase = CLUSTER_LEAVING;
    cluster_members_look(c);
}
