#include "base/check.h"
#include "base/mem.h"
#include "io/http.h"
#include "io_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX 1000

/* The server runs on its own thread; the test is the client. */
static struct loop *loop;
static struct http_server *server;
static struct http_request *held;
static sem_t is_held;
static char seen[4096];
static atomic_uint large_calls;

static const char plain[] = "text/plain; charset=utf-8";

static void on_hello(struct http_request *r, void *arg)
{
    http_reply(r, 200, plain, slice_str(arg));
}

/* What the handler was shown, as text. */
static void on_show(struct http_request *r, void *arg)
{
    (void)arg;
    char a[16], b[16], c[16], q[16], user[16], password[16], peer[SOCK_ADDR_TEXT_MAX];
    struct text ta = text_over(a, sizeof a), tb = text_over(b, sizeof b);
    struct text tc = text_over(c, sizeof c), tq = text_over(q, sizeof q);
    struct text tu = text_over(user, sizeof user), tp = text_over(password, sizeof password);
    struct text t = text_over(seen, sizeof seen);
    const char *agent = http_request_header(r, "user-agent");
    struct slice body = http_request_body(r);
    bool has_a = http_request_segment(r, 1, &ta), has_b = http_request_segment(r, 2, &tb);
    bool has_c = http_request_segment(r, 3, &tc), has_q = http_request_query(r, "q", &tq);
    bool has_user = http_request_basic_auth(r, &tu, &tp);
    text_put(&t, "method=%d path=%s a=%s b=%s c=%s q=%s user=%s:%s agent=%s body=%.*s peer=%s",
             http_request_method(r), http_request_path(r), has_a ? a : "-", has_b ? b : "-",
             has_c ? c : "-", has_q ? q : "-", has_user ? user : "-", has_user ? password : "-",
             agent != NULL ? agent : "-", SLICE_ARG(body),
             sock_addr_host(http_request_peer(r), peer));
    http_reply_header(r, "X-Seen", "yes\r\nno");
    http_reply(r, 201, plain, text_view(&t));
}

static void on_nothing(struct http_request *r, void *arg)
{
    (void)arg;
    http_reply(r, 204, NULL, slice_of(NULL, 0));
}

static void on_large(struct http_request *r, void *arg)
{
    (void)arg;
    static uint8_t large[4 * 1024 * 1024];
    atomic_fetch_add(&large_calls, 1);
    http_reply(r, 200, "application/octet-stream", slice_of(large, sizeof large));
}

static void on_hold(struct http_request *r, void *arg)
{
    (void)arg;
    held = r;
    http_hold(r);
    sem_post(&is_held);
}

static void on_release(struct http_request *r, void *arg)
{
    (void)arg;
    if (held != NULL)
        http_reply(held, 200, plain, slice_str("at last"));
    held = NULL;
    http_reply(r, 204, NULL, slice_of(NULL, 0));
}

/* Many megabytes in pieces, no faster than they are taken. */
#define PIECES 8192u
static struct flow {
    struct http_request *r;
    unsigned sent;
    size_t piece_bytes;
    sem_t full; /* once */
    sem_t over;
    bool was_full;
} flow;

static void pour(void *arg)
{
    static const char piece[4096];
    struct flow *f = arg;
    while (f->sent < PIECES && !http_reply_is_gone(f->r)) {
        if (http_reply_is_full(f->r)) {
            if (!f->was_full)
                sem_post(&f->full);
            f->was_full = true;
            return;
        }
        http_reply_piece(f->r, slice_of(piece, f->piece_bytes));
        f->sent++;
    }
    struct http_request *r = f->r;
    f->r = NULL;
    http_reply_end(r);
    sem_post(&f->over);
}

static void on_pieces(struct http_request *r, void *arg)
{
    (void)arg;
    flow.r = r;
    flow.sent = 0;
    flow.was_full = false;
    http_reply_begin(r, 200, plain, pour, &flow);
    pour(&flow);
}

