#include "io/handover.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ASK_MS  10000
#define SEND_S  1
#define MARK    'S'
#define SAY_MAX 512

struct handover {
    int fds[HANDOVER_SOCKETS_MAX]; /* -1: taken */
    unsigned count;
    pid_t from;
};

static bool failed(struct err *err, const char *doing, const char *path)
{
    return err_set(err, ERR_SYSTEM, "%s %s: %s", doing, path, strerror(errno));
}

static int local_socket(int flags)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

static int connect_to(const char *path, struct err *err)
{
    struct sock_addr at;
    if (!sock_addr_unix(path, &at)) {
        err_set(err, ERR_CONFIG, "the path %s is too long for a socket", path);
        return -1;
    }
    int fd = local_socket(0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)at.bytes, at.len) == 0)
        return fd;
    (void)failed(err, "cannot connect to", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool address_of(int fd, struct sock_addr *out)
{
    socklen_t len = sizeof out->bytes;
    memset(out, 0, sizeof *out);
    bool ok = getsockname(fd, (struct sockaddr *)(void *)out->bytes, &len) == 0;
    out->len = len;
    return ok;
}

/* Who is at the other end. The system says 0 for a process that we cannot see, and to signal that
 * number would be to signal ourselves and all of our group. */
static bool peer_of(int fd, pid_t *out, struct err *err)
{
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return failed(err, "cannot tell who is at", "the other end");
    *out = who.pid;
    return who.pid > 0 ||
           err_set(err, ERR_REFUSED,
                   "the other process has no number here: it is in another PID namespace");
}

/* ---- the new process ------------------------------------------------------------------------- */

/* Ours alone, for the time that it takes. */
static int listen_at(const char *path, struct err *err)
{
    struct sock_addr at;
    if (!sock_addr_unix(path, &at)) {
        err_set(err, ERR_CONFIG, "the path %s is too long for a socket", path);
        return -1;
    }
    int fd = local_socket(0);
    mode_t was = umask(0177);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)(const void *)at.bytes, at.len) == 0 &&
              listen(fd, 1) == 0;
    umask(was);
    if (ok)
        return fd;
    (void)failed(err, "cannot listen at", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool ask(int runtime, const char *path, struct err *err)
{
    char line[SAY_MAX];
    int n = snprintf(line, sizeof line, HANDOVER_COMMAND " %s\n", path);
    if (n < 0 || (size_t)n >= sizeof line)
        return err_set(err, ERR_CONFIG, "the path %s is too long", path);
    return send(runtime, line, (size_t)n, MSG_NOSIGNAL) == n ||
           failed(err, "cannot ask for sockets at", path);
}

/* It comes to us, or says why it does not. */
static int await(int listener, int runtime, struct err *err)
{
    struct pollfd p[] = { { .fd = listener, .events = POLLIN },
                          { .fd = runtime, .events = POLLIN } };
    char said[SAY_MAX];
    if (poll(p, 2, ASK_MS) <= 0) {
        err_set(err, ERR_REFUSED, "the running process sends no sockets");
        return -1;
    }
    if (p[0].revents != 0)
        return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ssize_t n = recv(runtime, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    err_set(err, ERR_REFUSED, "the running process sends no sockets: %s", said);
    return -1;
}

/* One octet and one socket at a time, up to the end. */
static bool receive_one(struct handover *h, int from, bool *over, struct err *err)
{
    char mark, room[CMSG_SPACE(sizeof(int))];
    struct iovec io = { &mark, 1 };
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room
    };
    ssize_t n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
    *over = n == 0;
    if (n == 0)
        return true;
    const struct cmsghdr *c = n == 1 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c == NULL || c->cmsg_type != SCM_RIGHTS || mark != MARK)
        return err_set(err, ERR_PROTOCOL, "the running process sent something else than sockets");
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    if (h->count == HANDOVER_SOCKETS_MAX) {
        close(fd);
        return err_set(err, ERR_LIMIT, "the running process listens at too many places");
    }
    h->fds[h->count++] = fd;
    return true;
}

