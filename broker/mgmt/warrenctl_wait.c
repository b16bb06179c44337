#include "mgmt/warrenctl_wait.h"

#include "io/clock.h"
#include "io/loop.h"

#define PAUSE_FIRST_MS 10u
#define PAUSE_LONG_MS  250u

void warrenctl_wait_begin(struct warrenctl_wait *t, uint64_t seconds)
{
    t->until_ms = seconds != 0 ? clock_mono_ms() + seconds * 1000u : 0;
    t->pause_ms = PAUSE_FIRST_MS;
}

static void on_over(void *arg)
{
    loop_stop(arg);
}

static void pause_for(uint64_t ms)
{
    struct err err;
    struct loop *loop = loop_new("wait", &err);
    struct loop_timer timer;
    if (loop == NULL)
        return; /* then it looks again at once */
    loop_timer_init(&timer, loop, on_over, loop);
    loop_timer_start(&timer, ms);
    loop_run(loop);
    loop_timer_fini(&timer);
    loop_free(&loop);
}

bool warrenctl_wait_more(struct warrenctl_wait *t)
{
    if (t->until_ms != 0 && clock_mono_ms() >= t->until_ms)
        return false;
    pause_for(t->pause_ms);
    t->pause_ms = t->pause_ms * 2 < PAUSE_LONG_MS ? t->pause_ms * 2 : PAUSE_LONG_MS;
    return true;
}
