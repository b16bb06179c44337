#include "remote/remote_lane.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"

struct lane_charge {
    uint64_t connection;
    uint64_t octets;
};

TAILQ_HEAD(lane_copies, lane_copy);

/* A message, for one queue that is mirrored or for several. */
struct lane_item {
    struct lane_number as;
    struct message *message; /* NULL: all copies are answered, a ticket is still out */
    struct port_channel_ref from;
    uint64_t number; /* 0: nobody waits */
    uint64_t at_ms;
    uint64_t octets;
    uint32_t copies;
    uint32_t tickets;
    bool is_loose; /* in the list of those */
    struct lane_copies all;
    TAILQ_ENTRY(lane_item) loose_entry;
};

struct lane_copy {
    struct lane_item *item;
    struct lane_queue *queue;
    uint64_t ticket; /* 0: it is not under way */
    uint64_t said;   /* to its node, with it */
    TAILQ_ENTRY(lane_copy) item_entry;
    TAILQ_ENTRY(lane_copy) queue_entry;
};

struct lane_queue {
    uint64_t qid;
    struct lane_place place; /* what is under way is there */
    enum lane_side side;
    bool is_turned_away;       /* by that place: nothing more before another epoch */
    uint64_t since_ms;         /* it stands */
    uint64_t octets, count;    /* of copies */
    struct lane_copies copies; /* in the order in which they were published */
    TAILQ_ENTRY(lane_queue) standing_entry;
};

struct lane_ticket {
    uint64_t number;
    struct lane_item *item;
    struct lane_copy *only; /* of one that was made for it alone; NULL: turned away since */
    bool is_for_one;
    bool ok;
    uint16_t node;
    uint32_t left; /* answers */
};

struct remote_lane *remote_lane_new(const struct lane_ops *ops, void *arg)
{
    struct remote_lane *l = mem_zalloc(sizeof *l);
    l->ops = ops;
    l->arg = arg;
    for (unsigned i = 0; i < LANE_SIDES; i++)
        remote_ring_init(&l->shares[i].charges, sizeof(struct lane_charge));
    idmap_init(&l->queues);
    idmap_init(&l->tickets);
    TAILQ_INIT(&l->standing);
    TAILQ_INIT(&l->loose);
    return l;
}

/* ---- what is kept -----------------------------------------------------------------------------
 */

static void count_copy(struct remote_lane *l, struct lane_queue *q, uint64_t octets)
{
    q->octets += octets;
    q->count++;
    l->shares[q->side].octets += octets;
    l->shares[q->side].count++;
}

static void uncount_copy(struct remote_lane *l, struct lane_queue *q, uint64_t octets)
{
    struct lane_share *s = &l->shares[q->side];
    q->octets -= octets;
    q->count--;
    s->octets -= octets;
    s->count--;
    bool is_awaited = s->count == 0; /* by who counts what is kept */
    for (unsigned i = 0; i < LANE_SIDES; i++)
        is_awaited = is_awaited || l->shares[i].charges.count != 0;
    if (is_awaited && !l->is_ending)
        l->ops->soon(l->arg);
}

/* Queues go from one side to the other with all that is kept for them: the sum is bounded, too. */
bool remote_lane_is_full(const struct remote_lane *l, enum lane_side side)
{
    uint64_t octets = 0, count = 0;
    for (unsigned i = 0; i < LANE_SIDES; i++) {
        octets += l->shares[i].octets;
        count += l->shares[i].count;
    }
    return l->shares[side].octets > LANE_BYTES || l->shares[side].count > LANE_COUNT ||
           octets > 2 * LANE_BYTES || count > 2 * LANE_COUNT;
}

static void change_side(struct remote_lane *l, struct lane_queue *q, enum lane_side side)
{
    if (q->side == side)
        return;
    l->shares[q->side].octets -= q->octets;
    l->shares[q->side].count -= q->count;
    q->side = side;
    l->shares[side].octets += q->octets;
    l->shares[side].count += q->count;
    l->ops->soon(l->arg);
    if (side == LANE_STANDS) {
        q->since_ms = l->now_ms;
        TAILQ_INSERT_TAIL(&l->standing, q, standing_entry);
    } else {
        TAILQ_REMOVE(&l->standing, q, standing_entry);
    }
}

bool remote_lane_has(const struct remote_lane *l, uint64_t qid)
{
    return idmap_get(&l->queues, qid) != NULL;
}

