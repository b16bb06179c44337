#include "stats/stats_text.h"

#include "base/check.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdlib.h>

/* Seconds, from a tenth of a millisecond on: what a local broker takes is of that order. */
static const double times_le[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                   0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10 };

static const struct {
    const char *name;
    double share;
} percentiles[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p999", 0.999 } };

static const char *type_name(enum stats_type type)
{
    switch (type) {
    case STATS_COUNTER:
        return "counter";
    case STATS_GAUGE:
        return "gauge";
    case STATS_HISTOGRAM:
        return "histogram";
    }
    UNREACHABLE("type of a metric");
}

static double unit_of(const struct stats_family *f)
{
    return f->unit != 0 ? f->unit : 1;
}

/* ---- Prometheus ---- */

/* Backslash and line feed, in label values also the quote: nothing else needs a mark. Control
 * characters never get here, see stats_view_label. */
static void put_marked(struct text *out, const char *s, bool in_quotes)
{
    for (; *s != '\0'; s++) {
        if (*s == '\\' || (*s == '"' && in_quotes))
            text_char(out, '\\');
        if (*s == '\n')
            text_str(out, "\\n");
        else
            text_char(out, *s);
    }
}

static void put_labels(struct text *out, const struct stats_sample *s, const char *le)
{
    const char *before = "{";
    for (size_t i = 0; i < s->label_count; i++) {
        text_put(out, "%s%s=\"", before, s->labels[i].name);
        put_marked(out, s->labels[i].value, true);
        text_char(out, '"');
        before = ",";
    }
    if (le != NULL)
        text_put(out, "%sle=\"%s\"", before, le);
    if (s->label_count != 0 || le != NULL)
        text_char(out, '}');
}

static void put_line(struct text *out, const struct stats_sample *s, const char *suffix,
                     const char *le, uint64_t value)
{
    text_put(out, "%s%s", s->family->name, suffix);
    put_labels(out, s, le);
    text_put(out, " %llu\n", (unsigned long long)value);
}

/* The number as recorded, or in the unit shown when that is another. */
static void put_value(struct text *out, const struct stats_family *f, int64_t value)
{
    if (unit_of(f) == 1)
        text_put(out, "%lld", (long long)value);
    else
        text_put(out, "%.12g", (double)value * unit_of(f));
}

static void put_buckets(struct text *out, const struct stats_sample *s)
{
    const struct stats_family *f = s->family;
    const double *le = f->le != NULL ? f->le : times_le;
    size_t count = f->le != NULL ? f->le_count : ARRAY_COUNT(times_le);
    for (size_t i = 0; i < count; i++) {
        char bound[32];
        snprintf(bound, sizeof bound, "%g", le[i]);
        /* Half a unit more, since the division may end just below a whole number. */
        put_line(out, s, "_bucket", bound,
                 hist_count_to(s->hist, (uint64_t)(le[i] / unit_of(f) + 0.5)));
    }
    put_line(out, s, "_bucket", "+Inf", hist_count(s->hist));
    text_put(out, "%s_sum", f->name);
    put_labels(out, s, NULL);
    text_char(out, ' ');
    put_value(out, f, (int64_t)hist_sum(s->hist));
    text_char(out, '\n');
    put_line(out, s, "_count", NULL, hist_count(s->hist));
}

void stats_text_prometheus(struct stats_view *v, struct text *out)
{
    const struct stats_family *last = NULL;
    for (size_t i = 0; i < stats_view_count(v); i++) {
        const struct stats_sample *s = stats_view_at(v, i);
        if (s->family != last) {
            text_put(out, "# HELP %s ", s->family->name);
            put_marked(out, s->family->help, false);
            text_put(out, "\n# TYPE %s %s\n", s->family->name, type_name(s->family->type));
        }
        last = s->family;
        if (s->hist != NULL) {
            put_buckets(out, s);
            continue;
        }
        text_str(out, s->family->name);
        put_labels(out, s, NULL);
        text_char(out, ' ');
        put_value(out, s->family, s->value);
        text_char(out, '\n');
    }
}

/* ---- numbers of a histogram, for JSON and CSV ---- */

typedef void (*number_fn)(void *arg, const char *name, uint64_t value);

static void each_number(const struct hist *h, number_fn fn, void *arg)
{
    fn(arg, "count", hist_count(h));
    fn(arg, "sum", hist_sum(h));
    fn(arg, "max", hist_max(h));
    for (size_t i = 0; i < ARRAY_COUNT(percentiles); i++)
        fn(arg, percentiles[i].name, hist_percentile(h, percentiles[i].share));
}

/* ---- JSON ---- */

static json_t *value_json(const struct stats_family *f, uint64_t value)
{
    return unit_of(f) == 1 ? json_integer((json_int_t)value)
                           : json_real((double)(int64_t)value * unit_of(f));
}

struct json_numbers {
    json_t *into;
    const struct stats_family *family;
};

static void set_json(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    CHECK(failed == 0); /* only memory can be short, or a text not UTF-8: it is, see stats.h */
}

static void on_json_number(void *arg, const char *name, uint64_t value)
{
    const struct json_numbers *n = arg;
    bool is_count = name[0] == 'c';
    set_json(n->into, name,
             is_count ? json_integer((json_int_t)value) : value_json(n->family, value));
}

static json_t *series_json(const struct stats_sample *s)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < s->label_count; i++)
        set_json(labels, s->labels[i].name, json_string(s->labels[i].value));
    json_t *series = json_object();
    set_json(series, "labels", labels);
    struct json_numbers numbers = { series, s->family };
    if (s->hist != NULL)
        each_number(s->hist, on_json_number, &numbers);
    else
        set_json(series, "value", value_json(s->family, (uint64_t)s->value));
    return series;
}

