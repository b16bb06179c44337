#include "client/channel_claim.h"

#include "base/check.h"
#include "base/mem.h"
#include "client/channel.h"
#include "client/channel_port.h"

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
    uint32_t from;  /* where it was */
    uint32_t where; /* is_answered: where it is; where it was, if it could not be claimed */
    bool is_answered;
    bool is_awaited; /* a commit waits for the answer */
    uint64_t
        *tags; /* is_answered: what stands for each there; PORT_NO_POSITION: not the channel's */
    uint32_t count;
    struct claimed items[];
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
        if (c->is_answered) {
            drop(&ch->claims, c);
            continue;
        }
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

static struct channel_claim *begin(struct channel *ch, uint64_t was, uint64_t is)
{
    struct gathering g = { .was = was, .is = is };
    unacked_each(&ch->unacked, gather, &g);
    if (g.count == 0)
        return NULL;
    struct channel_claim *c = mem_zalloc(sizeof *c + g.count * sizeof c->items[0]);
    c->count = g.count;
    g.count = 0;
    g.claim = c;
    unacked_each(&ch->unacked, gather, &g);
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
    if (c == NULL || c->is_answered)
        return NULL;
    unacked_each(&ch->unacked, rename_entry, &(struct gathering){ .was = was, .is = is });
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
        port_settle(s, c->from, c->qid, c->items[i].old, 0, PORT_FORGET);
}

/* One that came to nothing leaves all as it was: the former master passes on what is settled with
 * it. */
static void answer(struct shard *s, struct channel_claim *c, const struct port_request *r)
{
    bool is_there = r->verdict == PORT_OK;
    CHECK(r->claim_count == c->count);
    c->is_answered = true;
    c->where = is_there ? r->where : c->from;
    c->tags = mem_array(c->count, sizeof *c->tags);
    for (uint32_t i = 0; i < c->count; i++)
        c->tags[i] = is_there ? tag_there(r, i) : c->items[i].old;
    if (is_there)
        forget_old(s, c);
}

static void settle(struct shard *s, const struct channel_claim *c, uint32_t i, enum port_settle how)
{
    if (c->tags[i] != PORT_NO_POSITION)
        port_settle(s, c->where, c->qid, c->tags[i], c->consumer, how);
}

/* Where the client's tag finds it from now on. */
static void place(struct unacked_entry *e, const struct channel_claim *c, uint32_t i)
{
    e->consumer = c->consumer;
    if (!c->is_answered)
        return;
    if (c->tags[i] != PORT_NO_POSITION) {
        e->where = c->where;
        e->qseq = c->tags[i];
    } else {
        e->where = NOWHERE;
        e->position = UNACKED_NOWHERE;
    }
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

static void apply(struct channel *ch, const struct channel_claim *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct unacked_entry *e = unacked_at(&ch->unacked, c->items[i].tag);
        if (c->items[i].is_settled)
            settle(ch->conn->shard, c, i, c->items[i].how);
        else if (e != NULL)
            place(e, c, i);
    }
}

/* What a transaction has taken of it comes, or comes back, later. */
enum channel_claim_end channel_claimed(struct channel *ch, const struct port_request *r)
{
    struct channel_claim *c = find(ch->claims, r->consumer);
    enum channel_claim_end end = CHANNEL_CLAIM_QUIET;
    if (c == NULL || c->is_answered)
        return end;
    if (c->is_awaited)
        port_fence_begin(ch->conn->shard);
    answer(ch->conn->shard, c, r);
    apply(ch, c);
    if (c->is_awaited) {
        end = is_safe(ch, c, r) ? CHANNEL_CLAIM_SETTLED : CHANNEL_CLAIM_LOST;
        channel_tx_fence(ch);
    }
    if (!channel_tx_settles(ch))
        drop(&ch->claims, c);
    return end;
}

/* Tags that a rollback has opened again are as they were before. */
static void place_reopened(struct channel *ch, const struct channel_claim *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct unacked_entry *e = unacked_at(&ch->unacked, c->items[i].tag);
        if (e != NULL && e->where == CHANNEL_CLAIMING && e->position == c->items[i].position)
            place(e, c, i);
    }
}

void channel_claims_tx_over(struct channel *ch)
{
    for (struct channel_claim *c = ch->claims, *next; c != NULL; c = next) {
        next = c->next;
        place_reopened(ch, c);
        if (c->is_answered)
            drop(&ch->claims, c);
    }
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

/* By what stood for it before, whatever its consumer is called by now: a transaction keeps it as it
 * was taken. */
static struct channel_claim *find_item(const struct channel *ch, const struct unacked_entry *e,
                                       uint32_t *i)
{
    for (struct channel_claim *c = ch->claims; c != NULL; c = c->next)
        for (*i = 0; c->qid == e->qid && *i < c->count; ++*i)
            if (c->items[*i].position == e->position && c->items[*i].old == e->qseq)
                return c;
    return NULL;
}

void channel_settle_claimed(struct channel *ch, const struct unacked_entry *e, enum port_settle how)
{
    uint32_t i;
    struct channel_claim *c = find_item(ch, e, &i);
    if (c == NULL)
        return;
    if (c->is_answered) {
        settle(ch->conn->shard, c, i, how);
        if (c->tags[i] == PORT_NO_POSITION)
            channel_tx_lose(ch);
        return;
    }
    c->items[i].is_settled = true;
    c->items[i].how = how;
    if (!c->is_awaited)
        c->is_awaited = channel_tx_await(ch);
}
