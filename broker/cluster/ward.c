#include "cluster/ward.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_node.h"

/* What is kept of one node, as long as it is there. */
struct bed {
    uint16_t node;
    uint64_t slow_since_ms; /* 0: its disk is not slow */
    uint64_t well_since_ms; /* 0: something is wrong with it */
    uint64_t said_ms;
    uint64_t healed_ms; /* it was ill, and is not since then; 0: it never was, or is */
    uint64_t rest_ms;   /* when it is ill: it has to be well for so long */
};

struct ward {
    struct bed beds[META_NODES_MAX];
    size_t count;
};

struct ward *ward_new(void)
{
    return mem_zalloc(sizeof(struct ward));
}

void ward_free(struct ward **w)
{
    mem_free(*w);
    *w = NULL;
}

void ward_begin(struct ward *w)
{
    w->count = 0;
}

/* ---- each for itself ---- */

static uint32_t strain_of(const struct ward_node *n)
{
    return n->disk_ms > n->loop_ms ? n->disk_ms : n->loop_ms;
}

static const struct bed *bed_of(const struct ward *w, uint16_t node)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->beds[i].node == node)
            return &w->beds[i];
    return NULL;
}

/* Those that are there now, with what was known of them. Both are in order. */
static void make_beds(struct ward *w, const struct ward_node *nodes, size_t count)
{
    struct bed beds[META_NODES_MAX];
    CHECK(count <= META_NODES_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct bed *was = bed_of(w, nodes[i].node);
        beds[i] = was != NULL ? *was : (struct bed){ .node = nodes[i].node };
    }
    for (size_t i = 0; i < count; i++)
        w->beds[i] = beds[i];
    w->count = count;
}

static uint64_t stamp(uint64_t now_ms)
{
    return now_ms != 0 ? now_ms : 1;
}

/* To be well again takes less strain than to be ill, so that nobody is now this, now that. */
static void watch(struct bed *b, const struct ward_node *n, uint64_t now_ms)
{
    bool is_slow = n->is_heard && n->disk_ms >= WARD_SLOW_MS;
    bool is_well = n->is_heard && strain_of(n) < WARD_SLOW_MS / 2;
    if (!is_slow)
        b->slow_since_ms = 0;
    else if (b->slow_since_ms == 0)
        b->slow_since_ms = stamp(now_ms);
    if (!is_well)
        b->well_since_ms = 0;
    else if (b->well_since_ms == 0)
        b->well_since_ms = stamp(now_ms);
}

static bool is_over(uint64_t since_ms, uint64_t for_ms, uint64_t now_ms)
{
    return since_ms != 0 && now_ms >= since_ms && now_ms - since_ms >= for_ms;
}

static bool is_ill(const struct bed *b, const struct ward_node *n, uint64_t now_ms)
{
    return n->is_heard &&
           (strain_of(n) >= WARD_STALLED_MS || is_over(b->slow_since_ms, WARD_SLOW_FOR_MS, now_ms));
}

/* ---- beside the others ---- */

static bool may_say(const struct bed *b, uint64_t now_ms)
{
    return b->said_ms == 0 || is_over(b->said_ms, WARD_AGAIN_MS, now_ms);
}

/* Somebody who could go on in its place does much better. */
static bool has_better(const struct ward_node *nodes, size_t count, const struct ward_node *n)
{
    for (size_t i = 0; i < count; i++)
        if (&nodes[i] != n && nodes[i].is_heard && !nodes[i].is_unwell &&
            strain_of(&nodes[i]) <= strain_of(n) / WARD_TIMES)
            return true;
    return false;
}

/* One of two, or a minority. */
static bool has_room(const struct ward *w, const struct ward_node *nodes, size_t count,
                     uint64_t now_ms)
{
    size_t most = count > 3 ? (count - 1) / 2 : 1, unwell = 0;
    for (size_t i = 0; i < count; i++)
        unwell += nodes[i].is_unwell || (w->beds[i].said_ms != 0 && !may_say(&w->beds[i], now_ms));
    return unwell < most;
}

static void fall_ill(struct bed *b, uint64_t now_ms)
{
    if (b->rest_ms == 0 || is_over(b->healed_ms, WARD_REST_MAX_MS, now_ms))
        b->rest_ms = WARD_REST_MS;
    else if (b->healed_ms != 0)
        b->rest_ms = 2 * b->rest_ms < WARD_REST_MAX_MS ? 2 * b->rest_ms : WARD_REST_MAX_MS;
    b->healed_ms = 0;
}

static enum ward_word word_of(struct ward *w, const struct ward_node *nodes, size_t count, size_t i,
                              uint64_t now_ms)
{
    const struct ward_node *n = &nodes[i];
    struct bed *b = &w->beds[i];
    uint64_t rest_ms = b->rest_ms != 0 ? b->rest_ms : WARD_REST_MS;
    if (!may_say(b, now_ms))
        return WARD_NOTHING;
    if (n->is_unwell && is_over(b->well_since_ms, rest_ms, now_ms)) {
        b->healed_ms = stamp(now_ms);
        return WARD_WELL;
    }
    if (n->is_unwell)
        return n->is_due ? WARD_UNWELL : WARD_NOTHING;
    if (!is_ill(b, n, now_ms) || !has_better(nodes, count, n) || !has_room(w, nodes, count, now_ms))
        return WARD_NOTHING;
    fall_ill(b, now_ms);
    return WARD_UNWELL;
}

void ward_turn(struct ward *w, struct ward_node *nodes, size_t count, uint64_t now_ms)
{
    make_beds(w, nodes, count);
    for (size_t i = 0; i < count; i++)
        watch(&w->beds[i], &nodes[i], now_ms);
    for (size_t i = 0; i < count; i++) {
        nodes[i].word = word_of(w, nodes, count, i, now_ms);
        if (nodes[i].word != WARD_NOTHING)
            w->beds[i].said_ms = stamp(now_ms);
    }
}
