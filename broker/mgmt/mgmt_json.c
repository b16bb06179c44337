#include "mgmt/mgmt_json.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

json_t *mgmt_json_lines(const char *text)
{
    struct text t;
    text_init(&t, SIZE_MAX / 2);
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        text_utf8(&t, slice_of(text, len));
        text += len;
        if (*text == '\n') {
            text_char(&t, '\n');
            text++;
        }
    }
    json_t *j = json_stringn(t.ptr, t.len);
    text_fini(&t);
    return j;
}

json_t *mgmt_json_rate(double per_second)
{
    json_t *o = json_object();
    json_out_put(o, "rate", json_real(per_second));
    return o;
}

json_t *mgmt_json_words(struct slice list)
{
    json_t *out = json_array();
    while (list.len != 0) {
        const uint8_t *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma != NULL ? (size_t)(comma - list.ptr) : list.len;
        struct slice word = slice_head(list, len);
        while (word.len != 0 && word.ptr[0] == ' ')
            word = slice_from(word, 1);
        while (word.len != 0 && word.ptr[word.len - 1] == ' ')
            word.len--;
        if (word.len != 0)
            json_array_append_new(out, json_out_text(word));
        list = slice_from(list, comma != NULL ? len + 1 : len);
    }
    return out;
}

void mgmt_json_put_rated(json_t *object, const char *name, uint64_t value, double rate)
{
    char details[64];
    struct text t = text_over(details, sizeof details);
    text_put(&t, "%s_details", name);
    json_out_put_u64(object, name, value);
    json_out_put(object, details, mgmt_json_rate(rate));
}

/* ---- tables ---- */

static json_t *real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static double decimal(struct amqp_decimal d)
{
    return (double)d.value / pow(10, d.scale);
}

static json_t *array(struct slice elements);

/* Tables within tables: the codec has bounded their depth, see AMQP_TABLE_DEPTH_MAX. */
static json_t *field(const struct amqp_field *f)
{
    switch (f->type) {
    case AMQP_FIELD_BOOL:
        return json_boolean(f->boolean);
    case AMQP_FIELD_I8:
    case AMQP_FIELD_U8:
    case AMQP_FIELD_I16:
    case AMQP_FIELD_U16:
    case AMQP_FIELD_I32:
    case AMQP_FIELD_U32:
    case AMQP_FIELD_I64:
        return json_integer(f->i64);
    case AMQP_FIELD_TIMESTAMP:
        return json_integer(f->timestamp < INT64_MAX ? (json_int_t)f->timestamp : INT64_MAX);
    case AMQP_FIELD_FLOAT:
    case AMQP_FIELD_DOUBLE:
        return real(f->f64);
    case AMQP_FIELD_DECIMAL:
        return real(decimal(f->decimal));
    case AMQP_FIELD_LONGSTR:
    case AMQP_FIELD_BINARY:
        return json_out_text(f->bytes);
    case AMQP_FIELD_TABLE:
        return mgmt_json_table(f->bytes);
    case AMQP_FIELD_ARRAY:
        return array(f->bytes);
    case AMQP_FIELD_VOID:
        return json_null();
    }
    UNREACHABLE("field type");
}

static json_t *array(struct slice elements)
{
    json_t *out = json_array();
    struct amqp_table_iter it = amqp_array_iter_init(elements);
    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f)) {
        int failed = json_array_append_new(out, field(&f));
        CHECK(failed == 0);
    }
    return out;
}

json_t *mgmt_json_table(struct slice table)
{
    json_t *out = json_object();
    struct amqp_table_iter it = amqp_table_iter_init(table);
    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f)) {
        char name[256 * TEXT_UTF8_GROWTH];
        struct text t = text_over(name, sizeof name);
        text_utf8(&t, f.name);
        if (json_object_get(out, name) == NULL) /* the first of a name counts */
            json_out_put(out, name, field(&f));
    }
    return out;
}

static size_t room_of(const json_t *v)
{
    size_t room = 16;
    size_t index;
    const char *name;
    json_t *item;
    if (json_is_string(v))
        room += json_string_length(v);
    json_array_foreach(v, index, item) room += room_of(item);
    json_object_foreach((json_t *)(uintptr_t)v, name, item) room += strlen(name) + room_of(item);
    return room;
}

static bool put_fields(struct wire_out *w, const json_t *v, unsigned depth);

/* `name` is NULL in an array. */
static bool put_field(struct wire_out *w, const char *name, const json_t *v, unsigned depth)
{
    if (name != NULL && strlen(name) > UINT8_MAX)
        return false;
    size_t mark;
    switch (json_typeof(v)) {
    case JSON_TRUE:
    case JSON_FALSE:
        amqp_table_put_bool(w, name, json_is_true(v));
        return true;
    case JSON_INTEGER:
        amqp_table_put_i64(w, name, json_integer_value(v));
        return true;
    case JSON_REAL:
        amqp_table_put_double(w, name, json_real_value(v));
        return true;
    case JSON_STRING:
        amqp_table_put_longstr(w, name, slice_of(json_string_value(v), json_string_length(v)));
        return true;
    case JSON_NULL:
        amqp_table_put_void(w, name);
        return true;
    case JSON_ARRAY:
        mark = amqp_array_begin(w, name);
        break;
    case JSON_OBJECT:
    default:
        mark = amqp_table_begin(w, name);
        break;
    }
    bool ok = put_fields(w, v, depth + 1);
    amqp_table_end(w, mark);
    return ok;
}

static bool put_fields(struct wire_out *w, const json_t *v, unsigned depth)
{
    size_t index;
    const char *name;
    json_t *item;
    bool ok = depth < AMQP_TABLE_DEPTH_MAX;
    json_array_foreach(v, index, item) ok = ok && put_field(w, NULL, item, depth);
    json_object_foreach((json_t *)(uintptr_t)v, name, item) ok =
        ok && put_field(w, name, item, depth);
    return ok;
}

bool mgmt_json_to_table(const json_t *object, uint8_t **memory, struct slice *out)
{
    *memory = NULL;
    *out = slice_of(NULL, 0);
    if (!json_is_object(object))
        return false;
    size_t room = room_of(object);
    *memory = mem_alloc(room);
    struct wire_out w = wire_out_over(*memory, room);
    if (!put_fields(&w, object, 0))
        return false;
    CHECK(!w.overflow);
    *out = wire_out_slice(&w);
    return true;
}

/* ---- bindings ---- */

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

void mgmt_json_percent(struct slice s, struct text *out)
{
    for (size_t i = 0; i < s.len; i++) {
        if (is_plain(s.ptr[i]) || s.ptr[i] == '~')
            text_char(out, (char)s.ptr[i]);
        else
            text_put(out, "%%%02X", s.ptr[i]);
    }
}

void mgmt_json_properties_key(struct slice key, struct slice args, struct text *out)
{
    for (size_t i = 0; i < key.len; i++) {
        if (is_plain(key.ptr[i]))
            text_char(out, (char)key.ptr[i]);
        else if (key.ptr[i] == ' ')
            text_char(out, '+');
        else
            text_put(out, "%%%02X", key.ptr[i]);
    }
    if (args.len != 0)
        text_put(out, "~%016" PRIx64, hash_bytes(args, 0));
    else if (key.len == 0)
        text_char(out, '~');
}
