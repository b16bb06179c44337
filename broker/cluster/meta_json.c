#include "cluster/meta_json.h"

#include "base/check.h"
#include "base/mem.h"
#include "cluster/meta_state.h"

#include <stdlib.h>

json_t *meta_json_read(struct slice json, struct meta_refusal *why)
{
    json_error_t err;
    json_t *value = NULL;
    if (json.len <= META_DEFINITION_MAX)
        value =
            json_loadb((const char *)json.ptr, json.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &err);
    else
        snprintf(err.text, sizeof err.text, "longer than %u octets", META_DEFINITION_MAX);
    if (value != NULL)
        return value;
    struct text t = meta_refuse(why, 400);
    text_put(&t, "JSON decoding error. Reason: %s", err.text);
    return NULL;
}

static bool is_pair(const json_t *v)
{
    return json_array_size(v) == 2 && json_is_string(json_array_get(v, 0));
}

static bool is_list_of_pairs(const json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!is_pair(json_array_get(v, i)))
            return false;
    return json_array_size(v) != 0;
}

json_t *meta_json_read_object(struct slice json, struct meta_refusal *why)
{
    json_t *value = meta_json_read(json, why);
    if (value == NULL || !is_list_of_pairs(value))
        return value;
    json_t *object = json_object();
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *pair = json_array_get(value, i);
        json_object_set(object, json_string_value(json_array_get(pair, 0)),
                        json_array_get(pair, 1));
    }
    json_decref(value);
    return object;
}

static int dump_to_text(const char *octets, size_t count, void *arg)
{
    text_slice(arg, slice_of(octets, count));
    return 0;
}

void meta_json_put(struct text *out, const json_t *value)
{
    int rc = json_dump_callback(value, dump_to_text, out,
                                JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    CHECK(rc == 0);
}

/* ---- objects in order ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void meta_json_iter(struct meta_json_iter *it, const json_t *object)
{
    json_t *o = (json_t *)(uintptr_t)object;
    *it = (struct meta_json_iter){ .object = object };
    it->keys = mem_array(json_object_size(object) + 1, sizeof(const char *));
    for (void *i = json_object_iter(o); i != NULL; i = json_object_iter_next(o, i))
        it->keys[it->count++] = json_object_iter_key(i);
    qsort(it->keys, it->count, sizeof(const char *), by_text);
}

const char *meta_json_next(struct meta_json_iter *it, const json_t **value)
{
    if (it->at == it->count)
        return NULL;
    const char *key = it->keys[it->at++];
    *value = json_object_get(it->object, key);
    return key;
}

void meta_json_iter_fini(struct meta_json_iter *it)
{
    mem_free(it->keys);
}

/* ---- as terms ---- */

static void put_binary(struct text *t, struct slice s)
{
    text_str(t, "<<");
    if (s.len != 0)
        meta_put_quoted(t, s);
    text_str(t, ">>");
}

static void put_list(struct text *t, const json_t *list)
{
    text_char(t, '[');
    for (size_t i = 0; i < json_array_size(list) && !t->cut; i++) {
        if (i != 0)
            text_char(t, ',');
        meta_json_put_term(t, json_array_get(list, i));
    }
    text_char(t, ']');
}

static void put_entries(struct text *t, const json_t *object, const char *begin,
                        const char *between, const char *end)
{
    struct meta_json_iter it;
    const json_t *value;
    const char *key;
    meta_json_iter(&it, object);
    while ((key = meta_json_next(&it, &value)) != NULL && !t->cut) {
        text_str(t, it.at > 1 ? "," : "");
        text_str(t, begin);
        put_binary(t, slice_str(key));
        text_str(t, between);
        meta_json_put_term(t, value);
        text_str(t, end);
    }
    meta_json_iter_fini(&it);
}

void meta_json_put_pairs(struct text *t, const json_t *object)
{
    text_char(t, '[');
    put_entries(t, object, "{", ",", "}");
    text_char(t, ']');
}

/* Erlang's shortest form: 0.1, 1.0e3 for a thousand and more, digits enough to be read back. */
static void put_real(struct text *t, double v)
{
    char room[64];
    int digits = 1;
    do {
        snprintf(room, sizeof room, "%.*e", digits - 1, v);
        digits++;
    } while (digits <= 17 && strtod(room, NULL) != v);
    char *e = strchr(room, 'e');
    long exponent = strtol(e + 1, NULL, 10);
    *e = '\0';
    if (exponent >= -2 && exponent <= 2) {
        long behind = digits - 2 - exponent;
        text_put(t, "%.*f", behind > 1 ? (int)behind : 1, v);
        return;
    }
    text_put(t, "%s%se%ld", room, strchr(room, '.') == NULL ? ".0" : "", exponent);
}

/* No deeper than jansson reads, and no longer than the text. */
void meta_json_put_term(struct text *t, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        text_str(t, "#{");
        put_entries(t, value, "", " => ", "");
        text_char(t, '}');
        return;
    case JSON_ARRAY:
        put_list(t, value);
        return;
    case JSON_STRING:
        put_binary(t, slice_of(json_string_value(value), json_string_length(value)));
        return;
    case JSON_INTEGER:
        text_put(t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        put_real(t, json_real_value(value));
        return;
    case JSON_TRUE:
        text_str(t, "true");
        return;
    case JSON_FALSE:
        text_str(t, "false");
        return;
    case JSON_NULL:
        text_str(t, "null");
        return;
    }
    UNREACHABLE("JSON type");
}
