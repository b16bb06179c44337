#include "base/check.h"
#include "stats/stats_text.h"

#include "expect.h"

#include <jansson.h>

enum { FRAMES, OPEN, WAIT, SIZES };

static const double sizes_le[] = { 0, 10, 1024 };

static const struct stats_family families[] = {
    { "frames_total", STATS_COUNTER, "Frames \\ of\nall kinds.", 0, NULL, 0 },
    { "open", STATS_GAUGE, "Open things.", 0, NULL, 0 },
    { "wait_seconds", STATS_HISTOGRAM, "Waiting.", 1e-9, NULL, 0 },
    { "size_bytes", STATS_HISTOGRAM, "Sizes.", 0, sizes_le, ARRAY_COUNT(sizes_le) },
};

static struct stats *stats;
static struct stats_set *set;
static struct stats_view *view;
static struct text out;

static void begin(void)
{
    stats = stats_new(families, ARRAY_COUNT(families), 42);
    set = stats_set_new(stats);
    text_init(&out, 1 << 20);
}

static void end(void)
{
    stats_view_free(&view);
    stats_set_free(&set);
    stats_free(&stats);
    text_fini(&out);
}

TestSuite(stats_text, .init = begin, .fini = end);

static void some_numbers(void)
{
    struct stats_label labels[] = { { "queue", slice_str("a\"b\\c,d\n") },
                                    { "vhost", slice_of("/\xFF", 2) } };
    stats_add(stats_cell_get(set, FRAMES, labels, 2), 7);
    stats_add(stats_cell_get(set, FRAMES, NULL, 0), 9);
    stats_dec(stats_cell_get(set, OPEN, NULL, 0));
    struct hist *h = stats_hist_get(set, SIZES, labels, 1);
    hist_record(h, 10);
    hist_record(h, 11);
    hist_record(h, 4096);
    view = stats_view_new(stats);
}

Test(stats_text, writes_prometheus)
{
    some_numbers();
    stats_text_prometheus(view, &out);
    expect_text(out.ptr,
                "# HELP frames_total Frames \\\\ of\\nall kinds.\n"
                "# TYPE frames_total counter\n"
                "frames_total 9\n"
                "frames_total{queue=\"a\\\"b\\\\c,d\xEF\xBF\xBD\",vhost=\"/\xEF\xBF\xBD\"} 7\n"
                "# HELP open Open things.\n"
                "# TYPE open gauge\n"
                "open -1\n"
                "# HELP size_bytes Sizes.\n"
                "# TYPE size_bytes histogram\n"
                "size_bytes_bucket{queue=\"a\\\"b\\\\c,d\xEF\xBF\xBD\",le=\"0\"} 0\n"
                "size_bytes_bucket{queue=\"a\\\"b\\\\c,d\xEF\xBF\xBD\",le=\"10\"} 1\n"
                "size_bytes_bucket{queue=\"a\\\"b\\\\c,d\xEF\xBF\xBD\",le=\"1024\"} 2\n"
                "size_bytes_bucket{queue=\"a\\\"b\\\\c,d\xEF\xBF\xBD\",le=\"+Inf\"} 3\n"
                "size_bytes_sum{queue=\"a\\\"b\\\\c,d\xEF\xBF\xBD\"} 4117\n"
                "size_bytes_count{queue=\"a\\\"b\\\\c,d\xEF\xBF\xBD\"} 3\n");
}

Test(stats_text, shows_times_in_seconds)
{
    struct hist *h = stats_hist_get(set, WAIT, NULL, 0);
    hist_record(h, 1);          /* 1 ns */
    hist_record(h, 1500000000); /* 1.5 s */
    view = stats_view_new(stats);
    stats_text_prometheus(view, &out);
    cr_expect(strstr(out.ptr, "wait_seconds_bucket{le=\"0.0001\"} 1\n") != NULL, "%s", out.ptr);
    cr_expect(strstr(out.ptr, "wait_seconds_bucket{le=\"1\"} 1\n") != NULL);
    cr_expect(strstr(out.ptr, "wait_seconds_bucket{le=\"2.5\"} 2\n") != NULL);
    cr_expect(strstr(out.ptr, "wait_seconds_bucket{le=\"10\"} 2\n") != NULL);
    cr_expect(strstr(out.ptr, "wait_seconds_sum 1.500000001\n") != NULL);
    cr_expect(strstr(out.ptr, "wait_seconds_count 2\n") != NULL);
}