static void on_end(struct http_request *r, void *arg)
{
    (void)arg;
    http_server_free(&server);
    http_reply(r, 200, plain, slice_str("never seen"));
    loop_stop(loop);
}

static void start_with(struct http_options o)
{
    struct err err;
    struct sock_addr at;
    CHECK(sock_addr_ip("127.0.0.1", 0, &at));
    sem_init(&is_held, 0, 0);
    loop = kit_loop_new();
    server = http_server_new(loop, &at, &o, &err);
    cr_assert(server != NULL, "%s", err.text);
    http_route(server, "/hello", HTTP_ALLOW(HTTP_GET), on_hello, "hello");
    http_route(server, "/stats;csv", HTTP_ALLOW(HTTP_GET), on_hello, "csv");
    http_route(server, "/api/...", HTTP_ALLOW_ANY, on_hello, "api");
    http_route(server, "/api/queues/...", HTTP_ALLOW_ANY, on_hello, "queues");
    http_route(server, "/api/queues", HTTP_ALLOW(HTTP_GET), on_hello, "all queues");
    http_route(server, "/thing", HTTP_ALLOW(HTTP_GET), on_hello, "got");
    http_route(server, "/thing", HTTP_ALLOW(HTTP_PUT), on_hello, "put");
    http_route(server, "/show/...", HTTP_ALLOW_ANY, on_show, NULL);
    http_route(server, "/nothing", HTTP_ALLOW_ANY, on_nothing, NULL);
    http_route(server, "/large", HTTP_ALLOW_ANY, on_large, NULL);
    http_route(server, "/hold", HTTP_ALLOW_ANY, on_hold, NULL);
    http_route(server, "/release", HTTP_ALLOW_ANY, on_release, NULL);
    http_route(server, "/end", HTTP_ALLOW_ANY, on_end, NULL);
    http_route(server, "/pieces", HTTP_ALLOW_ANY, on_pieces, NULL);
    sem_init(&flow.full, 0, 0);
    sem_init(&flow.over, 0, 0);
    flow.piece_bytes = 4096;
    cr_assert(loop_start(loop, &err), "%s", err.text);
}

static void start(void)
{
    start_with((struct http_options){
        .body_max_bytes = BODY_MAX, .timeout_ms = 60000, .server_name = "Warren-test" });
}

static void stop(void)
{
    loop_stop(loop);
    loop_join(loop);
    http_server_free(&server);
    if (held != NULL)
        http_reply(held, 200, plain, slice_str("nobody"));
    loop_free(&loop);
}

TestSuite(http, .timeout = 300);

/* ---- the client ----------------------------------------------------------------------------- */

static int dial(void)
{
    const struct sock_addr *at = http_server_addr(server);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)at->bytes, at->len) == 0);
    return fd;
}

/* One answer: the head up to the empty line, then as many octets as it says, or none. */
static char answer[8192];

static const char *receive(int fd, bool has_body)
{
    size_t n = 0, length = 0;
    answer[0] = '\0';
    while (n < sizeof answer - 1 && strstr(answer, "\r\n\r\n") == NULL) {
        if (kit_recv(fd, answer + n, 1) != 1)
            return answer;
        answer[++n] = '\0';
    }
    const char *field = strstr(answer, "Content-Length: ");
    if (has_body && field != NULL && sscanf(field, "Content-Length: %zu", &length) == 1) {
        cr_assert(lt(sz, n + length, sizeof answer));
        n += kit_recv(fd, answer + n, length);
        answer[n] = '\0';
    }
    return answer;
}

static void ask(int fd, const char *text)
{
    kit_send(fd, text, strlen(text));
}

/* The whole answer to a request on a connection of its own. */
static const char *whole(const char *text)
{
    int fd = dial();
    ask(fd, text);
    receive(fd, true);
    close(fd);
    return answer;
}

