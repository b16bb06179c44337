#include "service.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "bootstrap.h"
#include "broker.h"
#include "control.h"
#include "listen.h"
#include "live.h"
#include "mgmt/mgmt_http.h"
#include "shard.h"

#define GRACE_MS 5000u /* for clients to answer connection.close */

/*
 *             stop_app, drain              the last client is gone
 *   OPEN --------------------> CLOSING ----------------------------> CLOSED
 *     ^                                                                 |
 *     +------------------- start_app, revive ---------------------------+
 */
enum service_state { SERVICE_OPEN, SERVICE_CLOSING, SERVICE_CLOSED };

struct service {
    struct broker *broker;
    struct loop *loop;
    enum service_state state;
    struct listen *listen; /* NULL: nothing listens */
    bool leaving;
    uint32_t shards_left; /* that have clients; while it is closing */
    struct loop_timer grace;
    STAILQ_HEAD(, service_ask) waiting; /* for it to be closed */
};

static const char *name_of(const struct service *s)
{
    return broker_live(s->broker)->conf->node.name;
}

/* ---- answers ---- */

static void on_done(struct mail *mail)
{
    struct service_ask *a = CONTAINER_OF(mail, struct service_ask, mail);
    a->done(a);
}

static void answer(struct service_ask *a, bool ok)
{
    a->ok = ok;
    a->mail.fn = on_done;
    mailbox_post(a->reply_to, &a->mail);
}

static void refuse(struct service_ask *a, const char *why)
{
    err_set(&a->err, ERR_REFUSED, "%s", why);
    answer(a, false);
}

/* ---- clients ---- */

struct shard_notice {
    struct mail mail;
    struct shard *shard;
};

static void on_stop_clients(struct mail *mail)
{
    struct shard_notice *n = CONTAINER_OF(mail, struct shard_notice, mail);
    struct shard *shard = n->shard;
    mem_free(n);
    shard_stop_clients(shard);
}

static void on_welcome_clients(struct mail *mail)
{
    struct shard_notice *n = CONTAINER_OF(mail, struct shard_notice, mail);
    shard_welcome_clients(n->shard);
    mem_free(n);
}

static void tell_shards(const struct service *s, mail_fn fn)
{
    for (uint32_t i = 0; i < broker_shard_count(s->broker); i++) {
        struct shard_notice *n = mem_zalloc(sizeof *n);
        *n = (struct shard_notice){ { NULL, fn }, broker_shard(s->broker, i) };
        mailbox_post(n->shard->loop, &n->mail);
    }
}

/* Clients that do not answer are left: a second word hangs up on them. */
static void on_grace(void *arg)
{
    struct service *s = arg;
    log_warn("broker", name_of(s), "some clients did not answer connection.close in time");
    tell_shards(s, on_stop_clients);
}

/* ---- open and closed ---- */

static void begin_closing(struct service *s)
{
    CHECK(s->state == SERVICE_OPEN);
    s->state = SERVICE_CLOSING;
    if (s->listen != NULL)
        listen_stop(&s->listen);
    s->shards_left = broker_shard_count(s->broker);
    loop_timer_start(&s->grace, GRACE_MS);
    tell_shards(s, on_stop_clients);
}

