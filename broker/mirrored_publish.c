/* What is published to queues that are mastered here and mirrored, and the answers. */
#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "io/clock.h"
#include "mirror_link/mirror_links.h"
#include "mirrored_keep.h"
#include "mirrored_lead_inner.h"
#include "port_lane.h"
#include "remote/remote.h"
#include "store/large.h"

/* What a record costs a stream beside its octets. */
#define RECORD_COST 64u

/* ---- taking in --------------------------------------------------------------------------------
 */

static uint64_t wall_of(const struct shard *s, uint64_t at_ms)
{
    uint64_t now_ms = loop_now_ms(s->loop), wall_ms = clock_wall_ms();
    return at_ms > now_ms ? wall_ms + (at_ms - now_ms) : wall_ms;
}

static struct mirror_token token_of(const struct lead_publish *p)
{
    const struct port_channel_ref *from = p->from;
    if (from->connection == 0)
        return (struct mirror_token){ .a = p->asker->index,
                                      .b = (uint64_t)LEAD_TOKEN_LETTER << LEAD_TOKEN_SHIFT };
    return (struct mirror_token){ .a = from->connection,
                                  .b = (uint64_t)LEAD_TOKEN_PUBLISH << LEAD_TOKEN_SHIFT |
                                       (uint64_t)from->incarnation << 16 | from->number };
}

static void add_large(struct lead_large *l, const struct lead_large_one *one)
{
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : 4;
        l->items = mem_realloc(l->items, l->cap * sizeof *l->items);
    }
    l->items[l->count++] = *one;
}

static void await(struct mirrored_leads *l, struct mirror_queue *q, uint64_t pos,
                  const struct lead_waiter *w)
{
    if (w->number == 0)
        return;
    mirror_master_await(l->shard->mirrored->m, q, pos,
                        MIRROR_AWAIT_URGENT | (w->is_durable ? MIRROR_AWAIT_DURABLE : 0), &w->token,
                        w->number);
    mirror_links_soon(l->shard);
}

/* The mirrors of what was gathered hear of it, at one position. */
static void say(struct mirrored_leads *l, uint64_t lsn)
{
    struct lead_gather *g = &l->gather;
    struct mirror_master *m = l->shard->mirrored->m;
    if (g->count == 0)
        return;
    const struct lead_message sent = {
        .message = g->message, .flags = g->flags, .producer = g->producer, .targets = g->targets
    };
    uint64_t pos = mirror_master_message(m, g->queues, g->count, &sent,
                                         message_cost_bytes(g->message) + RECORD_COST * g->count,
                                         loop_now_ms(l->shard->loop));
    mirror_master_written(m, pos, g->large != NULL ? MIRROR_LSN_LATER : lsn);
    for (unsigned i = 0; i < g->count; i++) {
        if (g->large == NULL)
            await(l, g->queues[i], pos, &g->waiters[i]);
        else
            add_large(g->large, &(struct lead_large_one){ .pos = pos,
                                                          .qid = g->queues[i]->qid,
                                                          .role = g->queues[i]->role,
                                                          .waiter = g->waiters[i] });
    }
    g->count = 0;
    if (g->large == NULL && lsn != 0)
        mirrored_appended(l->shard, lsn);
    mirror_links_soon(l->shard);
}

void mirrored_lead_say_first(struct shard *s)
{
    struct mirrored_leads *l = leads_of(s);
    if (l->gather.count != 0)
        say(l, ledger_write_part(s->ledger));
}

static void add(struct mirrored_leads *l, struct hosted *h, struct message *m,
                const struct queue_put *put, const struct lead_publish *p)
{
    struct lead_gather *g = &l->gather;
    struct mirror_queue *lead = h->mirrored->lead;
    CHECK(g->message == NULL || g->message == m);
    if (g->count == MSG_TARGETS_MAX)
        mirrored_lead_say_first(l->shard);
    if (g->message == NULL) {
        g->message = message_ref(m);
        g->large = m->body_bytes >= LARGE_BODY_LEAST ? mem_zalloc(sizeof *g->large) : NULL;
        l->shard->is_led = true;
    }
    if (p->origin->pid != 0) {
        g->producer = (struct msg_producer){ p->origin->pid, p->origin->seq };
        g->flags |= MSG_PRODUCER;
        mirror_history_saw(&lead->history, put->qseq, p->origin->pid, p->origin->seq);
        if (!ledger_wants(h, m))
            mirrored_keep_saw(h, put->qseq, p->origin->pid, p->origin->seq);
    }
    struct msg_target *t = &g->targets[g->count];
    *t = (struct msg_target){ .qid = h->queue.qid, .qseq = put->qseq };
    if (put->expires_ms != 0) {
        t->expires_ms = wall_of(l->shard, put->expires_ms);
        g->flags |= MSG_EXPIRES;
    }
    if (p->number != 0 && ledger_wants(h, m))
        h->mirrored->own->owes_durable = true;
    g->queues[g->count] = lead;
    g->waiters[g->count++] = (struct lead_waiter){ .number = p->number,
                                                   .token = token_of(p),
                                                   .is_durable = ledger_wants(h, m) };
}

