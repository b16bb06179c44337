/*
 * admin: the runtime socket. A line is answered and the connection closed, as in HAProxy, unless
 * `prompt` has been said. Control loop.
 */
#ifndef WARREN_ADMIN_H
#define WARREN_ADMIN_H

#include "base/attr.h"
#include "view.h"

struct admin;

MUST_CHECK struct admin *admin_open(const struct view *v, const char *path, unsigned mode,
                                    struct err *err);
void admin_close(struct admin **a);

/* The path it listens at. */
struct listener *admin_listener(struct admin *a);
const char *admin_path(const struct admin *a);

#endif
