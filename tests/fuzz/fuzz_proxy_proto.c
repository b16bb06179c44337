/* The PROXY protocol: what was cut is built again and must be the same. */
#include "base/check.h"
#include "io/proxy_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rebuild(const struct proxy_header *h)
{
    static const uint8_t nonce[PROXY_NONCE_BYTES];
    uint8_t room[PROXY_V1_MAX + PROXY_V2_BUILD_MAX];
    for (int version = 1; version <= 2; version++) {
        struct wire_out w = wire_out_over(room, sizeof room);
        if (version == 1)
            proxy_proto_put_v1(&w, &h->client, &h->server);
        else
            proxy_proto_put_v2_told(&w, &h->client, &h->server, slice_str("cookie"), nonce,
                                    &(struct proxy_told){ .tls = &h->tls, .names = &h->names });
        CHECK(!w.overflow);
        struct proxy_header again;
        size_t len;
        CHECK(proxy_proto_cut(wire_out_slice(&w), &again, &len) == PROXY_CUT_HEADER);
        CHECK(len == wire_out_len(&w) && again.has_addresses);
        CHECK(sock_addr_eq(&again.client, &h->client) && sock_addr_eq(&again.server, &h->server));
        CHECK(version == 1 || proxy_proto_is_proven(&again, slice_str("cookie")));
        CHECK(version == 1 || proxy_proto_names_are_proven(&again, slice_str("cookie")));
        CHECK(version == 1 || slice_eq(again.tls.version, h->tls.version));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h;
    size_t len;
    switch (proxy_proto_cut(slice_of(data, size), &h, &len)) {
    case PROXY_CUT_HEADER:
        CHECK(len <= size && len <= PROXY_V2_MAX);
        CHECK(!proxy_proto_is_proven(&h, slice_str("a cookie that the input does not know")));
        CHECK(!proxy_proto_names_are_proven(&h, slice_str("a cookie that it does not know")));
        if (h.has_addresses)
            rebuild(&h);
        break;
    case PROXY_CUT_MORE:
        CHECK(size < PROXY_V2_MAX);
        break;
    case PROXY_CUT_BAD:
        break;
    }
    return 0;
}
