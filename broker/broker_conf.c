#include "broker_conf.h"

#include "base/check.h"
#include "base/text.h"
#include "base/units.h"
#include "io/host.h"

#include <string.h>
#include <unistd.h>

#define MANAGEMENT_OFFSET 10000u /* of RABBITMQ_NODE_PORT, as rabbitmq-server users know it */
#define CLUSTER_OFFSET    20000u

void broker_conf_describe(struct text *out)
{
    conf_describe(&broker_conf_schema, out);
}

void broker_conf_env_unknown(char *const *env, void (*each)(const char *name, void *arg), void *arg)
{
    conf_env_unknown(&broker_conf_schema, "WARREN_", env, each, arg);
}

/* ---- RABBITMQ_NODE_PORT and RABBITMQ_NODE_IP_ADDRESS ---- */

static bool is_given(const struct broker_conf_args *args, const char *name)
{
    return conf_env_value(args->env, name) != NULL;
}

/* One address in place of the list: `host` and `port`, or what the first one had where these are
 * NULL and 0. A list that is empty on purpose stays so. */
static void replace(struct conf_addresses *list, const char *host, uint64_t port,
                    struct conf_store *store)
{
    if (list->count == 0)
        return;
    struct conf_address *a = conf_store_alloc(store, sizeof *a);
    *a = list->items[0];
    a->kind = CONF_ADDRESS_TCP;
    a->host = host != NULL ? host : a->host;
    a->port = port != 0 ? (uint16_t)port : a->port;
    a->text = strchr(a->host, ':') != NULL ? conf_store_put(store, "[%s]:%u", a->host, a->port)
                                           : conf_store_put(store, "%s:%u", a->host, a->port);
    *list = (struct conf_addresses){ a, 1 };
}

static bool take_rabbit_port(struct broker_conf *c, const struct broker_conf_args *args,
                             uint64_t *port, struct err *err)
{
    const char *text = conf_env_value(args->env, "RABBITMQ_NODE_PORT");
    *port = 0;
    if (text == NULL)
        return true;
    if (!units_u64(slice_str(text), port) || *port == 0 || *port > UINT16_MAX - CLUSTER_OFFSET)
        return err_set(err, ERR_CONFIG,
                       "environment RABBITMQ_NODE_PORT: must be a number from 1 to %u, because "
                       "it brings the cluster's port, %u higher, with it",
                       UINT16_MAX - CLUSTER_OFFSET, CLUSTER_OFFSET);
    if (!is_given(args, "WARREN_LISTEN_MANAGEMENT"))
        replace(&c->listen.management, NULL, *port + MANAGEMENT_OFFSET, c->memory);
    if (!is_given(args, "WARREN_LISTEN_CLUSTER"))
        replace(&c->listen.cluster, NULL, *port + CLUSTER_OFFSET, c->memory);
    return true;
}

/* What Warren's own variables say wins. */
static bool take_rabbit_variables(struct broker_conf *c, const struct broker_conf_args *args,
                                  struct err *err)
{
    uint64_t port;
    if (!take_rabbit_port(c, args, &port, err))
        return false;
    const char *host = conf_env_value(args->env, "RABBITMQ_NODE_IP_ADDRESS");
    if (host != NULL) {
        struct conf_address a;
        const char *bracketed = conf_store_put(c->memory, "[%s]", host);
        if (!conf_address_of(strchr(host, ':') != NULL ? bracketed : host, 0, c->memory, &a, err))
            return err_context(err, "environment RABBITMQ_NODE_IP_ADDRESS");
        host = a.host;
    }
    if ((port != 0 || host != NULL) && !is_given(args, "WARREN_LISTEN_AMQP"))
        replace(&c->listen.amqp, host, port, c->memory);
    return true;
}

/* ---- what is worked out ---- */

static bool fill_paths(struct broker_conf *c, const struct broker_conf_args *args, struct err *err)
{
    const char *home = conf_env_value(args->env, "HOME");
    bool packaged = access(WARREN_STATEDIR, W_OK) == 0;
    bool lacks = c->node.data_dir == NULL || c->cluster.cookie_file == NULL;
    if (lacks && !packaged && (home == NULL || home[0] == '\0'))
        return err_set(err, ERR_CONFIG,
                       "%s cannot be written to and there is no HOME: give [node] data-dir and "
                       "[cluster] cookie-file",
                       WARREN_STATEDIR);
    if (c->node.data_dir == NULL)
        c->node.data_dir =
            packaged ? WARREN_STATEDIR : conf_store_put(c->memory, "%s/.warren", home);
    if (c->cluster.cookie_file == NULL)
        c->cluster.cookie_file = packaged ? WARREN_STATEDIR "/.cookie"
                                          : conf_store_put(c->memory, "%s/.warren.cookie", home);
    c->node.data_path = conf_store_put(c->memory, "%s/%s", c->node.data_dir, c->node.name);
    if (c->log.file == NULL)
        c->log.file = conf_store_put(c->memory, "%s.log", c->node.data_path);
    return true;
}

