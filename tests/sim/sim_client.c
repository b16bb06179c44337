#include "sim_client.h"

#include "base/check.h"
#include "base/mem.h"
#include "client/channel_claim.h"
#include "client/channel_port.h"
#include "cluster/meta.h"
#include "sim_message.h"
#include "sim_world.h"

#include <inttypes.h>
#include <stdio.h>

#define CHANNELS_MAX 64u
#define SUBS_MAX     4u

struct held {
    uint64_t qid;
    uint64_t qseq;
    uint64_t consumer; /* 0: a get's */
    uint32_t shard;
};

struct sub {
    uint64_t id; /* 0: none */
    uint64_t qid;
    uint32_t shard;
    bool no_ack;
    bool is_on;      /* it was answered */
    bool is_leaving; /* its end was asked for */
};

/* Settled, and it is not known yet whether it is so for good. */
struct settling {
    uint64_t qid;
    uint64_t content;
};

struct sent {
    uint64_t content;
    uint32_t waits;
    bool is_refused;
};

struct channel {
    struct sim_clients *clients;
    struct shard *shard;
    struct port_channel_ref ref;
    uint64_t publisher;
    bool confirms;
    bool is_closed;
    uint64_t asked;
    uint64_t empties;
    struct sub subs[SUBS_MAX];
    struct held *helds;
    size_t held_count;
    size_t held_room;
    struct sent *sents; /* by number, from 1 */
    size_t sent_count;
    size_t sent_room;
    uint32_t fences; /* that are not answered */
    struct settling *settling;
    size_t settling_count;
    bool is_noting; /* what is settled now: the fence that follows speaks of it */
};

struct sim_clients {
    struct broker *broker;
    struct sim_books *books;
    const struct sim_queue *queues;
    size_t queue_count;
    struct channel *channels[CHANNELS_MAX];
    size_t count;
    uint64_t next_publisher;
    bool are_gone;
};

static struct sim_clients *all; /* there is one node at a time */

struct sim_clients *sim_clients_new(struct broker *b, struct sim_books *books,
                                    const struct sim_queue *queues, size_t queue_count,
                                    uint64_t first_publisher)
{
    struct sim_clients *c = mem_zalloc(sizeof *c);
    c->broker = b;
    c->books = books;
    c->queues = queues;
    c->queue_count = queue_count;
    c->next_publisher = first_publisher;
    CHECK(all == NULL);
    all = c;
    return c;
}

void sim_clients_free(struct sim_clients **cp)
{
    struct sim_clients *c = *cp;
    *cp = NULL;
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++) {
        mem_free(c->channels[i]->helds);
        mem_free(c->channels[i]->sents);
        mem_free(c->channels[i]->settling);
        mem_free(c->channels[i]);
    }
    all = NULL;
    mem_free(c);
}

void sim_clients_vanish(struct sim_clients *c)
{
    c->are_gone = true;
}

struct channel *sim_client_open(struct sim_clients *c, uint32_t shard, bool confirms)
{
    CHECK(c->count < CHANNELS_MAX);
    struct channel *ch = mem_zalloc(sizeof *ch);
    ch->clients = c;
    ch->shard = broker_shard(c->broker, shard);
    ch->ref = (struct port_channel_ref){ id_make(1, shard, (UINT64_C(1) << 30) | c->count), 1, 1 };
    ch->publisher = c->next_publisher++;
    ch->confirms = confirms;
    c->channels[c->count++] = ch;
    return ch;
}

bool sim_client_is_open(const struct channel *ch)
{
    return !ch->is_closed;
}

uint64_t sim_client_empties(const struct channel *ch)
{
    return ch->empties;
}

uint64_t sim_client_asked(const struct channel *ch)
{
    return ch->asked;
}

bool sim_client_waits(const struct channel *ch)
{
    return ch->fences != 0 && !ch->is_closed;
}

/* ---- what is carried to its shard -------------------------------------------------------------
 */

enum deed {
    DEED_PUBLISH,
    DEED_CONSUME,
    DEED_CANCEL,
    DEED_GET,
    DEED_PURGE,
    DEED_SETTLE,
    DEED_CLOSE,
};

struct errand {
    struct mail mail;
    struct channel *ch;
    enum deed deed;
    struct sim_publish publish;
    uint64_t qid;
    uint32_t prefetch;
    bool no_ack;
    unsigned per_mille;
    bool all_kinds;
    bool wants_fence;
};

static const struct meta_queue *queue_now(const struct channel *ch, uint64_t qid)
{
    return meta_queue_get(broker_meta(ch->clients->broker), qid);
}

