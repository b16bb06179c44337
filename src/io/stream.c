#include "io/stream.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/stream_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HIGH_BYTES       ((size_t)512 * 1024)
#define LOW_BYTES        ((size_t)128 * 1024)
#define KEEP_SMALL_BYTES ((size_t)16 * 1024)    /* what rests in a big block moves to its own */
#define PEEK_LEAST       (LOOP_BLOCK_BYTES / 2) /* with less a block of the loop's takes more */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_flush(void *arg);
static void on_notify(void *arg);
static void on_timer(void *arg);

/* ---- life ----------------------------------------------------------------------------------- */

static struct stream *make(struct loop *loop, int fd, const struct stream_handlers *handlers,
                           void *arg)
{
    CHECK(handlers->on_data != NULL && handlers->on_closed != NULL);
    struct stream *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->fd = fd;
    s->handlers = handlers;
    s->arg = arg;
    s->high_bytes = HIGH_BYTES;
    s->low_bytes = LOW_BYTES;
    s->peek_max = STREAM_PEEK_MAX;
    s->last_read_ms = s->last_write_ms = loop_now_ms(loop);
    outq_init(&s->out);
    loop_task_init(&s->flush_task, on_flush, s);
    loop_task_init(&s->notify_task, on_notify, s);
    loop_timer_init(&s->timer, loop, on_timer, s);
    if (fd >= 0) {
        event_assign(&s->read_event, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, s);
        event_assign(&s->write_event, loop_base(loop), fd, EV_WRITE | EV_PERSIST, on_writable, s);
    }
    return s;
}

static void note_peer(struct stream *s)
{
    socklen_t len = sizeof s->peer.bytes;
    if (getpeername(s->fd, (struct sockaddr *)(void *)s->peer.bytes, &len) == 0)
        s->peer.len = len;
}

void stream_arm_reading(struct stream *s)
{
    /* What is moved within the kernel goes behind all that was written. */
    bool full = s->in_len >= s->peek_max ||
                (s->feeds != NULL && s->is_bulk && stream_unsent(s->feeds) != 0);
    bool want = (s->state == STREAM_SECURING || s->state == STREAM_LINGERING ||
                 (s->state == STREAM_OPEN && !s->paused && !full)) &&
                !s->at_end;
    if (want == s->reading)
        return;
    s->reading = want;
    if (want)
        event_add(&s->read_event, NULL);
    else
        event_del(&s->read_event);
}

void stream_arm_writing(struct stream *s, bool want)
{
    if (want == s->waits_to_write)
        return;
    s->waits_to_write = want;
    if (want)
        event_add(&s->write_event, NULL);
    else
        event_del(&s->write_event);
}

struct stream *stream_new(struct loop *loop, int fd, const struct stream_handlers *handlers,
                          void *arg)
{
    CHECK(fd >= 0 && loop_is_current(loop));
    struct stream *s = make(loop, fd, handlers, arg);
    s->state = STREAM_OPEN;
    s->was_connected = true;
    note_peer(s);
    stream_arm_reading(s);
    return s;
}

void stream_hand_over(struct stream *s, const struct stream_handlers *handlers, void *arg)
{
    CHECK(handlers->on_data != NULL && handlers->on_closed != NULL);
    s->handlers = handlers;
    s->arg = arg;
    s->tell_data = s->tell_data || s->in_len != 0;
    loop_again(s->loop, &s->notify_task);
}

void stream_fail(struct stream *s, enum err_code code, const char *what, int e)
{
    if (s->state == STREAM_CLOSED || s->state == STREAM_DEAD)
        return;
    if (s->why == NULL) {
        s->why = mem_zalloc(sizeof *s->why);
        err_set(s->why, code, "%s: %s", what, strerror(e));
    }
    s->failed = true;
    s->found_nobody = s->state == STREAM_CONNECTING && e == ECONNREFUSED;
    s->tell_closed = true;
    loop_again(s->loop, &s->notify_task);
}

