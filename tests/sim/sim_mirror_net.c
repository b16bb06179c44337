/* Links between nodes. Records travel as octets; each end notices for itself that one has broken.
 */
#include "base/check.h"
#include "base/mem.h"
#include "sim_mirror_inner.h"

/* ---- lines ---- */

void smr_line_push(struct smr_line *l, const void *bytes, size_t len)
{
    if (l->head + l->count == l->cap) {
        if (l->head > l->cap / 2) {
            memmove(l->items, l->items + l->head, l->count * sizeof *l->items);
        } else {
            l->cap = l->cap != 0 ? l->cap * 2 : 16;
            struct smr_packet *items = mem_array(l->cap, sizeof *items);
            if (l->count != 0)
                memcpy(items, l->items + l->head, l->count * sizeof *items);
            mem_free(l->items);
            l->items = items;
        }
        l->head = 0;
    }
    l->items[l->head + l->count++] =
        (struct smr_packet){ .bytes = mem_dup(bytes, len), .len = (uint32_t)len };
}

bool smr_line_pop(struct smr_line *l, struct smr_packet *out)
{
    if (l->count == 0)
        return false;
    *out = l->items[l->head++];
    if (--l->count == 0)
        l->head = 0;
    return true;
}

void smr_line_put_back(struct smr_line *l, const struct smr_packet *p)
{
    if (l->count == 0)
        l->head = 1; /* it began anew when it was empty */
    l->items[--l->head] = *p;
    l->count++;
}

void smr_line_clear(struct smr_line *l)
{
    struct smr_packet p;
    while (smr_line_pop(l, &p))
        mem_free(p.bytes);
}

void smr_line_fini(struct smr_line *l)
{
    smr_line_clear(l);
    mem_free(l->items);
    *l = (struct smr_line){ 0 };
}

/* ---- links ---- */

void smr_link_init(struct smr *w, unsigned from, unsigned to)
{
    w->links[from][to] = (struct smr_link){ .world = w, .from = (uint8_t)from, .to = (uint8_t)to };
}

void smr_link_connect(struct smr_link *l)
{
    struct smr_node *from = &l->world->nodes[l->from], *to = &l->world->nodes[l->to];
    if (l->is_up || !smr_is_awake(from) || !smr_is_awake(to) || l->stream == NULL)
        return;
    if (l->source != NULL) {
        if (l->stale != NULL)
            mirror_source_free(&l->stale);
        l->stale = l->source;
    }
    l->is_broken = false;
    l->is_up = true;
    l->source = mirror_source_new(to->replica, l);
    mirror_stream_up(l->stream, to->inc, l->world->now_ms);
    smr_node_flush(from);
}

void smr_link_break(struct smr_link *l)
{
    l->is_broken = true;
    smr_line_clear(&l->forth);
    smr_line_clear(&l->back);
}

void smr_link_notice(struct smr_link *l)
{
    struct smr *w = l->world;
    if (l->stale != NULL && smr_is_awake(&w->nodes[l->to])) {
        mirror_source_free(&l->stale);
        return;
    }
    if (!l->is_broken)
        return;
    if (l->source != NULL && smr_is_awake(&w->nodes[l->to]) &&
        (!l->is_up || smr_below(w, 2) == 0)) {
        mirror_source_free(&l->source);
        return;
    }
    if (l->is_up && smr_is_awake(&w->nodes[l->from])) {
        l->is_up = false;
        mirror_stream_down(l->stream, w->now_ms);
        smr_node_flush(&w->nodes[l->from]);
    }
}

static const char *op_text(enum mirror_op op)
{
    switch (op) {
#define X(name, octet, fields)                                                                     \
    case MIRROR_##name:                                                                            \
        return #name;
        MIRROR_OPS(X)
#undef X
    }
    return "?";
}

static void tell(const struct smr_link *l, const char *how, const struct mirror_record *r)
{
    smr_say(l->world, "  %u-%u %s %s pos %u qid %u epoch %u from %u to %u runs %u kind %u", l->from,
            l->to, how, op_text(r->op), (unsigned)r->pos, (unsigned)r->qid, (unsigned)r->epoch,
            (unsigned)r->from, (unsigned)r->to, r->run_count, r->kind);
}

static void put(struct smr_link *l, struct smr_line *line, const struct mirror_record *r)
{
    uint8_t few[512];
    size_t size = mirror_wire_size(r);
    uint8_t *room = size <= sizeof few ? few : mem_alloc(size);
    struct wire_out out = wire_out_over(room, size);
    mirror_wire_put(&out, r);
    CHECK(!out.overflow && wire_out_len(&out) == size);
    tell(l, l->is_broken ? "loses" : "says", r);
    if (!l->is_broken)
        smr_line_push(line, room, size);
    if (room != few)
        mem_free(room);
}

void smr_link_say_forth(struct smr_link *l, const struct mirror_record *r)
{
    put(l, &l->forth, r);
}

/* What is said by a former session goes nowhere. */
void smr_link_say_back(struct smr_link *l, const struct mirror_record *r)
{
    put(l, &l->back, r);
}

static bool take(const struct smr_link *l, struct smr_line *line, struct smr_packet *p,
                 struct mirror_record *r)
{
    if (!smr_line_pop(line, p))
        return false;
    struct wire in = wire_over(slice_of(p->bytes, p->len));
    bool is_good = mirror_wire_take(&in, r);
    CHECK(is_good && wire_left(&in) == 0);
    tell(l, "hears", r);
    return true;
}

bool smr_link_deliver(struct smr_link *l)
{
    struct smr *w = l->world;
    struct smr_node *from = &w->nodes[l->from], *to = &w->nodes[l->to];
    struct smr_packet p;
    struct mirror_record r;
    bool forth = l->forth.count != 0 && smr_is_awake(to) && l->source != NULL;
    bool back = l->back.count != 0 && smr_is_awake(from) && l->is_up;
    if (forth && back)
        forth = smr_below(w, 2) == 0;
    if (forth && take(l, &l->forth, &p, &r)) {
        enum mirror_taken taken = mirror_source_take(l->source, &r);
        if (taken == MIRROR_TAKEN_BAD)
            smr_fail(w, "node %u does not understand node %u", l->to, l->from);
        if (taken == MIRROR_TAKEN_LATER) {
            smr_line_put_back(&l->forth, &p);
            p.bytes = NULL;
        }
        if (w->has_takers)
            smr_hand_go_on(to);
        if (smr_below(w, 2) == 0 || w->is_healing)
            smr_node_flush(to);
    } else if (back && take(l, &l->back, &p, &r)) {
        bool is_good = mirror_stream_take(l->stream, &r, w->now_ms);
        if (!is_good)
            smr_fail(w, "node %u does not understand node %u, its mirror", l->from, l->to);
        smr_node_flush(from);
    } else {
        return false;
    }
    mirror_record_fini(&r);
    mem_free(p.bytes);
    return true;
}
