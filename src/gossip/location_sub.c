#include "gossip/location_sub.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "gossip/location_pub.h"
#include "io/cookie.h"
#include "io/random.h"
#include "link/link_figures.h"

#define LOOK_MS   500u
#define BEHIND_MS 3000u /* behind what others have for so long: another broker may do better */

struct location_sub {
    struct loop *loop;
    struct link_node *node;
    struct gossip_net *net;
    struct cookie cookie;
    struct location_table *table;
    uint64_t key;
    bool has_cluster;
    struct link *link;
    uint64_t feeder;
    bool is_subscribed;
    bool in_snapshot;
    bool is_fresh;
    uint64_t behind_since_ms; /* 0: it is not */
    struct loop_timer look;
    struct rng rng;
    location_sub_fn fn;
    void *arg;
    struct location_sub_leads leads; /* on_leads NULL: nobody asks */
    struct loop_task tell;           /* once a turn */
    struct location_sub_figures figures;
};

/* ---- who looks at the table -------------------------------------------------------------------
 */

static void on_tell(void *arg)
{
    struct location_sub *s = arg;
    s->fn(s->arg);
}

static void has_changed(struct location_sub *s)
{
    if (s->fn != NULL)
        loop_at_turn_end(s->loop, &s->tell);
}

/* ---- the broker that feeds us -----------------------------------------------------------------
 */

static void drop(struct location_sub *s)
{
    if (s->link != NULL)
        link_free(&s->link);
    location_snapshot(s->table, 0);
    s->feeder = 0;
    s->is_subscribed = s->in_snapshot = s->is_fresh = false;
    s->behind_since_ms = 0;
}

static void look_soon(struct location_sub *s)
{
    loop_timer_start(&s->look, 0);
}

static void say_sub(struct location_sub *s)
{
    uint8_t *room = mem_alloc(LOCATION_SUB_MAX);
    struct wire_out w = wire_out_over(room, LOCATION_SUB_MAX);
    uint64_t check = location_hash(s->key, slice_str("warren"), slice_str("location feed"));
    location_sub_put(&w, check, s->table);
    CHECK(!w.overflow);
    location_snapshot(s->table, LOCATION_VER_MAX);
    s->is_subscribed =
        link_send(s->link, LINK_BULKY, LOCATION_SUB, wire_out_slice(&w), NULL, slice_of(NULL, 0));
    mem_free(room);
}

static void on_up(struct link *l, void *arg)
{
    struct location_sub *s = arg;
    (void)l;
    say_sub(s);
    if (s->leads.on_leads != NULL)
        s->leads.on_routes(s->leads.arg);
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    struct location_sub *s = arg;
    (void)l;
    (void)err;
    log_info("location", "-",
             "the broker that told where queues are is lost: looking for another "
             "broker=%llu why=%s",
             (unsigned long long)s->feeder, link_loss_text(why));
    drop(s);
    look_soon(s);
}

