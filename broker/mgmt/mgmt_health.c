#include "base/units.h"
#include "mgmt/mgmt_inner.h"

static json_t *well(void)
{
    return json_pack("{s:s}", "status", "ok");
}

static json_t *ill(const char *reason)
{
    return json_pack("{s:s, s:s}", "status", "failed", "reason", reason);
}

/* ---- alarms ---- */

/* The deprecated check: 200 in any case, and the answer says it. */
void mgmt_serve_node_check(struct mgmt_call *c)
{
    if (c->arg_count != 0 && !mgmt_is_this_node(c, 0))
        mgmt_not_found(c);
    else if (broker_has_alarm(c->m->broker))
        mgmt_reply(c, 200, ill("resource alarm(s) in effect:[memory]"));
    else
        mgmt_reply(c, 200, well());
}

static void serve_alarms(struct mgmt_call *c, const char *reason)
{
    if (!broker_has_alarm(c->m->broker)) {
        mgmt_reply(c, 200, well());
        return;
    }
    json_t *alarm = json_object();
    mgmt_json_put_str(alarm, "node", mgmt_conf(c->m)->node.name);
    mgmt_json_put_str(alarm, "resource", "memory");
    json_t *o = ill(reason);
    mgmt_json_put(o, "alarms", json_pack("[o]", alarm));
    mgmt_reply(c, 503, o);
}

void mgmt_serve_alarms(struct mgmt_call *c)
{
    serve_alarms(c, "There are alarms in effect in the cluster");
}

void mgmt_serve_local_alarms(struct mgmt_call *c)
{
    serve_alarms(c, "There are alarms in effect on the node");
}

/* ---- listeners ---- */

static bool has(const json_t *list, const json_t *value)
{
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item)
    {
        if (json_equal(item, value))
            return true;
    }
    return false;
}

/* What all listeners have under this name, each once. */
static json_t *each_of(const struct mgmt_http *m, const char *name)
{
    json_t *all = mgmt_listeners(m);
    json_t *out = json_array();
    size_t index;
    json_t *item;
    json_array_foreach(all, index, item)
    {
        json_t *value = json_object_get(item, name);
        if (!has(out, value))
            json_array_append(out, value);
    }
    json_decref(all);
    return out;
}

static void reply_listener(struct mgmt_call *c, const char *name, const char *plural, json_t *value)
{
    json_t *known = each_of(c->m, name);
    bool is_there = has(known, value);
    json_t *o = is_there ? well() : ill("No active listener");
    mgmt_json_put(o, is_there ? name : "missing", value);
    if (is_there)
        json_decref(known);
    else
        mgmt_json_put(o, plural, known);
    mgmt_reply(c, is_there ? 200 : 503, o);
}

void mgmt_serve_port_listener(struct mgmt_call *c)
{
    uint64_t port;
    if (units_u64(mgmt_arg(c, 0), &port) && port <= UINT16_MAX)
        reply_listener(c, "port", "ports", json_integer((json_int_t)port));
    else
        mgmt_bad_request(c, "Invalid port");
}

void mgmt_serve_protocol_listener(struct mgmt_call *c)
{
    static const char *const others[][2] = { { "amqp091", "amqp" },
                                             { "amqp0.9.1", "amqp" },
                                             { "amqps", "amqp/ssl" },
                                             { "https", "https" } };
    json_t *value = mgmt_json_text(mgmt_arg(c, 0));
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        if (slice_is(mgmt_arg(c, 0), others[i][0])) {
            json_decref(value);
            value = json_string(others[i][1]);
        }
    }
    reply_listener(c, "protocol", "protocols", value);
}

/* ---- what cannot fail on one node ---- */

void mgmt_serve_vhosts_check(struct mgmt_call *c)
{
    mgmt_reply(c, 200, well());
}

void mgmt_serve_critical_check(struct mgmt_call *c)
{
    json_t *o = well();
    mgmt_json_put_str(o, "reason", "single node cluster");
    mgmt_reply(c, 200, o);
}

void mgmt_serve_certificates(struct mgmt_call *c)
{
    uint64_t within;
    static const char *const units[] = { "days", "weeks", "months", "years" };
    bool is_unit = false;
    for (size_t i = 0; i < ARRAY_COUNT(units); i++)
        is_unit = is_unit || slice_is(mgmt_arg(c, 1), units[i]);
    if (!is_unit)
        mgmt_bad_request(c, "Time unit not recognised, use: days, weeks, months or years");
    else if (!units_u64(mgmt_arg(c, 0), &within))
        mgmt_bad_request(c, "Invalid expiration value.");
    else
        mgmt_reply(c, 200, well());
}