struct stream *stream_connect_as(struct loop *loop, const struct sock_addr *to, uint64_t timeout_ms,
                                 bool carries_much, const struct stream_handlers *handlers,
                                 void *arg)
{
    CHECK(loop_is_current(loop));
    const struct sockaddr *sa = (const struct sockaddr *)(const void *)to->bytes;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int e = errno;
    struct stream *s = make(loop, fd, handlers, arg);
    s->state = STREAM_CONNECTING;
    s->peer = *to;
    if (fd < 0) {
        stream_fail(s, ERR_SYSTEM, "socket", e);
        return s;
    }
    sock_no_delay(fd, to);
    if (carries_much)
        sock_do_not_pace(fd, to);
    if (connect(fd, sa, to->len) != 0 && errno != EINPROGRESS) {
        stream_fail(s, ERR_IO, "connect", errno);
        return s;
    }
    stream_arm_writing(s, true);
    loop_timer_start(&s->timer, timeout_ms);
    return s;
}

static void start_tls(struct stream *s, struct tls_ctx *ctx, bool server, const char *name)
{
    CHECK(s->tls == NULL && s->in_bytes == 0 && s->out.octets == 0);
    if (s->fd < 0)
        return; /* on_closed is under way */
    s->tls = tls_conn_new(ctx, s->fd, server, name);
    if (s->state == STREAM_OPEN)
        s->state = STREAM_SECURING;
}

void stream_start_tls_server(struct stream *s, struct tls_ctx *ctx)
{
    start_tls(s, ctx, true, NULL);
}

void stream_start_tls_client(struct stream *s, struct tls_ctx *ctx, const char *server_name)
{
    start_tls(s, ctx, false, server_name);
}

static void free_memory(void *ptr)
{
    struct stream *s = ptr;
    buf_unref(&s->prelude);
    mem_free(s->why);
    mem_free(s);
}

void stream_bury(struct stream *s)
{
    if (s->state == STREAM_LINGERING)
        loop_orphan_remove(s->loop, &s->orphan);
    s->state = STREAM_DEAD;
    stream_unjoin(s);
    stream_drop_pipe(s);
    loop_task_cancel(s->loop, &s->flush_task);
    loop_task_cancel(s->loop, &s->notify_task);
    loop_timer_fini(&s->timer);
    if (s->fd >= 0) {
        event_del(&s->read_event);
        event_del(&s->write_event);
    }
    if (s->tls != NULL)
        tls_conn_free(&s->tls);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    outq_fini(&s->out);
    buf_unref(&s->in);
    s->in_len = 0;
    loop_bury(s->loop, s, free_memory);
}

void stream_free(struct stream **stream)
{
    struct stream *s = *stream;
    if (s == NULL)
        return;
    *stream = NULL;
    CHECK(s->state != STREAM_DEAD && s->state != STREAM_LINGERING);
    stream_bury(s);
}

/* ---- one side's end -------------------------------------------------------------------------- */

void stream_on_end(struct stream *s, void (*fn)(struct stream *s, void *arg))
{
    s->on_end = fn;
}

void stream_say_end(struct stream *s)
{
    if (s->said_end)
        return;
    s->said_end = true;
    if (s->tls != NULL)
        tls_conn_farewell(s->tls);
    shutdown(s->fd, SHUT_WR);
}

void stream_end(struct stream *s)
{
    s->ends_output = true;
    if (s->state == STREAM_OPEN && stream_unsent(s) == 0 && !s->failed)
        stream_say_end(s);
}

/* ---- closing in order ----------------------------------------------------------------------- */

/* The rest is sent: say that nothing more comes, and wait for the peer's end, so that what it has
 * not read yet is not torn from it by a reset. */
void stream_linger_on(struct stream *s)
{
    if (stream_unsent(s) != 0)
        return;
    if (s->tls != NULL)
        tls_conn_farewell(s->tls);
    if (s->at_end || s->failed || shutdown(s->fd, SHUT_WR) != 0)
        stream_bury(s);
}

static void end_lingering(struct loop_orphan *o)
{
    stream_bury(CONTAINER_OF(o, struct stream, orphan));
}

/* A peer that closed its side in order may still read. */
static bool can_send(const struct stream *s)
{
    bool is_open = s->state == STREAM_OPEN || (s->state == STREAM_CLOSED && s->at_end);
    return is_open && !s->failed && s->why == NULL;
}

