/*
 * stat_metrics: the figures for Prometheus: HAProxy's names for what they mean, warren_proxy_* for
 * the rest.
 */
#ifndef WARREN_STAT_METRICS_H
#define WARREN_STAT_METRICS_H

#include "stat_table.h"
#include "view.h"

void stat_metrics(const struct stat_row *rows, unsigned count, const struct view *v,
                  struct text *out);

#endif
