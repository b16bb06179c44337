#include "cluster/cluster_inner.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/clock.h"
#include "link/link_door.h"
#include "raft/raft_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Frames of the class CONTROL; see cluster_inner.h for what they carry. */
enum frame_type {
    FRAME_RAFT = LINK_TYPE_LEAST, /* a message of the core, or its last piece */
    FRAME_RAFT_PART,              /* a piece of one; more follow */
    FRAME_OPS,                    /* envelopes, for the leader to propose */
    FRAME_KEEPALIVE, /* u64 applied, u8 flags, u32 disk_ms, u32 loop_ms of its strain */
    FRAME_GRANT_ASK, /* see grant.h */
    FRAME_GRANT_ANSWER,
};

#define KEEPALIVE_LEAVING 1u

static const struct link_handlers handlers;

/* ---- nodes ---- */

struct cluster_node *cluster_node_find(const struct cluster *c, uint16_t id)
{
    struct cluster_node *n;
    TAILQ_FOREACH (n, &c->links.nodes, entry)
        if (n->id == id)
            return n;
    return NULL;
}

static struct cluster_node *node_of(struct cluster *c, uint16_t id)
{
    struct cluster_node *n = cluster_node_find(c, id);
    if (n != NULL)
        return n;
    n = mem_zalloc(sizeof *n);
    n->cluster = c;
    n->id = id;
    n->out.node = n->in.node = n;
    TAILQ_INSERT_TAIL(&c->links.nodes, n, entry);
    return n;
}

static void drop_link(struct cluster_link *l)
{
    if (l->link != NULL) {
        link_figure_keep(&l->node->past, l->link);
        link_free(&l->link);
    }
    mem_free(l->part.bytes);
    l->part = (struct cluster_part){ 0 };
}

static void forget(struct cluster *c, struct cluster_node *n)
{
    TAILQ_REMOVE(&c->links.nodes, n, entry);
    cluster_grants_forgotten(c, n->id);
    drop_link(&n->out);
    drop_link(&n->in);
    buf_unref(&n->arrival);
    loop_bury(c->loop, n, mem_free);
}

static void put_name(char room[CLUSTER_NAME_BYTES], struct slice name)
{
    struct text t = text_over(room, CLUSTER_NAME_BYTES);
    text_slice(&t, name);
}

/* HOST:PORT, [V6]:PORT. False: it is none. */
bool cluster_split_address(const char *address, char host[CLUSTER_NAME_BYTES], uint16_t *port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address)
        return false;
    struct slice s = slice_of(address, (size_t)(colon - address));
    if (s.len >= 2 && address[0] == '[' && colon[-1] == ']')
        s = slice_of(address + 1, s.len - 2);
    put_name(host, s);
    unsigned long n = strtoul(colon + 1, NULL, 10);
    *port = n <= UINT16_MAX ? (uint16_t)n : 0;
    return *port != 0;
}

static void dial(struct cluster *c, struct cluster_node *n)
{
    char host[CLUSTER_NAME_BYTES];
    uint16_t port;
    if (!c->links.is_open || c->setup.link_node == NULL ||
        !cluster_split_address(n->address, host, &port))
        return;
    if (n->out.link != NULL) {
        link_set_place(n->out.link, host, port);
        return;
    }
    n->out.link = link_dial(
        c->loop, c->setup.link_node,
        &(struct link_options){
            .class = LINK_CONTROL, .host = host, .port = port, .name = n->name, .node = n->id },
        &handlers, &n->out);
}

void cluster_links_know(struct cluster *c, uint16_t id, struct slice name, struct slice address)
{
    if (id == 0 || id == c->identity.node)
        return;
    struct cluster_node *n = node_of(c, id);
    if (name.len != 0)
        put_name(n->name, name);
    bool is_new = address.len != 0 && (strlen(n->address) != address.len ||
                                       memcmp(n->address, address.ptr, address.len) != 0);
    if (is_new)
        put_name(n->address, address);
    if (is_new || n->out.link == NULL)
        dial(c, n);
}

/* As the node table has them. While this node is behind, it may know others from elsewhere. */
void cluster_links_sync(struct cluster *c)
{
    const struct meta_version *v = meta_current(c->meta);
    struct cluster_node *n, *next;
    for (size_t i = 0; i < meta_node_count(v); i++) {
        const struct meta_node *m = meta_node_at(v, i);
        cluster_links_know(c, m->node, m->name, m->cluster_address);
    }
    for (n = TAILQ_FIRST(&c->links.nodes); n != NULL; n = next) {
        next = TAILQ_NEXT(n, entry);
        bool is_in = meta_node_get(v, n->id) != NULL;
        if (n->is_known && !is_in)
            forget(c, n);
        else
            n->is_known = is_in;
    }
}

