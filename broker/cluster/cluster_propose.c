#include "cluster/cluster_inner.h"

#include "amqp/amqp_spec.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"

#include <inttypes.h>

#define WAITING_MAX       65536u
#define WAITING_BYTES_MAX ((size_t)64 << 20)
#define ENTRY_BYTES       ((size_t)64 * 1024) /* small changes travel together, up to so much */
#define BATCH_MAX         256u                /* entries handed to the core at a time */

struct cluster_proposal {
    TAILQ_ENTRY(cluster_proposal) entry;
    uint64_t op;
    uint64_t conn;
    uint64_t since_ms;
    struct buf *bytes;        /* its envelope; NULL once it is applied */
    cluster_proposed_fn done; /* NULL: nobody waits, or no longer */
    void *arg;
    uint64_t index; /* where it was applied */
    uint64_t id;
    enum meta_verdict verdict;
    bool is_made;
    struct meta_refusal *refusal; /* if refused */
};

static void on_send(void *arg);

void cluster_propose_init(struct cluster *c)
{
    TAILQ_INIT(&c->propose.waiting);
    TAILQ_INIT(&c->propose.applied);
    loop_task_init(&c->propose.send, on_send, c);
}

/* ---- one proposal ---- */

static uint16_t *slot_of(struct cluster *c, uint64_t conn)
{
    return &c->propose.by_conn[hash_u64(conn) % CLUSTER_CONN_SLOTS];
}

static void drop(struct cluster_proposal *p)
{
    buf_unref(&p->bytes);
    mem_free(p->refusal);
    mem_free(p);
}

static void tell(struct cluster_proposal *p, enum meta_verdict verdict,
                 const struct meta_refusal *why, uint64_t id)
{
    cluster_proposed_fn done = p->done;
    p->done = NULL;
    if (done != NULL)
        done(p->arg, verdict, why, id, p->is_made);
}

static void leave_waiting(struct cluster *c, struct cluster_proposal *p)
{
    TAILQ_REMOVE(&c->propose.waiting, p, entry);
    c->propose.waiting_count--;
    c->propose.waiting_bytes -= p->bytes->len_bytes;
    --*slot_of(c, p->conn);
}

/* ---- refusals ---- */

static void put_unreached(const struct cluster *c, struct text *t)
{
    cluster_put_voters(c, t);
}

static void refuse_cut_off(const struct cluster *c, struct meta_refusal *why)
{
    struct text t = text_over(why->text, sizeof why->text);
    why->code = AMQP_RESOURCE_ERROR;
    text_str(&t, "the metadata cannot be changed: this node sees no majority of the voters; ");
    put_unreached(c, &t);
}

static void refuse_unknown(const struct cluster *c, struct meta_refusal *why)
{
    struct text t = text_over(why->text, sizeof why->text);
    why->code = AMQP_RESOURCE_ERROR;
    text_str(&t, "the cluster did not answer in time, and may or may not have made the change; ");
    put_unreached(c, &t);
}

static bool refuse(struct meta_refusal *why, uint16_t code, const char *text)
{
    struct text t = text_over(why->text, sizeof why->text);
    why->code = code;
    text_str(&t, text);
    return false;
}

static bool takes_away(const struct meta_cmd *cmd)
{
    return cmd->op == META_QUEUE_DELETE || cmd->op == META_EXCHANGE_DELETE ||
           cmd->op == META_UNBIND || cmd->op == META_VHOST_DELETE || cmd->op == META_OWNER_GONE ||
           cmd->op == META_USER_DELETE || cmd->op == META_NODE_UP || cmd->op == META_NODE_STOPPED;
}

static bool may_be_proposed(const struct cluster *c, const struct meta_cmd *cmd, size_t bytes,
                            struct meta_refusal *why)
{
    if (bytes > CLUSTER_OP_BYTES_MAX)
        return refuse(why, AMQP_PRECONDITION_FAILED, "the definition is too long to be stored");
    if (c->phase == CLUSTER_LEAVING || c->phase == CLUSTER_REMOVED || c->raft.core == NULL)
        return refuse(why, AMQP_RESOURCE_ERROR,
                      c->phase == CLUSTER_LEAVING ? "the node stops"
                                                  : "the node is not in a cluster");
    if (c->is_cut_off) {
        refuse_cut_off(c, why);
        return false;
    }
    if (c->app == CLUSTER_APP_STOPPED && c->is_ready)
        return refuse(why, AMQP_RESOURCE_ERROR, "the application is stopped on this node");
    if (!cluster_raft_has_room(c, bytes, takes_away(cmd)))
        return refuse(why, AMQP_PRECONDITION_FAILED,
                      "the disk is full: definitions cannot be stored");
    if (c->propose.waiting_count >= WAITING_MAX || c->propose.waiting_bytes >= WAITING_BYTES_MAX)
        return refuse(why, AMQP_RESOURCE_ERROR, "too many changes wait for the cluster");
    return true;
}

