/* The side that dials: names to addresses, connections, handshakes, and the pauses between tries.
 */
#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/tls.h"
#include "link/link_door.h"
#include "link/link_inner.h"

#include <string.h>

#define REST_LEAST_MS 10u
#define REST_MOST_MS  1000u
#define CONNECT_MS    2000u  /* a net that is whole again is found by the next try */
#define TELL_AGAIN_MS 60000u /* the same trouble */
#define FEED_TELL_MS  10000u

/* Who is called, for people. */
static const char *called(const struct link *l)
{
    return l->dialler->name[0] != '\0' ? l->dialler->name : l->dialler->host;
}

/* ---- pauses ---- */

static void rest(struct link *l, uint64_t ms)
{
    link_move(l, LINK_RESTING);
    loop_timer_start(&l->dialler->timer, ms);
}

/* Longer after each failure; by chance, so that many who lost the same node do not come at once. */
static uint64_t next_pause(struct link_dialler *d)
{
    uint64_t most = d->rest_ms != 0 ? d->rest_ms * 2 : REST_LEAST_MS;
    d->rest_ms = most < REST_MOST_MS ? most : REST_MOST_MS;
    return d->rest_ms / 2 + random_u64() % (d->rest_ms / 2 + 1);
}

static void let_go(struct link *l)
{
    struct link_dialler *d = l->dialler;
    loop_timer_stop(&d->timer);
    resolve_cancel(&d->resolve);
    mem_free(d->shake);
    d->shake = NULL;
}

void link_dial_again(struct link *l)
{
    let_go(l);
    l->dialler->rest_ms = 0;
    rest(l, 0);
}

void link_dial_anew(struct link *l)
{
    l->dialler->session++;
    if (l->state != LINK_CONNECTED && l->state != LINK_SHAKING)
        return;
    if (l->stream != NULL)
        link_drop_stream(l);
    link_dial_again(l);
}

void link_kick(struct link *l)
{
    if (l->dialler != NULL && l->state == LINK_RESTING)
        loop_timer_start(&l->dialler->timer, 0);
}

uint64_t link_tried_us(const struct link *l)
{
    CHECK(l->dialler != NULL);
    return l->dialler->tried_us;
}

/* ---- trouble ---- */

/* What gossip says over TCP may wait, and who is not there is told of otherwise: a node that starts
 * or is gone is not worth a line. */
static bool is_worth_telling(struct link *l, enum link_trouble what, uint64_t now_ms)
{
    struct link_dialler *d = l->dialler;
    if (d->trouble_ms == 0)
        d->trouble_ms = now_ms;
    return l->class != LINK_FEED || what == LINK_TROUBLE_REFUSED ||
           now_ms - d->trouble_ms >= FEED_TELL_MS;
}

/* Once, and again when it changes, and once a minute. */
static void tell_trouble(struct link *l, enum link_trouble what, const struct err *err)
{
    struct link_dialler *d = l->dialler;
    uint64_t now = loop_now_ms(l->loop);
    if (!is_worth_telling(l, what, now))
        return;
    if (strcmp(d->told, err->text) == 0 && now - d->told_ms < TELL_AGAIN_MS)
        return;
    struct text t = text_over(d->told, sizeof d->told);
    text_str(&t, err->text);
    d->told_ms = now;
    log_warn("link", called(l), "%s: %s", link_class_text(l->class), err->text);
}

static void trouble(struct link *l, enum link_trouble what, enum link_refusal refusal,
                    const struct err *err)
{
    let_go(l);
    if (l->stream != NULL)
        stream_free(&l->stream);
    rest(l, next_pause(l->dialler));
    if (l->dialler->on_proven == NULL)
        tell_trouble(l, what, err);
    if (l->handlers->on_trouble != NULL)
        l->handlers->on_trouble(l, what, refusal, err, l->arg);
}

/* ---- the handshake ---- */

static void begin_shaking(struct link *l)
{
    struct link_dialler *d = l->dialler;
    struct link_about self;
    link_about_self(l->node, &self);
    self.shard = l->shard;
    self.dialler = d->id;
    self.session = d->session;
    self.resumes = l->in_session;
    self.received = l->flow.heard;
    self.wanted_node = d->node;
    memcpy(self.wanted_name, d->name, sizeof self.wanted_name);
    d->shake = mem_zalloc(sizeof *d->shake);
    link_move(l, LINK_SHAKING);
    loop_timer_start(&d->timer, LINK_SHAKE_MS);
    link_shake_begin(d->shake, LINK_CALLER, l->class, l->node, &self, l->stream);
}

