#include "remote/remote_server_inner.h"

#include "base/mutation.h"
#include "remote/remote_kept.h"

/* With so much waiting for the link nothing more is taken from queues, until it is less. */
#define WAITING_MANY_BYTES ((size_t)8 * 1024 * 1024)
#define WAITING_FEW_BYTES  ((size_t)2 * 1024 * 1024)

#define SETTLED_MOVED_MAX  8192u /* of one record; we say one of each range */

/* ---- deliveries -------------------------------------------------------------------------------
 */

/* Numbered with the deliveries, but taken by what else is said of it. */
uint64_t remote_add_under_way(struct remote_server *s, const struct remote_delivery *d, bool done)
{
    uint64_t tag = d->auto_ack ? unacked_skip(&s->unacked)
                               : unacked_add(&s->unacked, &(struct unacked_entry){
                                                              .qid = d->qid,
                                                              .qseq = d->qseq,
                                                              .consumer = d->consumer,
                                                              .where = d->where,
                                                              .known = d->known,
                                                          });
    if (done && s->under_way.count == 0) {
        s->under_way_base = tag + 1;
        return tag;
    }
    CHECK(tag == s->under_way_base + s->under_way.count);
    struct remote_under_way *u = remote_ring_add(&s->under_way);
    *u = (struct remote_under_way){ .delivery = *d, .done = done };
    return tag;
}

static void no_longer_away(struct remote_server *s, struct remote_subscription *c)
{
    if (!c->is_turned_away)
        return;
    c->is_turned_away = false;
    TAILQ_REMOVE(&s->turned_away, c, away_entry);
}

static bool has_room(const struct remote_server *s)
{
    return remote_outbox_waiting(&s->out) <= WAITING_FEW_BYTES;
}

/* Those that were turned away may go on, once their channels have answered for all that is under
 * way to them: one that has sent something back wakes its consumer itself, with other credit. */
void remote_wake_those_away(struct remote_server *s)
{
    struct remote_subscription *next;
    for (struct remote_subscription *c = TAILQ_FIRST(&s->turned_away); c != NULL && has_room(s);
         c = next) {
        next = TAILQ_NEXT(c, away_entry);
        if (c->out != 0 || c->is_refusing)
            continue;
        no_longer_away(s, c);
        if (!MUTATION(REMOTE_TURNED_AWAY_FORGOTTEN))
            s->ops->wake(s->arg, c->where, c->id, c->credit);
    }
}

void remote_server_on_room(struct remote_server *s)
{
    remote_outbox_on_room(&s->out);
    remote_wake_those_away(s);
    s->ops->settled(s->arg);
}

/* All that follows is turned away, too, before it is woken: order is kept as by a channel that has
 * no room. */
static bool turn_away(struct remote_server *s, struct remote_subscription *c)
{
    bool stays_away = c->is_turned_away && !MUTATION(REMOTE_TURNED_AWAY_OVERTAKEN);
    if (LIKELY(!stays_away && remote_outbox_waiting(&s->out) < WAITING_MANY_BYTES))
        return false;
    if (!c->is_turned_away)
        TAILQ_INSERT_TAIL(&s->turned_away, c, away_entry);
    c->is_turned_away = true;
    return true;
}

/* The other side has it still, if this reaches it before it hears of much else that we have read.
 * Then it has no other name until it comes back. */
static bool is_named(struct remote_server *s, const struct remote_subscription *c,
                     struct message *m, uint64_t *as)
{
    if (LIKELY(!message_is_kept(m, s->id, as)) || s->kept_read - *as > REMOTE_KEPT_BYTES ||
        remote_outbox_holds(&s->out, c->channel))
        return false;
    if (!MUTATION(REMOTE_KEPT_NAMED_AGAIN))
        message_set_kept_by(m, 0);
    struct remote_under_way *last = remote_ring_at(&s->under_way, s->under_way.count - 1);
    last->named = message_ref(m);
    return true;
}

