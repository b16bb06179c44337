#include "expect.h"
#include "io/proxy_accept.h"
#include "stream_kit.h"

#include <stdlib.h>

#include <sys/socket.h>
#include <unistd.h>

TestSuite(stream_ends, .timeout = 300);
TestSuite(proxy_accept, .timeout = 300);

/* ---- one side's end -------------------------------------------------------------------------- */

static bool ended;

static void on_end(struct stream *s, void *arg)
{
    struct end *e = arg;
    cr_assert(e->s == s && ended == false && e->closed == false);
    ended = true;
}

static void do_watch_end(void *arg)
{
    struct end *e = arg;
    ended = false;
    stream_on_end(e->s, on_end);
}

static void do_end(void *arg)
{
    struct end *e = arg;
    stream_end(e->s);
}

Test(stream_ends, the_other_side_may_still_be_written_to, .init = set_up, .fini = tear_down)
{
    struct end e;
    char got[16] = "";
    int peer = half_pair(&e, false);
    on_loop(do_watch_end, &e);
    kit_send(peer, "question", 8);
    cr_assert(shutdown(peer, SHUT_WR) == 0);
    kit_until_set(loop, &ended);
    expect_text(e.text, "question");
    cr_expect(not(e.closed));
    end_write(&e, "answer", 6);
    on_loop(do_finish, &e);
    cr_expect(eq(sz, kit_recv(peer, got, sizeof got), 6));
    expect_text(got, "answer");
    close(peer);
}

Test(stream_ends, without_asking_the_end_closes, .init = set_up, .fini = tear_down)
{
    struct end e;
    int peer = half_pair(&e, false);
    ended = false;
    close(peer);
    kit_until_set(loop, &e.closed);
    cr_expect(not(ended));
    cr_expect(not(e.failed));
    end_free(&e);
}

Test(stream_ends, is_told_behind_all_that_was_written, .init = set_up, .fini = tear_down)
{
    struct end e;
    size_t len = 300000;
    uint8_t *octets = noise(len);
    uint8_t *got = noise(len + 1);
    int peer = half_pair(&e, true);
    end_write(&e, octets, len);
    on_loop(do_end, &e);
    /* The loop has to run for the rest to be sent, and the peer has to read. */
    size_t n = 0;
    while (n < len) {
        ssize_t more = recv(peer, got + n, len + 1 - n, 0);
        if (more > 0)
            n += (size_t)more;
        else if (more == 0)
            break;
        kit_turns(loop, 1);
    }
    cr_expect(eq(sz, n, len));
    cr_expect(eq(u64, sum_of(got, len), sum_of(octets, len)));
    while (recv(peer, got, 1, 0) < 0)
        kit_turns(loop, 1);
    cr_expect(not(e.closed), "what the peer says is still read");
    kit_send(peer, "late", 4);
    kit_until_count(loop, &e.got, 4);
    expect_text(e.text, "late");
    end_free(&e);
    close(peer);
    free(octets);
    free(got);
}

/* ---- a PROXY header, and not an octet more ----------------------------------------------------
 */

struct guest {
    struct proxy_accept *accept;
    bool done;
    int fd;
    struct proxy_header header;
    struct err why;
    int socket;
    bool optional;
    bool no_header;
    uint64_t timeout_ms;
};

static void on_guest(int fd, const struct proxy_header *h, const struct err *why, void *arg)
{
    struct guest *g = arg;
    cr_assert(g->done == false);
    g->done = true;
    g->fd = fd;
    g->accept = NULL;
    g->no_header = h == NULL && why == NULL;
    cr_assert(eq(int, fd >= 0, h != NULL || g->no_header));
    if (h != NULL)
        g->header = *h;
    else if (why != NULL)
        g->why = *why;
}

static void do_accept(void *arg)
{
    struct guest *g = arg;
    g->accept = proxy_accept_start(loop, g->socket, g->optional, g->timeout_ms, on_guest, g);
}

static int guest(struct guest *g)
{
    int ends[2];
    kit_tcp_pair(ends);
    *g = (struct guest){ .socket = ends[0], .timeout_ms = 30000, .fd = -1 };
    on_loop(do_accept, g);
    return ends[1];
}

