#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "io/mailbox.h"
#include "stream_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(stream, .timeout = 300);

/* ---- both ways ------------------------------------------------------------------------------ */

Test(stream, carries_octets_both_ways, .init = set_up, .fini = tear_down)
{
    struct end a, b;
    both_open(&a, &b, true);
    end_write(&a, "ping", 4);
    kit_until_count(loop, &b.got, 4);
    end_write(&b, "pong", 4);
    kit_until_count(loop, &a.got, 4);
    cr_expect(eq(str, b.text, "ping"));
    cr_expect(eq(str, a.text, "pong"));
    cr_expect(not(a.opened), "on_open is not for accepted plain streams");
    struct stream_totals t = stream_totals(a.s);
    cr_expect(eq(u64, t.in_bytes, 4));
    cr_expect(eq(u64, t.out_bytes, 4));
    cr_expect(eq(sz, stream_pending(a.s), 0));
    cr_expect(sock_addr_eq(stream_peer(a.s), stream_local(b.s)));
    cr_expect(sock_addr_eq(stream_peer(b.s), stream_local(a.s)));
    cr_expect(stream_loop(a.s) == loop);
    cr_expect(not(stream_is_tls(a.s)));
    cr_expect(stream_tls_subject(a.s) == NULL);
    end_free(&a);
    kit_until_set(loop, &b.closed);
    cr_expect(not(b.failed), "an orderly end: %s", b.why.text);
    end_free(&b);
}

/* Written in one turn, it leaves with one system call: the peer sees it in one piece. */
static void do_write_thrice(void *arg)
{
    struct end *e = arg;
    stream_write(e->s, slice_str("one "));
    memcpy(stream_reserve(e->s, 1000), "two ", 4);
    stream_commit(e->s, 4);
    (void)stream_reserve(e->s, 10);
    stream_commit(e->s, 0);
    struct buf *b = buf_copy(slice_str("and three"));
    stream_write_shared(e->s, b, slice_from(buf_slice(b), 4));
    buf_unref(&b);
    cr_expect(eq(sz, stream_pending(e->s), 13));
}

Test(stream, gathers_what_is_written_in_a_turn, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, false);
    on_loop(do_write_thrice, &a);
    char got[64] = "";
    cr_expect(eq(int, (int)recv(fd, got, sizeof got, MSG_DONTWAIT), 13));
    cr_expect(eq(str, got, "one two three"));
    end_free(&a);
    close(fd);
}

/* Every size around the thresholds, each by copy and by reference. */
Test(stream, carries_pieces_of_all_sizes_in_order, .init = set_up, .fini = tear_down)
{
    static const size_t sizes[] = { 1,      2,      1023,   1024,   1025,   16383,  16384,
                                    16385,  32767,  32768,  32769,  65535,  65536,  65537,
                                    131071, 131072, 131073, 262144, 262145, 1000000 };
    struct end a, b;
    both_open(&a, &b, false);
    uint8_t *octets = noise(1000000);
    struct end want = { .got = 0 };
    for (size_t i = 0; i < 2 * ARRAY_COUNT(sizes); i++) {
        struct writing w = { &a, slice_of(octets, sizes[i / 2]), i % 2 != 0 };
        on_loop(do_write, &w);
        digest(&want, w.octets);
    }
    kit_until_count(loop, &b.got, want.got);
    cr_expect(eq(u64, b.sum, want.sum));
    cr_expect(eq(sz, stream_pending(a.s), 0));
    mem_free(octets);
    end_free(&a);
    end_free(&b);
}

/* ---- input that stays ----------------------------------------------------------------------- */

Test(stream, shows_again_what_was_not_consumed, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, false);
    a.eat_max = 0;
    kit_send(fd, "half a ", 7);
    kit_until_count(loop, &a.data_calls, 1);
    cr_expect(slice_is(stream_peek(a.s), "half a "));
    kit_turns(loop, 5);
    cr_expect(eq(sz, a.data_calls, 1), "but only with more");
    kit_send(fd, "frame", 5);
    kit_until_count(loop, &a.data_calls, 2);
    cr_expect(slice_is(stream_peek(a.s), "half a frame"));
    a.eat_max = 5;
    kit_send(fd, "!", 1);
    kit_until_count(loop, &a.data_calls, 3);
    cr_expect(slice_is(stream_peek(a.s), "a frame!"));
    end_free(&a);
    close(fd);
}

