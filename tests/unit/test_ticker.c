#include "io/ticker.h"

#include "io/clock.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define EVERY_US 2000u
#define TICKS    20u

struct rig {
    struct loop *loop;
    struct ticker *ticker;
    unsigned ticks;
    uint64_t first_us;
    uint64_t last_us;
};

static void on_tick(void *arg)
{
    struct rig *r = arg;
    r->last_us = clock_mono_us();
    if (r->ticks++ == 0)
        r->first_us = r->last_us;
    if (r->ticks == TICKS)
        loop_stop(r->loop);
}

static void rig_init(struct rig *r)
{
    struct err err;
    *r = (struct rig){ .loop = loop_new("ticker", &err) };
    cr_assert(r->loop != NULL);
    r->ticker = ticker_new(r->loop, on_tick, r, &err);
    cr_assert(r->ticker != NULL);
}

static void rig_fini(struct rig *r)
{
    ticker_free(&r->ticker);
    loop_free(&r->loop);
}

/* Never early, whatever else the machine does. */
Test(ticker, ticks_from_its_moment_on_and_not_before)
{
    struct rig r;
    rig_init(&r);
    uint64_t at_us = clock_mono_us() + 5000;
    ticker_start(r.ticker, at_us, EVERY_US);
    loop_run(r.loop);
    cr_expect(ge(u64, r.first_us, at_us));
    cr_expect(ge(u64, r.last_us, at_us + (TICKS - 1) * EVERY_US));
    rig_fini(&r);
}

/* A moment that has passed is now. */
Test(ticker, starts_at_once_when_its_moment_has_passed)
{
    struct rig r;
    rig_init(&r);
    ticker_start(r.ticker, 0, EVERY_US);
    loop_run(r.loop);
    cr_expect(eq(u32, r.ticks, TICKS));
    rig_fini(&r);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

Test(ticker, is_silent_once_it_is_stopped)
{
    struct rig r;
    struct loop_timer end;
    rig_init(&r);
    loop_timer_init(&end, r.loop, stop_loop, r.loop);
    ticker_start(r.ticker, 0, EVERY_US);
    ticker_stop(r.ticker);
    loop_timer_start(&end, 10);
    loop_run(r.loop);
    cr_expect(eq(u32, r.ticks, 0));
    loop_timer_fini(&end);
    rig_fini(&r);
}