/* As it was declared; nothing in particular when it is gone. */
static const struct sim_queue *known(const struct channel *ch, uint64_t qid)
{
    static const struct sim_queue gone = { 0 };
    for (size_t i = 0; i < ch->clients->queue_count; i++)
        if (ch->clients->queues[i].qid == qid)
            return &ch->clients->queues[i];
    return &gone;
}

static const struct sim_queue *the_grave(const struct channel *ch)
{
    for (size_t i = 0; i < ch->clients->queue_count; i++)
        if (ch->clients->queues[i].is_grave)
            return &ch->clients->queues[i];
    return NULL;
}

static bool is_quorum(const struct channel *ch, uint64_t qid)
{
    return known(ch, qid)->is_quorum;
}

static struct sent *add_sent(struct channel *ch, uint64_t content)
{
    if (ch->sent_count == ch->sent_room) {
        ch->sent_room = ch->sent_room * 2 + 16;
        ch->sents = mem_realloc(ch->sents, ch->sent_room * sizeof *ch->sents);
    }
    ch->sents[ch->sent_count] = (struct sent){ .content = content };
    return &ch->sents[ch->sent_count++];
}

static void judge_sent(struct channel *ch, const struct sent *s)
{
    if (s->waits != 0)
        return;
    sim_world_say("  %" PRIu64 " is %s", s->content, s->is_refused ? "refused" : "confirmed");
    sim_books_confirm(ch->clients->books, s->content, !s->is_refused);
}

static uint64_t shorter(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms != 0 && (b_ms == 0 || a_ms < b_ms) ? a_ms : b_ms;
}

/* What may come of it when it dies. Of a queue that keeps all, what is read back is as what lasts.
 */
static void enter_letter(struct channel *ch, const struct sim_item *of, bool is_persistent)
{
    const struct sim_queue *grave = the_grave(ch);
    struct sim_item letter = { .qid = of->letter_to,
                               .content = of->content,
                               .body_bytes = of->body_bytes,
                               .must_last = is_persistent || grave->is_quorum,
                               .may_last = of->must_last,
                               .counts_returns = grave->is_quorum,
                               .is_letter = true,
                               .is_last = true };
    sim_books_send(ch->clients->books, &letter);
}

static void enter(struct channel *ch, const struct sim_publish *p, const struct meta_queue *q)
{
    const struct sim_queue *to = known(ch, q->qid);
    uint64_t ttl_ms = shorter(p->ttl_ms, to->ttl_ms);
    bool may_go = (ttl_ms != 0 || to->may_drop) && !to->has_grave;
    struct sim_item item = {
        .qid = q->qid,
        .content = p->content,
        .body_bytes = p->body_bytes,
        .publisher = ch->publisher,
        .confirms = ch->confirms,
        .priority = p->priority < to->max_priority ? p->priority : to->max_priority,
        .must_last = p->persistent || to->is_quorum,
        .counts_returns = to->is_quorum,
        .letter_to = to->has_grave ? the_grave(ch)->qid : 0,
        .may_go = may_go,
        .may_be_gone = may_go,
    };
    /* A turn has one time, clocks count milliseconds, and mail takes as long as it takes. */
    if (ttl_ms != 0 && q->shard == ch->shard->index)
        item.expires_us = sim_world_now_us() + (ttl_ms + 50) * 1000;
    sim_books_send(ch->clients->books, &item);
    if (item.letter_to != 0)
        enter_letter(ch, &item, p->persistent);
}

/* As channel_publish.c hands a message over. */
static void do_publish(struct channel *ch, const struct sim_publish *p)
{
    const struct meta_queue *to[4];
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++)
        if ((to[count] = queue_now(ch, p->qids[i])) != NULL)
            enter(ch, p, to[count++]);
    if (count == 0)
        return;
    struct message *m = sim_message_new(p);
    shard_message_made(ch->shard, m);
    uint64_t number = ch->confirms ? ch->sent_count + 1 : 0;
    uint32_t waits = 0, refused = 0;
    struct sent *s = add_sent(ch, p->content);
    size_t at = ch->sent_count - 1;
    s->waits = UINT32_MAX / 2;
    for (size_t i = 0; i < count; i++) {
        struct message *one = i + 1 < count ? message_ref(m) : m;
        enum port_published done = port_publish(ch->shard, to[i], &one, &ch->ref, number);
        waits += done == PORT_LATER;
        refused += done == PORT_REFUSED;
    }
    waits += port_published(ch->shard, &ch->ref, number);
    s = &ch->sents[at];
    s->waits = s->waits - UINT32_MAX / 2 + waits;
    s->is_refused = s->is_refused || refused != 0;
    if (ch->confirms)
        judge_sent(ch, s);
}