static void tell_connected(const struct link *l, bool resumed)
{
    const struct link_peer *p = &l->peer;
    const char *what = resumed ? "connected again" : "connected";
    if (l->class == LINK_CONTROL)
        log_info("link", p->id.name, "%s: class=control address=%s node=%u inc=%u", what,
                 p->address, p->id.node, p->id.inc);
    else
        log_debug("link", p->id.name, "%s: class=%s shard=%u address=%s", what,
                  link_class_text(l->class), l->shard, p->address);
}

static void proven(struct link *l)
{
    struct link_dialler *d = l->dialler;
    bool resumes = l->in_session;
    struct link_shake *shake = d->shake;
    if (resumes && shake->peer.boot != l->peer_boot) {
        link_lose(l, LINK_LOST_OTHER_PROCESS, NULL);
        return;
    }
    d->shake = NULL;
    let_go(l);
    d->rest_ms = 0;
    d->told[0] = '\0';
    d->trouble_ms = 0;
    struct stream *s = l->stream;
    if (d->on_proven != NULL) {
        link_note_peer(l, shake);
        mem_free(shake);
        l->stream = NULL;
        d->on_proven(l, &s);
        return;
    }
    l->stream = NULL;
    if (!link_connect(l, &s, shake, resumes)) {
        l->stream = s;
        link_lose(l, LINK_LOST_PROTOCOL, NULL);
    } else if (!l->freed) {
        tell_connected(l, resumes);
    }
    mem_free(shake);
}

static void refused(struct link *l)
{
    const struct link_shake *s = l->dialler->shake;
    char why[ERR_TEXT_MAX / 2];
    struct err err;
    if (s->refusal == LINK_REFUSED_SESSION && l->in_session) {
        link_lose(l, s->peer.boot == l->peer_boot ? LINK_LOST_FORGOTTEN : LINK_LOST_OTHER_PROCESS,
                  NULL);
        return;
    }
    (void)err_set(&err, ERR_REFUSED, "%s: %s", s->by_peer ? "it refuses this node" : "refused",
                  link_shake_reason(s, why, sizeof why));
    trouble(l, LINK_TROUBLE_REFUSED, s->refusal, &err);
}

static void bad(struct link *l)
{
    char why[ERR_TEXT_MAX / 2];
    struct err err;
    (void)err_set(&err, ERR_PROTOCOL, "what answers is no cluster port: %s",
                  link_shake_reason(l->dialler->shake, why, sizeof why));
    trouble(l, LINK_TROUBLE_BROKEN, LINK_REFUSED_NONE, &err);
}

/* ---- the stream ---- */

static void connect_next(struct link *l);

static void on_open(struct stream *s, void *arg)
{
    struct link *l = arg;
    CHECK(s == l->stream);
    begin_shaking(l);
}

static void on_data(struct stream *s, void *arg)
{
    struct link *l = arg;
    struct link_shake *shake = l->dialler->shake;
    link_shake_go_on(shake, s);
    switch (shake->state) {
    case LINK_SHAKE_HELLO:
    case LINK_SHAKE_VERDICT:
        return;
    case LINK_SHAKE_DONE:
        proven(l);
        return;
    case LINK_SHAKE_REFUSED:
        refused(l);
        return;
    case LINK_SHAKE_BAD:
        bad(l);
        return;
    case LINK_SHAKE_PROOF:
    case LINK_SHAKE_JUDGING:
        break;
    }
    UNREACHABLE("state of a caller's handshake");
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    struct link *l = arg;
    struct link_dialler *d = l->dialler;
    char where[SOCK_ADDR_TEXT_MAX];
    bool nobody = stream_found_nobody(s), connected = stream_was_connected(s);
    struct err err;
    sock_addr_text(stream_peer(s), where);
    (void)err_set(&err, why != NULL ? why->code : ERR_IO, "%s: %s", where,
                  why != NULL ? why->text : "it hung up before it had proven itself");
    d->only_nobody = d->only_nobody && nobody;
    if (l->state == LINK_CONNECTING && d->next_place < d->places.count) {
        stream_free(&l->stream);
        connect_next(l);
        return;
    }
    enum link_trouble what = connected ? LINK_TROUBLE_BROKEN : LINK_TROUBLE_CONNECT;
    if (d->only_nobody)
        what = LINK_TROUBLE_NOBODY;
    trouble(l, what, LINK_REFUSED_NONE, &err);
}

