/*
 * stat_rates: what flows now, for the page: messages of the process, octets of each frontend,
 * backend and server, in the last second. Control loop.
 */
#ifndef WARREN_STAT_RATES_H
#define WARREN_STAT_RATES_H

#include "base/text.h"
#include "stat_table.h"
#include "view.h"

void stat_rates_page(const struct stat_row *rows, unsigned count, const struct view *v,
                     struct text *out);

#endif
