#include "client/preamble.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "broker_conf.h"
#include "io/clock.h"
#include "io/nets.h"
#include "io/nonces.h"

#include <stdio.h>

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
    if (name.len == 0 || memchr(name.ptr, '\0', name.len) != NULL)
        return;
    out->name = mem_zalloc(name.len + 1);
    memcpy(out->name, name.ptr, name.len);
}

static bool is_anybody(const struct proxy_names *n)
{
    return n->subject.len != 0 || n->common_name.len != 0 || n->dns_name.len != 0;
}

static bool is_new(const struct preamble_rules *r, uint64_t at_ms, struct err *why)
{
    uint64_t apart = at_ms > r->wall_ms ? at_ms - r->wall_ms : r->wall_ms - at_ms;
    if (apart <= PREAMBLE_NAMES_MS)
        return true;
    char room[32];
    snprintf(room, sizeof room, "%llu s", (unsigned long long)(apart / 1000));
    return err_set(why, ERR_REFUSED,
                   "the time in it is %s %s this broker's clock, more than the %u s allowed: set "
                   "the clocks of the proxy and of this broker",
                   room, at_ms > r->wall_ms ? "ahead of" : "behind", PREAMBLE_NAMES_MS / 1000);
}

/* Another broker that knows the cookie would take what was told to this one. Where addresses are
 * translated on the way, the proxies' network can be named as one that is trusted. */
static bool is_for_us(const struct preamble_rules *r, const struct proxy_names *names,
                      bool is_trusted, struct err *why)
{
    uint8_t here[PROXY_PLACE_BYTES];
    char room[SOCK_ADDR_TEXT_MAX];
    proxy_proto_place(r->door, here);
    if (is_trusted || memcmp(here, names->place, sizeof here) == 0)
        return true;
    return err_set(why, ERR_REFUSED,
                   "it was told to another address than %s, where it came in: if addresses are "
                   "translated between the proxy and this broker, see [listen] proxy-protocol",
                   sock_addr_text(r->door, room));
}

/* False: say so and hang up. What is not believed leaves the client without a name. */
static bool judge_names(const struct preamble_rules *r, const struct proxy_header *h,
                        const struct sock_addr *from, struct preamble_name *name, struct err *why)
{
    struct err doubt = { 0 };
    char room[SOCK_ADDR_TEXT_MAX];
    bool is_trusted = nets_have(&r->conf->listen.proxy_protocol, from);
    enum nonce_verdict verdict = NONCE_NO_ROOM;
    name->is_told = true;
    if (!is_anybody(&h->names))
        return true;
    if (is_new(r, h->names.at_ms, &doubt) && is_for_us(r, &h->names, is_trusted, &doubt)) {
        verdict = nonces_take(r->nonces, proxy_proto_nonce(h), r->mono_ms);
        if (verdict == NONCE_NO_ROOM)
            (void)err_set(&doubt, ERR_REFUSED, "more than %u came within %u s", PREAMBLE_NAMES_MAX,
                          PREAMBLE_NAMES_KEPT_MS / 1000);
    }
    if (verdict == NONCE_USED)
        return err_set(why, ERR_REFUSED,
                       "a PROXY header with a client's names that was used before");
    if (verdict == NONCE_TAKEN)
        take_name(r->conf, &h->names, name);
    else
        log_warn("connection", "-", "names of a certificate are not believed from=%s: %s",
                 sock_addr_text(from, room), doubt.text);
    return true;
}

bool preamble_judge(const struct preamble_rules *r, const struct proxy_header *h,
                    struct sock_addr *client, struct preamble_name *name, struct err *why)
{
    struct sock_addr from = *client;
    if (!nets_have(&r->conf->listen.proxy_protocol, client) && !proxy_proto_is_proven(h, r->cookie))
        return err_set(why, ERR_REFUSED,
                       "a PROXY header that proves nothing, from a network that is not in "
                       "[listen] proxy-protocol");
    if (h->has_addresses)
        *client = h->client;
    if (proxy_proto_names_are_proven(h, r->cookie))
        return judge_names(r, h, &from, name, why);
    return true;
}

struct preamble_rules preamble_rules_of(const struct broker *b, const struct broker_conf *conf,
                                        const struct sock_addr *door)
{
    return (struct preamble_rules){ .conf = conf,
                                    .cookie = broker_cookie(b),
                                    .nonces = broker_nonces(b),
                                    .door = door,
                                    .wall_ms = clock_wall_ms(),
                                    .mono_ms = clock_mono_ms() };
}

void preamble_name_move(struct preamble_name *to, struct preamble_name *from)
{
    *to = *from;
    *from = (struct preamble_name){ .name = NULL };
}

enum preamble_verdict preamble_cut(const struct preamble_rules *r, struct slice in,
                                   struct sock_addr *client, struct preamble_name *name,
                                   size_t *len, struct err *why)
{
    CHECK(in.len != 0);
    bool trusted = nets_have(&r->conf->listen.proxy_protocol, client);
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
    if (!preamble_judge(r, &h, client, name, why))
        return PREAMBLE_REFUSED;
    return PREAMBLE_TAKEN;
}
