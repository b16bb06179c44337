/*
 * api_view: what the control loop knows of the proxy, as JSON: new references, never NULL.
 */
#ifndef WARREN_API_VIEW_H
#define WARREN_API_VIEW_H

#include "view.h"

#include <jansson.h>

json_t *api_view_info(const struct view *v);

/* An object a row, with HAProxy's headings (stat_table.h); what is empty there is absent here. */
json_t *api_view_stats(const struct view *v);

/* For each backend that knows masters: its nodes, their servers, and how many queues each has. */
json_t *api_view_queues(const struct view *v);

/* For each backend that knows masters, where this queue is. */
json_t *api_view_queue(const struct view *v, struct slice vhost, struct slice queue);

/* The newest first. */
json_t *api_view_failovers(const struct view *v);

json_t *api_view_gossip(const struct view *v);

#endif