static void drop_queue(struct remote_lane *l, struct lane_queue *q)
{
    CHECK(q->count == 0);
    idmap_take(&l->queues, q->qid);
    if (q->side == LANE_STANDS)
        TAILQ_REMOVE(&l->standing, q, standing_entry);
    mem_free(q);
}

static void drop_item(struct remote_lane *l, struct lane_item *item)
{
    if (item->copies != 0 || item == l->item)
        return;
    if (item->is_loose)
        TAILQ_REMOVE(&l->loose, item, loose_entry);
    item->is_loose = false;
    if (item->message != NULL)
        l->ops->drop(l->arg, &item->message);
    if (item->tickets == 0)
        mem_free(item);
}

static struct lane_ticket *new_ticket(struct remote_lane *l, struct lane_item *item, uint16_t node)
{
    struct lane_ticket *t = mem_zalloc(sizeof *t);
    t->number = ++l->last_ticket;
    t->item = item;
    t->node = node;
    t->ok = true;
    item->tickets++;
    idmap_put(&l->tickets, t->number, t);
    return t;
}

static void drop_ticket(struct remote_lane *l, struct lane_ticket *t)
{
    idmap_take(&l->tickets, t->number);
    t->item->tickets--;
    drop_item(l, t->item);
    mem_free(t);
}

/* It is not under way any more. */
static void recall(struct remote_lane *l, struct lane_copy *c)
{
    struct lane_ticket *t = c->ticket != 0 ? idmap_get(&l->tickets, c->ticket) : NULL;
    if (t != NULL && t->is_for_one)
        t->only = NULL;
    c->ticket = 0;
}

/* It is answered for, or given up. Its item goes with the last one, its queue's entry too. */
static void drop_copy(struct remote_lane *l, struct lane_copy *c)
{
    struct lane_item *item = c->item;
    struct lane_queue *q = c->queue;
    recall(l, c);
    TAILQ_REMOVE(&q->copies, c, queue_entry);
    TAILQ_REMOVE(&item->all, c, item_entry);
    mem_free(c);
    uncount_copy(l, q, item->octets);
    if (q->count == 0)
        drop_queue(l, q);
    item->copies--;
    drop_item(l, item);
}

static void answer_copy(struct remote_lane *l, struct lane_copy *c, bool ok, bool lost)
{
    struct port_channel_ref from = c->item->from;
    uint64_t number = c->item->number;
    drop_copy(l, c);
    if (number != 0)
        l->ops->answer(l->arg, &from, number, ok, lost);
}

void remote_lane_free(struct remote_lane **lane)
{
    struct remote_lane *l = *lane;
    *lane = NULL;
    if (l == NULL)
        return;
    l->is_ending = true;
    for (unsigned i = 0; i < LANE_SIDES; i++)
        remote_ring_fini(&l->shares[i].charges);
    struct lane_item *item = l->item;
    l->item = NULL;
    if (item != NULL)
        drop_item(l, item);
    for (struct lane_queue *q; (q = idmap_first(&l->queues)) != NULL;)
        drop_copy(l, TAILQ_FIRST(&q->copies));
    for (struct lane_ticket *t; (t = idmap_first(&l->tickets)) != NULL;)
        drop_ticket(l, t);
    idmap_fini(&l->queues);
    idmap_fini(&l->tickets);
    mem_free(l);
}

/* ---- charges ----------------------------------------------------------------------------------
 */

static void owe(struct remote_lane *l, enum lane_side side, uint64_t connection, uint64_t octets)
{
    if (connection == 0)
        return;
    struct lane_charge *c = remote_ring_add(&l->shares[side].charges);
    *c = (struct lane_charge){ connection, octets };
    l->ops->soon(l->arg);
}

void remote_lane_on_taken(struct remote_lane *l, uint64_t connection, uint64_t octets)
{
    owe(l, LANE_FLOWS, connection, octets);
}

static void relieve(struct remote_lane *l, enum lane_side side)
{
    struct remote_ring *ring = &l->shares[side].charges;
    while (ring->count != 0 && (!remote_lane_is_full(l, side) || MUTATION(LANE_BOUND_IGNORED))) {
        struct lane_charge c = *(struct lane_charge *)remote_ring_at(ring, 0);
        remote_ring_drop_first(ring);
        l->ops->relieve(l->arg, c.connection, c.octets);
    }
}

/* ---- sending ----------------------------------------------------------------------------------
 */

