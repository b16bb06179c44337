#include "cluster/cluster_ask.h"
#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"

#include <stdio.h>
#include <string.h>

#define ASK_EVERY_MS        200u
#define NOBODY_GIVE_UP_MS   5000u  /* whoever ordered it is told that nobody was there */
#define HEADLESS_GIVE_UP_MS 3000u  /* ... or that their cluster has no majority */
#define ORDER_GIVE_UP_MS    15000u /* ... or that they could not take it in */

/* ---- who is asked ---- */

static void send(struct cluster_seek_target *t, enum cluster_ask_type type,
                 const struct wire_out *w)
{
    CHECK(!w->overflow);
    if (t->link != NULL && link_is_up(t->link))
        (void)link_send(t->link, LINK_BULKY, (uint8_t)type, wire_out_slice(w), NULL,
                        slice_of(NULL, 0));
}

static void say_who(struct cluster_seek_target *t)
{
    uint8_t room[CLUSTER_NAME_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_shortstr(&w, slice_str(t->cluster->name));
    send(t, CLUSTER_ASK_WHO, &w);
}

static void say_join(struct cluster_seek_target *t)
{
    const struct cluster *c = t->cluster;
    struct meta_cmd cmd;
    uint8_t room[CLUSTER_NAME_BYTES * 5];
    struct wire_out w = wire_out_over(room, sizeof room);
    cluster_members_fill_add(c, &cmd);
    cluster_put_join(&w, &(struct cluster_join_frame){
                             .name = cmd.name,
                             .place = cmd.node.place,
                             .type = (uint8_t)cmd.node.type,
                             .cluster_address = cmd.node.cluster_address,
                             .amqp_address = cmd.node.amqp_address,
                             .management_address = cmd.node.management_address,
                         });
    send(t, CLUSTER_ASK_JOIN, &w);
}

/* ---- the end of it ---- */

static void hang_up(struct cluster *c)
{
    struct cluster_seek *s = &c->seek;
    loop_timer_stop(&s->timer);
    for (unsigned i = 0; i < s->count; i++)
        if (s->targets[i].link != NULL)
            link_free(&s->targets[i].link);
    s->is_on = s->is_look = false;
}

static void fail(struct cluster *c, const struct err *err)
{
    cluster_sought_fn done = c->seek.done;
    hang_up(c);
    c->seek.done = NULL;
    if (done != NULL)
        done(c, NULL, 0, err);
    else
        cluster_raft_fail(c, err);
}

static void on_found_alone(struct cluster *c)
{
    struct err err;
    hang_up(c);
    if (!cluster_found(c, &err))
        cluster_raft_fail(c, &err);
}

static void joined(struct cluster *c, struct slice octets)
{
    struct wire w = wire_over(octets);
    struct slice id = wire_take(&w, 16);
    uint16_t node = wire_u16(&w);
    if (w.ran_out || node == 0 || c->seek.done == NULL)
        return;
    uint8_t cluster[16];
    memcpy(cluster, id.ptr, sizeof cluster);
    struct buf *known = buf_copy(wire_rest(&w));
    cluster_sought_fn done = c->seek.done;
    c->seek.done = NULL;
    hang_up(c);
    buf_unref(&c->seek.known);
    c->seek.known = known;
    done(c, cluster, node, NULL);
}

/* The members that the answer told of, so that they are found before the state tells. */
void cluster_seek_know(struct cluster *c)
{
    if (c->seek.known == NULL)
        return;
    struct wire w = wire_over(buf_slice(c->seek.known));
    while (wire_left(&w) != 0) {
        uint16_t id = wire_u16(&w);
        struct slice name = wire_shortstr(&w);
        struct slice address = wire_shortstr(&w);
        if (!w.ran_out)
            cluster_links_know(c, id, name, address);
    }
    buf_unref(&c->seek.known);
}

/* ---- judging ---- */

static bool all_others_are_fresh(const struct cluster_seek *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (!s->targets[i].is_self &&
            !(s->targets[i].has_answered && s->targets[i].state == CLUSTER_HERE_FRESH))
            return false;
    return true;
}

/* A cluster that is there is joined. Where there is none, the first of the list begins one, when it
 * knows that the others have none, or has waited for them long enough. */
static void judge(struct cluster *c)
{
    struct cluster_seek *s = &c->seek;
    for (unsigned i = 0; i < s->count; i++) {
        struct cluster_seek_target *t = &s->targets[i];
        if (t->has_answered && t->state == CLUSTER_HERE_SERVING && link_is_up(t->link)) {
            say_join(t);
            return;
        }
    }
    bool is_first = s->is_start && s->count != 0 && s->targets[0].is_self;
    bool is_due = clock_mono_ms() - s->since_ms >= c->conf->cluster.start_grace_ms;
    if (is_first && (all_others_are_fresh(s) || (is_due && !s->has_seen_cluster)))
        on_found_alone(c);
}

static bool has_heard(const struct cluster_seek *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->targets[i].has_answered)
            return true;
    return false;
}

