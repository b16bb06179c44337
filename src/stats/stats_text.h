/*
 * stats_text: a view of statistics as Prometheus text, JSON and CSV.
 *
 * The texts are bounded by what the caller gave text_init; `cut` says whether all is there.
 */
#ifndef WARREN_STATS_TEXT_H
#define WARREN_STATS_TEXT_H

#include "base/text.h"
#include "stats/stats.h"

/* Of an answer with stats_text_prometheus in it. */
#define STATS_TEXT_PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Exposition format 0.0.4, each family with HELP and TYPE; histograms as cumulative buckets. */
void stats_text_prometheus(struct stats_view *v, struct text *out);

/* {"NAME": {"type": "counter", "help": "...", "series": [{"labels": {...}, "value": 1}]}, ...};
 * a histogram has count, sum, max, p50, p90, p99, p999 instead of value. */
void stats_text_json(struct stats_view *v, struct text *out);

/* name,labels,type,value with a head line; a histogram gives a line for each of its numbers. */
void stats_text_csv(struct stats_view *v, struct text *out);

/* For pages that have a CSV form of their own: one field, quoted when it must be (RFC 4180). */
void stats_text_csv_field(struct text *out, const char *field);

#endif
