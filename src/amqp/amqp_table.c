#include "amqp/amqp_table.h"

#include "base/check.h"

/* ---- reading ---- */

static double double_of_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t bits_of_double(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static float float_of_bits(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint32_t bits_of_float(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* The value behind a type letter; false when the letter is none that we know. */
static bool read_value(struct wire *w, uint8_t letter, struct amqp_field *out)
{
    out->type = (enum amqp_field_type)letter;
    switch (letter) {
    case AMQP_FIELD_BOOL:
        out->boolean = wire_u8(w) != 0;
        return true;
    case AMQP_FIELD_I8:
        out->i64 = (int8_t)wire_u8(w);
        return true;
    case AMQP_FIELD_U8:
        out->i64 = wire_u8(w);
        return true;
    case AMQP_FIELD_I16:
        out->i64 = (int16_t)wire_u16(w);
        return true;
    case AMQP_FIELD_U16:
        out->i64 = wire_u16(w);
        return true;
    case AMQP_FIELD_I32:
        out->i64 = (int32_t)wire_u32(w);
        return true;
    case AMQP_FIELD_U32:
        out->i64 = wire_u32(w);
        return true;
    case 'L': /* RabbitMQ's other letter for the same */
        out->type = AMQP_FIELD_I64;
        out->i64 = (int64_t)wire_u64(w);
        return true;
    case AMQP_FIELD_I64:
        out->i64 = (int64_t)wire_u64(w);
        return true;
    case AMQP_FIELD_FLOAT:
        out->f64 = (double)float_of_bits(wire_u32(w));
        return true;
    case AMQP_FIELD_DOUBLE:
        out->f64 = double_of_bits(wire_u64(w));
        return true;
    case AMQP_FIELD_DECIMAL:
        out->decimal.scale = wire_u8(w);
        out->decimal.value = wire_u32(w);
        return true;
    case AMQP_FIELD_TIMESTAMP:
        out->timestamp = wire_u64(w);
        return true;
    case AMQP_FIELD_LONGSTR:
    case AMQP_FIELD_BINARY:
    case AMQP_FIELD_TABLE:
    case AMQP_FIELD_ARRAY:
        out->bytes = wire_longstr(w);
        return true;
    case AMQP_FIELD_VOID:
        return true;
    default: /* a letter from the wire, not one of our enums */
        return false;
    }
}

bool amqp_table_iter_next(struct amqp_table_iter *it, struct amqp_field *out)
{
    if (wire_left(&it->w) == 0)
        return false;
    *out = (struct amqp_field){ .type = AMQP_FIELD_VOID };
    if (it->named)
        out->name = wire_shortstr(&it->w);
    uint8_t letter = wire_u8(&it->w);
    if (!read_value(&it->w, letter, out)) {
        it->w.at = it->w.end;
        it->w.ran_out = true;
    }
    return !it->w.ran_out;
}

static bool check_fields(struct amqp_table_iter it, int depth)
{
    if (depth > AMQP_TABLE_DEPTH_MAX)
        return false;

    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f)) {
        if (f.type == AMQP_FIELD_TABLE && !check_fields(amqp_table_iter_init(f.bytes), depth + 1))
            return false;
        if (f.type == AMQP_FIELD_ARRAY && !check_fields(amqp_array_iter_init(f.bytes), depth + 1))
            return false;
    }
    return !it.w.ran_out;
}

bool amqp_table_check(struct slice table)
{
    return table.len == 0 || check_fields(amqp_table_iter_init(table), 1);
}

bool amqp_table_find(struct slice table, const char *name, struct amqp_field *out)
{
    struct slice wanted = slice_str(name);
    struct amqp_table_iter it = amqp_table_iter_init(table);
    while (amqp_table_iter_next(&it, out))
        if (slice_eq(out->name, wanted))
            return true;
    return false;
}

static bool type_is_integer(enum amqp_field_type type)
{
    return type == AMQP_FIELD_I8 || type == AMQP_FIELD_U8 || type == AMQP_FIELD_I16 ||
           type == AMQP_FIELD_U16 || type == AMQP_FIELD_I32 || type == AMQP_FIELD_U32 ||
           type == AMQP_FIELD_I64;
}

bool amqp_field_as_i64(const struct amqp_field *f, int64_t *out)
{
    if (!type_is_integer(f->type))
        return false;
    *out = f->i64;
    return true;
}

bool amqp_field_as_bool(const struct amqp_field *f, bool *out)
{
    if (f->type != AMQP_FIELD_BOOL)
        return false;
    *out = f->boolean;
    return true;
}

bool amqp_field_as_longstr(const struct amqp_field *f, struct slice *out)
{
    if (f->type != AMQP_FIELD_LONGSTR)
        return false;
    *out = f->bytes;
    return true;
}

int64_t amqp_table_i64(struct slice table, const char *name, int64_t otherwise)
{
    struct amqp_field f;
    int64_t v = otherwise;
    return amqp_table_find(table, name, &f) && amqp_field_as_i64(&f, &v) ? v : otherwise;
}

bool amqp_table_bool(struct slice table, const char *name, bool otherwise)
{
    struct amqp_field f;
    bool v = otherwise;
    return amqp_table_find(table, name, &f) && amqp_field_as_bool(&f, &v) ? v : otherwise;
}

struct slice amqp_table_longstr(struct slice table, const char *name)
{
    struct amqp_field f;
    struct slice v = { NULL, 0 };
    return amqp_table_find(table, name, &f) && amqp_field_as_longstr(&f, &v) ? v
                                                                             : (struct slice){ 0 };
}

/* ---- writing ---- */

static void put_head(struct wire_out *w, const char *name, enum amqp_field_type type)
{
    if (name != NULL)
        wire_put_shortstr(w, slice_str(name));
    wire_put_u8(w, (uint8_t)type);
}

void amqp_table_put_bool(struct wire_out *w, const char *name, bool v)
{
    put_head(w, name, AMQP_FIELD_BOOL);
    wire_put_u8(w, v);
}

void amqp_table_put_i32(struct wire_out *w, const char *name, int32_t v)
{
    put_head(w, name, AMQP_FIELD_I32);
    wire_put_u32(w, (uint32_t)v);
}

void amqp_table_put_i64(struct wire_out *w, const char *name, int64_t v)
{
    put_head(w, name, AMQP_FIELD_I64);
    wire_put_u64(w, (uint64_t)v);
}

void amqp_table_put_u64(struct wire_out *w, const char *name, uint64_t v)
{
    amqp_table_put_i64(w, name, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

void amqp_table_put_double(struct wire_out *w, const char *name, double v)
{
    put_head(w, name, AMQP_FIELD_DOUBLE);
    wire_put_u64(w, bits_of_double(v));
}

void amqp_table_put_timestamp(struct wire_out *w, const char *name, uint64_t seconds)
{
    put_head(w, name, AMQP_FIELD_TIMESTAMP);
    wire_put_u64(w, seconds);
}

void amqp_table_put_longstr(struct wire_out *w, const char *name, struct slice v)
{
    put_head(w, name, AMQP_FIELD_LONGSTR);
    wire_put_longstr(w, v);
}

void amqp_table_put_text(struct wire_out *w, const char *name, const char *v)
{
    amqp_table_put_longstr(w, name, slice_str(v));
}

void amqp_table_put_void(struct wire_out *w, const char *name)
{
    put_head(w, name, AMQP_FIELD_VOID);
}

size_t amqp_table_begin(struct wire_out *w, const char *name)
{
    put_head(w, name, AMQP_FIELD_TABLE);
    return wire_put_hole_u32(w);
}

size_t amqp_array_begin(struct wire_out *w, const char *name)
{
    put_head(w, name, AMQP_FIELD_ARRAY);
    return wire_put_hole_u32(w);
}

void amqp_table_end(struct wire_out *w, size_t mark)
{
    wire_fill_u32(w, mark);
}

static void put_value(struct wire_out *w, const struct amqp_field *f)
{
    switch (f->type) {
    case AMQP_FIELD_BOOL:
        wire_put_u8(w, f->boolean);
        return;
    case AMQP_FIELD_I8:
    case AMQP_FIELD_U8:
        wire_put_u8(w, (uint8_t)f->i64);
        return;
    case AMQP_FIELD_I16:
    case AMQP_FIELD_U16:
        wire_put_u16(w, (uint16_t)f->i64);
        return;
    case AMQP_FIELD_I32:
    case AMQP_FIELD_U32:
        wire_put_u32(w, (uint32_t)f->i64);
        return;
    case AMQP_FIELD_I64:
        wire_put_u64(w, (uint64_t)f->i64);
        return;
    case AMQP_FIELD_FLOAT:
        wire_put_u32(w, bits_of_float((float)f->f64));
        return;
    case AMQP_FIELD_DOUBLE:
        wire_put_u64(w, bits_of_double(f->f64));
        return;
    case AMQP_FIELD_DECIMAL:
        wire_put_u8(w, f->decimal.scale);
        wire_put_u32(w, f->decimal.value);
        return;
    case AMQP_FIELD_TIMESTAMP:
        wire_put_u64(w, f->timestamp);
        return;
    case AMQP_FIELD_LONGSTR:
    case AMQP_FIELD_BINARY:
    case AMQP_FIELD_TABLE:
    case AMQP_FIELD_ARRAY:
        wire_put_longstr(w, f->bytes);
        return;
    case AMQP_FIELD_VOID:
        return;
    }
    UNREACHABLE("field type");
}

void amqp_table_put(struct wire_out *w, const struct amqp_field *f)
{
    wire_put_shortstr(w, f->name);
    amqp_array_put(w, f);
}

void amqp_array_put(struct wire_out *w, const struct amqp_field *f)
{
    wire_put_u8(w, (uint8_t)f->type);
    put_value(w, f);
}
