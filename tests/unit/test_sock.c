#include "base/check.h"
#include "base/log.h"
#include "io/sock.h"
#include "io_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(sock, .timeout = 300);
TestSuite(listener, .timeout = 300);

static struct err err;

/* ---- addresses ------------------------------------------------------------------------------ */

static struct sock_addr ip(const char *text, uint16_t port)
{
    struct sock_addr a;
    cr_assert(sock_addr_ip(text, port, &a), "%s", text);
    return a;
}

static void expect_texts(const struct sock_addr *a, const char *text, const char *host)
{
    char room[SOCK_ADDR_TEXT_MAX];
    cr_expect(eq(str, (char *)sock_addr_text(a, room), (char *)text));
    cr_expect(eq(str, (char *)sock_addr_host(a, room), (char *)host));
}

Test(sock, reads_and_writes_addresses)
{
    struct sock_addr a = ip("10.0.0.1", 5672);
    expect_texts(&a, "10.0.0.1:5672", "10.0.0.1");
    cr_expect(not(sock_addr_is_v6(&a)));
    cr_expect(eq(sz, sock_addr_octets(&a).len, 4));
    a = ip("2001:db8::1", 1);
    expect_texts(&a, "[2001:db8::1]:1", "2001:db8::1");
    cr_expect(sock_addr_is_v6(&a));
    cr_expect(eq(sz, sock_addr_octets(&a).len, 16));
    sock_addr_set_port(&a, 65535);
    cr_expect(eq(u16, sock_addr_port(&a), 65535));
    a = ip("", 7);
    expect_texts(&a, "0.0.0.0:7", "0.0.0.0");
    a = ip("*", 7);
    expect_texts(&a, "0.0.0.0:7", "0.0.0.0");
    a = ip("::", 7);
    expect_texts(&a, "[::]:7", "::");
    cr_assert(sock_addr_unix("/run/x", &a));
    expect_texts(&a, "unix:/run/x", "unix:/run/x");
    cr_expect(sock_addr_is_unix(&a));
    cr_expect(eq(u16, sock_addr_port(&a), 0));
    cr_expect(eq(sz, sock_addr_octets(&a).len, 0));
    a = (struct sock_addr){ .len = 0 };
    expect_texts(&a, "unknown", "unknown");
}

Test(sock, refuses_what_is_no_address)
{
    static const char *const bad[] = { "localhost", "10.0.0",    "10.0.0.256", "::g",
                                       "[::1]",     "10.0.0.1 ", "010.0.0.1" };
    struct sock_addr a;
    char path[200];
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(not(sock_addr_ip(bad[i], 1, &a)), "%s", bad[i]);
    memset(path, 'p', sizeof path);
    path[107] = '\0';
    cr_expect(sock_addr_unix(path, &a), "the longest path");
    path[107] = 'p';
    path[108] = '\0';
    cr_expect(not(sock_addr_unix(path, &a)));
    cr_expect(not(sock_addr_unix("", &a)));
}

