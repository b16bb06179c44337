#include "stat_metrics.h"

#include "base/check.h"
#include "observer.h"
#include "rabbits.h"
#include "stat_failovers.h"
#include "stat_masters.h"

#include <string.h>

enum { IN_FRONTEND = 1, IN_BACKEND = 2, IN_SERVER = 4, IN_ALL = 7, IN_BACK = 6 };

/* X(name behind haproxy_KIND_, type, column, which kinds have it, divisor, what it is) */
#define METRICS(X)                                                                                 \
    X("current_sessions", "gauge", SCUR, IN_ALL, 1, "Sessions now")                                \
    X("max_sessions", "gauge", SMAX, IN_ALL, 1, "Most sessions there were at a time")              \
    X("limit_sessions", "gauge", SLIM, IN_ALL, 1, "Sessions allowed at a time, 0 for no limit")    \
    X("sessions_total", "counter", STOT, IN_ALL, 1, "Sessions so far")                             \
    X("bytes_in_total", "counter", BIN, IN_ALL, 1, "Octets from clients")                          \
    X("bytes_out_total", "counter", BOUT, IN_ALL, 1, "Octets to clients")                          \
    X("current_queue", "gauge", QCUR, IN_BACK, 1, "Clients that wait for a server")                \
    X("max_queue", "gauge", QMAX, IN_BACK, 1, "Most clients that waited at a time")                \
    X("requests_denied_total", "counter", DREQ, IN_FRONTEND | IN_BACKEND, 1,                       \
      "Clients that were refused")                                                                 \
    X("responses_denied_total", "counter", DRESP, IN_ALL, 1, "Answers that were refused: none")    \
    X("request_errors_total", "counter", EREQ, IN_FRONTEND, 1,                                     \
      "Clients that broke the protocol or took too long to come in")                               \
    X("denied_connections_total", "counter", DCON, IN_FRONTEND, 1,                                 \
      "Connections closed at the door for want of room")                                           \
    X("denied_sessions_total", "counter", DSES, IN_FRONTEND, 1, "Sessions refused by rules: none") \
    X("connections_total", "counter", CONN_TOT, IN_FRONTEND, 1, "Connections accepted")            \
    X("connections_rate_max", "gauge", CONN_RATE_MAX, IN_FRONTEND, 1,                              \
      "Most connections accepted in a second")                                                     \
    X("limit_session_rate", "gauge", RATE_LIM, IN_FRONTEND, 1, "Sessions allowed in a second")     \
    X("max_session_rate", "gauge", RATE_MAX, IN_ALL, 1, "Most sessions begun in a second")         \
    X("internal_errors_total", "counter", EINT, IN_ALL, 1, "Errors of our own: none")              \
    X("connection_errors_total", "counter", ECON, IN_BACK, 1, "Connections that were not made")    \
    X("response_errors_total", "counter", ERESP, IN_BACK, 1, "Handshakes that servers broke off")  \
    X("retry_warnings_total", "counter", WRETR, IN_BACK, 1, "Second tries at the same server")     \
    X("redispatch_warnings_total", "counter", WREDIS, IN_BACK, 1,                                  \
      "Tries at another server because one failed")                                                \
    X("weight", "gauge", WEIGHT, IN_BACK, 1, "Weight in force; of a backend, the sum")             \
    X("uweight", "gauge", UWEIGHT, IN_BACK, 1, "Weight as set; of a backend, the sum")             \
    X("active_servers", "gauge", ACT, IN_BACKEND, 1, "Servers that take new sessions")             \
    X("backup_servers", "gauge", BCK, IN_BACKEND, 1, "Backup servers that could")                  \
    X("check_failures_total", "counter", CHKFAIL, IN_SERVER, 1, "Checks failed while it was up")   \
    X("check_up_down_total", "counter", CHKDOWN, IN_BACK, 1, "How often it went down")             \
    X("check_last_change_seconds", "gauge", LASTCHG, IN_BACK, 1, "Since it last went up or down")  \
    X("downtime_seconds_total", "counter", DOWNTIME, IN_BACK, 1, "Time it was down, in all")       \
    X("current_throttle", "gauge", THROTTLE, IN_SERVER, 1,                                         \
      "Percent of its weight in a slow start")                                                     \
    X("loadbalanced_total", "counter", LBTOT, IN_BACK, 1, "How often balancing chose it")          \
    X("check_duration_seconds", "gauge", CHECK_DURATION, IN_SERVER, 1000, "Of the last check")     \
    X("client_aborts_total", "counter", CLI_ABRT, IN_BACK, 1, "Clients gone without a goodbye")    \
    X("server_aborts_total", "counter", SRV_ABRT, IN_BACK, 1, "Servers gone without a goodbye")    \
    X("last_session_seconds", "gauge", LASTSESS, IN_BACK, 1, "Since the last session; -1: never")  \
    X("connect_time_average_seconds", "gauge", CTIME, IN_BACK, 1000,                               \
      "Of the last connection made")                                                               \
    X("connection_attempts_total", "counter", CONNECT, IN_BACK, 1, "Connections tried")            \
    X("connection_reuses_total", "counter", REUSE, IN_BACK, 1,                                     \
      "Connections used again for another client: none, ever")                                     \
    X("used_connections_current", "gauge", USED_CONN_CUR, IN_SERVER, 1, "Connections in use")      \
    X("idle_connections_current", "gauge", SRV_ICUR, IN_SERVER, 1, "Connections kept idle: none")

