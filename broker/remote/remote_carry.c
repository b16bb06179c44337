#include "remote/remote_carry.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel_port.h"
#include "cluster/meta_node.h"
#include "cluster/meta_placement.h"
#include "doorway.h"
#include "hosted.h"
#include "port_lane.h"
#include "remote/remote_inner.h"
#include "remote/remote_lane.h"

#include <inttypes.h>

struct remote_carry {
    struct shard *shard;
    struct remote_lane *lane;    /* NULL: nothing was published to a mirrored queue yet */
    struct port_channel_ref ref; /* how it appears to queues of this node */
    uint64_t pid;
    TAILQ_HEAD(carry_asks, port_request) asks; /* wait for a master */
    struct loop_timer timer;
    uint64_t told_expired, told_again, told_bytes; /* of the lane's, in the log and the figures */
    bool is_looking;
};

/* ---- where queues are -------------------------------------------------------------------------
 */

static enum lane_found place_of(const struct shard *s, uint64_t qid, struct lane_place *out)
{
    const struct meta_version *v = broker_meta(s->broker);
    const struct meta_queue *q = meta_queue_get(v, qid);
    struct meta_placement p;
    if (q == NULL)
        return LANE_GONE;
    if (!meta_queue_is_served(v, q))
        return LANE_NOWHERE;
    meta_placement_of(v, q, &p);
    *out = (struct lane_place){ .epoch = p.epoch,
                                .node = p.master == broker_node(s->broker) ? 0 : p.master };
    return LANE_HERE_IS;
}

/* One whose mirrors were taken away, too, as long as something that was published before is not
 * answered: what comes now goes behind it. */
bool remote_carries(const struct shard *s, const struct meta_queue *q)
{
    const struct remote_lane *l = s->remotes != NULL ? s->remotes->carry->lane : NULL;
    return meta_queue_is_mirrored(broker_meta(s->broker), q) ||
           (UNLIKELY(l != NULL) && remote_lane_has(l, q->qid));
}

/* ---- the lane's way to queues -----------------------------------------------------------------
 */

static enum lane_found find(void *arg, uint64_t qid, struct lane_place *out)
{
    const struct remote_carry *c = arg;
    return place_of(c->shard, qid, out);
}

static enum port_published send(void *arg, const struct lane_place *to, uint64_t qid,
                                struct message *m, uint64_t payer, uint64_t ticket,
                                const struct lane_number *as)
{
    struct remote_carry *c = arg;
    struct shard *s = c->shard;
    struct port_origin origin = { .pid = as->pid != 0 ? as->pid : c->pid,
                                  .seq = as->seq,
                                  .epoch = to->epoch };
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), qid);
    if (q == NULL)
        return PORT_TAKEN; /* it is gone, and has no need of it */
    struct message *one = message_ref(m);
    if (to->node == 0)
        return port_publish_from(s, q, &one, &c->ref, ticket, &origin);
    remote_publish_from(s, to->node, qid, &one, &c->ref, ticket, &origin, payer);
    return PORT_LATER;
}

static bool sent(void *arg, uint16_t node, uint64_t ticket)
{
    struct remote_carry *c = arg;
    if (node == 0)
        return port_published(c->shard, &c->ref, ticket);
    remote_published_from(c->shard, node);
    return false;
}

static uint64_t said(void *arg, uint16_t node)
{
    const struct remote_carry *c = arg;
    return node != 0 ? remote_copies_said(c->shard, node) : 0;
}

static bool is_read(void *arg, uint16_t node, uint64_t upto)
{
    const struct remote_carry *c = arg;
    return node == 0 || remote_copies_taken(c->shard, node) >= upto;
}

static void answer(void *arg, const struct port_channel_ref *from, uint64_t number, bool ok,
                   bool lost)
{
    const struct remote_carry *c = arg;
    struct shard *s = c->shard;
    enum dead_fate fate = ok ? DEAD_TAKEN : lost ? DEAD_LOST : DEAD_REFUSED;
    if (from->connection == 0)
        hosted_on_letter_published(s, number, fate);
    else if (remote_is_session(from))
        remote_on_published(s, from, number, ok);
    else
        port_tell_publisher(s, from, number, fate);
}

static void relieve(void *arg, uint64_t connection, uint64_t octets)
{
    const struct remote_carry *c = arg;
    struct port_channel_ref session = { .connection = connection };
    if (remote_session_lives(c->shard, &session))
        remote_on_taken(c->shard, &session);
    else
        connection_on_forwarded(c->shard, connection, octets);
}

