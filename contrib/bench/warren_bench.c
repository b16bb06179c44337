/*
 * warren-bench: the load generator. What it measures and how is told in its manual page.
 */
#include "bench_churn.h"
#include "bench_declare.h"
#include "bench_idle.h"
#include "bench_options.h"
#include "bench_plan.h"
#include "bench_report.h"
#include "bench_run.h"
#include "io/clock.h"
#include "io/tls.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAULTS = 1,
    EXIT_USAGE = 64,
    EXIT_SERVER = 69,
    EXIT_INTERNAL = 70
};

static int complain(const struct err *err)
{
    (void)fprintf(stderr, "warren-bench: %s\n", err->text);
    return err->code == ERR_USAGE    ? EXIT_USAGE
           : err->code == ERR_SYSTEM ? EXIT_INTERNAL
                                     : EXIT_SERVER;
}

static int show_help(void)
{
    struct text t;
    text_init(&t, (size_t)64 * 1024);
    bench_options_help(&t);
    (void)fputs(t.ptr, stdout);
    text_fini(&t);
    return EXIT_OK;
}

/* Different for runs that follow each other, and for those that start at one time. */
static uint16_t run_number(void)
{
    uint64_t mix = clock_mono_us() / 1000u ^ (uint64_t)getpid() << 7;
    return (uint16_t)(mix % 65535u + 1);
}

static int do_run(const struct bench_options *o, struct tls_ctx *tls, struct bench_report *report,
                  struct err *err)
{
    struct bench_plan plan;
    struct bench_result result;
    bench_plan_init(&plan, o, run_number());
    if (!bench_run(&plan, tls, bench_report_interval, report, &result, err))
        return complain(err);
    bench_report_run(report, &plan, &result);
    return bench_result_faults(&result, o) != 0 ? EXIT_FAULTS : EXIT_OK;
}

static int do_idle(const struct bench_options *o, struct tls_ctx *tls, struct bench_report *report,
                   struct err *err)
{
    struct bench_idle_result result;
    if (!bench_idle(o, tls, &result, err))
        return complain(err);
    bench_report_idle(report, &result);
    return result.lost != 0 ? EXIT_FAULTS : EXIT_OK;
}

static int do_churn(const struct bench_options *o, struct tls_ctx *tls, struct bench_report *report,
                    struct err *err)
{
    struct bench_plan plan;
    struct bench_churn_result result;
    bench_plan_init(&plan, o, run_number());
    if (!bench_churn(&plan, tls, &result, err))
        return complain(err);
    bench_report_churn(report, &result);
    bool lost = result.left < result.confirmed && (o->tolerate & BENCH_LOST) == 0;
    return lost ? EXIT_FAULTS : EXIT_OK;
}

static int do_declare(const struct bench_options *o, struct tls_ctx *tls,
                      struct bench_report *report, struct err *err)
{
    struct bench_plan plan;
    struct bench_declare_result result;
    bench_plan_init(&plan, o, run_number());
    if (!bench_declare(&plan, tls, &result, err))
        return complain(err);
    bench_report_declare(report, &result);
    return EXIT_OK;
}

static int run_mode(const struct bench_options *o, struct tls_ctx *tls, struct bench_report *report,
                    struct err *err)
{
    switch (o->mode) {
    case BENCH_RUN:
        return do_run(o, tls, report, err);
    case BENCH_IDLE:
        return do_idle(o, tls, report, err);
    case BENCH_CHURN:
        return do_churn(o, tls, report, err);
    case BENCH_DECLARE:
        return do_declare(o, tls, report, err);
    }
    return EXIT_INTERNAL;
}

int main(int argc, char **argv)
{
    struct bench_options o;
    struct err err;
    bench_options_init(&o);
    if (!bench_options_parse(&o, argc, argv, &err))
        return complain(&err);
    if (o.help)
        return show_help();
    if (o.version) {
        (void)puts("warren-bench " WARREN_VERSION);
        return EXIT_OK;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct tls_ctx *tls = NULL;
    if (o.tls) {
        tls = tls_client_ctx_new(
            &(struct tls_options){ .ca_file = o.tls_ca, .verify_peer = !o.tls_insecure }, &err);
        if (tls == NULL)
            return complain(&err);
    }
    struct bench_report *report = bench_report_new(&o);
    int code = run_mode(&o, tls, report, &err);
    bench_report_free(&report);
    tls_ctx_unref(&tls);
    return code;
}
