#include "greeting.h"

#include "amqp/amqp_sasl.h"
#include "amqp/amqp_table.h"
#include "base/check.h"

#define MECHANISMS AMQP_SASL_AMQPLAIN " " AMQP_SASL_PLAIN

struct slice greeting_properties(const char *cluster, uint8_t room[GREETING_BYTES])
{
    struct wire_out w = wire_out_over(room, GREETING_BYTES);
    amqp_capabilities_put(&w, AMQP_CAP_SERVED);
    if (cluster != NULL)
        amqp_table_put_text(&w, "cluster_name", cluster);
    amqp_table_put_text(&w, "product", "Warren");
    amqp_table_put_text(&w, "version", WARREN_VERSION);
    amqp_table_put_text(&w, "platform", "C");
    amqp_table_put_text(&w, "information", "warren-proxy: brokers are behind it");
    CHECK(!w.overflow);
    return wire_out_slice(&w);
}

struct amqp_hs_server_conf greeting_conf(void)
{
    return (struct amqp_hs_server_conf){
        .mechanisms = slice_str(MECHANISMS),
        .offer = { .channel_max = 1, .frame_max = AMQP_FRAME_MAX_LEAST },
    };
}

void greeting_certify(struct amqp_hs_server_conf *conf)
{
    conf->mechanisms = slice_str(MECHANISMS " " AMQP_SASL_EXTERNAL);
}
