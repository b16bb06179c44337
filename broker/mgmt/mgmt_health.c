#include "base/units.h"
#include "io/clock.h"
#include "io/tls.h"
#include "live.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_store.h"

#include <string.h>
#include <strings.h>
#include <time.h>

static json_t *well(void)
{
    return json_pack("{s:s}", "status", "ok");
}

static json_t *ill(const char *reason)
{
    return json_pack("{s:s, s:s}", "status", "failed", "reason", reason);
}

/* ---- alarms ---- */

static json_t *alarmed(unsigned alarms)
{
    switch (alarms & (BROKER_ALARM_MEMORY | BROKER_ALARM_DISK)) {
    case 0:
        return well();
    case BROKER_ALARM_MEMORY:
        return ill("resource alarm(s) in effect:[memory]");
    case BROKER_ALARM_DISK:
        return ill("resource alarm(s) in effect:[disk]");
    }
    return ill("resource alarm(s) in effect:[memory,disk]");
}

/* The deprecated check: 200 in any case, and the answer says it. */
void mgmt_serve_node_check(struct mgmt_call *c)
{
    if (c->arg_count != 0 && !mgmt_is_this_node(c, 0))
        mgmt_not_found(c);
    else
        mgmt_reply(c, 200, alarmed(broker_alarms(c->m->broker)));
}

/* Takes the list. */
static void serve_alarms(struct mgmt_call *c, json_t *alarms, const char *reason)
{
    if (json_array_size(alarms) == 0) {
        json_decref(alarms);
        mgmt_reply(c, 200, well());
        return;
    }
    json_t *o = ill(reason);
    json_out_put(o, "alarms", alarms);
    mgmt_reply(c, 503, o);
}

void mgmt_serve_alarms(struct mgmt_call *c)
{
    serve_alarms(c, mgmt_cluster_alarms(c->m->broker, mgmt_conf(c->m)->node.name),
                 "There are alarms in effect in the cluster");
}

void mgmt_serve_local_alarms(struct mgmt_call *c)
{
    serve_alarms(c, mgmt_alarms(c->m->broker, mgmt_conf(c->m)->node.name),
                 "There are alarms in effect on the node");
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
    json_out_put(o, is_there ? name : "missing", value);
    if (is_there)
        json_decref(known);
    else
        json_out_put(o, plural, known);
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
    json_t *value = json_out_text(mgmt_arg(c, 0));
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        if (slice_is(mgmt_arg(c, 0), others[i][0])) {
            json_decref(value);
            value = json_string(others[i][1]);
        }
    }
    reply_listener(c, "protocol", "protocols", value);
}

/* ---- what cannot fail ---- */

void mgmt_serve_vhosts_check(struct mgmt_call *c)
{
    mgmt_reply(c, 200, well());
}

/* ---- certificates ---- */

#define DAY_S         86400
#define WITHIN_MOST   1000000000 /* later than any certificate can end */
#define MOMENT_MAX    64u
#define NOT_YET_VALID "Certificate is not yet valid"

