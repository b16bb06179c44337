/*
 * ctl: the broker's side of warrenctl.
 *
 * It listens on a unix socket in the node's folder, whose mode says who may come, and has a hall
 * behind the cluster port (doorway.h), where whoever comes must prove that it knows the cookie.
 * After that it is HTTP on both: the management API, as an administrator who needs no password, and
 * below /ctl what the API lacks. It lives on the management's loop, whether or not management
 * listens anywhere.
 */
#ifndef WARREN_CTL_H
#define WARREN_CTL_H

#include "base/attr.h"
#include "base/err.h"

struct broker;
struct ctl;
struct mgmt_http;

/* Bind; before the management's loop runs. */
MUST_CHECK struct ctl *ctl_new(struct broker *b, struct mgmt_http *m, struct err *err);

/* Accept no more, and end what is there, soon. The control thread. */
void ctl_close(struct ctl *c);

/* When the loop has ended. NULL is allowed. */
void ctl_free(struct ctl **c);

#endif
