/*
 * stream: bytes both ways over one connection, plain or TLS, with back-pressure in one place.
 *
 * Input is read into blocks that are shared by count: a parser peeks and consumes without copying,
 * and a relay may keep a reference to what it passes on. An idle stream holds no buffer. Output is
 * gathered during a turn and leaves with one system call at its end (or earlier, when a lot has
 * come together). A stream whose peer is slow becomes full: whoever fills it stops, and on_room
 * says when to go on. Nothing is ever dropped silently.
 *
 * A stream belongs to one loop. Callbacks come from the loop, never from inside a call on the
 * stream; a callback may free its own stream.
 */
#ifndef WARREN_STREAM_H
#define WARREN_STREAM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/sock.h"

struct stream;
struct tls_ctx;

/* A peek gets this many octets in one piece, unless stream_set_peek_max says otherwise. */
#define STREAM_PEEK_MAX ((size_t)(1024 * 1024))

struct stream_handlers {
    /* Connected, and TLS established where asked for. Not for accepted plain streams. May be NULL.
     */
    void (*on_open)(struct stream *s, void *arg);
    /* New octets are there. What is not consumed stays, and is shown again with more. */
    void (*on_data)(struct stream *s, void *arg);
    /* Was full and has room again. May be NULL. */
    void (*on_room)(struct stream *s, void *arg);
    /* The peer closed (why is NULL) or the connection failed. The last callback; the owner still
     * frees the stream. Octets not consumed yet may still be peeked at. */
    void (*on_closed)(struct stream *s, const struct err *why, void *arg);
};

/* Over an accepted, non-blocking socket, which it takes. `handlers` and `arg` are borrowed for the
 * stream's life. Reading starts at once. */
struct stream *stream_new(struct loop *loop, int fd, const struct stream_handlers *handlers,
                          void *arg);

/* Connect; on_open or on_closed follows. `carries_much`: see sock_do_not_pace. */
struct stream *stream_connect_as(struct loop *loop, const struct sock_addr *to, uint64_t timeout_ms,
                                 bool carries_much, const struct stream_handlers *handlers,
                                 void *arg);

/* One that does not. */
static inline struct stream *stream_connect(struct loop *loop, const struct sock_addr *to,
                                            uint64_t timeout_ms,
                                            const struct stream_handlers *handlers, void *arg)
{
    return stream_connect_as(loop, to, timeout_ms, false, handlers, arg);
}

/* Speak TLS from here on, as the server or the client, before any octet went either way (call it
 * right after stream_new or stream_connect; on_open then follows the handshake). `server_name`
 * (SNI and the name to verify) may be NULL. Holds a reference to ctx. */
void stream_start_tls_server(struct stream *s, struct tls_ctx *ctx);
void stream_start_tls_client(struct stream *s, struct tls_ctx *ctx, const char *server_name);

/* Octets to be sent as soon as the connection is made, in plain even if TLS follows: a PROXY
 * header. At most STREAM_PRELUDE_MAX of them; call it right after stream_connect. */
#define STREAM_PRELUDE_MAX ((size_t)2048)
void stream_prelude(struct stream *s, struct slice octets);

/* From the next callback on the stream has another owner, which is shown what is not consumed. */
void stream_hand_over(struct stream *s, const struct stream_handlers *handlers, void *arg);

/* Close now; what was not sent is dropped. *s becomes NULL, no callback follows. */
void stream_free(struct stream **s);

/* Send what is pending, then close; at the latest after linger_ms, or when a thousand others linger
 * on this loop, or when the loop is freed. *s becomes NULL, no callback follows. Input is
 * discarded. From on_closed, too, if `why` was NULL: a peer that only closed its side still reads.
 */
void stream_finish(struct stream **s, uint64_t linger_ms);

/* Have `fn` called instead of on_closed when the peer ends its side in order: it may still be
 * written to until the owner finishes or frees the stream, and on_closed then only tells of a
 * failure. Called once, when all that had come was shown. */
void stream_on_end(struct stream *s, void (*fn)(struct stream *s, void *arg));

/* Nothing more will be written: tell the peer so once all is sent. What it still says is read. */
void stream_end(struct stream *s);

