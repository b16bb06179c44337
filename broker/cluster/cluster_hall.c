#include "cluster/cluster_ask.h"
#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "link/link_door.h"

/* Somebody who asks. Stays while a wish of its is on its way. */
struct cluster_visitor {
    LIST_ENTRY(cluster_visitor) entry;
    struct cluster *cluster;
    struct link *link; /* NULL: it has gone */
    bool is_joining;
    struct buf *join; /* the frame, while it is */
};

/* ---- answers ---- */

static void send(struct cluster_visitor *v, enum cluster_ask_type type, const struct wire_out *w)
{
    CHECK(!w->overflow);
    if (v->link != NULL)
        (void)link_send(v->link, LINK_BULKY, (uint8_t)type, wire_out_slice(w), NULL,
                        slice_of(NULL, 0));
}

static void refuse(struct cluster_visitor *v, bool is_final, const char *why)
{
    uint8_t room[META_TEXT_MAX + 16];
    struct wire_out w = wire_out_over(room, sizeof room);
    wire_put_u8(&w, is_final);
    wire_put_longstr(&w, slice_str(why));
    send(v, CLUSTER_ASK_REFUSED, &w);
}

static enum cluster_here state_of(const struct cluster *c)
{
    if (c->identity.node == 0 || c->parted != NULL)
        return CLUSTER_HERE_FRESH;
    return c->is_ready && c->leader != 0 && c->phase == CLUSTER_READY ? CLUSTER_HERE_SERVING
                                                                      : CLUSTER_HERE_WAITING;
}

static void say_here(struct cluster_visitor *v)
{
    const struct cluster *c = v->cluster;
    uint8_t room[512];
    struct wire_out w = wire_out_over(room, sizeof room);
    cluster_put_here(&w, &(struct cluster_here_frame){
                             .state = state_of(c),
                             .cluster = slice_of(c->identity.cluster_id, 16),
                             .name = slice_str(c->name),
                         });
    send(v, CLUSTER_ASK_HERE, &w);
}

static void say_joined(struct cluster_visitor *v, uint16_t node)
{
    const struct cluster *c = v->cluster;
    const struct meta_version *version = meta_current(c->meta);
    uint8_t *room = mem_alloc(CLUSTER_ASK_BYTES_MAX);
    struct wire_out w = wire_out_over(room, CLUSTER_ASK_BYTES_MAX);
    wire_put_bytes(&w, slice_of(c->identity.cluster_id, 16));
    wire_put_u16(&w, node);
    for (size_t i = 0; i < meta_node_count(version) && wire_out_len(&w) < CLUSTER_ASK_BYTES_MAX / 2;
         i++) {
        const struct meta_node *m = meta_node_at(version, i);
        wire_put_u16(&w, m->node);
        wire_put_shortstr(&w, m->name);
        wire_put_shortstr(&w, m->cluster_address);
    }
    send(v, CLUSTER_ASK_JOINED, &w);
    mem_free(room);
}

/* ---- joining ---- */

static void done_with(struct cluster_visitor *v)
{
    v->is_joining = false;
    buf_unref(&v->join);
    if (v->link != NULL)
        return;
    LIST_REMOVE(v, entry);
    mem_free(v);
}

static void on_added(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                     uint64_t id)
{
    struct cluster_visitor *v = arg;
    if (verdict == META_REFUSED) {
        refuse(v, false, why->text);
    } else {
        log_info("cluster", v->cluster->name, "a new member joins as node %u", (unsigned)id);
        say_joined(v, (uint16_t)id);
    }
    done_with(v);
}

static void add(struct cluster_visitor *v, const struct cluster_join_frame *f)
{
    struct meta_cmd cmd = { .op = META_NODE_ADD, .name = f->name };
    cmd.node.type = (enum meta_node_type)f->type;
    cmd.node.place = f->place;
    cmd.node.cluster_address = f->cluster_address;
    cmd.node.amqp_address = f->amqp_address;
    cmd.node.management_address = f->management_address;
    cluster_drive(v->cluster, &cmd, on_added, v);
}

