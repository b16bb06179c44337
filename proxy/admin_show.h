/*
 * admin_show: what the runtime socket tells without asking the workers, in HAProxy's forms.
 */
#ifndef WARREN_ADMIN_SHOW_H
#define WARREN_ADMIN_SHOW_H

#include "stat_table.h"
#include "view.h"

/* What sources, users and vhosts have, where there are limits. */
void admin_show_limits(const struct view *v, struct text *out);

void admin_show_info(const struct view *v, struct text *out);
void admin_show_stat(const struct view *v, const struct stat_filter *filter, struct text *out);

/* Of one backend, or of all when `backend` is "". False when there is no such backend. */
MUST_CHECK bool admin_show_servers(const struct view *v, const char *backend, struct text *out);

#endif
