#include "checker.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "dial.h"
#include "greeting.h"

#include <string.h>

#define RESOLVE_AGAIN_MS 30000u
#define RESOLVE_RETRY_MS 2000u

static void on_timer(void *arg);

static uint64_t now_ms(const struct checker *c)
{
    return loop_now_ms(c->loop);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void publish(struct checker *c, const struct sock_addr *a)
{
    const struct sock_addr *old = dial_address(c->server);
    if (old != NULL && sock_addr_eq(old, a))
        return;
    struct sock_addr *fresh = mem_dup(a, sizeof *a);
    (void)shared_swap(&c->server->live->address, (uint64_t)(uintptr_t)fresh);
    char text[SOCK_ADDR_TEXT_MAX];
    log_debug("server", c->server->conf->name, "is at %s", sock_addr_text(a, text));
    if (old != NULL)
        epoch_retire(c->epoch, (void *)(uintptr_t)old, mem_free);
    c->on_change(c->arg);
}

static void begin_check(struct checker *c);

static void on_resolved(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct checker *c = arg;
    c->resolve = NULL;
    c->resolved_ms = now_ms(c);
    if (a->count == 0) {
        if (!c->name_failed)
            log_warn("server", c->server->conf->name, "%s", why->text);
        c->name_failed = true;
        loop_timer_start(&c->timer, RESOLVE_RETRY_MS);
        return;
    }
    c->name_failed = false;
    publish(c, &a->addrs[0]);
    begin_check(c);
}

static bool needs_lookup(const struct checker *c)
{
    if (dial_address(c->server) == NULL)
        return true;
    struct sock_addr literal;
    if (sock_addr_ip(c->server->conf->at.host, 0, &literal))
        return false;
    return now_ms(c) >= c->resolved_ms + RESOLVE_AGAIN_MS;
}

static void look_up(struct checker *c)
{
    const struct conf_address *at = &c->server->conf->at;
    struct sock_addr path;
    if (at->kind == CONF_ADDRESS_UNIX && sock_addr_unix(at->path, &path)) {
        publish(c, &path);
        begin_check(c);
    } else if (at->kind == CONF_ADDRESS_TCP && needs_lookup(c)) {
        c->resolve = resolve_start(c->loop, at->host, at->port, on_resolved, c);
    } else {
        begin_check(c);
    }
}

/* ---- one check ------------------------------------------------------------------------------- */

static void note_change(struct checker *c, enum health_change change)
{
    struct server_live *l = c->server->live;
    const char *name = c->server->conf->name;
    const char *backend = c->server->backend->conf->name;
    uint64_t now = now_ms(c);
    if (change == HEALTH_WENT_UP) {
        l->down_ms += now - l->changed_ms;
        l->changed_ms = now;
        shared_set(&l->up_since_ms, now);
        shared_set(&l->up, 1);
        log_info("server", name, "is up backend=%s check=%s", backend, live_check_word(l->check));
    } else {
        l->downs++;
        l->changed_ms = now;
        shared_set(&l->up, 0);
        log_warn("server", name, "is down backend=%s check=%s why=\"%s\"", backend,
                 live_check_word(l->check), l->why);
    }
    c->on_change(c->arg);
}

static void finish(struct checker *c, enum live_check check, const char *why)
{
    struct server_live *l = c->server->live;
    const struct health_conf *rules = &c->server->conf->health;
    bool passed = check == LIVE_CHECK_L4_OK || check == LIVE_CHECK_L7_OK;
    stream_free(&c->stream);
    l->check = check;
    l->check_ms = now_ms(c) - c->started_ms;
    struct text t = text_over(l->why, sizeof l->why);
    text_str(&t, why);
    if (!passed && health_is_up(&l->health, rules))
        l->check_fails++;

    struct health_effects out;
    health_step(&l->health, rules, passed ? HEALTH_PASSED : HEALTH_FAILED, &out);
    if (out.change != HEALTH_SAME)
        note_change(c, out.change);
    loop_timer_start(&c->timer, out.next_after_ms);
}

static void pass(struct checker *c)
{
    finish(c, c->server->backend->conf->amqp_check ? LIVE_CHECK_L7_OK : LIVE_CHECK_L4_OK, "");
}

static void name_cluster(struct checker *c, struct slice name)
{
    struct backend_live *l = c->server->backend->live;
    const char *was = shown_get(&l->cluster);
    char room[GREETING_CLUSTER_MAX + 1];
    struct text t = text_over(room, sizeof room);
    text_slice(&t, name);
    if (name.len == 0 || (was != NULL && strcmp(was, room) == 0))
        return;
    shown_set(&l->cluster, mem_strdup(room));
    if (was != NULL)
        epoch_retire(c->epoch, (void *)(uintptr_t)was, mem_free);
}

static void started(struct checker *c, const struct amqp_connection_start *start)
{
    name_cluster(c, amqp_table_longstr(start->server_properties, "cluster_name"));
    pass(c);
}

static void step(struct checker *c, const struct amqp_hs_event *ev)
{
    struct amqp_hs_effects out;
    amqp_hs_client_step(&c->hs, ev, &out);
    for (unsigned i = 0; i < out.count && c->stream != NULL; i++) {
        const struct amqp_hs_effect *e = &out.list[i];
        if (e->kind == AMQP_HS_SEND_HEADER)
            stream_write(c->stream, slice_of(AMQP_PROTOCOL_HEADER, AMQP_PROTOCOL_HEADER_LEN));
        else if (e->kind == AMQP_HS_STARTED)
            started(c, &e->start);
        else if (e->kind == AMQP_HS_FAILED || e->kind == AMQP_HS_PEER_CLOSED)
            finish(c, LIVE_CHECK_L7_INVALID, "no connection.start");
    }
}

static void on_open(struct stream *s, void *arg)
{
    (void)s;
    struct checker *c = arg;
    c->is_open = true;
    if (!c->server->backend->conf->amqp_check)
        pass(c);
    else
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_CONNECTED });
}

