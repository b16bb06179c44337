#include "link_kit.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/wire.h"
#include "io/stream.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/queue.h>

/* ---- ends ---- */

static void on_up(struct link *l, void *arg)
{
    struct link_end *e = arg;
    CHECK(e->l == l && link_is_up(l) && link_is_connected(l));
    e->ups++;
    e->peer = *link_peer(l);
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct link_end *e = arg;
    CHECK(e->l == l);
    struct wire w = wire_over(f->payload);
    uint64_t number = wire_u64(&w);
    if (!w.ran_out && number != e->next)
        e->out_of_order = true;
    e->next = number + 1;
    e->frames++;
    e->bytes += f->payload.len;
    if (e->echoes)
        (void)link_send(l, LINK_BULKY, f->type, f->payload, NULL, slice_of(NULL, 0));
    if (e->pauses_on_frame)
        link_pause(l);
    if (e->frees_on_frame)
        link_free(&e->l);
}

static void on_room(struct link *l, void *arg)
{
    struct link_end *e = arg;
    CHECK(e->l == l && !link_is_full(l));
    e->rooms++;
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    struct link_end *e = arg;
    CHECK(e->l == l && !link_is_up(l));
    e->losses++;
    e->loss = why;
    e->why = err != NULL ? *err : (struct err){ 0 };
    e->next = 0;
    if (e->frees_on_loss)
        link_free(&e->l);
}

static void on_trouble(struct link *l, enum link_trouble what, enum link_refusal refusal,
                       const struct err *err, void *arg)
{
    struct link_end *e = arg;
    CHECK(e->l == l);
    e->troubles++;
    e->trouble = what;
    e->refusal = refusal;
    e->why = *err;
}

const struct link_handlers link_end_handlers = { on_up, on_frame, on_room, on_lost, on_trouble };

/* ---- nodes ---- */

struct link_node *kit_link_node(const char *cookie, uint8_t cluster, uint16_t node, uint32_t inc,
                                const char *name)
{
    struct link_identity id = { .node = node, .inc = inc };
    struct err err;
    memset(id.cluster, cluster, sizeof id.cluster);
    snprintf(id.name, sizeof id.name, "%s", name);
    struct link_node *n = link_node_new(slice_str(cookie), &id, &err);
    cr_assert(n != NULL, "%s", err.text);
    return n;
}

static enum link_refusal on_judge(const struct link_peer *peer, void *arg)
{
    (void)peer;
    struct kit_node *n = arg;
    return n->verdict;
}

static void on_link(struct link *l, const struct link_peer *peer, void *arg)
{
    struct kit_node *n = arg;
    n->links++;
    struct link_end *e = n->end;
    if (e->l != NULL)
        link_free(&e->l);
    e->l = l;
    e->peer = *peer;
    link_set_owner(l, &link_end_handlers, e);
}

static void on_stream(struct stream **s, const struct link_peer *peer, void *arg)
{
    (void)peer;
    struct kit_node *n = arg;
    n->streams++;
    stream_free(s);
}

static const struct link_hall_handlers hall_handlers = { on_judge, on_link, on_stream };

void kit_node_open(struct kit_node *n, struct loop *loop, struct link_node *node,
                   const struct link_hall_options *options)
{
    struct sock_addr at;
    struct err err;
    CHECK(sock_addr_ip("127.0.0.1", 0, &at));
    n->loop = loop;
    n->node = node;
    n->hall = link_hall_new(loop, node, options, &hall_handlers, n);
    n->door = link_door_new(loop);
    link_door_serve(n->door, options->class, &n->hall, 1);
    n->port = link_door_listen(n->door, &at, &err);
    cr_assert(n->port != 0, "%s", err.text);
}

void kit_node_close(struct kit_node *n)
{
    link_door_free(&n->door);
    if (n->end->l != NULL)
        link_free(&n->end->l);
    while (loop_settle(n->loop))
        ;
    link_hall_free(&n->hall);
}

bool kit_send_numbered(struct link *l, uint64_t number, size_t octets)
{
    static const uint8_t rest[LINK_FRAME_MAX];
    uint8_t head[8];
    struct wire_out w = wire_out_over(head, sizeof head);
    wire_put_u64(&w, number);
    return link_send(l, LINK_BULKY, LINK_TYPE_LEAST, slice_of(head, sizeof head), NULL,
                     slice_of(rest, octets - sizeof head));
}

