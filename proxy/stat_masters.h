/*
 * stat_masters: where queues are, and what gossip says of servers: as metrics and for the page.
 * Control loop.
 */
#ifndef WARREN_STAT_MASTERS_H
#define WARREN_STAT_MASTERS_H

#include "view.h"

void stat_masters_metrics(const struct view *v, struct text *out);

/* Nothing when no backend knows masters. */
void stat_masters_page(const struct view *v, struct text *out);

/* Is the queue's master there, for a backend that routes by master? 200, 404: no such queue is
 * known, or 503; and what there is to say. */
int stat_masters_ready(const struct view *v, struct slice vhost, struct slice queue,
                       struct text *out);

#endif
