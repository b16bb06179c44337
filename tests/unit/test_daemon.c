#include "io/daemon.h"
#include "io_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
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

TestSuite(daemon, .timeout = 300);

/* What a command that detaches leaves behind: its exit status, what it printed, and what the
 * process that went on wrote into `told` until it ended. */
struct outcome {
    int status;
    char printed[1024];
    char told[1024];
};

static void read_end(int fd, char *room, size_t room_bytes)
{
    size_t got = 0;
    ssize_t n;
    while ((n = read(fd, room + got, room_bytes - 1 - got)) > 0)
        got += (size_t)n;
    room[got] = '\0';
    close(fd);
}

static struct outcome run(void (*body)(struct daemon *d, int told))
{
    struct outcome o = { .status = -1 };
    int printed[2], told[2];
    cr_assert(pipe(printed) == 0 && pipe(told) == 0);
    pid_t command = fork();
    if (command == 0) {
        close(printed[0]);
        close(told[0]);
        dup2(printed[1], STDERR_FILENO);
        dup2(printed[1], STDOUT_FILENO);
        close(printed[1]);
        struct daemon d;
        struct err err;
        if (!daemon_detach(&d, &err))
            _exit(99);
        body(&d, told[1]);
        _exit(0);
    }
    close(printed[1]);
    close(told[1]);
    cr_assert(waitpid(command, &o.status, 0) == command);
    read_end(printed[0], o.printed, sizeof o.printed);
    read_end(told[0], o.told, sizeof o.told);
    return o;
}

static void comes_up(struct daemon *d, int told)
{
    fprintf(stderr, "before\n");
    daemon_ready(d);
    fprintf(stderr, "after\n");
    printf("after\n");
    fflush(stdout);
    daemon_ready(d);
    dprintf(told, "session=%d leader=%d", getsid(0) != getpid(), getsid(0) == getpid());
    char octet;
    dprintf(told, " input=%zd", read(STDIN_FILENO, &octet, 1));
}

Test(daemon, returns_when_it_is_up)
{
    struct outcome o = run(comes_up);
    cr_expect(eq(int, WEXITSTATUS(o.status), 0));
    cr_expect(eq(str, o.printed, "before\n"), "the terminal is let go of");
    cr_expect(eq(str, o.told, "session=1 leader=0 input=0"));
}

static void does_not_come_up(struct daemon *d, int told)
{
    (void)told;
    daemon_failed(d, 78, "warren.conf:3: unknown key");
}

Test(daemon, says_why_it_is_not_up)
{
    struct outcome o = run(does_not_come_up);
    cr_expect(eq(int, WEXITSTATUS(o.status), 78));
    cr_expect(eq(str, o.printed, "warren.conf:3: unknown key\n"));
}

static void dies(struct daemon *d, int told)
{
    (void)d, (void)told;
    raise(SIGKILL);
}

Test(daemon, says_that_it_died_without_a_word)
{
    struct outcome o = run(dies);
    cr_expect(eq(int, WEXITSTATUS(o.status), 70));
    cr_expect(strstr(o.printed, "ended before it was up") != NULL, "%s", o.printed);
}

static void fails_at_length(struct daemon *d, int told)
{
    (void)told;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    daemon_failed(d, 1, text);
}

Test(daemon, cuts_a_message_that_is_too_long)
{
    struct outcome o = run(fails_at_length);
    cr_expect(eq(int, WEXITSTATUS(o.status), 1));
    cr_expect(eq(sz, strspn(o.printed, "x"), ERR_TEXT_MAX - 1));
}

Test(daemon, does_nothing_when_not_detached)
{
    struct daemon d;
    daemon_init(&d);
    daemon_ready(&d);
    cr_expect(eq(int, dprintf(STDERR_FILENO, "%s", ""), 0), "standard error is still ours");
}

/* ---- the service manager -------------------------------------------------------------------- */

static int listen_at(const char *name, size_t len)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    memcpy(at.sun_path, name, len);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&at,
                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0,
              "%s", strerror(errno));
    return fd;
}

Test(daemon, tells_the_service_manager)
{
    char folder[KIT_PATH_MAX], path[KIT_PATH_MAX], got[64];
    kit_path(path, kit_folder_make(folder), "notify");
    int fd = listen_at(path, strlen(path));
    setenv("NOTIFY_SOCKET", path, 1);
    cr_expect(daemon_notify("READY=1"));
    cr_expect(eq(int, (int)recv(fd, got, sizeof got, 0), 7));
    cr_expect(memcmp(got, "READY=1", 7) == 0);
    close(fd);
    cr_expect(not(daemon_notify("READY=1")), "nobody listens");
    kit_folder_remove(folder);

    char name[64];
    snprintf(name, sizeof name, "@warren-unit-%d", (int)getpid());
    char hidden[64];
    memcpy(hidden, name, sizeof hidden);
    hidden[0] = '\0';
    fd = listen_at(hidden, strlen(name));
    setenv("NOTIFY_SOCKET", name, 1);
    cr_expect(daemon_notify("STOPPING=1"));
    cr_expect(eq(int, (int)recv(fd, got, sizeof got, 0), 10));
    close(fd);
}

Test(daemon, tells_nobody_when_there_is_nobody)
{
    char longest[300];
    memset(longest, '/', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    unsetenv("NOTIFY_SOCKET");
    cr_expect(not(daemon_notify("READY=1")));
    setenv("NOTIFY_SOCKET", "relative", 1);
    cr_expect(not(daemon_notify("READY=1")));
    setenv("NOTIFY_SOCKET", longest, 1);
    cr_expect(not(daemon_notify("READY=1")));
}

/* ---- limits and signals --------------------------------------------------------------------- */

Test(daemon, raises_the_limit_of_open_files)
{
    struct rlimit limit;
    cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max / 2;
    cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    uint64_t now = daemon_raise_file_limit();
    struct rlimit after;
    cr_assert(getrlimit(RLIMIT_NOFILE, &after) == 0);
    cr_expect(eq(u64, now, after.rlim_cur));
    cr_expect(lt(u64, limit.rlim_cur, now));
    cr_expect(eq(u64, after.rlim_max, limit.rlim_max));
    cr_expect(eq(u64, daemon_raise_file_limit(), now), "and again");
}

Test(daemon, outlives_a_broken_pipe)
{
    int ends[2];
    cr_assert(pipe(ends) == 0);
    close(ends[0]);
    daemon_ignore_sigpipe();
    cr_expect(eq(int, (int)write(ends[1], "x", 1), -1));
    cr_expect(eq(int, errno, EPIPE));
    close(ends[1]);
}
