#include "link/link_hall.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/text.h"
#include "io/tls.h"
#include "link/link_inner.h"

#include <string.h>

#define REFUSALS_LOG  20u
#define REFUSALS_MS   10000u
#define TOLD_MAX      32u    /* whom we remember having refused ... */
#define TELL_AGAIN_MS 60000u /* ... and told of, for the same reason */

/* At the hall, not proven yet. */
struct stranger {
    struct link_hall *hall;
    struct stream *stream;
    uint16_t shard;
    bool shakes; /* its TLS is open */
    struct link_shake shake;
    struct loop_timer timer;
    TAILQ_ENTRY(stranger) entry;
};

struct link_hall {
    struct loop *loop;
    struct link_node *node;
    struct link_hall_options options;
    const struct link_hall_handlers *handlers;
    void *arg;
    TAILQ_HEAD(, stranger) strangers;
    unsigned stranger_count;
    struct shared expected;  /* that the loop has not taken yet */
    LIST_HEAD(, link) links; /* in a session */
    unsigned link_count;
    struct log_rate refusals;
    struct {
        uint64_t hash;
        uint64_t at_ms;
    } told[TOLD_MAX];
};

/* ---- strangers ---- */

static void leave(struct stranger *s)
{
    struct link_hall *h = s->hall;
    TAILQ_REMOVE(&h->strangers, s, entry);
    h->stranger_count--;
    loop_timer_fini(&s->timer);
    loop_bury(h->loop, s, mem_free);
}

/* A node that is refused comes again, each second: it is told of once, and once a minute. */
static bool is_told(struct stranger *s, const char *why)
{
    struct link_hall *h = s->hall;
    uint64_t now = loop_now_ms(h->loop);
    uint64_t hash = hash_bytes(
        slice_str(why), hash_bytes(sock_addr_octets(stream_peer(s->stream)), h->options.class));
    size_t at = (size_t)(hash % TOLD_MAX);
    bool told = h->told[at].hash == hash && now - h->told[at].at_ms < TELL_AGAIN_MS;
    if (!told) {
        h->told[at].hash = hash;
        h->told[at].at_ms = now;
    }
    return told;
}

static void log_gone(struct stranger *s, const char *why)
{
    struct link_hall *h = s->hall;
    char where[SOCK_ADDR_TEXT_MAX];
    unsigned left_out;
    if (h->options.class != LINK_CTL && is_told(s, why))
        return;
    if (!log_rate_ok(&h->refusals, REFUSALS_LOG, REFUSALS_MS, &left_out))
        return;
    sock_addr_text(stream_peer(s->stream), where);
    if (s->shakes && s->shake.peer_is_known && s->shake.peer.id.name[0] != '\0')
        log_warn("link", where, "%s: refused %s: %s", link_class_text(h->options.class),
                 s->shake.peer.id.name, why);
    else
        log_warn("link", where, "%s: refused: %s", link_class_text(h->options.class), why);
}

static void send_away(struct stranger *s, const char *why)
{
    log_gone(s, why);
    stream_finish(&s->stream, LINK_LINGER_MS);
    leave(s);
}

static void on_timer(void *arg)
{
    send_away(arg, "no proof of the cookie in time");
}

/* ---- sessions ---- */

void link_hall_remove(struct link *l)
{
    if (l->hall == NULL)
        return;
    LIST_REMOVE(l, entry);
    l->hall->link_count--;
    l->hall = NULL;
}

static bool is_of(const struct link *l, const struct link_about *peer)
{
    return l->peer_boot == peer->boot && l->dialler_id == peer->dialler;
}

static struct link *find_session(struct link_hall *h, const struct link_about *peer)
{
    struct link *l;
    LIST_FOREACH (l, &h->links, entry)
        if (is_of(l, peer) && l->session == peer->session)
            return l;
    return NULL;
}

/* What a callback does to other links of the list is anybody's guess: look from the start. */
static void lose_those(struct link_hall *h, bool (*is_one)(const struct link *, const void *),
                       const void *what, enum link_loss why)
{
    struct link *l;
    LIST_FOREACH (l, &h->links, entry)
        if (is_one(l, what))
            break;
    while (l != NULL) {
        link_lose(l, why, NULL);
        LIST_FOREACH (l, &h->links, entry)
            if (is_one(l, what))
                break;
    }
}

