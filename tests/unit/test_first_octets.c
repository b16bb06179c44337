#include "expect.h"
#include "io/first_octets.h"
#include "io/sock.h"
#include "io_kit.h"

#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static int ends[2]; /* ends[1] is the module's */
static struct first_octets *first;
static size_t calls;
static int got_fd;
static char got[FIRST_OCTETS_MAX + 1];
static uint64_t timeout_ms;

static void on_first(int fd, struct slice octets, void *arg)
{
    (void)arg;
    calls++;
    first = NULL;
    got_fd = fd;
    memcpy(got, octets.ptr, octets.len);
    got[octets.len] = '\0';
}

static void set_up(void)
{
    loop = kit_loop_new();
    kit_socket_pair(ends, false);
    timeout_ms = 60000;
    got_fd = -2;
}

static void tear_down(void)
{
    while (loop_settle(loop))
        ;
    loop_free(&loop);
    close(ends[0]);
}

static void begin(void *arg)
{
    (void)arg;
    first = first_octets_start(loop, ends[1], 8, timeout_ms, on_first, NULL);
    loop_stop(loop);
}

static void cancel(void *arg)
{
    (void)arg;
    first_octets_cancel(&first);
    loop_stop(loop);
}

static void on_loop(void (*fn)(void *))
{
    struct loop_task t;
    loop_task_init(&t, fn, NULL);
    loop_again(loop, &t);
    loop_run(loop);
}

TestSuite(first_octets, .init = set_up, .fini = tear_down, .timeout = 300);

Test(first_octets, they_are_taken_and_the_rest_is_left)
{
    char rest[8] = { 0 };
    on_loop(begin);
    kit_send(ends[0], "12345678rest", 12);
    kit_until_count(loop, &calls, 1);
    expect_text(got, "12345678");
    cr_assert(eq(int, got_fd, ends[1]));
    cr_expect(eq(sz, kit_recv(got_fd, rest, 4), 4));
    expect_text(rest, "rest");
    sock_close(got_fd);
}

Test(first_octets, they_may_come_one_by_one)
{
    on_loop(begin);
    for (size_t i = 0; i < 8; i++) {
        cr_expect(eq(sz, calls, 0));
        kit_send(ends[0], &"abcdefgh"[i], 1);
        kit_turns(loop, 3);
    }
    kit_until_count(loop, &calls, 1);
    expect_text(got, "abcdefgh");
    sock_close(got_fd);
}

Test(first_octets, who_leaves_early_is_shown_with_what_it_said)
{
    on_loop(begin);
    kit_send(ends[0], "abc", 3);
    shutdown(ends[0], SHUT_WR);
    kit_until_count(loop, &calls, 1);
    expect_text(got, "abc");
    cr_expect(eq(int, got_fd, -1));
}

Test(first_octets, who_says_nothing_is_hung_up_on)
{
    char room[1];
    timeout_ms = 10;
    on_loop(begin);
    kit_until_count(loop, &calls, 1);
    expect_text(got, "");
    cr_expect(eq(int, got_fd, -1));
    cr_expect(eq(sz, kit_recv(ends[0], room, 1), 0));
}

Test(first_octets, cancelled_it_hangs_up_and_says_nothing)
{
    char room[1];
    on_loop(begin);
    on_loop(cancel);
    cr_expect(eq(sz, kit_recv(ends[0], room, 1), 0));
    cr_expect(eq(sz, calls, 0));
    cr_expect(first == NULL);
}