struct metric {
    const char *name;
    const char *type;
    enum stat_column column;
    unsigned kinds;
    unsigned divisor;
    const char *help;
};

static const struct metric metrics[] = {
#define X(name, type, column, kinds, divisor, help)                                                \
    { name, type, STAT_##column, kinds, divisor, help },
    METRICS(X)
#undef X
};

static const char *kind_word(enum stat_kind kind)
{
    return kind == STAT_FRONTEND ? "frontend" : kind == STAT_BACKEND ? "backend" : "server";
}

static unsigned kind_bit(enum stat_kind kind)
{
    return kind == STAT_FRONTEND ? IN_FRONTEND : kind == STAT_BACKEND ? IN_BACKEND : IN_SERVER;
}

static void put_head(struct text *out, const char *kind, const char *name, const char *type,
                     const char *help)
{
    text_put(out, "# HELP haproxy_%s_%s %s.\n# TYPE haproxy_%s_%s %s\n", kind, name, help, kind,
             name, type);
}

/* Names consist of letters, digits and -_.: alone, so nothing in a label needs a backslash. */
static void put_labels(struct text *out, const struct stat_row *r)
{
    text_put(out, "proxy=\"%s\"", stat_text(r, STAT_PXNAME));
    if (r->kind == STAT_SERVER)
        text_put(out, ",server=\"%s\"", stat_text(r, STAT_SVNAME));
}

static void put_metric(struct text *out, const struct stat_row *rows, unsigned count,
                       enum stat_kind kind, const struct metric *m)
{
    put_head(out, kind_word(kind), m->name, m->type, m->help);
    for (unsigned i = 0; i < count; i++) {
        const struct stat_row *r = &rows[i];
        if (r->kind != kind || r->values[m->column].is != STAT_NUMBER)
            continue;
        text_put(out, "haproxy_%s_%s{", kind_word(kind), m->name);
        put_labels(out, r);
        if (m->divisor == 1)
            text_put(out, "} %lld\n", (long long)r->values[m->column].number);
        else
            text_put(out, "} %.6f\n", (double)r->values[m->column].number / m->divisor);
    }
}

/* ---- states: one series for each, of which one is 1 ------------------------------------------ */

static void put_states(struct text *out, const struct stat_row *r, const char *name,
                       const char *const *states, size_t count, const char *now)
{
    for (size_t i = 0; i < count; i++) {
        text_put(out, "haproxy_%s_%s{", kind_word(r->kind), name);
        put_labels(out, r);
        text_put(out, ",state=\"%s\"} %d\n", states[i], strcmp(states[i], now) == 0);
    }
}

static const char *status_word(const struct stat_row *r)
{
    const char *status = stat_text(r, STAT_STATUS);
    if (strncmp(status, "DOWN", 4) == 0 || strncmp(status, "MAINT", 5) == 0 ||
        strncmp(status, "DRAIN", 5) == 0)
        return status[0] == 'M' ? "MAINT" : status[1] == 'R' ? "DRAIN" : "DOWN";
    return "UP";
}

static void put_status(struct text *out, const struct stat_row *rows, unsigned count,
                       enum stat_kind kind)
{
    static const char *const states[] = { "DOWN", "UP", "MAINT", "DRAIN", "NOLB" };
    put_head(out, kind_word(kind), "status", "gauge", "The state it is in is 1, the others are 0");
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].kind == kind)
            put_states(out, &rows[i], "status", states,
                       kind == STAT_SERVER ? ARRAY_COUNT(states) : 2, status_word(&rows[i]));
    }
}