static void expect_in(const char *part)
{
    cr_expect(strstr(answer, part) != NULL, "\"%s\" should contain \"%s\"", answer, part);
}

static void expect_status(const char *text, const char *status_line)
{
    whole(text);
    cr_expect(strncmp(answer, status_line, strlen(status_line)) == 0, "\"%s\": got \"%s\"", text,
              answer);
}

static bool is_at_end(int fd)
{
    char octet;
    return kit_recv(fd, &octet, 1) == 0;
}

#define HOST      "Host: test\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

/* ---- routes and answers --------------------------------------------------------------------- */

Test(http, answers_with_everything_a_client_needs, .init = start, .fini = stop)
{
    whole(GET("/hello"));
    cr_expect(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) == 0);
    expect_in("\r\nServer: Warren-test\r\n");
    expect_in("\r\nDate: ");
    expect_in(" GMT\r\n");
    expect_in("\r\nContent-Type: text/plain; charset=utf-8\r\n");
    expect_in("\r\nContent-Length: 5\r\n");
    expect_in("\r\n\r\nhello");
    cr_expect(strstr(answer, "Connection:") == NULL);
}

Test(http, takes_the_longest_route, .init = start, .fini = stop)
{
    static const struct {
        const char *request, *body;
    } cases[] = {
        { GET("/api"), "\r\n\r\napi" },
        { GET("/api/"), "\r\n\r\napi" },
        { GET("/api/nodes/x"), "\r\n\r\napi" },
        { GET("/api/queues"), "\r\n\r\nall queues" },
        { GET("/api/queues/%2F/q"), "\r\n\r\nqueues" },
        { GET("/api/queuesque"), "\r\n\r\napi" },
        { GET("/stats;csv"), "\r\n\r\ncsv" },
        { GET("/thing?x"), "\r\n\r\ngot" },
        { "PUT /thing HTTP/1.1\r\n" HOST "\r\n", "\r\n\r\nput" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        whole(cases[i].request);
        expect_in(cases[i].body);
    }
}

Test(http, says_what_it_does_not_have_or_do, .init = start, .fini = stop)
{
    expect_status(GET("/"), "HTTP/1.1 404 Not Found\r\n");
    expect_status(GET("/hello/there"), "HTTP/1.1 404 Not Found\r\n");
    expect_status(GET("/hell"), "HTTP/1.1 404 Not Found\r\n");
    expect_status(GET("/apian"), "HTTP/1.1 404 Not Found\r\n");
    expect_status("DELETE /thing HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 405 ");
    expect_in("\r\nAllow: GET, HEAD, PUT\r\n");
    expect_status("PATCH /hello HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 405 ");
    expect_in("\r\nAllow: GET, HEAD\r\n");
    /* A more special path hides the general one, whatever its methods. */
    expect_status("POST /api/queues HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 405 ");
}

Test(http, shows_the_handler_all_of_a_request, .init = start, .fini = stop)
{
    whole("POST /show/%2F/a%20b?x=1&q=5%25 HTTP/1.1\r\n" HOST
          "Authorization: Basic Z3Vlc3Q6c2VjcmV0\r\nUser-Agent: unit  \r\n"
          "Content-Length: 4\r\n\r\nbody");
    expect_in("HTTP/1.1 201 Created\r\n");
    expect_in("method=2 path=/show/%2F/a%20b a=/ b=a b c=- q=5% user=guest:secret agent=unit "
              "body=body peer=127.0.0.1");
    expect_in("\r\nX-Seen: yes??no\r\n");
    whole(GET("/show/%/%00?q=%zz"));
    expect_in("a=- b=- c=- q=- user=-:- agent=- body= ");
}

Test(http, answers_head_without_a_body, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n" GET("/nothing") GET("/hello"));
    receive(fd, false);
    expect_in("HTTP/1.1 200 OK\r\n");
    expect_in("\r\nContent-Length: 5\r\n");
    receive(fd, true);
    expect_in("HTTP/1.1 204 No Content\r\n");
    cr_expect(strstr(answer, "Content-Length") == NULL);
    receive(fd, true);
    expect_in("\r\n\r\nhello");
    close(fd);
}

/* ---- in pieces ------------------------------------------------------------------------------ */

static void skip(int fd, size_t octets)
{
    char room[4096];
    while (octets != 0) {
        size_t n = octets < sizeof room ? octets : sizeof room;
        cr_assert(eq(sz, kit_recv(fd, room, n), n));
        octets -= n;
    }
}

Test(http, sends_pieces_as_they_are_taken, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, GET("/pieces"));
    receive(fd, false);
    expect_in("\r\nTransfer-Encoding: chunked\r\n");
    cr_expect(strstr(answer, "Content-Length") == NULL);
    sem_wait(&flow.full); /* we take nothing meanwhile, and it is more than fits on the way */
    cr_expect(sem_trywait(&flow.over) != 0, "it waits for us");
    skip(fd, PIECES * (sizeof "1000\r\n" - 1 + 4096 + 2) + sizeof "0\r\n\r\n" - 1);
    sem_wait(&flow.over);
    ask(fd, GET("/hello"));
    receive(fd, true);
    expect_in("\r\n\r\nhello");
    close(fd);
}

