#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/channel_port.h"
#include "client/late_answer.h"
#include "cluster/meta_node.h"
#include "doorway.h"
#include "hosted.h"
#include "node_place.h"
#include "port_lane.h"
#include "remote/remote_carry.h"
#include "remote/remote_inner.h"
#include "remote/remote_lane.h"

/* ---- what comes back --------------------------------------------------------------------------
 */

static struct shard *shard_of(const struct remote_peer *p)
{
    return p->all->shard;
}

static enum dead_fate fate_of(const struct remote_peer *p, bool ok)
{
    return ok ? DEAD_TAKEN : p->client->is_ending ? DEAD_LOST : DEAD_REFUSED;
}

static void on_letters(struct remote_peer *p, uint64_t first, uint32_t count, uint32_t copies,
                       bool ok)
{
    enum dead_fate fate = fate_of(p, ok);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t n = 0; n < copies; n++)
            hosted_on_letter_published(shard_of(p), first + i, fate);
    }
}

static void on_published(void *arg, const struct port_channel_ref *from, uint64_t first,
                         uint32_t count, uint32_t copies, bool ok)
{
    const struct remote_peer *p = arg;
    struct shard *s = shard_of(p);
    struct remote_lane *lane = remote_carry_lane(s, from);
    if (from->connection == 0) {
        on_letters(arg, first, count, copies, ok);
        return;
    }
    if (lane != NULL) {
        if (!p->client->is_ending) /* else all of it is sent again, see lose */
            remote_lane_on_answers(lane, first, count, copies, ok);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t n = 0; n < copies; n++)
            port_tell_publisher(s, from, first + i, fate_of(p, ok)); /* may close its channel */
    }
}

static void on_publish_moved(void *arg, const struct port_channel_ref *from, uint64_t number,
                             uint64_t qid)
{
    struct remote_lane *lane = remote_carry_lane(shard_of(arg), from);
    if (lane != NULL)
        remote_lane_on_moved(lane, number, qid);
}

static void on_taken(void *arg, uint64_t connection, uint64_t octets)
{
    struct remote_peer *p = arg;
    if (connection != 0)
        connection_on_forwarded(shard_of(p), connection, octets);
    else if (!remote_client_has_many_letters(p->client))
        hosted_letters_go_on(shard_of(p));
}

static void on_answer(void *arg, struct port_request *r)
{
    port_answered(shard_of(arg), r);
}

static bool on_offer(void *arg, const struct port_channel_ref *to, uint64_t consumer,
                     const struct port_handed *as, struct message *m, bool redelivered)
{
    struct shard *s = shard_of(arg);
    struct channel *ch = channel_find(s, to);
    struct port_handed came = { as->tag, as->position, broker_meta(s->broker)->index };
    return ch != NULL && channel_offer(ch, consumer, &came, m, redelivered);
}

static void on_resumed(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct channel *ch = channel_find(shard_of(arg), to);
    if (ch != NULL)
        channel_on_resumed(ch, consumer);
}

static void on_served(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct channel *ch = channel_find(shard_of(arg), to);
    if (ch != NULL)
        channel_on_served(ch, consumer);
}

static void on_cancelled(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct channel *ch = channel_find(shard_of(arg), to);
    if (ch != NULL)
        channel_on_cancelled(ch, consumer);
}

static void on_consumer_moved(void *arg, const struct port_channel_ref *to, uint64_t consumer)
{
    struct channel *ch = channel_find(shard_of(arg), to);
    if (ch != NULL)
        channel_on_moved(ch, consumer);
}

static void on_reply_known(void *arg, const struct port_channel_ref *from, bool known)
{
    struct channel *ch = channel_find(shard_of(arg), from);
    if (ch != NULL)
        channel_on_reply_known(ch, known);
}

static void on_count(void *arg, int64_t octets)
{
    shard_count_bytes(shard_of(arg), octets);
}

static const struct remote_client_ops client_ops = {
    .published = on_published,
    .publish_moved = on_publish_moved,
    .taken = on_taken,
    .answer = on_answer,
    .offer = on_offer,
    .resumed = on_resumed,
    .served = on_served,
    .cancelled = on_cancelled,
    .consumer_moved = on_consumer_moved,
    .reply_known = on_reply_known,
    .count = on_count,
};

