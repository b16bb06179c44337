#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel.h"
#include "client/channel_claim.h"
#include "cluster/meta_node.h"
#include "live.h"

#include <inttypes.h>

/* However large a transaction, others have their turn after so many of its messages. */
#define COMMIT_PER_TURN 2048u

/* Messages that nobody can take before a commit must not be what keeps the node from going on: all
 * transactions of it together may hold this part of the memory at which publishers are stopped. */
#define TX_SHARE     2u

#define PLACES_FIRST ((size_t)4)

/* Where something was settled by the commit, and in which epoch of its queue. */
struct settled_at {
    uint64_t qid;
    uint64_t epoch;
    uint32_t where;
};

struct channel_tx {
    struct tx kept;
    size_t counted_bytes; /* of kept.held_bytes, what no message stands for */
    size_t done;          /* publishes that were handed over */
    uint64_t waiting;     /* queues that have not taken theirs yet, the journal, fences, claims */
    uint64_t number;      /* of its last publish, for port_publish */
    bool committing;
    bool failed; /* a queue did not take one, or something that was settled may come again */
    struct settled_at *places;
    size_t place_count;
    size_t place_cap;
    struct loop_task go_on;
};

static void on_go_on(void *arg);

/* ---- what is kept
 * ------------------------------------------------------------------------------------------------
 */

/* Watermarks see what is kept, as they see messages that are being sent. */
static void count_change(struct channel *ch, size_t held_before, size_t message_bytes)
{
    struct channel_tx *tx = ch->tx;
    size_t more = tx->kept.held_bytes - held_before;
    ch->conn->shard->tx_bytes += more;
    tx->counted_bytes += more - message_bytes;
    shard_count_bytes(ch->conn->shard, (int64_t)(more - message_bytes));
}

static void count_none(struct channel *ch, size_t held_before)
{
    struct channel_tx *tx = ch->tx;
    ch->conn->shard->tx_bytes -= held_before;
    shard_count_bytes(ch->conn->shard, -(int64_t)tx->counted_bytes);
    tx->counted_bytes = 0;
}

static uint64_t most_bytes(const struct channel *ch)
{
    const struct broker *b = ch->conn->shard->broker;
    return broker_memory_limit(b) / TX_SHARE / broker_shard_count(b);
}

void channel_tx_publish(struct channel *ch, struct message **m,
                        const struct meta_queue *const *queues, size_t count, bool mandatory)
{
    struct shard *s = ch->conn->shard;
    size_t more = tx_publish_bytes(*m, count);
    uint64_t most = most_bytes(ch);
    if (s->tx_bytes + more > most) {
        shard_message_drop(s, m);
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_BASIC_PUBLISH,
                      "transaction too large: what is not committed would take more than %" PRIu64
                      " octets of memory",
                      most);
        return;
    }
    size_t before = ch->tx->kept.held_bytes;
    size_t message_bytes = message_cost_bytes(*m);
    uint64_t *qids = tx_add_publish(&ch->tx->kept, m, count, mandatory);
    for (size_t i = 0; i < count; i++)
        qids[i] = queues[i]->qid;
    count_change(ch, before, message_bytes);
}

/* Bounded by what is out with the channel. */
void channel_tx_settle(struct channel *ch, uint64_t tag, const struct unacked_entry *e,
                       enum port_settle how)
{
    size_t before = ch->tx->kept.held_bytes;
    tx_add_settle(&ch->tx->kept, tag, e, (int)how);
    count_change(ch, before, 0);
}

uint64_t channel_tx_messages(const struct channel *ch)
{
    return ch->tx != NULL ? ch->tx->kept.publish_count - ch->tx->done : 0;
}

uint64_t channel_tx_acks(const struct channel *ch)
{
    uint64_t n = 0;
    for (size_t i = 0; ch->tx != NULL && i < ch->tx->kept.settle_count; i++)
        n += ch->tx->kept.settles[i].how == PORT_ACK;
    return n;
}

/* The messages that were not handed over, and all that is counted, go. */
static void drop_publishes(struct channel *ch)
{
    struct channel_tx *tx = ch->tx;
    for (size_t i = tx->done; i < tx->kept.publish_count; i++)
        shard_message_drop(ch->conn->shard, &tx->kept.publishes[i].message);
    tx->kept.publish_count = 0;
}

static void start_anew(struct channel *ch)
{
    struct channel_tx *tx = ch->tx;
    tx_clear(&tx->kept);
    tx->done = 0;
    mem_free(tx->places);
    tx->places = NULL;
    tx->place_count = tx->place_cap = 0;
    tx->committing = tx->failed = false;
}

/* ---- select and rollback
 * ------------------------------------------------------------------------------------------------
 */