/* What is behind it waits in the kernel, not in ever larger blocks. */
Test(stream, stops_reading_when_nobody_needs_more_in_one_piece, .init = set_up, .fini = tear_down)
{
    enum { MORE = 3 * 1024 * 1024, LEAST = 128 * 1024 };
    struct end a, b;
    uint8_t *octets = noise(MORE);
    both_open(&a, &b, false);
    stream_set_peek_max(b.s, 4096);
    cr_expect(stream_is_reading(b.s));
    b.eat_max = 0;
    end_write(&a, octets, MORE);
    while (stream_is_reading(b.s))
        kit_turns(loop, 1);
    size_t held = stream_peek(b.s).len;
    cr_expect(le(sz, LEAST, held));
    cr_expect(lt(sz, held, LEAST + 256 * 1024), "%zu octets", held);
    b.eat_max = SIZE_MAX;
    digest(&b, stream_peek(b.s));
    stream_consume(b.s, held);
    cr_expect(stream_is_reading(b.s));
    kit_until_count(loop, &b.got, MORE);
    cr_expect(eq(u64, b.sum, sum_of(octets, MORE)));
    mem_free(octets);
    end_free(&a);
    end_free(&b);
}

/* A frame of the greatest size comes in one piece, however it was cut on its way. */
Test(stream, holds_the_largest_peek_and_no_more, .init = set_up, .fini = tear_down)
{
    enum { MORE = 3 * 1024 * 1024 };
    struct end a, b;
    uint8_t *octets = noise(MORE);
    both_open(&a, &b, false);
    b.eat_max = 0;
    end_write(&a, octets, MORE);
    while (stream_peek(b.s).len < STREAM_PEEK_MAX)
        kit_turns(loop, 1);
    size_t held = stream_peek(b.s).len;
    cr_expect(lt(sz, held, STREAM_PEEK_MAX + 512 * 1024), "%zu octets", held);
    kit_turns(loop, 50);
    cr_expect(eq(sz, stream_peek(b.s).len, held), "it reads no more than it can show");
    cr_expect(memcmp(stream_peek(b.s).ptr, octets, held) == 0);
    /* Consumed from outside of on_data, it goes on by itself. */
    b.eat_max = SIZE_MAX;
    digest(&b, stream_peek(b.s));
    stream_consume(b.s, held);
    kit_until_count(loop, &b.got, MORE);
    cr_expect(eq(u64, b.sum, sum_of(octets, MORE)));
    mem_free(octets);
    end_free(&a);
    end_free(&b);
}

Test(stream, lends_the_block_of_its_input, .init = set_up, .fini = tear_down)
{
    struct end a, b;
    int fd = half_pair(&a, false);
    int other[2];
    kit_socket_pair(other, false);
    end_open(&b, other[0]);
    a.eat_max = 0;
    uint8_t *octets = noise(100000);
    kit_send(fd, octets, 100000);
    while (stream_peek(a.s).len < 100000)
        kit_turns(loop, 1);
    /* A relay: what came in at one goes out at the other, without a copy. */
    struct slice in = stream_peek(a.s);
    struct buf *block = stream_input_block(a.s);
    unsigned refs = atomic_load(&block->refs);
    cr_expect(in.ptr >= block->data && in.ptr + in.len <= block->data + block->cap_bytes);
    struct buf *kept = buf_ref(block);
    stream_write_shared(b.s, block, in);
    cr_expect(eq(uint, atomic_load(&block->refs), refs + 2));
    stream_consume(a.s, in.len);
    /* More input must not touch what is under way. */
    uint8_t *zeros = mem_zalloc(50000);
    kit_send(fd, zeros, 50000);
    kit_turns(loop, 5);
    cr_expect(memcmp(in.ptr, octets, 100000) == 0);
    buf_unref(&kept);
    uint8_t *got = mem_alloc(100000);
    cr_expect(eq(sz, kit_recv(other[1], got, 100000), 100000));
    cr_expect(memcmp(got, octets, 100000) == 0);
    mem_free(got);
    mem_free(zeros);
    mem_free(octets);
    end_free(&a);
    end_free(&b);
    close(fd);
    close(other[1]);
}

/* ---- back-pressure -------------------------------------------------------------------------- */

