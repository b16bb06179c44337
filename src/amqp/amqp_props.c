#include "amqp/amqp_props.h"

#include "amqp/amqp_table.h"

#define READ_u8(w)       wire_u8(w)
#define READ_u64(w)      wire_u64(w)
#define READ_shortstr(w) wire_shortstr(w)
#define READ_table(w)    wire_longstr(w)

bool amqp_props_decode(struct slice raw, struct amqp_props *out)
{
    *out = (struct amqp_props){ 0 };
    struct wire w = wire_over(raw);
    out->flags = wire_u16(&w) & AMQP_PROP_ALL;
#define F(kind, name, bit)                                                                         \
    if ((out->flags & AMQP_PROP_##name) != 0)                                                      \
        out->name = READ_##kind(&w);
    AMQP_PROPERTIES(F)
#undef F
    return !w.ran_out && wire_left(&w) == 0 && amqp_table_check(out->headers);
}

#define WRITE_u8(w, v)       wire_put_u8(w, v)
#define WRITE_u64(w, v)      wire_put_u64(w, v)
#define WRITE_shortstr(w, v) wire_put_shortstr(w, v)
#define WRITE_table(w, v)    wire_put_longstr(w, v)

void amqp_props_encode(struct wire_out *w, const struct amqp_props *p)
{
    wire_put_u16(w, p->flags & AMQP_PROP_ALL);
#define F(kind, name, bit)                                                                         \
    if ((p->flags & AMQP_PROP_##name) != 0)                                                        \
        WRITE_##kind(w, p->name);
    AMQP_PROPERTIES(F)
#undef F
}

bool amqp_props_peek_all(struct slice raw, struct amqp_props_brief *out)
{
    struct amqp_props all;
    if (!amqp_props_decode(raw, &all))
        return false;
    *out = (struct amqp_props_brief){
        .flags = all.flags,
        .delivery_mode = all.delivery_mode,
        .priority = all.priority,
        .headers = all.headers,
        .expiration = all.expiration,
        .user_id = all.user_id,
    };
    return true;
}
