#include "live.h"

#include "amqp/amqp_sasl.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

static struct slice describe_server(const struct live *l, bool vouched,
                                    uint8_t room[LIVE_PROPERTIES_BYTES])
{
    struct wire_out w = wire_out_over(room, LIVE_PROPERTIES_BYTES);
    amqp_capabilities_put(&w, AMQP_CAP_SERVED);
    amqp_table_put_text(&w, "cluster_name", l->cluster_name);
    amqp_table_put_text(&w, "information", "Licensed under the Apache License 2.0");
    amqp_table_put_text(&w, "platform", "C11");
    amqp_table_put_text(&w, "product", "Warren");
    amqp_table_put_text(&w, "version", WARREN_VERSION);
    if (vouched)
        amqp_table_put_bool(&w, AMQP_CERTIFIED, true);
    CHECK(!w.overflow);
    return wire_out_slice(&w);
}

/* Between blanks, each once, as connection.start has it. */
static struct slice list_mechanisms(struct live *l, bool certified)
{
    const struct conf_list *all = &l->conf->auth.mechanisms;
    struct text t = text_over(l->mechanisms[certified], LIVE_MECHANISMS_BYTES);
    for (size_t i = 0; i < all->count; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again = again || strcmp(all->items[k], all->items[i]) == 0;
        if (again || (!certified && strcmp(all->items[i], AMQP_SASL_EXTERNAL) == 0))
            continue;
        text_put(&t, "%s%s", t.len != 0 ? " " : "", all->items[i]);
    }
    return text_view(&t);
}

struct live *live_new(struct broker_conf **conf, struct tls_ctx **tls, const char *cluster_name)
{
    struct live *l = mem_zalloc(sizeof *l);
    struct text name = text_over(l->cluster_name, sizeof l->cluster_name);
    text_str(&name, cluster_name);
    atomic_init(&l->refs, 1);
    l->conf = *conf;
    *conf = NULL;
    l->tls = *tls;
    *tls = NULL;
    l->handshake.mechanisms = list_mechanisms(l, false);
    l->handshake.offer = (struct amqp_limits){
        .channel_max = (uint16_t)l->conf->limits.channel_max,
        .frame_max = (uint32_t)l->conf->limits.frame_max_bytes,
        .heartbeat_s = (uint16_t)l->conf->limits.heartbeat_s,
    };
    l->handshake.properties = describe_server(l, false, l->properties);
    l->handshake_certified = l->handshake;
    l->handshake_certified.mechanisms = list_mechanisms(l, true);
    l->handshake_vouched = l->handshake_certified;
    l->handshake_vouched.properties = describe_server(l, true, l->properties_vouched);
    return l;
}

struct live *live_ref(struct live *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void live_unref(struct live **live)
{
    struct live *l = *live;
    *live = NULL;
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) > 1)
        return;
    broker_conf_unref(&l->conf);
    tls_ctx_unref(&l->tls);
    mem_free(l);
}

void live_drop(void *ptr)
{
    struct live *l = ptr;
    live_unref(&l);
}

static bool same_addresses(const struct conf_addresses *a, const struct conf_addresses *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->items[i].text, b->items[i].text) == 0;
    return same;
}

/* What is bound and started stays as it is until a restart; whoever changed it should know. */
void live_warn(const struct live *live, const struct broker_conf *now, const char *node)
{
    const struct broker_conf *was = live->conf;
    if (!same_addresses(&was->listen.amqp, &now->listen.amqp) ||
        !same_addresses(&was->listen.amqps, &now->listen.amqps) ||
        !same_addresses(&was->listen.cluster, &now->listen.cluster) ||
        !same_addresses(&was->listen.management, &now->listen.management) ||
        !same_addresses(&was->listen.management_tls, &now->listen.management_tls))
        log_warn("broker", node, "[listen] addresses take effect with the next start");
    if (was->node.threads != now->node.threads || was->node.type != now->node.type ||
        strcmp(was->node.name, now->node.name) != 0 ||
        strcmp(was->node.data_dir, now->node.data_dir) != 0)
        log_warn("broker", node, "[node] keys take effect with the next start");
    if (strcmp(was->cluster.cookie_file, now->cluster.cookie_file) != 0)
        log_warn("broker", node, "[cluster] cookie-file takes effect with the next start");
}
