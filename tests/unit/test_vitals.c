#include "vitals.h"

#include "expect.h"
#include "io/loop.h"
#include "io_kit.h"

#include <stdatomic.h>

static atomic_uint given_up;

static void on_stuck(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static bool is_given_up(void *arg)
{
    return atomic_load((atomic_uint *)arg) != 0;
}

static bool hangs(void *arg)
{
    return vitals_loop_ms(arg) >= VITALS_HANG_MS;
}

/* The second loop is nobody's to run. */
Test(vitals, a_thread_that_hangs_holds_up_a_stop_for_so_long_and_no_longer, .timeout = 60)
{
    struct loop *loops[2] = { kit_loop_new(), kit_loop_new() };
    struct vitals *v = vitals_new("node", loops, 2);
    struct err err;
    cr_assert(vitals_start(v, &err), "%s", err.text);
    kit_until(loops[0], hangs, v);
    cr_expect(eq(uint, atomic_load(&given_up), 0), "nobody stops");
    vitals_leave(v, 3 * VITALS_ASK_MS, on_stuck, &given_up);
    cr_expect(eq(uint, atomic_load(&given_up), 0), "it has hung before that, too");
    kit_until(loops[0], is_given_up, &given_up);
    vitals_stop(v);
    cr_expect(eq(uint, atomic_load(&given_up), 1), "once");
    for (unsigned i = 0; i < 2; i++)
        (void)loop_settle(loops[i]);
    vitals_free(&v);
    for (unsigned i = 0; i < 2; i++)
        loop_free(&loops[i]);
}

Test(vitals, a_stop_goes_on_while_all_threads_do, .timeout = 60)
{
    struct loop *loops[1] = { kit_loop_new() };
    struct vitals *v = vitals_new("node", loops, 1);
    struct err err;
    atomic_uint none = 0;
    cr_assert(vitals_start(v, &err), "%s", err.text);
    vitals_leave(v, 0, on_stuck, &none);
    kit_turns(loops[0], 10);
    vitals_stop(v);
    cr_expect(eq(uint, atomic_load(&none), 0));
    (void)loop_settle(loops[0]);
    vitals_free(&v);
    loop_free(&loops[0]);
}