static bool work_out(struct broker_conf *c, const struct broker_conf_args *args, struct err *err)
{
    if (c->node.name == NULL) {
        char host[256];
        host_short_name(host, sizeof host);
        c->node.name = conf_store_put(c->memory, "rabbit@%s", host);
    }
    /* A core is left to the control thread, the kernel's network and, with one core, to nobody. */
    if (c->node.threads == 0)
        c->node.threads = host_cores("") > 1 ? host_cores("") - 1 : 1;
    if (!fill_paths(c, args, err) || !take_rabbit_variables(c, args, err))
        return false;
    if (c->node.type != BROKER_NODE_DISC && c->cluster.seeds.count == 0)
        return err_set(err, ERR_CONFIG,
                       "%s: [node] type: a node that is alone is a disc node: give [cluster] seeds",
                       c->file != NULL ? c->file : "(no file)");
    if (c->listen.amqps.count != 0 && c->tls.cert == NULL)
        return err_set(err, ERR_CONFIG, "%s: [listen] amqps needs a certificate: [tls] cert",
                       c->file != NULL ? c->file : "(no file)");
    /* Properties come in one frame, and a message with its properties is one record. */
    if (c->limits.frame_max_bytes > c->store.segment_bytes / 4)
        return err_set(err, ERR_CONFIG,
                       "%s: [limits] frame-max must not be more than a quarter of [store] "
                       "segment-size",
                       c->file != NULL ? c->file : "(no file)");
    return true;
}

/* ---- loading ---- */

static void add_override(struct conf_override *all, size_t *count, const char *section,
                         const char *key, const char *value, const char *from)
{
    if (value != NULL)
        all[(*count)++] = (struct conf_override){ section, key, value, from };
}

/* Later ones win. */
static struct conf_override *overrides_of(const struct broker_conf_args *args,
                                          struct conf_store *store, size_t *count)
{
    size_t env_count;
    struct conf_override *env =
        conf_env(&broker_conf_schema, "WARREN_", args->env, store, &env_count);
    struct conf_override *all = conf_store_alloc(store, (env_count + 3) * sizeof *all);
    *count = 0;
    add_override(all, count, "node", "name", conf_env_value(args->env, "RABBITMQ_NODENAME"),
                 "environment RABBITMQ_NODENAME");
    for (size_t i = 0; i < env_count; i++)
        all[(*count)++] = env[i];
    add_override(all, count, "node", "name", args->name, "option -n");
    add_override(all, count, "node", "data-dir", args->data_dir, "option --data-dir");
    return all;
}

static const char *file_of(const struct broker_conf_args *args, struct conf_store *store)
{
    const char *file = args->file;
    if (file == NULL && args->default_file != NULL && access(args->default_file, F_OK) == 0)
        file = args->default_file;
    return file != NULL ? conf_store_str(store, slice_str(file)) : NULL;
}

struct broker_conf *broker_conf_load(const struct broker_conf_args *args, struct err *err)
{
    CHECK(args != NULL && err != NULL);
    struct conf_store *store = conf_store_new();
    struct broker_conf *c = conf_store_alloc(store, sizeof *c);
    shared_set(&c->refs, 1);
    c->memory = store;
    c->file = file_of(args, store);
    size_t count;
    struct conf_override *overrides = overrides_of(args, store, &count);
    if (conf_load(&broker_conf_schema, c->file, overrides, count, c, store, err) &&
        work_out(c, args, err))
        return c;
    conf_store_free(&store);
    return NULL;
}

struct broker_conf *broker_conf_ref(struct broker_conf *c)
{
    shared_add(&c->refs, 1);
    return c;
}

void broker_conf_unref(struct broker_conf **c)
{
    struct broker_conf *it = *c;
    *c = NULL;
    if (it == NULL)
        return;
    CHECK(shared_get(&it->refs) > 0);
    if (shared_sub(&it->refs, 1) != 0)
        return;
    struct conf_store *store = it->memory; /* which holds the struct itself, too */
    conf_store_free(&store);
}
