#include "mgmt/mgmt_json.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/hash.h"

#include <inttypes.h>
#include <math.h>

/* A replacement character takes three octets for one. */
#define GROWTH 3u

json_t *mgmt_json_text(struct slice s)
{
    char few[768];
    struct text t = text_over(few, sizeof few);
    bool is_long = s.len * GROWTH >= sizeof few;
    if (is_long)
        text_init(&t, s.len * GROWTH + 1);
    text_utf8(&t, s);
    CHECK(!t.cut);
    json_t *j = json_stringn(t.ptr, t.len);
    CHECK(j != NULL);
    if (is_long)
        text_fini(&t);
    return j;
}

void mgmt_json_put(json_t *object, const char *name, json_t *value)
{
    int failed = json_object_set_new_nocheck(object, name, value);
    CHECK(failed == 0);
}

void mgmt_json_put_u64(json_t *object, const char *name, uint64_t value)
{
    mgmt_json_put(object, name, json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX));
}

void mgmt_json_put_str(json_t *object, const char *name, const char *value)
{
    mgmt_json_put(object, name, mgmt_json_text(slice_str(value)));
}

void mgmt_json_put_bool(json_t *object, const char *name, bool value)
{
    mgmt_json_put(object, name, json_boolean(value));
}

json_t *mgmt_json_rate(double per_second)
{
    json_t *o = json_object();
    mgmt_json_put(o, "rate", json_real(per_second));
    return o;
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
        return mgmt_json_text(f->bytes);
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
        char name[256 * GROWTH];
        struct text t = text_over(name, sizeof name);
        text_utf8(&t, f.name);
        if (json_object_get(out, name) == NULL) /* the first of a name counts */
            mgmt_json_put(out, name, field(&f));
    }
    return out;
}

/* ---- bindings ---- */

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
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