static void put_check_status(struct text *out, const struct stat_row *rows, unsigned count)
{
    static const char *const states[] = { "SOCKERR", "L4OK",   "L4TOUT", "L4CON",
                                          "L6RSP",   "L7TOUT", "L7RSP",  "L7OK" };
    put_head(out, "server", "check_status", "gauge", "How the last check ended is 1");
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].kind == STAT_SERVER && rows[i].values[STAT_CHECK_STATUS].is == STAT_TEXT)
            put_states(out, &rows[i], "check_status", states, ARRAY_COUNT(states),
                       stat_text(&rows[i], STAT_CHECK_STATUS));
    }
}

/* ---- the process ----------------------------------------------------------------------------- */

static void put_number(struct text *out, const char *name, const char *type, uint64_t v,
                       const char *help)
{
    text_put(out, "# HELP %s %s.\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
             (unsigned long long)v);
}

static void put_process(struct text *out, const struct view *v)
{
    put_number(out, "haproxy_process_nbthread", "gauge", v->worker_count,
               "Threads that carry sessions");
    put_number(out, "haproxy_process_uptime_seconds", "gauge",
               (loop_now_ms(v->loop) - v->started_ms) / 1000, "Since the start");
    put_number(out, "haproxy_process_max_connections", "gauge", v->process->conns_limit,
               "Clients allowed at a time");
    put_number(out, "haproxy_process_current_connections", "gauge", shared_get(&v->process->conns),
               "Clients now");
    put_number(out, "haproxy_process_connections_total", "counter",
               shared_get(&v->process->conns_total), "Clients so far");
    put_number(out, "haproxy_process_stopping", "gauge", shared_get(&v->process->draining),
               "1 while it drains");
    text_put(out,
             "# HELP haproxy_process_build_info The version that runs.\n"
             "# TYPE haproxy_process_build_info gauge\n"
             "haproxy_process_build_info{version=\"warren-%s\"} 1\n",
             WARREN_VERSION);
}

static void put_warren(struct text *out, const struct view *v)
{
    struct view_totals t = view_totals(v);
    put_number(out, "warren_proxy_sessions", "gauge", t.clients, "Clients now");
    put_number(out, "warren_proxy_channels", "gauge", t.channels, "Channels of clients now");
    put_number(out, "warren_proxy_upstreams", "gauge", t.upstreams, "Connections to brokers now");
    put_number(out, "warren_proxy_published_total", "counter", t.published,
               "Messages that clients published");
    put_number(out, "warren_proxy_delivered_total", "counter", t.delivered,
               "Messages that brokers delivered");
    text_str(out,
             "# HELP warren_proxy_operations_total Publishes, gets and consumes, by their way to "
             "the queue's master.\n"
             "# TYPE warren_proxy_operations_total counter\n");
    for (unsigned way = 0; way < PLACE_WAY_COUNT; way++)
        text_put(out, "warren_proxy_operations_total{way=\"%s\"} %llu\n",
                 place_way_word((enum place_way)way), (unsigned long long)t.ways[way]);
    text_put(out,
             "# HELP warren_proxy_failovers_total Channels whose broker went: those that went on "
             "at another one, and those that ended.\n"
             "# TYPE warren_proxy_failovers_total counter\n"
             "warren_proxy_failovers_total{channels=\"kept\"} %llu\n"
             "warren_proxy_failovers_total{channels=\"ended\"} %llu\n",
             (unsigned long long)t.channels_kept, (unsigned long long)t.channels_ended);
    put_number(out, "warren_proxy_consumers_moved_total", "counter", t.consumers_moved,
               "Consumers that went after the master of their queue when it was moved");
    put_number(out, "warren_proxy_vacated_total", "counter", t.vacated,
               "Connections to brokers that were left because these are drained");
}

