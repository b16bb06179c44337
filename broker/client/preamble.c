#include "client/preamble.h"

#include "base/check.h"
#include "base/mem.h"
#include "broker_conf.h"
#include "io/nets.h"

/* The first octet tells: "AMQP", "PROXY ", or the carriage return of version 2's signature. */
static bool looks_like_proxy(uint8_t first)
{
    return first == 'P' || first == '\r';
}

static enum preamble_verdict refuse(struct err *why, const char *what)
{
    err_set(why, ERR_REFUSED, "%s", what);
    return PREAMBLE_REFUSED;
}

static struct slice name_of(const struct broker_conf *conf, const struct proxy_names *names)
{
    switch (conf->auth.login_from) {
    case BROKER_LOGIN_FROM_DN:
        return names->subject;
    case BROKER_LOGIN_FROM_CN:
        return names->common_name;
    case BROKER_LOGIN_FROM_SAN:
        return names->dns_name;
    }
    UNREACHABLE("login-from");
}

/* A name with a NUL in it is nobody's. */
static void take_name(const struct broker_conf *conf, const struct proxy_names *names,
                      struct preamble_name *out)
{
    struct slice name = name_of(conf, names);
    out->is_told = true;
    if (name.len == 0 || memchr(name.ptr, '\0', name.len) != NULL)
        return;
    out->name = mem_zalloc(name.len + 1);
    memcpy(out->name, name.ptr, name.len);
}

bool preamble_judge(const struct broker_conf *conf, struct slice cookie,
                    const struct proxy_header *h, struct sock_addr *client,
                    struct preamble_name *name, struct err *why)
{
    if (!nets_have(&conf->listen.proxy_protocol, client) && !proxy_proto_is_proven(h, cookie))
        return err_set(why, ERR_REFUSED,
                       "a PROXY header that proves nothing, from a network that is not in "
                       "[listen] proxy-protocol");
    if (h->has_addresses)
        *client = h->client;
    if (proxy_proto_names_are_proven(h, cookie))
        take_name(conf, &h->names, name);
    return true;
}

void preamble_name_move(struct preamble_name *to, struct preamble_name *from)
{
    *to = *from;
    *from = (struct preamble_name){ .name = NULL };
}

enum preamble_verdict preamble_cut(const struct broker_conf *conf, struct slice cookie,
                                   struct slice in, struct sock_addr *client,
                                   struct preamble_name *name, size_t *len, struct err *why)
{
    CHECK(in.len != 0);
    bool trusted = nets_have(&conf->listen.proxy_protocol, client);
    if (!looks_like_proxy(in.ptr[0]))
        return trusted ? refuse(why, "no PROXY header from a network that must send one, see "
                                     "[listen] proxy-protocol")
                       : PREAMBLE_NONE;
    struct proxy_header h;
    switch (proxy_proto_cut(in, &h, len)) {
    case PROXY_CUT_MORE:
        return PREAMBLE_MORE;
    case PROXY_CUT_BAD:
        return refuse(why, "malformed PROXY header");
    case PROXY_CUT_HEADER:
        break;
    }
    if (!preamble_judge(conf, cookie, &h, client, name, why))
        return PREAMBLE_REFUSED;
    return PREAMBLE_TAKEN;
}