Test(stats_text, writes_nothing_for_nothing)
{
    view = stats_view_new(stats);
    stats_text_prometheus(view, &out);
    expect_text(out.ptr, "");
    stats_text_json(view, &out);
    expect_text(out.ptr, "{}");
}

Test(stats_text, writes_json)
{
    some_numbers();
    stats_text_json(view, &out);
    json_error_t error;
    json_t *all = json_loads(out.ptr, 0, &error);
    cr_assert(all != NULL, "%s in %s", error.text, out.ptr);
    json_t *frames = json_object_get(all, "frames_total");
    expect_text(json_string_value(json_object_get(frames, "type")), "counter");
    expect_text(json_string_value(json_object_get(frames, "help")), "Frames \\ of\nall kinds.");
    json_t *series = json_object_get(frames, "series");
    cr_assert(eq(sz, json_array_size(series), 2));
    json_t *second = json_array_get(series, 1);
    cr_expect(eq(i64, json_integer_value(json_object_get(second, "value")), 7));
    json_t *labels = json_object_get(second, "labels");
    expect_text(json_string_value(json_object_get(labels, "vhost")), "/\xEF\xBF\xBD");

    json_t *sizes =
        json_array_get(json_object_get(json_object_get(all, "size_bytes"), "series"), 0);
    cr_expect(eq(i64, json_integer_value(json_object_get(sizes, "count")), 3));
    cr_expect(eq(i64, json_integer_value(json_object_get(sizes, "sum")), 4117));
    cr_expect(eq(i64, json_integer_value(json_object_get(sizes, "p50")), 11));
    cr_expect(eq(i64, json_integer_value(json_object_get(sizes, "max")), 4096));
    json_decref(all);
}

Test(stats_text, writes_csv)
{
    some_numbers();
    stats_text_csv(view, &out);
    const char *want =
        "name,labels,type,value\n"
        "frames_total,,counter,9\n"
        "frames_total,\"{queue=\"\"a\\\"\"b\\\\c,d\xEF\xBF\xBD\"\",vhost=\"\"/"
        "\xEF\xBF\xBD\"\"}\",counter,7\n"
        "open,,gauge,-1\n"
        "size_bytes_count,\"{queue=\"\"a\\\"\"b\\\\c,d\xEF\xBF\xBD\"\"}\",histogram,3\n";
    cr_expect(strncmp(out.ptr, want, strlen(want)) == 0, "%s", out.ptr);
}

Test(stats_text, quotes_csv_fields_only_where_needed)
{
    const char *const fields[][2] = {
        { "", "" },           { "plain text", "plain text" }, { "a,b", "\"a,b\"" },
        { "\"", "\"\"\"\"" }, { "a\nb", "\"a\nb\"" },         { "a\rb", "\"a\rb\"" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        text_clear(&out);
        stats_text_csv_field(&out, fields[i][0]);
        expect_text(out.ptr, fields[i][1]);
    }
}

/* A text with too little room says so, and is whole up to there. */
Test(stats_text, is_cut_where_it_does_not_fit)
{
    some_numbers();
    stats_text_prometheus(view, &out);
    for (size_t room = 1; room < out.len + 2; room++) {
        char small[2048];
        struct text t = text_over(small, room);
        stats_text_prometheus(view, &t);
        cr_expect(eq(int, t.cut, room <= out.len), "room %zu", room);
        cr_expect(strncmp(small, out.ptr, strlen(small)) == 0);
    }
}
