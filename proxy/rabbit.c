#include "rabbit.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"
#include "io/random.h"
#include "rabbit_list.h"
#include "rabbit_talk.h"

#include <string.h>

#define SMALL_MAX ((size_t)4 * 1024 * 1024) /* nodes, listeners */
/* A list is read in one go, and meanwhile this loop checks no servers and answers nobody. */
#define QUEUES_MAX   ((size_t)16 * 1024 * 1024)
#define PACE         20u    /* queues are asked for after so many times what the last list took */
#define PACE_HURRIED 4u     /* ... while things happen */
#define HURRY_MS     5000u  /* so long after something has happened */
#define HURRY_PARTS  4u     /* of the pause between rounds, then */
#define PAUSE_MS     100u   /* the least between two rounds */
#define LISTENERS_MS 30000u /* listeners hardly ever change */
#define SAY_AGAIN_MS 60000u /* a complaint that is the same as the last one */
#define WHY_MAX      256u

static const char nodes_path[] = "nodes?columns=name,running,being_drained";
static const char listeners_path[] = "overview?columns=listeners";
static const char queues_path[] = "queues?disable_stats=true&columns=vhost,name,node,leader";

struct rabbit {
    struct loop *loop;
    struct discover_calls calls;
    void *arg;
    char *name;                /* of the backend */
    struct snapshot *snapshot; /* a reference: the configuration is of it */
    const struct backend *backend;
    struct rabbit_list *list;
    struct rabbit_talk *talk;
    struct atlas *atlas;
    struct discover *discover;
    struct loop_timer timer; /* the next round */
    unsigned tried;          /* URLs in vain, in this round */
    bool is_fresh, was_heard;
    uint64_t heard_ms; /* the last whole round; before the first one, the beginning */
    uint64_t asked_ms; /* the question that is under way */
    uint64_t listeners_due_ms, queues_due_ms;
    uint64_t hurry_until_ms;
    uint64_t said_ms;
    char why[WHY_MAX];
    uint64_t asked, lists, changes, failures, list_ms;
};