static int on_json_piece(const char *bytes, size_t len, void *arg)
{
    text_slice(arg, slice_of(bytes, len));
    return 0;
}

void stats_text_json(struct stats_view *v, struct text *out)
{
    json_t *all = json_object();
    for (size_t i = 0; i < stats_view_count(v); i++) {
        const struct stats_sample *s = stats_view_at(v, i);
        json_t *family = json_object_get(all, s->family->name);
        if (family == NULL) {
            family = json_object();
            set_json(family, "type", json_string(type_name(s->family->type)));
            set_json(family, "help", json_string(s->family->help));
            set_json(family, "series", json_array());
            set_json(all, s->family->name, family);
        }
        int failed = json_array_append_new(json_object_get(family, "series"), series_json(s));
        CHECK(failed == 0);
    }
    int failed =
        json_dump_callback(all, on_json_piece, out, JSON_COMPACT | JSON_REAL_PRECISION(12));
    CHECK(failed == 0);
    json_decref(all);
}

/* ---- CSV ---- */

void stats_text_csv_field(struct text *out, const char *field)
{
    if (strpbrk(field, ",\"\r\n") == NULL) {
        text_str(out, field);
        return;
    }
    text_char(out, '"');
    for (; *field != '\0'; field++) {
        if (*field == '"')
            text_char(out, '"');
        text_char(out, *field);
    }
    text_char(out, '"');
}

struct csv_numbers {
    struct text *out;
    const struct stats_sample *sample;
    struct text *labels;
};

static void put_row(const struct csv_numbers *n, const char *suffix, bool is_count, uint64_t value)
{
    text_put(n->out, "%s%s,", n->sample->family->name, suffix);
    stats_text_csv_field(n->out, n->labels->ptr);
    text_put(n->out, ",%s,", type_name(n->sample->family->type));
    if (is_count)
        text_put(n->out, "%llu", (unsigned long long)value);
    else
        put_value(n->out, n->sample->family, (int64_t)value);
    text_char(n->out, '\n');
}

static void on_csv_number(void *arg, const char *name, uint64_t value)
{
    char suffix[16];
    snprintf(suffix, sizeof suffix, "_%s", name);
    put_row(arg, suffix, name[0] == 'c', value);
}

void stats_text_csv(struct stats_view *v, struct text *out)
{
    struct text labels;
    text_init(&labels, 16384);
    text_str(out, "name,labels,type,value\n");
    for (size_t i = 0; i < stats_view_count(v); i++) {
        struct csv_numbers n = { out, stats_view_at(v, i), &labels };
        text_clear(&labels);
        put_labels(&labels, n.sample, NULL);
        if (n.sample->hist != NULL)
            each_number(n.sample->hist, on_csv_number, &n);
        else
            put_row(&n, "", false, (uint64_t)n.sample->value);
    }
    text_fini(&labels);
}
