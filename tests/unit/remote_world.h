/*
 * remote_world: a client and a server of remote queues with a link in memory between them; channels
 * on one side and one queue on the other do as little as they can.
 */
#ifndef WARREN_TESTS_REMOTE_WORLD_H
#define WARREN_TESTS_REMOTE_WORLD_H

#include "base/mem.h"
#include "expect.h"
#include "remote/remote_client.h"
#include "remote/remote_server.h"

#include <stdio.h>

#define QID        500u
#define WHERE      3u
#define SESSION    (1ull << 48 | 9)
#define FRAMES_MAX 4096u
#define EVENTS_MAX 8192u

struct frames {
    struct buf *blocks[FRAMES_MAX];
    bool more[FRAMES_MAX];
    unsigned first, count;
    bool full;
    bool soon;
};

/* What happened at home, in order. */
enum event_kind {
    PUBLISHED,
    NACKED,
    PUBLISH_MOVED,
    TAKEN,
    ANSWERED,
    OFFERED,
    RESUMED,
    SERVED,
    CANCELLED,
    CONSUMER_MOVED,
    KNOWN
};
struct event {
    enum event_kind kind;
    uint64_t a, b;
    uint32_t count;
};

struct world {
    struct remote_client *client;
    struct remote_server *server;
    struct frames there, back;
    struct event events[EVENTS_MAX];
    unsigned event_count;
    int64_t counted;
    bool is_fresh;         /* memory was counted for what is offered next */
    bool refuses;          /* channels take nothing */
    uint64_t last_offered; /* what its body begins with */
    struct port_request answer;
    uint64_t claims[4]; /* of the answer */
    /* the queue's side */
    uint64_t known, awaited;
    uint64_t applied, awaited_index;
    uint64_t last_qid;
    struct port_origin last_origin;
    bool is_moved;
    enum port_published published;
    bool waits;
    bool is_gone;
    unsigned messages; /* published here */
    bool holds;        /* ... and kept, eldest first */
    struct message *held[2048];
    unsigned held_count;
    size_t last_body;
    uint64_t last_number;
    struct remote_request *asked;
    char settled[4096];
    uint64_t settled_known; /* of the last */
    unsigned returned, refused, runs;
    uint32_t woken;
    unsigned abandoned, deleted, given_back;
    bool reply_now;
    bool is_short;
    uint64_t waiting[512];
    unsigned waiting_count;
};

static const struct port_channel_ref me = { .connection = 1ull << 48 | 7, 3, 1 };
static const struct port_channel_ref other = { .connection = 1ull << 48 | 7, 3, 2 };
static const uint8_t no_props[] = { 0, 0 };

static inline struct message *message(size_t body_bytes)
{
    void *body = mem_zalloc(body_bytes + 1);
    struct message *m =
        message_new(slice_str(""), slice_str("q"), slice_of(no_props, sizeof no_props),
                    slice_of(body, body_bytes), false);
    mem_free(body);
    return m;
}

/* ---- the link ---------------------------------------------------------------------------------
 */

static void on_send(void *arg, struct buf *block, struct slice bytes, bool more)
{
    struct frames *f = arg;
    (void)block;
    cr_assert(lt(uint, f->count, FRAMES_MAX));
    f->more[f->count] = more;
    f->blocks[f->count++] = buf_copy(bytes);
}

static bool is_full(void *arg)
{
    return ((struct frames *)arg)->full;
}

static void on_soon(void *arg)
{
    ((struct frames *)arg)->soon = true;
}

static void on_drop(void *arg, struct message **m)
{
    (void)arg;
    message_unref(m);
}

static struct remote_pipe pipe_of(struct frames *f)
{
    return (struct remote_pipe){ on_send, is_full, on_soon, on_drop, f };
}

static void forget_frames(struct frames *f)
{
    for (; f->first < f->count; f->first++)
        buf_unref(&f->blocks[f->first]);
    f->first = f->count = 0;
}