Test(http, tells_in_pieces_who_has_gone, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, GET("/pieces"));
    receive(fd, false);
    close(fd);
    sem_wait(&flow.over);
    cr_expect(lt(uint, flow.sent, PIECES));
}

Test(http, ends_pieces_with_the_connection_before_1_1, .init = start, .fini = stop)
{
    int fd = dial();
    flow.piece_bytes = 10;
    ask(fd, "GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    receive(fd, false);
    expect_in("\r\nConnection: close\r\n");
    skip(fd, (size_t)PIECES * 10);
    cr_expect(is_at_end(fd));
    close(fd);
    fd = dial();
    ask(fd, "HEAD /pieces HTTP/1.1\r\n" HOST "\r\n" GET("/hello"));
    receive(fd, false);
    expect_in("\r\nTransfer-Encoding: chunked\r\n");
    receive(fd, true);
    expect_in("\r\n\r\nhello");
    close(fd);
}

Test(http, bounds_all_bodies_together)
{
    start_with((struct http_options){
        .body_max_bytes = 100000, .bodies_max_bytes = 40000, .timeout_ms = 60000 });
    static char body[30000];
    memset(body, 'b', sizeof body);
    int first = dial(), second = dial();
    ask(first, "POST /hello HTTP/1.1\r\n" HOST "Content-Length: 90000\r\n\r\n");
    kit_send(first, body, sizeof body);
    kit_send(first, body, sizeof body);
    receive(first, true);
    expect_in("HTTP/1.1 503 ");
    ask(second, "POST /show/a HTTP/1.1\r\n" HOST "Content-Length: 30000\r\n\r\n");
    kit_send(second, body, sizeof body);
    receive(second, false);
    expect_in("HTTP/1.1 201 ");
    close(first);
    close(second);
    stop();
}

/* ---- connections ---------------------------------------------------------------------------- */

Test(http, keeps_and_closes_connections_as_asked, .init = start, .fini = stop)
{
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        ask(fd, GET("/hello"));
        receive(fd, true);
        expect_in("\r\n\r\nhello");
    }
    ask(fd, "GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    receive(fd, true);
    expect_in("\r\nConnection: close\r\n");
    cr_expect(is_at_end(fd));
    close(fd);

    fd = dial();
    ask(fd, "GET /hello HTTP/1.0\r\n\r\n");
    receive(fd, true);
    expect_in("\r\nConnection: close\r\n");
    cr_expect(is_at_end(fd));
    close(fd);

    fd = dial();
    ask(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    receive(fd, true);
    expect_in("\r\nConnection: keep-alive\r\n");
    ask(fd, GET("/hello"));
    receive(fd, true);
    expect_in("\r\n\r\nhello");
    close(fd);
}

Test(http, answers_who_has_closed_his_side, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, GET("/large"));
    shutdown(fd, SHUT_WR);
    receive(fd, false);
    expect_in("HTTP/1.1 200 OK\r\n");
    size_t n = 0;
    while (kit_recv(fd, seen, 4096) == 4096)
        n++;
    cr_expect(eq(sz, n, 1024));
    close(fd);
}

Test(http, takes_a_request_octet_by_octet, .init = start, .fini = stop)
{
    static const char text[] = "POST /show/a HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    int fd = dial();
    for (size_t i = 0; i < sizeof text - 1; i++)
        kit_send(fd, text + i, 1);
    receive(fd, true);
    expect_in("body=abc ");
    close(fd);
}

Test(http, answers_requests_that_came_together_in_order, .init = start, .fini = stop)
{
    enum { COUNT = 500 };
    struct text t;
    text_init(&t, 1 << 20);
    for (int i = 0; i < COUNT; i++)
        text_put(&t, "GET /show/%d HTTP/1.1\r\n" HOST "\r\n", i);
    int fd = dial();
    kit_send(fd, t.ptr, t.len);
    for (int i = 0; i < COUNT; i++) {
        char want[32];
        snprintf(want, sizeof want, "path=/show/%d ", i);
        receive(fd, true);
        expect_in(want);
    }
    close(fd);
    text_fini(&t);
}

Test(http, waits_for_a_client_that_does_not_read, .init = start, .fini = stop)
{
    enum { COUNT = 8, LARGE = 4 * 1024 * 1024 };
    int fd = dial();
    for (int i = 0; i < COUNT; i++)
        ask(fd, GET("/large"));
    /* Others are served meanwhile. */
    for (int i = 0; i < 20; i++) {
        whole(GET("/hello"));
        expect_in("\r\n\r\nhello");
    }
    cr_expect(le(uint, atomic_load(&large_calls), 2), "no answers are made that nobody takes");
    uint8_t *into = mem_alloc(LARGE);
    for (int i = 0; i < COUNT; i++) {
        receive(fd, false);
        expect_in("HTTP/1.1 200 OK");
        cr_assert(eq(sz, kit_recv(fd, into, LARGE), LARGE));
    }
    mem_free(into);
    close(fd);
}

/* ---- limits --------------------------------------------------------------------------------- */

Test(http, refuses_what_is_malformed_and_closes, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, "nonsense\r\n\r\n" GET("/hello"));
    receive(fd, true);
    expect_in("HTTP/1.1 400 Bad Request\r\n");
    expect_in("\r\nServer: Warren-test\r\n");
    expect_in("\r\nConnection: close\r\n");
    cr_expect(is_at_end(fd), "nothing behind it is answered");
    close(fd);
    expect_status("POST /hello HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
                  "HTTP/1.1 411 ");
}