static void on_data(struct stream *s, void *arg)
{
    struct checker *c = arg;
    struct amqp_frame f;
    switch (amqp_frame_cut(stream_peek(s), amqp_hs_client_frame_max(&c->hs), &f)) {
    case AMQP_CUT_MORE:
        return;
    case AMQP_CUT_BAD:
        finish(c, LIVE_CHECK_L7_INVALID, "the answer is not AMQP 0-9-1");
        return;
    case AMQP_CUT_FRAME:
        step(c, &(struct amqp_hs_event){ .kind = AMQP_HS_EV_FRAME, .frame = f });
        return;
    }
    UNREACHABLE("verdict on a frame");
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    struct checker *c = arg;
    const char *text = why != NULL ? why->text : "it closed the connection";
    if (c->is_open)
        finish(c, LIVE_CHECK_L7_INVALID, text);
    else if (why != NULL && why->code == ERR_TLS)
        finish(c, LIVE_CHECK_L6_FAILED, text);
    else if (why != NULL && why->code == ERR_SYSTEM)
        finish(c, LIVE_CHECK_SOCKET_ERROR, text);
    else
        finish(c, LIVE_CHECK_L4_FAILED, text);
}

static const struct stream_handlers stream_handlers = { on_open, on_data, NULL, on_closed };

static bool is_wanted(const struct checker *c)
{
    const struct server_live *l = c->server->live;
    return c->server->conf->check && shared_get(&l->admin) != LIVE_ADMIN_MAINT &&
           shared_get(&l->gone) == 0;
}

/* The address to check: the server's own, or another port of it. */
static struct sock_addr check_address(const struct checker *c)
{
    struct sock_addr a = *dial_address(c->server);
    char host[SOCK_ADDR_TEXT_MAX];
    if (c->server->conf->check_port != 0 && !sock_addr_is_unix(&a) &&
        !sock_addr_ip(sock_addr_host(&a, host), (uint16_t)c->server->conf->check_port, &a))
        UNREACHABLE("an address is no address");
    return a;
}

static void begin_check(struct checker *c)
{
    const struct server_conf *conf = c->server->conf;
    if (!is_wanted(c)) {
        loop_timer_start(&c->timer, conf->check ? conf->inter_ms : RESOLVE_AGAIN_MS);
        return;
    }
    uint64_t timeout = c->server->backend->conf->timeout.check;
    struct sock_addr to = check_address(c);
    c->started_ms = now_ms(c);
    c->is_open = false;
    amqp_hs_client_init(&c->hs, &(struct amqp_limits){ 0 });
    c->stream = dial(c->loop, c->server, &to, timeout, NULL, c->cookie, &stream_handlers, c);
    loop_timer_start(&c->timer, timeout);
}

/* The check took too long; or it is time for the next one. */
static void on_timer(void *arg)
{
    struct checker *c = arg;
    if (c->stream != NULL)
        finish(c, c->is_open ? LIVE_CHECK_L7_TIMEOUT : LIVE_CHECK_L4_TIMEOUT, "no answer in time");
    else
        look_up(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

void checker_init(struct checker *c, struct loop *loop, struct epoch *epoch,
                  const struct server *server, struct slice cookie, void (*on_change)(void *arg),
                  void *arg)
{
    *c = (struct checker){ .loop = loop,
                           .epoch = epoch,
                           .server = server,
                           .cookie = cookie,
                           .on_change = on_change,
                           .arg = arg };
    loop_timer_init(&c->timer, loop, on_timer, c);
    loop_timer_start(&c->timer, 0);
    struct sock_addr a;
    const struct conf_address *at = &server->conf->at;
    if (at->kind == CONF_ADDRESS_UNIX ? sock_addr_unix(at->path, &a)
                                      : sock_addr_ip(at->host, at->port, &a))
        publish(c, &a); /* clients may come before our first turn */
}

void checker_fini(struct checker *c)
{
    resolve_cancel(&c->resolve);
    stream_free(&c->stream);
    loop_timer_fini(&c->timer);
}

void checker_poke(struct checker *c)
{
    if (c->stream == NULL && c->resolve == NULL)
        loop_timer_start(&c->timer, 0);
}

const char *checker_status(const struct server *s, char *room, size_t bytes)
{
    unsigned step;
    unsigned of;
    struct text t = text_over(room, bytes);
    enum live_admin admin = (enum live_admin)shared_get(&s->live->admin);
    bool drains = admin == LIVE_ADMIN_DRAIN || shared_get(&s->live->draining) != 0;
    if (admin == LIVE_ADMIN_MAINT)
        return "MAINT";
    if (!s->conf->check)
        return drains ? "DRAIN" : "no check";
    bool up = health_is_up(&s->live->health, &s->conf->health);
    text_str(&t, !up ? "DOWN" : drains ? "DRAIN" : "UP");
    if (health_is_moving(&s->live->health, &s->conf->health, &step, &of))
        text_put(&t, " %u/%u", step, of);
    return room;
}