/* It is there, under this number: whoever sent it again hears when it is safe. A queue that refuses
 * when it is full may have refused it, and taken a later one: then nobody knows. The last that it
 * knows of it has taken. */
static enum port_published again(struct mirrored_leads *l, struct hosted *h, struct message **m,
                                 const struct lead_publish *p)
{
    bool may_be_refused =
        h->settings.overflow != QUEUE_DROP_HEAD &&
        producers_last(&h->mirrored->lead->history.now, p->origin->pid) != p->origin->seq;
    const struct lead_waiter w = { .number = p->number,
                                   .token = token_of(p),
                                   .is_durable = ledger_wants(h, *m) };
    shard_message_drop(l->shard, m);
    if (may_be_refused)
        return PORT_REFUSED;
    await(l, h->mirrored->lead, h->mirrored->lead->last_pos, &w);
    return p->number != 0 ? PORT_AWAITED : PORT_TAKEN;
}

static bool is_known(const struct mirror_queue *lead, const struct port_origin *o)
{
    return o->pid != 0 && producers_last(&lead->history.now, o->pid) >= o->seq;
}

static enum port_published take(struct mirrored_leads *l, struct hosted *h, struct message **m,
                                const struct lead_publish *p)
{
    struct shard *s = l->shard;
    struct queue_put put;
    struct message *mine = message_ref(*m);
    enum queue_publish_verdict verdict = queue_publish(&h->queue, m, loop_now_ms(s->loop), &put);
    if (verdict != QUEUE_KEPT) {
        shard_message_drop(s, &mine);
        return verdict == QUEUE_REFUSED ? PORT_REFUSED : PORT_TAKEN;
    }
    add(l, h, mine, &put, p);
    if (ledger_wants(h, mine))
        ledger_add_led(s->ledger, h, &mine, &put,
                       &(struct msg_producer){ p->origin->pid, p->origin->seq }, p->number != 0);
    else
        shard_message_drop(s, &mine);
    return p->number != 0 ? PORT_AWAITED : PORT_TAKEN;
}

enum port_published mirrored_publish(struct shard *s, struct hosted *h, struct message **m,
                                     const struct lead_publish *p)
{
    struct mirrored_leads *l = leads_of(s);
    struct mirrored_queue *mq = h->mirrored;
    uint64_t epoch = mq->lead != NULL ? mq->lead->epoch : 0;
    bool is_old = p->origin->pid != 0 && p->origin->epoch < epoch;
    if (is_old || (mq->lead == NULL && !lead_will_be(h))) {
        shard_message_drop(s, m);
        return PORT_MOVED;
    }
    if (mq->lead == NULL || (p->origin->pid != 0 && p->origin->epoch > epoch) || !lead_accepts(h)) {
        if (!mq->serves)
            mirrored_is_wanted(h);
        return PORT_LATER;
    }
    if (is_known(mq->lead, p->origin))
        return again(l, h, m, p);
    return take(l, h, m, p);
}

static void end_message(struct mirrored_leads *l)
{
    struct lead_gather *g = &l->gather;
    shard_message_drop(l->shard, &g->message);
    g->flags = 0;
    g->producer = (struct msg_producer){ 0, 0 };
    g->large = NULL;
    l->shard->is_led = false;
}

void mirrored_lead_write(struct shard *s, uint64_t lsn)
{
    struct mirrored_leads *l = leads_of(s);
    say(l, lsn);
    struct lead_large *large = l->gather.large;
    end_message(l);
    if (large != NULL) /* nothing of it is written */
        mirrored_lead_large_written(s, &large, lsn);
}

/* ---- large ones -------------------------------------------------------------------------------
 */

struct lead_large *mirrored_lead_write_large(struct shard *s)
{
    struct mirrored_leads *l = leads_of(s);
    say(l, 0);
    struct lead_large *large = l->gather.large;
    end_message(l);
    return large;
}

static struct mirror_queue *still_led(struct shard *s, const struct lead_large_one *one)
{
    const struct hosted *h = shard_hosted(s, one->qid);
    struct mirror_queue *q = h != NULL && h->mirrored != NULL ? h->mirrored->lead : NULL;
    return q != NULL && q->role == one->role ? q : NULL;
}