void stream_finish(struct stream **stream, uint64_t linger_ms)
{
    struct stream *s = *stream;
    if (s == NULL)
        return;
    *stream = NULL;
    CHECK(s->state != STREAM_DEAD && s->state != STREAM_LINGERING);
    if (!can_send(s)) {
        stream_bury(s);
        return;
    }
    s->state = STREAM_LINGERING;
    stream_unjoin(s);
    loop_orphan_add(s->loop, &s->orphan, end_lingering);
    s->handlers = NULL;
    s->arg = NULL;
    loop_task_cancel(s->loop, &s->notify_task);
    loop_task_cancel(s->loop, &s->flush_task);
    buf_unref(&s->in);
    s->in_len = 0;
    loop_timer_start(&s->timer, linger_ms);
    stream_flush(s);
    if (s->state == STREAM_LINGERING)
        stream_arm_reading(s);
}

static void on_timer(void *arg)
{
    struct stream *s = arg;
    if (s->state == STREAM_LINGERING)
        stream_bury(s);
    else
        stream_fail(s, ERR_IO, s->state == STREAM_CONNECTING ? "connect" : "TLS handshake",
                    ETIMEDOUT);
}

/* ---- telling the owner ---------------------------------------------------------------------- */

static void tell_closed(struct stream *s)
{
    s->tell_closed = false;
    stream_arm_writing(s, false);
    if (s->reading) {
        s->reading = false;
        event_del(&s->read_event);
    }
    loop_timer_stop(&s->timer);
    loop_task_cancel(s->loop, &s->flush_task);
    s->state = STREAM_CLOSED;
    s->handlers->on_closed(s, s->why, s->arg);
}

/* The peer's side is over. An owner that asked for it keeps the other one. */
static void tell_end(struct stream *s)
{
    void (*on_end)(struct stream *, void *) = s->on_end;
    if (on_end == NULL || s->why != NULL || s->failed || s->state != STREAM_OPEN) {
        tell_closed(s);
        return;
    }
    s->tell_closed = false;
    s->on_end = NULL;
    on_end(s, s->arg);
}

static void read_now(struct stream *s);

static bool has_owner(const struct stream *s)
{
    return s->state == STREAM_CONNECTING || s->state == STREAM_SECURING || s->state == STREAM_OPEN;
}

/* All callbacks of the owner but those of fresh data come from here, from the loop. */
static void on_notify(void *arg)
{
    struct stream *s = arg;
    if (s->tell_open && !s->failed) {
        s->tell_open = false;
        if (s->handlers->on_open != NULL)
            s->handlers->on_open(s, s->arg);
    }
    if (s->state == STREAM_OPEN && s->tell_room) {
        s->tell_room = false;
        if (s->handlers->on_room != NULL)
            s->handlers->on_room(s, s->arg);
    }
    if (s->state == STREAM_OPEN && s->tell_data && !s->paused) {
        s->tell_data = false;
        if (s->in_len != 0)
            s->handlers->on_data(s, s->arg);
    }
    if (s->state == STREAM_OPEN && s->read_more && s->reading)
        read_now(s);
    /* Octets that came before the end are shown before the end is told. */
    if (s->tell_closed && has_owner(s) && !(s->paused && s->in_len != 0 && !s->failed))
        tell_end(s);
}

static void opened(struct stream *s)
{
    loop_timer_stop(&s->timer);
    s->state = STREAM_OPEN;
    s->tell_open = true;
    loop_again(s->loop, &s->notify_task);
    stream_arm_reading(s);
}

static void secure(struct stream *s)
{
    struct err err = { 0 };
    if (s->failed)
        return; /* on_closed is under way */
    stream_arm_reading(s);
    switch (tls_conn_handshake(s->tls, &err)) {
    case TLS_OK:
        stream_arm_writing(s, false);
        opened(s);
        s->read_more = true;
        if (s->out.octets != 0)
            loop_at_turn_end(s->loop, &s->flush_task);
        return;
    case TLS_WANT_READ:
        stream_arm_writing(s, false);
        return;
    case TLS_WANT_WRITE:
        stream_arm_writing(s, true);
        return;
    case TLS_CLOSED:
        stream_fail(s, ERR_TLS, "TLS handshake", ECONNRESET);
        return;
    case TLS_FAILED:
        s->why = mem_dup(&err, sizeof err);
        stream_fail(s, ERR_TLS, "TLS handshake", 0);
        return;
    }
    UNREACHABLE("tls result");
}

void stream_prelude(struct stream *s, struct slice octets)
{
    CHECK(octets.len <= STREAM_PRELUDE_MAX && s->prelude == NULL);
    if (s->state == STREAM_CONNECTING)
        s->prelude = buf_copy(octets);
}

