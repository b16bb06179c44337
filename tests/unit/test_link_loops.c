/* Links between loops with threads of their own, and who comes to the door with other intentions.
 */
#include "expect.h"
#include "io/sock.h"
#include "link/link_call.h"
#include "link_kit.h"

#include <sys/socket.h>
#include <unistd.h>

#define HALLS 3u

static struct loop *near, *far[HALLS], *door_loop;
static struct link_node *node_a, *node_b;
static struct link_door *door;
static struct link_hall *halls[HALLS];
static uint16_t port;

/* ---- the far side: a door on one loop, a hall on each of three others ---- */

struct taken {
    struct link *l;
    uint16_t shard;
    size_t hall;
};
static struct taken taken[HALLS][16]; /* each is its loop's */
static size_t taken_count[HALLS];

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    (void)arg;
    (void)link_send(l, LINK_BULKY, f->type, f->payload, NULL, slice_of(NULL, 0));
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    (void)why, (void)err;
    struct taken *t = arg;
    cr_assert(t->l == l);
    link_free(&t->l);
}

static const struct link_handlers far_handlers = { .on_frame = on_frame, .on_lost = on_lost };

static void on_link(struct link *l, const struct link_peer *peer, void *arg)
{
    size_t hall = (size_t)((struct link_hall **)arg - halls);
    cr_assert(loop_is_current(far[hall]) && taken_count[hall] < 16);
    struct taken *t = &taken[hall][taken_count[hall]++];
    *t = (struct taken){ l, peer->shard, hall };
    link_set_owner(l, &far_handlers, t);
}

static const struct link_hall_handlers hall_handlers = { .on_link = on_link };

static struct loop *loop_of(const char *name)
{
    struct err err;
    struct loop *l = loop_new(name, &err);
    cr_assert(l != NULL, "%s", err.text);
    return l;
}

static void start(struct loop *l)
{
    struct err err;
    cr_assert(loop_start(l, &err), "%s", err.text);
}

static void set_up(void)
{
    struct sock_addr at;
    struct err err;
    near = kit_loop_new();
    door_loop = loop_of("door");
    node_a = kit_link_node(KIT_COOKIE, 7, 1, 3, "rabbit@a");
    node_b = kit_link_node(KIT_COOKIE, 7, 2, 4, "rabbit@b");
    for (size_t i = 0; i < HALLS; i++) {
        far[i] = loop_of("far");
        halls[i] = link_hall_new(
            far[i], node_b, &(struct link_hall_options){ .class = LINK_BULK, .resume_ms = 60000 },
            &hall_handlers, &halls[i]);
    }
    door = link_door_new(door_loop);
    link_door_serve(door, LINK_BULK, halls, HALLS);
    cr_assert(sock_addr_ip("127.0.0.1", 0, &at));
    port = link_door_listen(door, &at, &err);
    cr_assert(port != 0, "%s", err.text);
    start(door_loop);
    for (size_t i = 0; i < HALLS; i++)
        start(far[i]);
}

static void end_far(size_t i)
{
    for (size_t k = 0; k < taken_count[i]; k++)
        if (taken[i][k].l != NULL)
            link_free(&taken[i][k].l);
    while (loop_settle(far[i]))
        ;
    link_hall_free(&halls[i]);
    loop_free(&far[i]);
}

static void stop(struct loop *l)
{
    loop_stop(l);
    loop_join(l);
}

static void tear_down(void)
{
    stop(door_loop);
    for (size_t i = 0; i < HALLS; i++)
        stop(far[i]);
    link_door_free(&door);
    while (loop_settle(door_loop))
        ;
    loop_free(&door_loop);
    for (size_t i = 0; i < HALLS; i++)
        end_far(i);
    while (loop_settle(near))
        ;
    loop_free(&near);
    link_node_free(&node_a);
    link_node_free(&node_b);
}

TestSuite(link_loops, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- the near side ---- */

#define LINKS 9u
static struct link_end ends[LINKS];
static uint64_t next[LINKS];

struct job {
    struct loop_task task;
    void (*fn)(void);
};

static void run_job(void *arg)
{
    struct job *j = arg;
    j->fn();
    loop_stop(near);
}

static void on_near(void (*fn)(void))
{
    struct job j = { .fn = fn };
    loop_task_init(&j.task, run_job, &j);
    loop_again(near, &j.task);
    loop_run(near);
}

static void dial_all(void)
{
    for (uint16_t i = 0; i < LINKS; i++) {
        const struct link_options o = {
            .class = LINK_BULK, .shard = i, .host = "localhost", .port = port, .resume_ms = 60000
        };
        ends[i].l = link_dial(near, node_a, &o, &link_end_handlers, &ends[i]);
        for (size_t k = 0; k < 2000; k++)
            cr_assert(kit_send_numbered(ends[i].l, next[i]++, 500));
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < LINKS; i++)
        if (ends[i].l != NULL)
            link_free(&ends[i].l);
}

static bool all_came(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < LINKS; i++)
        if (ends[i].frames < 2000)
            return false;
    return true;
}