/* Of those that answered nobody can take it in, now or by themselves. */
static bool are_headless(const struct cluster_seek *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->targets[i].has_answered && s->targets[i].state != CLUSTER_HERE_WAITING)
            return false;
    return true;
}

static uint64_t patience_ms(const struct cluster_seek *s)
{
    if (!has_heard(s))
        return NOBODY_GIVE_UP_MS;
    return are_headless(s) ? HEADLESS_GIVE_UP_MS : ORDER_GIVE_UP_MS;
}

static void on_timer(void *arg)
{
    struct cluster *c = arg;
    struct cluster_seek *s = &c->seek;
    struct err err;
    loop_timer_start(&s->timer, ASK_EVERY_MS);
    for (unsigned i = 0; i < s->count; i++)
        say_who(&s->targets[i]);
    if (s->is_look)
        return;
    if (s->is_start) {
        judge(c);
        return;
    }
    if (clock_mono_ms() - s->since_ms < patience_ms(s))
        return;
    char room[CLUSTER_TEXT_BYTES];
    struct text t = text_over(room, sizeof room);
    cluster_seek_put_waited(c, &t);
    err_set(&err, ERR_IO, "no cluster was joined: %s", s->why[0] != '\0' ? s->why : room);
    fail(c, &err);
}

/* ---- where members are now ---- */

/* One of the seeds, which answers for it. */
static bool is_called_at_a_seed(const struct cluster_node *n)
{
    const struct cluster_seek *s = &n->cluster->seek;
    for (unsigned i = 0; i < s->count; i++)
        if (s->targets[i].has_answered && s->targets[i].is_fellow &&
            strcmp(s->targets[i].name, n->name) == 0 &&
            strcmp(s->targets[i].address, n->address) == 0)
            return true;
    return false;
}

/* Its link will prove that it is that one. */
static void note_place(const struct cluster_seek_target *t)
{
    struct cluster *c = t->cluster;
    struct cluster_node *n;
    TAILQ_FOREACH (n, &c->links.nodes, entry) {
        if (!t->is_fellow || strcmp(n->name, t->name) != 0 || cluster_links_is_linked(c, n->id) ||
            is_called_at_a_seed(n))
            continue;
        log_info("cluster", c->name, "%s was at %s and is looked for at %s, one of the seeds",
                 n->name, n->address, t->address);
        cluster_links_know(c, n->id, slice_str(t->name), slice_str(t->address));
        return;
    }
}

void cluster_seek_members_end(struct cluster *c)
{
    if (c->seek.is_look)
        hang_up(c);
}

/* ---- their answers ---- */

static bool take_here(struct cluster_seek_target *t, struct slice octets)
{
    struct cluster_here_frame f;
    if (!cluster_take_here(octets, &f))
        return false;
    t->has_answered = true;
    t->state = f.state;
    t->is_fellow = f.state != CLUSTER_HERE_FRESH &&
                   memcmp(f.cluster.ptr, t->cluster->identity.cluster_id, f.cluster.len) == 0;
    struct text name = text_over(t->name, sizeof t->name);
    text_escaped(&name, f.name);
    if (f.state != CLUSTER_HERE_FRESH)
        t->cluster->seek.has_seen_cluster = true;
    return true;
}

static bool take_refused(struct cluster *c, struct slice octets)
{
    struct wire w = wire_over(octets);
    struct err err;
    bool is_final = wire_u8(&w) != 0;
    struct slice why = wire_longstr(&w);
    if (w.ran_out)
        return false;
    struct text t = text_over(c->seek.why, sizeof c->seek.why);
    text_escaped(&t, why);
    unsigned left_out;
    if (log_rate_ok(&c->seek.refusals, 1, 5000, &left_out))
        log_warn("cluster", c->name, "not taken into the cluster yet: %s", c->seek.why);
    if (is_final && !c->seek.is_start) {
        err_set(&err, ERR_REFUSED, "%s", c->seek.why);
        fail(c, &err);
    }
    return true;
}

static void on_frame(struct link *link, const struct link_frame *f, void *arg)
{
    struct cluster_seek_target *t = arg;
    struct cluster *c = t->cluster;
    if (f->type == CLUSTER_ASK_HERE) {
        if (!take_here(t, f->payload))
            link_give_up(link);
        else if (c->seek.is_look)
            note_place(t);
        else
            judge(c);
    } else if (f->type == CLUSTER_ASK_JOINED) {
        joined(c, f->payload);
    } else if (f->type == CLUSTER_ASK_REFUSED && !take_refused(c, f->payload)) {
        link_give_up(link);
    }
}

static void on_up(struct link *link, void *arg)
{
    struct cluster_seek_target *t = arg;
    (void)link;
    t->trouble[0] = '\0';
    say_who(t);
}

static void on_lost(struct link *link, enum link_loss why, const struct err *err, void *arg)
{
    struct cluster_seek_target *t = arg;
    (void)link;
    (void)why;
    (void)err;
    t->has_answered = false;
}

static void on_trouble(struct link *link, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg)
{
    struct cluster_seek_target *t = arg;
    (void)link;
    if (what == LINK_TROUBLE_REFUSED && refusal == LINK_REFUSED_SELF)
        t->is_self = true;
    struct text text = text_over(t->trouble, sizeof t->trouble);
    text_str(&text, err->text);
}

