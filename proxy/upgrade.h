/*
 * upgrade: the old process's part when another one takes its place: all that it listens at goes to
 * the new one (io/handover). It then goes on until it is told that the new one runs. Control loop.
 */
#ifndef WARREN_UPGRADE_H
#define WARREN_UPGRADE_H

#include "admin_run.h"
#include "view.h"

/* Send what we listen at to who listens at `path`; the answer follows, empty when all is well. */
void upgrade_start(const struct view *v, const char *path, admin_done_fn done, void *arg);

#endif
