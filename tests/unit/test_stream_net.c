#include "base/check.h"
#include "base/mem.h"
#include "stream_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(stream_net, .timeout = 300);

/* ---- connecting ----------------------------------------------------------------------------- */

struct connecting {
    struct end *e;
    struct sock_addr to;
    uint64_t timeout_ms;
    struct tls_ctx *ctx;
    const char *name;
    const char *first; /* written at once */
};

static void do_connect(void *arg)
{
    struct connecting *c = arg;
    *c->e = (struct end){ .eat_max = SIZE_MAX };
    c->e->s = stream_connect(loop, &c->to, c->timeout_ms, &handlers, c->e);
    CHECK(c->e->s != NULL && !c->e->opened && !c->e->closed);
    if (c->ctx != NULL)
        stream_start_tls_client(c->e->s, c->ctx, c->name);
    if (c->first != NULL)
        stream_write(c->e->s, slice_str(c->first));
}

struct host {
    struct listener *listener;
    struct tls_ctx *ctx;
    struct end end;
    bool accepted;
};

static void on_accept(int fd, const struct sock_addr *peer, void *arg)
{
    (void)peer;
    struct host *h = arg;
    h->end = (struct end){ .eat_max = SIZE_MAX };
    h->end.s = stream_new(loop, fd, &handlers, &h->end);
    if (h->ctx != NULL)
        stream_start_tls_server(h->end.s, h->ctx);
    h->accepted = true;
}

static void host_open(struct host *h, struct tls_ctx *ctx)
{
    struct sock_addr at;
    struct err err;
    cr_assert(sock_addr_ip("127.0.0.1", 0, &at));
    *h = (struct host){ .ctx = ctx };
    h->listener = listener_new(loop, &at, &(struct listener_options){ 0 }, on_accept, h, &err);
    cr_assert(h->listener != NULL, "%s", err.text);
}

static void host_close(struct host *h)
{
    listener_free(&h->listener);
    if (h->end.s != NULL)
        end_free(&h->end);
}

Test(stream_net, connects_and_says_so, .init = set_up, .fini = tear_down)
{
    struct host h;
    struct end a;
    host_open(&h, NULL);
    struct connecting c = {
        .e = &a, .to = *listener_addr(h.listener), .timeout_ms = 30000, .first = "hello"
    };
    on_loop(do_connect, &c);
    kit_until_set(loop, &a.opened);
    kit_until_set(loop, &h.accepted);
    kit_until_count(loop, &h.end.got, 5);
    cr_expect(eq(str, h.end.text, "hello"), "what was written before is not lost");
    cr_expect(sock_addr_eq(stream_peer(a.s), listener_addr(h.listener)));
    end_free(&a);
    kit_until_set(loop, &h.end.closed);
    host_close(&h);
}

Test(stream_net, says_why_it_cannot_connect, .init = set_up, .fini = tear_down)
{
    struct host h;
    struct end a;
    host_open(&h, NULL);
    struct connecting c = {
        .e = &a, .to = *listener_addr(h.listener), .timeout_ms = 30000, .first = "lost"
    };
    host_close(&h);
    kit_turns(loop, 1);
    on_loop(do_connect, &c);
    kit_until_set(loop, &a.closed);
    cr_expect(not(a.opened));
    cr_expect(a.failed);
    cr_expect(strstr(a.why.text, "Connection refused") != NULL, "%s", a.why.text);
    end_free(&a);

    cr_assert(sock_addr_unix("/nowhere/at/all", &c.to));
    on_loop(do_connect, &c);
    kit_until_set(loop, &a.closed);
    cr_expect(strstr(a.why.text, "No such file") != NULL, "%s", a.why.text);
    end_free(&a);
}

/* A listener whose backlog is full answers nothing, like a machine that is gone. */
Test(stream_net, gives_up_connecting_after_its_time, .init = set_up, .fini = tear_down)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    int mute = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(mute, (struct sockaddr *)&at, len) == 0 && listen(mute, 0) == 0 &&
              getsockname(mute, (struct sockaddr *)&at, &len) == 0);
    struct connecting c = { .timeout_ms = 30000 };
    cr_assert(sock_addr_ip("127.0.0.1", ntohs(at.sin_port), &c.to));
    struct end fill[4], a;
    for (int i = 0; i < 4; i++) {
        c.e = &fill[i];
        on_loop(do_connect, &c);
    }
    c.e = &a;
    c.timeout_ms = 30;
    on_loop(do_connect, &c);
    kit_until_set(loop, &a.closed);
    cr_expect(strstr(a.why.text, "timed out") != NULL, "%s", a.why.text);
    end_free(&a);
    for (int i = 0; i < 4; i++)
        end_free(&fill[i]);
    close(mute);
}

/* ---- TLS ------------------------------------------------------------------------------------ */

static char folder[KIT_PATH_MAX];
static struct tls_ctx *server_ctx, *client_ctx;