/* It is no longer under way. One that was sent back is kept over there still. */
static void drop_named(struct remote_server *s, struct remote_under_way *u)
{
    if (LIKELY(u->named == NULL))
        return;
    if (u->delivery.refused)
        message_set_kept_by(u->named, s->id);
    s->out.pipe.drop(s->out.pipe.arg, &u->named);
}

void remote_forget_under_way(struct remote_server *s)
{
    for (; s->under_way.count != 0; remote_ring_drop_first(&s->under_way))
        drop_named(s, remote_ring_at(&s->under_way, 0));
    remote_ring_fini(&s->under_way);
}

bool remote_server_deliver(struct remote_server *s, const struct remote_delivery *d,
                           struct message *m)
{
    struct remote_subscription *c = idmap_get(&s->consumers, d->consumer);
    if (UNLIKELY(c == NULL || turn_away(s, c)))
        return false;
    uint64_t tag = remote_add_under_way(s, d, false);
    c->out++;
    c->credit -= c->credit != PORT_ANY;
    s->under_way_bytes += d->bytes;
    struct remote_record r = { .op = REMOTE_DELIVER,
                               .flags = d->redelivered ? REMOTE_REDELIVERED : 0,
                               .consumer = d->consumer,
                               .tag = tag,
                               .signed_number = d->qseq,
                               .message = m };
    if (is_named(s, c, m, &r.number)) {
        r.op = REMOTE_DELIVER_KEPT;
        r.message = NULL;
    }
    remote_say(s, c->channel, &r);
    return true;
}

static void drop_those_done(struct remote_server *s)
{
    const struct remote_under_way *u;
    while (s->under_way.count != 0 && (u = remote_ring_at(&s->under_way, 0))->done) {
        remote_ring_drop_first(&s->under_way);
        s->under_way_base++;
    }
}

static void one_returned(struct remote_server *s, uint64_t tag, bool refused)
{
    struct remote_under_way *u = remote_ring_at(&s->under_way, (size_t)(tag - s->under_way_base));
    struct unacked_entry e;
    if (u->done)
        return;
    u->done = true;
    s->under_way_bytes -= u->delivery.bytes;
    u->delivery.refused = refused;
    struct remote_subscription *c = idmap_get(&s->consumers, u->delivery.consumer);
    if (LIKELY(c != NULL)) {
        c->out--;
        c->is_refusing = c->is_refusing || refused;
    }
    if (refused && !u->delivery.auto_ack)
        (void)unacked_take(&s->unacked, tag, &e);
    drop_named(s, u);
    s->ops->returned(s->arg, &u->delivery);
}

void remote_on_returned(struct remote_server *s, struct slice list, bool refused)
{
    uint64_t first;
    uint32_t count;
    while (remote_next_range(&list, &first, &count)) {
        uint64_t end = s->under_way_base + s->under_way.count;
        uint64_t last = count < end ? first + count : end; /* behind it */
        first = first < s->under_way_base ? s->under_way_base : first;
        for (uint64_t tag = first; tag < last && tag < end; tag++)
            one_returned(s, tag, refused);
    }
    drop_those_done(s);
    s->ops->returned_all(s->arg);
    remote_wake_those_away(s);
}

/* What is not out (any more) is passed over. */
void remote_on_settle(struct remote_server *s, struct slice list, enum port_settle how)
{
    uint64_t first;
    uint32_t count;
    struct unacked_entry e;
    while (remote_next_range(&list, &first, &count)) {
        uint64_t next = s->unacked.next;
        for (uint64_t tag = first; count != 0 && tag < next; tag++, count--) {
            if (unacked_take(&s->unacked, tag, &e) && how != PORT_FORGET)
                s->ops->settle(s->arg, &e, how);
        }
    }
}

void remote_on_settle_moved(struct remote_server *s, uint64_t qid, struct slice list,
                            enum port_settle how)
{
    uint64_t first;
    uint32_t count;
    uint32_t left = SETTLED_MOVED_MAX;
    while (left != 0 && remote_next_range(&list, &first, &count))
        for (uint32_t i = 0; i < count && left != 0; i++, left--)
            s->ops->settle_moved(s->arg, qid, first + i, how);
}