static void on_trouble(struct link *l, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg)
{
    (void)l;
    (void)what;
    (void)refusal;
    (void)err; /* the next look takes another one, or this one again */
    drop(arg);
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static bool take_begin(struct location_sub *s, struct wire *w)
{
    location_snapshot(s->table, wire_u64(w) & LOCATION_VER_MAX);
    s->in_snapshot = true;
    s->figures.snapshots++;
    return location_nodes_take(w, s->table);
}

static bool take_buckets(struct location_sub *s, struct wire *w)
{
    uint64_t index = wire_u64(w);
    uint16_t first = wire_u16(w), count = wire_u16(w);
    if (!s->in_snapshot || (uint32_t)first + count > LOCATION_BUCKETS || index > LOCATION_VER_MAX)
        return false;
    for (unsigned i = first; i < (unsigned)first + count; i++)
        if (!location_bucket_take(w, s->table, i, index))
            return false;
    return !w->ran_out;
}

static bool take_end(struct location_sub *s, struct wire *w)
{
    uint64_t index = wire_u64(w);
    if (!s->in_snapshot || w->ran_out || index > LOCATION_VER_MAX)
        return false;
    s->in_snapshot = false;
    s->is_fresh = true;
    location_reach(s->table, index);
    location_snapshot(s->table, 0);
    return true;
}

static void apply(struct location_sub *s, const struct location_change *c)
{
    if (c->kind == LOCATION_CHANGE_PUT)
        (void)location_put(s->table, &c->put);
    else
        (void)location_put_node(s->table, &c->node);
}

static bool take_changes(struct location_sub *s, struct wire *w)
{
    uint64_t from = wire_u64(w), to = wire_u64(w);
    if (w->ran_out || s->in_snapshot || from > LOCATION_VER_MAX || to > LOCATION_VER_MAX)
        return false;
    if (from > location_index(s->table)) {
        s->figures.gaps++;
        return false; /* something in between was not told: ask anew */
    }
    s->is_fresh = true;
    location_snapshot(s->table, 0);
    while (wire_left(w) != 0) {
        struct location_change c;
        if (!location_change_take(w, from, &c))
            return false;
        s->figures.changes++;
        apply(s, &c);
    }
    location_reach(s->table, to);
    return true;
}

static bool take_leads(struct location_sub *s, struct slice payload)
{
    struct location_leads l;
    if (!location_leads_take(payload, &l))
        return false;
    if (s->leads.on_leads != NULL)
        s->leads.on_leads(&l, s->leads.arg);
    return true;
}

static bool take(struct location_sub *s, const struct link_frame *f)
{
    struct wire w = wire_over(f->payload);
    s->figures.bytes += f->payload.len;
    if (f->type == LOCATION_LEADS)
        return take_leads(s, f->payload);
    if (f->type == LOCATION_ROUTES && s->leads.on_leads != NULL)
        s->leads.on_routes(s->leads.arg);
    has_changed(s);
    switch (f->type) {
    case LOCATION_BEGIN:
        return take_begin(s, &w);
    case LOCATION_BUCKETS_FRAME:
        return take_buckets(s, &w);
    case LOCATION_END:
        return take_end(s, &w);
    case LOCATION_CHANGES:
        return take_changes(s, &w);
    default:
        return true; /* of a later version */
    }
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct location_sub *s = arg;
    if (take(s, f))
        return;
    log_warn("location", link_peer(l)->address, "the feed made no sense: asking anew");
    drop(s);
    look_soon(s);
}

static const struct link_handlers feeder_side = {
    .on_up = on_up, .on_frame = on_frame, .on_lost = on_lost, .on_trouble = on_trouble
};

/* ---- which broker -----------------------------------------------------------------------------
 */

static bool may_feed(const struct gossip_member *m)
{
    struct gossip_info info;
    return m->state == GOSSIP_ALIVE && gossip_net_info(m, &info) && info.role == GOSSIP_ROLE_BROKER;
}

/* Any, by chance, so that proxies spread over brokers. */
static uint64_t choose(struct location_sub *s)
{
    uint64_t chosen = 0, seen = 0;
    for (size_t i = 0; i < gossip_net_count(s->net); i++) {
        const struct gossip_member *m = gossip_net_member(s->net, i);
        if (may_feed(m) && rng_below(&s->rng, ++seen) == 0)
            chosen = m->id;
    }
    return chosen;
}

static void dial(struct location_sub *s)
{
    char host[GOSSIP_NET_HOST_MAX];
    uint16_t port;
    s->feeder = choose(s);
    if (s->feeder == 0 || !gossip_net_place(s->net, s->feeder, host, &port)) {
        s->feeder = 0;
        return;
    }
    s->link =
        link_dial(s->loop, s->node,
                  &(struct link_options){
                      .class = LINK_FEED, .host = host, .port = port, .node = (uint16_t)s->feeder },
                  &feeder_side, s);
}

static uint64_t newest(const struct location_sub *s)
{
    uint64_t index = 0;
    for (size_t i = 0; i < gossip_net_count(s->net); i++) {
        const struct gossip_member *m = gossip_net_member(s->net, i);
        if (may_feed(m) && m->pulse.meta_index > index)
            index = m->pulse.meta_index;
    }
    return index;
}

/* It is slow, or cut off from the others. */
static bool is_behind_for_long(struct location_sub *s)
{
    uint64_t now = loop_now_ms(s->loop);
    if (newest(s) <= location_index(s->table) || s->in_snapshot)
        s->behind_since_ms = 0;
    else if (s->behind_since_ms == 0)
        s->behind_since_ms = now;
    return s->behind_since_ms != 0 && now - s->behind_since_ms > BEHIND_MS;
}

static void on_look(void *arg)
{
    struct location_sub *s = arg;
    loop_timer_start(&s->look, LOOK_MS);
    if (!s->has_cluster)
        return;
    if (s->link != NULL && is_behind_for_long(s))
        drop(s);
    if (s->link == NULL)
        dial(s);
}

/* ---- where messages land ----------------------------------------------------------------------
 */

void location_sub_listen(struct location_sub *s, const struct location_sub_leads *leads)
{
    s->leads = *leads;
}

bool location_sub_ask(struct location_sub *s, const struct location_ask *ask)
{
    uint8_t room[LOCATION_ASK_MAX];
    struct wire_out w = wire_out_over(room, sizeof room);
    if (!s->is_subscribed || link_is_full(s->link))
        return false;
    location_ask_put(&w, ask);
    CHECK(!w.overflow);
    return link_send(s->link, LINK_BULKY, LOCATION_ASK, wire_out_slice(&w), NULL,
                     slice_of(NULL, 0));
}

/* ---- from outside -----------------------------------------------------------------------------
 */

void location_sub_cluster(struct location_sub *s, const uint8_t cluster[GOSSIP_CLUSTER_BYTES])
{
    drop(s);
    location_clear(s->table);
    s->key = location_key(cookie_slice(&s->cookie), slice_of(cluster, GOSSIP_CLUSTER_BYTES));
    s->has_cluster = true;
    has_changed(s);
    look_soon(s);
}

void location_sub_rumour(struct location_sub *s, const struct gossip_rumour *r)
{
    struct location_change c;
    if (!location_rumour_take(r->key, r->ver, r->bytes, &c))
        return;
    apply(s, &c);
    has_changed(s);
}

void location_sub_member(struct location_sub *s, uint64_t id, const struct gossip_member *m)
{
    if (id == s->feeder && (m == NULL || m->state > GOSSIP_SUSPECT))
        drop(s);
    if (s->link == NULL && s->has_cluster)
        look_soon(s);
}

struct location_sub *location_sub_new(struct loop *loop, struct link_node *node,
                                      struct gossip_net *net, struct slice cookie,
                                      location_sub_fn fn, void *arg)
{
    struct location_sub *s = mem_zalloc(sizeof *s);
    CHECK(cookie.len <= COOKIE_MAX);
    s->loop = loop;
    s->node = node;
    s->net = net;
    memcpy(s->cookie.bytes, cookie.ptr, cookie.len);
    s->cookie.len = cookie.len;
    s->table = location_new();
    s->fn = fn;
    s->arg = arg;
    loop_task_init(&s->tell, on_tell, s);
    rng_init(&s->rng, random_u64());
    loop_timer_init(&s->look, loop, on_look, s);
    loop_timer_start(&s->look, LOOK_MS);
    return s;
}

void location_sub_free(struct location_sub **sp)
{
    struct location_sub *s = *sp;
    if (s == NULL)
        return;
    *sp = NULL;
    drop(s);
    loop_timer_fini(&s->look);
    loop_task_cancel(s->loop, &s->tell);
    location_free(&s->table);
    cookie_wipe(&s->cookie);
    mem_free(s);
}

struct location_table *location_sub_table(const struct location_sub *s)
{
    return s->table;
}

uint64_t location_sub_key(const struct location_sub *s)
{
    return s->key;
}

void location_sub_figures(const struct location_sub *s, struct location_sub_figures *out)
{
    *out = s->figures;
    location_figures(s->table, &out->table);
    out->feeder = s->is_subscribed ? s->feeder : 0;
    out->is_fresh = s->is_fresh;
    out->newest = newest(s);
}

void location_sub_show(const struct location_sub *s, struct text *out)
{
    struct location_sub_figures f;
    location_sub_figures(s, &f);
    text_put(out,
             "table index=%llu newest=%llu entries=%llu tombstones=%llu bytes=%llu feeder=%llu "
             "fresh=%s snapshots=%llu changes=%llu old=%llu\n",
             (unsigned long long)f.table.index, (unsigned long long)f.newest,
             (unsigned long long)f.table.entries, (unsigned long long)f.table.tombstones,
             (unsigned long long)f.table.bytes, (unsigned long long)f.feeder,
             f.is_fresh ? "yes" : "no", (unsigned long long)f.snapshots,
             (unsigned long long)f.changes, (unsigned long long)f.table.old);
}

/* Of the link to the broker that feeds us now. */
static void link_metrics(const struct location_sub *s, struct text *out)
{
    if (s->link == NULL || link_peer(s->link) == NULL)
        return;
    struct link_figures *f = link_figures_new(random_u64());
    struct link_figure one = link_figure_of(LINK_FEED, s->link);
    link_figures_add(f, slice_str(link_peer(s->link)->id.name), &one);
    link_figures_text(f, out);
    link_figures_free(&f);
}

void location_sub_metrics(const struct location_sub *s, struct text *out)
{
    struct location_sub_figures f;
    location_sub_figures(s, &f);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        { "index", "gauge", "Metadata index up to which the table is complete.", f.table.index },
        { "newest_index", "gauge", "The highest metadata index heard of by gossip.", f.newest },
        { "entries", "gauge", "Queues whose place is known.", f.table.entries },
        { "tombstones", "gauge", "Queues that are known to be gone.", f.table.tombstones },
        { "bytes", "gauge", "Memory of the table.", f.table.bytes },
        { "snapshots_total", "counter", "Snapshots that were taken over.", f.snapshots },
        { "changes_total", "counter", "Changes that the feed told.", f.changes },
        { "old_total", "counter", "Words that came too late to count.", f.table.old },
        { "fresh", "gauge", "1 while a broker feeds the table.", f.is_fresh },
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        text_put(out,
                 "# HELP warren_location_%s %s\n# TYPE warren_location_%s %s\n"
                 "warren_location_%s %llu\n",
                 rows[i].name, rows[i].help, rows[i].name, rows[i].type, rows[i].name,
                 (unsigned long long)rows[i].value);
    link_metrics(s, out);
}
