#include "client/channel_claim.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel.h"
#include "client/channel_port.h"

#include <stdlib.h>

/* What means nothing any more stands there, too. */
#define NOWHERE CHANNEL_CLAIMING

struct claimed {
    uint64_t tag; /* the client's */
    uint64_t position;
    uint64_t old; /* what stood for it, where it was */
    bool is_settled;
    enum port_settle how;
};

struct channel_claim {
    struct channel_claim *next;
    uint64_t consumer;
    uint64_t qid;
    uint32_t from;   /* where it was */
    uint32_t where;  /* answered: where it is; where it was, if it could not be claimed */
    bool is_awaited; /* a commit waits for the answer */
    uint64_t known;  /* answered: see unacked_entry */
    uint64_t *tags;  /* answered: what stands for each there; PORT_NO_POSITION: not the channel's */
    uint32_t count;
    struct claimed items[]; /* by rising tags */
};

static struct channel_claim *find(struct channel_claim *all, uint64_t consumer)
{
    struct channel_claim *c = all;
    while (c != NULL && c->consumer != consumer)
        c = c->next;
    return c;
}

static void take_out(struct channel_claim **at, const struct channel_claim *claim)
{
    while (*at != claim)
        at = &(*at)->next;
    *at = claim->next;
}

static void drop(struct channel_claim **all, struct channel_claim *claim)
{
    take_out(all, claim);
    mem_free(claim->tags);
    mem_free(claim);
}

void channel_claims_leave(struct channel *ch)
{
    struct shard *s = ch->conn->shard;
    for (struct channel_claim *c; (c = ch->claims) != NULL;) {
        ch->claims = c->next;
        c->next = s->claims_left;
        s->claims_left = c;
    }
}

void channel_claims_free(struct shard *s)
{
    while (s->claims_left != NULL)
        drop(&s->claims_left, s->claims_left);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

struct gathering {
    uint64_t was, is;
    uint32_t count;
    struct channel_claim *claim; /* NULL: they are counted */
};

static bool is_meant(const struct gathering *g, const struct unacked_entry *e)
{
    return e->consumer == g->was && e->position != UNACKED_NOWHERE &&
           e->where != CHANNEL_CLAIMING && g->count < PORT_CLAIMS_MAX;
}

static void gather(uint64_t tag, struct unacked_entry *e, void *arg)
{
    struct gathering *g = arg;
    if (!is_meant(g, e))
        return;
    if (g->claim != NULL) {
        g->claim->items[g->count] = (struct claimed){ tag, e->position, e->qseq, false, PORT_ACK };
        g->claim->from = e->where;
        g->claim->qid = e->qid;
        e->consumer = g->is;
        e->where = CHANNEL_CLAIMING;
    }
    g->count++;
}

/* What a transaction has taken is the client's until it is committed, and after a rollback. */
static void each_held(struct channel *ch, unacked_each_fn fn, void *arg)
{
    unacked_each(&ch->unacked, fn, arg);
    channel_tx_each(ch, fn, arg);
}

static int by_tag(const void *a, const void *b)
{
    const struct claimed *x = a;
    const struct claimed *y = b;
    return (x->tag > y->tag) - (x->tag < y->tag);
}

static struct channel_claim *begin(struct channel *ch, uint64_t was, uint64_t is)
{
    struct gathering g = { .was = was, .is = is };
    each_held(ch, gather, &g);
    if (g.count == 0)
        return NULL;
    struct channel_claim *c = mem_zalloc(sizeof *c + g.count * sizeof c->items[0]);
    c->count = g.count;
    g.count = 0;
    g.claim = c;
    each_held(ch, gather, &g);
    qsort(c->items, c->count, sizeof c->items[0], by_tag);
    c->next = ch->claims;
    ch->claims = c;
    return c;
}

static void rename_entry(uint64_t tag, struct unacked_entry *e, void *arg)
{
    const struct gathering *g = arg;
    (void)tag;
    if (e->consumer == g->was)
        e->consumer = g->is;
}

/* One that was not answered, because its master is gone too, goes on. */
static struct channel_claim *go_on(struct channel *ch, uint64_t was, uint64_t is)
{
    struct channel_claim *c = find(ch->claims, was);
    if (c != NULL)
        each_held(ch, rename_entry, &(struct gathering){ .was = was, .is = is });
    return c;
}

struct port_request *channel_claim(struct channel *ch, uint64_t was, uint64_t is)
{
    struct channel_claim *c = go_on(ch, was, is);
    if (c == NULL)
        c = begin(ch, was, is);
    struct port_request *r = port_request_new(c != NULL ? c->count : 0);
    for (uint32_t i = 0; i < r->claim_count; i++)
        r->claims[i] = c->items[i].position;
    if (c != NULL)
        c->consumer = is;
    return r;
}

/* ---- answered ---------------------------------------------------------------------------------
 */

static uint64_t tag_there(const struct port_request *r, uint32_t i)
{
    return port_where_node(r->where) != 0 && r->claims[i] != PORT_NO_POSITION ? r->claim_tag + i
                                                                              : r->claims[i];
}

/* Where it was it is not to be settled any more. */
static void forget_old(struct shard *s, const struct channel_claim *c)
{
    for (uint32_t i = 0; i < c->count && port_where_node(c->from) != 0; i++)
        port_settle(
            s, &(struct unacked_entry){ .qid = c->qid, .qseq = c->items[i].old, .where = c->from },
            PORT_FORGET);
}

/* A shard of this node says when it answered. Another node may have answered in a later epoch than
 * the one in which it was asked. */
static uint64_t known_of(const struct shard *s, const struct port_request *r)
{
    return port_where_node(r->where) != 0 ? broker_meta(s->broker)->index : r->known;
}

/* One that came to nothing leaves all as it was: the former master passes on what is settled with
 * it. */
static void answer(struct shard *s, struct channel_claim *c, const struct port_request *r)
{
    bool is_there = r->verdict == PORT_OK;
    CHECK(r->claim_count == c->count);
    c->where = is_there ? r->where : c->from;
    c->known = is_there ? known_of(s, r) : 0;
    c->tags = mem_array(c->count, sizeof *c->tags);
    for (uint32_t i = 0; i < c->count; i++)
        c->tags[i] = is_there ? tag_there(r, i) : c->items[i].old;
    if (is_there)
        forget_old(s, c);
}

static void settle(struct shard *s, const struct channel_claim *c, uint32_t i, enum port_settle how)
{
    if (c->tags[i] != PORT_NO_POSITION)
        port_settle(s,
                    &(struct unacked_entry){ .qid = c->qid,
                                             .qseq = c->tags[i],
                                             .consumer = c->consumer,
                                             .where = c->where,
                                             .known = c->known },
                    how);
}

/* Is it certain that what was settled is, or will be? */
static bool is_safe(const struct channel *ch, const struct channel_claim *c,
                    const struct port_request *r)
{
    if (r->verdict != PORT_OK)
        return meta_queue_get(channel_meta(ch), c->qid) == NULL;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->items[i].is_settled && c->tags[i] == PORT_NO_POSITION)
            return false;
    return true;
}