static uint64_t now_ms(const struct rabbit *r)
{
    return loop_now_ms(r->loop);
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static enum live_hearsay hearsay_of(const struct rabbit *r, const struct rabbit_node *n)
{
    if (r->is_fresh)
        return n->is_running ? LIVE_HEARSAY_ALIVE : LIVE_HEARSAY_DEAD;
    return n->is_running ? LIVE_HEARSAY_SUSPECT : LIVE_HEARSAY_NONE;
}

/* Where it takes AMQP from us: at the address that it is bound to, or on the host of its name. */
static void put_place(const struct rabbit *r, const struct rabbit_node *n, struct node *out)
{
    const char *host = strchr(n->name, '@');
    struct text t = text_over(out->host, sizeof out->host);
    out->port = r->backend->conf->default_server.ssl ? n->port_tls : n->port;
    if (out->port != 0 && n->ip[0] != '\0')
        text_escaped(&t, slice_str(n->ip));
    else if (out->port != 0 && host != NULL)
        text_escaped(&t, slice_str(host + 1));
}

static void put_nodes(struct rabbit *r)
{
    struct nodes *nodes = discover_nodes(r->discover);
    for (size_t i = 1; i <= rabbit_list_node_count(r->list); i++) {
        const struct rabbit_node *n = rabbit_list_node(r->list, i);
        struct node out = { .number = (uint16_t)i };
        if (!n->is_listed) {
            nodes_remove(nodes, out.number);
            continue;
        }
        struct text name = text_over(out.name, sizeof out.name);
        text_escaped(&name, slice_str(n->name));
        out.hearsay = hearsay_of(r, n);
        out.is_draining = n->is_draining;
        put_place(r, n, &out);
        nodes_put(nodes, &out);
    }
}

static void tell(struct rabbit *r)
{
    uint64_t news = atlas_news(r->atlas);
    atlas_follow(r->atlas, rabbit_list_table(r->list), rabbit_list_key(r->list));
    if (atlas_news(r->atlas) != news)
        r->calls.moved(r->arg);
}

/* ---- a round of questions ---------------------------------------------------------------------
 */

static bool is_hurried(const struct rabbit *r)
{
    return now_ms(r) < r->hurry_until_ms;
}

static void hurry(struct rabbit *r)
{
    r->hurry_until_ms = now_ms(r) + HURRY_MS;
    r->queues_due_ms = 0;
}

static void round_over(struct rabbit *r)
{
    uint64_t inter = r->backend->conf->rabbit->inter_ms;
    bool is_news = !r->is_fresh;
    r->is_fresh = r->was_heard = true;
    r->heard_ms = now_ms(r);
    r->tried = 0;
    put_nodes(r);
    tell(r);
    if (is_news)
        log_info("rabbitmq", r->name, "its management tells nodes=%zu queues=%llu from=%s",
                 rabbit_list_node_count(r->list), (unsigned long long)atlas_count(r->atlas),
                 rabbit_talk_place(r->talk));
    if (is_hurried(r))
        inter /= HURRY_PARTS;
    loop_timer_start(&r->timer, inter > PAUSE_MS ? inter : PAUSE_MS);
}

/* Each complaint once, and again now and then. */
static void complain(struct rabbit *r, const struct err *why)
{
    char room[WHY_MAX];
    struct text t = text_over(room, sizeof room);
    text_put(&t, "%s: ", rabbit_talk_place(r->talk));
    text_escaped(&t, slice_str(why->text));
    if (strcmp(room, r->why) == 0 && now_ms(r) - r->said_ms < SAY_AGAIN_MS)
        return;
    log_warn("rabbitmq", r->name, "its management does not tell: %s", room);
    memcpy(r->why, room, sizeof room);
    r->said_ms = now_ms(r);
}

static void failed(struct rabbit *r, const struct err *why)
{
    uint64_t inter = r->backend->conf->rabbit->inter_ms;
    r->failures++;
    complain(r, why);
    rabbit_talk_go_on(r->talk);
    if (++r->tried < r->backend->conf->rabbit->url_count) {
        loop_timer_start(&r->timer, 0);
        return;
    }
    r->tried = 0;
    if (r->is_fresh)
        log_warn("rabbitmq", r->name,
                 "no URL answers, what is known of its queues stays queues=%llu",
                 (unsigned long long)atlas_count(r->atlas));
    r->is_fresh = false;
    put_nodes(r);
    loop_timer_start(&r->timer, inter);
}

static void ask(struct rabbit *r, const char *path, size_t max, rabbit_talk_fn fn)
{
    r->asked_ms = now_ms(r);
    rabbit_talk_ask(r->talk, path, max, fn);
}

/* A list that is of no use has cost its broker as much as another: the next one is not asked for
 * before as much time has passed. */
static void list_failed(struct rabbit *r, const struct err *why, uint64_t took_ms)
{
    failed(r, why);
    if (r->tried == 0 && took_ms > r->backend->conf->rabbit->inter_ms)
        loop_timer_start(&r->timer, took_ms);
}

static void on_queues(struct slice body, const struct err *why, void *arg)
{
    struct rabbit *r = arg;
    struct err err;
    if (why == NULL) {
        switch (rabbit_list_queues(r->list, body, &err)) {
        case RABBIT_SAME:
            break;
        case RABBIT_OTHER:
            r->changes++;
            break;
        case RABBIT_BROKEN:
            why = &err;
        }
    }
    uint64_t took_ms = clock_mono_ms() - r->asked_ms; /* the loop's time stands while we read */
    if (why != NULL) {
        list_failed(r, why, took_ms);
        return;
    }
    r->lists++;
    r->list_ms = took_ms;
    r->queues_due_ms = r->asked_ms + took_ms + took_ms * (is_hurried(r) ? PACE_HURRIED : PACE);
    round_over(r);
}

static void go_on(struct rabbit *r)
{
    if (now_ms(r) >= r->queues_due_ms)
        ask(r, queues_path, QUEUES_MAX, on_queues);
    else
        round_over(r);
}

static void on_listeners(struct slice body, const struct err *why, void *arg)
{
    struct rabbit *r = arg;
    struct err err;
    if (why == NULL && rabbit_list_listeners(r->list, body, &err) == RABBIT_BROKEN)
        why = &err;
    if (why != NULL) {
        failed(r, why);
        return;
    }
    r->listeners_due_ms = now_ms(r) + LISTENERS_MS;
    go_on(r);
}

static void on_nodes(struct slice body, const struct err *why, void *arg)
{
    struct rabbit *r = arg;
    struct err err;
    enum rabbit_news news = RABBIT_SAME;
    if (why == NULL)
        news = rabbit_list_nodes(r->list, body, &err);
    if (news == RABBIT_BROKEN)
        why = &err;
    if (why != NULL) {
        failed(r, why);
        return;
    }
    if (news == RABBIT_OTHER) {
        hurry(r);
        r->listeners_due_ms = 0;
        tell(r); /* what goes down and comes is told before queues are asked for */
    }
    if (now_ms(r) >= r->listeners_due_ms)
        ask(r, listeners_path, SMALL_MAX, on_listeners);
    else
        go_on(r);
}

static void on_timer(void *arg)
{
    struct rabbit *r = arg;
    r->asked++;
    ask(r, nodes_path, SMALL_MAX, on_nodes);
}

/* ---- life, looking ----------------------------------------------------------------------------
 */

void rabbit_poke(struct rabbit *r)
{
    if (is_hurried(r) || !r->is_fresh)
        return; /* it asks as soon as it may */
    hurry(r);
    if (!rabbit_talk_is_asking(r->talk))
        loop_timer_start(&r->timer, PAUSE_MS);
}

void rabbit_look(struct rabbit *r)
{
    discover_look(r->discover);
}

const char *rabbit_name(const struct rabbit *r)
{
    return r->name;
}

void rabbit_follow(struct rabbit *r, struct snapshot *s)
{
    struct snapshot *was = r->snapshot;
    bool is_first = was == NULL;
    r->snapshot = snapshot_ref(s);
    r->backend = snapshot_backend(s, r->name);
    CHECK(r->backend != NULL && r->backend->conf->rabbit != NULL);
    rabbit_talk_follow(r->talk, r->backend->conf->rabbit, r->backend->rabbit_tls);
    discover_follow(r->discover, s);
    snapshot_unref(&was);
    if (is_first)
        loop_timer_start(&r->timer, 0);
    else
        put_nodes(r); /* at other ports, should their servers speak TLS now */
}

static void on_moved(void *arg)
{
    const struct rabbit *r = arg;
    r->calls.moved(r->arg);
}

static void on_found(const struct server *server, void *arg)
{
    const struct rabbit *r = arg;
    r->calls.found(server, r->arg);
}

static void on_heard(const struct server_live *server, void *arg)
{
    const struct rabbit *r = arg;
    r->calls.heard(server, r->arg);
}

struct rabbit *rabbit_new(struct loop *loop, struct epoch *epoch, const char *backend,
                          const struct discover_calls *calls, void *arg)
{
    static const struct discover_calls own = { on_moved, on_found, on_heard };
    struct rabbit *r = mem_zalloc(sizeof *r);
    r->loop = loop;
    r->calls = *calls;
    r->arg = arg;
    r->name = mem_dup(backend, strlen(backend) + 1);
    r->heard_ms = now_ms(r);
    r->list = rabbit_list_new(random_u64());
    r->talk = rabbit_talk_new(loop, r);
    r->atlas = atlas_new(epoch);
    r->discover = discover_new(loop, r->name, epoch, r->atlas, &own, r);
    loop_timer_init(&r->timer, loop, on_timer, r);
    return r;
}

void rabbit_free(struct rabbit **rp)
{
    struct rabbit *r = *rp;
    *rp = NULL;
    if (r == NULL)
        return;
    loop_timer_fini(&r->timer);
    rabbit_talk_free(&r->talk);
    discover_free(&r->discover);
    atlas_retire(&r->atlas);
    rabbit_list_free(&r->list);
    snapshot_unref(&r->snapshot);
    mem_free(r->name);
    mem_free(r);
}

void rabbit_figures(const struct rabbit *r, struct rabbit_figures *out)
{
    *out = (struct rabbit_figures){
        .from = rabbit_talk_place(r->talk),
        .is_fresh = r->is_fresh,
        .was_heard = r->was_heard,
        .age_ms = now_ms(r) - r->heard_ms,
        .queues = atlas_count(r->atlas),
        .asked = r->asked,
        .lists = r->lists,
        .changes = r->changes,
        .failures = r->failures,
        .list_ms = r->list_ms,
        .last_why = r->why,
    };
    for (size_t i = 1; i <= rabbit_list_node_count(r->list); i++) {
        out->nodes += rabbit_list_node(r->list, i)->is_listed;
        out->nodes_running += rabbit_list_node(r->list, i)->is_running;
    }
}
