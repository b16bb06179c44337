#include "io/stream_splice.h"

#include "base/check.h"
#include "io/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* From how much at a time on the pipe is cheaper than a copy. */
#define BULK_MIN_BYTES ((size_t)16 * 1024)

_Static_assert(STREAM_SPLICE_FILES_MAX == 2 * LOOP_PIPES_MAX, "two ends each");

void stream_join(struct stream *from, struct stream *to, stream_moved_fn moved)
{
    CHECK(from->loop == to->loop && loop_is_current(from->loop) && moved != NULL);
    CHECK(from->feeds == NULL && to->fed_by == NULL);
    CHECK(from->tls == NULL && to->tls == NULL);
    from->feeds = to;
    from->moved = moved;
    to->fed_by = from;
}

static void part(struct stream *from)
{
    struct stream *to = from->feeds;
    from->feeds = NULL;
    to->fed_by = NULL;
    if (from->state == STREAM_OPEN)
        stream_arm_reading(from);
}

void stream_unjoin(struct stream *s)
{
    if (s->feeds != NULL)
        part(s);
    if (s->fed_by != NULL)
        part(s->fed_by);
}

void stream_drop_pipe(struct stream *s)
{
    if (s->pipe_held != 0)
        loop_pipe_drop(s->loop, &s->pipe);
    s->pipe_held = 0;
}

void stream_note_copied(struct stream *s, size_t octets)
{
    s->is_bulk = s->feeds != NULL && octets >= BULK_MIN_BYTES;
}

/* What went before has to be gone, and the owner has seen all that came before. */
static bool may_splice(const struct stream *s)
{
    const struct stream *to = s->feeds;
    return s->is_bulk && s->in_len == 0 && to->state == STREAM_OPEN && !to->failed &&
           !to->ends_output && stream_unsent(to) == 0;
}

static ssize_t move(int from, int to, size_t octets)
{
    ssize_t n;
    do
        n = splice(from, NULL, to, NULL, octets, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    return n;
}

bool stream_splice_in(struct stream *s)
{
    struct stream *to = s->feeds;
    if (to == NULL || !may_splice(s) || !loop_pipe_take(s->loop, &to->pipe))
        return false;
    ssize_t n = move(s->fd, to->pipe.in, LOOP_PIPE_BYTES);
    if (n <= 0) { /* its end, or a failure: reading says which; or nothing is there after all */
        s->is_bulk = false;
        loop_pipe_give(s->loop, &to->pipe);
        return false;
    }
    to->pipe_held = (size_t)n;
    s->is_bulk = (size_t)n >= BULK_MIN_BYTES;
    s->in_bytes += (size_t)n;
    s->in_count++;
    s->last_read_ms = loop_now_ms(s->loop);
    s->moved(s, (size_t)n, s->arg);
    stream_flush(to);
    stream_arm_reading(s);
    return true;
}

enum tls_result stream_splice_out(struct stream *s, struct err *err)
{
    ssize_t n = move(s->pipe.out, s->fd, s->pipe_held);
    if (n < 0 && errno == EAGAIN)
        return TLS_WANT_WRITE;
    if (n <= 0) {
        err_set(err, ERR_IO, "write: %s", n < 0 ? strerror(errno) : "nothing goes");
        return TLS_FAILED;
    }
    CHECK((size_t)n <= s->pipe_held);
    s->pipe_held -= (size_t)n;
    s->out_bytes += (size_t)n;
    s->out_count++;
    s->last_write_ms = loop_now_ms(s->loop);
    if (s->pipe_held == 0)
        loop_pipe_give(s->loop, &s->pipe);
    return TLS_OK;
}