static void do_marks(void *arg)
{
    struct end *e = arg;
    stream_set_marks(e->s, 10000, 2000);
    static uint8_t octets[9999];
    stream_write(e->s, slice_of(octets, sizeof octets));
    cr_expect(not(stream_is_full(e->s)));
    stream_write(e->s, slice_of(octets, 1));
    cr_expect(stream_is_full(e->s));
    stream_write(e->s, slice_of(octets, 5000));
    cr_expect(eq(sz, stream_pending(e->s), 15000), "and still takes what has begun");
}

Test(stream, is_full_at_the_high_mark_and_has_room_at_the_low, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, true);
    on_loop(do_marks, &a);
    kit_turns(loop, 10);
    cr_expect(stream_is_full(a.s), "nobody reads");
    cr_expect(eq(sz, a.room_calls, 0));
    cr_expect(lt(sz, 2000, stream_pending(a.s)));
    size_t read = 0;
    while (read < 15000) {
        uint8_t got[500];
        ssize_t n = recv(fd, got, sizeof got, MSG_DONTWAIT);
        read += n > 0 ? (size_t)n : 0;
        kit_turns(loop, 3);
        cr_assert(eq(sz, a.room_calls, !stream_is_full(a.s)));
        cr_assert(eq(int, stream_is_full(a.s), stream_pending(a.s) > 2000));
    }
    cr_expect(eq(sz, a.room_calls, 1), "once");
    end_free(&a);
    close(fd);
}

Test(stream, reads_nothing_while_it_is_paused, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, false);
    a.pauses_on_data = true;
    a.eat_max = 2;
    kit_send(fd, "abcdef", 6);
    kit_until_count(loop, &a.data_calls, 1);
    cr_expect(stream_is_paused(a.s));
    kit_send(fd, "gh", 2);
    kit_turns(loop, 10);
    cr_expect(eq(sz, a.data_calls, 1));
    cr_expect(slice_is(stream_peek(a.s), "cdef"));
    /* What is there is shown at once, without new octets. */
    stream_resume(a.s);
    kit_until_count(loop, &a.data_calls, 2);
    cr_expect(eq(sz, a.got, 4));
    a.pauses_on_data = false;
    a.eat_max = SIZE_MAX;
    stream_resume(a.s);
    kit_until_count(loop, &a.got, 8);
    cr_expect(eq(str, a.text, "abcdefgh"));
    end_free(&a);
    close(fd);
}

Test(stream, slows_its_peer_down, .init = set_up, .fini = tear_down)
{
    struct end a, b;
    enum { LOT = 2 * 1024 * 1024 };
    uint8_t *octets = noise(LOT);
    both_open(&a, &b, true);
    stream_pause(b.s);
    for (int i = 0; i < 8; i++)
        end_write(&a, octets, LOT);
    kit_turns(loop, 50);
    cr_expect(stream_is_full(a.s));
    cr_expect(eq(sz, b.got, 0));
    stream_resume(b.s);
    kit_until_count(loop, &b.got, 8 * (size_t)LOT);
    kit_until_count(loop, &a.room_calls, 1);
    cr_expect(not(stream_is_full(a.s)));
    mem_free(octets);
    end_free(&a);
    end_free(&b);
}

/* ---- mail comes first ----------------------------------------------------------------------- */

/* Mail that is posted by the first stream's callback: the other one's octets are there already, and
 * its callback is called in the same turn. */
struct mail_first {
    struct mail mail;
    struct end a;
    struct end b;
    int fd_a;
    int fd_b;
    size_t delivered;
    size_t b_calls_before;
    void (*deed)(struct mail_first *w);
};

static void on_mail_first(struct mail *mail)
{
    struct mail_first *w = CONTAINER_OF(mail, struct mail_first, mail);
    w->delivered++;
    w->b_calls_before = w->b.data_calls;
    if (w->deed != NULL)
        w->deed(w);
}

static void post_on_data(struct stream *s, void *arg)
{
    struct mail_first *w = arg;
    stream_consume(s, stream_peek(s).len);
    w->mail.fn = on_mail_first;
    mailbox_post(loop, &w->mail);
}

static void ignore_end(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    (void)why;
    (void)arg;
}

static const struct stream_handlers posting = { .on_data = post_on_data, .on_closed = ignore_end };

static void do_hand_over_a(void *arg)
{
    struct mail_first *w = arg;
    stream_hand_over(w->a.s, &posting, w);
}

