/* The handshake (link_shake.h) over a stream. */
#include "io/random.h"
#include "link/link_inner.h"

void link_about_self(const struct link_node *node, struct link_about *out)
{
    *out = (struct link_about){ .boot = link_node_boot(node) };
    link_node_self(node, &out->id);
}

void link_shake_begin(struct link_shake *s, enum link_role role, enum link_class class,
                      const struct link_node *node, const struct link_about *self,
                      struct stream *stream)
{
    uint8_t exporter[LINK_EXPORTER_BYTES], nonce[LINK_NONCE_BYTES];
    stream_tls_export(stream, LINK_EXPORTER, exporter, sizeof exporter);
    random_octets(nonce, sizeof nonce);
    struct link_shake_out out;
    struct link_shake_setup setup = { .role = role,
                                      .class = class,
                                      .cookie = link_node_cookie(node),
                                      .exporter = exporter,
                                      .nonce = nonce,
                                      .self = self };
    link_node_versions(node, &setup.least, &setup.most);
    link_shake_start(s, &setup, &out);
    stream_write(stream, slice_of(out.octets, out.len));
}

void link_shake_go_on(struct link_shake *s, struct stream *stream)
{
    size_t taken;
    do {
        struct link_shake_out out;
        taken = link_shake_take(s, stream_peek(stream), &out);
        stream_consume(stream, taken);
        stream_write(stream, slice_of(out.octets, out.len));
    } while (taken != 0);
}