/* ---- consumers --------------------------------------------------------------------------------
 */

void remote_forget_consumer(struct remote_server *s, uint64_t id)
{
    struct remote_subscription *c = idmap_take(&s->consumers, id);
    if (c != NULL)
        no_longer_away(s, c);
    mem_free(c);
}

void remote_on_wake(struct remote_server *s, uint64_t consumer, uint32_t credit)
{
    struct remote_subscription *c = idmap_get(&s->consumers, consumer);
    if (c == NULL)
        return;
    no_longer_away(s, c);
    c->is_refusing = false;
    c->credit = credit;
    s->ops->wake(s->arg, c->where, consumer, credit);
}

void remote_on_abandon(struct remote_server *s, uint64_t consumer)
{
    const struct remote_subscription *c = idmap_get(&s->consumers, consumer);
    if (c == NULL)
        return;
    struct remote_subscription was = *c;
    remote_forget_consumer(s, consumer);
    s->ops->abandon(s->arg, was.where, was.qid, consumer);
}

static void say_of_consumer(struct remote_server *s, uint64_t consumer, enum remote_op op)
{
    const struct remote_subscription *c = idmap_get(&s->consumers, consumer);
    if (c != NULL)
        remote_say(s, c->channel, &(struct remote_record){ .op = op, .consumer = consumer });
}

/* All that it refused is back, what was on its way when it was woken included. */
void remote_server_on_resumed(struct remote_server *s, uint64_t consumer)
{
    struct remote_subscription *c = idmap_get(&s->consumers, consumer);
    if (c != NULL && !MUTATION(REMOTE_REFUSAL_KEPT))
        c->is_refusing = false;
    say_of_consumer(s, consumer, REMOTE_RESUMED);
}

void remote_server_on_served(struct remote_server *s, uint64_t consumer)
{
    say_of_consumer(s, consumer, REMOTE_SERVED);
}

void remote_server_on_cancelled(struct remote_server *s, uint64_t consumer)
{
    say_of_consumer(s, consumer, REMOTE_CANCELLED);
    remote_forget_consumer(s, consumer);
}

void remote_server_on_consumer_moved(struct remote_server *s, uint64_t consumer)
{
    say_of_consumer(s, consumer, REMOTE_CONSUMER_MOVED);
    remote_forget_consumer(s, consumer);
}

void remote_abandon_all(struct remote_server *s)
{
    for (struct remote_subscription *c; (c = idmap_first(&s->consumers)) != NULL; mem_free(c)) {
        idmap_take(&s->consumers, c->id);
        if (!MUTATION(REMOTE_CONSUMER_STAYS))
            s->ops->abandon(s->arg, c->where, c->qid, c->id);
    }
    idmap_fini(&s->consumers);
    TAILQ_INIT(&s->turned_away);
}

/* Nobody knows whether its channel had it. One that wants no acknowledgement counts as delivered,
 * as it does for whoever is not sure that its client has it. */
void remote_return_all(struct remote_server *s)
{
    struct unacked_entry e;
    for (; s->under_way.count != 0; remote_ring_drop_first(&s->under_way), s->under_way_base++) {
        struct remote_under_way *u = remote_ring_at(&s->under_way, 0);
        if (u->done || MUTATION(REMOTE_UNDER_WAY_STAYS))
            continue;
        u->delivery.refused = !u->delivery.auto_ack;
        u->delivery.seen = !MUTATION(REMOTE_SEEN_NOT_SAID);
        if (u->delivery.refused)
            (void)unacked_take(&s->unacked, s->under_way_base, &e);
        drop_named(s, u);
        s->ops->returned(s->arg, &u->delivery);
    }
    s->ops->returned_all(s->arg);
    remote_ring_fini(&s->under_way);
}
