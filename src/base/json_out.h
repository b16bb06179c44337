/*
 * json_out: making JSON of what programs have: octets from outside, numbers of 64 bits.
 *
 * JSON is UTF-8: what is not, is replaced. The JSON itself is jansson's. Pure; any thread.
 */
#ifndef WARREN_JSON_OUT_H
#define WARREN_JSON_OUT_H

#include "base/slice.h"

#include <jansson.h>
#include <stdint.h>

/* A new string; never NULL. */
json_t *json_out_text(struct slice s);

/* Members of an object; `value` is taken. Numbers above INT64_MAX are shown as that. */
void json_out_put(json_t *object, const char *name, json_t *value);
void json_out_put_u64(json_t *object, const char *name, uint64_t value);
void json_out_put_str(json_t *object, const char *name, const char *value);
void json_out_put_bool(json_t *object, const char *name, bool value);

#endif
