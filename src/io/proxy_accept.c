#include "io/proxy_accept.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop_event.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct proxy_accept {
    struct loop *loop;
    int fd;
    bool optional;
    proxy_accept_fn fn;
    void *arg;
    struct event readable;
    struct loop_timer timer;
};

/* The callback may come: nothing is watched any more. */
static void release(struct proxy_accept *a)
{
    event_del(&a->readable);
    loop_timer_fini(&a->timer);
    loop_bury(a->loop, a, mem_free);
}

static void fail(struct proxy_accept *a, const char *why)
{
    struct err err;
    err_set(&err, ERR_PROTOCOL, "%s", why);
    release(a);
    close(a->fd);
    a->fn(-1, NULL, &err, a->arg);
}

/* Peeking shows what is there, again and again, but not the end behind it. */
static bool has_ended(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* Wake us when there is more than this, not for what we have looked at already. The end of the
 * stream wakes us all the same, and would go on doing so until the timer ends it. */
static void wait_for_more(struct proxy_accept *a, size_t seen)
{
    int least = (int)seen + 1;
    if (has_ended(a->fd))
        fail(a, "closed within a PROXY header");
    else if (setsockopt(a->fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least) != 0)
        fail(a, strerror(errno));
}

/* The header's octets leave the socket; the rest stays. */
static void take(struct proxy_accept *a, const struct proxy_header *h, uint8_t *room, size_t len)
{
    struct proxy_header kept = *h; /* its slices point into the room, which gets the same octets */
    int least = 1;
    if (recv(a->fd, room, len, 0) != (ssize_t)len ||
        setsockopt(a->fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least) != 0) {
        fail(a, "the socket failed");
        return;
    }
    release(a);
    a->fn(a->fd, &kept, NULL, a->arg);
}

/* "PROXY ", or the carriage return of version 2's signature. */
static bool looks_like_header(uint8_t first)
{
    return first == 'P' || first == '\r';
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct proxy_accept *a = arg;
    uint8_t room[PROXY_V2_MAX];
    struct proxy_header h;
    size_t len;
    loop_turn_begin(a->loop);
    ssize_t n = recv(fd, room, sizeof room, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        fail(a, n == 0 ? "closed before a PROXY header" : strerror(errno));
        return;
    }
    if (a->optional && !looks_like_header(room[0])) {
        release(a);
        a->fn(a->fd, NULL, NULL, a->arg);
        return;
    }
    switch (proxy_proto_cut(slice_of(room, (size_t)n), &h, &len)) {
    case PROXY_CUT_MORE:
        wait_for_more(a, (size_t)n);
        return;
    case PROXY_CUT_BAD:
        fail(a, "no PROXY header");
        return;
    case PROXY_CUT_HEADER:
        take(a, &h, room, len);
        return;
    }
    UNREACHABLE("verdict on a PROXY header");
}

static void on_timer(void *arg)
{
    fail(arg, "no PROXY header in time");
}

struct proxy_accept *proxy_accept_start(struct loop *loop, int fd, bool optional,
                                        uint64_t timeout_ms, proxy_accept_fn fn, void *arg)
{
    CHECK(loop_is_current(loop) && fd >= 0 && fn != NULL);
    struct proxy_accept *a = mem_zalloc(sizeof *a);
    a->loop = loop;
    a->fd = fd;
    a->optional = optional;
    a->fn = fn;
    a->arg = arg;
    event_assign(&a->readable, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, a);
    CHECK(event_add(&a->readable, NULL) == 0);
    loop_timer_init(&a->timer, loop, on_timer, a);
    loop_timer_start(&a->timer, timeout_ms);
    return a;
}

void proxy_accept_cancel(struct proxy_accept **accept)
{
    struct proxy_accept *a = *accept;
    *accept = NULL;
    if (a == NULL)
        return;
    release(a);
    close(a->fd);
}
