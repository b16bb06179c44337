#include "io/ticker.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop_event.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct ticker {
    struct loop *loop;
    loop_fn fn;
    void *arg;
    int fd;
    struct event *event;
};

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct ticker *t = arg;
    uint64_t missed;
    loop_turn_begin(t->loop);
    /* Nothing to read: it was stopped or started anew in this turn. */
    if (read(fd, &missed, sizeof missed) == (ssize_t)sizeof missed)
        t->fn(t->arg);
}

struct ticker *ticker_new(struct loop *loop, loop_fn fn, void *arg, struct err *err)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0) {
        err_set(err, ERR_SYSTEM, "timer: %s", strerror(errno));
        return NULL;
    }
    struct ticker *t = mem_zalloc(sizeof *t);
    *t = (struct ticker){ .loop = loop, .fn = fn, .arg = arg, .fd = fd };
    t->event = event_new(loop_base(loop), fd, EV_READ | EV_PERSIST, on_tick, t);
    CHECK(t->event != NULL && event_add(t->event, NULL) == 0);
    return t;
}

static void bury(void *ptr)
{
    struct ticker *t = ptr;
    event_free(t->event);
    (void)close(t->fd);
    mem_free(t);
}

void ticker_free(struct ticker **ticker)
{
    struct ticker *t = *ticker;
    if (t == NULL)
        return;
    *ticker = NULL;
    ticker_stop(t);
    event_del(t->event);
    loop_bury(t->loop, t, bury);
}

static struct timespec timespec_of(uint64_t us)
{
    return (struct timespec){ .tv_sec = (time_t)(us / 1000000u),
                              .tv_nsec = (long)(us % 1000000u * 1000u) };
}

void ticker_start(struct ticker *t, uint64_t at_us, uint64_t every_us)
{
    CHECK(every_us != 0);
    struct itimerspec spec = { .it_interval = timespec_of(every_us),
                               .it_value = timespec_of(at_us != 0 ? at_us : 1) };
    CHECK(timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0);
}

void ticker_stop(struct ticker *t)
{
    struct itimerspec never = { 0 };
    CHECK(timerfd_settime(t->fd, 0, &never, NULL) == 0);
}