static void drop(void *arg, struct message **m)
{
    const struct remote_carry *c = arg;
    shard_message_drop(c->shard, m);
}

static void soon(void *arg)
{
    const struct remote_carry *c = arg;
    loop_at_turn_end(c->shard->loop, &c->shard->remotes->flush_task);
}

static const struct lane_ops lane_ops = {
    find, send, sent, said, is_read, answer, relieve, drop, soon,
};

/* ---- coming and going -------------------------------------------------------------------------
 */

static void on_tick(void *arg);

struct remote_carry *remote_carry_new(struct shard *s)
{
    struct remote_carry *c = mem_zalloc(sizeof *c);
    c->shard = s;
    TAILQ_INIT(&c->asks);
    loop_timer_init(&c->timer, s->loop, on_tick, c);
    return c;
}

void remote_carry_free(struct remote_carry **carry)
{
    struct remote_carry *c = *carry;
    *carry = NULL;
    loop_timer_fini(&c->timer);
    remote_lane_free(&c->lane);
    for (struct port_request *r; (r = TAILQ_FIRST(&c->asks)) != NULL; mem_free(r))
        TAILQ_REMOVE(&c->asks, r, carry_entry);
    mem_free(c);
}

/* Another process of this node has another pid, and begins at 1. */
static struct remote_lane *need_lane(struct remote_carry *c)
{
    if (LIKELY(c->lane != NULL))
        return c->lane;
    struct shard *s = c->shard;
    struct link_identity self;
    link_node_self(doorway_node(broker_doorway(s->broker)), &self);
    c->pid = id_make(broker_node(s->broker), s->index, self.inc);
    c->ref = (struct port_channel_ref){ .connection = shard_new_id(s) };
    c->lane = remote_lane_new(&lane_ops, c);
    return c->lane;
}

static uint64_t now_ms(const struct remote_carry *c)
{
    return loop_now_ms(c->shard->loop);
}

static bool has_waiting(const struct remote_carry *c)
{
    return !TAILQ_EMPTY(&c->asks) || (c->lane != NULL && remote_lane_waits(c->lane));
}

static void mind_timer(struct remote_carry *c)
{
    if (has_waiting(c) && !loop_timer_is_running(&c->timer))
        loop_timer_start(&c->timer, LANE_TICK_MS);
}

/* ---- publishes --------------------------------------------------------------------------------
 */

void remote_carry_publish(struct shard *s, const struct meta_queue *to, struct message **m,
                          const struct port_channel_ref *from, uint64_t number)
{
    struct remote_carry *c = s->remotes->carry;
    remote_lane_publish(need_lane(c), to->qid, m, from, number, now_ms(c));
    s->publishing_lane = true;
}

void remote_carry_requeue(struct shard *s, const struct meta_queue *to, struct message **m,
                          uint64_t number, const struct lane_number *as)
{
    static const struct port_channel_ref nobody;
    struct remote_carry *c = s->remotes->carry;
    remote_lane_publish_as(need_lane(c), to->qid, m, &nobody, number, as, now_ms(c));
    remote_carry_published(s);
}

void remote_carry_published(struct shard *s)
{
    struct remote_carry *c = s->remotes->carry;
    s->publishing_lane = false;
    if (c->lane == NULL)
        return;
    remote_lane_published(c->lane);
    mind_timer(c);
}

struct remote_lane *remote_carry_lane(const struct shard *s, const struct port_channel_ref *ref)
{
    const struct remote_carry *c = s->remotes != NULL ? s->remotes->carry : NULL;
    return c != NULL && c->lane != NULL && c->ref.connection == ref->connection ? c->lane : NULL;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

bool remote_carry_wants(const struct shard *s, const struct port_request *r)
{
    if (LIKELY(r->verdict != PORT_NODE_DOWN && r->verdict != PORT_ELSEWHERE) ||
        remote_is_session(&r->from))
        return false;
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), r->qid);
    return q != NULL && (r->verdict == PORT_ELSEWHERE || remote_carries(s, q)) &&
           (r->since_ms == 0 || loop_now_ms(s->loop) - r->since_ms < LANE_WAIT_MS);
}

void remote_carry_ask(struct shard *s, struct port_request **request)
{
    struct remote_carry *c = s->remotes->carry;
    struct port_request *r = *request;
    *request = NULL;
    if (r->since_ms == 0)
        r->since_ms = now_ms(c);
    r->is_due = r->verdict == PORT_OK; /* one that was not asked yet */
    TAILQ_INSERT_TAIL(&c->asks, r, carry_entry);
    soon(c);
    mind_timer(c);
}

