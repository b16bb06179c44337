/*
 * amqp_table: field tables and arrays, read in place and written in order.
 *
 * A table is its raw octets without the length, as amqp_method and amqp_props hand them out. It is
 * judged once, by amqp_table_check where it enters; after that iteration cannot fail. Types and
 * signs are those of RabbitMQ's codec, which differ from the letters of 4.2.5.5 ('s' is a signed
 * 16-bit number, not a short string, and 'l' and 'L' are the same). Nothing is allocated or
 * copied; a field's bytes point into the table. Stateless; any thread.
 */
#ifndef WARREN_AMQP_TABLE_H
#define WARREN_AMQP_TABLE_H

#include "amqp/amqp_spec.h"
#include "base/attr.h"
#include "base/slice.h"
#include "base/text.h"
#include "base/wire.h"

/* Tables and arrays within each other, the outermost counted. Real ones have three. */
#define AMQP_TABLE_DEPTH_MAX 32

struct amqp_decimal {
    uint8_t scale; /* digits behind the point */
    uint32_t value;
};

struct amqp_field {
    struct slice name; /* empty for an element of an array */
    enum amqp_field_type type;
    union {
        bool boolean;                /* BOOL */
        int64_t i64;                 /* I8 U8 I16 U16 I32 U32 I64 */
        uint64_t timestamp;          /* TIMESTAMP: seconds since 1970 */
        double f64;                  /* FLOAT DOUBLE */
        struct amqp_decimal decimal; /* DECIMAL */
        struct slice bytes;          /* LONGSTR BINARY TABLE ARRAY: without the length */
    };
};

/* ---- reading ---- */

/* Is it well formed, of known types throughout, and not nested too deeply? */
MUST_CHECK bool amqp_table_check(struct slice table);

/* A walk over the fields of a table, or the elements of an array, in the order they came. */
struct amqp_table_iter {
    struct wire w;
    bool named; /* a table's fields have names, an array's have none */
};

static inline struct amqp_table_iter amqp_table_iter_init(struct slice table)
{
    return (struct amqp_table_iter){ wire_over(table), true };
}

static inline struct amqp_table_iter amqp_array_iter_init(struct slice array)
{
    return (struct amqp_table_iter){ wire_over(array), false };
}

/* False when there is no further field. In what was never checked, also at the first malformed
 * one: then it->w.ran_out is set. */
MUST_CHECK bool amqp_table_iter_next(struct amqp_table_iter *it, struct amqp_field *out);

/* The first field of that name, the one that counts for RabbitMQ when there are several. */
MUST_CHECK bool amqp_table_find(struct slice table, const char *name, struct amqp_field *out);

/* False, and *out as it was, unless the field is of any integer type (a timestamp is not). */
MUST_CHECK bool amqp_field_as_i64(const struct amqp_field *f, int64_t *out);

/* False unless it is BOOL. */
MUST_CHECK bool amqp_field_as_bool(const struct amqp_field *f, bool *out);

/* False unless it is LONGSTR. */
MUST_CHECK bool amqp_field_as_longstr(const struct amqp_field *f, struct slice *out);

/* The same three straight from a table, with a value for what is absent or of another type. */
int64_t amqp_table_i64(struct slice table, const char *name, int64_t otherwise);
bool amqp_table_bool(struct slice table, const char *name, bool otherwise);
struct slice amqp_table_longstr(struct slice table, const char *name);

/* ---- comparing ---- */

/*
 * Are the values the same to a headers exchange? RabbitMQ compares values and not types: numbers
 * by value whatever their width, whole or not, so that long 1, timestamp 1 and double 1.0 are one;
 * a longstr and a binary by their octets. What lies inside tables and arrays must also agree in
 * type, name and order. Names of the two fields themselves do not matter.
 */
bool amqp_field_matches(const struct amqp_field *a, const struct amqp_field *b);

/*
 * Are they the same as arguments of a declaration? As above, but a whole number is never the same
 * as one with a point.
 */
bool amqp_field_is_equivalent(const struct amqp_field *a, const struct amqp_field *b);

/* "signedint", "longstr": the type as RabbitMQ's error texts have it. */
const char *amqp_field_type_name(enum amqp_field_type type);

/* The value for people, as RabbitMQ's error texts have it: strings plain, tables in its terms. */
void amqp_field_text(const struct amqp_field *f, struct text *out);

/* ---- writing: into a table, or into an array with `name` NULL; w overflows when it is full ----
 */

void amqp_table_put_bool(struct wire_out *w, const char *name, bool v);
void amqp_table_put_i32(struct wire_out *w, const char *name, int32_t v);
void amqp_table_put_i64(struct wire_out *w, const char *name, int64_t v);
/* There is no unsigned 64-bit type: what is above INT64_MAX is written as INT64_MAX. */
void amqp_table_put_u64(struct wire_out *w, const char *name, uint64_t v);
void amqp_table_put_double(struct wire_out *w, const char *name, double v);
void amqp_table_put_timestamp(struct wire_out *w, const char *name, uint64_t seconds);
void amqp_table_put_longstr(struct wire_out *w, const char *name, struct slice v);
void amqp_table_put_text(struct wire_out *w, const char *name, const char *v);
void amqp_table_put_void(struct wire_out *w, const char *name);

/* A table or array within: the returned mark goes to amqp_table_end, which closes either. */
MUST_CHECK size_t amqp_table_begin(struct wire_out *w, const char *name);
MUST_CHECK size_t amqp_array_begin(struct wire_out *w, const char *name);
void amqp_table_end(struct wire_out *w, size_t mark);

/* Any field as it was read, name included (amqp_array_put: without). */
void amqp_table_put(struct wire_out *w, const struct amqp_field *f);
void amqp_array_put(struct wire_out *w, const struct amqp_field *f);

#endif