/* The next frame, or NULL; the caller's. */
static struct buf *next_frame(struct frames *f, bool *more)
{
    if (f->first == f->count) {
        f->first = f->count = 0;
        return NULL;
    }
    *more = f->more[f->first];
    return f->blocks[f->first++];
}

/* One turn on each side. True when something travelled. */
static bool turn(struct world *w)
{
    bool moved = false, more;
    struct buf *b;
    remote_client_flush(w->client);
    for (; (b = next_frame(&w->there, &more)) != NULL; moved = true) {
        cr_assert(remote_server_take(w->server, buf_slice(b), more));
        buf_unref(&b);
    }
    remote_server_flush(w->server);
    for (; (b = next_frame(&w->back, &more)) != NULL; moved = true) {
        cr_assert(remote_client_take(w->client, buf_slice(b)));
        buf_unref(&b);
    }
    return moved;
}

static void settle_down(struct world *w)
{
    for (unsigned i = 0; i < 1000; i++) {
        if (!turn(w))
            return;
    }
    cr_fatal("it never ends");
}

/* ---- channels ---------------------------------------------------------------------------------
 */

static void note(struct world *w, enum event_kind kind, uint64_t a, uint64_t b, uint32_t count)
{
    cr_assert(lt(uint, w->event_count, EVENTS_MAX));
    w->events[w->event_count++] = (struct event){ kind, a, b, count };
}

static void published(void *arg, const struct port_channel_ref *from, uint64_t first,
                      uint32_t count, uint32_t copies, bool ok)
{
    (void)from;
    note(arg, ok ? PUBLISHED : NACKED, first, copies, count);
}

static void publish_moved(void *arg, const struct port_channel_ref *from, uint64_t number,
                          uint64_t qid)
{
    (void)from;
    note(arg, PUBLISH_MOVED, number, qid, 0);
}

static void taken(void *arg, uint64_t connection, uint64_t octets)
{
    note(arg, TAKEN, connection, octets, 0);
}

static void answered(void *arg, struct port_request *r)
{
    struct world *w = arg;
    note(w, ANSWERED, (uint64_t)r->op, (uint64_t)r->verdict, 0);
    w->answer = *r;
    w->answer.message = NULL;
    w->answer.claims = NULL;
    for (uint32_t i = 0; i < r->claim_count && i < ARRAY_COUNT(w->claims); i++)
        w->claims[i] = r->claims[i];
    if (r->message != NULL) {
        w->counted -= (int64_t)message_cost_bytes(r->message);
        message_unref(&r->message);
    }
    mem_free(r);
}

static bool offer(void *arg, const struct port_channel_ref *to, uint64_t consumer,
                  const struct port_handed *as, struct message *m, bool redelivered)
{
    struct world *w = arg;
    (void)to, (void)redelivered;
    if (w->is_fresh)
        w->counted -= (int64_t)message_cost_bytes(m); /* on_drop does not */
    w->is_fresh = false;
    if (w->refuses)
        return false;
    if (!message_is_in_parts(m) && m->body_bytes >= sizeof w->last_offered)
        memcpy(&w->last_offered, message_body(m).ptr, sizeof w->last_offered);
    note(w, OFFERED, consumer, as->tag, (uint32_t)m->body_bytes);
    return true;
}

static void resumed(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    (void)to;
    note(arg, RESUMED, consumer, 0, 0);
}

static void served(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    (void)to;
    note(arg, SERVED, consumer, 0, 0);
}

static void cancelled(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    (void)to;
    note(arg, CANCELLED, consumer, 0, 0);
}

static void consumer_moved(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    (void)to;
    note(arg, CONSUMER_MOVED, consumer, 0, 0);
}

static void reply_known(void *arg, const struct port_channel_ref *from, bool known)
{
    (void)from;
    note(arg, KNOWN, known, 0, 0);
}

static void count(void *arg, int64_t octets)
{
    struct world *w = arg;
    w->counted += octets;
    w->is_fresh = octets > 0;
}

