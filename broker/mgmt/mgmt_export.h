/*
 * mgmt_export: objects of the metadata as the API and exported definitions show them, and the small
 * readings that both writes and imports need.
 *
 * All of it is within a turn: nothing keeps the metadata.
 */
#ifndef WARREN_MGMT_EXPORT_H
#define WARREN_MGMT_EXPORT_H

#include "cluster/meta.h"
#include "mgmt/mgmt_call.h"

#include <jansson.h>

json_t *mgmt_user_json(const struct meta_user *u);
/* In the order of their names; to be freed by mem_free. */
const struct meta_user **mgmt_users_sorted(const struct meta_version *v, size_t *count);

/* Of one user, or, with an empty name, of all. */
json_t *mgmt_permissions_json(const struct meta_vhost *const *vhosts, size_t count,
                              struct slice user, bool topics);

/* Appended to `all`, in the order of their names. */
void mgmt_policies_json(json_t *all, const struct meta_vhost *vh, bool is_operator);
void mgmt_parameters_json(json_t *all, const struct meta_vhost *vh);
json_t *mgmt_global_parameters_json(const struct meta_version *v);

/* JSON of any kind; null for what is none. */
json_t *mgmt_json_parsed(struct slice text);

/* "a, b" or ["a", "b"], between commas; false for anything else. */
MUST_CHECK bool mgmt_tags_text(const json_t *tags, struct text *out);
enum meta_hashing mgmt_hashing_of(const json_t *user);

/* {NAME: value} of the path's second arg and the body's "value", to be freed by mem_free; NULL: it
 * was answered. */
char *mgmt_limit_definition(struct mgmt_call *c);

#endif
