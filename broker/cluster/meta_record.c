#include "cluster/meta_record.h"

#include "base/check.h"
#include "base/mutation.h"
#include "cluster/meta.h"

int meta_record_find(const struct meta_record *r, uint16_t node)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->replicas[i].node == node)
            return (int)i;
    return -1;
}

unsigned meta_record_in_sync(const struct meta_record *r)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->count; i++)
        count += r->replicas[i].inc != 0;
    return count;
}

enum meta_role meta_record_role(const struct meta_record *r, uint16_t node)
{
    int i = meta_record_find(r, node);
    return i < 0 ? META_ROLE_NONE : i == 0 ? META_ROLE_MASTER : META_ROLE_MIRROR;
}

/* ---- changes ---- */

static void move(struct meta_record *r, unsigned from, unsigned to)
{
    struct meta_replica moved = r->replicas[from];
    for (unsigned i = from; i < to; i++)
        r->replicas[i] = r->replicas[i + 1];
    for (unsigned i = from; i > to; i--)
        r->replicas[i] = r->replicas[i - 1];
    r->replicas[to] = moved;
}

void meta_record_strike(struct meta_record *r, unsigned i, uint64_t left)
{
    CHECK(i < r->count);
    r->replicas[i].inc = 0;
    r->replicas[i].left = MUTATION(META_STRUCK_FORGOTTEN) ? 0 : left;
    if (!MUTATION(META_STRUCK_STAYS_OLD))
        move(r, i, r->count - 1);
}

void meta_record_promote(struct meta_record *r, unsigned i)
{
    CHECK(i < r->count);
    move(r, i, 0);
}

void meta_record_remove(struct meta_record *r, unsigned i)
{
    CHECK(i < r->count && r->count > 1);
    move(r, i, r->count - 1);
    r->count--;
}

void meta_record_add(struct meta_record *r, const struct meta_replica *replica)
{
    CHECK(r->count < META_REPLICAS_MAX);
    r->replicas[r->count++] = *replica;
}

/* ---- who comes next ---- */

static bool is_up(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && meta_node_is_serving(n);
}

static bool is_fit(const struct meta_version *v, uint16_t node)
{
    const struct meta_node *n = meta_node_get(v, node);
    return n != NULL && meta_node_is_fit(n);
}

int meta_record_heir(const struct meta_version *v, const struct meta_record *r)
{
    int eldest = -1, unwell = -1;
    for (unsigned i = 0; i < r->count; i++) {
        if (r->replicas[i].inc == 0 && !MUTATION(META_PROMOTES_OUTSIDER))
            continue;
        if (is_fit(v, r->replicas[i].node) && !MUTATION(META_HEIR_ANYHOW))
            return (int)i;
        if (unwell < 0 && is_up(v, r->replicas[i].node) && !MUTATION(META_HEIR_ANYHOW))
            unwell = (int)i;
        if (eldest < 0)
            eldest = (int)i;
    }
    return unwell >= 0 ? unwell : eldest;
}

static bool is_nearer(const struct meta_record *r, unsigned i, int best)
{
    return best < 0 || r->replicas[i].left > r->replicas[best].left;
}

int meta_record_stand_in(const struct meta_version *v, const struct meta_record *r, uint16_t but)
{
    int best = -1;
    for (unsigned i = 0; i < r->count; i++)
        if (r->replicas[i].inc == 0 && r->replicas[i].node != but && is_nearer(r, i, best) &&
            is_up(v, r->replicas[i].node))
            best = (int)i;
    return best;
}

int meta_record_eligible(const struct meta_record *r, uint16_t but)
{
    int best = -1;
    for (unsigned i = 0; i < r->count; i++)
        if (r->replicas[i].left != 0 && r->replicas[i].node != but && is_nearer(r, i, best))
            best = (int)i;
    return best;
}

uint8_t meta_record_leave(const struct meta_version *v, struct meta_record *r, unsigned i,
                          uint64_t left)
{
    CHECK(r->replicas[i].inc != 0 && meta_record_in_sync(r) > 1);
    meta_record_strike(r, i, left);
    if (i != 0)
        return META_HOW_IN_SYNC;
    int heir = meta_record_heir(v, r);
    CHECK(heir >= 0);
    meta_record_promote(r, (unsigned)heir);
    return META_HOW_IN_SYNC | META_HOW_MASTER;
}
