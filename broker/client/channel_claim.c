#include "client/channel_claim.h"

#include "base/mem.h"
#include "client/channel.h"

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
    uint32_t where; /* is_answered */
    bool is_answered;
    uint64_t
        *tags; /* is_answered: what stands for each there; PORT_NO_POSITION: not the channel's */
    uint32_t count;
    struct claimed items[];
};

static struct channel_claim *find(const struct channel *ch, uint64_t consumer)
{
    struct channel_claim *c = ch->claims;
    while (c != NULL && c->consumer != consumer)
        c = c->next;
    return c;
}

static void drop(struct channel *ch, struct channel_claim *claim)
{
    struct channel_claim **at = &ch->claims;
    while (*at != claim)
        at = &(*at)->next;
    *at = claim->next;
    mem_free(claim->tags);
    mem_free(claim);
}

void channel_claims_fini(struct channel *ch)
{
    while (ch->claims != NULL)
        drop(ch, ch->claims);
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
    struct channel_claim *c = find(ch, was);
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
    if (r->verdict != PORT_OK || r->claims[i] == PORT_NO_POSITION)
        return PORT_NO_POSITION;
    return port_where_node(r->where) != 0 ? r->claim_tag + i : r->claims[i];
}

static void settle(struct channel *ch, const struct channel_claim *c, uint32_t i,
                   enum port_settle how)
{
    if (c->tags[i] != PORT_NO_POSITION)
        port_settle(ch->conn->shard, c->where, c->qid, c->tags[i], c->consumer, how);
}

static void apply(struct channel *ch, const struct channel_claim *c, uint32_t i)
{
    const struct claimed *it = &c->items[i];
    struct unacked_entry *e = unacked_at(&ch->unacked, it->tag);
    if (port_where_node(c->from) != 0)
        port_settle(ch->conn->shard, c->from, c->qid, it->old, 0, PORT_FORGET);
    if (it->is_settled) {
        settle(ch, c, i, it->how);
    } else if (e != NULL && c->tags[i] != PORT_NO_POSITION) {
        e->where = c->where;
        e->qseq = c->tags[i];
    } else if (e != NULL) {
        e->where = NOWHERE;
        e->position = UNACKED_NOWHERE;
    }
}

/* What a transaction has taken of it comes, or comes back, later. */
void channel_claimed(struct channel *ch, const struct port_request *r)
{
    struct channel_claim *c = find(ch, r->consumer);
    if (c == NULL || c->is_answered)
        return;
    CHECK(r->claim_count == c->count);
    c->is_answered = true;
    c->where = r->where;
    c->tags = mem_array(c->count, sizeof *c->tags);
    for (uint32_t i = 0; i < c->count; i++)
        c->tags[i] = tag_there(r, i);
    for (uint32_t i = 0; i < c->count; i++)
        apply(ch, c, i);
    if (ch->tx == NULL)
        drop(ch, c);
}

void channel_settle_claimed(struct channel *ch, const struct unacked_entry *e, enum port_settle how)
{
    struct channel_claim *c = find(ch, e->consumer);
    for (uint32_t i = 0; c != NULL && i < c->count; i++) {
        if (c->items[i].position != e->position)
            continue;
        if (c->is_answered) {
            settle(ch, c, i, how);
        } else {
            c->items[i].is_settled = true;
            c->items[i].how = how;
        }
        return;
    }
}
