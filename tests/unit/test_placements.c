#include "placements.h"

#include "base/mem.h"
#include "expect.h"
#include "io_kit.h"
#include "meta_mirrored.h"

#define SHARDS 4u

/* All shards live on the test's loop. */
static struct {
    struct world w;
    struct loop *loop;
    struct placements *p;
    size_t looks[8192]; /* by qid */
    size_t look_count;
    size_t strays; /* looked at by another shard than its own */
    size_t most;   /* of one turn of a shard */
    size_t of_turn[SHARDS];
    size_t placed[SHARDS];
} h;

static struct loop *on_loop_of(void *arg, uint32_t shard)
{
    (void)arg, (void)shard;
    return h.loop;
}

static const struct meta_version *on_version(void *arg)
{
    (void)arg;
    memset(h.of_turn, 0, sizeof h.of_turn); /* asked once a turn of whoever looks */
    return now(&h.w);
}

static void on_look(void *arg, uint32_t shard, const struct meta_queue *q)
{
    (void)arg;
    cr_assert(lt(u64, q->qid, ARRAY_COUNT(h.looks)));
    h.looks[q->qid]++;
    h.look_count++;
    h.strays += q->shard != shard;
    h.of_turn[shard]++;
    if (h.of_turn[shard] > h.most)
        h.most = h.of_turn[shard];
}

static void on_placed(void *arg, uint32_t shard)
{
    (void)arg;
    h.placed[shard]++;
}

static void set_up(void)
{
    memset(&h, 0, sizeof h);
    world_init(&h.w, 1);
    mirroring_nodes(&h.w, 3);
    h.loop = kit_loop_new();
    h.p = placements_new(&(struct placements_setup){ .loop = h.loop,
                                                     .shard_count = SHARDS,
                                                     .loop_of = on_loop_of,
                                                     .version = on_version,
                                                     .look = on_look,
                                                     .placed = on_placed });
}

static void tear_down(void)
{
    while (loop_settle(h.loop))
        ;
    placements_free(&h.p);
    loop_free(&h.loop);
    world_fini(&h.w);
}

TestSuite(placements, .init = set_up, .fini = tear_down, .timeout = 300);

static void mirror_all(struct world *w)
{
    must(w, policy_put("ha", "^q", "{\"ha-mode\":\"all\"}", 0));
}

static void declare(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%u", i);
        must(&h.w, lasting(q_declare(name)));
    }
}

static void tell(void)
{
    placements_tell(h.p, h.w.r.effects, h.w.r.effect_count);
    while (loop_settle(h.loop))
        ;
    cr_expect(placements_are_told(h.p));
    cr_expect(eq(sz, h.strays, 0));
}

Test(placements, a_queue_is_looked_at_by_its_shard_and_all_shards_know)
{
    mirror_all(&h.w);
    declare(1);
    must(&h.w, change_isr(&h.w, "q0", 2, 1, false));
    tell();
    cr_expect(eq(sz, h.look_count, 1));
    cr_expect(eq(sz, h.looks[queue_now(&h.w, "q0")->qid], 1));
    for (unsigned i = 0; i < SHARDS; i++)
        cr_expect(eq(sz, h.placed[i], 1));
}

Test(placements, what_is_not_placed_concerns_nobody)
{
    declare(1);
    tell();
    cr_expect(eq(sz, h.look_count, 0));
    cr_expect(eq(sz, h.placed[0], 0));
}

Test(placements, a_cohort_is_looked_at_in_turns)
{
    mirror_all(&h.w);
    declare(3000);
    must(&h.w, node_cmd(META_NODE_DOWN, 2, 1));
    tell();
    for (unsigned i = 0; i < 3000; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%u", i);
        cr_expect(ge(sz, h.looks[queue_now(&h.w, name)->qid], 1), "%s", name);
    }
    cr_expect(le(sz, h.most, PLACEMENTS_TURN));
    cr_expect(lt(sz, h.look_count, 2 * 3000));
}

Test(placements, a_queue_that_went_meanwhile_is_passed_over)
{
    mirror_all(&h.w);
    declare(2);
    must(&h.w, change_isr(&h.w, "q0", 2, 1, false));
    placements_tell(h.p, h.w.r.effects, h.w.r.effect_count);
    must(&h.w, q_delete("q0"));
    while (loop_settle(h.loop))
        ;
    cr_expect(eq(sz, h.look_count, 0));
    cr_expect(eq(sz, h.placed[1], 1));
}

Test(placements, when_too_many_wait_all_are_gone_through)
{
    mirror_all(&h.w);
    declare(20);
    struct meta_effect e = { .kind = META_QUEUE_PLACED, .index = 1, .is = META_ROLE_MIRROR };
    e.qid = queue_now(&h.w, "q0")->qid;
    for (unsigned i = 0; i < 2 * PLACEMENTS_LANE_MAX; i++) {
        e.shard = queue_now(&h.w, "q0")->shard;
        placements_tell(h.p, &e, 1);
    }
    tell();
    for (unsigned i = 1; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%u", i);
        cr_expect(ge(sz, h.looks[queue_now(&h.w, name)->qid], 1), "%s", name);
    }
    cr_expect(le(sz, h.looks[e.qid], PLACEMENTS_LANE_MAX + 1));
}

/* Cohorts are numbered by each state for itself. */
Test(placements, a_walk_goes_through_all_when_the_state_is_another_one)
{
    mirror_all(&h.w);
    declare(50);
    struct meta_effect cohort = {
        .kind = META_COHORT_PLACED, .index = 1, .cohort = 123456, .is = META_ROLE_MIRROR
    };
    struct meta_effect replaced = { .kind = META_NODES_CHANGED };
    placements_tell(h.p, &cohort, 1);
    placements_tell(h.p, &replaced, 1);
    while (loop_settle(h.loop))
        ;
    cr_expect(eq(sz, h.look_count, 50));
}