/* Its copies are answered, those that were not turned away. */
static void end_ticket(struct remote_lane *l, struct lane_ticket *t)
{
    struct lane_copy *c, *next;
    bool ok = t->ok;
    if (t->is_for_one) {
        c = t->only;
        drop_ticket(l, t);
        if (c != NULL)
            answer_copy(l, c, ok, false);
        return;
    }
    for (c = TAILQ_FIRST(&t->item->all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, item_entry);
        if (c->ticket == t->number || MUTATION(LANE_LATE_ANSWER_COUNTS))
            answer_copy(l, c, ok, false); /* the ticket holds the item */
    }
    drop_ticket(l, t);
}

static void stand(struct remote_lane *l, struct lane_queue *q)
{
    struct lane_copy *c;
    TAILQ_FOREACH (c, &q->copies, queue_entry)
        recall(l, c);
    change_side(l, q, LANE_STANDS);
}

/* In this epoch nothing of it is taken there, whatever is on its way. */
static void turn_away(struct remote_lane *l, struct lane_queue *q)
{
    q->is_turned_away = true;
    stand(l, q);
}

static void send_copy(struct remote_lane *l, struct lane_copy *c, struct lane_ticket *t,
                      uint64_t payer)
{
    struct lane_queue *q = c->queue;
    struct lane_number as = c->item->as;
    if (MUTATION(LANE_NEW_NUMBER) && payer == 0)
        as.seq = ++l->last_seq;
    c->ticket = t->number;
    switch (l->ops->send(l->arg, &q->place, q->qid, c->item->message, payer, t->number, &as)) {
    case PORT_TAKEN:
        break;
    case PORT_REFUSED:
        t->ok = false;
        break;
    case PORT_LATER:
    case PORT_AWAITED:
        t->left++;
        break;
    case PORT_MOVED:
        turn_away(l, q);
        break;
    }
    c->said = l->ops->said(l->arg, t->node);
}

static void seal(struct remote_lane *l, struct lane_ticket *t)
{
    t->left += l->ops->sent(l->arg, t->node, t->number);
    if (t->left == 0)
        end_ticket(l, t);
}

/* Alone, to where its queue is now: it was under way to somewhere else, or waited. */
static void send_again(struct remote_lane *l, struct lane_copy *c)
{
    struct lane_ticket *t = new_ticket(l, c->item, c->queue->place.node);
    t->is_for_one = true;
    t->only = c;
    l->sent_again++;
    send_copy(l, c, t, 0);
    seal(l, t);
}

/* All that is not answered, in its order. What is answered at once is gone, and with the last one
 * the queue's entry. */
static void send_all(struct remote_lane *l, struct lane_queue *q)
{
    struct lane_copy *c, *next;
    if (MUTATION(LANE_LAST_FIRST)) {
        for (c = TAILQ_LAST(&q->copies, lane_copies); c != NULL && q->side == LANE_FLOWS;
             c = next) {
            next = TAILQ_PREV(c, lane_copies, queue_entry);
            send_again(l, c);
        }
        return;
    }
    for (c = TAILQ_FIRST(&q->copies); c != NULL; c = next) {
        next = TAILQ_NEXT(c, queue_entry);
        send_again(l, c);
        if (next != NULL && q->side == LANE_STANDS)
            return;
    }
}

/* ---- where queues are -------------------------------------------------------------------------
 */

static void answer_all(struct remote_lane *l, uint64_t qid, bool ok, bool lost)
{
    for (struct lane_queue *q; (q = idmap_get(&l->queues, qid)) != NULL;)
        answer_copy(l, TAILQ_FIRST(&q->copies), ok, lost);
}

/* Of one that stands: has it a master now? Then all that waits goes there. */
static void look_at(struct remote_lane *l, struct lane_queue *q)
{
    struct lane_place p;
    switch (l->ops->find(l->arg, q->qid, &p)) {
    case LANE_NOWHERE:
        return;
    case LANE_GONE:
        answer_all(l, q->qid, true, false); /* it has no need of it */
        return;
    case LANE_HERE_IS:
        break;
    }
    if (q->is_turned_away && p.epoch <= q->place.epoch)
        return;
    q->is_turned_away = false;
    q->place = p;
    change_side(l, q, LANE_FLOWS);
    if (!MUTATION(LANE_NOT_SENT_AGAIN))
        send_all(l, q);
}

/* What is under way somewhere is of use there only in the epoch that it was sent in. */
static void check_place(struct remote_lane *l, struct lane_queue *q)
{
    struct lane_place p;
    if (q->side == LANE_FLOWS &&
        (l->ops->find(l->arg, q->qid, &p) != LANE_HERE_IS || p.epoch != q->place.epoch))
        stand(l, q);
}