static const struct stream_handlers dial_handlers = { .on_open = on_open,
                                                      .on_data = on_data,
                                                      .on_closed = on_closed };

static void connect_next(struct link *l)
{
    struct link_dialler *d = l->dialler;
    uint8_t prelude[LINK_PRELUDE_BYTES];
    link_door_prelude(prelude, l->class, l->shard);
    link_move(l, LINK_CONNECTING);
    const struct sock_addr *to = &d->places.addrs[d->next_place++];
    l->stream = stream_connect_as(l->loop, to, CONNECT_MS, link_class_carries_messages(l->class),
                                  &dial_handlers, l);
    stream_prelude(l->stream, slice_of(prelude, sizeof prelude));
    struct tls_ctx *tls = link_node_client_tls(l->node, link_class_is_of_nodes(l->class));
    stream_start_tls_client(l->stream, tls, NULL);
    tls_ctx_unref(&tls);
}

static void on_resolved(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct link *l = arg;
    struct link_dialler *d = l->dialler;
    d->resolve = NULL;
    d->places = *a;
    d->next_place = 0;
    d->only_nobody = true;
    if (a->count != 0) {
        connect_next(l);
        return;
    }
    struct err err = *why;
    trouble(l, LINK_TROUBLE_RESOLVE, LINK_REFUSED_NONE, &err);
}

static void dial(struct link *l)
{
    struct link_dialler *d = l->dialler;
    link_move(l, LINK_RESOLVING);
    d->tried_us = clock_mono_us();
    d->resolve = resolve_start(l->loop, d->host, d->port, on_resolved, l);
}

/* RESTING: long enough. SHAKING: too slow. */
static void on_timer(void *arg)
{
    struct link *l = arg;
    if (l->state == LINK_RESTING) {
        dial(l);
        return;
    }
    CHECK(l->state == LINK_SHAKING);
    struct err err;
    (void)err_set(&err, ERR_IO, "it did not prove itself in time");
    trouble(l, LINK_TROUBLE_BROKEN, LINK_REFUSED_NONE, &err);
}

/* ---- life ---- */

static void copy_text(char *room, size_t room_bytes, const char *text)
{
    struct text t = text_over(room, room_bytes);
    text_str(&t, text != NULL ? text : "");
}

void link_set_place(struct link *l, const char *host, uint16_t port)
{
    CHECK(l->dialler != NULL);
    copy_text(l->dialler->host, sizeof l->dialler->host, host);
    l->dialler->port = port;
}

static struct link *make(struct loop *loop, struct link_node *node, const struct link_options *o,
                         const struct link_handlers *handlers, void *arg)
{
    CHECK(o->host != NULL);
    struct link *l =
        link_make(loop, node, o->class, o->resume_ms, o->window_bytes, o->ping_ms, o->dead_ms);
    struct link_dialler *d = l->dialler = mem_zalloc(sizeof *d);
    l->shard = o->shard;
    link_set_owner(l, handlers, arg);
    link_set_place(l, o->host, o->port);
    copy_text(d->name, sizeof d->name, o->name);
    d->node = o->node;
    d->id = random_u64();
    d->session = 1;
    loop_timer_init(&d->timer, loop, on_timer, l);
    loop_timer_start(&d->timer, 0); /* it is born RESTING */
    return l;
}

struct link *link_dial(struct loop *loop, struct link_node *node, const struct link_options *o,
                       const struct link_handlers *handlers, void *arg)
{
    CHECK(o->class != LINK_CTL);
    return make(loop, node, o, handlers, arg);
}

struct link *link_dial_once(struct loop *loop, struct link_node *node, const struct link_options *o,
                            const struct link_handlers *handlers, void *arg,
                            void (*on_proven)(struct link *l, struct stream **s))
{
    struct link *l = make(loop, node, o, handlers, arg);
    l->dialler->on_proven = on_proven;
    return l;
}

void link_dial_end(struct link *l)
{
    let_go(l);
    loop_timer_fini(&l->dialler->timer);
}