static bool receive_all(struct handover *h, int from, struct err *err)
{
    struct timeval patience = { .tv_sec = ASK_MS / 1000 };
    if (!peer_of(from, &h->from, err))
        return false;
    if (setsockopt(from, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return failed(err, "cannot wait for", "sockets");
    for (bool over = false; !over;) {
        if (!receive_one(h, from, &over, err))
            return false;
    }
    return h->count != 0 || err_set(err, ERR_REFUSED, "the running process listens nowhere");
}

static bool receive_at(struct handover *h, const char *runtime_socket, const char *path,
                       int listener, struct err *err)
{
    int runtime = connect_to(runtime_socket, err);
    int from = runtime >= 0 && ask(runtime, path, err) ? await(listener, runtime, err) : -1;
    bool ok = from >= 0 && receive_all(h, from, err);
    if (from >= 0)
        close(from);
    if (runtime >= 0)
        close(runtime);
    return ok;
}

struct handover *handover_receive(const char *runtime_socket, struct err *err)
{
    char path[SAY_MAX / 2];
    struct handover *h = mem_zalloc(sizeof *h);
    int n = snprintf(path, sizeof path, "%s.%ld", runtime_socket, (long)getpid());
    int listener = -1;
    if (n < 0 || (size_t)n >= sizeof path)
        (void)err_set(err, ERR_CONFIG, "the path %s is too long", runtime_socket);
    else
        listener = listen_at(path, err);
    bool ok = listener >= 0 && receive_at(h, runtime_socket, path, listener, err);
    if (listener >= 0) {
        close(listener);
        (void)unlink(path);
    }
    if (!ok)
        handover_free(&h);
    return h;
}

static int *find(const struct handover *h, const struct sock_addr *at)
{
    for (unsigned i = 0; h != NULL && i < h->count; i++) {
        struct sock_addr bound;
        if (h->fds[i] >= 0 && address_of(h->fds[i], &bound) && sock_addr_eq(&bound, at))
            return (int *)(uintptr_t)&h->fds[i];
    }
    return NULL;
}

int handover_take(struct handover *h, const struct sock_addr *at)
{
    int *place = find(h, at);
    int fd = place != NULL ? *place : -1;
    if (place != NULL)
        *place = -1;
    return fd;
}

bool handover_has(const struct handover *h, const struct sock_addr *at)
{
    return find(h, at) != NULL;
}

unsigned handover_most(const struct handover *h)
{
    unsigned most = 0;
    for (unsigned i = 0; i < h->count; i++) {
        struct sock_addr a, b;
        unsigned same = 0;
        if (!address_of(h->fds[i], &a))
            continue;
        for (unsigned k = 0; k < h->count; k++)
            same += address_of(h->fds[k], &b) && sock_addr_eq(&a, &b);
        most = same > most ? same : most;
    }
    return most;
}

void handover_finish(const struct handover *h)
{
    CHECK(h->from > 0); /* see peer_of */
    (void)kill(h->from, SIGUSR1);
}

void handover_free(struct handover **handover)
{
    struct handover *h = *handover;
    *handover = NULL;
    for (unsigned i = 0; h != NULL && i < h->count; i++) {
        if (h->fds[i] >= 0)
            close(h->fds[i]);
    }
    mem_free(h);
}

/* ---- the old process ------------------------------------------------------------------------- */

void handover_add(struct handover_out *out, struct listener *l)
{
    int fd = out->count < HANDOVER_SOCKETS_MAX ? listener_give(l) : -1;
    out->full |= fd < 0;
    if (fd >= 0)
        out->fds[out->count++] = fd;
}

static bool send_one(int to, int fd)
{
    char mark = MARK, room[CMSG_SPACE(sizeof fd)] = { 0 };
    struct iovec io = { &mark, 1 };
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    ssize_t n;
    do
        n = sendmsg(to, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static bool send_all(struct handover_out *out, int to, const char *path, struct err *err)
{
    struct timeval patience = { .tv_sec = SEND_S };
    if (!peer_of(to, &out->heir, err))
        return false;
    if (setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0)
        return failed(err, "cannot send sockets to", path);
    for (unsigned i = 0; i < out->count; i++) {
        if (!send_one(to, out->fds[i]))
            return failed(err, "cannot send sockets to", path);
    }
    return true;
}

bool handover_send(struct handover_out *out, const char *path, struct err *err)
{
    int to = -1;
    bool ok = !out->full ||
              err_set(err, ERR_LIMIT, "more sockets, or fewer files, than can be handed over");
    ok = ok && (to = connect_to(path, err)) >= 0 && send_all(out, to, path, err);
    if (to >= 0)
        close(to);
    for (unsigned i = 0; i < out->count; i++)
        close(out->fds[i]);
    out->count = 0;
    return ok;
}

bool handover_is_alive(pid_t heir)
{
    return heir > 0 && (kill(heir, 0) == 0 || errno == EPERM);
}
