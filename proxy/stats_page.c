#include "stats_page.h"

#include "page_parts.h"
#include "rabbits.h"
#include "stat_failovers.h"
#include "stat_masters.h"
#include "stat_rates.h"

#include <string.h>

/* ---- words ----------------------------------------------------------------------------------- */

static void put_bytes(struct text *out, uint64_t n)
{
    static const char units[] = " kMGTP";
    double v = (double)n;
    unsigned u = 0;
    while (v >= 1024 && u + 2 < sizeof units) {
        v /= 1024;
        u++;
    }
    text_put(out, u == 0 ? "%.0f%c" : "%.1f%c", v, units[u]);
}

/* "3d4h", "5m12s": two parts are enough. */
static void put_time(struct text *out, uint64_t s)
{
    if (s >= 86400)
        text_put(out, "%llud%lluh", (unsigned long long)(s / 86400),
                 (unsigned long long)(s % 86400 / 3600));
    else if (s >= 3600)
        text_put(out, "%lluh%llum", (unsigned long long)(s / 3600),
                 (unsigned long long)(s % 3600 / 60));
    else if (s >= 60)
        text_put(out, "%llum%llus", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
    else
        text_put(out, "%llus", (unsigned long long)s);
}

/* ---- cells ----------------------------------------------------------------------------------- */

static void cell_number(struct text *out, const struct stat_row *r, enum stat_column c)
{
    if (r->values[c].is == STAT_NUMBER)
        text_put(out, "<td>%lld</td>", (long long)r->values[c].number);
    else
        text_str(out, "<td></td>");
}

static void cell_bytes(struct text *out, const struct stat_row *r, enum stat_column c)
{
    text_str(out, "<td>");
    put_bytes(out, (uint64_t)stat_number(r, c));
    text_str(out, "</td>");
}

static void cell_time(struct text *out, const struct stat_row *r, enum stat_column c)
{
    text_str(out, "<td>");
    if (r->values[c].is == STAT_NUMBER)
        put_time(out, (uint64_t)r->values[c].number);
    text_str(out, "</td>");
}

static const char *row_class(const struct stat_row *r)
{
    const char *status = stat_text(r, STAT_STATUS);
    if (r->kind != STAT_SERVER)
        return "sum";
    if (strncmp(status, "MAINT", 5) == 0)
        return "maint";
    if (strncmp(status, "DRAIN", 5) == 0)
        return "drain";
    if (strncmp(status, "DOWN", 4) == 0)
        return strchr(status, '/') != NULL ? "going" : "down";
    return strchr(status, '/') != NULL ? "going" : "up";
}

/* The last check: "L7OK in 1 ms", or why it failed. */
static void cell_check(struct text *out, const struct stat_row *r)
{
    text_str(out, "<td class=l>");
    if (r->values[STAT_CHECK_STATUS].is == STAT_TEXT) {
        text_str(out, stat_text(r, STAT_CHECK_STATUS));
        if (r->values[STAT_CHECK_DURATION].is == STAT_NUMBER)
            text_put(out, " in %lld ms", (long long)stat_number(r, STAT_CHECK_DURATION));
        if (stat_text(r, STAT_LAST_CHK)[0] != '\0') {
            text_str(out, ": ");
            page_text(out, slice_str(stat_text(r, STAT_LAST_CHK)));
        }
    }
    text_str(out, "</td>");
}

static void put_row(struct text *out, const struct stat_row *r)
{
    static const enum stat_column first[] = { STAT_QCUR, STAT_QMAX, STAT_RATE, STAT_RATE_MAX,
                                              STAT_SCUR, STAT_SMAX, STAT_SLIM, STAT_STOT };
    static const enum stat_column second[] = { STAT_EREQ, STAT_ECON, STAT_ERESP, STAT_WREDIS };
    static const enum stat_column third[] = { STAT_WEIGHT, STAT_ACT, STAT_BCK, STAT_CHKFAIL,
                                              STAT_CHKDOWN };
    text_put(out, "<tr class=%s><td>%s</td>", row_class(r), stat_text(r, STAT_SVNAME));
    for (unsigned i = 0; i < ARRAY_COUNT(first); i++)
        cell_number(out, r, first[i]);
    if (r->kind == STAT_SERVER)
        text_put(out, "<td>%llu</td>", (unsigned long long)shared_get(&r->server->live->legs));
    else
        text_str(out, "<td></td>");
    cell_bytes(out, r, STAT_BIN);
    cell_bytes(out, r, STAT_BOUT);
    for (unsigned i = 0; i < ARRAY_COUNT(second); i++)
        cell_number(out, r, second[i]);
    text_put(out, "<td class=l>%s</td>", stat_text(r, STAT_STATUS));
    cell_check(out, r);
    for (unsigned i = 0; i < ARRAY_COUNT(third); i++)
        cell_number(out, r, third[i]);
    cell_time(out, r, STAT_LASTCHG);
    cell_time(out, r, STAT_DOWNTIME);
    text_str(out, "</tr>\n");
}

static const char heading[] =
    "<div class=w><table><tr><th></th><th>Queue</th><th>Max</th><th>Rate</th><th>Max</th>"
    "<th>Sessions</th><th>Max</th><th>Limit</th><th>Total</th><th>Legs</th><th>In</th><th>Out</th>"
    "<th>Req err</th><th>Conn err</th><th>Resp err</th><th>Redis</th><th class=l>Status</th>"
    "<th class=l>Last check</th><th>Weight</th><th>Act</th><th>Bck</th><th>Chk</th><th>Dwn</th>"
    "<th>Since</th><th>Down for</th></tr>\n";

/* ---- the page -------------------------------------------------------------------------------- */

static void put_top(struct text *out, const struct view *v, uint64_t refresh_s)
{
    struct view_totals t = view_totals(v);
    page_begin(out, "warren-proxy", refresh_s);
    text_put(out, "<h1>warren-proxy %s</h1><p class=f>up ", WARREN_VERSION);
    put_time(out, (loop_now_ms(v->loop) - v->started_ms) / 1000);
    text_put(out,
             ", %u threads, %llu of %llu clients, %llu channels, %llu connections to brokers, %llu "
             "messages published, %llu delivered%s</p>\n",
             v->worker_count, (unsigned long long)shared_get(&v->process->conns),
             (unsigned long long)v->process->conns_limit, (unsigned long long)t.channels,
             (unsigned long long)t.upstreams, (unsigned long long)t.published,
             (unsigned long long)t.delivered,
             shared_get(&v->process->draining) != 0 ? ", <b>draining</b>" : "");
}

static void put_sessions(struct text *out, const struct text *sessions, unsigned left_out)
{
    text_str(out, "<h2>Sessions</h2><div class=w><table><tr><th>Id</th><th class=l>Client</th>"
                  "<th class=l>User @ vhost</th><th class=l>Frontend</th><th>Channels</th>"
                  "<th class=l>Legs</th><th>Age</th></tr>\n");
    text_slice(out, text_view(sessions));
    text_str(out, "</table></div>");
    if (left_out != 0)
        text_put(out, "<p class=f>and %u more</p>", left_out);
}

static void put_queues_link(struct text *out, const struct view *v, const char *uri)
{
    if (v->observer == NULL)
        return;
    text_str(out, "<p class=f><a href=\"");
    page_text(out, slice_str(uri));
    text_str(out, ";queues\">all queues</a></p>\n");
}

void stats_page(const struct stat_row *rows, unsigned count, const struct view *v,
                const struct text *sessions, unsigned left_out, uint64_t refresh_s, const char *uri,
                struct text *out)
{
    const char *proxy = "";
    put_top(out, v, refresh_s);
    for (unsigned i = 0; i < count; i++) {
        const char *name = stat_text(&rows[i], STAT_PXNAME);
        if (strcmp(name, proxy) != 0) {
            text_put(out, "%s<h2>%s</h2>%s", i != 0 ? "</table></div>" : "", name, heading);
            proxy = name;
        }
        put_row(out, &rows[i]);
    }
    text_str(out, "</table></div>");
    stat_rates_page(rows, count, v, out);
    stat_masters_page(v, out);
    put_queues_link(out, v, uri);
    rabbits_page(v->rabbits, out);
    stat_failovers_page(v, out);
    put_sessions(out, sessions, left_out);
    text_str(out, "<p class=f><a href=\"?\">now</a></p>");
    page_end(out);
}
