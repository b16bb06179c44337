#include "failovers.h"

#include "base/check.h"
#include "base/log.h"

#include <string.h>

const char *failover_state_word(enum failover_state state)
{
    static const char *const words[] = {
        [FAILOVER_GOES_ON] = "goes on",
        [FAILOVER_OVER] = "over",
        [FAILOVER_CAME_BACK] = "came back",
        [FAILOVER_LEFT] = "not followed any more",
    };
    CHECK((unsigned)state < ARRAY_COUNT(words));
    return words[state];
}

uint64_t failover_pause_ms(const struct failover *f, uint64_t now_ms)
{
    return (f->state == FAILOVER_GOES_ON ? now_ms : f->ended_ms) - f->began_ms;
}

const struct failover *failovers_at(const struct failovers *f, unsigned index)
{
    if (index >= f->count)
        return NULL;
    return &f->list[(f->next + FAILOVERS_KEPT - 1 - index) % FAILOVERS_KEPT];
}

/* The one of this node that goes on. */
static struct failover *find(struct failovers *f, uint16_t node)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (f->list[i].node == node && f->list[i].state == FAILOVER_GOES_ON)
            return &f->list[i];
    }
    return NULL;
}

static const struct node *node_of(const struct nodes *nodes, uint16_t number)
{
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        if (nodes_at(nodes, i)->number == number)
            return nodes_at(nodes, i);
    }
    return NULL;
}

/* By the table, or by gossip: the metadata need not say of each node that went that it did. */
static bool is_down(const struct atlas_master *m, const struct nodes *nodes)
{
    const struct node *n = node_of(nodes, m->node);
    return !m->is_up ||
           (n != NULL && (n->hearsay == LIVE_HEARSAY_DEAD || n->hearsay == LIVE_HEARSAY_LEFT));
}

static void name_it(struct failover *one, const struct nodes *nodes)
{
    struct text t = text_over(one->name, sizeof one->name);
    const struct node *n = node_of(nodes, one->node);
    text_str(&t, n != NULL ? n->name : "");
}

static struct failover *by_age(struct failovers *f, unsigned age)
{
    return &f->list[(f->next + age) % FAILOVERS_KEPT];
}

/* What is over longest leaves the full list; what is older moves up. False: all of them go on. */
static bool make_room(struct failovers *f)
{
    unsigned age = 0;
    if (f->count < FAILOVERS_KEPT)
        return true;
    while (age < FAILOVERS_KEPT && by_age(f, age)->state == FAILOVER_GOES_ON)
        age++;
    if (age == FAILOVERS_KEPT)
        return false;
    for (; age != 0; age--)
        *by_age(f, age) = *by_age(f, age - 1);
    return true;
}

/* False: there is no room for so many at a time. */
static bool begin(struct failovers *f, const struct atlas_master *m, const struct nodes *nodes,
                  uint64_t at_ms, uint64_t wall_ms)
{
    struct failover *one = &f->list[f->next];
    if (!make_room(f))
        return false;
    f->next = (f->next + 1) % FAILOVERS_KEPT;
    f->count += f->count < FAILOVERS_KEPT;
    f->total++;
    *one = (struct failover){
        .wall_ms = wall_ms,
        .began_ms = at_ms,
        .queues = m->queues,
        .left = m->queues,
        .node = m->node,
    };
    name_it(one, nodes);
    log_warn("failover", one->name[0] != '\0' ? one->name : "-", "is down node=%u queues=%llu",
             one->node, (unsigned long long)one->queues);
    return true;
}

static void end(struct failover *one, enum failover_state state, uint64_t at_ms)
{
    one->state = state;
    one->ended_ms = at_ms;
    log_info("failover", one->name[0] != '\0' ? one->name : "-",
             "%s node=%u queues=%llu left=%llu pause=%llums", failover_state_word(state), one->node,
             (unsigned long long)one->queues, (unsigned long long)one->left,
             (unsigned long long)failover_pause_ms(one, at_ms));
}

void failovers_forget_nodes(struct failovers *f, uint64_t now_ms)
{
    memset(f->was_up, 0, sizeof f->was_up);
    for (unsigned i = 0; i < f->count; i++)
        if (f->list[i].state == FAILOVER_GOES_ON)
            end(&f->list[i], FAILOVER_LEFT, now_ms);
}

static const struct atlas_master *master_of(const struct atlas_master *masters, size_t count,
                                            uint16_t node)
{
    for (size_t i = 0; i < count; i++) {
        if (masters[i].node == node)
            return &masters[i];
    }
    return NULL;
}

static void note_up(struct failovers *f, uint16_t node, bool is_up)
{
    uint8_t bit = (uint8_t)(1u << node % 8);
    f->was_up[node / 8] = (uint8_t)(is_up ? f->was_up[node / 8] | bit : f->was_up[node / 8] & ~bit);
}

static bool was_up(const struct failovers *f, uint16_t node)
{
    return (f->was_up[node / 8] >> node % 8 & 1) != 0;
}

static void follow(struct failovers *f, const struct atlas_master *masters, size_t count,
                   const struct nodes *nodes, uint64_t last_ms)
{
    for (unsigned i = 0; i < f->count; i++) {
        struct failover *one = &f->list[i];
        if (one->state != FAILOVER_GOES_ON)
            continue;
        const struct atlas_master *m = master_of(masters, count, one->node);
        one->left = m != NULL ? m->queues : 0;
        if (one->left == 0)
            end(one, FAILOVER_OVER, last_ms);
        else if (!is_down(m, nodes))
            end(one, FAILOVER_CAME_BACK, last_ms);
    }
}

void failovers_look(struct failovers *f, const struct atlas_master *masters, size_t count,
                    const struct nodes *nodes, uint64_t first_ms, uint64_t last_ms,
                    uint64_t wall_ms)
{
    CHECK(first_ms <= last_ms);
    follow(f, masters, count, nodes, last_ms);
    for (size_t i = 0; i < count; i++) {
        const struct atlas_master *m = &masters[i];
        bool is_up = !is_down(m, nodes);
        bool has_gone = !is_up && was_up(f, m->node) && m->queues != 0;
        if (!has_gone || find(f, m->node) != NULL || begin(f, m, nodes, first_ms, wall_ms))
            note_up(f, m->node, is_up);
    }
    follow(f, masters, count, nodes, last_ms);
}
