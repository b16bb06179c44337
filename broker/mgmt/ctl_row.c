#include "mgmt/ctl_row.h"

#include "amqp/amqp_table.h"
#include "base/check.h"

#include <inttypes.h>
#include <math.h>

void ctl_row_begin(struct ctl_row *r, struct text *out)
{
    *r = (struct ctl_row){ .out = out };
    text_char(out, '[');
}

void ctl_row_end(struct ctl_row *r)
{
    text_str(r->out, "]\n");
}

static void next(struct ctl_row *r)
{
    if (r->begun)
        text_char(r->out, ',');
    r->begun = true;
}

/* ---- plain values ---- */

static void put_quoted(struct text *out, struct slice value)
{
    text_char(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.ptr[i];
        if (c != '"' && c != '\\' && c >= 0x20 && c != 0x7F)
            continue;
        text_utf8(out, slice_of(value.ptr + from, i - from));
        text_put(out, "\\u%04x", (unsigned)c);
        from = i + 1;
    }
    text_utf8(out, slice_from(value, from));
    text_char(out, '"');
}

static void put_double(struct text *out, double value)
{
    if (isfinite(value))
        text_put(out, "%.17g", value);
    else
        text_str(out, "null");
}

void ctl_row_slice(struct ctl_row *r, struct slice value)
{
    next(r);
    put_quoted(r->out, value);
}

void ctl_row_str(struct ctl_row *r, const char *value)
{
    ctl_row_slice(r, slice_str(value));
}

void ctl_row_u64(struct ctl_row *r, uint64_t value)
{
    next(r);
    text_put(r->out, "%" PRIu64, value);
}

void ctl_row_bool(struct ctl_row *r, bool value)
{
    next(r);
    text_str(r->out, value ? "true" : "false");
}

void ctl_row_double(struct ctl_row *r, double value)
{
    next(r);
    put_double(r->out, value);
}

void ctl_row_json(struct ctl_row *r, const char *value)
{
    next(r);
    text_str(r->out, value);
}

/* ---- field tables ---- */

static void put_fields(struct text *out, struct amqp_table_iter it);

static void put_field(struct text *out, const struct amqp_field *f)
{
    switch (f->type) {
    case AMQP_FIELD_BOOL:
        text_str(out, f->boolean ? "true" : "false");
        return;
    case AMQP_FIELD_I8:
    case AMQP_FIELD_U8:
    case AMQP_FIELD_I16:
    case AMQP_FIELD_U16:
    case AMQP_FIELD_I32:
    case AMQP_FIELD_U32:
    case AMQP_FIELD_I64:
        text_put(out, "%" PRId64, f->i64);
        return;
    case AMQP_FIELD_TIMESTAMP:
        text_put(out, "%" PRIu64, f->timestamp);
        return;
    case AMQP_FIELD_FLOAT:
    case AMQP_FIELD_DOUBLE:
        put_double(out, f->f64);
        return;
    case AMQP_FIELD_DECIMAL:
        text_put(out, "[%u,%" PRIu32 "]", (unsigned)f->decimal.scale, f->decimal.value);
        return;
    case AMQP_FIELD_LONGSTR:
    case AMQP_FIELD_BINARY:
        put_quoted(out, f->bytes);
        return;
    case AMQP_FIELD_TABLE:
        put_fields(out, amqp_table_iter_init(f->bytes));
        return;
    case AMQP_FIELD_ARRAY:
        put_fields(out, amqp_array_iter_init(f->bytes));
        return;
    case AMQP_FIELD_VOID:
        text_str(out, "null");
        return;
    }
    UNREACHABLE("field type");
}

static void put_fields(struct text *out, struct amqp_table_iter it)
{
    struct amqp_field f;
    bool named = it.named, first = true;
    text_char(out, '[');
    while (amqp_table_iter_next(&it, &f)) {
        text_str(out, first ? "[" : ",[");
        first = false;
        if (named) {
            put_quoted(out, f.name);
            text_char(out, ',');
        }
        text_put(out, "\"%s\",", amqp_field_type_name(f.type));
        put_field(out, &f);
        text_char(out, ']');
    }
    text_char(out, ']');
}

void ctl_row_table(struct ctl_row *r, struct slice table)
{
    next(r);
    put_fields(r->out, amqp_table_iter_init(table));
}