/* ---- the link ---------------------------------------------------------------------------------
 */

static void send_frame(void *arg, struct buf *block, struct slice bytes, bool more)
{
    struct remote_peer *p = arg;
    if (p->link != NULL)
        remote_send(p->link, block, bytes, more);
}

static bool is_full(void *arg)
{
    const struct remote_peer *p = arg;
    return p->link != NULL && link_is_full(p->link);
}

static void soon(void *arg)
{
    struct remote_peer *p = arg;
    if (p->is_due)
        return;
    p->is_due = true;
    TAILQ_INSERT_TAIL(&p->all->due_peers, p, due_entry);
    loop_at_turn_end(shard_of(p)->loop, &p->all->flush_task);
}

static void drop(void *arg, struct message **m)
{
    shard_message_drop(shard_of(arg), m);
}

static void not_publishing(struct remote_peer *p)
{
    shard_of(p)->publishing_away -= p->is_publishing;
    p->is_publishing = false;
}

static struct remote_peer *find(const struct shard *s, uint16_t node);
static struct remote_peer *make(struct shard *s, uint16_t node);

void remote_end_link(struct remotes *r, uint16_t node, struct link **l)
{
    struct remote_peer *p = find(r->shard, node);
    link_figure_keep(&(p != NULL ? p : make(r->shard, node))->past, *l);
    link_free(l);
}

void remote_each_link(struct shard *s, remote_each_link_fn fn, void *arg)
{
    struct link_figure f;
    size_t at = 0;
    for (struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;) {
        f = (struct link_figure){ .class = LINK_BULK, .stats = p->past };
        fn(arg, p->node, &f);
        if (p->link != NULL) {
            f = link_figure_of(LINK_BULK, p->link);
            fn(arg, p->node, &f);
        }
    }
    at = 0;
    for (struct remote_session *ss; (ss = idmap_next(&s->remotes->sessions, &at)) != NULL;) {
        f = link_figure_of(LINK_BULK, ss->link);
        fn(arg, ss->node, &f);
    }
}

/* This life is over. */
static void lose(struct remote_peer *p)
{
    if (p->link != NULL)
        remote_end_link(p->all, p->node, &p->link);
    not_publishing(p);
    remote_client_lost(p->client);
    remote_carry_on_lost(shard_of(p), p->node);
    hosted_letters_go_on(shard_of(p));
    port_settled(shard_of(p));
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct remote_peer *p = arg;
    if (!remote_client_take(p->client, f->payload))
        link_give_up(l);
}

static void on_room(struct link *l, void *arg)
{
    struct remote_peer *p = arg;
    (void)l;
    remote_outbox_on_room(&p->client->out);
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    struct remote_peer *p = arg;
    (void)l;
    log_warn("remote", broker_name(shard_of(p)->broker),
             "queues of another node cannot be reached any more node=%u shard=%u: %s%s%s",
             (unsigned)p->node, shard_of(p)->index, link_loss_text(why),
             err != NULL && err->text[0] != '\0' ? ": " : "", err != NULL ? err->text : "");
    lose(p);
}

bool remote_is_serving(const struct shard *s, uint16_t node)
{
    const struct meta_node *n = meta_node_get(broker_meta(s->broker), node);
    return n != NULL && meta_node_is_serving(n);
}

/* The session might be resumed. But who does not serve has given its queues away, and mostly does
 * not come back as the same process. */
static void on_trouble(struct link *l, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg)
{
    struct remote_peer *p = arg;
    (void)l, (void)what, (void)refusal, (void)err;
    if (!remote_is_serving(shard_of(p), p->node))
        lose(p);
}

static void dial(struct remote_peer *p)
{
    static const struct link_handlers handlers = {
        .on_frame = on_frame, .on_room = on_room, .on_lost = on_lost, .on_trouble = on_trouble
    };
    struct shard *s = shard_of(p);
    const struct meta_node *n = meta_node_get(broker_meta(s->broker), p->node);
    struct node_place at;
    p->is_unreachable = n == NULL || !node_place_of(n, &at);
    if (p->is_unreachable) {
        soon(p);
        return;
    }
    p->link = link_dial(s->loop, doorway_node(broker_doorway(s->broker)),
                        &(struct link_options){ .class = LINK_BULK,
                                                .shard = (uint16_t)s->index,
                                                .host = at.host,
                                                .port = at.port,
                                                .name = at.name,
                                                .node = p->node,
                                                .resume_ms = LINK_RESUME_MS },
                        &handlers, p);
}

