#include "bench_report.h"

#include "base/check.h"
#include "base/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define INTERVALS_MAX 100000u /* kept for --json: more than a day of seconds */

struct bench_report {
    const struct bench_options *o;
    json_t *root;
    json_t *intervals;
};

struct bench_report *bench_report_new(const struct bench_options *o)
{
    struct bench_report *r = mem_zalloc(sizeof *r);
    r->o = o;
    r->root = json_object();
    r->intervals = json_array();
    return r;
}

void bench_report_free(struct bench_report **report)
{
    struct bench_report *r = *report;
    json_decref(r->root);
    json_decref(r->intervals);
    mem_free(r);
    *report = NULL;
}

/* ---- small helpers ------------------------------------------------------------------------------
 */

static double per(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

static double per_cpu(uint64_t count, uint64_t cpu_us)
{
    return per(count, (double)cpu_us / 1e6);
}

/* With separators: 1,234,567. */
static const char *grouped(uint64_t n, char room[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    struct text t = text_over(room, 32);
    for (int i = 0; i < len; i++) {
        if (i != 0 && (len - i) % 3 == 0)
            text_char(&t, ',');
        text_char(&t, digits[i]);
    }
    return room;
}

static uint64_t rounded(double v)
{
    return (uint64_t)(v + 0.5);
}

static void put(json_t *to, const char *name, json_t *value)
{
    CHECK(json_object_set_new(to, name, value) == 0);
}

static void put_count(json_t *to, const char *name, uint64_t n)
{
    put(to, name, json_integer((json_int_t)n));
}

static void put_real(json_t *to, const char *name, double v)
{
    put(to, name, json_real(v));
}

static void finish_json(struct bench_report *r)
{
    put(r->root, "version", json_string(WARREN_VERSION));
    (void)json_dumpf(r->root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    (void)putchar('\n');
}

static const struct {
    const char *name;
    double share;
} percentiles[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 } };

static void put_timing(json_t *to, const char *name, const struct hist *h)
{
    uint64_t count = hist_count(h);
    if (count == 0)
        return;
    json_t *t = json_object();
    put_count(t, "count", count);
    put_real(t, "mean_ms", (double)hist_sum(h) / (double)count / 1e3);
    for (size_t i = 0; i < ARRAY_COUNT(percentiles); i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%s_ms", percentiles[i].name);
        put_real(t, key, (double)hist_percentile(h, percentiles[i].share) / 1e3);
    }
    put_real(t, "max_ms", (double)hist_max(h) / 1e3);
    put(to, name, t);
}

static void print_timing(const char *name, const struct hist *h)
{
    if (hist_count(h) == 0)
        return;
    (void)printf("%-22s", name);
    for (size_t i = 0; i < ARRAY_COUNT(percentiles); i++)
        (void)printf(" %s %.3f", percentiles[i].name,
                     (double)hist_percentile(h, percentiles[i].share) / 1e3);
    (void)printf(" max %.3f ms\n", (double)hist_max(h) / 1e3);
}

/* ---- run: the course ----------------------------------------------------------------------------
 */

void bench_report_interval(const struct bench_interval *i, const struct bench_plan *plan,
                           void *report)
{
    struct bench_report *r = report;
    if (r->o->json && json_array_size(r->intervals) < INTERVALS_MAX) {
        json_t *line = json_object();
        put_real(line, "at_s", i->at_s);
        put_real(line, "published_per_s", per(i->published, i->seconds));
        put_real(line, "confirmed_per_s", per(i->confirmed, i->seconds));
        put_real(line, "received_per_s", per(i->received, i->seconds));
        put_real(line, "server_cores", per(i->server_cpu_us, i->seconds * 1e6));
        CHECK(json_array_append_new(r->intervals, line) == 0);
    }
    if (r->o->json || r->o->quiet)
        return;
    char room[3][32];
    (void)printf("%6.1f s", i->at_s);
    if (plan->options->publishers != 0)
        (void)printf("  published %12s/s",
                     grouped(rounded(per(i->published, i->seconds)), room[0]));
    if (plan->options->confirm != 0)
        (void)printf("  confirmed %12s/s",
                     grouped(rounded(per(i->confirmed, i->seconds)), room[1]));
    if (plan->options->consumers != 0)
        (void)printf("  received %12s/s", grouped(rounded(per(i->received, i->seconds)), room[2]));
    if (plan->options->pids_count != 0)
        (void)printf("  server %4.2f cores", per(i->server_cpu_us, i->seconds * 1e6));
    (void)putchar('\n');
    (void)fflush(stdout);
}

/* ---- run: the result ----------------------------------------------------------------------------
 */

/* What went through the server: what came out, when somebody received. A queue that only grows is
 * no achievement. */
static uint64_t moved(const struct bench_plan *plan, const struct bench_result *b)
{
    return plan->options->consumers != 0 ? b->measured.deliveries.received : b->measured.published;
}

static const char *const timing_names[BENCH_TIMINGS][2] = {
    [BENCH_LATENCY] = { "latency", "latency" },
    [BENCH_LATENCY_DUE] = { "latency from due time", "latency_from_due" },
    [BENCH_CONFIRM] = { "confirm", "confirm" },
    [BENCH_CONFIRM_DUE] = { "confirm from due time", "confirm_from_due" },
};

static const struct {
    uint32_t bit;
    const char *name;
} fault_names[] = {
    { BENCH_LOST, "lost" },           { BENCH_DUPLICATED, "duplicated" },
    { BENCH_REORDERED, "reordered" }, { BENCH_ACKED_AGAIN, "acked-again" },
    { BENCH_CORRUPT, "corrupt" },
};

static void json_verdict(struct bench_report *r, const struct bench_result *b)
{
    uint32_t faults = bench_result_faults(b, r->o);
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(fault_names); i++)
        if ((faults & fault_names[i].bit) != 0)
            CHECK(json_array_append_new(list, json_string(fault_names[i].name)) == 0);
    put(r->root, "ok", json_boolean(faults == 0));
    put(r->root, "faults", list);
}

static void json_run(struct bench_report *r, const struct bench_plan *plan,
                     const struct bench_result *b)
{
    const struct bench_figures *m = &b->measured, *t = &b->total;
    const struct bench_counts *c = &t->deliveries;
    put(r->root, "mode", json_string(r->o->is_verify ? "verify" : "run"));
    put_count(r->root, "run", plan->run);
    put_real(r->root, "seconds", b->publish_s);
    put_real(r->root, "published_per_s", per(m->published, b->publish_s));
    put_real(r->root, "confirmed_per_s", per(m->confirmed, b->publish_s));
    put_real(r->root, "received_per_s", per(m->deliveries.received, b->receive_s));
    put_real(r->root, "received_bytes_per_s", per(m->deliveries.body_bytes, b->receive_s));
    put_real(r->root, "bench_cpu_s", (double)b->bench_cpu_us / 1e6);
    put_real(r->root, "per_bench_cpu_s", per_cpu(moved(plan, b), b->bench_cpu_us));
    if (plan->options->pids_count != 0) {
        put_real(r->root, "server_cpu_s", (double)b->server_cpu_us / 1e6);
        put_real(r->root, "per_server_cpu_s", per_cpu(moved(plan, b), b->server_cpu_us));
        put_count(r->root, "server_rss_before", b->server_rss_before);
        put_count(r->root, "server_rss_after", b->server_rss_after);
    }
    for (unsigned i = 0; i < BENCH_TIMINGS; i++)
        put_timing(r->root, timing_names[i][1], &m->timings[i]);
    json_t *all = json_object();
    put_count(all, "published", t->published);
    put_count(all, "resent", t->resent);
    put_count(all, "confirmed", t->confirmed);
    put_count(all, "nacked", t->nacked);
    put_count(all, "returned", t->returned);
    put_count(all, "unconfirmed", b->unconfirmed);
    put_count(all, "received", c->received);
    put_count(all, "unique", c->unique);
    put_count(all, "lost", b->lost);
    if (b->lost != 0) {
        put_count(all, "first_lost_queue", b->lost_queue);
        put_count(all, "first_lost_flow", b->lost_flow);
        put_count(all, "first_lost_sequence", b->lost_sequence);
    }
    put_count(all, "missing_unpromised", b->missing_unpromised);
    put_count(all, "duplicated", c->duplicated);
    put_count(all, "duplicated_redelivered", c->duplicated_redelivered);
    put_count(all, "duplicated_resent", c->duplicated_resent);
    put_count(all, "acked_again", c->acked_again);
    put_count(all, "reordered", c->reordered);
    put_count(all, "redelivered", c->redelivered);
    put_count(all, "misrouted", c->misrouted);
    put_count(all, "foreign", c->foreign);
    put_count(all, "corrupt", c->corrupt);
    put_count(all, "acks", t->acks);
    put_count(all, "reconnects", t->reconnects);
    put_count(all, "blocked", t->blocked);
    put_count(all, "left", b->left);
    put(all, "exact", json_boolean(!b->inexact && !b->uncounted));
    put_real(all, "delivery_gap_ms", (double)t->delivery_gap_us / 1e3);
    put_real(all, "confirm_gap_ms", (double)t->confirm_gap_us / 1e3);
    put(r->root, "total", all);
    json_verdict(r, b);
    put(r->root, "intervals", json_incref(r->intervals));
    finish_json(r);
}

static void print_rates(const struct bench_plan *plan, const struct bench_result *b)
{
    const struct bench_figures *m = &b->measured;
    const struct bench_options *o = plan->options;
    char room[2][32];
    if (o->publishers != 0)
        (void)printf("%-22s %s msg/s\n", "published",
                     grouped(rounded(per(m->published, b->publish_s)), room[0]));
    if (o->confirm != 0)
        (void)printf("%-22s %s msg/s\n", "confirmed",
                     grouped(rounded(per(m->confirmed, b->publish_s)), room[0]));
    if (o->consumers != 0)
        (void)printf("%-22s %s msg/s, %.1f MB/s\n", "received",
                     grouped(rounded(per(m->deliveries.received, b->receive_s)), room[0]),
                     per(m->deliveries.body_bytes, b->receive_s) / 1e6);
    (void)printf("%-22s", "per CPU second");
    if (o->pids_count != 0)
        (void)printf(" server %s,",
                     grouped(rounded(per_cpu(moved(plan, b), b->server_cpu_us)), room[0]));
    (void)printf(" bench %s\n",
                 grouped(rounded(per_cpu(moved(plan, b), b->bench_cpu_us)), room[1]));
    if (o->pids_count != 0)
        (void)printf("%-22s %.2f s CPU, %.1f MiB before, %.1f MiB after\n", "server",
                     (double)b->server_cpu_us / 1e6, (double)b->server_rss_before / 1048576.0,
                     (double)b->server_rss_after / 1048576.0);
}

/* What is rarely not zero. */
static void print_rare(const char *name, uint64_t n)
{
    char room[32];
    if (n != 0)
        (void)printf(", %s %s", grouped(n, room), name);
}

static void print_verdict(const struct bench_plan *plan, const struct bench_result *b)
{
    const struct bench_figures *t = &b->total;
    const struct bench_counts *c = &t->deliveries;
    char room[4][32];
    (void)printf("%-22s %s published, %s received, %s lost, %" PRIu64 " duplicated, %" PRIu64
                 " reordered",
                 "in all", grouped(t->published, room[0]), grouped(c->received, room[1]),
                 grouped(b->lost, room[2]), c->duplicated, c->reordered);
    print_rare("redelivered", c->redelivered);
    print_rare("twice because redelivered", c->duplicated_redelivered);
    print_rare("resent", t->resent);
    print_rare("twice because resent", c->duplicated_resent);
    print_rare("acknowledged and here again", c->acked_again);
    print_rare("nacked", t->nacked);
    print_rare("returned", t->returned);
    print_rare("unconfirmed", b->unconfirmed);
    print_rare("missing, but never confirmed or surely sent", b->missing_unpromised);
    print_rare("misrouted", c->misrouted);
    print_rare("foreign", c->foreign);
    print_rare("corrupt", c->corrupt);
    print_rare("left in the queues", b->left);
    print_rare("reconnects", t->reconnects);
    print_rare("times blocked", t->blocked);
    (void)putchar('\n');
    if (t->reconnects != 0)
        (void)printf("%-22s %.3f s between deliveries, %.3f s between confirms\n", "longest pause",
                     (double)t->delivery_gap_us / 1e6, (double)t->confirm_gap_us / 1e6);
    if (b->lost != 0 && plan->options->consumers != 0)
        (void)printf("%-22s queue %" PRIu32 ", flow %" PRIu32 ", sequence %" PRIu64 "\n",
                     "first one lost", b->lost_queue, b->lost_flow, b->lost_sequence);
    if (b->inexact)
        (void)printf("the counts are not exact: give more --ids-memory\n");
    if (b->uncounted)
        (void)printf("queues without consumers could not be counted: losses there are not known\n");
}

void bench_report_run(struct bench_report *r, const struct bench_plan *plan,
                      const struct bench_result *b)
{
    if (r->o->json) {
        json_run(r, plan, b);
        return;
    }
    print_rates(plan, b);
    for (unsigned i = 0; i < BENCH_TIMINGS; i++)
        print_timing(timing_names[i][0], &b->measured.timings[i]);
    print_verdict(plan, b);
}

/* ---- idle, churn, declare ------------------------------------------------------------------
 */

static double growth(uint64_t before, uint64_t after)
{
    return (double)after - (double)before;
}

void bench_report_idle(struct bench_report *r, const struct bench_idle_result *b)
{
    double each = growth(b->server_rss_before, b->server_rss_held) / b->opened;
    if (r->o->json) {
        put(r->root, "mode", json_string("idle"));
        put_count(r->root, "opened", b->opened);
        put_count(r->root, "lost", b->lost);
        put_real(r->root, "open_s", b->open_s);
        put_real(r->root, "opened_per_s", per(b->opened, b->open_s));
        put_real(r->root, "hold_s", b->hold_s);
        if (r->o->pids_count != 0) {
            put_count(r->root, "server_rss_before", b->server_rss_before);
            put_count(r->root, "server_rss_held", b->server_rss_held);
            put_count(r->root, "server_rss_after", b->server_rss_after);
            put_real(r->root, "server_bytes_per_connection", each);
            put_real(r->root, "server_cpu_us_per_open", (double)b->server_cpu_open_us / b->opened);
            put_real(r->root, "server_cores_held", per(b->server_cpu_hold_us, b->hold_s * 1e6));
        }
        finish_json(r);
        return;
    }
    (void)printf("%" PRIu32 " connections in %.2f s (%.0f/s), held for %.1f s, %" PRIu32 " lost\n",
                 b->opened, b->open_s, per(b->opened, b->open_s), b->hold_s, b->lost);
    if (r->o->pids_count != 0)
        (void)printf(
            "server: %.1f MiB before, %.1f MiB held, %.1f MiB after: %.0f octets for each; "
            "%.0f us of CPU to open one, %.3f cores while held\n",
            (double)b->server_rss_before / 1048576.0, (double)b->server_rss_held / 1048576.0,
            (double)b->server_rss_after / 1048576.0, each,
            (double)b->server_cpu_open_us / b->opened, per(b->server_cpu_hold_us, b->hold_s * 1e6));
}

void bench_report_churn(struct bench_report *r, const struct bench_churn_result *b)
{
    char room[32];
    if (r->o->json) {
        put(r->root, "mode", json_string("churn"));
        put_real(r->root, "seconds", b->seconds);
        put_real(r->root, "cycles_per_s", per(b->cycles, b->seconds));
        put_timing(r->root, "cycle", &b->cycle);
        put_count(r->root, "confirmed", b->confirmed);
        put_count(r->root, "left", b->left);
        put_real(r->root, "bench_cpu_s", (double)b->bench_cpu_us / 1e6);
        if (r->o->pids_count != 0) {
            put_real(r->root, "server_cpu_s", (double)b->server_cpu_us / 1e6);
            put_real(r->root, "cycles_per_server_cpu_s", per_cpu(b->cycles, b->server_cpu_us));
        }
        finish_json(r);
        return;
    }
    (void)printf("%-22s %s cycles/s\n", "churn",
                 grouped(rounded(per(b->cycles, b->seconds)), room));
    (void)printf("%-22s", "per CPU second");
    if (r->o->pids_count != 0)
        (void)printf(" server %s,", grouped(rounded(per_cpu(b->cycles, b->server_cpu_us)), room));
    (void)printf(" bench %s\n", grouped(rounded(per_cpu(b->cycles, b->bench_cpu_us)), room));
    print_timing("cycle", &b->cycle);
    (void)printf("%-22s %" PRIu64 " confirmed, %" PRIu64 " in the queue\n", "in all", b->confirmed,
                 b->left);
}

static void json_declare(struct bench_report *r, const struct bench_declare_result *b)
{
    put(r->root, "mode", json_string("declare"));
    put_real(r->root, "seconds", b->seconds);
    put_real(r->root, "declares_per_s", per(b->declares, b->seconds));
    put_timing(r->root, "declare", &b->declare);
    if (r->o->delete_each) {
        put_real(r->root, "deletes_per_s", per(b->deletes, b->seconds));
        put_timing(r->root, "delete", &b->delete);
    }
    put_count(r->root, "declared", b->declared);
    put_count(r->root, "deleted", b->deleted);
    put_real(r->root, "bench_cpu_s", (double)b->bench_cpu_us / 1e6);
    if (r->o->pids_count != 0) {
        put_real(r->root, "server_cpu_s", (double)b->server_cpu_us / 1e6);
        put_real(r->root, "declares_per_server_cpu_s", per_cpu(b->declares, b->server_cpu_us));
    }
    finish_json(r);
}

void bench_report_declare(struct bench_report *r, const struct bench_declare_result *b)
{
    char room[2][32];
    if (r->o->json) {
        json_declare(r, b);
        return;
    }
    (void)printf("%-22s %s queues/s\n", "declared",
                 grouped(rounded(per(b->declares, b->seconds)), room[0]));
    if (r->o->delete_each)
        (void)printf("%-22s %s queues/s\n", "deleted",
                     grouped(rounded(per(b->deletes, b->seconds)), room[0]));
    (void)printf("%-22s", "per CPU second");
    if (r->o->pids_count != 0)
        (void)printf(" server %s,",
                     grouped(rounded(per_cpu(b->declares, b->server_cpu_us)), room[0]));
    (void)printf(" bench %s\n", grouped(rounded(per_cpu(b->declares, b->bench_cpu_us)), room[1]));
    print_timing("declare", &b->declare);
    if (r->o->delete_each)
        print_timing("delete", &b->delete);
    (void)printf("%-22s %s declared, %s deleted\n", "in all", grouped(b->declared, room[0]),
                 grouped(b->deleted, room[1]));
}
