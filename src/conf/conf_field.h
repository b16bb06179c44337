/*
 * conf_field: one value, judged by its directive, into its field. Internal to src/conf.
 */
#ifndef WARREN_CONF_FIELD_H
#define WARREN_CONF_FIELD_H

#include "conf/conf.h"

/* Zero the field that the directive fills; nothing for one with a `set`. */
void conf_field_clear(const struct conf_directive *d, void *instance);

/* Read `text` into the directive's field of `instance`, or hand it to its `set`. The message of
 * *err lacks place and key. */
MUST_CHECK bool conf_field_set(const struct conf_directive *d, void *instance, struct slice text,
                               const char *where, struct conf_store *store, struct err *err);

#endif
