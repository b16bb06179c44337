/*
 * stat_failovers: the last failovers for the page, the metrics and the runtime socket. Control
 * loop.
 */
#ifndef WARREN_STAT_FAILOVERS_H
#define WARREN_STAT_FAILOVERS_H

#include "base/text.h"
#include "view.h"

void stat_failovers_page(const struct view *v, struct text *out);
void stat_failovers_metrics(const struct view *v, struct text *out);
void stat_failovers_show(const struct view *v, struct text *out);

#endif