static void mail_before_octets(struct mail_first *w, void (*deed)(struct mail_first *))
{
    *w = (struct mail_first){ .deed = deed };
    w->fd_a = half_pair(&w->a, false);
    w->fd_b = half_pair(&w->b, false);
    on_loop(do_hand_over_a, w);
    kit_turns(loop, 2);
    kit_send(w->fd_a, "a", 1);
    kit_send(w->fd_b, "b", 1);
    kit_until_count(loop, &w->delivered, 1);
    kit_turns(loop, 2);
    cr_expect(eq(sz, w->delivered, 1));
    cr_expect(eq(sz, w->b_calls_before, 0), "what was posted before the octets were read is older");
}

static void close_all(struct mail_first *w)
{
    end_free(&w->a);
    if (w->b.s != NULL)
        end_free(&w->b);
    close(w->fd_a);
    close(w->fd_b);
}

Test(stream, shows_octets_after_the_mail_that_is_older, .init = set_up, .fini = tear_down)
{
    struct mail_first w;
    mail_before_octets(&w, NULL);
    cr_expect(eq(sz, w.b.got, 1));
    close_all(&w);
}

static void pause_b(struct mail_first *w)
{
    stream_pause(w->b.s);
}

Test(stream, shows_nothing_when_mail_has_paused_it, .init = set_up, .fini = tear_down)
{
    struct mail_first w;
    mail_before_octets(&w, pause_b);
    cr_expect(eq(sz, w.b.got, 0));
    stream_resume(w.b.s);
    kit_until_count(loop, &w.b.got, 1);
    close_all(&w);
}

static void free_b(struct mail_first *w)
{
    stream_free(&w->b.s);
}

static void finish_b(struct mail_first *w)
{
    stream_finish(&w->b.s, 1000);
}

Test(stream, may_be_freed_by_mail_before_its_octets_are_shown, .init = set_up, .fini = tear_down)
{
    struct mail_first w;
    mail_before_octets(&w, free_b);
    cr_expect(eq(sz, w.b.got, 0));
    close_all(&w);
    mail_before_octets(&w, finish_b);
    cr_expect(eq(sz, w.b.got, 0));
    close_all(&w);
}

/* ---- the end -------------------------------------------------------------------------------- */

Test(stream, shows_the_last_octets_before_the_end, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, false);
    a.pauses_on_data = true;
    a.eat_max = 1;
    kit_send(fd, "last", 4);
    close(fd);
    kit_until_count(loop, &a.data_calls, 1);
    kit_turns(loop, 5);
    cr_expect(not(a.closed), "not while it is paused before unread octets");
    a.pauses_on_data = false;
    a.eat_max = SIZE_MAX;
    stream_resume(a.s);
    kit_until_set(loop, &a.closed);
    cr_expect(eq(str, a.text, "last"));
    cr_expect(not(a.failed));
    end_free(&a);
}

Test(stream, may_be_freed_by_its_own_callbacks, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, false);
    a.frees_on_data = true;
    kit_send(fd, "x", 1);
    kit_until_count(loop, &a.data_calls, 1);
    cr_expect(a.s == NULL);
    close(fd);

    fd = half_pair(&a, false);
    a.frees_on_close = true;
    close(fd);
    kit_until_set(loop, &a.closed);
    kit_turns(loop, 3);
    cr_expect(a.s == NULL);
}

/* The peer resets instead of closing. */
static void reset(int fd)
{
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0);
    close(fd);
}

Test(stream, says_that_its_peer_has_vanished, .init = set_up, .fini = tear_down)
{
    struct end a;
    int ends[2];
    kit_tcp_pair(ends);
    end_open(&a, ends[0]);
    reset(ends[1]);
    kit_until_set(loop, &a.closed);
    cr_expect(a.failed);
    cr_expect(strstr(a.why.text, "Connection reset by peer") != NULL, "%s", a.why.text);
    end_free(&a);
}

Test(stream, survives_writing_to_who_has_gone, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, false);
    stream_pause(a.s); /* so that it is the write that finds out */
    close(fd);
    end_write(&a, "x", 1);
    kit_until_set(loop, &a.closed);
    cr_expect(a.failed);
    cr_expect(strstr(a.why.text, "Broken pipe") != NULL, "%s", a.why.text);
    end_free(&a);
}

/* ---- closing in order ----------------------------------------------------------------------- */

