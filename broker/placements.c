#include "placements.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/mailbox.h"

#include <string.h>

#define WALK_QUEUES 2048u /* gathered in one turn, and a part of a walk more */
#define ALL_QUEUES  0u    /* in place of a cohort */

/* What one shard is to look at. */
struct lane {
    uint64_t *qids;
    size_t count;
    size_t cap;
    bool is_away;     /* it is looking */
    bool is_to_know;  /* that something is placed otherwise */
    bool is_overfull; /* what was too much is not in it */
};

struct placements {
    struct placements_setup setup;
    struct lane *lanes;
    uint32_t *walks; /* cohorts; the first one is under way */
    size_t walk_count;
    size_t walk_cap;
    unsigned part; /* of it, the next */
    size_t gathered;
    struct loop_task task;
};

/* On its way to a shard, and back. */
struct look {
    struct mail mail;
    struct placements *all;
    uint32_t shard;
    struct loop_task task;
    size_t at;
    size_t count;
    uint64_t qids[];
};

static void on_turn(void *arg);

struct placements *placements_new(const struct placements_setup *setup)
{
    struct placements *p = mem_zalloc(sizeof *p);
    p->setup = *setup;
    p->lanes = mem_zalloc(setup->shard_count * sizeof *p->lanes);
    loop_task_init(&p->task, on_turn, p);
    return p;
}

void placements_free(struct placements **placements)
{
    struct placements *p = *placements;
    *placements = NULL;
    if (p == NULL)
        return;
    loop_task_cancel(p->setup.loop, &p->task);
    for (uint32_t i = 0; i < p->setup.shard_count; i++) {
        CHECK(!p->lanes[i].is_away);
        mem_free(p->lanes[i].qids);
    }
    mem_free(p->lanes);
    mem_free(p->walks);
    mem_free(p);
}

bool placements_are_told(const struct placements *p)
{
    bool is_told = p->walk_count == 0;
    for (uint32_t i = 0; i < p->setup.shard_count; i++)
        is_told = is_told && !p->lanes[i].is_away && p->lanes[i].count == 0;
    return is_told;
}

/* ---- on a shard's thread ------------------------------------------------------------------------
 */

static void on_back(struct mail *mail);

static void on_look_turn(void *arg)
{
    struct look *l = arg;
    const struct placements_setup *setup = &l->all->setup;
    const struct meta_version *v = setup->version(setup->arg);
    for (unsigned n = 0; n < PLACEMENTS_TURN && l->at < l->count; n++) {
        const struct meta_queue *q = meta_queue_get(v, l->qids[l->at++]);
        if (q != NULL) /* else it is deleted, and that was told */
            setup->look(setup->arg, l->shard, q);
    }
    if (l->at < l->count) {
        loop_again(setup->loop_of(setup->arg, l->shard), &l->task);
        return;
    }
    l->mail.fn = on_back;
    mailbox_post(setup->loop, &l->mail);
}

static void on_look(struct mail *mail)
{
    struct look *l = CONTAINER_OF(mail, struct look, mail);
    l->all->setup.placed(l->all->setup.arg, l->shard);
    on_look_turn(l);
}

/* ---- on the control thread ----------------------------------------------------------------------
 */

static void send_some(struct placements *p, uint32_t shard)
{
    struct lane *lane = &p->lanes[shard];
    size_t count = lane->count < PLACEMENTS_BATCH ? lane->count : PLACEMENTS_BATCH;
    if (lane->is_away || (count == 0 && !lane->is_to_know))
        return;
    struct look *l = mem_zalloc(sizeof *l + count * sizeof *l->qids);
    l->mail.fn = on_look;
    l->all = p;
    l->shard = shard;
    l->count = count;
    loop_task_init(&l->task, on_look_turn, l);
    lane->count -= count;
    if (count != 0)
        memcpy(l->qids, lane->qids, count * sizeof *l->qids);
    if (lane->count != 0)
        memmove(lane->qids, lane->qids + count, lane->count * sizeof *lane->qids);
    lane->is_away = true;
    lane->is_to_know = false;
    mailbox_post(p->setup.loop_of(p->setup.arg, shard), &l->mail);
}

