/*
 * bench_report: results for people and, with --json, for programs.
 */
#ifndef WARREN_BENCH_REPORT_H
#define WARREN_BENCH_REPORT_H

#include "bench_churn.h"
#include "bench_declare.h"
#include "bench_idle.h"
#include "bench_run.h"

struct bench_report;

/* To stdout. The options are borrowed. */
struct bench_report *bench_report_new(const struct bench_options *o);
void bench_report_free(struct bench_report **r);

void bench_report_interval(const struct bench_interval *i, const struct bench_plan *plan,
                           void *report);
void bench_report_run(struct bench_report *r, const struct bench_plan *plan,
                      const struct bench_result *result);
void bench_report_idle(struct bench_report *r, const struct bench_idle_result *result);
void bench_report_churn(struct bench_report *r, const struct bench_churn_result *result);
void bench_report_declare(struct bench_report *r, const struct bench_declare_result *result);

#endif