static void put_legs(struct text *out, const struct stat_row *rows, unsigned count)
{
    text_str(out, "# HELP warren_proxy_legs Channels that a server carries now.\n"
                  "# TYPE warren_proxy_legs gauge\n");
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].kind != STAT_SERVER)
            continue;
        text_str(out, "warren_proxy_legs{");
        put_labels(out, &rows[i]);
        text_put(out, "} %llu\n", (unsigned long long)shared_get(&rows[i].server->live->legs));
    }
    text_str(out, "# HELP warren_proxy_logins_refused_total Logins that brokers refused.\n"
                  "# TYPE warren_proxy_logins_refused_total counter\n");
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].kind == STAT_BACKEND)
            text_put(out, "warren_proxy_logins_refused_total{proxy=\"%s\"} %llu\n",
                     stat_text(&rows[i], STAT_PXNAME),
                     (unsigned long long)shared_get(&rows[i].backend->live->denied));
    }
}

static void put_limit(struct text *out, const struct frontend *f, enum quota_kind kind,
                      enum quota_matter matter, const char *action, uint64_t n)
{
    text_put(out,
             "warren_proxy_limits_total{proxy=\"%s\",of=\"%s\",what=\"%s\",action=\"%s\"} %llu\n",
             f->conf->name, quota_kind_word(kind), quota_matter_word(matter), action,
             (unsigned long long)n);
}

static void put_limits_of(struct text *out, const struct frontend *f, enum quota_kind kind)
{
    const struct quota *q = f->live->quota;
    for (unsigned i = 0; i < QUOTA_MATTER_COUNT && f->conf->has_limit[kind]; i++) {
        enum quota_matter m = (enum quota_matter)i;
        bool slows = m == QUOTA_MESSAGES || m == QUOTA_BYTES;
        put_limit(out, f, kind, m, slows ? "slowed" : "refused", quota_refused(q, kind, m));
        put_limit(out, f, kind, m, "alarm", quota_alarmed(q, kind, m));
    }
}

static void put_limits(struct text *out, const struct view *v)
{
    text_str(out, "# HELP warren_proxy_limits_total How often a limit of a frontend was met, and "
                  "what came of it.\n"
                  "# TYPE warren_proxy_limits_total counter\n");
    for (unsigned i = 0; i < v->snapshot->frontend_count; i++) {
        for (unsigned kind = 0; kind < QUOTA_KIND_COUNT; kind++)
            put_limits_of(out, &v->snapshot->frontends[i], (enum quota_kind)kind);
    }
}

void stat_metrics(const struct stat_row *rows, unsigned count, const struct view *v,
                  struct text *out)
{
    static const enum stat_kind kinds[] = { STAT_FRONTEND, STAT_BACKEND, STAT_SERVER };
    put_process(out, v);
    for (unsigned k = 0; k < ARRAY_COUNT(kinds); k++) {
        for (unsigned m = 0; m < ARRAY_COUNT(metrics); m++) {
            if ((metrics[m].kinds & kind_bit(kinds[k])) != 0)
                put_metric(out, rows, count, kinds[k], &metrics[m]);
        }
        put_status(out, rows, count, kinds[k]);
    }
    put_check_status(out, rows, count);
    put_warren(out, v);
    put_legs(out, rows, count);
    put_limits(out, v);
    stat_masters_metrics(v, out);
    stat_failovers_metrics(v, out);
    observer_metrics(v->observer, out);
    rabbits_metrics(v->rabbits, out);
}