static void on_back(struct mail *mail)
{
    struct look *l = CONTAINER_OF(mail, struct look, mail);
    struct placements *p = l->all;
    struct lane *lane = &p->lanes[l->shard];
    mem_free(l);
    lane->is_away = false;
    if (lane->count == 0) {
        mem_free(lane->qids);
        lane->qids = NULL;
        lane->cap = 0;
    }
    loop_at_turn_end(p->setup.loop, &p->task);
}

static void add(struct lane *lane, uint64_t qid)
{
    if (lane->count == PLACEMENTS_LANE_MAX) {
        lane->is_overfull = true;
        return;
    }
    if (lane->count == lane->cap) {
        lane->cap = lane->cap != 0 ? 2 * lane->cap : 64;
        lane->qids = mem_realloc(lane->qids, lane->cap * sizeof *lane->qids);
    }
    lane->qids[lane->count++] = qid;
}

static bool gather(void *arg, const struct meta_queue *q)
{
    struct placements *p = arg;
    p->gathered++;
    add(&p->lanes[q->shard], q->qid);
    return true;
}

/* No lane is given more while it has enough to do. */
static bool may_walk(const struct placements *p)
{
    for (uint32_t i = 0; i < p->setup.shard_count; i++)
        if (p->lanes[i].count >= PLACEMENTS_LANE_MAX / 2)
            return false;
    return p->walk_count != 0;
}

static void end_walk(struct placements *p)
{
    p->part = 0;
    p->walk_count--;
    memmove(p->walks, p->walks + 1, p->walk_count * sizeof *p->walks);
}

static void walk(struct placements *p)
{
    const struct meta_version *v = p->setup.version(p->setup.arg);
    p->gathered = 0;
    while (may_walk(p) && p->gathered < WALK_QUEUES) {
        if (p->walks[0] == ALL_QUEUES)
            (void)meta_queues_each(v, p->part, gather, p);
        else
            (void)meta_cohort_each(v, p->walks[0], p->part, gather, p);
        if (++p->part == META_PARTS)
            end_walk(p);
    }
}

static void add_walk(struct placements *p, uint32_t cohort)
{
    if (p->walk_count == p->walk_cap) {
        p->walk_cap = p->walk_cap != 0 ? 2 * p->walk_cap : 8;
        p->walks = mem_realloc(p->walks, p->walk_cap * sizeof *p->walks);
    }
    p->walks[p->walk_count++] = cohort;
}

static void walk_all(struct placements *p)
{
    p->walk_count = 0;
    p->part = 0;
    add_walk(p, ALL_QUEUES);
}

/* Those that found no room are among all. */
static void walk_what_was_too_much(struct placements *p)
{
    bool is_overfull = false;
    for (uint32_t i = 0; i < p->setup.shard_count; i++) {
        is_overfull = is_overfull || p->lanes[i].is_overfull;
        p->lanes[i].is_overfull = false;
    }
    if (is_overfull)
        walk_all(p);
}

static void on_turn(void *arg)
{
    struct placements *p = arg;
    walk_what_was_too_much(p);
    walk(p);
    for (uint32_t i = 0; i < p->setup.shard_count; i++)
        send_some(p, i);
    if (may_walk(p))
        loop_again(p->setup.loop, &p->task);
}

static bool concerns(const struct meta_effect *e)
{
    return e->was != META_ROLE_NONE || e->is != META_ROLE_NONE;
}

void placements_tell(struct placements *p, const struct meta_effect *effects, size_t count)
{
    bool is_placed = false;
    for (size_t i = 0; i < count; i++) {
        const struct meta_effect *e = &effects[i];
        if (e->index == 0 && p->walk_count != 0)
            walk_all(p); /* the state was replaced: its cohorts have other numbers */
        bool is_new = e->kind == META_QUEUE_CREATED && e->cohort != 0;
        if (e->kind == META_COHORT_PLACED && concerns(e))
            add_walk(p, e->cohort);
        else if ((e->kind == META_QUEUE_PLACED || is_new) && concerns(e))
            add(&p->lanes[e->shard], e->qid);
        is_placed =
            is_placed || is_new || e->kind == META_QUEUE_PLACED || e->kind == META_COHORT_PLACED;
    }
    if (!is_placed)
        return;
    for (uint32_t i = 0; i < p->setup.shard_count; i++)
        p->lanes[i].is_to_know = true;
    loop_at_turn_end(p->setup.loop, &p->task);
}
