/*
 * The second half of amqp_table.h: what the values of fields mean, compared and shown.
 */
#include "amqp/amqp_table.h"
#include "base/check.h"

#include <inttypes.h>
#include <math.h>

/* What RabbitMQ's terms would be: it is between these that it compares. */
enum value_kind {
    VALUE_INT,
    VALUE_REAL,
    VALUE_BYTES,
    VALUE_BOOL,
    VALUE_DECIMAL,
    VALUE_VOID,
    VALUE_TABLE,
    VALUE_ARRAY
};

static enum value_kind kind_of(enum amqp_field_type type)
{
    switch (type) {
    case AMQP_FIELD_I8:
    case AMQP_FIELD_U8:
    case AMQP_FIELD_I16:
    case AMQP_FIELD_U16:
    case AMQP_FIELD_I32:
    case AMQP_FIELD_U32:
    case AMQP_FIELD_I64:
    case AMQP_FIELD_TIMESTAMP:
        return VALUE_INT;
    case AMQP_FIELD_FLOAT:
    case AMQP_FIELD_DOUBLE:
        return VALUE_REAL;
    case AMQP_FIELD_LONGSTR:
    case AMQP_FIELD_BINARY:
        return VALUE_BYTES;
    case AMQP_FIELD_BOOL:
        return VALUE_BOOL;
    case AMQP_FIELD_DECIMAL:
        return VALUE_DECIMAL;
    case AMQP_FIELD_VOID:
        return VALUE_VOID;
    case AMQP_FIELD_TABLE:
        return VALUE_TABLE;
    case AMQP_FIELD_ARRAY:
        return VALUE_ARRAY;
    }
    UNREACHABLE("field type");
}

/* A whole number as sign and size: a timestamp may exceed any signed type. */
struct whole {
    bool negative;
    uint64_t size;
};

static struct whole whole_of(const struct amqp_field *f)
{
    if (f->type == AMQP_FIELD_TIMESTAMP)
        return (struct whole){ false, f->timestamp };
    bool negative = f->i64 < 0;
    return (struct whole){ negative, negative ? 0 - (uint64_t)f->i64 : (uint64_t)f->i64 };
}

/* Exactly, not after rounding the whole number to a double. */
static bool whole_is_real(struct whole a, double b)
{
    double size = fabs(b);
    if (!(size < 0x1p64) || size != floor(size))
        return false;
    return a.size == (uint64_t)size && (a.size == 0 || a.negative == (b < 0));
}

static bool numbers_match(const struct amqp_field *a, const struct amqp_field *b)
{
    bool a_whole = kind_of(a->type) == VALUE_INT;
    bool b_whole = kind_of(b->type) == VALUE_INT;
    if (a_whole && b_whole) {
        struct whole x = whole_of(a), y = whole_of(b);
        return x.negative == y.negative && x.size == y.size;
    }
    if (a_whole)
        return whole_is_real(whole_of(a), b->f64);
    if (b_whole)
        return whole_is_real(whole_of(b), a->f64);
    return a->f64 >= b->f64 && a->f64 <= b->f64;
}

/* Same names, types and values in the same order. */
static bool contents_match(struct amqp_table_iter a, struct amqp_table_iter b)
{
    for (;;) {
        struct amqp_field x, y;
        bool more = amqp_table_iter_next(&a, &x);
        if (more != amqp_table_iter_next(&b, &y))
            return false;
        if (!more)
            return true;
        if (x.type != y.type || !slice_eq(x.name, y.name) || !amqp_field_matches(&x, &y))
            return false;
    }
}

static bool is_number(enum value_kind kind)
{
    return kind == VALUE_INT || kind == VALUE_REAL;
}

/* To RabbitMQ, which compares without the types, no fields and no elements are the same. */
static bool is_empty_list(const struct amqp_field *f)
{
    return (f->type == AMQP_FIELD_TABLE || f->type == AMQP_FIELD_ARRAY) && f->bytes.len == 0;
}

