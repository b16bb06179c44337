#include "service.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "cluster/cluster.h"
#include "cluster/meta_node.h"
#include "gossip_node.h"
#include "listen.h"
#include "live.h"
#include "mgmt/mgmt_http.h"
#include "shard.h"

#define GRACE_MS 5000u /* for clients to answer connection.close */

/* For Warren's proxies to take their clients elsewhere before the node closes, and how often it is
 * looked. */
#define PROXIES_MS      10000u
#define STRANGERS_MS    3000u
#define PROXIES_LOOK_MS 50u

#define STOPS           "the node stops"

/*
 *   CLOSED -- service_open --> OPEN, or not yet, when stop_app came before
 *
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
    bool has_begun;        /* it is not waiting for other nodes any more */
    bool is_held;          /* stop_app came before that */
    bool leaving;
    bool has_left;              /* the others are told */
    bool yields;                /* ... and lets clients of proxies go first */
    enum cluster_app wanted;    /* what the other nodes are to know of this one, */
    enum cluster_app told;      /* ... what they know, */
    enum cluster_app telling;   /* ... and what they are being told: */
    bool is_telling;            /* one thing at a time */
    struct service_ask *starts; /* waits for that, to be opened */
    struct service_ask *drains; /* waits for that, for clients to be sent away */
    const char *why;            /* clients are sent away */
    uint32_t shards_left;       /* that have clients; while it is closing */
    struct loop_timer grace;
    struct loop_timer proxies;          /* the next look at what they still have here */
    uint64_t proxies_since_ms;          /* 0: they are not waited for */
    uint32_t proxies_shards_left;       /* that have not answered how much that is */
    uint32_t proxies_clients;           /* by those that have */
    STAILQ_HEAD(, service_ask) waiting; /* for it to be closed */
    STAILQ_HEAD(, service_ask) early;   /* came while the node reads its journal */
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
    const char *why;
};

