/*
 * stream_internal: what stream.c (life and input) and stream_out.c (output) share. For these two
 * alone.
 */
#ifndef WARREN_STREAM_INTERNAL_H
#define WARREN_STREAM_INTERNAL_H

#include "io/loop_event.h"
#include "io/outq.h"
#include "io/stream.h"
#include "io/stream_splice.h"
#include "io/tls.h"

#include <event2/event_struct.h>

/*
 *               connected                   asked for TLS and done
 *   CONNECTING ------------>  SECURING  ---------------------------> OPEN
 *        |                       |                                     |
 *        +-------- failed -------+---- failed, or the peer closed -----+--> CLOSED
 *   OPEN, or CLOSED in order -- stream_finish --> LINGERING ; any -- stream_free --> DEAD
 */
enum stream_state {
    STREAM_CONNECTING,
    STREAM_SECURING,
    STREAM_OPEN,
    STREAM_CLOSED,    /* told the owner, or about to */
    STREAM_LINGERING, /* without an owner: sends the rest and goes */
    STREAM_DEAD
};

struct stream {
    struct loop *loop;
    const struct stream_handlers *handlers;
    void *arg;
    int fd;
    enum stream_state state;
    bool paused;         /* by the owner */
    bool reading;        /* the read event is on */
    bool waits_to_write; /* the write event is on */
    bool full;
    bool tell_open; /* what on_notify has to call */
    bool tell_room;
    bool tell_data;
    bool tell_closed;
    bool read_more; /* TLS has octets that the socket does not announce */
    bool at_end;    /* the peer has closed its side */
    bool failed;
    bool found_nobody; /* ECONNREFUSED */
    bool was_connected;
    bool ends_output; /* the owner writes no more: said as soon as all is sent */
    bool said_end;
    void (*on_end)(struct stream *s, void *arg); /* NULL: on_closed tells of the end */
    struct err *why;                             /* of the failure; NULL for an orderly end */

    struct buf *in; /* holds what is not consumed; NULL when there is nothing */
    const uint8_t *in_at;
    size_t in_len;
    size_t peek_max; /* with so much nothing more is read */

    struct buf *prelude; /* sent before anything else; NULL: nothing */
    struct outq out;
    /* Of octets that pass within the kernel, see stream_splice.h. */
    struct stream *feeds;  /* where they go; NULL: to the owner */
    struct stream *fed_by; /* where those come from that are ahead of `out`, in `pipe` */
    stream_moved_fn moved;
    bool is_bulk; /* a lot comes at a time */
    struct loop_pipe pipe;
    size_t pipe_held; /* 0: there is none */
    size_t unflushed; /* written since the last try to send */
    size_t high_bytes;
    size_t low_bytes;

    struct tls_conn *tls;
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint64_t in_count;
    uint64_t out_count;
    uint64_t last_read_ms;
    uint64_t last_write_ms;
    struct sock_addr peer;
    struct sock_addr local;
    struct event read_event;
    struct event write_event;
    struct loop_task flush_task;
    struct loop_task notify_task;
    struct loop_timer timer;   /* connecting, then lingering */
    struct loop_orphan orphan; /* while lingering */
};

/* Octets that the kernel has not taken: our own, or made into records already. */
static inline size_t stream_unsent(const struct stream *s)
{
    return s->pipe_held + s->out.octets + (s->tls != NULL ? tls_conn_unsent(s->tls) : 0);
}

/* Have on_writable called as soon as the kernel takes octets, or not any more. */
void stream_arm_writing(struct stream *s, bool want);

/* The read event is on exactly when octets may be taken. */
void stream_arm_reading(struct stream *s);

/* Move what is there to the stream that it goes to. False: read it. */
MUST_CHECK bool stream_splice_in(struct stream *s);
/* So much was read in one piece. */
void stream_note_copied(struct stream *s, size_t octets);
/* Some of what is in the pipe to the socket. */
MUST_CHECK enum tls_result stream_splice_out(struct stream *s, struct err *err);
/* It does not feed any more and is not fed; what is in its pipe is still sent. Or it is not. */
void stream_unjoin(struct stream *s);
void stream_drop_pipe(struct stream *s);

/* Have on_closed called with the cause, unless there is one already. */
void stream_fail(struct stream *s, enum err_code code, const char *what, int e);

/* Nothing is called and nothing happens any more; the memory lives until the turn is over. */
void stream_bury(struct stream *s);

/* All that was written while lingering is sent. */
void stream_linger_on(struct stream *s);

/* Everything is sent: no more comes from us. */
void stream_say_end(struct stream *s);

/* Send what is pending, as far as the kernel takes it. */
void stream_flush(struct stream *s);

#endif
