#include "gossip/gossip_talk.h"

#include "base/check.h"
#include "base/mem.h"
#include "gossip/gossip.h"
#include "io/mailbox.h"

#include <sys/queue.h>

#define DIAL_MS 3000u  /* then it is given up */
#define IDLE_MS 15000u /* kept for the next question */

enum frame {
    FRAME_GREET = LINK_TYPE_LEAST,
    FRAME_SYNC,
    FRAME_PING,
    FRAME_PONG,
};

#define GREET_BYTES 41u

struct talk {
    struct gossip_talks *talks;
    struct link *link;
    bool is_dialled;
    bool is_up;
    struct gossip_place place; /* when dialled */
    uint64_t id;               /* who is there, or should be; 0: to be found out */
    bool is_greeted;
    bool wants_sync;
    uint32_t ping_seq; /* 0: none waits */
    uint64_t used_ms;
    TAILQ_ENTRY(talk) entry;
};

struct gossip_talks {
    struct loop *loop;
    struct link_node *node;
    struct gossip_talk_handlers handlers;
    void *arg;
    struct link_hall *hall;
    TAILQ_HEAD(, talk) all;
    size_t count, dialled;
    bool is_over;
    struct mail end;
};

static void talk_free(struct talk *k)
{
    struct gossip_talks *t = k->talks;
    TAILQ_REMOVE(&t->all, k, entry);
    t->count--;
    t->dialled -= k->is_dialled;
    if (k->link != NULL)
        link_free(&k->link);
    mem_free(k);
}

static struct talk *talk_new(struct gossip_talks *t, bool is_dialled)
{
    struct talk *k = mem_zalloc(sizeof *k);
    k->talks = t;
    k->is_dialled = is_dialled;
    k->used_ms = loop_now_ms(t->loop);
    TAILQ_INSERT_TAIL(&t->all, k, entry);
    t->count++;
    t->dialled += is_dialled;
    return k;
}

/* ---- saying -----------------------------------------------------------------------------------
 */

/* A link that is down loses it, and says so to on_lost. */
static void say(struct talk *k, enum frame type, struct slice payload)
{
    (void)link_send(k->link, LINK_BULKY, (uint8_t)type, payload, NULL, slice_of(NULL, 0));
}