/* "2026-11-30 9:05:00", UTC, as RabbitMQ writes it. */
static json_t *moment(int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm tm = { 0 };
    char room[MOMENT_MAX];
    gmtime_r(&at, &tm);
    struct text t = text_over(room, sizeof room);
    text_put(&t, "%d-%02d-%02d %d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec);
    return json_out_text(text_view(&t));
}

struct ending {
    int64_t now_s;
    int64_t before_s;
    json_t *list;
};

static void on_term(const struct tls_term *term, void *arg)
{
    struct ending *e = arg;
    if (term->from_s > e->now_s)
        json_array_append_new(e->list, json_string(NOT_YET_VALID));
    else if (term->until_s < e->before_s)
        json_array_append_new(e->list, moment(term->until_s));
}

/* When those certificates end that will have ended in so many seconds, or do not hold yet. */
static json_t *ending_within(const struct tls_ctx *tls, enum tls_whose whose, int64_t within_s)
{
    struct ending e = { .now_s = (int64_t)(clock_wall_ms() / 1000), .list = json_array() };
    e.before_s = e.now_s + within_s;
    tls_ctx_terms(tls, whose, on_term, &e);
    return e.list;
}

/* A listener as this check shows it; it has other names than elsewhere. */
static json_t *ending_listener(const struct broker_conf *conf, const json_t *listener, json_t *own,
                               json_t *trusted)
{
    json_t *o = json_object();
    json_out_put(o, "node", json_incref(json_object_get(listener, "node")));
    json_out_put(o, "protocol", json_incref(json_object_get(listener, "protocol")));
    json_out_put(o, "interface", json_incref(json_object_get(listener, "ip_address")));
    json_out_put(o, "port", json_incref(json_object_get(listener, "port")));
    json_out_put_str(o, "certfile", conf->tls.cert != NULL ? conf->tls.cert : "");
    json_out_put_str(o, "cacertfile", conf->tls.ca != NULL ? conf->tls.ca : "");
    json_out_put(o, "certfile_expires_on", json_incref(own));
    json_out_put(o, "cacertfile_expires_on", json_incref(trusted));
    return o;
}

static bool speaks_tls(const json_t *listener)
{
    const char *protocol = json_string_value(json_object_get(listener, "protocol"));
    return strcmp(protocol, "amqp/ssl") == 0 || strcmp(protocol, "https") == 0;
}

/* The listeners whose certificates end; all show the same ones. */
static json_t *ending_listeners(const struct mgmt_http *m, int64_t within_s)
{
    json_t *out = json_array();
    const struct tls_ctx *tls = broker_live(m->broker)->tls;
    if (tls == NULL)
        return out;
    json_t *own = ending_within(tls, TLS_OWN, within_s);
    json_t *trusted = ending_within(tls, TLS_TRUSTED, within_s);
    json_t *all = mgmt_listeners(m);
    bool any = json_array_size(own) + json_array_size(trusted) != 0;
    size_t index;
    json_t *item;
    json_array_foreach(all, index, item)
    {
        if (any && speaks_tls(item))
            json_array_append_new(out, ending_listener(mgmt_conf(m), item, own, trusted));
    }
    json_decref(all);
    json_decref(own);
    json_decref(trusted);
    return out;
}

static bool read_number(struct slice s, int64_t *out)
{
    bool is_negative = s.len > 1 && s.ptr[0] == '-';
    uint64_t n;
    if (!units_u64(is_negative ? slice_of(s.ptr + 1, s.len - 1) : s, &n))
        return false;
    *out = n < WITHIN_MOST ? (int64_t)n : WITHIN_MOST;
    if (is_negative)
        *out = -*out;
    return true;
}

static bool read_unit(struct slice s, int64_t *seconds)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = { { "days", DAY_S },
                  { "weeks", DAY_S * 7 },
                  { "months", DAY_S * 365 / 12 },
                  { "years", DAY_S * 365 } };
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (s.len == strlen(units[i].name) &&
            strncasecmp((const char *)s.ptr, units[i].name, s.len) == 0) {
            *seconds = units[i].seconds;
            return true;
        }
    }
    return false;
}

void mgmt_serve_certificates(struct mgmt_call *c)
{
    int64_t within, unit_s;
    if (!read_number(mgmt_arg(c, 0), &within)) {
        mgmt_bad_request(c, "Invalid expiration value.");
        return;
    }
    if (!read_unit(mgmt_arg(c, 1), &unit_s)) {
        mgmt_bad_request(c,
                         "Time unit not recognised. Supported units: days, weeks, months, years.");
        return;
    }
    json_t *listeners = ending_listeners(c->m, within * unit_s);
    if (json_array_size(listeners) == 0) {
        json_decref(listeners);
        mgmt_reply(c, 200, well());
        return;
    }
    json_t *o = ill("Certificates expiring");
    json_out_put(o, "expired", listeners);
    mgmt_reply(c, 503, o);
}