/* ---- a relay ---- */

struct pair {
    struct kit_relay *relay;
    struct stream *a;
    struct stream *b;
    TAILQ_ENTRY(pair) entry;
};

struct kit_relay {
    struct loop *loop;
    struct listener *listener;
    struct sock_addr to;
    TAILQ_HEAD(, pair) pairs;
    size_t made;
    uint64_t left;
    bool refuses;
    bool holds;
    bool cuts;
};

static void tear(struct pair *p)
{
    TAILQ_REMOVE(&p->relay->pairs, p, entry);
    stream_free(&p->a);
    stream_free(&p->b);
    mem_free(p);
}

void kit_relay_cut(struct kit_relay *r)
{
    struct pair *p;
    while ((p = TAILQ_FIRST(&r->pairs)) != NULL)
        tear(p);
}

static void on_passing(struct stream *s, void *arg)
{
    struct pair *p = arg;
    struct kit_relay *r = p->relay;
    struct slice in = stream_peek(s);
    if (r->holds)
        return;
    bool cut = r->cuts && in.len >= r->left;
    if (cut)
        in = slice_head(in, (size_t)r->left);
    r->left -= in.len;
    struct stream *to = s == p->a ? p->b : p->a;
    stream_write(to, in);
    stream_consume(s, in.len);
    if (!cut)
        return;
    /* The octets up to the cut arrive, then both connections break. */
    r->cuts = false;
    struct stream *from = s == p->a ? p->a : p->b;
    TAILQ_REMOVE(&r->pairs, p, entry);
    stream_free(&from);
    stream_finish(&to, 1000);
    mem_free(p);
}

static void on_gone(struct stream *s, const struct err *why, void *arg)
{
    (void)s, (void)why;
    tear(arg);
}

static const struct stream_handlers pair_handlers = { .on_data = on_passing, .on_closed = on_gone };

static void on_caller(int fd, const struct sock_addr *peer, void *arg)
{
    (void)peer;
    struct kit_relay *r = arg;
    if (r->refuses) {
        sock_close(fd);
        return;
    }
    struct pair *p = mem_zalloc(sizeof *p);
    p->relay = r;
    r->made++;
    TAILQ_INSERT_TAIL(&r->pairs, p, entry);
    p->a = stream_new(r->loop, fd, &pair_handlers, p);
    p->b = stream_connect(r->loop, &r->to, 5000, &pair_handlers, p);
}

struct kit_relay *kit_relay_new(struct loop *loop, uint16_t to_port)
{
    struct kit_relay *r = mem_zalloc(sizeof *r);
    struct sock_addr at;
    struct err err;
    r->loop = loop;
    TAILQ_INIT(&r->pairs);
    CHECK(sock_addr_ip("127.0.0.1", to_port, &r->to) && sock_addr_ip("127.0.0.1", 0, &at));
    r->listener = listener_new(loop, &at, &(struct listener_options){ 0 }, on_caller, r, &err);
    cr_assert(r->listener != NULL, "%s", err.text);
    return r;
}

void kit_relay_free(struct kit_relay **relay)
{
    struct kit_relay *r = *relay;
    *relay = NULL;
    kit_relay_cut(r);
    listener_free(&r->listener);
    mem_free(r);
}

uint16_t kit_relay_port(const struct kit_relay *r)
{
    return sock_addr_port(listener_addr(r->listener));
}

void kit_relay_cut_after(struct kit_relay *r, uint64_t octets)
{
    r->cuts = true;
    r->left = octets;
}

void kit_relay_refuse(struct kit_relay *r, bool refuses)
{
    r->refuses = refuses;
}

void kit_relay_hold(struct kit_relay *r, bool holds)
{
    r->holds = holds;
    struct pair *p;
    TAILQ_FOREACH (p, &r->pairs, entry) {
        if (holds) {
            stream_pause(p->a);
            stream_pause(p->b);
        } else {
            stream_resume(p->a);
            stream_resume(p->b);
        }
    }
}

size_t kit_relay_pairs(const struct kit_relay *r)
{
    return r->made;
}