Test(sock, knows_loopback)
{
    static const char *const yes[] = { "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1" };
    static const char *const no[] = { "128.0.0.1", "0.0.0.0",         "::",
                                      "::2",       "::ffff:10.0.0.1", "::127.0.0.1" };
    struct sock_addr a;
    for (size_t i = 0; i < ARRAY_COUNT(yes); i++) {
        a = ip(yes[i], 1);
        cr_expect(sock_addr_is_loopback(&a), "%s", yes[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(no); i++) {
        a = ip(no[i], 1);
        cr_expect(not(sock_addr_is_loopback(&a)), "%s", no[i]);
    }
    cr_assert(sock_addr_unix("/x", &a));
    cr_expect(sock_addr_is_loopback(&a));
    a = (struct sock_addr){ .len = 0 };
    cr_expect(not(sock_addr_is_loopback(&a)), "nobody knows");
}

/* How a connection to there is sent, when it would be by BBR where the system has it. */
static bool is_paced(const char *to)
{
    struct sock_addr at = ip(to, 1);
    char name[32] = "";
    socklen_t len = sizeof name - 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(fd >= 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
    sock_do_not_pace(fd, &at);
    cr_assert(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0);
    close(fd);
    return strncmp(name, "bbr", 3) == 0;
}

static bool has_bbr(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool has = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3) == 0;
    close(fd);
    return has;
}

Test(sock, is_not_paced_within_the_machine)
{
    cr_expect(not(is_paced("127.0.0.1")));
    cr_expect(eq(int, is_paced("192.0.2.1"), has_bbr()), "there it is as the system wants it");
}

Test(sock, compares_addresses)
{
    struct sock_addr a = ip("10.0.0.1", 1), b = ip("10.0.0.1", 1), c = ip("10.0.0.1", 2);
    struct sock_addr d = ip("10.0.0.2", 1), e = ip("::ffff:10.0.0.1", 1), f, g;
    cr_expect(sock_addr_eq(&a, &b));
    cr_expect(not(sock_addr_eq(&a, &c)));
    cr_expect(not(sock_addr_eq(&a, &d)));
    cr_expect(not(sock_addr_eq(&a, &e)));
    cr_assert(sock_addr_unix("/a", &f) && sock_addr_unix("/b", &g));
    cr_expect(not(sock_addr_eq(&f, &g)));
    cr_expect(sock_addr_eq(&f, &f));
}

/* ---- listening ------------------------------------------------------------------------------ */

static struct loop *loop;
static char folder[KIT_PATH_MAX];

struct door {
    struct listener *listener;
    size_t accepted;
    int last;
    struct sock_addr peer;
    bool closes_itself;
};

static void set_up(void)
{
    loop = kit_loop_new();
    kit_folder_make(folder);
}

static void tear_down(void)
{
    loop_free(&loop);
    kit_folder_remove(folder);
}

static void on_accept(int fd, const struct sock_addr *peer, void *arg)
{
    struct door *d = arg;
    d->accepted++;
    d->last = fd;
    d->peer = *peer;
    if (d->closes_itself)
        listener_free(&d->listener);
}

static void open_door(struct door *d, const struct sock_addr *at, struct listener_options o)
{
    *d = (struct door){ .last = -1 };
    d->listener = listener_new(loop, at, &o, on_accept, d, &err);
    cr_assert(d->listener != NULL, "%s", err.text);
}

static int dial(const struct listener *l)
{
    const struct sock_addr *at = listener_addr(l);
    const struct sockaddr *sa = (const struct sockaddr *)(const void *)at->bytes;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, sa, at->len) == 0, "%s", strerror(errno));
    return fd;
}

Test(listener, hands_over_sockets_as_they_should_be, .init = set_up, .fini = tear_down)
{
    static const char *const hosts[] = { "127.0.0.1", "::1" };
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        struct sock_addr at = ip(hosts[i], 0);
        struct door d;
        open_door(&d, &at, (struct listener_options){ 0 });
        cr_expect(ne(u16, sock_addr_port(listener_addr(d.listener)), 0));
        int fd = dial(d.listener);
        kit_until_count(loop, &d.accepted, 1);
        int one = 0;
        socklen_t len = sizeof one;
        cr_expect(ne(int, fcntl(d.last, F_GETFL) & O_NONBLOCK, 0));
        cr_expect(ne(int, fcntl(d.last, F_GETFD) & FD_CLOEXEC, 0));
        cr_expect(getsockopt(d.last, IPPROTO_TCP, TCP_NODELAY, &one, &len) == 0 && one == 1);
        char host[SOCK_ADDR_TEXT_MAX];
        cr_expect(eq(str, (char *)sock_addr_host(&d.peer, host), (char *)hosts[i]));
        sock_close(d.last);
        close(fd);
        listener_free(&d.listener);
    }
}

Test(listener, says_where_and_why_it_cannot, .init = set_up, .fini = tear_down)
{
    struct sock_addr at = ip("127.0.0.1", 0);
    struct door d;
    open_door(&d, &at, (struct listener_options){ 0 });
    at = *listener_addr(d.listener);
    char where[SOCK_ADDR_TEXT_MAX];
    cr_expect(listener_new(loop, &at, &(struct listener_options){ 0 }, on_accept, &d, &err) ==
              NULL);
    cr_expect(strstr(err.text, sock_addr_text(&at, where)) != NULL, "%s", err.text);
    cr_expect(strstr(err.text, "Address already in use") != NULL, "%s", err.text);
    listener_free(&d.listener);
}