Test(http, bounds_the_body, .init = start, .fini = stop)
{
    char text[BODY_MAX + 200];
    int n = snprintf(text, sizeof text,
                     "POST /show/a HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", BODY_MAX);
    memset(text + n, 'b', BODY_MAX);
    text[n + BODY_MAX] = '\0';
    expect_status(text, "HTTP/1.1 201 ");
    snprintf(text, sizeof text, "POST /show/a HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
             BODY_MAX + 1);
    expect_status(text, "HTTP/1.1 413 ");
    expect_status("POST /show/a HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n",
                  "HTTP/1.1 413 ");
}

/* The refusal reaches a client that is still sending. */
Test(http, refuses_a_body_on_its_way, .init = start, .fini = stop)
{
    enum { TOTAL = 8 * 1024 * 1024 };
    uint8_t *body = mem_zalloc(TOTAL);
    int fd = dial();
    ask(fd, "POST /show/a HTTP/1.1\r\n" HOST "Content-Length: 8388608\r\n\r\n");
    kit_send(fd, body, TOTAL);
    receive(fd, true);
    expect_in("HTTP/1.1 413 ");
    close(fd);
    mem_free(body);
}

Test(http, bounds_the_head, .init = start, .fini = stop)
{
    char *text = mem_zalloc(2 * HTTP_HEAD_MAX);
    memset(text, 'a', 2 * HTTP_HEAD_MAX - 1);
    expect_status(text, "HTTP/1.1 414 ");
    memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
    expect_status(text, "HTTP/1.1 431 ");
    mem_free(text);
}