/* ---- taking one on ---- */

/* A connection that has gone, and of which nothing is on its way, has what is seen here. All else
 * is decided in the order of the log: what this node sees may be about to change. */
static bool is_settled_here(struct cluster *c, const struct meta_cmd *cmd, struct meta_result *r)
{
    return cmd->op == META_OWNER_GONE && *slot_of(c, cmd->conn) == 0 &&
           !cluster_apply_is_behind(c) && c->is_ready &&
           meta_check(meta_current(c->meta), cmd, r) != META_CHANGE;
}

static struct buf *envelope_of(const struct cluster *c, uint64_t op, const struct meta_cmd *cmd)
{
    struct meta_envelope e = { c->identity.node, c->inc, op, *cmd };
    size_t bytes = meta_envelope_size(&e);
    struct buf *b = buf_new(bytes);
    struct wire_out w = wire_out_over(b->data, bytes);
    meta_envelope_put(&w, &e);
    CHECK(!w.overflow);
    b->len_bytes = (uint32_t)wire_out_len(&w);
    return b;
}

static void enlist(struct cluster *c, const struct meta_cmd *cmd, cluster_proposed_fn done,
                   void *arg)
{
    struct cluster_proposal *p = mem_zalloc(sizeof *p);
    p->op = ++c->propose.last_op;
    p->conn = cmd->conn;
    p->since_ms = clock_mono_ms();
    p->done = done;
    p->arg = arg;
    p->bytes = envelope_of(c, p->op, cmd);
    TAILQ_INSERT_TAIL(&c->propose.waiting, p, entry);
    c->propose.waiting_count++;
    c->propose.waiting_bytes += p->bytes->len_bytes;
    ++*slot_of(c, p->conn);
    loop_at_turn_end(c->loop, &c->propose.send);
}

void cluster_propose(struct cluster *c, const struct meta_cmd *cmd, cluster_proposed_fn done,
                     void *arg)
{
    struct meta_refusal why;
    struct meta_result *r = &c->apply.result;
    struct meta_envelope e = { .cmd = *cmd };
    if (is_settled_here(c, cmd, r)) {
        if (done != NULL)
            done(arg, r->verdict, &r->refusal, r->id, false);
        return;
    }
    if (!may_be_proposed(c, cmd, meta_envelope_size(&e), &why)) {
        if (done != NULL)
            done(arg, META_REFUSED, &why, 0, false);
        return;
    }
    enlist(c, cmd, done, arg);
}

/* Whatever the phase: of the node itself. */
void cluster_propose_own(struct cluster *c, const struct meta_cmd *cmd)
{
    enlist(c, cmd, NULL, NULL);
}

void cluster_propose_damage(struct cluster *c, struct slice queues, cluster_proposed_fn done,
                            void *arg)
{
    struct meta_cmd cmd = { .op = META_NODE_DAMAGED };
    cmd.node_damaged.node = c->identity.node;
    cmd.node_damaged.inc = c->inc;
    cmd.node_damaged.items = queues;
    enlist(c, &cmd, done, arg);
}

/* ---- sending ---- */

/* Whom it goes to may have changed, or what was sent may have been lost on the way: begin anew. */
static void look_at_leader(struct cluster *c)
{
    struct cluster_propose *p = &c->propose;
    uint64_t session = cluster_links_session(c, c->leader);
    if (p->sent_to == c->leader && p->sent_term == c->term && p->sent_session == session)
        return;
    p->sent_to = c->leader;
    p->sent_term = c->term;
    p->sent_session = session;
    p->sent_op = 0;
    p->progress_ms = clock_mono_ms();
}

static struct cluster_proposal *first_unsent(const struct cluster *c)
{
    struct cluster_proposal *p;
    TAILQ_FOREACH_REVERSE(p, &c->propose.waiting, cluster_proposals, entry)
    if (p->op <= c->propose.sent_op)
        return TAILQ_NEXT(p, entry);
    return TAILQ_FIRST(&c->propose.waiting);
}