static void on_stop_clients(struct mail *mail)
{
    struct shard_notice *n = CONTAINER_OF(mail, struct shard_notice, mail);
    struct shard_notice of = *n;
    mem_free(n);
    shard_stop_clients(of.shard, of.why);
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
        *n = (struct shard_notice){ { NULL, fn }, broker_shard(s->broker, i), s->why };
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

static void begin_closing(struct service *s, const char *why)
{
    CHECK(s->state == SERVICE_OPEN);
    s->state = SERVICE_CLOSING;
    s->why = why;
    if (s->listen != NULL)
        listen_stop(&s->listen);
    s->shards_left = broker_shard_count(s->broker);
    loop_timer_stop(&s->proxies);
    loop_timer_start(&s->grace, GRACE_MS);
    tell_shards(s, on_stop_clients);
}

static void answer_waiting(struct service *s)
{
    struct service_ask *a;
    while ((a = STAILQ_FIRST(&s->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&s->waiting, entry);
        answer(a, true);
    }
}

static void set_drained(struct service *s, bool drained);
static void open_app(struct service *s, struct service_ask *a);
static void close_for(struct service *s, struct service_ask *a, const char *why);
static void look(struct service *s);

static void on_told(void *arg)
{
    struct service *s = arg;
    s->is_telling = false;
    s->told = s->telling;
    look(s);
}

static void tell(struct service *s)
{
    s->is_telling = true;
    s->telling = s->wanted;
    cluster_app(broker_cluster(s->broker), s->wanted, on_told, s);
}

/* ---- proxies ---- */

struct shard_count {
    struct mail mail;
    struct service *service;
    struct shard *shard;
    uint32_t clients;
};

static void on_counted(struct mail *mail)
{
    struct shard_count *n = CONTAINER_OF(mail, struct shard_count, mail);
    struct service *s = n->service;
    s->proxies_clients += n->clients;
    mem_free(n);
    if (--s->proxies_shards_left != 0)
        return;
    if (s->proxies_since_ms == 0)
        return; /* nobody waits any more */
    if (s->yields && s->proxies_clients != 0 && !broker_is_drained(s->broker))
        set_drained(s, true); /* which is what they go by */
    loop_timer_start(&s->proxies, s->proxies_clients != 0 ? PROXIES_LOOK_MS : 0);
}

static void on_count(struct mail *mail)
{
    struct shard_count *n = CONTAINER_OF(mail, struct shard_count, mail);
    n->clients = shard_carried_count(n->shard);
    n->mail.fn = on_counted;
    mailbox_post(broker_loop(n->service->broker), &n->mail);
}

static void count_carried(struct service *s)
{
    s->proxies_clients = 0;
    s->proxies_shards_left = broker_shard_count(s->broker);
    for (uint32_t i = 0; i < broker_shard_count(s->broker); i++) {
        struct shard_count *n = mem_zalloc(sizeof *n);
        *n = (struct shard_count){ { NULL, on_count }, s, broker_shard(s->broker, i), 0 };
        mailbox_post(n->shard->loop, &n->mail);
    }
}

static bool are_proxies_known(const struct service *s)
{
    const struct gossip_proxies *p = gossip_node_proxies(broker_gossip(s->broker));
    return p != NULL && p->count != 0;
}

/* Those that gossip has not told of may have come just now, or may never hear of it. */
static uint64_t patience_ms(const struct service *s)
{
    return are_proxies_known(s) ? PROXIES_MS : STRANGERS_MS;
}

/* The masters have gone, and proxies hear of that: they take their clients after them, while what
 * is out is settled. */
static bool awaits_proxies(struct service *s)
{
    uint64_t now = loop_now_ms(s->loop);
    bool is_first = s->proxies_since_ms == 0;
    if (s->state != SERVICE_OPEN)
        return false;
    if (is_first)
        s->proxies_since_ms = now;
    if (s->proxies_shards_left != 0 || loop_timer_is_running(&s->proxies))
        return true;
    if (!is_first && (s->proxies_clients == 0 || now - s->proxies_since_ms >= patience_ms(s))) {
        s->proxies_since_ms = 0;
        return false;
    }
    count_carried(s);
    return true;
}

static void on_proxies(void *arg)
{
    look(arg);
}

/* Is there somebody who takes clients elsewhere, and an elsewhere? */
static bool may_yield(const struct service *s)
{
    const struct meta_version *v = broker_meta(s->broker);
    size_t serving = 0;
    for (size_t i = 0; i < meta_node_count(v); i++)
        serving += meta_node_is_serving(meta_node_at(v, i)) &&
                   meta_node_at(v, i)->type != META_NODE_WITNESS;
    return serving > 1 && are_proxies_known(s) && !broker_has_failed(s->broker);
}

/* What others are told of a drain is not waited for any more: it stops. */
static void give_up_drain(struct service *s)
{
    if (s->is_telling && s->telling == CLUSTER_APP_DRAINED) {
        s->wanted = CLUSTER_APP_STOPPED;
        tell(s);
    }
}

static void leave_now(struct service *s)
{
    s->yields = false;
    begin_closing(s,
                  broker_leaving_text(s->broker)); /* first: what is told may be looked at here */
    give_up_drain(s);
}

/* Masters and clients of proxies go elsewhere, beside each other. */
static void yield(struct service *s)
{
    if (!s->is_telling && s->told != s->wanted)
        tell(s);
    if (!s->yields || (!broker_has_failed(s->broker) && awaits_proxies(s)))
        return;
    leave_now(s);
}

/* After each step: the other nodes hear what becomes of this one; when there is nothing left to do,
 * whoever waits for it does. */
static void look(struct service *s)
{
    struct service_ask *starts = s->starts, *drains = s->drains;
    /* To be drained takes as long as others need to take its queues over: it can be called off. */
    bool is_called_off = s->telling == CLUSTER_APP_DRAINED && s->wanted != s->telling;
    if (s->yields) {
        yield(s);
        return;
    }
    if (s->is_telling && !is_called_off)
        return;
    if (s->told != s->wanted && !s->leaving) {
        tell(s);
        return;
    }
    if (drains != NULL && awaits_proxies(s))
        return;
    s->drains = NULL;
    if (drains != NULL) {
        close_for(s, drains, "Node was put into maintenance mode");
        return;
    }
    if (s->state == SERVICE_CLOSING)
        return;
    s->starts = NULL;
    if (starts != NULL && s->leaving)
        refuse(starts, STOPS);
    else if (starts != NULL)
        open_app(s, starts);
    answer_waiting(s);
    if (s->leaving && !s->has_left) {
        s->has_left = true;
        broker_has_left(s->broker);
    }
}

/* The other nodes are to know when nobody is served here any more. */
static void closed(struct service *s)
{
    loop_timer_stop(&s->grace);
    s->state = SERVICE_CLOSED;
    if (!broker_app_is_running(s->broker))
        s->wanted = CLUSTER_APP_STOPPED;
    look(s);
}

void service_shard_is_idle(struct service *s)
{
    CHECK(s->state == SERVICE_CLOSING && s->shards_left > 0);
    if (--s->shards_left == 0)
        closed(s);
}

void service_give_up(struct service *s)
{
    struct service_ask *a;
    s->leaving = true;
    while ((a = STAILQ_FIRST(&s->early)) != NULL) {
        STAILQ_REMOVE_HEAD(&s->early, entry);
        refuse(a, STOPS);
    }
}

void service_leave(struct service *s)
{
    if (s->drains != NULL)
        STAILQ_INSERT_TAIL(&s->waiting, s->drains, entry);
    s->drains = NULL;
    s->proxies_since_ms = 0;
    s->leaving = true;
    s->yields = s->state == SERVICE_OPEN && may_yield(s);
    if (s->state == SERVICE_OPEN && !s->yields)
        leave_now(s);
    else if (s->state != SERVICE_CLOSING)
        look(s);
}

static bool listen_to_clients(struct service *s, struct err *err)
{
    s->listen = listen_new(s->broker, s->loop, err);
    return s->listen != NULL;
}

/* They come again when the loop runs: if nothing else is to be waited for, with the node open. */
void service_has_read(struct service *s)
{
    struct service_ask *a;
    while ((a = STAILQ_FIRST(&s->early)) != NULL) {
        STAILQ_REMOVE_HEAD(&s->early, entry);
        mailbox_post(s->loop, &a->mail);
    }
}

bool service_open(struct service *s, struct err *err)
{
    s->has_begun = true;
    if (s->is_held)
        return true;
    broker_set_app_running(s->broker, true);
    s->state = SERVICE_OPEN;
    return listen_to_clients(s, err);
}

void service_set_tls(struct service *s, struct tls_ctx *tls)
{
    if (s->listen != NULL)
        listen_set_tls(s->listen, tls);
}

/* ---- orders ---- */

static void close_for(struct service *s, struct service_ask *a, const char *why)
{
    STAILQ_INSERT_TAIL(&s->waiting, a, entry);
    if (s->state == SERVICE_OPEN)
        begin_closing(s, why);
    else if (s->state == SERVICE_CLOSED)
        closed(s); /* already, by the other order of the two */
}

/* False: it cannot be, and is refused. */
static bool open_again(struct service *s, struct service_ask *a)
{
    if (s->state == SERVICE_CLOSING) {
        refuse(a, "the node is still closing its clients; try again in a moment");
        return false;
    }
    if (s->listen == NULL && !listen_to_clients(s, &a->err)) {
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
    s->is_held = !s->has_begun;
    broker_set_app_running(s->broker, false);
    mgmt_http_shut(broker_mgmt(s->broker));
    close_for(s, a, broker_leaving_text(s->broker));
}

static void open_app(struct service *s, struct service_ask *a)
{
    if (!open_again(s, a)) {
        s->wanted = CLUSTER_APP_STOPPED;
        look(s);
        return;
    }
    mgmt_http_reopen(broker_mgmt(s->broker));
    broker_set_app_running(s->broker, true);
    broker_set_drained(s->broker, false);
    log_info("broker", name_of(s), "the application runs again");
    answer(a, true); /* whoever hears it finds everything open */
}

/* Queues are made on nodes that are known to run: that comes first. */
static void start_app(struct service *s, struct service_ask *a)
{
    if (broker_app_is_running(s->broker)) {
        answer(a, true);
    } else if (!s->has_begun) {
        s->is_held = false;
        s->wanted = CLUSTER_APP_RUNS;
        look(s);
        refuse(a,
               "the node waits for other nodes of its cluster, and serves clients as soon as they "
               "are there: its log names them");
    } else if (s->state == SERVICE_CLOSING || s->is_telling) {
        refuse(a, "the node is still closing its clients; try again in a moment");
    } else {
        s->starts = a;
        s->wanted = CLUSTER_APP_RUNS;
        look(s);
    }
}

static void set_drained(struct service *s, bool drained)
{
    broker_set_drained(s->broker, drained);
    s->wanted = drained ? CLUSTER_APP_DRAINED : CLUSTER_APP_RUNS;
    gossip_node_touch(broker_gossip(s->broker));
}

/* First of all no more queues are made here, and those that have mirrors are given to other nodes;
 * then clients are sent away, as RabbitMQ does it. Other queues stay, and are served to channels of
 * other nodes. */
static void drain(struct service *s, struct service_ask *a)
{
    if (!broker_app_is_running(s->broker)) {
        refuse(a, "the application is stopped, nobody is served here");
        return;
    }
    log_info("broker", name_of(s), "under maintenance: clients are sent away");
    set_drained(s, true);
    if (s->drains == NULL)
        s->drains = a;
    else
        STAILQ_INSERT_TAIL(&s->waiting, a, entry); /* it was said twice */
    look(s);
}

static void revive(struct service *s, struct service_ask *a)
{
    if (!broker_app_is_running(s->broker)) {
        refuse(a, "the application is stopped: start_app makes it run again");
    } else if (open_again(s, a)) {
        log_info("broker", name_of(s), "not under maintenance any more");
        if (s->drains != NULL)
            refuse(s->drains, "the node was revived");
        s->drains = NULL;
        s->proxies_since_ms = 0;
        set_drained(s, false);
        STAILQ_INSERT_TAIL(&s->waiting, a, entry);
        look(s);
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

/* The metadata begin anew, and what the node had of queues goes with the old ones. */
static void on_reset(struct cluster_ask *ask)
{
    struct service_ask *a = ask->arg;
    bool ok = ask->ok;
    a->err = ask->err;
    if (ok)
        log_info("broker", name_of(a->service),
                 "reset: a new node, without messages and definitions");
    mem_free(ask);
    answer(a, ok);
}

static void reset(struct service *s, struct service_ask *a)
{
    if (broker_app_is_running(s->broker) || s->state != SERVICE_CLOSED) {
        refuse(a, "the application runs: stop it with stop_app");
        return;
    }
    struct cluster_ask *ask = mem_zalloc(sizeof *ask);
    ask->order = CLUSTER_RESET;
    ask->reply_to = s->loop;
    ask->done = on_reset;
    ask->arg = a;
    cluster_send(broker_cluster(s->broker), &ask);
}

static void on_ask(struct mail *mail)
{
    struct service_ask *a = CONTAINER_OF(mail, struct service_ask, mail);
    struct service *s = a->service;
    if (s->leaving && a->order != SERVICE_STOP) {
        refuse(a, STOPS);
        return;
    }
    if (broker_is_reading(s->broker) && a->order != SERVICE_STOP) {
        STAILQ_INSERT_TAIL(&s->early, a, entry);
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
    s->state = SERVICE_CLOSED;
    STAILQ_INIT(&s->waiting);
    STAILQ_INIT(&s->early);
    loop_timer_init(&s->grace, loop, on_grace, s);
    loop_timer_init(&s->proxies, loop, on_proxies, s);
    return s;
}

void service_free(struct service **service)
{
    struct service *s = *service;
    *service = NULL;
    if (s == NULL)
        return;
    CHECK(STAILQ_EMPTY(&s->waiting) && STAILQ_EMPTY(&s->early));
    listen_free(&s->listen);
    loop_timer_fini(&s->grace);
    loop_timer_fini(&s->proxies);
    mem_free(s);
}