static const struct link_handlers handlers = {
    .on_up = on_up, .on_frame = on_frame, .on_lost = on_lost, .on_trouble = on_trouble
};

/* ---- beginning ---- */

void cluster_seek_put_waited(const struct cluster *c, struct text *t)
{
    const struct cluster_seek *s = &c->seek;
    unsigned count = 0;
    for (unsigned i = 0; i < s->count; i++) {
        const struct cluster_seek_target *at = &s->targets[i];
        if (at->is_self)
            continue;
        text_str(t, count++ != 0 ? ", " : "");
        text_str(t, at->address);
        if (at->has_answered)
            text_put(t, " (%s, %s)", at->name,
                     at->state == CLUSTER_HERE_FRESH ? "in no cluster yet"
                     : at->state == CLUSTER_HERE_WAITING
                         ? "not ready, it waits for a majority of its cluster"
                         : "ready");
        else if (at->trouble[0] != '\0')
            text_put(t, " (%s)", at->trouble);
    }
    if (count == 0)
        text_str(t, "its own start");
}

static void add_target(struct cluster *c, const char *host, uint16_t port)
{
    struct cluster_seek *s = &c->seek;
    if (s->count == CLUSTER_SEEK_MAX || port == 0)
        return;
    struct cluster_seek_target *t = &s->targets[s->count++];
    *t = (struct cluster_seek_target){ .cluster = c };
    struct text text = text_over(t->address, sizeof t->address);
    text_put(&text, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
    t->is_self = strcmp(t->address, c->address) == 0;
    if (t->is_self && s->is_start)
        return;
    t->link = link_dial(c->loop, c->setup.link_node,
                        &(struct link_options){ .class = LINK_ASK, .host = host, .port = port },
                        &handlers, t);
}

static void begin(struct cluster *c, bool is_start, cluster_sought_fn done)
{
    struct cluster_seek *s = &c->seek;
    cluster_seek_members_end(c);
    CHECK(!s->is_on);
    s->is_on = true;
    s->is_start = is_start;
    s->done = done;
    s->count = 0;
    s->has_seen_cluster = false;
    s->why[0] = '\0';
    s->since_ms = clock_mono_ms();
    loop_timer_start(&s->timer, ASK_EVERY_MS);
}

/* Whoever is its own only seed has none. */
bool cluster_seek_is_wanted(const struct cluster *c)
{
    const struct conf_addresses *seeds = &c->conf->cluster.seeds;
    return seeds->count > 1 || (seeds->count == 1 && strcmp(seeds->items[0].text, c->address) != 0);
}

/* A cluster of its own is not given up for seeds that came later: what it has would be lost. Who is
 * the first of them is joined by the others. */
void cluster_seek_look_at_seeds(const struct cluster *c)
{
    if (!cluster_seek_is_wanted(c) || meta_node_count(meta_current(c->meta)) != 1 ||
        strcmp(c->conf->cluster.seeds.items[0].text, c->address) == 0)
        return;
    log_warn("cluster", c->name,
             "%s, and does not join its seeds by itself: 'warrenctl stop_app', 'reset', "
             "'join_cluster NODE' and 'start_app' make it a member of theirs",
             cluster_has_things_of_its_own(c) ? "has queues, vhosts or users of its own"
                                              : "is a cluster of its own");
}

static void on_sought_at_start(struct cluster *c, const uint8_t *id, uint16_t node,
                               const struct err *why)
{
    struct err err;
    if (why != NULL) {
        cluster_raft_fail(c, why);
    } else if (!cluster_enter(c, id, node, &err)) {
        cluster_raft_fail(c, &err);
    } else {
        log_info("cluster", c->name, "joined a cluster as node %u", node);
        cluster_seek_know(c);
    }
}

static void add_seeds(struct cluster *c)
{
    const struct conf_addresses *seeds = &c->conf->cluster.seeds;
    for (size_t i = 0; i < seeds->count; i++)
        add_target(c, seeds->items[i].host, seeds->items[i].port);
}

void cluster_seek_start(struct cluster *c)
{
    begin(c, true, on_sought_at_start);
    add_seeds(c);
}

void cluster_seek_members(struct cluster *c)
{
    if (c->seek.is_on || !cluster_seek_is_wanted(c))
        return;
    begin(c, true, NULL);
    c->seek.is_look = true;
    add_seeds(c);
}

void cluster_seek(struct cluster *c, const struct cluster_place *places, size_t count,
                  cluster_sought_fn done)
{
    begin(c, false, done);
    for (size_t i = 0; i < count; i++)
        add_target(c, places[i].host, places[i].port);
}

void cluster_seek_init(struct cluster *c)
{
    loop_timer_init(&c->seek.timer, c->loop, on_timer, c);
}

void cluster_seek_stop(struct cluster *c)
{
    hang_up(c);
    c->seek.done = NULL;
}

void cluster_seek_fini(struct cluster *c)
{
    buf_unref(&c->seek.known);
    loop_timer_fini(&c->seek.timer);
}