/* A socket that was just connected has room for so little. */
static bool send_prelude(struct stream *s)
{
    if (s->prelude == NULL)
        return true;
    struct slice octets = buf_slice(s->prelude);
    ssize_t n = send(s->fd, octets.ptr, octets.len, MSG_NOSIGNAL);
    int e = n < 0 ? errno : EAGAIN;
    bool sent = n == (ssize_t)octets.len;
    buf_unref(&s->prelude);
    if (!sent)
        stream_fail(s, ERR_IO, "write", e);
    return sent;
}

static void connected(struct stream *s)
{
    int e = 0;
    socklen_t len = sizeof e;
    CHECK(getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &len) == 0);
    stream_arm_writing(s, false);
    if (e != 0) {
        stream_fail(s, ERR_IO, "connect", e);
        return;
    }
    s->was_connected = true;
    if (!send_prelude(s))
        return;
    if (s->tls != NULL) {
        s->state = STREAM_SECURING;
        secure(s);
        return;
    }
    opened(s);
    if (s->out.octets != 0)
        loop_at_turn_end(s->loop, &s->flush_task);
}

/* ---- input ---------------------------------------------------------------------------------- */

/* A block whose free end takes what comes next behind what is left over. */
static void make_room(struct stream *s)
{
    size_t used = s->in != NULL ? (size_t)(s->in_at - s->in->data) + s->in_len : 0;
    if (s->in != NULL && s->in->cap_bytes - used >= LOOP_BLOCK_BYTES / 2)
        return;
    struct buf *b = s->in_len < LOOP_BLOCK_BYTES / 2 ? loop_block_in(s->loop)
                                                     : buf_new(s->in_len + LOOP_BLOCK_BYTES);
    if (s->in_len != 0)
        memcpy(b->data, s->in_at, s->in_len);
    buf_unref(&s->in);
    s->in = b;
    s->in_at = b->data;
}

/* An idle stream holds no block, one with half a frame holds just that. */
static void put_leftover_away(struct stream *s)
{
    if (s->in == NULL)
        return;
    if (s->in_len == 0) {
        buf_unref(&s->in);
        return;
    }
    if (s->in_len > KEEP_SMALL_BYTES || s->in->cap_bytes <= KEEP_SMALL_BYTES)
        return;
    struct buf *b = buf_copy(slice_of(s->in_at, s->in_len));
    buf_unref(&s->in);
    s->in = b;
    s->in_at = b->data;
}

static enum tls_result receive_plain(struct stream *s, void *into, size_t room, size_t *done,
                                     struct err *err)
{
    ssize_t n;
    do
        n = recv(s->fd, into, room, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *done = (size_t)n;
        return TLS_OK;
    }
    if (n == 0)
        return TLS_CLOSED;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TLS_WANT_READ;
    err_set(err, ERR_IO, "read: %s", strerror(errno));
    return TLS_FAILED;
}

/* Fill the room once (TLS: until it is full or nothing is left); false when the stream ended. */
static bool receive_some(struct stream *s, uint8_t *into, size_t room, size_t *got)
{
    struct err err = { 0 };
    *got = 0;
    s->read_more = false;
    for (;;) {
        size_t n = 0;
        enum tls_result r = s->tls != NULL
                                ? tls_conn_read(s->tls, into + *got, room - *got, &n, &err)
                                : receive_plain(s, into, room, &n, &err);
        *got += n;
        switch (r) {
        case TLS_OK:
            if (s->tls == NULL)
                return true;
            if (*got < room)
                continue;
            s->read_more = true;
            return true;
        case TLS_WANT_READ:
            return true;
        case TLS_WANT_WRITE:
            s->read_more = true; /* on_writable goes on */
            stream_arm_writing(s, true);
            return true;
        case TLS_CLOSED:
            s->at_end = true;
            return false;
        case TLS_FAILED:
            s->at_end = true;
            if (s->why == NULL)
                s->why = mem_dup(&err, sizeof err);
            return false;
        }
        UNREACHABLE("tls result");
    }
}

