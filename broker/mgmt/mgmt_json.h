/*
 * mgmt_json: pieces of the management API's JSON: names, argument tables, how bindings are called.
 *
 * Everything that came from clients is octets; JSON is UTF-8: what is not, is replaced. The JSON
 * itself is jansson's. Pure; any thread.
 */
#ifndef WARREN_MGMT_JSON_H
#define WARREN_MGMT_JSON_H

#include "base/attr.h"
#include "base/json_out.h"
#include "base/slice.h"
#include "base/text.h"

#include <jansson.h>
#include <stdint.h>

/* As json_out_text, and lines stay lines. */
json_t *mgmt_json_lines(const char *text);

/* A field table (without its length, found well formed before) as an object. Numbers that JSON does
 * not know become null. */
json_t *mgmt_json_table(struct slice table);

/* An object as a field table, as RabbitMQ makes one of JSON: words are longstr, whole numbers long,
 * others double, null void. *memory is the caller's to free by mem_free, also
 * when it is false: not an object, nested too deeply, or a name too long. */
MUST_CHECK bool mgmt_json_to_table(const json_t *object, uint8_t **memory, struct slice *out);

/* {"rate": per_second} */
json_t *mgmt_json_rate(double per_second);

/* "NAME": value, "NAME_details": {"rate": rate} */
void mgmt_json_put_rated(json_t *object, const char *name, uint64_t value, double rate);

/* What the API calls a binding among those of one source and destination: the routing key, percent
 * encoded, with a hash behind "~" when it has arguments; "~" alone for no key and no arguments. */
void mgmt_json_properties_key(struct slice key, struct slice args, struct text *out);

/* As a segment of a URL. */
void mgmt_json_percent(struct slice s, struct text *out);

/* What stands between commas, as an array of strings. */
json_t *mgmt_json_words(struct slice list);

#endif