/* ---- peers ------------------------------------------------------------------------------------
 */

static struct remote_peer *find(const struct shard *s, uint16_t node)
{
    return idmap_get(&s->remotes->peers, node);
}

static struct remote_peer *make(struct shard *s, uint16_t node)
{
    struct remote_peer *p = mem_zalloc(sizeof *p);
    p->all = s->remotes;
    p->node = node;
    p->client = remote_client_new(&client_ops, p,
                                  &(struct remote_pipe){ send_frame, is_full, soon, drop, p });
    idmap_put(&s->remotes->peers, node, p);
    return p;
}

/* With a link. */
static struct remote_peer *need(struct shard *s, uint16_t node)
{
    struct remote_peer *p = find(s, node);
    if (UNLIKELY(p == NULL))
        p = make(s, node);
    if (UNLIKELY(p->link == NULL))
        dial(p);
    return p;
}

/* Of the present life, or NULL. */
static struct remote_peer *find_alive(struct shard *s, uint32_t where)
{
    struct remote_peer *p = find(s, port_where_node(where));
    return p != NULL && p->client->life == (uint16_t)where ? p : NULL;
}

void remote_flush_peers(struct remotes *r)
{
    struct remote_peer *p;
    while ((p = TAILQ_FIRST(&r->due_peers)) != NULL) {
        TAILQ_REMOVE(&r->due_peers, p, due_entry);
        p->is_due = false;
        if (UNLIKELY(p->is_unreachable && p->link == NULL))
            lose(p);
        remote_client_flush(p->client);
    }
}

void remote_close_peers(struct remotes *r)
{
    for (struct remote_peer *p; (p = idmap_first(&r->peers)) != NULL; mem_free(p)) {
        idmap_take(&r->peers, p->node);
        if (p->link != NULL)
            link_free(&p->link);
        remote_client_free(&p->client);
    }
    TAILQ_INIT(&r->due_peers);
    r->shard->publishing_away = 0;
}

void remote_lose_peer(struct remotes *r, uint16_t node)
{
    struct remote_peer *p = find(r->shard, node);
    if (p != NULL)
        lose(p);
}

void remote_node_stops(struct shard *s, uint16_t node)
{
    struct remote_peer *p = find(s, node);
    if (p != NULL && p->link != NULL && !link_is_connected(p->link))
        link_kick(p->link);
}

/* ---- for the port -----------------------------------------------------------------------------
 */

uint32_t remote_where(struct shard *s, uint16_t node)
{
    struct remote_peer *p = find(s, node);
    if (UNLIKELY(p == NULL))
        p = make(s, node);
    return (uint32_t)node << 16 | p->client->life;
}

void remote_publish(struct shard *s, uint16_t node, uint64_t qid, struct message **m,
                    const struct port_channel_ref *from, uint64_t number)
{
    struct remote_peer *p = need(s, node);
    late_answer_note(s, from, node);
    s->publishing_away += !p->is_publishing;
    p->is_publishing = true;
    remote_client_publish(p->client, qid, m, from, number);
}

void remote_published(struct shard *s)
{
    size_t at = 0;
    for (struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;) {
        if (p->is_publishing)
            remote_client_published(p->client);
        not_publishing(p);
    }
}

void remote_publish_from(struct shard *s, uint16_t node, uint64_t qid, struct message **m,
                         const struct port_channel_ref *from, uint64_t number,
                         const struct port_origin *origin, uint64_t payer)
{
    late_answer_note(s, &(struct port_channel_ref){ .connection = payer }, node);
    remote_client_publish_from(need(s, node)->client, qid, m, from, number, origin, payer);
}

void remote_published_from(struct shard *s, uint16_t node)
{
    struct remote_peer *p = find(s, node);
    if (p != NULL)
        remote_client_published(p->client);
}

uint64_t remote_copies_said(const struct shard *s, uint16_t node)
{
    const struct remote_peer *p = find(s, node);
    return p != NULL ? p->client->published + p->client->qid_count : 0;
}

