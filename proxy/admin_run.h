/*
 * admin_run: the commands of the runtime socket. One table; to add a command is to add a line.
 *
 * Control loop. What needs the workers is answered later.
 */
#ifndef WARREN_ADMIN_RUN_H
#define WARREN_ADMIN_RUN_H

#include "admin_line.h"
#include "base/text.h"
#include "view.h"

enum admin_verdict {
    ADMIN_DONE,   /* `out` is the answer */
    ADMIN_LATER,  /* `done` will be called, once, with the answer */
    ADMIN_PROMPT, /* turn the prompt on or off */
    ADMIN_QUIT
};

typedef void (*admin_done_fn)(const struct text *answer, void *arg);

enum admin_verdict admin_run(const struct view *v, const struct admin_command *c, struct text *out,
                             admin_done_fn done, void *arg);

#endif