Test(proxy_accept, leaves_what_follows, .init = set_up, .fini = tear_down)
{
    static const char line[] = "PROXY TCP4 10.1.2.3 127.0.0.1 4711 5672\r\nAMQP";
    struct guest g;
    char rest[16] = "";
    int peer = guest(&g);
    for (size_t i = 0; i + 1 < sizeof line; i++) {
        kit_send(peer, line + i, 1);
        kit_turns(loop, 1);
    }
    kit_until_set(loop, &g.done);
    cr_assert(g.fd >= 0);
    struct sock_addr want;
    cr_assert(sock_addr_ip("10.1.2.3", 4711, &want));
    cr_expect(g.header.has_addresses && sock_addr_eq(&g.header.client, &want));
    cr_expect(eq(sz, kit_recv(g.fd, rest, 4), 4));
    expect_text(rest, "AMQP");
    close(g.fd);
    close(peer);
}

Test(proxy_accept, version_2_in_one_piece, .init = set_up, .fini = tear_down)
{
    struct guest g;
    struct sock_addr client, server;
    uint8_t room[PROXY_V2_BUILD_MAX], nonce[PROXY_NONCE_BYTES] = { 1 };
    struct wire_out w = wire_out_over(room, sizeof room);
    int peer = guest(&g);
    cr_assert(sock_addr_ip("10.1.2.3", 1, &client) && sock_addr_ip("10.1.2.4", 2, &server));
    proxy_proto_put_v2(&w, &client, &server, slice_str("cookie"), nonce);
    kit_send(peer, room, wire_out_len(&w));
    kit_until_set(loop, &g.done);
    cr_assert(g.fd >= 0);
    cr_expect(eq(u32, g.header.version, 2));
    cr_expect(sock_addr_eq(&g.header.client, &client));
    close(g.fd);
    close(peer);
}

Test(proxy_accept, hands_on_who_has_no_header_where_it_is_optional, .init = set_up,
     .fini = tear_down)
{
    int ends[2];
    char rest[16] = "";
    kit_tcp_pair(ends);
    struct guest g = { .socket = ends[0], .optional = true, .timeout_ms = 30000, .fd = -1 };
    on_loop(do_accept, &g);
    kit_send(ends[1], "\x16\x03\x01", 3);
    kit_until_set(loop, &g.done);
    cr_assert(g.fd >= 0 && g.no_header);
    cr_expect(eq(sz, kit_recv(g.fd, rest, 3), 3));
    expect_text(rest, "\x16\x03\x01");
    close(g.fd);
    close(ends[1]);
}

Test(proxy_accept, says_what_is_wrong, .init = set_up, .fini = tear_down)
{
    struct guest g;
    int peer = guest(&g);
    kit_send(peer, "AMQP\0\0\x09\x01", 8);
    kit_until_set(loop, &g.done);
    cr_expect(g.fd < 0 && strstr(g.why.text, "no PROXY header") != NULL, "%s", g.why.text);
    close(peer);

    peer = guest(&g);
    kit_send(peer, "PRO", 3);
    close(peer);
    kit_until_set(loop, &g.done);
    cr_expect(g.fd < 0 && strstr(g.why.text, "closed within") != NULL, "%s", g.why.text);
}

Test(proxy_accept, does_not_wait_for_ever, .init = set_up, .fini = tear_down)
{
    struct guest g;
    int ends[2];
    kit_tcp_pair(ends);
    g = (struct guest){ .socket = ends[0], .timeout_ms = 10, .fd = -1 };
    on_loop(do_accept, &g);
    kit_until_set(loop, &g.done);
    cr_expect(g.fd < 0 && strstr(g.why.text, "in time") != NULL, "%s", g.why.text);
    close(ends[1]);
}

static void do_cancel(void *arg)
{
    struct guest *g = arg;
    proxy_accept_cancel(&g->accept);
    proxy_accept_cancel(&g->accept);
}

Test(proxy_accept, can_be_cancelled, .init = set_up, .fini = tear_down)
{
    struct guest g;
    char c;
    int peer = guest(&g);
    on_loop(do_cancel, &g);
    cr_expect(eq(sz, kit_recv(peer, &c, 1), 0));
    cr_expect(not(g.done));
    close(peer);
}