/* The next ones in one block: *p moves behind them. */
static struct buf *next_block(struct cluster_proposal **p)
{
    size_t bytes = (*p)->bytes->len_bytes;
    struct cluster_proposal *last = *p;
    for (struct cluster_proposal *n = TAILQ_NEXT(*p, entry);
         n != NULL && bytes + n->bytes->len_bytes <= ENTRY_BYTES; n = TAILQ_NEXT(n, entry)) {
        bytes += n->bytes->len_bytes;
        last = n;
    }
    if (last == *p) {
        *p = TAILQ_NEXT(*p, entry);
        return buf_ref(last->bytes);
    }
    struct buf *b = buf_new(bytes);
    for (struct cluster_proposal *n = *p;; n = TAILQ_NEXT(n, entry)) {
        memcpy(b->data + b->len_bytes, n->bytes->data, n->bytes->len_bytes);
        b->len_bytes += n->bytes->len_bytes;
        if (n == last)
            break;
    }
    *p = TAILQ_NEXT(last, entry);
    return b;
}

/* All before this one are sent. */
static void sent_before(struct cluster *c, const struct cluster_proposal *p)
{
    c->propose.sent_op = p != NULL ? p->op - 1 : c->propose.last_op;
    if (c->propose.ever_sent_op < c->propose.sent_op)
        c->propose.ever_sent_op = c->propose.sent_op;
}

static void send_to_core(struct cluster *c)
{
    struct cluster_proposal *p = first_unsent(c);
    /* Its own start, too, may have to wait: cluster_arrive_look goes on. */
    if (p != NULL && !c->is_ready && !cluster_arrive_may(c, buf_slice(p->bytes)))
        return;
    while (p != NULL && c->leader == c->identity.node) {
        struct buf *blocks[BATCH_MAX];
        size_t count = 0;
        while (p != NULL && count < BATCH_MAX)
            blocks[count++] = next_block(&p);
        /* Set before the step: in a cluster of one they may be applied in its course. */
        sent_before(c, p);
        uint64_t next = c->propose.sent_op + 1;
        bool ok = cluster_raft_propose(c, blocks, count, c->identity.node);
        for (size_t i = 0; i < count; i++)
            buf_unref(&blocks[i]);
        if (!ok)
            return; /* sent again by cluster_propose_tick, or to another leader */
        TAILQ_FOREACH (p, &c->propose.waiting, entry)
            if (p->op >= next)
                break;
    }
}

static void send_to_leader(struct cluster *c)
{
    struct cluster_proposal *p = first_unsent(c);
    while (p != NULL && !cluster_links_is_full(c, c->leader)) {
        struct buf *block = next_block(&p);
        bool ok = cluster_links_send_ops(c, c->leader, block);
        buf_unref(&block);
        if (!ok)
            return; /* no session: the next one has another number */
        sent_before(c, p);
    }
}

static void on_send(void *arg)
{
    struct cluster *c = arg;
    if (c->leader == 0 || TAILQ_EMPTY(&c->propose.waiting) ||
        meta_node_get(meta_current(c->meta), c->identity.node) == NULL)
        return;
    look_at_leader(c);
    if (c->leader == c->identity.node)
        send_to_core(c);
    else
        send_to_leader(c);
}

void cluster_propose_again(struct cluster *c)
{
    c->propose.sent_op = 0;
    cluster_propose_go_on(c);
}

void cluster_propose_go_on(struct cluster *c)
{
    if (!TAILQ_EMPTY(&c->propose.waiting))
        loop_at_turn_end(c->loop, &c->propose.send);
}

/* ---- what comes of them ---- */

static bool has_made_queue(const struct meta_result *r)
{
    for (size_t i = 0; i < r->effect_count; i++)
        if (r->effects[i].kind == META_QUEUE_CREATED && r->effects[i].qid == r->id)
            return true;
    return false;
}

void cluster_propose_applied(struct cluster *c, uint64_t op, uint64_t index,
                             const struct meta_result *r)
{
    struct cluster_proposal *p = TAILQ_FIRST(&c->propose.waiting);
    CHECK(p != NULL && p->op == op);
    leave_waiting(c, p);
    buf_unref(&p->bytes);
    p->index = index;
    p->verdict = r->verdict;
    p->id = r->id;
    p->is_made = has_made_queue(r);
    if (r->verdict == META_REFUSED)
        p->refusal = mem_dup(&r->refusal, sizeof r->refusal);
    TAILQ_INSERT_TAIL(&c->propose.applied, p, entry);
    c->propose.progress_ms = clock_mono_ms();
}