static struct port_request *request(struct channel *ch, enum port_op op, uint64_t qid)
{
    const struct meta_queue *q = queue_now(ch, qid);
    if (q == NULL)
        return NULL;
    struct port_request *r = mem_zalloc(sizeof *r);
    r->op = op;
    r->qid = qid;
    r->where = port_where(ch->shard, q);
    r->from = ch->ref;
    ch->asked++;
    return r;
}

static void do_consume(struct channel *ch, const struct errand *e)
{
    struct sub *sub = NULL;
    for (size_t i = 0; i < SUBS_MAX && sub == NULL; i++)
        if (ch->subs[i].id == 0)
            sub = &ch->subs[i];
    struct port_request *r = sub != NULL ? request(ch, PORT_CONSUME, e->qid) : NULL;
    if (r == NULL)
        return;
    sim_books_ask(ch->clients->books, e->qid);
    r->consumer = shard_new_id(ch->shard);
    r->prefetch = e->prefetch;
    r->no_ack = e->no_ack;
    *sub = (struct sub){ .id = r->consumer, .qid = e->qid, .shard = r->where, .no_ack = e->no_ack };
    port_ask(ch->shard, &r);
}

static void do_cancel(struct channel *ch)
{
    for (size_t i = 0; i < SUBS_MAX; i++) {
        struct sub *sub = &ch->subs[i];
        bool is_idle = sub->id != 0 && sub->is_on && !sub->is_leaving;
        struct port_request *r = is_idle ? request(ch, PORT_CANCEL, sub->qid) : NULL;
        if (r == NULL)
            continue;
        sub->is_leaving = true;
        r->consumer = sub->id;
        port_ask(ch->shard, &r);
        return;
    }
}

static void do_ask(struct channel *ch, enum port_op op, const struct errand *e)
{
    if (op == PORT_PURGE)
        sim_books_purge(ch->clients->books, e->qid);
    else
        sim_books_ask(ch->clients->books, e->qid);
    struct port_request *r = request(ch, op, e->qid);
    if (r == NULL)
        return;
    r->no_ack = e->no_ack;
    port_ask(ch->shard, &r);
}

static void note_settling(struct channel *ch, uint64_t qid, uint64_t content)
{
    if (!ch->is_noting)
        return;
    ch->settling = mem_realloc(ch->settling, (ch->settling_count + 1) * sizeof *ch->settling);
    ch->settling[ch->settling_count++] = (struct settling){ qid, content };
}

static void settle_one(struct channel *ch, const struct held *h, enum port_settle how)
{
    struct sim_books *books = ch->clients->books;
    sim_world_say("  %" PRIu64 " settles %" PRIx64 " of %" PRIu64 ": %d", ch->publisher, h->qseq,
                  h->qid, (int)how);
    if (how == PORT_ACK)
        note_settling(ch, h->qid, sim_books_settle(books, h->qid, h->qseq));
    else if (how == PORT_DROP)
        note_settling(ch, h->qid, sim_books_reject(books, h->qid, h->qseq));
    else
        sim_books_requeue(books, h->qid, h->qseq, how != PORT_REQUEUE_UNSEEN,
                          how == PORT_REQUEUE && is_quorum(ch, h->qid));
    port_settle(ch->shard,
                &(struct unacked_entry){
                    .qid = h->qid, .qseq = h->qseq, .consumer = h->consumer, .where = h->shard },
                how);
}

static enum port_settle a_way(const struct errand *e)
{
    static const enum port_settle ways[] = { PORT_ACK, PORT_ACK, PORT_DROP, PORT_REQUEUE,
                                             PORT_REQUEUE_SEEN };
    return e->all_kinds ? ways[sim_world_below(ARRAY_COUNT(ways))] : PORT_ACK;
}

/* As channel_tx.c commits. */
static void begin_fence(struct channel *ch)
{
    ch->settling_count = 0;
    ch->is_noting = true;
    port_fence_begin(ch->shard);
}

static void end_fence(struct channel *ch)
{
    ch->is_noting = false;
    ch->fences = port_fence(ch->shard, &ch->ref, true);
    sim_world_say("  %" PRIu64 " waits for %u fences", ch->publisher, (unsigned)ch->fences);
}

void channel_on_fenced(struct shard *s, const struct port_channel_ref *ref, bool is_lost)
{
    struct channel *ch = channel_find(s, ref);
    if (ch == NULL)
        return;
    CHECK(ch->fences != 0 && s == ch->shard && !is_lost);
    if (--ch->fences != 0)
        return;
    sim_world_say("  %" PRIu64 " knows that it is settled", ch->publisher);
    for (size_t i = 0; i < ch->settling_count; i++)
        sim_books_settled(ch->clients->books, ch->settling[i].qid, ch->settling[i].content);
    ch->settling_count = 0;
}

