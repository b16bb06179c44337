/*
 * warrenctl_status: what status and cluster_status print, in rabbitmqctl's sections.
 */
#ifndef WARREN_WARRENCTL_STATUS_H
#define WARREN_WARRENCTL_STATUS_H

#include "mgmt/warrenctl.h"

/* The node's answers. */
void warrenctl_print_status(const json_t *o);

/* Parts of it. */
void warrenctl_print_listeners(const json_t *list);
void warrenctl_print_memory(const json_t *memory);
void warrenctl_print_journal(const json_t *journal);

/* "Memory alarm on node rabbit@h". */
void warrenctl_alarm_text(const json_t *alarm, struct text *out);

/* `old_only`: just the term that rabbitmqctl printed before 3.8, which else stands at the end. */
void warrenctl_print_cluster(const json_t *o, bool old_only);

#endif
