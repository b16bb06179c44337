/*
 * meta_parameter: changes of runtime parameters. Not for others than meta.
 */
#ifndef WARREN_META_PARAMETER_H
#define WARREN_META_PARAMETER_H

#include "cluster/meta_json.h"

#define META_LIMITS_COMPONENT "vhost-limits"
#define META_LIMITS_NAME      "limits"

struct meta;

struct meta_parameter_id {
    struct slice component; /* empty: a global one */
    struct slice name;
};

/* Of this vhost, or of none. What is put has been found good, what is cleared is there. */
void meta_parameter_put(struct meta *m, uint64_t vhost_id, const struct meta_parameter_id *id,
                        const json_t *value);
void meta_parameter_clear(struct meta *m, uint64_t vhost_id, const struct meta_parameter_id *id);

#endif