static void say_greeting(struct talk *k)
{
    struct gossip_greeting g;
    uint8_t room[GREET_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    k->talks->handlers.greeting(&g, k->talks->arg);
    wire_put_u64(&w, g.id);
    wire_put_u64(&w, g.boot);
    wire_put_u64(&w, g.counter);
    wire_put_bytes(&w, slice_of(g.cluster, sizeof g.cluster));
    wire_put_u8(&w, 0); /* of a later version, passed over */
    CHECK(!w.overflow && wire_out_len(&w) == GREET_BYTES);
    say(k, FRAME_GREET, wire_out_slice(&w));
}

static void say_all(struct talk *k, bool asks)
{
    uint8_t room[1 + GOSSIP_SYNC_MAX];
    size_t at = 0;
    for (;; asks = false) { /* one part asks for the answer */
        struct wire_out w = wire_out_over(room, sizeof room);
        wire_put_u8(&w, asks);
        if (!k->talks->handlers.write(&at, &w, k->talks->arg) || link_is_full(k->link))
            return;
        say(k, FRAME_SYNC, wire_out_slice(&w));
    }
}

static void say_seq(struct talk *k, enum frame type, uint32_t seq)
{
    uint8_t room[4];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u32(&w, seq);
    say(k, type, wire_out_slice(&w));
}

/* What waited for the greeting. */
static void say_waiting(struct talk *k)
{
    if (!k->is_up || !k->is_greeted)
        return;
    if (k->wants_sync)
        say_all(k, true);
    if (k->ping_seq != 0)
        say_seq(k, FRAME_PING, k->ping_seq);
    k->wants_sync = false;
    k->ping_seq = 0;
}

/* ---- hearing ----------------------------------------------------------------------------------
 */

/* The number in the greeting is the one that the link has proven, where that has one. */
static bool is_who_it_is(const struct talk *k, const struct gossip_greeting *g)
{
    const struct link_peer *peer = link_peer(k->link);
    bool is_node = g->id <= UINT16_MAX;
    return g->id != 0 && (is_node ? peer->id.node == g->id : peer->id.node == 0) &&
           (k->id == 0 || k->id == g->id);
}

/* False: the talk is over. */
static bool hear_greeting(struct talk *k, struct slice payload)
{
    struct gossip_talks *t = k->talks;
    struct gossip_greeting g;
    struct wire w = wire_over(payload);
    bool is_first = !k->is_greeted;
    g.id = wire_u64(&w);
    g.boot = wire_u64(&w);
    g.counter = wire_u64(&w);
    struct slice cluster = wire_take(&w, GOSSIP_CLUSTER_BYTES);
    (void)wire_u8(&w);
    if (w.ran_out || !is_who_it_is(k, &g))
        return false;
    memcpy(g.cluster, cluster.ptr, sizeof g.cluster);
    if (!t->handlers.on_greeting(&g, link_peer(k->link), k->is_dialled ? &k->place : NULL, t->arg))
        return false;
    k->id = g.id;
    k->is_greeted = true;
    if (is_first && !k->is_dialled)
        say_greeting(k);
    return true;
}

static bool hear(struct talk *k, const struct link_frame *f)
{
    struct gossip_talks *t = k->talks;
    struct wire w = wire_over(f->payload);
    if (f->type == FRAME_GREET)
        return hear_greeting(k, f->payload);
    if (!k->is_greeted)
        return false;
    switch (f->type) {
    case FRAME_SYNC: {
        bool asks = wire_u8(&w) != 0;
        struct slice items = wire_rest(&w);
        if (items.len > GOSSIP_SYNC_MAX)
            return false;
        t->handlers.on_items(k->id, items, t->arg);
        if (asks)
            say_all(k, false);
        return true;
    }
    case FRAME_PING:
        say_seq(k, FRAME_PONG, wire_u32(&w));
        return true;
    case FRAME_PONG:
        t->handlers.on_pong(k->id, wire_u32(&w), t->arg);
        return true;
    default:
        return true; /* of a later version */
    }
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct talk *k = arg;
    CHECK(k->link == l);
    struct gossip_talks *t = k->talks;
    k->used_ms = loop_now_ms(t->loop);
    if (!k->is_greeted && !k->is_dialled && f->type >= GOSSIP_FRAME_FEED &&
        t->handlers.on_other != NULL) {
        struct link *other = k->link;
        k->link = NULL;
        talk_free(k);
        t->handlers.on_other(&other, f, t->arg);
        if (other != NULL)
            link_free(&other);
        return;
    }
    if (hear(k, f))
        say_waiting(k);
    else
        talk_free(k);
}

static void on_up(struct link *l, void *arg)
{
    struct talk *k = arg;
    CHECK(k->link == l);
    k->is_up = true;
    k->used_ms = loop_now_ms(k->talks->loop);
    say_greeting(k);
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    (void)l;
    (void)why;
    (void)err;
    talk_free(arg);
}

/* Who wants something of it asks again some time. */
static void on_trouble(struct link *l, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg)
{
    (void)l;
    (void)what;
    (void)refusal;
    (void)err;
    talk_free(arg);
}

static const struct link_handlers link_side = {
    .on_up = on_up, .on_frame = on_frame, .on_lost = on_lost, .on_trouble = on_trouble
};

static void on_link(struct link *l, const struct link_peer *peer, void *arg)
{
    (void)peer;
    struct gossip_talks *t = arg;
    if (t->is_over) {
        link_free(&l);
        return;
    }
    struct talk *k = talk_new(t, false);
    k->link = l;
    k->is_up = true;
    link_set_owner(l, &link_side, k);
}

static const struct link_hall_handlers hall_side = { .on_link = on_link };

/* ---- asking -----------------------------------------------------------------------------------
 */

static struct talk *dial(struct gossip_talks *t, uint64_t id, const struct gossip_place *at)
{
    if (t->dialled >= GOSSIP_TALKS_MAX)
        return NULL;
    struct talk *k = talk_new(t, true);
    k->id = id;
    k->place = *at;
    k->link = link_dial(t->loop, t->node,
                        &(struct link_options){ .class = LINK_FEED,
                                                .host = k->place.host,
                                                .port = k->place.port,
                                                .node = id <= UINT16_MAX ? (uint16_t)id : 0 },
                        &link_side, k);
    return k;
}

/* The best that there is: greeted, or on the way to be. */
static struct talk *find(struct gossip_talks *t, uint64_t id)
{
    struct talk *k, *found = NULL;
    TAILQ_FOREACH (k, &t->all, entry) {
        if (k->id == id && (k->is_greeted || k->is_dialled) && (found == NULL || k->is_greeted))
            found = k;
    }
    return found;
}

static struct talk *find_or_dial(struct gossip_talks *t, uint64_t id, const struct gossip_place *at)
{
    CHECK(id != 0);
    struct talk *k = find(t, id);
    if (k == NULL)
        k = dial(t, id, at);
    if (k != NULL)
        k->used_ms = k->is_up ? loop_now_ms(t->loop) : k->used_ms;
    return k;
}

void gossip_talks_ping(struct gossip_talks *t, uint64_t id, const struct gossip_place *at,
                       uint32_t seq)
{
    struct talk *k = find_or_dial(t, id, at);
    if (k == NULL)
        return;
    k->ping_seq = seq;
    say_waiting(k);
}

void gossip_talks_sync(struct gossip_talks *t, uint64_t id, const struct gossip_place *at)
{
    struct talk *k = find_or_dial(t, id, at);
    if (k == NULL)
        return;
    k->wants_sync = true;
    say_waiting(k);
}

void gossip_talks_ask(struct gossip_talks *t, const struct gossip_place *at)
{
    struct talk *k;
    TAILQ_FOREACH (k, &t->all, entry)
        if (k->is_dialled && k->place.port == at->port && strcmp(k->place.host, at->host) == 0)
            break;
    if (k == NULL)
        k = dial(t, 0, at);
    if (k == NULL)
        return;
    k->wants_sync = true;
    say_waiting(k);
}

void gossip_talks_greet_again(struct gossip_talks *t)
{
    struct talk *k;
    TAILQ_FOREACH (k, &t->all, entry)
        if (k->is_up && (k->is_greeted || k->is_dialled))
            say_greeting(k);
}

void gossip_talks_tidy(struct gossip_talks *t)
{
    uint64_t now = loop_now_ms(t->loop);
    struct talk *k = TAILQ_FIRST(&t->all);
    while (k != NULL) {
        struct talk *next = TAILQ_NEXT(k, entry);
        /* The side that dialled decides; the other one is more patient. */
        uint64_t most = !k->is_up || !k->is_greeted ? DIAL_MS
                        : k->is_dialled             ? IDLE_MS
                                                    : 3 * IDLE_MS;
        if (now - k->used_ms > most)
            talk_free(k);
        k = next;
    }
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct gossip_talks *gossip_talks_new(struct loop *loop, struct link_node *node,
                                      const struct gossip_talk_handlers *handlers, void *arg)
{
    struct gossip_talks *t = mem_zalloc(sizeof *t);
    t->loop = loop;
    t->node = node;
    t->handlers = *handlers;
    t->arg = arg;
    TAILQ_INIT(&t->all);
    t->hall =
        link_hall_new(loop, node, &(struct link_hall_options){ .class = LINK_FEED }, &hall_side, t);
    return t;
}

static void on_end(struct mail *mail)
{
    struct gossip_talks *t = CONTAINER_OF(mail, struct gossip_talks, end);
    link_hall_free(&t->hall);
    mem_free(t);
}

void gossip_talks_free(struct gossip_talks **tp)
{
    struct gossip_talks *t = *tp;
    if (t == NULL)
        return;
    *tp = NULL;
    while (!TAILQ_EMPTY(&t->all))
        talk_free(TAILQ_FIRST(&t->all));
    t->is_over = true;
    t->end.fn = on_end;
    mailbox_post(t->loop, &t->end);
}

struct link_hall *gossip_talks_hall(struct gossip_talks *t)
{
    return t->hall;
}

size_t gossip_talks_count(const struct gossip_talks *t)
{
    return t->count;
}
