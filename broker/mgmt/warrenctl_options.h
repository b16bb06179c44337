/*
 * warrenctl_options: from words to a command, its arguments and its options. Options may stand
 * anywhere, before the command and behind it; "--" ends them.
 */
#ifndef WARREN_WARRENCTL_OPTIONS_H
#define WARREN_WARRENCTL_OPTIONS_H

#include "mgmt/warrenctl.h"

/* False: *bad lists what was not understood, a line "NAME : VALUE" each. w->command is set, unless
 * there is none (w->args then holds what was given for it, if anything). */
MUST_CHECK bool warrenctl_options_read(struct warrenctl *w, int argc, char **argv,
                                       struct text *bad);

#endif
