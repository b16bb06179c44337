#include "io/udp.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop_event.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACKETS_PER_TURN 64

struct udp {
    struct loop *loop;
    int fd;
    bool is_dead;
    struct event *readable;
    struct sock_addr at;
    udp_fn fn;
    void *arg;
};

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct udp *u = arg;
    uint8_t room[UDP_PACKET_MAX];
    loop_turn_begin(u->loop);
    for (int i = 0; i < PACKETS_PER_TURN && !u->is_dead; i++) {
        struct sock_addr from = { .len = sizeof from.bytes };
        socklen_t len = sizeof from.bytes;
        ssize_t n = recvfrom(fd, room, sizeof room, 0, (struct sockaddr *)(void *)from.bytes, &len);
        if (n < 0 && (errno == EINTR || errno == ECONNREFUSED))
            continue; /* an earlier packet was refused: nobody waits for it */
        if (n < 0)
            return;
        from.len = len;
        u->fn(slice_of(room, (size_t)n), &from, u->arg);
    }
}

static int bound_socket(struct sock_addr *at, struct err *err)
{
    char where[SOCK_ADDR_TEXT_MAX];
    bool is_v6 = sock_addr_is_v6(at);
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_set(err, ERR_SYSTEM, "UDP socket: %s", strerror(errno));
        return -1;
    }
    socklen_t len = sizeof at->bytes;
    if (bind(fd, (const struct sockaddr *)(const void *)at->bytes, (socklen_t)at->len) != 0 ||
        getsockname(fd, (struct sockaddr *)(void *)at->bytes, &len) != 0) {
        err_set(err, ERR_IO, "cannot bind UDP %s: %s", sock_addr_text(at, where), strerror(errno));
        close(fd);
        return -1;
    }
    at->len = len;
    return fd;
}

struct udp *udp_new(struct loop *loop, const struct sock_addr *at, udp_fn fn, void *arg,
                    struct err *err)
{
    struct sock_addr bound = *at;
    int fd = bound_socket(&bound, err);
    if (fd < 0)
        return NULL;
    struct udp *u = mem_zalloc(sizeof *u);
    *u = (struct udp){ .loop = loop, .fd = fd, .at = bound, .fn = fn, .arg = arg };
    u->readable = event_new(loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, u);
    CHECK(u->readable != NULL && event_add(u->readable, NULL) == 0);
    return u;
}

static void bury(void *ptr)
{
    struct udp *u = ptr;
    event_free(u->readable);
    mem_free(u);
}

void udp_free(struct udp **u)
{
    struct udp *x = *u;
    if (x == NULL)
        return;
    *u = NULL;
    x->is_dead = true;
    event_del(x->readable);
    close(x->fd); /* at once: its owner may bind the address anew in this very turn */
    loop_bury(x->loop, x, bury);
}

const struct sock_addr *udp_addr(const struct udp *u)
{
    return &u->at;
}

bool udp_send(struct udp *u, const struct sock_addr *to, struct slice packet)
{
    ssize_t n;
    do
        n = sendto(u->fd, packet.ptr, packet.len, MSG_NOSIGNAL,
                   (const struct sockaddr *)(const void *)to->bytes, (socklen_t)to->len);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)packet.len;
}
