/* Consumers of a queue that another node masters from now on. */

#include "base/check.h"
#include "broker.h"
#include "client/channel_claim.h"
#include "client/channel_consumer.h"
#include "live.h"
#include "remote/remote_carry.h"

static bool is_to_be_carried(const struct channel *ch, const struct channel_consumer *cc)
{
    struct shard *s = ch->conn->shard;
    const struct meta_queue *q = meta_queue_get(channel_meta(ch), cc->qid);
    return q != NULL && remote_carries(s, q) && !cc->cancel_on_failover &&
           ch->conn->live->conf->cluster.failover_mode == BROKER_FAILOVER_TRANSPARENT;
}

/* By another id: what the former master sends still is for nobody, and goes back to it. */
static void renew(struct channel *ch, struct channel_consumer *cc)
{
    if (cc->starved)
        channel_consumer_is_fed(ch, cc);
    channel_consumer_unreserve(ch, cc);
    idmap_take(&ch->consumers, cc->id);
    cc->id = shard_new_id(ch->conn->shard);
    cc->credit = PORT_ANY;
    cc->refusing = false;
    idmap_put(&ch->consumers, cc->id, cc);
}

/* With what it holds: its next master counts that before it hands out anything. */
static void subscribe_again(struct channel *ch, const struct channel_consumer *cc, uint64_t was)
{
    struct port_request *r = channel_claim(ch, was, cc->id);
    r->op = PORT_CONSUME;
    r->qid = cc->qid;
    r->where = cc->where;
    r->from = channel_ref(ch);
    r->consumer = cc->id;
    r->priority = cc->priority;
    r->prefetch = cc->prefetch;
    r->no_ack = cc->no_ack;
    r->exclusive = cc->exclusive;
    r->carried = true;
    remote_carry_ask(ch->conn->shard, &r);
}

/* One whose consume or cancel is under way is minded by the answer to that. */
void channel_on_moved(struct channel *ch, uint64_t consumer)
{
    struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    if (cc == NULL || cc->cancelled || cc == ch->pending.consumer)
        return;
    if (!is_to_be_carried(ch, cc)) {
        channel_on_cancelled(ch, consumer);
        return;
    }
    bool had_places = cc->reserved != 0;
    renew(ch, cc);
    subscribe_again(ch, cc, consumer);
    if (had_places)
        channel_feed(ch);
}

/* It may have been cancelled meanwhile. */
static void mind_consumer(struct channel *ch, const struct port_request *r)
{
    struct channel_consumer *cc = idmap_get(&ch->consumers, r->consumer);
    if (cc == NULL || cc->cancelled) {
        if (r->verdict == PORT_OK)
            port_abandon(ch->conn->shard, r->where, r->qid, r->consumer);
        return;
    }
    if (r->verdict != PORT_OK) {
        channel_on_cancelled(ch, r->consumer);
        return;
    }
    cc->where = r->where;
    cc->timeout_ms = r->consumer_timeout_ms;
}

void channel_on_carried(struct channel *ch, struct port_request *r)
{
    enum channel_claim_end end = channel_claimed(ch, r);
    mind_consumer(ch, r);
    port_settled(ch->conn->shard);
    if (end != CHANNEL_CLAIM_QUIET && ch->tx != NULL)
        channel_tx_on_published(ch, end == CHANNEL_CLAIM_SETTLED);
}

bool channel_has_consumer(const struct channel *ch, uint64_t consumer)
{
    const struct channel_consumer *cc = idmap_get(&ch->consumers, consumer);
    return cc != NULL && !cc->cancelled;
}