Test(link_loops, each_arrives_at_the_loop_that_its_shard_says)
{
    on_near(dial_all);
    kit_until(near, all_came, NULL);
    on_near(free_all);
    for (size_t i = 0; i < LINKS; i++)
        cr_expect(not(ends[i].out_of_order), "link %zu", i);
    stop(door_loop);
    for (size_t i = 0; i < HALLS; i++)
        stop(far[i]);
    for (size_t i = 0; i < HALLS; i++) {
        cr_expect(eq(sz, taken_count[i], LINKS / HALLS));
        for (size_t k = 0; k < taken_count[i]; k++)
            cr_expect(taken[i][k].shard % HALLS == i);
    }
    start(door_loop);
    for (size_t i = 0; i < HALLS; i++)
        start(far[i]);
}

/* ---- calls ---- */

static size_t calls_failed;
static enum link_trouble call_trouble;
static struct err call_err;
static struct link_call *the_call;
static uint16_t call_port;

static void on_stream(struct stream **s, const struct link_peer *peer, void *arg)
{
    (void)peer, (void)arg;
    stream_free(s);
}

static void on_failed(enum link_trouble what, enum link_refusal refusal, const struct err *err,
                      void *arg)
{
    (void)refusal, (void)arg;
    the_call = NULL;
    calls_failed++;
    call_trouble = what;
    call_err = *err;
}

static const struct link_call_handlers call_handlers = { on_stream, on_failed };

static void call(void)
{
    const struct link_options o = { .class = LINK_CTL, .host = "127.0.0.1", .port = call_port };
    the_call = link_call(near, node_a, &o, 300, &call_handlers, NULL);
}

static void call_and_free(void)
{
    call();
    link_call_free(&the_call);
}

Test(link_loops, a_call_is_one_try)
{
    call_port = 1;
    on_near(call);
    kit_until_count(near, &calls_failed, 1);
    cr_expect(call_trouble == LINK_TROUBLE_NOBODY);
    call_port = port; /* nobody serves that class there */
    on_near(call);
    kit_until_count(near, &calls_failed, 2);
    cr_expect(call_trouble == LINK_TROUBLE_BROKEN, "%s", call_err.text);
    on_near(call_and_free);
    kit_turns(near, 10);
    cr_expect(eq(sz, calls_failed, 2));
}

static int silent;

Test(link_loops, a_call_to_who_says_nothing_ends)
{
    struct sock_addr at;
    socklen_t len = sizeof at.bytes;
    silent = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(sock_addr_ip("127.0.0.1", 0, &at));
    cr_assert(bind(silent, (struct sockaddr *)at.bytes, at.len) == 0 && listen(silent, 5) == 0);
    cr_assert(getsockname(silent, (struct sockaddr *)at.bytes, &len) == 0);
    call_port = sock_addr_port(&at);
    on_near(call);
    kit_until_count(near, &calls_failed, 1);
    expect_text(call_err.text, "it did not answer in time");
    close(silent);
}

/* ---- others ---- */

static int visitor(void)
{
    struct sock_addr at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(sock_addr_ip("127.0.0.1", port, &at));
    cr_assert(connect(fd, (struct sockaddr *)at.bytes, at.len) == 0);
    return fd;
}

/* It answers nothing to what is not for it, and hangs up. */
Test(link_loops, who_wants_something_else_is_hung_up_on)
{
    static const struct {
        const char *octets;
        size_t len;
    } words[] = {
        { "GET / HTTP/1.1\r\n\r\n", 18 },
        { "AMQP\0\0\x09\x01", 8 },
        { "WRNK\x09\0\0\0", 8 },   /* no such class */
        { "WRNK\x01\0\0\0", 8 },   /* not served */
        { "WRNK\x02\x01\0\0", 8 }, /* not zero */
        { "WRNK\0\0\0\0", 8 },
    };
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        char room[16];
        int fd = visitor();
        kit_send(fd, words[i].octets, words[i].len);
        cr_expect(eq(sz, kit_recv(fd, room, sizeof room), 0), "case %zu", i);
        close(fd);
    }
}

/* TLS begins: whatever else comes is answered by an alert at most. */
Test(link_loops, who_does_not_speak_tls_is_hung_up_on)
{
    char room[64];
    int fd = visitor();
    kit_send(fd, "WRNK\x02\0\0\0GET / HTTP/1.1\r\n\r\n", 26);
    cr_expect(lt(sz, kit_recv(fd, room, sizeof room), sizeof room));
    close(fd);
}

/* Many who say nothing do not keep others out: the eldest go. */
Test(link_loops, those_who_say_nothing_do_not_keep_others_out)
{
    static int fds[600];
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        fds[i] = visitor();
        if (i % 2 == 0)
            kit_send(fds[i], "WRNK\x02\0\0\0", 8);
    }
    on_near(dial_all);
    kit_until(near, all_came, NULL);
    on_near(free_all);
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        close(fds[i]);
}
