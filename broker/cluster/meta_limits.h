/*
 * meta_limits: the numbers that bound what a vhost or a user may have. Not for others than meta.
 */
#ifndef WARREN_META_LIMITS_H
#define WARREN_META_LIMITS_H

#include "cluster/meta_json.h"

#define META_LIMITS_COUNT 2u

/* What limits there are of a kind. */
struct meta_limit_names {
    const char *what; /* what RabbitMQ calls the whole */
    const char *names[META_LIMITS_COUNT];
};

extern const struct meta_limit_names meta_vhost_limit_names;
extern const struct meta_limit_names meta_user_limit_names;

/* `object` is one of integers with these names: write to `values` those that it has. */
void meta_limits_take(const json_t *object, const struct meta_limit_names *names,
                      int64_t values[META_LIMITS_COUNT]);

/* Is it one? If not, what is wrong is added to `t`, a line for each thing. */
MUST_CHECK bool meta_limits_suit(const json_t *value, const struct meta_limit_names *names,
                                 struct text *t);

/* A user's limits: read, judge, take; a refusal if they are none. */
MUST_CHECK bool meta_user_limits_read(struct slice json, int64_t values[META_LIMITS_COUNT],
                                      struct meta_refusal *why);

#endif