static void look_at_standing(struct remote_lane *l)
{
    struct lane_queue *last = TAILQ_LAST(&l->standing, lane_standing), *next;
    for (struct lane_queue *q = TAILQ_FIRST(&l->standing); q != NULL; q = next) {
        next = q != last ? TAILQ_NEXT(q, standing_entry) : NULL;
        look_at(l, q);
    }
}

void remote_lane_look(struct remote_lane *l, uint64_t now_ms)
{
    size_t at = 0;
    l->now_ms = now_ms;
    for (struct lane_queue *q; (q = idmap_next(&l->queues, &at)) != NULL;)
        check_place(l, q);
    look_at_standing(l);
}

/* ---- publishing -------------------------------------------------------------------------------
 */

static struct lane_queue *need_queue(struct remote_lane *l, uint64_t qid)
{
    struct lane_queue *q = idmap_get(&l->queues, qid);
    if (q != NULL)
        return q;
    q = mem_zalloc(sizeof *q);
    q->qid = qid;
    TAILQ_INIT(&q->copies);
    idmap_put(&l->queues, qid, q);
    if (l->ops->find(l->arg, qid, &q->place) != LANE_HERE_IS)
        change_side(l, q, LANE_STANDS);
    return q;
}

static struct lane_item *new_item(struct remote_lane *l, struct message **m,
                                  const struct port_channel_ref *from, uint64_t number)
{
    struct lane_item *item = mem_zalloc(sizeof *item);
    item->as.seq = ++l->last_seq;
    item->message = *m;
    *m = NULL;
    item->octets = message_cost_bytes(item->message);
    item->from = *from;
    item->number = number;
    item->at_ms = l->now_ms;
    TAILQ_INIT(&item->all);
    if (number == 0) {
        item->is_loose = true;
        TAILQ_INSERT_TAIL(&l->loose, item, loose_entry);
    }
    return item;
}

void remote_lane_publish(struct remote_lane *l, uint64_t qid, struct message **m,
                         const struct port_channel_ref *from, uint64_t number, uint64_t now_ms)
{
    l->now_ms = now_ms;
    if (l->item != NULL && l->item->message != *m)
        remote_lane_published(l);
    if (l->item == NULL)
        l->item = new_item(l, m, from, number);
    else
        l->ops->drop(l->arg, m);
    struct lane_copy *c = mem_zalloc(sizeof *c);
    c->item = l->item;
    c->queue = need_queue(l, qid);
    TAILQ_INSERT_TAIL(&c->queue->copies, c, queue_entry);
    TAILQ_INSERT_TAIL(&l->item->all, c, item_entry);
    l->item->copies++;
    count_copy(l, c->queue, l->item->octets);
}

void remote_lane_publish_as(struct remote_lane *l, uint64_t qid, struct message **m,
                            const struct port_channel_ref *from, uint64_t number,
                            const struct lane_number *as, uint64_t now_ms)
{
    CHECK(l->item == NULL && as->pid != 0);
    remote_lane_publish(l, qid, m, from, number, now_ms);
    l->item->as = *as;
}

static bool is_due(const struct lane_copy *c)
{
    return c->ticket == 0 && c->queue->side == LANE_FLOWS;
}

/* All of it that goes to one node is one record. */
static void send_to_node(struct remote_lane *l, struct lane_item *item, uint16_t node)
{
    struct lane_copy *c;
    struct lane_ticket *t = new_ticket(l, item, node);
    uint64_t payer = node != 0 ? item->from.connection : 0;
    TAILQ_FOREACH (c, &item->all, item_entry) {
        if (!is_due(c) || c->queue->place.node != node)
            continue;
        if (payer == 0)
            owe(l, LANE_FLOWS, item->from.connection, item->octets);
        send_copy(l, c, t, payer);
    }
    seal(l, t);
}

void remote_lane_published(struct remote_lane *l)
{
    struct lane_item *item = l->item;
    struct lane_copy *c;
    if (item == NULL)
        return;
    TAILQ_FOREACH (c, &item->all, item_entry) {
        if (c->queue->side == LANE_STANDS)
            owe(l, LANE_STANDS, item->from.connection, item->octets);
    }
    bool found;
    do {
        found = false;
        TAILQ_FOREACH (c, &item->all, item_entry) {
            found = is_due(c);
            if (found)
                break;
        }
        if (found)
            send_to_node(l, item, c->queue->place.node);
    } while (found);
    l->item = NULL;
    drop_item(l, item);
    if (remote_lane_is_full(l, LANE_FLOWS))
        l->ops->soon(l->arg);
}