static void do_settle(struct channel *ch, const struct errand *e)
{
    bool is_fenced = e->wants_fence && ch->fences == 0;
    if (is_fenced)
        begin_fence(ch);
    /* What comes back may be handed out again at once, and be held anew. */
    struct held *was = ch->helds;
    size_t count = ch->held_count;
    ch->helds = NULL;
    ch->held_count = ch->held_room = 0;
    for (size_t i = 0; i < count; i++) {
        if (sim_world_below(1000) < e->per_mille) {
            settle_one(ch, &was[i], a_way(e));
            continue;
        }
        if (ch->held_count == ch->held_room) {
            ch->held_room = ch->held_room * 2 + 16;
            ch->helds = mem_realloc(ch->helds, ch->held_room * sizeof *ch->helds);
        }
        ch->helds[ch->held_count++] = was[i];
    }
    mem_free(was);
    port_settled(ch->shard);
    if (is_fenced)
        end_fence(ch);
}

static void do_close(struct channel *ch)
{
    ch->is_closed = true;
    for (size_t i = 0; i < SUBS_MAX; i++)
        if (ch->subs[i].id != 0)
            port_abandon(ch->shard, ch->subs[i].shard, ch->subs[i].qid, ch->subs[i].id);
    for (size_t i = 0; i < ch->held_count; i++)
        settle_one(ch, &ch->helds[i], PORT_REQUEUE_SEEN);
    ch->held_count = 0;
    port_settled(ch->shard);
}

static void on_errand(struct mail *mail)
{
    struct errand *e = CONTAINER_OF(mail, struct errand, mail);
    struct channel *ch = e->ch;
    if (!ch->is_closed && !ch->clients->are_gone) {
        switch (e->deed) {
        case DEED_PUBLISH:
            do_publish(ch, &e->publish);
            break;
        case DEED_CONSUME:
            do_consume(ch, e);
            break;
        case DEED_CANCEL:
            do_cancel(ch);
            break;
        case DEED_GET:
            do_ask(ch, PORT_GET, e);
            break;
        case DEED_PURGE:
            do_ask(ch, PORT_PURGE, e);
            break;
        case DEED_SETTLE:
            do_settle(ch, e);
            break;
        case DEED_CLOSE:
            do_close(ch);
            break;
        }
    }
    mem_free(e);
}

static struct errand *errand(struct channel *ch, enum deed deed)
{
    struct errand *e = mem_zalloc(sizeof *e);
    e->mail.fn = on_errand;
    e->ch = ch;
    e->deed = deed;
    return e;
}

static void send(struct errand *e)
{
    mailbox_post(e->ch->shard->loop, &e->mail);
}

void sim_client_close(struct channel *ch)
{
    send(errand(ch, DEED_CLOSE));
}

void sim_client_publish(struct channel *ch, const struct sim_publish *p)
{
    struct errand *e = errand(ch, DEED_PUBLISH);
    e->publish = *p;
    send(e);
}

void sim_client_consume(struct channel *ch, uint64_t qid, uint32_t prefetch, bool no_ack)
{
    struct errand *e = errand(ch, DEED_CONSUME);
    e->qid = qid;
    e->prefetch = prefetch;
    e->no_ack = no_ack;
    send(e);
}

void sim_client_cancel(struct channel *ch)
{
    send(errand(ch, DEED_CANCEL));
}

void sim_client_get(struct channel *ch, uint64_t qid, bool no_ack)
{
    struct errand *e = errand(ch, DEED_GET);
    e->qid = qid;
    e->no_ack = no_ack;
    send(e);
}

void sim_client_purge(struct channel *ch, uint64_t qid)
{
    struct errand *e = errand(ch, DEED_PURGE);
    e->qid = qid;
    send(e);
}

void sim_client_settle(struct channel *ch, unsigned per_mille, bool all_kinds, bool fence)
{
    struct errand *e = errand(ch, DEED_SETTLE);
    e->per_mille = per_mille;
    e->all_kinds = all_kinds;
    e->wants_fence = fence;
    send(e);
}

/* ---- client/channel_port.h --------------------------------------------------------------------
 */

struct channel *channel_find(struct shard *s, const struct port_channel_ref *ref)
{
    struct sim_clients *c = all;
    (void)s;
    if (c == NULL || c->are_gone)
        return NULL;
    for (size_t i = 0; i < c->count; i++)
        if (c->channels[i]->ref.connection == ref->connection && !c->channels[i]->is_closed)
            return c->channels[i];
    return NULL;
}