static const struct remote_client_ops client_ops = {
    .published = published,
    .publish_moved = publish_moved,
    .taken = taken,
    .answer = answered,
    .offer = offer,
    .resumed = resumed,
    .served = served,
    .cancelled = cancelled,
    .consumer_moved = consumer_moved,
    .reply_known = reply_known,
    .count = count,
};

/* ---- the queue --------------------------------------------------------------------------------
 */

static enum port_published queue_publish_one(void *arg, uint64_t qid, struct message **m,
                                             uint64_t number, const struct port_origin *origin)
{
    struct world *w = arg;
    w->last_qid = qid;
    w->last_origin = *origin;
    w->messages++;
    w->last_body = (*m)->body_bytes;
    w->last_number = number;
    if (w->holds) {
        cr_assert(lt(uint, w->held_count, ARRAY_COUNT(w->held)));
        w->held[w->held_count++] = message_ref(*m);
    }
    message_unref(m);
    return w->published;
}

static bool queue_published(void *arg, uint64_t number)
{
    struct world *w = arg;
    if (w->waits && number != 0)
        w->waiting[w->waiting_count++] = number;
    return w->waits;
}

static bool find(void *arg, uint64_t qid, uint32_t *where)
{
    const struct world *w = arg;
    *where = WHERE;
    return qid == QID && !w->is_gone && !w->is_moved;
}

static void ask(void *arg, struct remote_request *r)
{
    struct world *w = arg;
    cr_assert(w->asked == NULL);
    w->asked = r;
}

static void settle(void *arg, const struct unacked_entry *e, enum port_settle how)
{
    struct world *w = arg;
    cr_expect(eq(u32, e->where, WHERE));
    cr_expect(eq(u64, e->qid, QID));
    w->settled_known = e->known;
    size_t at = strlen(w->settled);
    if (at + 32 < sizeof w->settled)
        snprintf(w->settled + at, sizeof w->settled - at, "%s%c%u", at != 0 ? " " : "",
                 "adrsu"[how], (unsigned)e -> qseq);
}

static void settle_moved(void *arg, uint64_t qid, uint64_t qseq, enum port_settle how)
{
    settle(arg, &(struct unacked_entry){ .qid = qid, .qseq = qseq, .where = WHERE }, how);
}

static void settled(void *arg)
{
    ((struct world *)arg)->runs++;
}

static void wake(void *arg, uint32_t where, uint64_t consumer, uint32_t credit)
{
    (void)where, (void)consumer;
    ((struct world *)arg)->woken = credit;
}

static void abandon(void *arg, uint32_t where, uint64_t qid, uint64_t consumer)
{
    (void)where, (void)qid, (void)consumer;
    ((struct world *)arg)->abandoned++;
}

static void returned(void *arg, const struct remote_delivery *d)
{
    struct world *w = arg;
    w->returned++;
    w->refused += d->refused;
}

static void returned_all(void *arg)
{
    (void)arg;
}

static bool reply(void *arg, const struct reply_address *to, struct message *m)
{
    struct world *w = arg;
    w->last_body = m->body_bytes;
    cr_expect(eq(u16, to->channel.number, 9));
    return w->reply_now;
}

static void reply_ask(void *arg, const struct reply_address *to, uint32_t token)
{
    struct world *w = arg;
    (void)to;
    remote_server_on_reply_known(w->server, token, true);
}

static void delete_one(void *arg, uint64_t qid)
{
    cr_expect(eq(u64, qid, QID));
    ((struct world *)arg)->deleted++;
}

static void give_back(void *arg, struct unacked *u)
{
    struct world *w = arg;
    struct unacked_entry e;
    while (unacked_take_oldest(u, UINT64_MAX, &e))
        w->given_back++;
}

static bool is_short(void *arg)
{
    return ((struct world *)arg)->is_short;
}

static void made(void *arg, struct message *m)
{
    (void)arg, (void)m;
}

static bool knows(void *arg, uint64_t qid)
{
    return ((struct world *)arg)->known >= qid;
}

