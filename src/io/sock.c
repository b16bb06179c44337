#include "io/sock.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/handover.h"
#include "io/host.h"
#include "io/loop_event.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN    64
#define REST_MS             1000 /* pause after the system refused a descriptor */
#define FILES_KEPT          64u  /* descriptors that no client gets, or a quarter of all */

#define CONGESTION_NAME_MAX 16 /* TCP_CA_NAME_MAX, which no header of libc has */

_Static_assert(sizeof(struct sockaddr_in6) <= sizeof((struct sock_addr *)0)->bytes, "v6 fits");
_Static_assert(sizeof(struct sockaddr_un) <= sizeof((struct sock_addr *)0)->bytes, "unix fits");

/* ---- addresses ------------------------------------------------------------------------------ */

static sa_family_t family_of(const struct sock_addr *a)
{
    struct sockaddr sa;
    memcpy(&sa, a->bytes, sizeof sa);
    return a->len != 0 ? sa.sa_family : AF_UNSPEC;
}

static void store(struct sock_addr *out, const void *sa, size_t len)
{
    memset(out, 0, sizeof *out);
    memcpy(out->bytes, sa, len);
    out->len = (uint32_t)len;
}

bool sock_addr_ip(const char *ip, uint16_t port, struct sock_addr *out)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    if (ip[0] == '\0' || strcmp(ip, "*") == 0 || inet_pton(AF_INET, ip, &v4.sin_addr) == 1) {
        store(out, &v4, sizeof v4);
        return true;
    }
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    if (inet_pton(AF_INET6, ip, &v6.sin6_addr) != 1)
        return false;
    store(out, &v6, sizeof v6);
    return true;
}

bool sock_addr_unix(const char *path, struct sock_addr *out)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    if (path[0] == '\0' || strlen(path) >= sizeof un.sun_path)
        return false;
    memcpy(un.sun_path, path, strlen(path));
    store(out, &un, sizeof un);
    return true;
}

bool sock_addr_is_v6(const struct sock_addr *a)
{
    return family_of(a) == AF_INET6;
}

bool sock_addr_is_unix(const struct sock_addr *a)
{
    return family_of(a) == AF_UNIX;
}

bool sock_addr_eq(const struct sock_addr *a, const struct sock_addr *b)
{
    return family_of(a) == family_of(b) && sock_addr_port(a) == sock_addr_port(b) &&
           slice_eq(sock_addr_octets(a), sock_addr_octets(b)) &&
           (!sock_addr_is_unix(a) || memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0);
}

struct slice sock_addr_octets(const struct sock_addr *a)
{
    switch (family_of(a)) {
    case AF_INET:
        return slice_of(a->bytes + offsetof(struct sockaddr_in, sin_addr), 4);
    case AF_INET6:
        return slice_of(a->bytes + offsetof(struct sockaddr_in6, sin6_addr), 16);
    default:
        return slice_of(NULL, 0);
    }
}

bool sock_addr_is_loopback(const struct sock_addr *a)
{
    static const uint8_t v6_loopback[16] = { [15] = 1 };
    static const uint8_t v4_mapped[12] = { [10] = 0xFF, [11] = 0xFF };
    if (sock_addr_is_unix(a))
        return true;
    struct slice o = sock_addr_octets(a);
    if (o.len == 4)
        return o.ptr[0] == 127;
    if (o.len != 16)
        return false;
    if (memcmp(o.ptr, v4_mapped, sizeof v4_mapped) == 0)
        return o.ptr[12] == 127;
    return memcmp(o.ptr, v6_loopback, sizeof v6_loopback) == 0;
}