static void take_select(struct channel *ch)
{
    if (ch->confirms) {
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_TX_SELECT,
                      "cannot switch from confirm to tx mode");
        return;
    }
    if (ch->tx == NULL) {
        ch->tx = mem_zalloc(sizeof *ch->tx);
        tx_init(&ch->tx->kept);
        loop_task_init(&ch->tx->go_on, on_go_on, ch);
    }
    channel_send(ch, &(struct amqp_method){ .id = AMQP_TX_SELECT_OK });
}

/* As in RabbitMQ, what was settled stays with the client, which may settle it again. */
static void take_rollback(struct channel *ch)
{
    size_t held = ch->tx->kept.held_bytes;
    drop_publishes(ch);
    tx_reopen(&ch->tx->kept, &ch->unacked);
    count_none(ch, held);
    start_anew(ch);
    channel_send(ch, &(struct amqp_method){ .id = AMQP_TX_ROLLBACK_OK });
}

/* ---- commit
 * ------------------------------------------------------------------------------------------------
 */

/* Queues that went since it was published, or whose node did and that have no mirrors, are passed
 * over, and if none is left nobody wanted it. */
static void hand_over(struct channel *ch, const struct tx_publish *p)
{
    struct shard *s = ch->conn->shard;
    struct channel_tx *tx = ch->tx;
    const struct meta_version *v = channel_meta(ch);
    struct port_channel_ref from = channel_ref(ch);
    size_t cost = message_cost_bytes(p->message);
    size_t taken = 0;
    tx->number++;
    for (size_t i = 0; i < p->qid_count; i++) {
        const struct meta_queue *q = meta_queue_get(v, tx->kept.qids[p->first_qid + i]);
        if (q == NULL || !meta_queue_is_reached(v, q))
            continue;
        taken++;
        struct message *one = message_ref(p->message);
        enum port_published done = port_publish(s, q, &one, &from, tx->number);
        tx->failed = tx->failed || done == PORT_REFUSED;
        tx->waiting += done == PORT_AWAITED;
        if (done == PORT_LATER) {
            tx->waiting++;
            ch->conn->forwarded_bytes += cost;
        }
    }
    tx->waiting += port_published(s, &from, tx->number);
    if (taken != 0)
        return;
    channel_count(ch, unroutable, 1);
    if (p->mandatory)
        channel_return(ch, p->message);
}

static void settle_all(struct channel *ch)
{
    struct tx *kept = &ch->tx->kept;
    tx_sort_for_commit(kept);
    for (size_t i = 0; i < kept->settle_count; i++)
        channel_settle(ch, &kept->settles[i].entry, (enum port_settle)kept->settles[i].how);
    kept->settle_count = 0;
    channel_settled(ch);
}

/* ---- where it was settled ----------------------------------------------------------------------
 *
 * A node that does not master the queue any more passes on what it is told of it, and who does may
 * have given the messages to others by then: so that counts for nothing. Neither does what goes to
 * a node that has been lost since it handed them out. */

static struct settled_at *add_place(struct channel_tx *tx)
{
    if (tx->place_count == tx->place_cap) {
        tx->place_cap = tx->place_cap != 0 ? 2 * tx->place_cap : PLACES_FIRST;
        tx->places = mem_realloc(tx->places, tx->place_cap * sizeof *tx->places);
    }
    return &tx->places[tx->place_count++];
}

static const struct settled_at *place_of(struct channel *ch, uint64_t qid, uint32_t where)
{
    struct channel_tx *tx = ch->tx;
    const struct settled_at *last = tx->place_count != 0 ? &tx->places[tx->place_count - 1] : NULL;
    if (last != NULL && last->qid == qid && last->where == where)
        return last;
    const struct meta_version *v = channel_meta(ch);
    const struct meta_queue *q = meta_queue_get(v, qid);
    if (q == NULL)
        return NULL;
    tx->failed = tx->failed || port_where(ch->conn->shard, q) != where;
    struct settled_at *new = add_place(tx);
    *new = (struct settled_at){ qid, meta_queue_epoch(v, q), where };
    return new;
}

/* An epoch is the number of the entry with which it began. */
void channel_tx_settled_at(struct channel *ch, uint64_t qid, uint32_t where, uint64_t known)
{
    struct channel_tx *tx = ch->tx;
    if (tx == NULL || !tx->committing)
        return;
    const struct settled_at *at = place_of(ch, qid, where);
    tx->failed = tx->failed || (at != NULL && at->epoch > known);
}

/* Is each of them in the hands in which it was? One that was deleted takes its messages with it. */
static bool are_as_they_were(const struct channel *ch)
{
    const struct channel_tx *tx = ch->tx;
    const struct meta_version *v = channel_meta(ch);
    for (size_t i = 0; i < tx->place_count; i++) {
        const struct meta_queue *q = meta_queue_get(v, tx->places[i].qid);
        if (q != NULL && meta_queue_epoch(v, q) != tx->places[i].epoch)
            return false;
    }
    return true;
}