/* ---- sending ---- */

static struct link *link_to(const struct cluster_node *n)
{
    if (n->out.link != NULL && link_is_connected(n->out.link))
        return n->out.link;
    return n->in.link != NULL && link_is_connected(n->in.link) ? n->in.link : NULL;
}

static enum link_priority priority_of(const struct raft_msg *m)
{
    switch (m->kind) {
    case RAFT_MSG_APPEND: /* in their order, whatever their size */
    case RAFT_MSG_INSTALL:
        return LINK_BULKY;
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_PREVOTE_REPLY:
    case RAFT_MSG_VOTE:
    case RAFT_MSG_VOTE_REPLY:
    case RAFT_MSG_APPEND_REPLY:
    case RAFT_MSG_INSTALL_REPLY:
    case RAFT_MSG_TIMEOUT_NOW:
    case RAFT_MSG_NONE:
    case RAFT_MSG_KIND_COUNT:
        return LINK_URGENT;
    }
    UNREACHABLE("message of raft");
}

static bool send_pieces(struct link *l, enum link_priority priority, struct buf *b)
{
    struct slice rest = buf_slice(b);
    while (rest.len > LINK_FRAME_MAX) {
        if (!link_send(l, priority, FRAME_RAFT_PART, slice_of(NULL, 0), b,
                       slice_head(rest, LINK_FRAME_MAX)))
            return false;
        rest = slice_from(rest, LINK_FRAME_MAX);
    }
    return link_send(l, priority, FRAME_RAFT, slice_of(NULL, 0), b, rest);
}

/* What cannot be sent now is lost: the core says it again. */
void cluster_links_send(struct cluster *c, const struct raft_msg *m)
{
    struct cluster_node *n = cluster_node_find(c, m->to);
    struct link *l = n != NULL ? link_to(n) : NULL;
    if (l == NULL || (priority_of(m) == LINK_BULKY && link_is_full(l)))
        return;
    size_t bytes = raft_wire_size(m);
    struct buf *b = buf_new(bytes);
    struct wire_out w = wire_out_over(b->data, bytes);
    raft_wire_put(&w, m);
    CHECK(!w.overflow);
    b->len_bytes = (uint32_t)wire_out_len(&w);
    if (!send_pieces(l, priority_of(m), b))
        log_debug("cluster", c->name, "%s to %s was not sent", raft_msg_name(m->kind), n->name);
    buf_unref(&b);
}

bool cluster_links_send_ops(struct cluster *c, uint16_t to, struct buf *ops)
{
    struct cluster_node *n = cluster_node_find(c, to);
    struct link *l = n != NULL ? link_to(n) : NULL;
    return l != NULL && link_send(l, LINK_BULKY, FRAME_OPS, slice_of(NULL, 0), ops, buf_slice(ops));
}

static void send_small(struct cluster *c, uint16_t to, enum frame_type type,
                       const struct wire_out *w)
{
    struct cluster_node *n = cluster_node_find(c, to);
    struct link *l = n != NULL ? link_to(n) : NULL;
    CHECK(!w->overflow);
    if (l != NULL)
        (void)link_send(l, LINK_URGENT, (uint8_t)type, wire_out_slice(w), NULL, slice_of(NULL, 0));
}

void cluster_links_send_keepalive(struct cluster *c, uint16_t to)
{
    uint8_t bytes[17];
    struct wire_out w = wire_out_over(bytes, sizeof bytes);
    wire_put_u64(&w, c->apply.applied);
    wire_put_u8(&w, c->phase == CLUSTER_LEAVING ? KEEPALIVE_LEAVING : 0);
    wire_put_u32(&w, c->strain.disk_ms);
    wire_put_u32(&w, c->strain.loop_ms);
    send_small(c, to, FRAME_KEEPALIVE, &w);
}

void cluster_links_send_grant_ask(struct cluster *c, uint16_t to, const struct grant_ask *ask)
{
    uint8_t bytes[GRANT_ASK_BYTES];
    struct wire_out w = wire_out_over(bytes, sizeof bytes);
    grant_put_ask(&w, ask);
    send_small(c, to, FRAME_GRANT_ASK, &w);
}

