/*
 * warrenctl_help: usage and help, in rabbitmqctl's form.
 */
#ifndef WARREN_WARRENCTL_HELP_H
#define WARREN_WARRENCTL_HELP_H

#include "mgmt/warrenctl.h"

#include <stdio.h>

/* All commands. */
void warrenctl_help_all(const struct warrenctl *w, FILE *to);
/* The line "warrenctl [--node <node>] ... COMMAND ...", under its heading. */
void warrenctl_help_usage(const struct warrenctl *w, const struct warrenctl_command *c, FILE *to);

/* The known command that is most like this word, or NULL. */
const char *warrenctl_help_likely(const struct warrenctl *w, const char *word);

#endif