/* All queues are to have done it, for good, before the client is told. */
static void settle_and_await(struct channel *ch)
{
    struct port_channel_ref to = channel_ref(ch);
    port_fence_begin(ch->conn->shard);
    settle_all(ch);
    ch->tx->waiting += port_fence(ch->conn->shard, &to, true);
}

/* All is handed over: the client is told once every queue has taken what is for it, for good. */
static void end_if_done(struct channel *ch)
{
    struct channel_tx *tx = ch->tx;
    if (!tx->committing || tx->done < tx->kept.publish_count || tx->waiting != 0)
        return;
    bool failed = tx->failed || !are_as_they_were(ch);
    start_anew(ch);
    channel_done(ch);
    if (failed)
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_TX_COMMIT, "partial tx completion");
    else
        channel_send(ch, &(struct amqp_method){ .id = AMQP_TX_COMMIT_OK });
}

static void hand_over_some(struct channel *ch, size_t most)
{
    struct channel_tx *tx = ch->tx;
    for (size_t n = 0; n < most && tx->done < tx->kept.publish_count; n++) {
        struct tx_publish *p = &tx->kept.publishes[tx->done];
        hand_over(ch, p);
        shard_message_drop(ch->conn->shard, &p->message);
        tx->done++;
    }
}

/* In RabbitMQ's order: messages, and returns among them; then what was settled. */
static void commit_some(struct channel *ch)
{
    struct channel_tx *tx = ch->tx;
    hand_over_some(ch, COMMIT_PER_TURN);
    if (tx->done < tx->kept.publish_count) {
        loop_again(ch->conn->shard->loop, &tx->go_on);
        return;
    }
    size_t held = tx->kept.held_bytes;
    settle_and_await(ch);
    count_none(ch, held);
    tx->kept.held_bytes = 0;
    end_if_done(ch);
}

static void on_go_on(void *arg)
{
    commit_some(arg);
}

static void take_commit(struct channel *ch)
{
    channel_begin(ch, AMQP_TX_COMMIT);
    ch->tx->committing = true;
    commit_some(ch);
}

void channel_tx_on_published(struct channel *ch, bool ok)
{
    struct channel_tx *tx = ch->tx;
    CHECK(tx->waiting > 0);
    tx->waiting--;
    tx->failed = tx->failed || !ok;
    end_if_done(ch);
}

void channel_tx_on_durable(struct channel *ch, uint32_t count)
{
    struct channel_tx *tx = ch->tx;
    CHECK(tx->waiting >= count);
    tx->waiting -= count;
    end_if_done(ch);
}

/* What was settled with a master that is lost may come again: that is not to be called committed.
 */
void channel_tx_on_fenced(struct channel *ch, bool is_lost)
{
    channel_tx_on_published(ch, !is_lost);
}

void channel_tx_each(struct channel *ch, unacked_each_fn fn, void *arg)
{
    if (ch->tx != NULL)
        tx_each(&ch->tx->kept, fn, arg);
}

bool channel_tx_await(struct channel *ch)
{
    bool is_committing = ch->tx != NULL && ch->tx->committing;
    if (is_committing)
        ch->tx->waiting++;
    return is_committing;
}

void channel_tx_fence(struct channel *ch)
{
    struct port_channel_ref to = channel_ref(ch);
    ch->tx->waiting += port_fence(ch->conn->shard, &to, true);
}

void channel_tx_lose(struct channel *ch, uint64_t qid)
{
    if (ch->tx != NULL && ch->tx->committing && meta_queue_get(channel_meta(ch), qid) != NULL)
        ch->tx->failed = true;
}

bool channel_take_tx(struct channel *ch, uint32_t method)
{
    if (method == AMQP_TX_SELECT)
        take_select(ch);
    else if (method != AMQP_TX_COMMIT && method != AMQP_TX_ROLLBACK)
        return false;
    else if (ch->tx == NULL)
        channel_error(ch, AMQP_PRECONDITION_FAILED, method, "channel is not transactional");
    else if (method == AMQP_TX_COMMIT)
        take_commit(ch);
    else
        take_rollback(ch);
    return true;
}

/* ---- its end
 * ------------------------------------------------------------------------------------------------
 */

/* The channel goes. What it had begun to commit is committed, for a part of it is in the queues
 * already; nobody is told. */
void channel_tx_end(struct channel *ch)
{
    struct channel_tx *tx = ch->tx;
    if (tx == NULL)
        return;
    loop_task_cancel(ch->conn->shard->loop, &tx->go_on);
    if (tx->committing) {
        hand_over_some(ch, SIZE_MAX);
        settle_all(ch);
    }
    size_t held = tx->kept.held_bytes;
    drop_publishes(ch);
    tx_reopen(&tx->kept, &ch->unacked);
    count_none(ch, held);
    tx_fini(&tx->kept);
    mem_free(tx->places);
    mem_free(tx);
    ch->tx = NULL;
}
