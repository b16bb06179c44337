#include "io/nets.h"

#include "base/check.h"
#include "base/text.h"
#include "base/units.h"

#include <string.h>

static struct slice plain_v4(struct slice octets)
{
    static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };
    if (octets.len == 16 && memcmp(octets.ptr, mapped, sizeof mapped) == 0)
        return slice_from(octets, sizeof mapped);
    return octets;
}

static bool refuse(const char *text, struct err *err)
{
    char room[128];
    struct text shown = text_over(room, sizeof room);
    text_escaped(&shown, slice_str(text));
    return err_set(err, ERR_CONFIG, "\"%s\" is not a network such as 10.0.0.0/8 or fd00::/8", room);
}

bool net_of(const char *text, struct net *out, struct err *err)
{
    char host[64];
    const char *slash = strchr(text, '/');
    size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (n == 0 || n >= sizeof host)
        return refuse(text, err);
    memcpy(host, text, n);
    host[n] = '\0';

    struct sock_addr a;
    if (strcmp(host, "*") == 0 || !sock_addr_ip(host, 0, &a))
        return refuse(text, err);
    struct slice octets = sock_addr_octets(&a);
    CHECK(octets.len == 4 || octets.len == 16);
    uint64_t bits = octets.len * 8;
    if (slash != NULL && (!units_u64(slice_str(slash + 1), &bits) || bits > octets.len * 8))
        return refuse(text, err);

    *out = (struct net){ .len = (uint8_t)octets.len, .bits = (uint8_t)bits };
    memcpy(out->octets, octets.ptr, octets.len);
    return true;
}

bool net_has(const struct net *net, const struct sock_addr *a)
{
    struct slice octets = sock_addr_octets(a);
    if (net->len == 4)
        octets = plain_v4(octets);
    if (octets.len != net->len)
        return false;
    size_t whole = net->bits / 8;
    unsigned rest = net->bits % 8;
    if (memcmp(octets.ptr, net->octets, whole) != 0)
        return false;
    return rest == 0 || ((octets.ptr[whole] ^ net->octets[whole]) >> (8 - rest)) == 0;
}

bool nets_have(const struct conf_list *items, const struct sock_addr *a)
{
    for (size_t i = 0; i < items->count; i++) {
        struct net net;
        struct err err;
        bool ok = net_of(items->items[i], &net, &err);
        CHECK(ok);
        if (net_has(&net, a))
            return true;
    }
    return false;
}
