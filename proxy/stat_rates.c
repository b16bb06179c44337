#include "stat_rates.h"

#include <string.h>

static const struct live_traffic *traffic_of(const struct view *v, const struct stat_row *r)
{
    switch (r->kind) {
    case STAT_SERVER:
        return &r->server->live->traffic;
    case STAT_BACKEND:
        return &r->backend->live->traffic;
    case STAT_FRONTEND:
        break;
    }
    for (unsigned i = 0; i < v->snapshot->frontend_count; i++) {
        const struct frontend *f = &v->snapshot->frontends[i];
        if (strcmp(f->conf->name, stat_text(r, STAT_PXNAME)) == 0)
            return &f->live->traffic;
    }
    return NULL;
}

static void put_row(struct text *out, const struct stat_row *r, const struct live_traffic *t)
{
    text_put(out, "<tr class=%s><td>%s</td><td class=l>%s</td><td>",
             r->kind == STAT_SERVER ? "" : "sum", stat_text(r, STAT_PXNAME),
             stat_text(r, STAT_SVNAME));
    text_put(out, "%.1f</td><td>%.1f</td><td>%llu</td></tr>\n", (double)t->in_rate.now / 1024,
             (double)t->out_rate.now / 1024, (unsigned long long)t->rate.now);
}

void stat_rates_page(const struct stat_row *rows, unsigned count, const struct view *v,
                     struct text *out)
{
    text_put(out,
             "<h2>Rates</h2><p class=f>%llu messages published and %llu delivered in the last "
             "second</p><div class=w><table><tr><th>Proxy</th><th class=l></th><th>kB/s in</th>"
             "<th>kB/s out</th><th>New/s</th></tr>\n",
             (unsigned long long)v->published.now, (unsigned long long)v->delivered.now);
    for (unsigned i = 0; i < count; i++) {
        const struct live_traffic *t = traffic_of(v, &rows[i]);
        if (t != NULL)
            put_row(out, &rows[i], t);
    }
    text_str(out, "</table></div>");
}
