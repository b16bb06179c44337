#include "node_place.h"

#include "cluster/meta_node.h"

static bool take_port(struct slice digits, uint16_t *port)
{
    unsigned number = 0;
    for (struct slice s = digits; s.len != 0; s = slice_from(s, 1)) {
        if (s.ptr[0] < '0' || s.ptr[0] > '9' || number > UINT16_MAX)
            return false;
        number = number * 10 + (unsigned)(s.ptr[0] - '0');
    }
    *port = (uint16_t)number;
    return number != 0 && number <= UINT16_MAX;
}

/* A host and a port, with a colon between; one with colons of its own is in brackets. */
static bool take_apart(struct slice address, struct node_place *out)
{
    size_t colon = address.len;
    while (colon != 0 && address.ptr[colon - 1] != ':')
        colon--;
    if (colon < 2 || colon > META_NAME_MAX)
        return false;
    struct slice host = slice_head(address, colon - 1);
    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = slice_of(host.ptr + 1, host.len - 2);
    memcpy(out->host, host.ptr, host.len);
    out->host[host.len] = '\0';
    return take_port(slice_from(address, colon), &out->port);
}

bool node_place_of(const struct meta_node *n, struct node_place *out)
{
    struct slice name = slice_head(n->name, META_NAME_MAX);
    memcpy(out->name, name.ptr, name.len);
    out->name[name.len] = '\0';
    return take_apart(n->cluster_address, out);
}