static void set_up_tls(void)
{
    set_up();
    kit_folder_make(folder);
    kit_pki_make(folder);
    server_ctx = kit_tls_server(folder, false);
    client_ctx = kit_tls_client(folder);
}

static void tear_down_tls(void)
{
    tls_ctx_unref(&server_ctx);
    tls_ctx_unref(&client_ctx);
    kit_folder_remove(folder);
    tear_down();
}

static void connect_tls(struct host *h, struct end *a, const char *name, const char *first)
{
    host_open(h, server_ctx);
    on_loop(do_connect, &(struct connecting){ .e = a,
                                              .to = *listener_addr(h->listener),
                                              .timeout_ms = 30000,
                                              .ctx = client_ctx,
                                              .name = name,
                                              .first = first });
}

static void connected_tls(struct host *h, struct end *a)
{
    connect_tls(h, a, "localhost", NULL);
    kit_until_set(loop, &h->accepted);
    kit_until_set(loop, &a->opened);
    kit_until_set(loop, &h->end.opened);
}

Test(stream_net, speaks_tls, .init = set_up_tls, .fini = tear_down_tls)
{
    struct host h;
    struct end a;
    connect_tls(&h, &a, "localhost", "written before the handshake");
    kit_until_set(loop, &h.accepted);
    kit_until_count(loop, &h.end.got, 28);
    cr_expect(a.opened && h.end.opened);
    cr_expect(eq(str, h.end.text, "written before the handshake"));
    cr_expect(stream_is_tls(a.s) && stream_is_tls(h.end.s));
    cr_expect(eq(str, (char *)stream_tls_subject(a.s), "CN=server"));
    cr_expect(stream_tls_subject(h.end.s) == NULL, "the client has shown none");
    end_free(&a);
    kit_until_set(loop, &h.end.closed);
    cr_expect(not(h.end.failed), "an orderly end: %s", h.end.why.text);
    host_close(&h);
}

Test(stream_net, carries_a_lot_over_tls_both_ways, .init = set_up_tls, .fini = tear_down_tls)
{
    enum { LOT = 3 * 1024 * 1024 };
    struct host h;
    struct end a;
    uint8_t *octets = noise(LOT);
    connected_tls(&h, &a);
    for (int i = 0; i < 2; i++) {
        on_loop(do_write, &(struct writing){ &a, slice_of(octets, LOT), i == 0 });
        on_loop(do_write, &(struct writing){ &h.end, slice_of(octets, LOT), i != 0 });
    }
    kit_until_count(loop, &a.got, 2 * LOT);
    kit_until_count(loop, &h.end.got, 2 * LOT);
    cr_expect(eq(u64, a.sum, h.end.sum));
    mem_free(octets);
    end_free(&a);
    host_close(&h);
}

/* TLS may hold octets that the socket does not announce any more. */
Test(stream_net, loses_no_octets_inside_tls, .init = set_up_tls, .fini = tear_down_tls)
{
    enum { LOT = 3 * 1024 * 1024 };
    struct host h;
    struct end a;
    uint8_t *octets = noise(LOT);
    connected_tls(&h, &a);
    a.eat_max = 0;
    end_write(&h.end, octets, LOT);
    while (stream_peek(a.s).len < STREAM_PEEK_MAX)
        kit_turns(loop, 1);
    kit_turns(loop, 50);
    /* As slow as can be: one turn, one bite, and nobody else to wake it. */
    while (a.got < LOT) {
        struct slice in = slice_head(stream_peek(a.s), 300000);
        digest(&a, in);
        stream_consume(a.s, in.len);
        kit_turns(loop, 2);
    }
    cr_expect(eq(u64, a.sum, sum_of(octets, LOT)));

    /* The same with pauses. */
    a.got = 0;
    a.sum = 0;
    a.eat_max = 1000;
    a.pauses_on_data = true;
    end_write(&h.end, octets, 300000);
    while (a.got < 300000) {
        stream_resume(a.s);
        kit_turns(loop, 1);
    }
    cr_expect(eq(u64, a.sum, sum_of(octets, 300000)));
    mem_free(octets);
    end_free(&a);
    host_close(&h);
}

/* The same at the bound of a peek: for some of these lengths the last octets lie in TLS alone when
 * the owner makes room from outside of on_data, and no event of the socket will ever come. */
