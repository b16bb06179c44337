#include "stat_failovers.h"

#include "failovers.h"
#include "io/clock.h"
#include "observer.h"

/* How long ago it began, in whole seconds. */
static uint64_t age_s(const struct failover *f)
{
    uint64_t now = clock_wall_ms();
    return now > f->wall_ms ? (now - f->wall_ms) / 1000 : 0;
}

static double pause_s(const struct view *v, const struct failover *f)
{
    return (double)failover_pause_ms(f, loop_now_ms(v->loop)) / 1000;
}

static const char *row_class(const struct failover *f)
{
    return f->state == FAILOVER_GOES_ON ? "going" : "up";
}

void stat_failovers_page(const struct view *v, struct text *out)
{
    const struct failovers *all = observer_failovers(v->observer);
    const struct failover *f;
    if (all == NULL)
        return;
    text_str(out, "<h2>Last failovers</h2>");
    if (all->count == 0) {
        text_str(out, "<p class=f>none since the start</p>");
        return;
    }
    text_str(out, "<div class=w><table id=failovers><tr><th>Node</th><th>Ago</th><th>Masters</th>"
                  "<th>Without one</th><th>Pause</th><th class=l>State</th></tr>\n");
    for (unsigned i = 0; (f = failovers_at(all, i)) != NULL; i++)
        text_put(out,
                 "<tr class=%s><td>%s (%u)</td><td>%llu s</td><td>%llu</td><td>%llu</td>"
                 "<td>%.2f s</td><td class=l>%s</td></tr>\n",
                 row_class(f), f->name, f->node, (unsigned long long)age_s(f),
                 (unsigned long long)f->queues, (unsigned long long)f->left, pause_s(v, f),
                 failover_state_word(f->state));
    text_str(out, "</table></div>");
}

void stat_failovers_metrics(const struct view *v, struct text *out)
{
    const struct failovers *all = observer_failovers(v->observer);
    const struct failover *last = all != NULL ? failovers_at(all, 0) : NULL;
    if (all == NULL)
        return;
    text_put(out,
             "# HELP warren_proxy_failovers_total How often a node went that mastered queues.\n"
             "# TYPE warren_proxy_failovers_total counter\n"
             "warren_proxy_failovers_total %llu\n",
             (unsigned long long)all->total);
    if (last != NULL)
        text_put(out,
                 "# HELP warren_proxy_last_failover_pause_seconds How long queues were without a "
                 "master in the last of them.\n"
                 "# TYPE warren_proxy_last_failover_pause_seconds gauge\n"
                 "warren_proxy_last_failover_pause_seconds %.3f\n",
                 pause_s(v, last));
}

void stat_failovers_show(const struct view *v, struct text *out)
{
    const struct failovers *all = observer_failovers(v->observer);
    const struct failover *f;
    if (all == NULL) {
        text_str(out, "No gossip: [global] gossip names no port.\n");
        return;
    }
    text_put(out, "failovers=%llu\n", (unsigned long long)all->total);
    for (unsigned i = 0; (f = failovers_at(all, i)) != NULL; i++)
        text_put(out,
                 "  node=%u name=%s ago=%llus queues=%llu left=%llu pause=%.3fs state=\"%s\"\n",
                 f->node, f->name[0] != '\0' ? f->name : "-", (unsigned long long)age_s(f),
                 (unsigned long long)f->queues, (unsigned long long)f->left, pause_s(v, f),
                 failover_state_word(f->state));
}
