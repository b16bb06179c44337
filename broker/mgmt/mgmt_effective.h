/*
 * mgmt_effective: what policies come to for one queue or exchange, as it is shown.
 */
#ifndef WARREN_MGMT_EFFECTIVE_H
#define WARREN_MGMT_EFFECTIVE_H

#include "cluster/meta.h"

#include <jansson.h>

/* The definitions of a policy and an operator's policy (either may be NULL) in one: of a limit that
 * both set, the lower. Without any, an empty object. */
json_t *mgmt_effective_definition(const struct meta_policy *p, const struct meta_policy *op);

/* "policy", "operator_policy" and "effective_policy_definition". */
void mgmt_effective_put(json_t *object, const struct meta_policy *p, const struct meta_policy *op);

#endif