Test(http, asks_for_the_body_when_the_client_waits, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, "POST /show/a HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    receive(fd, false);
    expect_in("HTTP/1.1 100 Continue\r\n\r\n");
    ask(fd, "ok");
    receive(fd, true);
    expect_in("body=ok ");
    close(fd);
}

static void start_impatient(void)
{
    start_with((struct http_options){ .body_max_bytes = BODY_MAX, .timeout_ms = 1000 });
}

Test(http, gives_up_on_who_is_slow, .init = start_impatient, .fini = stop)
{
    int idle = dial(), head = dial(), body = dial();
    ask(head, "GET /hello HT");
    ask(body, "POST /show/a HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n1");
    receive(head, true);
    expect_in("HTTP/1.1 408 Request Timeout\r\n");
    receive(body, true);
    expect_in("HTTP/1.1 408 Request Timeout\r\n");
    cr_expect(is_at_end(idle), "and closes the idle without a word");
    close(idle);
    close(head);
    close(body);
}

static void start_narrow(void)
{
    start_with((struct http_options){
        .body_max_bytes = BODY_MAX, .timeout_ms = 60000, .connections_max = 2 });
}

Test(http, bounds_the_connections, .init = start_narrow, .fini = stop)
{
    int a = dial(), b = dial(), c = dial();
    ask(a, GET("/hello"));
    receive(a, true);
    ask(b, GET("/hello"));
    receive(b, true);
    /* The third is in the backlog until one of the two goes. */
    ask(c, GET("/hello"));
    char octet;
    cr_expect(recv(c, &octet, 1, MSG_DONTWAIT) == -1);
    close(a);
    receive(c, true);
    expect_in("\r\n\r\nhello");
    close(b);
    close(c);
}

/* ---- answers that come later, and the end --------------------------------------------------- */

Test(http, answers_later, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, GET("/hold") GET("/hello"));
    sem_wait(&is_held);
    whole(GET("/release"));
    receive(fd, true);
    expect_in("\r\n\r\nat last");
    receive(fd, true);
    expect_in("\r\n\r\nhello");
    close(fd);
}

Test(http, lets_a_client_go_that_waits_for_an_answer, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, GET("/hold"));
    sem_wait(&is_held);
    close(fd);
    whole(GET("/release"));
    expect_in("HTTP/1.1 204 ");
}

Test(http, ends_while_an_answer_is_due, .init = start, .fini = stop)
{
    int fd = dial();
    ask(fd, GET("/hold"));
    sem_wait(&is_held);
    /* `stop` frees the server before it answers. */
    close(fd);
}

Test(http, can_be_ended_by_a_handler, .init = start)
{
    int fd = dial(), other = dial();
    ask(other, "GET /hel");
    ask(fd, GET("/end"));
    cr_expect(is_at_end(fd));
    cr_expect(is_at_end(other));
    close(fd);
    close(other);
    loop_join(loop);
    loop_free(&loop);
}

Test(http, says_where_it_cannot_listen, .init = start, .fini = stop)
{
    struct err err;
    struct http_options o = { .timeout_ms = 1000 };
    cr_expect(http_server_new(loop, http_server_addr(server), &o, &err) == NULL);
    cr_expect(strstr(err.text, "127.0.0.1:") != NULL, "%s", err.text);
}