static bool is_replaced(const struct link *l, const void *what)
{
    return is_of(l, what);
}

/* Of a process of the same node that was there before. */
static bool is_elder(const struct link *l, const void *what)
{
    const struct link_identity *now = what;
    return l->peer.id.node == now->node && now->node != 0 && l->peer.id.inc < now->inc;
}

void link_hall_forget_older(struct link_hall *h, uint16_t node, uint32_t inc)
{
    struct link_identity now = { .node = node, .inc = inc };
    lose_those(h, is_elder, &now, LINK_LOST_OTHER_PROCESS);
}

static void fill_peer(const struct stranger *s, struct link_peer *out)
{
    char where[SOCK_ADDR_TEXT_MAX];
    *out = (struct link_peer){ .id = s->shake.peer.id,
                               .class = s->hall->options.class,
                               .shard = s->shard,
                               .version = s->shake.version };
    memcpy(out->address, sock_addr_text(stream_peer(s->stream), where), sizeof where);
}

static void answer(struct stranger *s, enum link_refusal refusal, uint64_t received)
{
    struct link_shake_out out;
    struct link_about self = s->shake.self;
    self.received = received;
    link_shake_answer(&s->shake, refusal, &self, &out);
    stream_write(s->stream, slice_of(out.octets, out.len));
}

static void refuse(struct stranger *s, enum link_refusal refusal)
{
    char why[ERR_TEXT_MAX];
    answer(s, refusal, 0);
    send_away(s, link_shake_reason(&s->shake, why, sizeof why));
}

/* From here on nothing is taken from the connection that the session had: how far we have heard is
 * told with the answer. */
static void resume(struct stranger *s)
{
    struct link *l = find_session(s->hall, &s->shake.peer);
    if (l == NULL) {
        refuse(s, LINK_REFUSED_SESSION);
        return;
    }
    if (l->state == LINK_CONNECTED) {
        link_drop_stream(l);
        link_move(l, LINK_PARKED);
    }
    struct stream *stream = s->stream;
    answer(s, LINK_REFUSED_NONE, l->flow.heard);
    if (link_connect(l, &stream, &s->shake, true)) {
        s->stream = NULL;
        leave(s);
        return;
    }
    send_away(s, "it has heard what it was not told");
    link_lose(l, LINK_LOST_PROTOCOL, NULL);
}

static void begin(struct stranger *s)
{
    struct link_hall *h = s->hall;
    const struct link_hall_options *o = &h->options;
    struct link_peer peer;
    fill_peer(s, &peer);
    lose_those(h, is_replaced, &s->shake.peer, LINK_LOST_FORGOTTEN);
    lose_those(h, is_elder, &s->shake.peer.id, LINK_LOST_OTHER_PROCESS);
    struct link *l = link_make(h->loop, h->node, o->class, o->resume_ms, o->window_bytes,
                               o->ping_ms, o->dead_ms);
    l->dialler_id = s->shake.peer.dialler;
    l->session = s->shake.peer.session;
    l->state = LINK_PARKED; /* where one that is accepted awaits its connection */
    l->hall = h;
    LIST_INSERT_HEAD(&h->links, l, entry);
    h->link_count++;
    answer(s, LINK_REFUSED_NONE, 0);
    CHECK(link_connect(l, &s->stream, &s->shake, false));
    leave(s);
    h->handlers->on_link(l, &peer, h->arg);
    CHECK(l->handlers != NULL || l->freed);
}

static void judge(struct stranger *s)
{
    struct link_hall *h = s->hall;
    struct link_peer peer;
    fill_peer(s, &peer);
    bool resumes = s->shake.peer.resumes;
    unsigned most = h->options.links_max != 0 ? h->options.links_max : LINK_HALL_MAX;
    enum link_refusal refusal = LINK_REFUSED_NONE;
    if (h->handlers->judge != NULL)
        refusal = h->handlers->judge(&peer, h->arg);
    if (refusal == LINK_REFUSED_NONE && !resumes && h->link_count >= most)
        refusal = LINK_REFUSED_BUSY;
    if (refusal != LINK_REFUSED_NONE) {
        refuse(s, refusal);
    } else if (h->options.class == LINK_CTL) {
        answer(s, LINK_REFUSED_NONE, 0);
        h->handlers->on_stream(&s->stream, &peer, h->arg);
        leave(s);
    } else if (resumes) {
        resume(s);
    } else {
        begin(s);
    }
}

