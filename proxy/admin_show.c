#include "admin_show.h"

#include "base/mem.h"
#include "dial.h"
#include "io/host.h"

#include <string.h>
#include <unistd.h>

static void line(struct text *out, const char *name, uint64_t v)
{
    text_put(out, "%s: %llu\n", name, (unsigned long long)v);
}

static uint64_t max_rate(const struct view *v)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < v->snapshot->frontend_count; i++) {
        uint64_t rate = v->snapshot->frontends[i].live->traffic.rate.max;
        most = rate > most ? rate : most;
    }
    return most;
}

static uint64_t rate_now(const struct view *v)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < v->snapshot->frontend_count; i++)
        sum += v->snapshot->frontends[i].live->traffic.rate.now;
    return sum;
}

static unsigned door_count(const struct view *v)
{
    unsigned count = 0;
    for (unsigned i = 0; i < v->snapshot->frontend_count; i++)
        count += v->snapshot->frontends[i].conf->bind_count;
    return count;
}

#define LIMITS_SHOWN 10000u

void admin_show_limits(const struct view *v, struct text *out)
{
    unsigned left_out = 0;
    for (unsigned i = 0; i < v->snapshot->frontend_count; i++) {
        const struct frontend *f = &v->snapshot->frontends[i];
        left_out +=
            quota_show(f->live->quota, f->conf->name, LIMITS_SHOWN, loop_now_ms(v->loop), out);
    }
    if (left_out != 0)
        text_put(out, "and %u more\n", left_out);
}

void admin_show_info(const struct view *v, struct text *out)
{
    uint64_t up = (loop_now_ms(v->loop) - v->started_ms) / 1000;
    struct view_totals t = view_totals(v);
    char node[64];
    host_short_name(node, sizeof node);
    text_put(out, "Name: warren-proxy\nVersion: %s\nRelease_date: %s\n", WARREN_VERSION,
             WARREN_RELEASE_DATE);
    line(out, "Nbthread", v->worker_count);
    line(out, "Nbproc", 1);
    line(out, "Process_num", 1);
    line(out, "Pid", (uint64_t)getpid());
    text_put(out, "Uptime: %llud %lluh%02llum%02llus\n", (unsigned long long)(up / 86400),
             (unsigned long long)(up % 86400 / 3600), (unsigned long long)(up % 3600 / 60),
             (unsigned long long)(up % 60));
    line(out, "Uptime_sec", up);
    line(out, "Ulimit-n", (uint64_t)sysconf(_SC_OPEN_MAX));
    line(out, "Maxconn", v->process->conns_limit);
    line(out, "Hard_maxconn", v->process->conns_limit);
    line(out, "CurrConns", shared_get(&v->process->conns));
    line(out, "CumConns", shared_get(&v->process->conns_total));
    line(out, "CumReq", t.published);
    line(out, "Maxpipes", 0); /* they are each relay's own */
    line(out, "PipesUsed", 0);
    line(out, "PipesFree", 0);
    line(out, "MaxConns", shared_get(&v->process->conns_max));
    line(out, "ConnRate", rate_now(v));
    line(out, "MaxConnRate", max_rate(v));
    line(out, "SessRate", rate_now(v));
    line(out, "MaxSessRate", max_rate(v));
    line(out, "Tasks", t.clients + t.upstreams);
    line(out, "Run_queue", 0);
    text_put(out, "node: %s\n", node);
    line(out, "Stopping", shared_get(&v->process->draining));
    line(out, "Listeners", door_count(v));
    line(out, "Start_time_sec", v->started_wall_ms / 1000);
    line(out, "Channels", t.channels);
    line(out, "Upstreams", t.upstreams);
    line(out, "Published", t.published);
    line(out, "Delivered", t.delivered);
}

void admin_show_stat(const struct view *v, const struct stat_filter *filter, struct text *out)
{
    unsigned count;
    struct stat_row *rows = stat_rows(v->snapshot, loop_now_ms(v->loop), &count);
    stat_csv(rows, count, filter, out);
    mem_free(rows);
}

/* ---- show servers state, version 1 ------------------------------------------------------------
 */

static unsigned op_state(const struct server *s)
{
    if (shared_get(&s->live->up) == 0 || shared_get(&s->live->admin) == LIVE_ADMIN_MAINT)
        return 0; /* stopped */
    return 2;     /* running */
}

static unsigned admin_state(const struct server *s)
{
    switch ((enum live_admin)shared_get(&s->live->admin)) {
    case LIVE_ADMIN_READY:
        return 0;
    case LIVE_ADMIN_DRAIN:
        return 8;
    case LIVE_ADMIN_MAINT:
        return 1;
    }
    return 0;
}

static unsigned check_result(const struct server *s)
{
    enum live_check c = s->live->check;
    if (!s->conf->check || c <= LIVE_CHECK_INITIAL)
        return 0;
    return c == LIVE_CHECK_L4_OK || c == LIVE_CHECK_L7_OK ? 3 : 2;
}

static void put_server(const struct view *v, const struct stat_row *r, struct text *out)
{
    const struct server *s = r->server;
    struct sock_addr literal;
    char room[SOCK_ADDR_TEXT_MAX];
    const struct sock_addr *a = dial_address(s);
    bool by_name =
        s->conf->at.kind == CONF_ADDRESS_TCP && !sock_addr_ip(s->conf->at.host, 0, &literal);
    text_put(out,
             "%lld %s %lld %s %s %u %u %llu %llu %llu %u %u %u %u 0 0 0 %s %u - %d %llu - - 0\n",
             (long long)stat_number(r, STAT_IID), stat_text(r, STAT_PXNAME),
             (long long)stat_number(r, STAT_SID), s->conf->name,
             a != NULL ? sock_addr_host(a, room) : "-", op_state(s), admin_state(s),
             (unsigned long long)shared_get(&s->live->weight), (unsigned long long)s->conf->weight,
             (unsigned long long)((loop_now_ms(v->loop) - s->live->changed_ms) / 1000),
             live_check_number(s->live->check), check_result(s), s->live->health.score,
             s->conf->check ? 6u : 0u, by_name ? s->conf->at.host : "-", s->conf->at.port,
             s->tls != NULL, (unsigned long long)s->conf->check_port);
}

bool admin_show_servers(const struct view *v, const char *backend, struct text *out)
{
    if (backend[0] != '\0' && snapshot_backend(v->snapshot, backend) == NULL)
        return false;
    unsigned count;
    struct stat_row *rows = stat_rows(v->snapshot, loop_now_ms(v->loop), &count);
    text_str(out, "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state "
                  "srv_uweight srv_iweight srv_time_since_last_change srv_check_status "
                  "srv_check_result srv_check_health srv_check_state srv_agent_state "
                  "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl "
                  "srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n");
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].kind == STAT_SERVER &&
            (backend[0] == '\0' || strcmp(backend, stat_text(&rows[i], STAT_PXNAME)) == 0))
            put_server(v, &rows[i], out);
    }
    mem_free(rows);
    return true;
}