Test(stream, sends_all_before_it_closes, .init = set_up, .fini = tear_down)
{
    enum { LOT = 500000 };
    struct end a, b;
    uint8_t *octets = noise(LOT);
    both_open(&a, &b, false);
    end_write(&a, octets, LOT);
    on_loop(do_finish, &a);
    cr_expect(a.s == NULL);
    kit_until_set(loop, &b.closed);
    cr_expect(not(b.failed), "%s", b.why.text);
    cr_expect(eq(sz, b.got, LOT));
    cr_expect(eq(u64, b.sum, sum_of(octets, LOT)));
    mem_free(octets);
    end_free(&b);
}

/* Closing with unread input resets a TCP connection, and the peer may lose what it has not read
 * yet: so the input is taken and thrown away. */
Test(stream, does_not_tear_its_last_words_from_a_peer_that_still_sends, .init = set_up,
     .fini = tear_down)
{
    enum { LOT = 4 * 1024 * 1024 };
    struct end a;
    int ends[2];
    kit_tcp_pair(ends);
    end_open(&a, ends[0]);
    stream_pause(a.s);
    uint8_t *octets = noise(LOT);
    ssize_t sent = send(ends[1], octets, LOT, MSG_DONTWAIT | MSG_NOSIGNAL);
    cr_assert(sent > 0);
    end_write(&a, "goodbye", 7);
    on_loop(do_finish, &a);
    for (int i = 0; i < 100; i++) {
        (void)send(ends[1], octets, LOT, MSG_DONTWAIT | MSG_NOSIGNAL);
        kit_turns(loop, 1);
    }
    char got[8] = "";
    cr_expect(eq(sz, kit_recv(ends[1], got, 7), 7));
    cr_expect(eq(str, got, "goodbye"));
    mem_free(octets);
    close(ends[1]);
}

static void do_finish_soon(void *arg)
{
    struct end *e = arg;
    stream_finish(&e->s, 20);
}

static bool is_refused(void *arg)
{
    int fd = *(int *)arg;
    return send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE;
}

Test(stream, lingers_no_longer_than_it_may, .init = set_up, .fini = tear_down)
{
    struct end a;
    int fd = half_pair(&a, true);
    uint8_t *octets = noise(100000);
    end_write(&a, octets, 100000); /* more than the peer, who never reads, has room for */
    on_loop(do_finish_soon, &a);
    kit_until(loop, is_refused, &fd);
    mem_free(octets);
    close(fd);
}

Test(stream, ends_its_lingering_with_its_loop)
{
    struct end a;
    set_up();
    int fd = half_pair(&a, true);
    uint8_t *octets = noise(100000);
    end_write(&a, octets, 100000);
    on_loop(do_finish, &a);
    tear_down();
    cr_expect(is_refused(&fd));
    mem_free(octets);
    close(fd);
}

static void answer_and_finish(struct stream *s, const struct err *why, void *arg)
{
    struct end *e = arg;
    CHECK(e->s == s && why == NULL);
    e->closed = true;
    stream_write(s, slice_str("answer"));
    stream_finish(&e->s, 30000);
}

static const struct stream_handlers answering = { on_open, on_data, on_room, answer_and_finish };

static void do_open_answering(void *arg)
{
    struct opening *o = arg;
    *o->e = (struct end){ .eat_max = SIZE_MAX };
    o->e->s = stream_new(loop, o->fd, &answering, o->e);
}

Test(stream, answers_a_peer_that_only_closed_its_side, .init = set_up, .fini = tear_down)
{
    struct end a;
    int ends[2];
    kit_tcp_pair(ends);
    on_loop(do_open_answering, &(struct opening){ &a, ends[0] });
    kit_send(ends[1], "question", 8);
    shutdown(ends[1], SHUT_WR);
    kit_until_set(loop, &a.closed);
    kit_turns(loop, 2);
    char got[8] = "";
    cr_expect(eq(sz, kit_recv(ends[1], got, 7), 6));
    cr_expect(eq(str, got, "answer"));
    cr_expect(eq(str, a.text, "question"));
    close(ends[1]);
}

/* Only so many linger: one more, and the eldest goes. */
Test(stream, bounds_those_that_linger, .init = set_up, .fini = tear_down)
{
    enum { COUNT = 1025 };
    static int fds[COUNT];
    uint8_t *octets = noise(20000);
    for (int i = 0; i < COUNT; i++) {
        struct end a;
        fds[i] = half_pair(&a, true);
        end_write(&a, octets, 20000);
        on_loop(do_finish, &a);
    }
    cr_expect(is_refused(&fds[0]));
    cr_expect(not(is_refused(&fds[1])));
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    mem_free(octets);
}