/* ---- the stream ---- */

static void on_open(struct stream *stream, void *arg)
{
    struct stranger *s = arg;
    struct link_about self;
    link_about_self(s->hall->node, &self);
    self.shard = s->shard;
    s->shakes = true;
    link_shake_begin(&s->shake, LINK_ANSWERER, s->hall->options.class, s->hall->node, &self,
                     stream);
}

static void on_data(struct stream *stream, void *arg)
{
    struct stranger *s = arg;
    char why[ERR_TEXT_MAX];
    link_shake_go_on(&s->shake, stream);
    switch (s->shake.state) {
    case LINK_SHAKE_HELLO:
    case LINK_SHAKE_PROOF:
        return;
    case LINK_SHAKE_JUDGING:
        judge(s);
        return;
    case LINK_SHAKE_REFUSED:
    case LINK_SHAKE_BAD:
        send_away(s, link_shake_reason(&s->shake, why, sizeof why));
        return;
    case LINK_SHAKE_DONE:
    case LINK_SHAKE_VERDICT:
        break;
    }
    UNREACHABLE("state of an answerer's handshake");
}

static void on_closed(struct stream *stream, const struct err *why, void *arg)
{
    (void)stream;
    struct stranger *s = arg;
    log_gone(s, why != NULL ? why->text : "it left without a proof of the cookie");
    stream_free(&s->stream);
    leave(s);
}

static const struct stream_handlers stranger_handlers = { .on_open = on_open,
                                                          .on_data = on_data,
                                                          .on_closed = on_closed };

bool link_hall_expect(struct link_hall *h)
{
    if (shared_add(&h->expected, 1) <= LINK_STRANGERS_MAX)
        return true;
    (void)shared_sub(&h->expected, 1);
    return false;
}

void link_hall_take(struct link_hall *h, int fd, uint16_t shard)
{
    CHECK(loop_is_current(h->loop));
    (void)shared_sub(&h->expected, 1);
    if (h->stranger_count == LINK_STRANGERS_MAX)
        send_away(TAILQ_FIRST(&h->strangers), "too many others are waiting");
    struct stranger *s = mem_zalloc(sizeof *s);
    s->hall = h;
    s->shard = shard;
    TAILQ_INSERT_TAIL(&h->strangers, s, entry);
    h->stranger_count++;
    loop_timer_init(&s->timer, h->loop, on_timer, s);
    loop_timer_start(&s->timer, LINK_SHAKE_MS);
    s->stream = stream_new(h->loop, fd, &stranger_handlers, s);
    if (link_class_carries_messages(h->options.class))
        stream_do_not_pace(s->stream);
    struct tls_ctx *tls = link_node_server_tls(h->node, link_class_is_of_nodes(h->options.class));
    stream_start_tls_server(s->stream, tls);
    tls_ctx_unref(&tls);
}

/* ---- life ---- */

struct link_hall *link_hall_new(struct loop *loop, struct link_node *node,
                                const struct link_hall_options *options,
                                const struct link_hall_handlers *handlers, void *arg)
{
    CHECK(options->class == LINK_CTL ? handlers->on_stream != NULL : handlers->on_link != NULL);
    struct link_hall *h = mem_zalloc(sizeof *h);
    h->loop = loop;
    h->node = node;
    h->options = *options;
    h->handlers = handlers;
    h->arg = arg;
    TAILQ_INIT(&h->strangers);
    LIST_INIT(&h->links);
    return h;
}

struct loop *link_hall_loop(const struct link_hall *h)
{
    return h->loop;
}

void link_hall_free(struct link_hall **hall)
{
    struct link_hall *h = *hall;
    *hall = NULL;
    if (h == NULL)
        return;
    struct stranger *s;
    while ((s = TAILQ_FIRST(&h->strangers)) != NULL) {
        stream_free(&s->stream);
        leave(s);
    }
    struct link *l;
    while ((l = LIST_FIRST(&h->links)) != NULL)
        link_hall_remove(l);
    mem_free(h);
}
