#include "base/check.h"
#include "base/mem.h"
#include "gossip/gossip_state.h"

#include <string.h>

/* Where `id` is, or would be. */
static size_t place_of(const struct gossip *g, uint64_t id)
{
    size_t low = 0, high = g->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (g->members[mid]->pub.id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct member *members_find(const struct gossip *g, uint64_t id)
{
    size_t at = place_of(g, id);
    return at < g->count && g->members[at]->pub.id == id ? g->members[at] : NULL;
}

bool member_is_there(const struct member *m)
{
    return m->pub.state == GOSSIP_ALIVE || m->pub.state == GOSSIP_SUSPECT;
}

size_t members_there(const struct gossip *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++)
        n += member_is_there(g->members[i]);
    return n;
}

static void member_free(struct member *m)
{
    mem_free(m->record);
    mem_free(m);
}

void members_remove(struct gossip *g, struct member *m, struct gossip_effects *out)
{
    CHECK(m != g->self);
    size_t at = place_of(g, m->pub.id);
    CHECK(at < g->count && g->members[at] == m);
    spread_drop(g, &m->word);
    spread_drop(g, &m->beat);
    change(out, &(struct gossip_change){ .kind = GOSSIP_MEMBER_FORGOTTEN, .id = m->pub.id });
    memmove(&g->members[at], &g->members[at + 1], (g->count - at - 1) * sizeof g->members[0]);
    g->count--;
    member_free(m);
}

/* Who has been gone for the longest makes room. */
static bool make_room(struct gossip *g, struct gossip_effects *out)
{
    struct member *eldest = NULL;
    if (g->count < GOSSIP_MEMBERS_MAX)
        return true;
    for (size_t i = 0; i < g->count; i++) {
        struct member *m = g->members[i];
        if (!member_is_there(m) && m != g->self &&
            (eldest == NULL || m->pub.since_us < eldest->pub.since_us))
            eldest = m;
    }
    if (eldest == NULL)
        return false;
    members_remove(g, eldest, out);
    return true;
}

struct member *members_add(struct gossip *g, uint64_t id, struct gossip_effects *out)
{
    CHECK(members_find(g, id) == NULL);
    if (!make_room(g, out))
        return NULL;
    struct member *m = mem_zalloc(sizeof *m);
    m->pub.id = id;
    m->pub.since_us = g->now_us;
    size_t at = place_of(g, id);
    memmove(&g->members[at + 1], &g->members[at], (g->count - at) * sizeof g->members[0]);
    g->members[at] = m;
    g->count++;
    return m;
}

void members_free_all(struct gossip *g)
{
    for (size_t i = 0; i < g->count; i++)
        member_free(g->members[i]);
    g->count = 0;
}

void member_set_record(struct member *m, struct slice record, uint64_t inc)
{
    CHECK(record.len <= GOSSIP_RECORD_MAX);
    uint8_t *copy = record.len != 0 ? mem_dup(record.ptr, record.len) : NULL;
    mem_free(m->record);
    m->record = copy;
    m->record_inc = inc;
    m->pub.record = slice_of(copy, record.len);
}

struct member *members_after(const struct gossip *g, uint64_t *at, member_fits_fn fits)
{
    size_t from = place_of(g, *at);
    if (from < g->count && g->members[from]->pub.id == *at)
        from++;
    for (size_t i = 0; i < g->count; i++) {
        struct member *m = g->members[(from + i) % g->count];
        if (m == g->self || !fits(m))
            continue;
        *at = m->pub.id;
        return m;
    }
    return NULL;
}

void members_expire(struct gossip *g, struct gossip_effects *out)
{
    for (size_t i = 0; i < g->count;) {
        struct member *m = g->members[i];
        uint64_t keep = m->pub.state == GOSSIP_LEFT ? g->conf.left_keep_us : g->conf.dead_keep_us;
        if (m == g->self || member_is_there(m) || g->now_us - m->pub.since_us < keep)
            i++;
        else
            members_remove(g, m, out);
    }
}
