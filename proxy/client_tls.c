#include "client_tls.h"

#include "base/mem.h"
#include "base/wire.h"

struct client_tls {
    struct proxy_tls tls; /* its slices lie in `room` */
    uint8_t room[2 * PROXY_WORD_MAX + PROXY_NAME_MAX];
};

struct client_tls *client_tls_told(const struct proxy_header *h)
{
    if (h == NULL || h->tls_octets.len == 0)
        return NULL;
    struct client_tls *t = mem_zalloc(sizeof *t);
    struct wire_out w = wire_out_over(t->room, sizeof t->room);
    t->tls = (struct proxy_tls){ .used = h->tls.used,
                                 .verify = h->tls.verify,
                                 .version = wire_out_keep(&w, h->tls.version),
                                 .cipher = wire_out_keep(&w, h->tls.cipher),
                                 .common_name = wire_out_keep(&w, h->tls.common_name) };
    return t;
}

void client_tls_free(struct client_tls **t)
{
    mem_free(*t);
    *t = NULL;
}

static struct slice text_of(const char *s)
{
    return s != NULL ? slice_str(s) : slice_of(NULL, 0);
}

void client_tls_look(const struct stream *client, const struct client_tls *told,
                     struct proxy_tls *out)
{
    *out = told != NULL ? told->tls : (struct proxy_tls){ .verify = PROXY_TLS_NO_CERT };
    if (!stream_is_tls(client))
        return;
    bool certified = stream_tls_subject(client) != NULL;
    bool resumed = stream_tls_was_resumed(client);
    *out = (struct proxy_tls){ .used = PROXY_TLS_USED |
                                       (certified && !resumed ? PROXY_TLS_CERT_CONN : 0) |
                                       (certified ? PROXY_TLS_CERT_SESS : 0),
                               .verify = certified ? 0 : PROXY_TLS_NO_CERT,
                               .version = text_of(stream_tls_version(client)),
                               .cipher = text_of(stream_tls_cipher(client)),
                               .common_name = text_of(stream_tls_common_name(client)) };
}

struct proxy_names client_tls_names(const struct stream *client)
{
    return (struct proxy_names){ .subject = text_of(stream_tls_subject(client)),
                                 .common_name = text_of(stream_tls_common_name(client)),
                                 .dns_name = text_of(stream_tls_dns_name(client)) };
}
