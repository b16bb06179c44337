/*
 * stats_page: the page for people, in HAProxy's manner: a table for each proxy, then the live
 * sessions. One file without scripts, good on a phone, loaded again by itself.
 */
#ifndef WARREN_STATS_PAGE_H
#define WARREN_STATS_PAGE_H

#include "stat_table.h"
#include "view.h"

/* `sessions` are rows that census made; `left_out` more there are. `refresh_s` 0: never.
 * `uri` is the page's own. */
void stats_page(const struct stat_row *rows, unsigned count, const struct view *v,
                const struct text *sessions, unsigned left_out, uint64_t refresh_s, const char *uri,
                struct text *out);

#endif