Test(listener, shares_a_port_number_among_loops, .init = set_up, .fini = tear_down)
{
    struct sock_addr at = ip("127.0.0.1", 0);
    struct door a, b;
    open_door(&a, &at, (struct listener_options){ .reuse_port = true });
    open_door(&b, listener_addr(a.listener), (struct listener_options){ .reuse_port = true });
    cr_expect(sock_addr_eq(listener_addr(a.listener), listener_addr(b.listener)));
    int fd = dial(a.listener);
    while (a.accepted + b.accepted == 0)
        kit_turns(loop, 1);
    cr_expect(eq(sz, a.accepted + b.accepted, 1));
    sock_close(a.last >= 0 ? a.last : b.last);
    close(fd);
    listener_free(&a.listener);
    listener_free(&b.listener);
}

Test(listener, shares_its_socket_with_another_loop, .init = set_up, .fini = tear_down)
{
    struct sock_addr at = ip("127.0.0.1", 0);
    struct door a, b = { .last = -1 };
    open_door(&a, &at, (struct listener_options){ 0 });
    b.listener = listener_share(a.listener, loop, on_accept, &b, &err);
    cr_assert(b.listener != NULL, "%s", err.text);
    cr_expect(sock_addr_eq(listener_addr(a.listener), listener_addr(b.listener)));
    listener_free(&a.listener);
    int fd = dial(b.listener);
    kit_until_count(loop, &b.accepted, 1);
    sock_close(b.last);
    close(fd);
    listener_free(&b.listener);
}

Test(listener, rests_while_it_is_paused, .init = set_up, .fini = tear_down)
{
    struct sock_addr at = ip("127.0.0.1", 0);
    struct door d;
    open_door(&d, &at, (struct listener_options){ 0 });
    listener_pause(d.listener);
    int fd = dial(d.listener); /* the system accepts it into the backlog */
    kit_turns(loop, 10);
    cr_expect(eq(sz, d.accepted, 0));
    listener_resume(d.listener);
    kit_until_count(loop, &d.accepted, 1);
    sock_close(d.last);
    close(fd);
    listener_free(&d.listener);
}

Test(listener, may_be_freed_by_what_it_calls, .init = set_up, .fini = tear_down)
{
    struct sock_addr at = ip("127.0.0.1", 0);
    struct door d;
    open_door(&d, &at, (struct listener_options){ 0 });
    d.closes_itself = true;
    int a = dial(d.listener), b = dial(d.listener);
    kit_until_count(loop, &d.accepted, 1);
    kit_turns(loop, 3);
    cr_expect(eq(sz, d.accepted, 1));
    cr_expect(d.listener == NULL);
    sock_close(d.last);
    close(a);
    close(b);
}

/* ---- unix sockets --------------------------------------------------------------------------- */

static struct sock_addr path_addr(char path[KIT_PATH_MAX])
{
    struct sock_addr at;
    kit_path(path, folder, "sock");
    cr_assert(sock_addr_unix(path, &at));
    return at;
}

Test(listener, guards_and_removes_its_path, .init = set_up, .fini = tear_down)
{
    char path[KIT_PATH_MAX];
    struct sock_addr at = path_addr(path);
    struct stat st;
    struct door d;
    static const unsigned modes[] = { 0, 0660 };
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        open_door(&d, &at, (struct listener_options){ .unix_mode = modes[i] });
        cr_assert(stat(path, &st) == 0);
        cr_expect(eq(uint, st.st_mode & 0777u, modes[i] != 0 ? modes[i] : 0600));
        int fd = dial(d.listener);
        kit_until_count(loop, &d.accepted, 1);
        cr_expect(sock_addr_is_unix(&d.peer));
        sock_close(d.last);
        close(fd);
        listener_free(&d.listener);
        cr_expect(stat(path, &st) != 0);
    }
}

