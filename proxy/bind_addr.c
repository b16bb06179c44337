#include "bind_addr.h"

#include <string.h>

bool bind_addr(const struct bind_conf *b, struct sock_addr *out, struct err *err)
{
    const char *host = b->at.kind == CONF_ADDRESS_TCP ? b->at.host : "";
    bool ok =
        b->at.kind == CONF_ADDRESS_UNIX
            ? sock_addr_unix(b->at.path, out)
            : sock_addr_ip(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, b->at.port, out);
    return ok || err_set(err, ERR_CONFIG, "%s is not an address of this host (a name does not do)",
                         b->at.text);
}
