/*
 * admin_queues: the routing table for people: `show queues`, `show leads`. Control loop.
 */
#ifndef WARREN_ADMIN_QUEUES_H
#define WARREN_ADMIN_QUEUES_H

#include "view.h"

/* For each backend that routes by master: its nodes, their servers, and how many queues each
 * masters. Names are not in the table: one queue is asked for by them. */
void admin_show_queues(const struct view *v, struct text *out);
void admin_show_queue(const struct view *v, struct slice vhost, struct slice queue,
                      struct text *out);

/* What brokers have said of where messages to exchanges land: a line each, LEADS_MAX at most. */
void admin_show_leads(const struct view *v, struct text *out);

#endif