/* Nesting is bounded: both went through amqp_table_check. */
bool amqp_field_matches(const struct amqp_field *a, const struct amqp_field *b)
{
    enum value_kind kind = kind_of(a->type);
    if (is_number(kind) && is_number(kind_of(b->type)))
        return numbers_match(a, b);
    if (kind != kind_of(b->type))
        return is_empty_list(a) && is_empty_list(b);

    switch (kind) {
    case VALUE_INT:
    case VALUE_REAL:
        return numbers_match(a, b);
    case VALUE_BYTES:
        return slice_eq(a->bytes, b->bytes);
    case VALUE_BOOL:
        return a->boolean == b->boolean;
    case VALUE_DECIMAL:
        return a->decimal.scale == b->decimal.scale && a->decimal.value == b->decimal.value;
    case VALUE_VOID:
        return true;
    case VALUE_TABLE:
        return contents_match(amqp_table_iter_init(a->bytes), amqp_table_iter_init(b->bytes));
    case VALUE_ARRAY:
        return contents_match(amqp_array_iter_init(a->bytes), amqp_array_iter_init(b->bytes));
    }
    UNREACHABLE("value kind");
}

bool amqp_field_is_equivalent(const struct amqp_field *a, const struct amqp_field *b)
{
    return kind_of(a->type) == kind_of(b->type) && amqp_field_matches(a, b);
}

const char *amqp_field_type_name(enum amqp_field_type type)
{
    switch (type) {
#define X(NAME, letter, text)                                                                      \
    case AMQP_FIELD_##NAME:                                                                        \
        return text;
        AMQP_FIELD_TYPES(X)
#undef X
    }
    UNREACHABLE("field type");
}

static void put_number(const struct amqp_field *f, struct text *out)
{
    if (f->type == AMQP_FIELD_TIMESTAMP)
        text_put(out, "%" PRIu64, f->timestamp);
    else if (kind_of(f->type) == VALUE_INT)
        text_put(out, "%" PRId64, f->i64);
    else
        text_put(out, f->f64 == floor(f->f64) && fabs(f->f64) < 1e15 ? "%.1f" : "%.17g", f->f64);
}

/* {<<"name">>,type,value} in a table, {type,value} in an array, as Erlang shows a list of them. */
static void put_contents(struct amqp_table_iter it, struct text *out)
{
    struct amqp_field f;
    const char *before = "[";
    bool any = false;
    while (!out->cut && amqp_table_iter_next(&it, &f)) {
        text_put(out, "%s{", before);
        if (it.named) {
            text_str(out, "<<\"");
            text_slice(out, f.name);
            text_str(out, "\">>,");
        }
        bool quoted = kind_of(f.type) == VALUE_BYTES;
        text_put(out, "%s,%s", amqp_field_type_name(f.type), quoted ? "<<\"" : "");
        amqp_field_text(&f, out);
        text_str(out, quoted ? "\">>}" : "}");
        before = ",";
        any = true;
    }
    text_str(out, any ? "]" : "[]");
}

void amqp_field_text(const struct amqp_field *f, struct text *out)
{
    switch (kind_of(f->type)) {
    case VALUE_INT:
    case VALUE_REAL:
        put_number(f, out);
        return;
    case VALUE_BYTES:
        text_slice(out, f->bytes);
        return;
    case VALUE_BOOL:
        text_str(out, f->boolean ? "true" : "false");
        return;
    case VALUE_DECIMAL:
        text_put(out, "{%u,%u}", (unsigned)f->decimal.scale, (unsigned)f->decimal.value);
        return;
    case VALUE_VOID:
        text_str(out, "undefined");
        return;
    case VALUE_TABLE:
        put_contents(amqp_table_iter_init(f->bytes), out);
        return;
    case VALUE_ARRAY:
        put_contents(amqp_array_iter_init(f->bytes), out);
        return;
    }
    UNREACHABLE("value kind");
}
