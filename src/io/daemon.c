#include "io/daemon.h"

#include "base/check.h"
#include "base/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_UNEXPECTED  70      /* EX_SOFTWARE of sysexits.h */
#define FILES_KERNEL_MAX 1048576 /* fs.nr_open as it comes */

/* ---- signals --------------------------------------------------------------------------------- */

static void set_held(int how)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGHUP);
    CHECK(sigprocmask(how, &held, NULL) == 0);
}

void daemon_hold_signals(void)
{
    set_held(SIG_BLOCK);
}

void daemon_release_signals(void)
{
    set_held(SIG_UNBLOCK);
}

/* What goes through the pipe: the exit status in one octet, then the message. */

/* ---- the process that waits ----------------------------------------------------------------- */

static size_t read_verdict(int fd, char *into, size_t room)
{
    size_t got = 0;
    while (got < room) {
        ssize_t n = read(fd, into + got, room - got);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        if (n > 0)
            got += (size_t)n;
    }
    return got;
}

NORETURN static void wait_and_exit(int fd, pid_t child)
{
    int ignored;
    daemon_release_signals();
    while (waitpid(child, &ignored, 0) < 0 && errno == EINTR)
        ;
    char verdict[1 + ERR_TEXT_MAX];
    size_t len = read_verdict(fd, verdict, sizeof verdict);
    if (len == 0) {
        fprintf(stderr, "the process ended before it was up; its log says more\n");
        _exit(EXIT_UNEXPECTED);
    }
    if (len > 1)
        fprintf(stderr, "%.*s\n", (int)(len - 1), verdict + 1);
    _exit((uint8_t)verdict[0]);
}

/* ---- the process that goes on --------------------------------------------------------------- */

static bool point_at_null(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return false;
    bool ok = dup2(null, fd) == fd;
    if (null != fd)
        close(null);
    return ok;
}

static bool refused(struct err *err, const char *what)
{
    return err_set(err, ERR_SYSTEM, "cannot detach: %s: %s", what, strerror(errno));
}

bool daemon_detach(struct daemon *d, struct err *err)
{
    int ends[2];
    d->ready_fd = -1;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return refused(err, "pipe");
    fflush(NULL); /* or both processes would write what is buffered */
    pid_t first = fork();
    if (first < 0) {
        (void)refused(err, "fork");
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (first > 0) {
        close(ends[1]);
        wait_and_exit(ends[0], first);
    }
    close(ends[0]);
    d->ready_fd = ends[1];
    /* A session of its own; and not its leader, or opening a terminal would make it ours. */
    pid_t second = setsid() < 0 ? -1 : fork();
    if (second > 0)
        _exit(0);
    if (second < 0)
        return refused(err, "fork");
    if (!point_at_null(STDIN_FILENO))
        return refused(err, "/dev/null");
    return true;
}

static void tell(struct daemon *d, const char *verdict, size_t len)
{
    while (len != 0) {
        /* Who waited may have been killed: then nobody wants to know, see daemon_ignore_sigpipe. */
        ssize_t n = write(d->ready_fd, verdict, len);
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0) {
            verdict += n;
            len -= (size_t)n;
        }
    }
    close(d->ready_fd);
    d->ready_fd = -1;
}

void daemon_ready(struct daemon *d)
{
    if (d->ready_fd < 0)
        return;
    /* If that is refused, the terminal stays: a nuisance, not a reason to end. */
    (void)point_at_null(STDOUT_FILENO);
    (void)point_at_null(STDERR_FILENO);
    tell(d, "", 1);
}

void daemon_failed(struct daemon *d, int status, const char *message)
{
    CHECK(status > 0 && status <= UINT8_MAX);
    if (d->ready_fd < 0) {
        fprintf(stderr, "%s\n", message);
        return;
    }
    char verdict[1 + ERR_TEXT_MAX];
    int len = snprintf(verdict, sizeof verdict, "%c%s", status, message);
    tell(d, verdict, (size_t)len < sizeof verdict ? (size_t)len : sizeof verdict - 1);
}

/* ---- the rest ------------------------------------------------------------------------------- */

bool daemon_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return false;
    size_t len = strlen(path);
    memcpy(to.sun_path, path, len);
    if (path[0] == '@')
        to.sun_path[0] = '\0'; /* an abstract name: not a file */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    socklen_t to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL,
                       (const struct sockaddr *)(const void *)&to, to_len);
    close(fd);
    return n >= 0;
}

uint64_t daemon_raise_file_limit(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    /* "Unlimited" is refused by the kernel, whose own bound is usually this one. */
    rlim_t most = limit.rlim_max == RLIM_INFINITY ? FILES_KERNEL_MAX : limit.rlim_max;
    struct rlimit wanted = { most, limit.rlim_max };
    if (limit.rlim_cur < most && setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        limit = wanted;
    return limit.rlim_cur;
}

void daemon_ignore_sigpipe(void)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
}