static void on_elder_removed(void *arg, enum meta_verdict verdict, const struct meta_refusal *why,
                             uint64_t id)
{
    struct cluster_visitor *v = arg;
    struct cluster_join_frame f;
    (void)id;
    if (verdict == META_REFUSED) {
        refuse(v, false, why->text);
        done_with(v);
        return;
    }
    CHECK(cluster_take_join(buf_slice(v->join), &f));
    add(v, &f);
}

/* One of its name that is down was this machine before: it has lost what it knew, or was replaced.
 */
static void join(struct cluster_visitor *v, const struct cluster_join_frame *f)
{
    struct cluster *c = v->cluster;
    const struct meta_node *elder = meta_node_find(meta_current(c->meta), f->name);
    if (elder == NULL || elder->place == f->place) {
        add(v, f);
    } else if (meta_node_is_serving(elder)) {
        refuse(v, false, "a node of that name is a member, and is up");
        done_with(v);
    } else {
        struct meta_cmd cmd = { .op = META_NODE_REMOVE };
        cmd.node.node = elder->node;
        log_warn("cluster", c->name, "node %u is given up: another one of its name takes its place",
                 elder->node);
        cluster_drive(c, &cmd, on_elder_removed, v);
    }
}

static bool take_join(struct cluster_visitor *v, struct slice octets)
{
    struct cluster_join_frame f;
    if (octets.len > CLUSTER_ASK_BYTES_MAX || !cluster_take_join(octets, &f) ||
        f.type >= META_NODE_TYPE_COUNT)
        return false;
    if (v->is_joining)
        return true; /* it has only asked once more */
    if (state_of(v->cluster) != CLUSTER_HERE_SERVING) {
        refuse(v, false, "the cluster has no leader, or this node is not ready");
        return true;
    }
    v->is_joining = true;
    v->join = buf_copy(octets);
    CHECK(cluster_take_join(buf_slice(v->join), &f));
    join(v, &f);
    return true;
}

/* ---- their links ---- */

static void on_frame(struct link *link, const struct link_frame *f, void *arg)
{
    struct cluster_visitor *v = arg;
    bool ok = true;
    if (f->type == CLUSTER_ASK_WHO)
        say_here(v);
    else if (f->type == CLUSTER_ASK_JOIN)
        ok = take_join(v, f->payload);
    if (!ok)
        link_give_up(link);
}

static void on_lost(struct link *link, enum link_loss why, const struct err *err, void *arg)
{
    struct cluster_visitor *v = arg;
    (void)link;
    (void)why;
    (void)err;
    link_free(&v->link);
    if (v->is_joining)
        return;
    LIST_REMOVE(v, entry);
    mem_free(v);
}

static const struct link_handlers handlers = { .on_frame = on_frame, .on_lost = on_lost };

static void on_link(struct link *link, const struct link_peer *peer, void *arg)
{
    struct cluster *c = arg;
    struct cluster_visitor *v = mem_zalloc(sizeof *v);
    (void)peer;
    v->cluster = c;
    v->link = link;
    LIST_INSERT_HEAD(&c->visitors, v, entry);
    link_set_owner(link, &handlers, v);
}

static const struct link_hall_handlers hall_handlers = { .on_link = on_link };

void cluster_hall_init(struct cluster *c)
{
    LIST_INIT(&c->visitors);
    if (c->setup.link_node == NULL)
        return;
    c->ask_hall =
        link_hall_new(c->loop, c->setup.link_node, &(struct link_hall_options){ .class = LINK_ASK },
                      &hall_handlers, c);
    link_door_serve(c->setup.link_door, LINK_ASK, &c->ask_hall, 1);
}

void cluster_hall_stop(struct cluster *c)
{
    struct cluster_visitor *v, *next;
    if (c->ask_hall != NULL)
        link_door_serve(c->setup.link_door, LINK_ASK, NULL, 0);
    for (v = LIST_FIRST(&c->visitors); v != NULL; v = next) {
        next = LIST_NEXT(v, entry);
        if (v->link != NULL)
            link_free(&v->link);
        if (v->is_joining)
            continue; /* goes with its wish */
        LIST_REMOVE(v, entry);
        mem_free(v);
    }
}

void cluster_hall_free(struct cluster *c)
{
    if (c->ask_hall != NULL)
        link_hall_free(&c->ask_hall);
}
