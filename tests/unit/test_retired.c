#include "retired.h"

#include "cluster/meta_replace.h"
#include "expect.h"
#include "io_kit.h"
#include "meta_world.h"

#define MANY 20000u

struct site {
    struct loop *loop;
    struct epoch *epoch;
    struct epoch_reader *reader;
    struct retired *retired;
    struct meta_setup setup;
    struct world w;
};

static void site_init(struct site *s)
{
    s->loop = kit_loop_new();
    s->epoch = epoch_new();
    s->reader = epoch_join(s->epoch);
    s->retired = retired_new(s->loop, s->epoch);
    s->setup = (struct meta_setup){ .hash_seed = 7,
                                    .shard_count = 2,
                                    .retire = retired_thing,
                                    .retire_garbage = retired_garbage,
                                    .retire_state = retired_state,
                                    .retire_arg = s->retired };
    s->w = (struct world){ .meta = meta_new(&s->setup), .conn = 1 };
    meta_result_init(&s->w.r);
}

static void site_fini(struct site *s)
{
    world_fini(&s->w);
    epoch_leave(s->epoch, &s->reader);
    retired_stop(s->retired);
    loop_free(&s->loop);
    epoch_free(&s->epoch);
    retired_free(&s->retired);
}

static void fill(struct meta *m, struct meta_result *r, unsigned count)
{
    struct meta_cmd vhost = { .op = META_VHOST_ADD, .name = S("v") };
    (void)meta_apply(m, &vhost, r);
    uint64_t id = r->id;
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%u", i);
        struct meta_cmd q = { .op = META_QUEUE_DECLARE, .vhost_id = id, .name = S(name) };
        q.queue_declare.durable = true;
        cr_assert(meta_apply(m, &q, r) == META_DONE);
    }
    meta_publish(m);
}

static void delete_all(struct site *s)
{
    struct meta_cmd gone = { .op = META_VHOST_DELETE, .name = S("v") };
    cr_assert(meta_apply(s->w.meta, &gone, &s->w.r) == META_DONE);
    meta_publish(s->w.meta);
}

static unsigned turns(struct site *s)
{
    unsigned n = 0;
    while (loop_settle(s->loop))
        n++;
    return n;
}

/* Nobody waits for all of it, neither for the readers nor for the memory. */
Test(retired, a_million_things_are_freed_in_turns)
{
    struct site s;
    site_init(&s);
    fill(s.w.meta, &s.w.r, MANY);
    epoch_reclaim(s.epoch);
    (void)turns(&s);
    epoch_online(s.epoch, s.reader);
    delete_all(&s);
    epoch_reclaim(s.epoch);
    cr_expect(eq(uint, turns(&s), 0), "somebody reads it still");
    epoch_offline(s.reader);
    epoch_reclaim(s.epoch);
    cr_expect(gt(uint, turns(&s), 5));
    cr_expect(eq(sz, epoch_waiting(s.epoch), 0));
    site_fini(&s);
}

Test(retired, few_are_freed_at_once)
{
    struct site s;
    site_init(&s);
    fill(s.w.meta, &s.w.r, 10);
    delete_all(&s);
    epoch_reclaim(s.epoch);
    cr_expect(eq(uint, turns(&s), 0));
    cr_expect(eq(sz, epoch_waiting(s.epoch), 0));
    site_fini(&s);
}

static void replace(struct site *s)
{
    struct meta *fresh = meta_new(&s->setup);
    fill(s->w.meta, &s->w.r, MANY);
    fill(fresh, &s->w.r, 3);
    meta_replace(s->w.meta, &fresh);
    meta_publish(s->w.meta);
    epoch_reclaim(s->epoch);
}

static bool is_done(void *arg)
{
    return retired_waits(((struct site *)arg)->retired) == 0;
}

Test(retired, a_state_is_taken_apart_elsewhere, .timeout = 300)
{
    struct site s;
    site_init(&s);
    replace(&s);
    cr_expect(eq(sz, retired_waits(s.retired), 1));
    kit_until(s.loop, is_done, &s);
    cr_expect(eq(u64, meta_stats(s.w.meta).queue_count, 3));
    site_fini(&s);
}

/* Whatever is under way: nothing is left over, as the address sanitizer sees. */
Test(retired, the_end_comes_at_any_time, .timeout = 300)
{
    for (unsigned i = 0; i < 4; i++) {
        struct site s;
        site_init(&s);
        fill(s.w.meta, &s.w.r, MANY);
        if (i >= 2)
            replace(&s);
        delete_all(&s);
        if (i % 2 == 1)
            epoch_reclaim(s.epoch);
        (void)loop_settle(s.loop);
        site_fini(&s);
    }
}