static void await_known(void *arg, uint64_t qid)
{
    ((struct world *)arg)->awaited = qid;
}

static bool has_applied(void *arg, uint64_t index)
{
    return ((struct world *)arg)->applied >= index;
}

static void await_applied(void *arg, uint64_t index)
{
    ((struct world *)arg)->awaited_index = index;
}

static bool is_elsewhere(void *arg, uint64_t qid)
{
    return qid == QID && ((struct world *)arg)->is_moved;
}

static const struct remote_server_ops server_ops = {
    .knows = knows,
    .await_known = await_known,
    .has_applied = has_applied,
    .await_applied = await_applied,
    .publish = queue_publish_one,
    .published = queue_published,
    .find = find,
    .is_elsewhere = is_elsewhere,
    .ask = ask,
    .settle = settle,
    .settle_moved = settle_moved,
    .settled = settled,
    .wake = wake,
    .abandon = abandon,
    .returned = returned,
    .returned_all = returned_all,
    .reply = reply,
    .reply_ask = reply_ask,
    .delete_queue = delete_one,
    .give_back = give_back,
    .is_short = is_short,
    .made = made,
    .count = count,
};

static struct world *open_world(void)
{
    struct world *w = mem_zalloc(sizeof *w);
    w->known = w->applied = UINT64_MAX;
    struct remote_pipe there = pipe_of(&w->there), back = pipe_of(&w->back);
    w->client = remote_client_new(&client_ops, w, &there);
    w->server = remote_server_new(&server_ops, w, &back, SESSION);
    return w;
}

static void close_world(struct world *w)
{
    cr_expect(eq(i64, w->counted, 0));
    remote_server_lost(w->server);
    remote_server_free(&w->server);
    remote_client_free(&w->client);
    forget_frames(&w->there);
    forget_frames(&w->back);
    for (unsigned i = 0; i < w->held_count; i++)
        message_unref(&w->held[i]);
    mem_free(w->asked);
    mem_free(w);
}

static const struct event *last(const struct world *w)
{
    static const struct event none;
    return w->event_count != 0 ? &w->events[w->event_count - 1] : &none;
}

static unsigned how_many(const struct world *w, enum event_kind kind)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->event_count; i++)
        n += w->events[i].kind == kind;
    return n;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static inline void ask_for(struct world *w, enum port_op op, uint64_t consumer, bool no_ack)
{
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = op,
                                .qid = QID,
                                .from = me,
                                .consumer = consumer,
                                .prefetch = 10,
                                .priority = -5,
                                .no_ack = no_ack };
    remote_client_ask(w->client, &r);
    settle_down(w);
}

static inline void give_answer(struct world *w, enum port_verdict verdict)
{
    struct remote_request *r = w->asked;
    cr_assert(r != NULL);
    w->asked = NULL;
    r->request.verdict = verdict;
    remote_server_on_answer(w->server, r);
    mem_free(r);
    settle_down(w);
}

static inline void consume(struct world *w, uint64_t consumer, bool no_ack)
{
    ask_for(w, PORT_CONSUME, consumer, no_ack);
    cr_expect(eq(i64, w->asked->request.priority, -5));
    cr_expect(eq(u32, w->asked->request.prefetch, 10));
    cr_expect(eq(u32, w->asked->request.where, WHERE));
    give_answer(w, PORT_OK);
    cr_expect(eq(int, last(w)->kind, ANSWERED));
}

static inline bool deliver(struct world *w, uint64_t consumer, uint64_t qseq, bool auto_ack,
                           size_t bytes)
{
    struct message *m = message(bytes);
    bool ok = remote_server_deliver(w->server,
                                    &(struct remote_delivery){ .qid = QID,
                                                               .qseq = qseq,
                                                               .consumer = consumer,
                                                               .where = WHERE,
                                                               .bytes = (uint32_t)bytes,
                                                               .known = 1000 + qseq,
                                                               .auto_ack = auto_ack },
                                    m);
    message_unref(&m);
    return ok;
}

#endif