/* ---- input ---------------------------------------------------------------------------------- */

/* All that has come and is not consumed, in one piece; good until the next call that reads. */
struct slice stream_peek(const struct stream *s);
/* So many octets may be needed in one piece, and no more. With about as many unread, reading stops:
 * they would be moved to larger and larger blocks for nothing. */
void stream_set_peek_max(struct stream *s, size_t octets);
void stream_consume(struct stream *s, size_t octets);

/* The block that holds what stream_peek shows, borrowed: take a reference to keep a range of it.
 * The octets of that range must then not be changed. */
struct buf *stream_input_block(const struct stream *s);

/* Stop reading from the socket (TCP then slows the peer down), and go on. stream_resume also calls
 * on_data again, from the loop, when unconsumed octets are there. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
bool stream_is_paused(const struct stream *s);
/* Neither paused nor full of what is unread: what the peer says is heard. */
bool stream_is_reading(const struct stream *s);

/* ---- output --------------------------------------------------------------------------------- */

#define STREAM_RESERVE_MAX ((size_t)32 * 1024)

/* Room for `octets` (at most STREAM_RESERVE_MAX) in one piece at the end of the output, to be
 * filled at once; then stream_commit with how many were used. Nothing may be written between the
 * two. */
uint8_t *stream_reserve(struct stream *s, size_t octets);
void stream_commit(struct stream *s, size_t octets);

/* Append a copy of the octets. */
void stream_write(struct stream *s, struct slice octets);

/* Append octets that lie inside `block`, without a copy: a reference is held until they are sent.
 * (Short pieces are copied all the same: it is cheaper.) */
void stream_write_shared(struct stream *s, struct buf *block, struct slice octets);

size_t stream_pending(const struct stream *s); /* octets not yet accepted by the kernel */

/* More than the high mark is pending: stop filling until on_room, which comes at the low mark.
 * Writing to a full stream still works: a started message is always taken to its end. */
bool stream_is_full(const struct stream *s);
/* A stream with more than the new high mark pending is full at once: with marks 1 and 0, on_room
 * says when the kernel has taken everything. */
void stream_set_marks(struct stream *s, size_t high_bytes, size_t low_bytes);

/* ---- about it ------------------------------------------------------------------------------- */

struct stream_totals {
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint64_t in_count;  /* reads that brought something */
    uint64_t out_count; /* writes that took something */
};
struct stream_totals stream_totals(const struct stream *s);
struct loop *stream_loop(const struct stream *s);
uint64_t stream_last_read_ms(const struct stream *s);  /* loop time of the last octet that came */
uint64_t stream_last_write_ms(const struct stream *s); /* ... of the last that the kernel took */
const struct sock_addr *stream_peer(const struct stream *s);
/* Few ask for it, so the system is asked only then. */
const struct sock_addr *stream_local(const struct stream *s);
/* The peer's certificate subject (DN as text), or NULL when it is plain or has shown none. */
const char *stream_tls_subject(const struct stream *s);
/* The common name in it, or NULL. */
const char *stream_tls_common_name(const struct stream *s);
/* The first DNS name that it bears beside, or NULL. */
const char *stream_tls_dns_name(const struct stream *s);
/* "TLSv1.3", and the cipher as OpenSSL calls it; NULL when it is plain. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);
/* By a ticket: the certificate was shown earlier. */
bool stream_tls_was_resumed(const struct stream *s);
/* Octets that both ends derive from this TLS session alone; it is open. */
void stream_tls_export(const struct stream *s, const char *label, void *out, size_t octets);
/* It could not connect because the host is there and no process listens. */
bool stream_found_nobody(const struct stream *s);
/* The connection was made, whatever became of TLS then. */
bool stream_was_connected(const struct stream *s);
/* Fail when what was sent is not acknowledged for so long, a peer's full buffer included. */
void stream_set_patience(struct stream *s, uint64_t ms);
/* It is to carry much, which could not be said before: see sock_do_not_pace. */
void stream_do_not_pace(struct stream *s);
bool stream_is_tls(const struct stream *s);
/* Of one that speaks TLS and has shaken hands; else NULL. The caller's, see tls_about.h. */
struct tls_about *stream_tls_about(const struct stream *s);

#endif
