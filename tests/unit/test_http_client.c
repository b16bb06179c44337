#include "io/http.h"
#include "io/http_client.h"
#include "stream_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static struct http_server *server;
static struct http_client *client;
static struct http_request *held;
static size_t answers, failures;
static char seen[256];

static void on_echo(struct http_request *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "text/plain", http_request_body(r));
}

static void on_hold(struct http_request *r, void *arg)
{
    (void)arg;
    held = r;
    http_hold(r);
}

static void do_start(void *arg)
{
    (void)arg;
    struct sock_addr at;
    struct err err;
    int ends[2];
    cr_assert(sock_addr_ip("127.0.0.1", 0, &at));
    server = http_server_new(
        loop, &at, &(struct http_options){ .body_max_bytes = 100000, .timeout_ms = 10000 }, &err);
    cr_assert(server != NULL);
    http_route(server, "/echo", HTTP_ALLOW_ANY, on_echo, NULL);
    http_route(server, "/hold", HTTP_ALLOW_ANY, on_hold, NULL);
    static struct end nobody[2];
    kit_tcp_pair(ends);
    struct stream *theirs = stream_new(loop, ends[0], &handlers, &nobody[0]);
    http_server_adopt(server, &theirs);
    struct stream *ours = stream_new(loop, ends[1], &handlers, &nobody[1]);
    client = http_client_new(loop, &ours);
}

static void start(void)
{
    set_up();
    on_loop(do_start, NULL);
}

static void do_end_server(void *arg)
{
    (void)arg;
    http_server_free(&server);
}

static void do_end(void *arg)
{
    http_client_free(&client);
    if (held != NULL)
        http_reply(held, 204, NULL, slice_str(""));
    if (server != NULL)
        do_end_server(arg);
}

static void end(void)
{
    on_loop(do_end, NULL);
    tear_down();
}

static void on_answer(const struct http_answer *a, const struct err *why, void *arg)
{
    (void)arg;
    struct text t = text_over(seen, sizeof seen);
    if (a != NULL)
        text_put(&t, "%d %.*s", a->status, SLICE_ARG(text_view(&a->body)));
    else
        text_str(&t, why->text);
    answers += a != NULL;
    failures += a == NULL;
}

struct asking {
    const char *path;
    const char *body;
    size_t answer_max;
    unsigned times;
    unsigned taken;
};

static void do_ask(void *arg)
{
    struct asking *a = arg;
    for (unsigned i = 0; i < a->times; i++)
        a->taken += http_client_ask(client, &(struct http_question){ .method = "POST",
                                                                     .path = slice_str(a->path),
                                                                     .type = "text/plain",
                                                                     .body = slice_str(a->body),
                                                                     .answer_max = a->answer_max,
                                                                     .timeout_ms = 10000,
                                                                     .done = on_answer });
}

/* How many of them were taken. */
static unsigned ask(unsigned times, const char *path, const char *body, size_t answer_max)
{
    struct asking a = { path, body, answer_max, times, 0 };
    on_loop(do_ask, &a);
    return a.taken;
}

Test(http_client, asks_one_thing_after_the_other, .init = start, .fini = end)
{
    cr_expect(eq(uint, ask(4, "/echo", "hello", 100), 4));
    cr_expect(eq(uint, ask(1, "/echo", "there", 100), 1));
    kit_until_count(loop, &answers, 5);
    cr_expect(eq(str, seen, "200 there"));
    cr_expect(eq(uint, http_client_waiting(client), 0));
    cr_expect(eq(sz, failures, 0));
}

static bool is_held(void *arg)
{
    (void)arg;
    return held != NULL;
}

Test(http_client, what_waits_is_told_that_the_connection_broke, .init = start, .fini = end)
{
    cr_expect(eq(uint, ask(1, "/hold", "x", 100), 1));
    cr_expect(eq(uint, ask(1, "/echo", "y", 100), 1));
    kit_until(loop, is_held, NULL);
    on_loop(do_end_server, NULL);
    kit_until_count(loop, &failures, 2);
    cr_expect(http_client_is_broken(client));
    cr_expect(eq(uint, ask(1, "/echo", "z", 100), 0));
    cr_expect(eq(sz, answers, 0));
}

Test(http_client, an_answer_that_is_too_long_breaks_it, .init = start, .fini = end)
{
    cr_expect(eq(uint, ask(1, "/echo", "hello there", 5), 1));
    kit_until_count(loop, &failures, 1);
    cr_expect(eq(str, seen, "its answer is too long: more than 5 octets"));
    cr_expect(http_client_is_broken(client));
}

static void do_give_up(void *arg)
{
    (void)arg;
    http_client_free(&client);
}

Test(http_client, so_many_may_wait_and_no_more, .init = start, .fini = end)
{
    cr_expect(
        eq(uint, ask(HTTP_CLIENT_WAITING_MAX + 1, "/hold", "x", 100), HTTP_CLIENT_WAITING_MAX));
    on_loop(do_give_up, NULL);
    cr_expect(eq(sz, failures, HTTP_CLIENT_WAITING_MAX));
    cr_expect(eq(str, seen, "it is given up"));
}