void cluster_links_send_grant_answer(struct cluster *c, uint16_t to,
                                     const struct grant_answer *answer)
{
    uint8_t bytes[GRANT_ANSWER_BYTES];
    struct wire_out w = wire_out_over(bytes, sizeof bytes);
    grant_put_answer(&w, answer);
    send_small(c, to, FRAME_GRANT_ANSWER, &w);
}

uint64_t cluster_links_session(const struct cluster *c, uint16_t to)
{
    const struct cluster_node *n = cluster_node_find(c, to);
    return n != NULL ? n->session : 0;
}

bool cluster_links_is_full(const struct cluster *c, uint16_t to)
{
    const struct cluster_node *n = cluster_node_find(c, to);
    struct link *l = n != NULL ? link_to(n) : NULL;
    return l != NULL && link_is_full(l);
}

bool cluster_links_is_linked(const struct cluster *c, uint16_t to)
{
    const struct cluster_node *n = cluster_node_find(c, to);
    return to == c->identity.node || (n != NULL && link_to(n) != NULL);
}

static void add_figure(struct link_figure *to, const struct link *l)
{
    if (l == NULL)
        return;
    struct link_figure f = link_figure_of(LINK_CONTROL, l);
    link_figure_keep(&to->stats, l);
    to->is_connected = to->is_connected || f.is_connected;
    to->is_full = to->is_full || f.is_full;
    to->stats.waiting_bytes += f.stats.waiting_bytes;
    to->stats.unacked_bytes += f.stats.unacked_bytes;
    if (f.stats.rtt_us > to->stats.rtt_us)
        to->stats.rtt_us = f.stats.rtt_us;
}

struct link_figure cluster_links_figure(const struct cluster *c, uint16_t to)
{
    const struct cluster_node *n = cluster_node_find(c, to);
    struct link_figure f = { .class = LINK_CONTROL };
    if (n == NULL)
        return f;
    f.stats = n->past;
    add_figure(&f, n->out.link);
    add_figure(&f, n->in.link);
    return f;
}

/* ---- receiving ---- */

static uint64_t entry_bytes(const struct raft_msg *m)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; m->kind == RAFT_MSG_APPEND && i < m->append.count; i++)
        bytes += raft_entry_slice(&m->append.entries[i]).len + 64;
    return bytes;
}

static bool take_message(struct cluster *c, struct cluster_node *n, struct slice octets)
{
    struct raft_msg m;
    if (!raft_wire_take(octets, &m))
        return false;
    bool is_ours = m.from == n->id && m.to == c->identity.node;
    uint64_t bytes = entry_bytes(&m);
    /* What cannot be stored is not heard: it is said again, and this node is merely slow. */
    if (is_ours && (bytes == 0 || cluster_raft_has_room(c, bytes, true))) {
        struct raft_event ev = { .kind = RAFT_EV_MESSAGE, .msg = &m };
        cluster_raft_step(c, &ev);
    }
    raft_msg_fini(&m);
    return true;
}

static bool keep_part(struct cluster_part *p, struct slice more)
{
    if (p->len + more.len > RAFT_MSG_BYTES_MAX)
        return false;
    if (p->len + more.len > p->cap) {
        p->cap = (p->len + more.len) * 2;
        p->bytes = mem_realloc(p->bytes, p->cap);
    }
    if (more.len != 0)
        memcpy(p->bytes + p->len, more.ptr, more.len);
    p->len += more.len;
    return true;
}

static bool take_last_part(struct cluster *c, struct cluster_link *l, struct slice last)
{
    if (l->part.len == 0)
        return take_message(c, l->node, last);
    bool ok =
        keep_part(&l->part, last) && take_message(c, l->node, slice_of(l->part.bytes, l->part.len));
    mem_free(l->part.bytes);
    l->part = (struct cluster_part){ 0 };
    return ok;
}

/* Each node asks for its own, or for what the leader does in nobody's name. */
static bool are_its_own(const struct cluster_node *n, struct slice ops)
{
    struct wire w = wire_over(ops);
    struct meta_envelope e;
    while (wire_left(&w) != 0) {
        if (!meta_envelope_take(&w, &e))
            return false;
        if (e.node != n->id && !cluster_drive_is_allowed(&e))
            return false;
    }
    return ops.len != 0;
}

