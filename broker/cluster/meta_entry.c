#include "cluster/meta_entry.h"

#include "base/check.h"
#include "base/mutation.h"
#include "cluster/meta_state.h"

/* ---- octets ---- */

size_t meta_envelope_size(const struct meta_envelope *e)
{
    return META_ENVELOPE_BYTES + meta_wire_size(&e->cmd);
}

void meta_envelope_put(struct wire_out *w, const struct meta_envelope *e)
{
    size_t mark = wire_put_hole_u32(w);
    wire_put_u8(w, META_ENVELOPE_FORMAT);
    wire_put_u16(w, e->node);
    wire_put_u32(w, e->inc);
    wire_put_u64(w, e->op);
    meta_wire_put(w, &e->cmd, 0);
    wire_fill_u32(w, mark);
}

bool meta_envelope_take(struct wire *w, struct meta_envelope *e)
{
    struct wire in = wire_over(wire_longstr(w));
    if (w->ran_out || wire_u8(&in) != META_ENVELOPE_FORMAT)
        return false;
    e->node = wire_u16(&in);
    e->inc = wire_u32(&in);
    e->op = wire_u64(&in);
    uint64_t first_id;
    return meta_wire_take(&in, &e->cmd, &first_id) && first_id == 0 && wire_left(&in) == 0;
}

/* ---- how far nodes have come ---- */

size_t meta_origin_count(const struct meta_version *v)
{
    return v->origins != NULL ? v->origins->count : 0;
}

const struct meta_origin *meta_origin_at(const struct meta_version *v, size_t index)
{
    CHECK(index < meta_origin_count(v));
    return &v->origins->list[index];
}

const struct meta_origin *meta_origin_get(const struct meta_version *v, uint16_t node)
{
    for (size_t i = 0; i < meta_origin_count(v); i++)
        if (meta_origin_at(v, i)->node == node)
            return meta_origin_at(v, i);
    return NULL;
}

static size_t list_bytes(size_t count)
{
    return sizeof(struct meta_origins) + count * sizeof(struct meta_origin);
}

/* A list without the node, with room for one more. */
static struct meta_origins *list_without(struct meta *m, uint16_t node, size_t more)
{
    size_t before = meta_origin_count(&m->draft);
    size_t kept = before - (meta_origin_get(&m->draft, node) != NULL);
    struct meta_origins *l = pmap_edit_alloc(&m->edit, list_bytes(kept + more));
    *l = (struct meta_origins){ .tag = m->edit.tag };
    for (size_t i = 0; i < before; i++)
        if (m->draft.origins->list[i].node != node)
            l->list[l->count++] = m->draft.origins->list[i];
    CHECK(l->count == kept);
    return l;
}

static void put_list(struct meta *m, struct meta_origins *l)
{
    meta_origins_drop(m);
    m->draft.origins = l;
}

static void insert(struct meta *m, const struct meta_origin *o)
{
    struct meta_origins *l = list_without(m, o->node, 1);
    size_t at = l->count++;
    for (; at != 0 && l->list[at - 1].node > o->node; at--)
        l->list[at] = l->list[at - 1];
    l->list[at] = *o;
    put_list(m, l);
}

void meta_origin_set(struct meta *m, const struct meta_origin *o)
{
    const struct meta_origin *old = meta_origin_get(&m->draft, o->node);
    if (old == NULL || m->draft.origins->tag != m->edit.tag)
        insert(m, o);
    else
        *(struct meta_origin *)(uintptr_t)old = *o; /* nobody has seen this list yet */
}

void meta_origin_remove(struct meta *m, uint16_t node)
{
    put_list(m, list_without(m, node, 0));
}

void meta_origins_drop(struct meta *m)
{
    const struct meta_origins *l = m->draft.origins;
    if (l != NULL)
        pmap_edit_drop(&m->edit, l, list_bytes(l->count), l->tag);
    m->draft.origins = NULL;
}

bool meta_last_op(const struct meta *m, uint16_t node, uint32_t *inc, uint64_t *op)
{
    const struct meta_origin *o = meta_origin_get(&m->draft, node);
    if (o == NULL)
        return false;
    *inc = o->inc;
    *op = o->op;
    return true;
}

uint64_t meta_index(const struct meta *m)
{
    return m->draft.index;
}

/* ---- applying ---- */

static bool begins_incarnation(const struct meta_envelope *e)
{
    return e->op == 1 && e->cmd.op == META_NODE_UP && e->cmd.node.node == e->node &&
           e->cmd.node.inc == e->inc;
}

static enum meta_applied judge(const struct meta *m, const struct meta_envelope *e)
{
    if (e->node == 0)
        return META_APPLIED;
    const struct meta_origin *o = meta_origin_get(&m->draft, e->node);
    if (o == NULL)
        return META_STRANGER;
    if (e->inc < o->inc || (e->inc == o->inc && e->op <= o->op && !MUTATION(META_APPLIED_AGAIN)))
        return META_REPEATED;
    if (e->inc > o->inc)
        return begins_incarnation(e) ? META_APPLIED : META_EARLY;
    bool is_next = e->op <= o->op + 1 || MUTATION(META_APPLIED_EARLY);
    bool is_up = meta_node_is_serving(meta_node_get(&m->draft, e->node));
    return is_next && (is_up || MUTATION(META_ASKED_WHEN_DOWN)) ? META_APPLIED : META_EARLY;
}

enum meta_applied meta_apply_entry(struct meta *m, uint64_t index, const struct meta_envelope *e,
                                   struct meta_result *out)
{
    CHECK(index >= m->draft.index);
    m->draft.index = index;
    m->is_changed = true;
    enum meta_applied applied = judge(m, e);
    if (applied != META_APPLIED) {
        meta_result_clear(out);
        return applied;
    }
    m->origin = e->node;
    meta_carry_out(m, &e->cmd, out);
    for (size_t i = 0; i < out->effect_count; i++)
        out->effects[i].index = index;
    const struct meta_origin *o = meta_origin_get(&m->draft, e->node);
    if (o != NULL) { /* it may have removed itself */
        CHECK(o->inc == e->inc);
        meta_origin_set(m, &(struct meta_origin){ e->node, e->inc, e->op });
    }
    return META_APPLIED;
}
