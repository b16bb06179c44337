#include "io/first_octets.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop_event.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/socket.h>
#include <unistd.h>

struct first_octets {
    struct loop *loop;
    int fd;
    size_t count;
    size_t got;
    uint8_t octets[FIRST_OCTETS_MAX];
    first_octets_fn fn;
    void *arg;
    struct event readable;
    struct loop_timer timer;
};

/* Nothing is watched any more; the memory is good until the turn is over. */
static void release(struct first_octets *f)
{
    event_del(&f->readable);
    loop_timer_fini(&f->timer);
    loop_bury(f->loop, f, mem_free);
}

static void end(struct first_octets *f, bool whole)
{
    release(f);
    if (!whole)
        close(f->fd);
    f->fn(whole ? f->fd : -1, slice_of(f->octets, f->got), f->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct first_octets *f = arg;
    loop_turn_begin(f->loop);
    ssize_t n = recv(fd, f->octets + f->got, f->count - f->got, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        end(f, false);
        return;
    }
    f->got += (size_t)n;
    if (f->got == f->count)
        end(f, true);
}

static void on_timer(void *arg)
{
    end(arg, false);
}

struct first_octets *first_octets_start(struct loop *loop, int fd, size_t count,
                                        uint64_t timeout_ms, first_octets_fn fn, void *arg)
{
    CHECK(loop_is_current(loop) && fd >= 0 && fn != NULL);
    CHECK(count != 0 && count <= FIRST_OCTETS_MAX);
    struct first_octets *f = mem_zalloc(sizeof *f);
    f->loop = loop;
    f->fd = fd;
    f->count = count;
    f->fn = fn;
    f->arg = arg;
    event_assign(&f->readable, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, f);
    CHECK(event_add(&f->readable, NULL) == 0);
    loop_timer_init(&f->timer, loop, on_timer, f);
    loop_timer_start(&f->timer, timeout_ms);
    return f;
}

void first_octets_cancel(struct first_octets **first)
{
    struct first_octets *f = *first;
    *first = NULL;
    if (f == NULL)
        return;
    release(f);
    close(f->fd);
}