Test(stream_net, goes_on_with_octets_that_only_tls_holds, .init = set_up_tls, .fini = tear_down_tls)
{
    struct host h;
    struct end a;
    uint8_t *octets = noise(4 * STREAM_PEEK_MAX);
    connected_tls(&h, &a);
    /* The system's buffers grow with what is sent: afterwards the whole fits. */
    for (size_t n = 1; n <= 8; n++) {
        end_write(&h.end, octets, 4 * STREAM_PEEK_MAX);
        kit_until_count(loop, &a.got, n * 4 * STREAM_PEEK_MAX);
    }
    /* A first record of half the size shifts the others, so that the bound cuts one in two. */
    for (size_t more = 1; more <= 8192; more *= 2) {
        size_t len = STREAM_PEEK_MAX + more;
        a.eat_max = 0;
        stream_pause(a.s);
        end_write(&h.end, octets, 8192);
        end_write(&h.end, octets + 8192, len - 8192);
        kit_turns(loop, 100);
        stream_resume(a.s);
        while (stream_peek(a.s).len < STREAM_PEEK_MAX)
            kit_turns(loop, 1);
        kit_turns(loop, 5);
        a.eat_max = SIZE_MAX;
        a.got = stream_peek(a.s).len;
        stream_consume(a.s, a.got);
        kit_until_count(loop, &a.got, len);
    }
    mem_free(octets);
    end_free(&a);
    host_close(&h);
}

Test(stream_net, says_good_bye_over_tls, .init = set_up_tls, .fini = tear_down_tls)
{
    enum { LOT = 2 * 1024 * 1024 };
    struct host h;
    struct end a;
    uint8_t *octets = noise(LOT);
    connected_tls(&h, &a);
    end_write(&a, octets, LOT);
    on_loop(do_finish, &a);
    kit_until_set(loop, &h.end.closed);
    cr_expect(not(h.end.failed), "%s", h.end.why.text);
    cr_expect(eq(sz, h.end.got, LOT));
    mem_free(octets);
    host_close(&h);
}

Test(stream_net, says_why_a_handshake_failed, .init = set_up_tls, .fini = tear_down_tls)
{
    struct host h;
    struct end a;
    connect_tls(&h, &a, "elsewhere.example", "secret");
    kit_until_set(loop, &a.closed);
    cr_expect(not(a.opened));
    cr_expect(strstr(a.why.text, "ostname mismatch") != NULL, "%s", a.why.text);
    kit_until_set(loop, &h.accepted);
    kit_until_set(loop, &h.end.closed);
    cr_expect(h.end.failed);
    cr_expect(strstr(h.end.why.text, "TLS") != NULL, "%s", h.end.why.text);
    cr_expect(eq(sz, h.end.got, 0), "nothing was said to the wrong one");
    end_free(&a);
    host_close(&h);
}

Test(stream_net, fails_a_plain_client_of_a_tls_server, .init = set_up_tls, .fini = tear_down_tls)
{
    struct host h;
    struct end a;
    host_open(&h, server_ctx);
    on_loop(do_connect,
            &(struct connecting){
                .e = &a, .to = *listener_addr(h.listener), .timeout_ms = 30000, .first = "AMQP" });
    kit_until_set(loop, &a.opened);
    end_write(&a, "\0\0\x09\x01 and more", 13);
    kit_until_set(loop, &h.accepted);
    kit_until_set(loop, &h.end.closed);
    cr_expect(strstr(h.end.why.text, "does not speak TLS") != NULL, "%s", h.end.why.text);
    host_close(&h);
    kit_until_set(loop, &a.closed);
    end_free(&a);
}

Test(stream_net, fails_when_its_peer_vanishes_in_the_handshake, .init = set_up_tls,
     .fini = tear_down_tls)
{
    struct end a;
    int ends[2];
    kit_tcp_pair(ends);
    end_open(&a, ends[0]);
    stream_start_tls_server(a.s, server_ctx);
    kit_turns(loop, 2);
    close(ends[1]);
    kit_until_set(loop, &a.closed);
    cr_expect(a.failed);
    cr_expect(not(a.opened));
    cr_expect(strstr(a.why.text, "TLS handshake") != NULL, "%s", a.why.text);
    end_free(&a);
}

/* The descriptor below a stream: the one whose own address is that of the stream. */
static int socket_of(const struct stream *s)
{
    for (int fd = 3; fd < 1000; fd++) {
        struct sock_addr local = { .len = 0 }, peer = { .len = 0 };
        socklen_t len = sizeof local.bytes, peer_len = sizeof peer.bytes;
        if (getsockname(fd, (struct sockaddr *)(void *)local.bytes, &len) != 0 ||
            getpeername(fd, (struct sockaddr *)(void *)peer.bytes, &peer_len) != 0)
            continue;
        local.len = len;
        peer.len = peer_len;
        if (sock_addr_eq(&local, stream_local(s)) && sock_addr_eq(&peer, stream_peer(s)))
            return fd;
    }
    CHECK(!"no such socket");
    return -1;
}

Test(stream_net, tells_a_torn_tls_session_from_an_ended_one, .init = set_up_tls,
     .fini = tear_down_tls)
{
    struct host h;
    struct end a;
    connected_tls(&h, &a);
    /* As a network that fails: the socket ends, and no word of TLS came before. */
    shutdown(socket_of(a.s), SHUT_WR);
    kit_until_set(loop, &h.end.closed);
    cr_expect(h.end.failed);
    cr_expect(strstr(h.end.why.text, "without ending TLS") != NULL, "%s", h.end.why.text);
    end_free(&a);
    host_close(&h);
}