static void settle_those_said(struct channel *ch, const struct channel_claim *c)
{
    bool is_any = false;
    for (uint32_t i = 0; i < c->count; i++) {
        is_any = is_any || c->items[i].is_settled;
        if (c->items[i].is_settled)
            settle(ch->conn->shard, c, i, c->items[i].how);
    }
    if (is_any)
        channel_tx_settled_at(ch, c->qid, c->where, c->known);
}

/* Where the client's tag finds it from now on. */
static void place(uint64_t tag, struct unacked_entry *e, void *arg)
{
    const struct channel_claim *c = arg;
    const struct claimed *it =
        bsearch(&(struct claimed){ .tag = tag }, c->items, c->count, sizeof *it, by_tag);
    if (e->where != CHANNEL_CLAIMING || it == NULL)
        return;
    e->consumer = c->consumer;
    e->known = c->known;
    e->qseq = c->tags[it - c->items];
    if (e->qseq != PORT_NO_POSITION)
        e->where = c->where;
    else
        e->position = UNACKED_NOWHERE;
}

enum channel_claim_end channel_claimed(struct channel *ch, const struct port_request *r)
{
    struct channel_claim *c = find(ch->claims, r->consumer);
    enum channel_claim_end end = CHANNEL_CLAIM_QUIET;
    if (c == NULL)
        return end;
    if (c->is_awaited)
        port_fence_begin(ch->conn->shard);
    answer(ch->conn->shard, c, r);
    settle_those_said(ch, c);
    each_held(ch, place, c);
    if (c->is_awaited) {
        end = is_safe(ch, c, r) ? CHANNEL_CLAIM_SETTLED : CHANNEL_CLAIM_LOST;
        channel_tx_fence(ch);
    }
    drop(&ch->claims, c);
    return end;
}

/* What nobody has settled goes back. */
bool channel_claims_end(struct shard *s, const struct port_request *r)
{
    struct channel_claim *c = find(s->claims_left, r->consumer);
    if (c == NULL)
        return false;
    answer(s, c, r);
    for (uint32_t i = 0; i < c->count; i++)
        settle(s, c, i, c->items[i].is_settled ? c->items[i].how : PORT_REQUEUE_SEEN);
    drop(&s->claims_left, c);
    return true;
}

/* By what stood for it before, whatever its consumer is called by now. */
static struct claimed *find_item(const struct channel *ch, const struct unacked_entry *e,
                                 struct channel_claim **of)
{
    for (struct channel_claim *c = ch->claims; c != NULL; c = c->next)
        for (uint32_t i = 0; c->qid == e->qid && i < c->count; i++)
            if (c->items[i].position == e->position && c->items[i].old == e->qseq) {
                *of = c;
                return &c->items[i];
            }
    return NULL;
}

void channel_settle_claimed(struct channel *ch, const struct unacked_entry *e, enum port_settle how)
{
    struct channel_claim *c;
    struct claimed *it = find_item(ch, e, &c);
    if (it == NULL) {
        channel_tx_lose(ch, e->qid);
        return;
    }
    it->is_settled = true;
    it->how = how;
    if (!c->is_awaited)
        c->is_awaited = channel_tx_await(ch);
}
