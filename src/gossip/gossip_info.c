#include "gossip/gossip_info.h"

#include "base/check.h"

#define FORMAT 1u

static bool role_is_known(uint8_t role)
{
    return role >= GOSSIP_ROLE_BROKER && role <= GOSSIP_ROLE_PROXY;
}

bool gossip_info_read(struct slice in, struct gossip_info *out)
{
    struct wire w = wire_over(in);
    uint8_t format = wire_u8(&w);
    uint8_t role = wire_u8(&w);
    if (format != FORMAT || !role_is_known(role))
        return false;
    out->role = (enum gossip_role)role;
    out->protocol_least = wire_u16(&w);
    out->protocol_most = wire_u16(&w);
    out->boot = wire_u64(&w);
    out->name = wire_shortstr(&w);
    out->version = wire_shortstr(&w);
    out->amqp = wire_shortstr(&w);
    out->cluster = wire_shortstr(&w);
    out->management = wire_shortstr(&w);
    return !w.ran_out;
}

void gossip_info_write(struct wire_out *w, const struct gossip_info *info)
{
    CHECK(role_is_known((uint8_t)info->role));
    size_t start = wire_out_len(w);
    wire_put_u8(w, FORMAT);
    wire_put_u8(w, (uint8_t)info->role);
    wire_put_u16(w, info->protocol_least);
    wire_put_u16(w, info->protocol_most);
    wire_put_u64(w, info->boot);
    wire_put_shortstr(w, info->name);
    wire_put_shortstr(w, info->version);
    wire_put_shortstr(w, info->amqp);
    wire_put_shortstr(w, info->cluster);
    wire_put_shortstr(w, info->management);
    if (wire_out_len(w) - start > GOSSIP_RECORD_MAX)
        wire_out_fail(w);
}

const char *gossip_role_text(enum gossip_role role)
{
    switch (role) {
#define X(name, octet, text)                                                                       \
    case GOSSIP_ROLE_##name:                                                                       \
        return text;
        GOSSIP_ROLES(X)
#undef X
    }
    UNREACHABLE("role");
}
