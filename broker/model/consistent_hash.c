#include "model/consistent_hash.h"

#include "amqp/amqp_props.h"
#include "amqp/amqp_table.h"
#include "base/hash.h"

#include <math.h>

#define NONE slice_of(NULL, 0)

struct consistent_hash consistent_hash_for(struct slice value)
{
    return (struct consistent_hash){ hash_bytes(value, 0), INFINITY };
}

bool consistent_hash_weight(struct slice text, double *out)
{
    bool minus = text.len != 0 && text.ptr[0] == '-';
    bool plus = text.len != 0 && text.ptr[0] == '+';
    double n = 0;
    size_t from = minus || plus;
    if (from == text.len)
        return false;
    for (size_t i = from; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        n = n * 10 + (text.ptr[i] - '0');
    }
    *out = minus ? -n : n;
    return true;
}

/* With u drawn evenly from (0, 1), -ln(u) / weight is least with a chance in proportion to the
 * weight. */
bool consistent_hash_offer(struct consistent_hash *c, struct slice name, struct slice weight)
{
    double w;
    if (!consistent_hash_weight(weight, &w) || w < 1)
        return false;
    uint64_t h = hash_bytes(name, c->value);
    double u = ((double)(h >> 11) + 0.5) * 0x1p-53;
    double draw = -log(u) / w;
    if (draw >= c->least)
        return false;
    c->least = draw;
    return true;
}

struct consistent_hash consistent_hash_for_header(struct slice headers, struct slice name)
{
    struct amqp_table_iter it = amqp_table_iter_init(headers);
    struct amqp_field f;
    const uint8_t *from = it.w.at;
    while (amqp_table_iter_next(&it, &f)) {
        struct slice field = slice_of(from, (size_t)(it.w.at - from));
        if (slice_eq(f.name, name))
            return consistent_hash_for(slice_from(field, 1 + name.len));
        from = it.w.at;
    }
    return consistent_hash_for(NONE);
}

struct consistent_hash consistent_hash_for_property(struct slice props, struct slice name)
{
    struct amqp_props p;
    if (props.len == 0 || !amqp_props_decode(props, &p))
        return consistent_hash_for(NONE);
    if (slice_is(name, "message_id"))
        return consistent_hash_for(p.message_id);
    if (slice_is(name, "correlation_id"))
        return consistent_hash_for(p.correlation_id);
    if (!amqp_props_has(&p, AMQP_PROP_timestamp))
        return consistent_hash_for(NONE);
    return (struct consistent_hash){ hash_u64(p.timestamp), INFINITY };
}
