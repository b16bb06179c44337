#include "amqp/amqp_handshake.h"

#include "amqp/amqp_table.h"

#define CHANNEL_MAX_MOST UINT16_MAX
#define FRAME_MAX_USUAL  131072u /* when neither side says anything: RabbitMQ's own */

static uint32_t smaller_set(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

struct amqp_limits amqp_limits_agree(const struct amqp_limits *want,
                                     const struct amqp_limits *offered)
{
    uint32_t channels = smaller_set(want->channel_max, offered->channel_max);
    uint32_t frame = smaller_set(want->frame_max, offered->frame_max);
    return (struct amqp_limits){
        .channel_max = (uint16_t)(channels != 0 ? channels : CHANNEL_MAX_MOST),
        .frame_max = frame != 0 ? frame : FRAME_MAX_USUAL,
        .heartbeat_s = (uint16_t)smaller_set(want->heartbeat_s, offered->heartbeat_s),
    };
}

unsigned amqp_capabilities_read(struct slice properties)
{
    struct amqp_field table;
    if (!amqp_table_find(properties, "capabilities", &table) || table.type != AMQP_FIELD_TABLE)
        return 0;

    unsigned found = 0;
#define X(NAME, text)                                                                              \
    if (amqp_table_bool(table.bytes, text, false))                                                 \
        found |= AMQP_CAP_##NAME;
    AMQP_CAPABILITIES(X)
#undef X
    return found;
}

void amqp_capabilities_put(struct wire_out *w, unsigned capabilities)
{
    size_t mark = amqp_table_begin(w, "capabilities");
#define X(NAME, text)                                                                              \
    if ((capabilities & AMQP_CAP_##NAME) != 0)                                                     \
        amqp_table_put_bool(w, text, true);
    AMQP_CAPABILITIES(X)
#undef X
    amqp_table_end(w, mark);
}