static void take(struct channel *ch, uint64_t qid, uint64_t qseq, uint32_t shard, uint64_t consumer,
                 const struct message *m, bool redelivered, bool no_ack)
{
    uint64_t content;
    struct slice key = message_key(m);
    CHECK(key.len == sizeof content);
    memcpy(&content, key.ptr, sizeof content);
    if (!sim_message_is(m, content))
        sim_books_fail(ch->clients->books, "queue %" PRIu64 ": %" PRIu64 " has another body", qid,
                       content);
    sim_world_say("  %" PRIu64 " gets %" PRIu64 " of %" PRIu64 " at %" PRIx64 "%s%s", ch->publisher,
                  content, qid, qseq, redelivered ? ", again" : "", no_ack ? ", no ack" : "");
    sim_books_deliver(ch->clients->books, qid, content, qseq, redelivered, no_ack,
                      shard == ch->shard->index ? sim_world_now_us() : 0);
    if (no_ack)
        return;
    if (ch->held_count == ch->held_room) {
        ch->held_room = ch->held_room * 2 + 16;
        ch->helds = mem_realloc(ch->helds, ch->held_room * sizeof *ch->helds);
    }
    ch->helds[ch->held_count++] = (struct held){ qid, qseq, consumer, shard };
}

static struct sub *find_sub(struct channel *ch, uint64_t consumer)
{
    for (size_t i = 0; i < SUBS_MAX; i++)
        if (ch->subs[i].id == consumer)
            return &ch->subs[i];
    return NULL;
}

void channel_deliver(struct channel *ch, uint64_t consumer, uint64_t qseq, struct message *m,
                     bool redelivered)
{
    const struct sub *sub = find_sub(ch, consumer);
    CHECK(sub != NULL);
    take(ch, sub->qid, qseq, sub->shard, consumer, m, redelivered, sub->no_ack);
}

bool channel_offer(struct channel *ch, uint64_t consumer, const struct port_handed *as,
                   struct message *m, bool redelivered)
{
    if (find_sub(ch, consumer) == NULL)
        return false;
    channel_deliver(ch, consumer, as->tag, m, redelivered);
    return true;
}

static void end_sub(struct channel *ch, uint64_t consumer)
{
    struct sub *sub = find_sub(ch, consumer);
    if (sub != NULL)
        sub->id = 0;
}

bool channel_has_consumer(const struct channel *ch, uint64_t consumer)
{
    for (size_t i = 0; i < SUBS_MAX; i++)
        if (ch->subs[i].id == consumer)
            return true;
    return false;
}

void channel_on_cancelled(struct channel *ch, uint64_t consumer)
{
    end_sub(ch, consumer);
}

void channel_on_moved(struct channel *ch, uint64_t consumer)
{
    (void)ch, (void)consumer;
    UNREACHABLE("no queue is mirrored");
}

void channel_on_carried(struct channel *ch, struct port_request *r)
{
    (void)ch, (void)r;
    UNREACHABLE("no queue is mirrored");
}

bool channel_claims_end(struct shard *s, const struct port_request *r)
{
    (void)s, (void)r;
    return false; /* the same */
}

void channel_claims_free(struct shard *s)
{
    CHECK(s->claims_left == NULL);
}

void channel_on_answer(struct channel *ch, struct port_request *r)
{
    ch->asked--;
    struct sub *sub = r->op == PORT_CONSUME ? find_sub(ch, r->consumer) : NULL;
    if (sub != NULL)
        sub->is_on = true;
    if (r->op == PORT_CANCEL || (r->op == PORT_CONSUME && r->verdict != PORT_OK))
        end_sub(ch, r->consumer);
    if (r->op == PORT_PURGE)
        sim_books_purged(ch->clients->books, r->qid);
    if (r->op != PORT_GET)
        return;
    if (r->message == NULL) {
        ch->empties++;
        return;
    }
    take(ch, r->qid, r->qseq, r->where, 0, r->message, r->redelivered, r->no_ack);
    shard_message_drop(ch->shard, &r->message);
}

static void answer(struct channel *ch, uint64_t number, bool ok)
{
    CHECK(number >= 1 && number <= ch->sent_count);
    struct sent *s = &ch->sents[number - 1];
    CHECK(s->waits != 0);
    s->waits--;
    s->is_refused = s->is_refused || !ok;
    judge_sent(ch, s);
}

void channel_on_published(struct channel *ch, uint64_t number, bool ok)
{
    answer(ch, number, ok);
}

void channel_on_durable(struct channel *ch, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        answer(ch, first + i, true);
}
