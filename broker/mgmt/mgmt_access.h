/*
 * mgmt_access: may the user of a call do this to a queue or an exchange? As a channel of his would
 * be asked; an operator may do anything.
 */
#ifndef WARREN_MGMT_ACCESS_H
#define WARREN_MGMT_ACCESS_H

#include "client/access.h"
#include "mgmt/mgmt_call.h"

/* False: refused, and the call is over. */
MUST_CHECK bool mgmt_may(struct mgmt_call *c, enum access_right right, enum access_kind kind,
                         struct slice name);
MUST_CHECK bool mgmt_may_publish(struct mgmt_call *c, struct slice exchange, struct slice key);
/* A declaration, a deletion of an exchange, a binding; all else is allowed. */
MUST_CHECK bool mgmt_may_command(struct mgmt_call *c, const struct meta_cmd *cmd);

#endif