/* ---- what becomes of it -----------------------------------------------------------------------
 */

static void on_answer(struct remote_lane *l, uint64_t number, uint32_t answers, bool ok)
{
    struct lane_ticket *t = idmap_get(&l->tickets, number);
    if (t == NULL)
        return;
    t->ok = t->ok && (ok || MUTATION(LANE_REFUSAL_CONFIRMED));
    CHECK(t->left >= answers);
    t->left -= answers;
    if (t->left == 0)
        end_ticket(l, t);
}

void remote_lane_on_answers(struct remote_lane *l, uint64_t first, uint32_t count, uint32_t answers,
                            bool ok)
{
    for (uint32_t i = 0; i < count; i++)
        on_answer(l, first + i, answers, ok);
}

void remote_lane_on_moved(struct remote_lane *l, uint64_t ticket, uint64_t qid)
{
    struct lane_ticket *t = idmap_get(&l->tickets, ticket);
    struct lane_copy *c;
    if (t == NULL || MUTATION(LANE_MOVED_CONFIRMED))
        return;
    TAILQ_FOREACH (c, &t->item->all, item_entry) {
        if (c->ticket == ticket && (qid == 0 || c->queue->qid == qid))
            turn_away(l, c->queue);
    }
}

void remote_lane_on_lost(struct remote_lane *l, uint16_t node)
{
    size_t at = 0;
    if (MUTATION(LANE_LOSS_NOT_TOLD))
        return;
    for (struct lane_queue *q; (q = idmap_next(&l->queues, &at)) != NULL;)
        if (q->side == LANE_FLOWS && q->place.node == node)
            stand(l, q);
    struct idmap all = l->tickets;
    idmap_init(&l->tickets);
    at = 0;
    for (struct lane_ticket *t; (t = idmap_next(&all, &at)) != NULL;)
        if (t->node != node)
            idmap_put(&l->tickets, t->number, t);
    at = 0;
    for (struct lane_ticket *t; (t = idmap_next(&all, &at)) != NULL;)
        if (t->node == node)
            drop_ticket(l, t);
    idmap_fini(&all);
}

/* ---- time -------------------------------------------------------------------------------------
 */

static void expire(struct remote_lane *l, struct lane_queue *q)
{
    uint64_t qid = q->qid;
    while ((q = idmap_get(&l->queues, qid)) != NULL) {
        struct lane_copy *c = TAILQ_FIRST(&q->copies);
        uint64_t since = c->item->at_ms > q->since_ms ? c->item->at_ms : q->since_ms;
        if (l->now_ms - since < LANE_WAIT_MS)
            return;
        l->expired++;
        answer_copy(l, c, MUTATION(LANE_EXPIRED_CONFIRMED), true);
    }
}

void remote_lane_tick(struct remote_lane *l, uint64_t now_ms)
{
    l->now_ms = now_ms;
    look_at_standing(l);
    for (struct lane_queue *q = TAILQ_FIRST(&l->standing), *next; q != NULL; q = next) {
        next = TAILQ_NEXT(q, standing_entry);
        expire(l, q);
    }
}

/* Have all its copies been read by a master? */
static bool is_read(const struct remote_lane *l, const struct lane_item *item)
{
    const struct lane_copy *c;
    TAILQ_FOREACH (c, &item->all, item_entry) {
        if (MUTATION(LANE_LOOSE_FORGOTTEN))
            continue;
        if (c->ticket == 0 || !l->ops->is_read(l->arg, c->queue->place.node, c->said))
            return false;
    }
    return true;
}

/* Over the bound nobody is held up for what nobody waits for. */
static void forget_loose(struct remote_lane *l)
{
    struct lane_item *item;
    while (remote_lane_is_full(l, LANE_FLOWS) && (item = TAILQ_FIRST(&l->loose)) != NULL &&
           is_read(l, item)) {
        item->tickets++; /* it stays while its copies go */
        while (!TAILQ_EMPTY(&item->all))
            drop_copy(l, TAILQ_FIRST(&item->all));
        item->tickets--;
        drop_item(l, item);
    }
}

void remote_lane_flush(struct remote_lane *l)
{
    remote_lane_published(l);
    forget_loose(l);
    for (unsigned i = 0; i < LANE_SIDES; i++)
        relieve(l, (enum lane_side)i);
}