/* A consumer that was to be carried may have been cancelled meanwhile. */
static bool is_wanted(struct shard *s, const struct port_request *r)
{
    struct channel *ch = channel_find(s, &r->from);
    return ch != NULL && (!r->carried || channel_has_consumer(ch, r->consumer));
}

static bool is_over(const struct remote_carry *c, const struct port_request *r)
{
    return now_ms(c) - r->since_ms >= LANE_WAIT_MS;
}

/* Where it is now; false: it waits on. */
static bool find_where(struct remote_carry *c, struct port_request *r)
{
    struct lane_place p;
    struct shard *s = c->shard;
    const struct meta_queue *q = meta_queue_get(broker_meta(s->broker), r->qid);
    if (q == NULL || place_of(s, r->qid, &p) != LANE_HERE_IS)
        return false;
    uint32_t where = port_where(s, q);
    if (where == r->where && !r->is_due)
        return false; /* not before the next tick */
    r->where = where;
    return true;
}

/* It was asked, or answered. */
static void ask_one(struct remote_carry *c, struct port_request *r)
{
    struct shard *s = c->shard;
    bool is_gone = meta_queue_get(broker_meta(s->broker), r->qid) == NULL || !is_wanted(s, r);
    if (!is_gone && find_where(c, r)) {
        TAILQ_REMOVE(&c->asks, r, carry_entry);
        r->verdict = PORT_OK;
        port_ask(s, &r);
        return;
    }
    if (!is_gone && !is_over(c, r))
        return;
    TAILQ_REMOVE(&c->asks, r, carry_entry);
    r->verdict = is_gone ? PORT_NO_QUEUE : PORT_NODE_DOWN;
    port_answered(s, r);
}

/* Those that come back meanwhile stand behind the last one. */
static void ask_all(struct remote_carry *c)
{
    struct port_request *last = TAILQ_LAST(&c->asks, carry_asks), *r, *next;
    if (c->is_looking)
        return;
    c->is_looking = true;
    for (r = TAILQ_FIRST(&c->asks); r != NULL; r = next) {
        next = r != last ? TAILQ_NEXT(r, carry_entry) : NULL;
        ask_one(c, r);
    }
    c->is_looking = false;
}

/* ---- time -------------------------------------------------------------------------------------
 */

static void tell_expired(struct remote_carry *c)
{
    uint64_t more = c->lane->expired - c->told_expired;
    if (more == 0)
        return;
    c->told_expired = c->lane->expired;
    shard_count(c->shard, publishes_expired, more);
    log_warn("remote", broker_name(c->shard->broker),
             "no master came for mirrored queues in time: publishes are given up shard=%u "
             "copies=%" PRIu64,
             c->shard->index, more);
}

static void count_figures(struct remote_carry *c)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < LANE_SIDES; i++)
        bytes += c->lane->shares[i].octets;
    shard_count(c->shard, publishes_kept_bytes, bytes - c->told_bytes);
    shard_count(c->shard, publishes_again, c->lane->sent_again - c->told_again);
    c->told_bytes = bytes;
    c->told_again = c->lane->sent_again;
}

static void on_tick(void *arg)
{
    struct remote_carry *c = arg;
    struct port_request *r;
    TAILQ_FOREACH (r, &c->asks, carry_entry)
        r->is_due = true;
    ask_all(c);
    if (c->lane != NULL) {
        remote_lane_tick(c->lane, now_ms(c));
        tell_expired(c);
    }
    mind_timer(c);
}

void remote_carry_look(struct shard *s)
{
    struct remote_carry *c = s->remotes->carry;
    if (c->lane != NULL)
        remote_lane_look(c->lane, now_ms(c));
    ask_all(c);
    mind_timer(c);
}

void remote_carry_on_lost(struct shard *s, uint16_t node)
{
    struct remote_carry *c = s->remotes->carry;
    if (c->lane == NULL)
        return;
    remote_lane_on_lost(c->lane, node);
    mind_timer(c);
    soon(c);
}

void remote_carry_flush(struct shard *s)
{
    struct remote_carry *c = s->remotes->carry;
    ask_all(c);
    if (c->lane == NULL)
        return;
    remote_lane_flush(c->lane);
    count_figures(c);
}