static void finish(struct cluster *c, struct cluster_proposal *p)
{
    TAILQ_REMOVE(&c->propose.applied, p, entry);
    tell(p, p->verdict, p->refusal, p->id);
    drop(p);
}

void cluster_propose_answer(struct cluster *c)
{
    struct cluster_proposal *p;
    while ((p = TAILQ_FIRST(&c->propose.applied)) != NULL && p->index <= c->apply.all_applied)
        finish(c, p);
}

/* The state was replaced by a later one: what it says of ours that went into it is all there is. */
void cluster_propose_skipped(struct cluster *c)
{
    uint32_t inc;
    uint64_t op;
    if (!meta_last_op(c->meta, c->identity.node, &inc, &op) || inc != c->inc)
        return;
    struct cluster_proposal *p;
    while ((p = TAILQ_FIRST(&c->propose.waiting)) != NULL && p->op <= op) {
        struct wire w = wire_over(buf_slice(p->bytes));
        struct meta_envelope e;
        struct meta_result r;
        meta_result_init(&r);
        CHECK(meta_envelope_take(&w, &e));
        if (meta_check(meta_current(c->meta), &e.cmd, &r) == META_CHANGE)
            r.verdict = META_DONE; /* and undone by another one since */
        cluster_propose_applied(c, p->op, c->apply.applied, &r);
        meta_result_fini(&r);
    }
    cluster_propose_answer(c);
}

/* ---- time ---- */

/* Those that were never sent are taken back: nothing came of them. The others go on, without
 * anybody who waits. */
static void give_up_waiting(struct cluster *c, uint64_t now_ms)
{
    struct meta_refusal why;
    struct cluster_proposal *p;
    while (c->is_cut_off && c->is_ready &&
           (p = TAILQ_LAST(&c->propose.waiting, cluster_proposals)) != NULL &&
           p->op > c->propose.ever_sent_op) {
        leave_waiting(c, p);
        c->propose.last_op--;
        refuse_cut_off(c, &why);
        tell(p, META_REFUSED, &why, 0);
        drop(p);
    }
    TAILQ_FOREACH (p, &c->propose.waiting, entry) {
        if (now_ms - p->since_ms < CLUSTER_UNKNOWN_MS)
            break;
        refuse_unknown(c, &why);
        tell(p, META_REFUSED, &why, 0);
    }
}

void cluster_propose_tick(struct cluster *c, uint64_t now_ms)
{
    struct cluster_proposal *p;
    give_up_waiting(c, now_ms);
    /* It is done, though one that counts as up does not say so in time. */
    while ((p = TAILQ_FIRST(&c->propose.applied)) != NULL &&
           now_ms - p->since_ms >= CLUSTER_UNKNOWN_MS)
        finish(c, p);
    if (!TAILQ_EMPTY(&c->propose.waiting) && now_ms - c->propose.progress_ms >= CLUSTER_RESEND_MS) {
        c->propose.sent_op = 0;
        c->propose.progress_ms = now_ms;
        cluster_propose_go_on(c);
    }
}

/* ---- the end ---- */

static void refuse_list(struct cluster_proposals *list, const struct meta_refusal *why)
{
    struct cluster_proposal *p;
    while ((p = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, p, entry);
        tell(p, META_REFUSED, why, 0);
        drop(p);
    }
}

void cluster_propose_refuse_all(struct cluster *c, const char *text)
{
    struct meta_refusal why;
    struct cluster_propose *p = &c->propose;
    (void)refuse(&why, AMQP_INTERNAL_ERROR, text);
    while (!TAILQ_EMPTY(&p->applied))
        finish(c, TAILQ_FIRST(&p->applied));
    refuse_list(&p->waiting, &why);
    p->waiting_count = 0;
    p->waiting_bytes = 0;
    memset(p->by_conn, 0, sizeof p->by_conn);
    p->last_op = p->sent_op = p->ever_sent_op = 0;
    p->sent_to = 0;
}

void cluster_propose_fini(struct cluster *c)
{
    loop_task_cancel(c->loop, &c->propose.send);
    cluster_propose_refuse_all(c, "the node stops");
}
