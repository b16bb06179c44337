/* What can be asked of a stream. */
#include "base/check.h"
#include "io/stream_internal.h"
#include "io/tls_about.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

struct stream_totals stream_totals(const struct stream *s)
{
    return (struct stream_totals){ s->in_bytes, s->out_bytes, s->in_count, s->out_count };
}

struct loop *stream_loop(const struct stream *s)
{
    return s->loop;
}

bool stream_is_reading(const struct stream *s)
{
    return s->reading;
}

uint64_t stream_last_read_ms(const struct stream *s)
{
    return s->last_read_ms;
}

const struct sock_addr *stream_peer(const struct stream *s)
{
    return &s->peer;
}

const struct sock_addr *stream_local(const struct stream *s)
{
    struct stream *noted = (struct stream *)(uintptr_t)s;
    socklen_t len = sizeof noted->local.bytes;
    if (s->local.len == 0 && s->fd >= 0 &&
        getsockname(s->fd, (struct sockaddr *)(void *)noted->local.bytes, &len) == 0)
        noted->local.len = len;
    return &s->local;
}

const char *stream_tls_subject(const struct stream *s)
{
    return s->tls != NULL ? tls_conn_subject(s->tls) : NULL;
}

const char *stream_tls_common_name(const struct stream *s)
{
    return s->tls != NULL ? tls_conn_common_name(s->tls) : NULL;
}

const char *stream_tls_dns_name(const struct stream *s)
{
    return s->tls != NULL ? tls_conn_dns_name(s->tls) : NULL;
}

const char *stream_tls_version(const struct stream *s)
{
    return s->tls != NULL ? tls_conn_version(s->tls) : NULL;
}

const char *stream_tls_cipher(const struct stream *s)
{
    return s->tls != NULL ? tls_conn_cipher(s->tls) : NULL;
}

bool stream_tls_was_resumed(const struct stream *s)
{
    return s->tls != NULL && tls_conn_was_resumed(s->tls);
}

void stream_tls_export(const struct stream *s, const char *label, void *out, size_t octets)
{
    CHECK(s->tls != NULL);
    tls_conn_export(s->tls, label, out, octets);
}

bool stream_found_nobody(const struct stream *s)
{
    return s->found_nobody;
}

bool stream_was_connected(const struct stream *s)
{
    return s->was_connected;
}

void stream_set_patience(struct stream *s, uint64_t ms)
{
    unsigned value = ms < UINT_MAX ? (unsigned)ms : UINT_MAX;
    /* A unix socket has none, and needs none. */
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, sizeof value);
}

void stream_do_not_pace(struct stream *s)
{
    sock_do_not_pace(s->fd, &s->peer);
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls != NULL;
}

struct tls_about *stream_tls_about(const struct stream *s)
{
    return s->tls != NULL ? tls_about_new(s->tls) : NULL;
}