Test(listener, takes_over_a_path_that_nobody_serves, .init = set_up, .fini = tear_down)
{
    char path[KIT_PATH_MAX];
    struct sock_addr at = path_addr(path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(bind(dead, (const struct sockaddr *)(const void *)at.bytes, at.len) == 0);
    close(dead);
    struct door d;
    open_door(&d, &at, (struct listener_options){ 0 });
    /* Its own is served, and refused to the next. */
    cr_expect(listener_new(loop, &at, &(struct listener_options){ 0 }, on_accept, &d, &err) ==
              NULL);
    cr_expect(strstr(err.text, "in use by another process") != NULL, "%s", err.text);
    listener_free(&d.listener);
    kit_file_write(path, "precious", 8, 0600);
    cr_expect(listener_new(loop, &at, &(struct listener_options){ 0 }, on_accept, &d, &err) ==
              NULL);
    cr_expect(strstr(err.text, "is not a socket") != NULL, "%s", err.text);
    cr_expect(access(path, F_OK) == 0);
}

/* ---- no file descriptors left --------------------------------------------------------------- */

static uint64_t no_time(void)
{
    return 0;
}

static size_t count_lines(const char *path, const char *with)
{
    char line[1024];
    size_t count = 0;
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        count += strstr(line, with) != NULL;
    if (f != NULL)
        fclose(f);
    return count;
}

Test(listener, rests_when_there_are_no_descriptors_left, .init = set_up, .fini = tear_down)
{
    char log_path[KIT_PATH_MAX];
    struct log_setup setup = { .target = kit_path(log_path, folder, "log"),
                               .level = LOG_LEVEL_INFO,
                               .wall_ms = no_time };
    cr_assert(log_start(&setup, &err), "%s", err.text);
    struct sock_addr at = ip("127.0.0.1", 0);
    struct door d;
    open_door(&d, &at, (struct listener_options){ 0 });
    int fd = dial(d.listener);
    int spare = dup(0);
    struct rlimit all, none;
    cr_assert(getrlimit(RLIMIT_NOFILE, &all) == 0);
    none = (struct rlimit){ .rlim_cur = (rlim_t)spare, .rlim_max = all.rlim_max };
    close(spare);
    cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
    /* As many turns as would fill the log, if it tried again and again. */
    for (int i = 0; i < 200; i++)
        kit_turns(loop, 1);
    cr_expect(eq(sz, d.accepted, 0));
    cr_assert(setrlimit(RLIMIT_NOFILE, &all) == 0);
    size_t complaints = count_lines(log_path, "accept failed: Too many open files");
    cr_expect(complaints >= 1 && complaints <= 2, "%zu complaints", complaints);
    kit_turns(loop, 5);
    cr_expect(eq(sz, d.accepted, 0), "it rests, and does not burn the processor");
    /* It comes back by itself. */
    kit_until_count(loop, &d.accepted, 1);
    sock_close(d.last);
    close(fd);
    listener_free(&d.listener);
}

/* The journal has to open files, whatever clients do. */
Test(listener, leaves_descriptors_for_the_node_itself, .init = set_up, .fini = tear_down)
{
    struct sock_addr at = ip("127.0.0.1", 0);
    struct door d;
    open_door(&d, &at, (struct listener_options){ 0 });
    int fd = dial(d.listener);
    int spare = dup(0), more[3];
    struct rlimit all, few;
    cr_assert(getrlimit(RLIMIT_NOFILE, &all) == 0);
    few = (struct rlimit){ .rlim_cur = (rlim_t)spare + 3, .rlim_max = all.rlim_max };
    close(spare);
    cr_assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int i = 0; i < 100; i++)
        kit_turns(loop, 1);
    cr_expect(eq(sz, d.accepted, 0));
    size_t got = 0, free_ones = 0;
    for (int i = 0; i < spare + 3; i++)
        free_ones += fcntl(i, F_GETFD) < 0;
    while (got < ARRAY_COUNT(more) && (more[got] = dup(0)) >= 0)
        got++;
    cr_expect(eq(sz, got, free_ones));
    cr_expect(gt(sz, got, 0));
    cr_assert(setrlimit(RLIMIT_NOFILE, &all) == 0);
    while (got > 0)
        close(more[--got]);
    close(fd);
    fd = dial(d.listener);
    kit_until_count(loop, &d.accepted, 1);
    sock_close(d.last);
    close(fd);
    listener_free(&d.listener);
}
