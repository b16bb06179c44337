#include "base/check.h"
#include "base/mem.h"
#include "io/stream_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define FLUSH_NOW_BYTES  ((size_t)128 * 1024) /* this much does not wait for the turn's end */
#define SHARE_MIN_BYTES  ((size_t)1024)       /* shorter pieces are cheaper to copy */
#define SHARE_MIN_TLS    ((size_t)16 * 1024) /* ... and each piece is a record of its own at least */
#define IOVS_MAX         64
#define GATHER_MIN_BYTES ((size_t)16 * 1024) /* what fits into one record needs no gathering */

static enum tls_result send_plain(struct stream *s, size_t *done, struct err *err)
{
    struct iovec iov[IOVS_MAX];
    size_t count = s->out.count < IOVS_MAX ? s->out.count : IOVS_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct outq_piece *p = outq_at(&s->out, i);
        iov[i] = (struct iovec){ (void *)(uintptr_t)p->at, p->len };
    }
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
    ssize_t n;
    do
        n = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *done = (size_t)n;
        return TLS_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TLS_WANT_WRITE;
    err_set(err, ERR_IO, "write: %s", strerror(errno));
    return TLS_FAILED;
}

static enum tls_result send_tls(struct stream *s, size_t *done, struct err *err)
{
    const struct outq_piece *p = outq_at(&s->out, 0);
    return tls_conn_write(s->tls, slice_of(p->at, p->len), done, err);
}

/* Until all is gone (TLS_OK), or the kernel takes no more. */
static enum tls_result send_on(struct stream *s, struct err *err)
{
    enum tls_result r = TLS_OK;
    while (r == TLS_OK && stream_unsent(s) != 0) {
        size_t n = 0;
        if (s->pipe_held != 0)
            r = stream_splice_out(s, err);
        else if (s->tls == NULL)
            r = send_plain(s, &n, err);
        else if (s->out.octets != 0)
            r = send_tls(s, &n, err);
        else
            r = tls_conn_send_unsent(s->tls, err);
        if (n == 0)
            continue;
        outq_sent(&s->out, n);
        s->out_bytes += n;
        s->out_count++;
        s->last_write_ms = loop_now_ms(s->loop);
    }
    return r;
}

/* More than one record: a block takes them together to the kernel. */
static enum tls_result send_gathered(struct stream *s, struct err *err)
{
    _Static_assert(LOOP_BLOCK_BYTES >= TLS_GATHER_LEAST, "there is room for records");
    struct buf *b = loop_block_in(s->loop);
    tls_conn_gather(s->tls, b->data, b->cap_bytes);
    enum tls_result r = send_on(s, err);
    enum tls_result end = tls_conn_gather_end(s->tls, err);
    buf_unref(&b);
    return end != TLS_OK ? end : r;
}

/* False when the stream broke. */
static bool send_pending(struct stream *s)
{
    struct err err = { 0 };
    bool gathers = s->tls != NULL && s->out.octets > GATHER_MIN_BYTES;
    switch (gathers ? send_gathered(s, &err) : send_on(s, &err)) {
    case TLS_OK:
        stream_arm_writing(s, false);
        return true;
    case TLS_WANT_WRITE:
        stream_arm_writing(s, true);
        outq_settle(&s->out);
        return true;
    case TLS_WANT_READ:
        return true; /* TLS wants the peer's word first: on_readable flushes again */
    case TLS_CLOSED:
        err_set(&err, ERR_IO, "write: the peer ended the TLS session");
        break;
    case TLS_FAILED:
        break;
    }
    if (s->why == NULL)
        s->why = mem_dup(&err, sizeof err);
    return false;
}

void stream_flush(struct stream *s)
{
    s->unflushed = 0;
    if (s->state != STREAM_OPEN && s->state != STREAM_LINGERING)
        return;
    if (s->failed)
        return;
    if (!send_pending(s)) {
        if (s->state == STREAM_LINGERING)
            stream_bury(s);
        else
            stream_fail(s, ERR_IO, "write", EPIPE);
        return;
    }
    if (s->state == STREAM_LINGERING) {
        stream_linger_on(s);
        return;
    }
    if (s->ends_output && stream_unsent(s) == 0)
        stream_say_end(s);
    if (s->fed_by != NULL && s->fed_by->state == STREAM_OPEN)
        stream_arm_reading(s->fed_by);
    if (s->full && s->out.octets <= s->low_bytes) {
        s->full = false;
        s->tell_room = true;
        loop_again(s->loop, &s->notify_task);
    }
}

/* Something was appended: it leaves at the turn's end, or now when a lot has come together. While
 * the kernel takes nothing, the write event does it. */
static void appended(struct stream *s, size_t octets)
{
    s->unflushed += octets;
    if (s->out.octets >= s->high_bytes)
        s->full = true;
    if (s->waits_to_write || s->state != STREAM_OPEN)
        return;
    if (s->unflushed >= FLUSH_NOW_BYTES)
        stream_flush(s);
    else
        loop_at_turn_end(s->loop, &s->flush_task);
}

uint8_t *stream_reserve(struct stream *s, size_t octets)
{
    CHECK(octets <= STREAM_RESERVE_MAX);
    return outq_reserve(&s->out, s->loop, octets);
}

void stream_commit(struct stream *s, size_t octets)
{
    outq_commit(&s->out, octets);
    appended(s, octets);
}

void stream_write(struct stream *s, struct slice octets)
{
    while (octets.len != 0) {
        size_t n = octets.len < STREAM_RESERVE_MAX ? octets.len : STREAM_RESERVE_MAX;
        memcpy(stream_reserve(s, n), octets.ptr, n);
        stream_commit(s, n);
        octets = slice_from(octets, n);
    }
}

void stream_write_shared(struct stream *s, struct buf *block, struct slice octets)
{
    if (octets.len < (s->tls == NULL ? SHARE_MIN_BYTES : SHARE_MIN_TLS)) {
        stream_write(s, octets);
        return;
    }
    outq_share(&s->out, block, octets);
    appended(s, octets.len);
}

size_t stream_pending(const struct stream *s)
{
    return stream_unsent(s);
}

bool stream_is_full(const struct stream *s)
{
    return s->full;
}

void stream_set_marks(struct stream *s, size_t high_bytes, size_t low_bytes)
{
    CHECK(low_bytes < high_bytes);
    s->high_bytes = high_bytes;
    s->low_bytes = low_bytes;
    if (s->out.octets >= high_bytes)
        s->full = true;
}

uint64_t stream_last_write_ms(const struct stream *s)
{
    return s->last_write_ms;
}