uint64_t remote_copies_taken(const struct shard *s, uint16_t node)
{
    const struct remote_peer *p = find(s, node);
    return p != NULL ? p->client->taken : 0;
}

void remote_ask(struct shard *s, struct port_request **r)
{
    struct remote_peer *p = find_alive(s, (*r)->where);
    if (p != NULL) {
        late_answer_note(s, &(*r)->from, p->node);
        remote_client_ask(need(s, p->node)->client, r);
        return;
    }
    struct port_request *request = *r;
    *r = NULL;
    request->verdict = PORT_NODE_DOWN;
    port_answered(s, request);
}

void remote_settle(struct shard *s, uint32_t where, uint64_t tag, enum port_settle how)
{
    struct remote_peer *p = find_alive(s, where);
    if (p == NULL)
        return;
    p->is_touched = true;
    remote_client_settle(p->client, tag, how);
}

void remote_settle_moved(struct shard *s, uint16_t node, uint64_t qid, uint64_t qseq,
                         enum port_settle how)
{
    remote_client_settle_moved(need(s, node)->client, qid, qseq, how);
}

void remote_wake(struct shard *s, uint32_t where, uint64_t consumer, uint32_t credit)
{
    struct remote_peer *p = find_alive(s, where);
    if (p != NULL)
        remote_client_wake(p->client, consumer, credit);
}

void remote_abandon(struct shard *s, uint32_t where, uint64_t qid, uint64_t consumer)
{
    struct remote_peer *p = find_alive(s, where);
    if (p == NULL)
        return;
    p->is_touched = true;
    remote_client_abandon(p->client, qid, consumer);
}

void remote_fence_begin(struct shard *s)
{
    size_t at = 0;
    for (struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;)
        p->is_touched = false;
}

static void ask_fence(struct remote_peer *p, const struct port_channel_ref *from, bool durable)
{
    struct port_request *r = mem_zalloc(sizeof *r);
    *r = (struct port_request){ .op = PORT_FENCE, .from = *from, .durable = durable };
    remote_client_ask(p->client, &r);
}

uint32_t remote_fence(struct shard *s, const struct port_channel_ref *from, bool durable)
{
    uint32_t asked = 0;
    size_t at = 0;
    for (struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;) {
        if (!p->is_touched)
            continue;
        ask_fence(p, from, durable);
        asked++;
    }
    return asked;
}

uint32_t remote_fence_undone(struct shard *s, const struct port_channel_ref *from)
{
    uint32_t asked = 0;
    size_t at = 0;
    for (struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;) {
        if (p->link == NULL || remote_client_is_done(p->client) ||
            !late_answer_concerns(s, from, p->node))
            continue;
        ask_fence(p, from, false);
        asked++;
    }
    return asked;
}

/* Nobody is dialled for this who does not serve. */
bool remote_reply(struct shard *s, uint16_t node, const struct reply_address *to, struct message *m,
                  const struct port_channel_ref *from)
{
    if (!remote_is_serving(s, node))
        return false;
    late_answer_note(s, from, node);
    remote_client_reply(need(s, node)->client, to, m, from);
    return true;
}

bool remote_reply_ask(struct shard *s, uint16_t node, const struct reply_address *to,
                      const struct port_channel_ref *from)
{
    if (!remote_is_serving(s, node))
        return false;
    remote_client_reply_ask(need(s, node)->client, to, from);
    return true;
}

bool remote_has_many_letters(const struct shard *s)
{
    size_t at = 0;
    for (struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;) {
        if (remote_client_has_many_letters(p->client))
            return true;
    }
    return false;
}

struct looking {
    remote_each_waiting_fn fn;
    void *arg;
    uint16_t node;
};

static void on_waiting(void *arg, uint64_t connection)
{
    const struct looking *l = arg;
    l->fn(l->arg, connection, l->node);
}

void remote_each_waiting(struct shard *s, remote_each_waiting_fn fn, void *arg)
{
    size_t at = 0;
    for (struct remote_peer *p; (p = idmap_next(&s->remotes->peers, &at)) != NULL;) {
        struct looking l = { fn, arg, p->node };
        if (p->link != NULL && !link_is_connected(p->link))
            remote_client_each_waiting(p->client, on_waiting, &l);
    }
}