uint16_t sock_addr_port(const struct sock_addr *a)
{
    sa_family_t f = family_of(a);
    if (f != AF_INET && f != AF_INET6)
        return 0;
    _Static_assert(offsetof(struct sockaddr_in, sin_port) ==
                       offsetof(struct sockaddr_in6, sin6_port),
                   "one place for both");
    in_port_t port;
    memcpy(&port, a->bytes + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

void sock_addr_set_port(struct sock_addr *a, uint16_t port)
{
    CHECK(family_of(a) == AF_INET || family_of(a) == AF_INET6);
    in_port_t in_order = htons(port);
    memcpy(a->bytes + offsetof(struct sockaddr_in, sin_port), &in_order, sizeof in_order);
}

const char *sock_addr_host(const struct sock_addr *a, char room[SOCK_ADDR_TEXT_MAX])
{
    struct slice o = sock_addr_octets(a);
    if (sock_addr_is_unix(a))
        snprintf(room, SOCK_ADDR_TEXT_MAX, "unix:%s",
                 (const char *)a->bytes + offsetof(struct sockaddr_un, sun_path));
    else if (o.len == 0 ||
             inet_ntop(o.len == 4 ? AF_INET : AF_INET6, o.ptr, room, SOCK_ADDR_TEXT_MAX) == NULL)
        snprintf(room, SOCK_ADDR_TEXT_MAX, "unknown");
    return room;
}

const char *sock_addr_text(const struct sock_addr *a, char room[SOCK_ADDR_TEXT_MAX])
{
    char host[SOCK_ADDR_TEXT_MAX];
    sock_addr_host(a, host);
    if (sock_addr_is_unix(a) || a->len == 0)
        memcpy(room, host, sizeof host);
    else
        snprintf(room, SOCK_ADDR_TEXT_MAX, sock_addr_is_v6(a) ? "[%.100s]:%u" : "%.100s:%u", host,
                 sock_addr_port(a));
    return room;
}

/* ---- listening ------------------------------------------------------------------------------ */

struct listener {
    struct loop *loop;
    int fd;
    struct event *readable;
    struct loop_timer rest;
    listener_fn fn;
    void *arg;
    struct sock_addr at;
    bool paused;
    bool dead;
    bool owns_path;
    struct log_rate rate;
};

static bool has_no_room(int e)
{
    return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
}

static void accept_failed(struct listener *l, int e)
{
    char where[SOCK_ADDR_TEXT_MAX];
    unsigned left_out;
    if (log_rate_ok(&l->rate, 1, REST_MS, &left_out))
        log_error("listener", sock_addr_text(&l->at, where), "accept failed: %s", strerror(e));
    if (!has_no_room(e))
        return;
    /* The backlog keeps them; trying again at once would only burn the processor. */
    event_del(l->readable);
    loop_timer_start(&l->rest, REST_MS);
}

/* The lowest free number is given: the rest is for files and what the node opens itself. A journal
 * that cannot open its next file because of too many clients would be the end of all of them. */
static bool is_of_the_last(int fd)
{
    uint64_t max = host_files_max();
    return (uint64_t)fd >= max - (max / 4 < FILES_KEPT ? max / 4 : FILES_KEPT);
}

void sock_no_delay(int fd, const struct sock_addr *peer)
{
    int one = 1;
    if (!sock_addr_is_unix(peer))
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* BBR sends by timers, at the rate that it takes a path to have. On a path through memory these
 * cost more than all else: what sends as long as there is room does better, and every system has
 * Reno, for everybody. */
void sock_do_not_pace(int fd, const struct sock_addr *peer)
{
    char name[CONGESTION_NAME_MAX] = "";
    socklen_t len = sizeof name - 1;
    if (sock_addr_is_unix(peer) || !sock_addr_is_loopback(peer))
        return;
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 &&
        strncmp(name, "bbr", 3) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", strlen("reno"));
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct listener *l = arg;
    loop_turn_begin(l->loop);
    for (int n = 0; n < ACCEPTS_PER_TURN && !l->dead && !l->paused; n++) {
        struct sock_addr peer = { .len = sizeof peer.bytes };
        socklen_t len = sizeof peer.bytes;
        int client =
            accept4(fd, (struct sockaddr *)(void *)peer.bytes, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                accept_failed(l, errno);
            return;
        }
        if (is_of_the_last(client)) {
            close(client);
            accept_failed(l, EMFILE);
            return;
        }
        peer.len = len;
        sock_no_delay(client, &peer);
        l->fn(client, &peer, l->arg);
    }
}

static void on_rested(void *arg)
{
    struct listener *l = arg;
    if (!l->paused)
        event_add(l->readable, NULL);
}

static struct listener *over_fd(struct loop *loop, int fd, listener_fn fn, void *arg)
{
    struct listener *l = mem_zalloc(sizeof *l);
    l->loop = loop;
    l->fd = fd;
    l->fn = fn;
    l->arg = arg;
    socklen_t len = sizeof l->at.bytes;
    CHECK(getsockname(fd, (struct sockaddr *)(void *)l->at.bytes, &len) == 0);
    l->at.len = len;
    loop_timer_init(&l->rest, loop, on_rested, l);
    l->readable = event_new(loop_base(loop), fd, EV_READ | EV_PERSIST, on_acceptable, l);
    CHECK(l->readable != NULL && event_add(l->readable, NULL) == 0);
    return l;
}

/* A unix socket file whose server is gone stands in the way; one that answers is in use. */
static bool clear_stale_path(const struct sock_addr *at, struct err *err)
{
    const char *path = (const char *)at->bytes + offsetof(struct sockaddr_un, sun_path);
    struct stat st;
    if (lstat(path, &st) != 0)
        return true;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_IO, "%s is in the way and is not a socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* One whose backlog is full is alive, too. */
    bool alive =
        fd >= 0 && (connect(fd, (const struct sockaddr *)(const void *)at->bytes, at->len) == 0 ||
                    errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    if (alive)
        return err_set(err, ERR_IO, "%s is in use by another process", path);
    unlink(path);
    return true;
}

static bool set_options(int fd, const struct sock_addr *at, const struct listener_options *o)
{
    int one = 1;
    if (sock_addr_is_unix(at))
        return true;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0)
        return false;
    if (o->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0)
        return false;
    if (o->carries_much)
        sock_do_not_pace(fd, at);
    return !sock_addr_is_v6(at) || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0;
}

struct listener *listener_new(struct loop *loop, const struct sock_addr *at,
                              const struct listener_options *o, listener_fn fn, void *arg,
                              struct err *err)
{
    char where[SOCK_ADDR_TEXT_MAX];
    sock_addr_text(at, where);
    bool is_unix = sock_addr_is_unix(at);
    int inherited = handover_take(o->inherited, at);
    if (inherited >= 0)
        return over_fd(loop, inherited, fn, arg); /* its path stays the giver's */
    if (is_unix && !clear_stale_path(at, err))
        return NULL;
    int fd = socket(family_of(at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !set_options(fd, at, o) ||
        bind(fd, (const struct sockaddr *)(const void *)at->bytes, at->len) != 0 ||
        (is_unix && chmod(where + strlen("unix:"), o->unix_mode != 0 ? o->unix_mode : 0600) != 0) ||
        listen(fd, o->backlog > 0 ? o->backlog : SOMAXCONN) != 0) {
        err_set(err, ERR_SYSTEM, "cannot listen on %s: %s", where, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct listener *l = over_fd(loop, fd, fn, arg);
    l->owns_path = is_unix;
    return l;
}

struct listener *listener_share(struct listener *l, struct loop *loop, listener_fn fn, void *arg,
                                struct err *err)
{
    int fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        err_set(err, ERR_SYSTEM, "cannot share a listening socket: %s", strerror(errno));
        return NULL;
    }
    return over_fd(loop, fd, fn, arg);
}

void listener_own_path(struct listener *l)
{
    l->owns_path = sock_addr_is_unix(&l->at);
}

int listener_give(struct listener *l)
{
    l->owns_path = false;
    return fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
}

static void free_listener(void *ptr)
{
    mem_free(ptr);
}

void listener_free(struct listener **listener)
{
    struct listener *l = *listener;
    if (l == NULL)
        return;
    *listener = NULL;
    l->dead = true;
    event_free(l->readable);
    loop_timer_fini(&l->rest);
    close(l->fd);
    if (l->owns_path)
        unlink((const char *)l->at.bytes + offsetof(struct sockaddr_un, sun_path));
    loop_bury(l->loop, l, free_listener);
}

void listener_pause(struct listener *l)
{
    l->paused = true;
    loop_timer_stop(&l->rest);
    event_del(l->readable);
}

void listener_resume(struct listener *l)
{
    l->paused = false;
    event_add(l->readable, NULL);
}

const struct sock_addr *listener_addr(const struct listener *l)
{
    return &l->at;
}

/* A system that refuses it serves the client all the same. */
void sock_keep_alive(int fd, unsigned idle_s)
{
    int one = 1;
    int idle = (int)idle_s;
    int again = idle / 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again, sizeof again);
}

void sock_local(int fd, struct sock_addr *out)
{
    socklen_t len = sizeof out->bytes;
    memset(out, 0, sizeof *out);
    if (getsockname(fd, (struct sockaddr *)(void *)out->bytes, &len) == 0)
        out->len = len;
}

void sock_close(int fd)
{
    close(fd);
}