static void closed(struct service *s)
{
    loop_timer_stop(&s->grace);
    s->state = SERVICE_CLOSED;
    struct service_ask *a;
    while ((a = STAILQ_FIRST(&s->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&s->waiting, entry);
        answer(a, true);
    }
    if (s->leaving)
        broker_has_left(s->broker);
}

void service_shard_is_idle(struct service *s)
{
    CHECK(s->state == SERVICE_CLOSING && s->shards_left > 0);
    if (--s->shards_left == 0)
        closed(s);
}

void service_leave(struct service *s)
{
    s->leaving = true;
    if (s->state == SERVICE_OPEN)
        begin_closing(s);
    else if (s->state == SERVICE_CLOSED)
        broker_has_left(s->broker);
}

bool service_open(struct service *s, struct err *err)
{
    s->listen = listen_new(s->broker, s->loop, err);
    return s->listen != NULL;
}

void service_set_tls(struct service *s, struct tls_ctx *tls)
{
    if (s->listen != NULL)
        listen_set_tls(s->listen, tls);
}

/* ---- orders ---- */

static void close_for(struct service *s, struct service_ask *a)
{
    if (s->state == SERVICE_CLOSED) {
        answer(a, true);
        return;
    }
    STAILQ_INSERT_TAIL(&s->waiting, a, entry);
    if (s->state == SERVICE_OPEN)
        begin_closing(s);
}

/* False: it cannot be, and is refused. */
static bool open_again(struct service *s, struct service_ask *a)
{
    if (s->state == SERVICE_CLOSING) {
        refuse(a, "the node is still closing its clients; try again in a moment");
        return false;
    }
    if (s->listen == NULL && !service_open(s, &a->err)) {
        answer(a, false);
        return false;
    }
    if (s->state == SERVICE_CLOSED)
        tell_shards(s, on_welcome_clients);
    s->state = SERVICE_OPEN;
    return true;
}

static void stop_app(struct service *s, struct service_ask *a)
{
    if (broker_app_is_running(s->broker))
        log_info("broker", name_of(s), "the application stops");
    broker_set_app_running(s->broker, false);
    mgmt_http_shut(broker_mgmt(s->broker));
    close_for(s, a);
}

static void start_app(struct service *s, struct service_ask *a)
{
    bool was = broker_app_is_running(s->broker);
    if (was) {
        answer(a, true);
        return;
    }
    if (!open_again(s, a))
        return;
    mgmt_http_reopen(broker_mgmt(s->broker));
    broker_set_app_running(s->broker, true);
    broker_set_drained(s->broker, false);
    log_info("broker", name_of(s), "the application runs again");
    answer(a, true); /* whoever hears it finds everything open */
}

static void drain(struct service *s, struct service_ask *a)
{
    broker_set_drained(s->broker, true);
    log_info("broker", name_of(s), "under maintenance: clients are sent away");
    close_for(s, a);
}

static void revive(struct service *s, struct service_ask *a)
{
    if (!broker_app_is_running(s->broker)) {
        refuse(a, "the application is stopped: start_app makes it run again");
    } else if (open_again(s, a)) {
        broker_set_drained(s->broker, false);
        log_info("broker", name_of(s), "not under maintenance any more");
        answer(a, true);
    }
}

static void suspend(struct service *s, struct service_ask *a)
{
    if (s->listen != NULL)
        listen_stop(&s->listen);
    answer(a, true);
}

static void resume(struct service *s, struct service_ask *a)
{
    if (s->state == SERVICE_OPEN && open_again(s, a))
        answer(a, true);
    else if (s->state != SERVICE_OPEN)
        refuse(a, "the node is closed for clients: start_app or revive opens it");
}

/* The names of the items, since the map changes under our feet. */
struct names {
    struct slice *items;
    size_t count;
};

static void add_name(struct names *n, struct slice name)
{
    n->items[n->count++] = slice_of(mem_dup(name.ptr, name.len + (name.len == 0)), name.len);
}

static bool clear_all(struct service *s, struct names *n, enum meta_op op, struct err *err)
{
    struct control *c = broker_control(s->broker);
    struct meta_refusal why;
    bool ok = true;
    for (size_t i = 0; i < n->count; i++) {
        if (ok &&
            !control_apply_now(c, &(struct meta_cmd){ .op = op, .name = n->items[i] }, NULL, &why))
            ok = err_set(err, ERR_REFUSED, "%s", why.text);
        mem_free((void *)(uintptr_t)n->items[i].ptr);
    }
    mem_free(n->items);
    return ok;
}

static struct names names_of(const struct pmap *map, struct slice (*name)(const void *item))
{
    struct names n = { mem_array(map->count + 1, sizeof *n.items), 0 };
    struct pmap_iter it;
    pmap_iter(&it, map);
    const void *item;
    while ((item = pmap_next(&it)) != NULL)
        add_name(&n, name(item));
    return n;
}

static struct slice vhost_name(const void *item)
{
    return meta_vhost_name(item);
}

static struct slice user_name(const void *item)
{
    return ((const struct meta_user *)item)->name;
}

static struct slice parameter_name(const void *item)
{
    return ((const struct meta_parameter *)item)->name;
}

static bool forget_everything(struct service *s, struct err *err)
{
    struct names vhosts = names_of(&broker_meta(s->broker)->vhosts, vhost_name);
    struct names users = names_of(&broker_meta(s->broker)->users, user_name);
    struct names globals = names_of(&broker_meta(s->broker)->global_parameters, parameter_name);
    bool ok = clear_all(s, &vhosts, META_VHOST_DELETE, err);
    ok = clear_all(s, &users, META_USER_DELETE, err) && ok;
    return clear_all(s, &globals, META_GLOBAL_PARAMETER_CLEAR, err) && ok;
}

/* All of it is one group: a node that is killed on the way has its old definitions or the new ones.
 */
static void make_new(struct control_op *op)
{
    struct service_ask *a = op->arg;
    struct service *s = a->service;
    a->ok = forget_everything(s, &a->err) && broker_bootstrap(s->broker, &a->err);
    op->verdict = a->ok ? META_DONE : META_REFUSED;
}

static void on_made_new(struct control_op *op)
{
    struct service_ask *a = op->arg;
    bool ok = a->ok && op->verdict == META_DONE;
    if (a->ok && !ok)
        err_set(&a->err, ERR_IO, "%s", op->refusal.text);
    if (ok)
        log_info("broker", name_of(a->service),
                 "reset: a new node, without messages and definitions");
    control_op_free(&op);
    answer(a, ok);
}

static void reset(struct service *s, struct service_ask *a)
{
    if (broker_app_is_running(s->broker) || s->state != SERVICE_CLOSED) {
        refuse(a, "the application runs: stop it with stop_app");
        return;
    }
    struct control_op *op = control_op_new(&(struct meta_cmd){ .op = META_OWNER_GONE });
    op->many = make_new;
    op->done = on_made_new;
    op->reply_to = s->loop;
    op->arg = a;
    control_send(broker_control(s->broker), &op);
}

static void on_ask(struct mail *mail)
{
    struct service_ask *a = CONTAINER_OF(mail, struct service_ask, mail);
    struct service *s = a->service;
    if (s->leaving && a->order != SERVICE_STOP) {
        refuse(a, "the node stops");
        return;
    }
    switch (a->order) {
    case SERVICE_STOP_APP:
        stop_app(s, a);
        return;
    case SERVICE_START_APP:
        start_app(s, a);
        return;
    case SERVICE_RESET:
        reset(s, a);
        return;
    case SERVICE_DRAIN:
        drain(s, a);
        return;
    case SERVICE_REVIVE:
        revive(s, a);
        return;
    case SERVICE_SUSPEND:
        suspend(s, a);
        return;
    case SERVICE_RESUME:
        resume(s, a);
        return;
    case SERVICE_STOP:
        answer(a, true);
        broker_stop(s->broker);
        return;
    }
    UNREACHABLE("order");
}

void service_send(struct service *s, struct service_ask **ask)
{
    struct service_ask *a = *ask;
    *ask = NULL;
    a->service = s;
    a->mail.fn = on_ask;
    mailbox_post(s->loop, &a->mail);
}

/* ---- life ---- */

struct service *service_new(struct broker *b, struct loop *loop)
{
    struct service *s = mem_zalloc(sizeof *s);
    s->broker = b;
    s->loop = loop;
    STAILQ_INIT(&s->waiting);
    loop_timer_init(&s->grace, loop, on_grace, s);
    return s;
}

void service_free(struct service **service)
{
    struct service *s = *service;
    *service = NULL;
    if (s == NULL)
        return;
    CHECK(STAILQ_EMPTY(&s->waiting));
    listen_free(&s->listen);
    loop_timer_fini(&s->grace);
    mem_free(s);
}