static bool take_ops(struct cluster *c, struct cluster_node *n, struct slice ops)
{
    if (!are_its_own(n, ops))
        return false;
    if (c->leader != c->identity.node || !cluster_raft_has_room(c, ops.len, false))
        return true; /* they come again, to whoever leads then */
    if (!cluster_arrive_may(c, ops)) {
        cluster_arrive_hold(n, ops);
        return true;
    }
    struct buf *b = buf_copy(ops);
    if (!cluster_raft_propose(c, &b, 1, n->id))
        log_debug("cluster", c->name, "changes of %s were not taken, they come again", n->name);
    buf_unref(&b);
    return true;
}

static bool take_keepalive(struct cluster *c, struct cluster_node *n, struct slice octets)
{
    struct wire w = wire_over(octets);
    uint64_t applied = wire_u64(&w);
    uint8_t flags = wire_u8(&w);
    struct cluster_strain strain = { 0 };
    if (!w.ran_out && wire_left(&w) != 0) { /* one of an older make says none */
        strain.disk_ms = wire_u32(&w);
        strain.loop_ms = wire_u32(&w);
    }
    if (w.ran_out)
        return false;
    n->applied = applied;
    n->strain = strain;
    n->is_leaving = (flags & KEEPALIVE_LEAVING) != 0;
    bool is_first = n->keepalive_ms <= c->leading_ms; /* and somebody may wait for it */
    n->keepalive_ms = clock_mono_ms();
    if (n->is_leaving || is_first)
        cluster_members_look(c);
    return true;
}

static bool take_grant_ask(struct cluster *c, const struct cluster_node *n, struct slice octets)
{
    struct grant_event ev = { .kind = GRANT_EV_ASK, .node = n->id };
    if (!grant_take_ask(octets, &ev.ask))
        return false;
    cluster_grants_step(c, &ev);
    return true;
}

static bool take_grant_answer(struct cluster *c, const struct cluster_node *n, struct slice octets)
{
    struct grant_event ev = { .kind = GRANT_EV_ANSWER, .node = n->id };
    if (!grant_take_answer(octets, &ev.answer))
        return false;
    cluster_grants_step(c, &ev);
    return true;
}

static void on_frame(struct link *link, const struct link_frame *f, void *arg)
{
    struct cluster_link *l = arg;
    struct cluster_node *n = l->node;
    struct cluster *c = n->cluster;
    bool ok = true;
    n->heard_ms = loop_now_ms(c->loop);
    n->is_gone = false;
    switch ((enum frame_type)f->type) {
    case FRAME_RAFT:
        ok = take_last_part(c, l, f->payload);
        break;
    case FRAME_RAFT_PART:
        ok = keep_part(&l->part, f->payload);
        break;
    case FRAME_OPS:
        ok = take_ops(c, n, f->payload);
        break;
    case FRAME_KEEPALIVE:
        ok = take_keepalive(c, n, f->payload);
        break;
    case FRAME_GRANT_ASK:
        ok = take_grant_ask(c, n, f->payload);
        break;
    case FRAME_GRANT_ANSWER:
        ok = take_grant_answer(c, n, f->payload);
        break;
    default: /* of a later version: not for us */
        break;
    }
    if (!ok) {
        log_warn("cluster", c->name, "%s said what is not understood, the link to it is closed",
                 n->name);
        link_give_up(link);
    }
}

/* ---- sessions ---- */

static void opened(struct cluster *c, struct cluster_node *n)
{
    n->session++;
    n->is_gone = false;
    n->heard_ms = loop_now_ms(c->loop);
    struct raft_event ev = { .kind = RAFT_EV_PEER_OPEN, .node = n->id };
    cluster_raft_step(c, &ev);
    cluster_grants_step(c, &(struct grant_event){ .kind = GRANT_EV_OPEN, .node = n->id });
    cluster_propose_go_on(c);
    cluster_status_changed(c);
}

static void on_up(struct link *link, void *arg)
{
    struct cluster_link *l = arg;
    l->node->inc = link_peer(link)->id.inc;
    log_info("cluster", l->node->cluster->name, "linked to %s (%s)", l->node->name,
             link_peer(link)->address);
    opened(l->node->cluster, l->node);
}