/* TLS: what the socket has comes to a block of the loop's, where its records are cut. */
static bool receive(struct stream *s, uint8_t *into, size_t room, size_t *got)
{
    _Static_assert(LOOP_BLOCK_OUT_BYTES >= TLS_AHEAD_LEAST, "there is room for a record");
    if (s->tls == NULL)
        return receive_some(s, into, room, got);
    struct buf *b = loop_block_out(s->loop);
    tls_conn_ahead(s->tls, b->data, b->cap_bytes);
    bool alive = receive_some(s, into, room, got);
    tls_conn_ahead_end(s->tls);
    buf_unref(&b);
    return alive;
}

/* What came by mail is older, see loop.h. It may have paused or closed the stream. */
static void show(struct stream *s)
{
    mailbox_drain(loop_mailbox(s->loop));
    if (s->state == STREAM_OPEN && !s->paused && s->in_len != 0)
        s->handlers->on_data(s, s->arg);
}

static void read_now(struct stream *s)
{
    if (stream_splice_in(s))
        return;
    make_room(s);
    uint8_t *into = s->in->data + (s->in_at - s->in->data) + s->in_len;
    size_t got;
    bool alive = receive(s, into, (size_t)(s->in->data + s->in->cap_bytes - into), &got);
    stream_note_copied(s, got);
    if (got != 0) {
        s->in_len += got;
        s->in->len_bytes = (uint32_t)(s->in_at - s->in->data + (ptrdiff_t)s->in_len);
        s->in_bytes += got;
        s->in_count++;
        s->last_read_ms = loop_now_ms(s->loop);
        show(s);
        if (s->state != STREAM_OPEN)
            return;
    }
    put_leftover_away(s);
    stream_arm_reading(s);
    /* A TLS write may have waited for what the peer just said. */
    if (s->tls != NULL && stream_unsent(s) != 0 && !s->waits_to_write)
        loop_at_turn_end(s->loop, &s->flush_task);
    if (!alive)
        s->tell_closed = true;
    if (!alive || s->read_more)
        loop_again(s->loop, &s->notify_task);
}

/* Without an owner: what comes is not wanted, only the end is. */
static void discard_now(struct stream *s)
{
    struct buf *b = loop_block_in(s->loop);
    size_t got;
    bool alive = receive(s, b->data, b->cap_bytes, &got);
    buf_unref(&b);
    if (!alive)
        stream_bury(s);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct stream *s = arg;
    loop_turn_begin(s->loop);
    switch (s->state) {
    case STREAM_SECURING:
        secure(s);
        return;
    case STREAM_OPEN:
        read_now(s);
        return;
    case STREAM_LINGERING:
        discard_now(s);
        return;
    case STREAM_CONNECTING:
    case STREAM_CLOSED:
    case STREAM_DEAD:
        return;
    }
    UNREACHABLE("stream state");
}

struct slice stream_peek(const struct stream *s)
{
    return slice_of(s->in_at, s->in_len);
}

void stream_set_peek_max(struct stream *s, size_t octets)
{
    s->peek_max = octets > PEEK_LEAST ? octets : PEEK_LEAST;
}

void stream_consume(struct stream *s, size_t octets)
{
    CHECK(octets <= s->in_len);
    s->in_at += octets;
    s->in_len -= octets;
    if (UNLIKELY(!s->reading) && s->state == STREAM_OPEN) {
        stream_arm_reading(s);
        if (s->read_more && s->reading) /* TLS holds octets that the socket never announces */
            loop_again(s->loop, &s->notify_task);
    }
}

struct buf *stream_input_block(const struct stream *s)
{
    CHECK(s->in != NULL);
    return s->in;
}

void stream_pause(struct stream *s)
{
    s->paused = true;
    if (s->state == STREAM_OPEN)
        stream_arm_reading(s);
}

void stream_resume(struct stream *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    if (s->state != STREAM_OPEN)
        return;
    stream_arm_reading(s);
    s->tell_data = s->in_len != 0;
    if (s->tell_data || s->read_more || s->tell_closed)
        loop_again(s->loop, &s->notify_task);
}

bool stream_is_paused(const struct stream *s)
{
    return s->paused;
}

/* ---- writing goes on ------------------------------------------------------------------------ */

static void on_flush(void *arg)
{
    stream_flush(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct stream *s = arg;
    loop_turn_begin(s->loop);
    if (s->state == STREAM_CONNECTING)
        connected(s);
    else if (s->state == STREAM_SECURING)
        secure(s);
    else
        stream_flush(s);
    if (s->state == STREAM_OPEN && s->read_more)
        loop_again(s->loop, &s->notify_task);
}