/* What cannot be made safe here is said to be lost, whatever the mirrors have. */
void mirrored_lead_large_written(struct shard *s, struct lead_large **large, uint64_t lsn)
{
    struct mirrored_leads *l = leads_of(s);
    struct lead_large *of = *large;
    bool is_safe = lsn != UINT64_MAX;
    *large = NULL;
    for (uint32_t i = 0; i < of->count; i++) {
        const struct lead_large_one *one = &of->items[i];
        struct mirror_queue *q = still_led(s, one);
        mirror_master_written_late(s->mirrored->m, one->pos, is_safe ? lsn : 0);
        if (one->waiter.number == 0)
            continue;
        if (is_safe && q != NULL)
            await(l, q, one->pos, &one->waiter);
        else
            lead_answer(s,
                        &(struct mirror_confirm){ .qid = one->qid,
                                                  .to = one->waiter.token,
                                                  .first = one->waiter.number,
                                                  .count = 1 },
                        false);
    }
    lead_written_late(s, is_safe ? lsn : 0);
    mem_free(of->items);
    mem_free(of);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

#define CONFIRMS_A_MAIL 128u

struct lead_confirms {
    struct mail mail;
    struct shard *to;
    unsigned count;
    struct lead_confirm {
        struct mirror_token token;
        uint64_t qid;
        uint64_t first;
        uint32_t count;
        bool is_safe;
    } items[CONFIRMS_A_MAIL];
};

static void tell_letters(struct shard *s, const struct lead_confirm *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        hosted_on_letter_published(s, c->first + i, c->is_safe ? DEAD_TAKEN : DEAD_LOST);
}

static void tell_one(struct shard *s, const struct lead_confirm *c)
{
    if (c->token.b >> LEAD_TOKEN_SHIFT == LEAD_TOKEN_LETTER) {
        tell_letters(s, c);
        return;
    }
    const struct port_channel_ref to = { .connection = c->token.a,
                                         .incarnation = (uint32_t)(c->token.b >> 16),
                                         .number = (uint16_t)c->token.b };
    if (c->is_safe)
        port_tell_durable(s, &to, c->first, c->count);
    else
        for (uint32_t i = 0; i < c->count; i++)
            port_tell_published(s, &to, c->qid, c->first + i,
                                remote_is_session(&to) ? PORT_MOVED : PORT_REFUSED);
}

static void on_confirms(struct mail *mail)
{
    struct lead_confirms *b = CONTAINER_OF(mail, struct lead_confirms, mail);
    for (unsigned i = 0; i < b->count; i++)
        tell_one(b->to, &b->items[i]);
    mem_free(b);
}

static void send(struct mirrored_leads *l, uint32_t shard)
{
    struct lead_confirms *b = l->confirms[shard];
    l->confirms[shard] = NULL;
    if (b == NULL)
        return;
    b->mail.fn = on_confirms;
    if (b->to == l->shard)
        on_confirms(&b->mail);
    else
        mailbox_post(b->to->loop, &b->mail);
}

/* Not in the middle of whatever the core is at: who is told may publish, or end. */
void lead_tell(void *arg)
{
    struct mirrored_leads *l = arg;
    for (uint32_t i = 0; i < broker_shard_count(l->shard->broker); i++)
        send(l, i);
}

static void tell_later(struct mirrored_leads *l, uint32_t shard, const struct mirror_confirm *c,
                       bool is_safe)
{
    struct lead_confirms **b = &l->confirms[shard];
    if (*b != NULL && (*b)->count == CONFIRMS_A_MAIL) {
        mailbox_post((*b)->to->loop, &(*b)->mail);
        *b = NULL;
    }
    if (*b == NULL) {
        *b = mem_alloc(sizeof **b);
        (*b)->mail.fn = on_confirms;
        (*b)->to = broker_shard(l->shard->broker, shard);
        (*b)->count = 0;
    }
    (*b)->items[(*b)->count++] = (struct lead_confirm){
        .token = c->to, .qid = c->qid, .first = c->first, .count = c->count, .is_safe = is_safe
    };
    loop_at_turn_end(l->shard->loop, &l->tell_task);
}

void lead_answer(void *arg, const struct mirror_confirm *c, bool is_safe)
{
    struct shard *s = arg;
    struct mirrored_leads *l = leads_of(s);
    switch ((enum lead_token)(c->to.b >> LEAD_TOKEN_SHIFT)) {
    case LEAD_TOKEN_PUBLISH:
        tell_later(l, shard_of_id(c->to.a), c, is_safe);
        return;
    case LEAD_TOKEN_LETTER:
        tell_later(l, (uint32_t)c->to.a, c, is_safe);
        return;
    case LEAD_TOKEN_FENCE:
        lead_fence_answered(l, (struct lead_wave *)(uintptr_t)c->to.a, c->count, is_safe);
        return;
    case LEAD_TOKEN_SHOW:
        lead_show_answered(l, c, is_safe);
        return;
    }
    UNREACHABLE("token");
}