static void on_lost(struct link *link, enum link_loss why, const struct err *err, void *arg)
{
    struct cluster_link *l = arg;
    struct cluster_node *n = l->node;
    struct cluster *c = n->cluster;
    mem_free(l->part.bytes);
    l->part = (struct cluster_part){ 0 };
    n->session++;
    cluster_grants_step(c, &(struct grant_event){ .kind = GRANT_EV_BROKEN, .node = n->id });
    if (l == &n->in) {
        link_figure_keep(&n->past, l->link);
        link_free(&l->link);
        if (n->out.link != NULL)
            link_kick(n->out.link); /* is it there? */
    } else {
        log_info("cluster", c->name, "the link to %s is lost: %s", n->name,
                 err != NULL ? err->text : link_loss_text(why));
        link_kick(link);
    }
    cluster_status_changed(c);
}

static void on_trouble(struct link *link, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg)
{
    struct cluster_link *l = arg;
    struct cluster_node *n = l->node;
    struct cluster *c = n->cluster;
    unsigned left_out;
    (void)link;
    if (what == LINK_TROUBLE_NOBODY && !n->is_gone && n->in.link == NULL) {
        n->is_gone = true;
        cluster_status_changed(c);
        struct raft_event ev = { .kind = RAFT_EV_PEER_GONE, .node = n->id };
        cluster_raft_step(c, &ev);
        cluster_members_look(c);
    }
    if (what == LINK_TROUBLE_NOBODY && n->in.link == NULL)
        cluster_grants_refused(c, n);
    if (what == LINK_TROUBLE_REFUSED && refusal == LINK_REFUSED_NOT_MEMBER)
        cluster_members_disowned(c, n);
    if (what != LINK_TROUBLE_REFUSED && log_rate_ok(&n->troubles, 1, 60000, &left_out))
        log_info("cluster", c->name, "%s is not reached: %s", n->name, err->text);
}

static const struct link_handlers handlers = {
    .on_up = on_up, .on_frame = on_frame, .on_lost = on_lost, .on_trouble = on_trouble
};

/* ---- links that others dial ---- */

/* A node that is behind does not know the newest yet. */
static enum link_refusal judge_peer(const struct link_peer *peer, void *arg)
{
    const struct cluster *c = arg;
    const struct meta_version *v = meta_current(c->meta);
    if (c->identity.node == 0 || peer->id.node == 0)
        return LINK_REFUSED_NOT_MEMBER;
    if (!c->is_ready || peer->id.node > v->last_node)
        return LINK_REFUSED_NONE;
    return meta_node_get(v, peer->id.node) != NULL ? LINK_REFUSED_NONE : LINK_REFUSED_NOT_MEMBER;
}

static void on_link(struct link *link, const struct link_peer *peer, void *arg)
{
    struct cluster *c = arg;
    struct cluster_node *n = node_of(c, peer->id.node);
    if (n->name[0] == '\0')
        put_name(n->name, slice_str(peer->id.name));
    drop_link(&n->in); /* an elder one that was not missed yet */
    n->in.link = link;
    n->inc = peer->id.inc;
    link_set_owner(link, &handlers, &n->in);
    if (n->out.link != NULL && !link_is_connected(n->out.link))
        link_kick(n->out.link);
    opened(c, n);
}

static const struct link_hall_handlers hall_handlers = { .judge = judge_peer, .on_link = on_link };

/* ---- life ---- */

void cluster_links_init(struct cluster *c)
{
    TAILQ_INIT(&c->links.nodes);
    if (c->setup.link_node == NULL)
        return;
    c->links.hall =
        link_hall_new(c->loop, c->setup.link_node,
                      &(struct link_hall_options){ .class = LINK_CONTROL }, &hall_handlers, c);
    link_door_serve(c->setup.link_door, LINK_CONTROL, &c->links.hall, 1);
}

void cluster_links_open(struct cluster *c)
{
    struct cluster_node *n;
    c->links.is_open = true;
    TAILQ_FOREACH (n, &c->links.nodes, entry)
        dial(c, n);
}

void cluster_links_drop_all(struct cluster *c)
{
    while (!TAILQ_EMPTY(&c->links.nodes))
        forget(c, TAILQ_FIRST(&c->links.nodes));
}

void cluster_links_fini(struct cluster *c)
{
    c->links.is_open = false;
    cluster_links_drop_all(c);
    if (c->links.hall != NULL)
        link_door_serve(c->setup.link_door, LINK_CONTROL, NULL, 0);
}

void cluster_links_free(struct cluster *c)
{
    if (c->links.hall != NULL)
        link_hall_free(&c->links.hall);
}
