/*
 * A field table: checked, walked, written field by field, walked again; every value is compared
 * with itself and its neighbour, shown, and asked for by name.
 */
#include "amqp/amqp_table.h"
#include "base/check.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_nan(const struct amqp_field *f)
{
    return (f->type == AMQP_FIELD_FLOAT || f->type == AMQP_FIELD_DOUBLE) && f->f64 != f->f64;
}

static void use(const struct amqp_field *f, const struct amqp_field *neighbour)
{
    char room[64];
    struct text shown = text_over(room, sizeof room);
    amqp_field_text(f, &shown);

    bool scalar = f->type != AMQP_FIELD_TABLE && f->type != AMQP_FIELD_ARRAY;
    if (scalar) /* a table may have a NaN in it, which equals nothing */
        CHECK(amqp_field_matches(f, f) != is_nan(f));
    bool equivalent = amqp_field_is_equivalent(f, neighbour);
    CHECK(!equivalent || amqp_field_matches(f, neighbour));
    CHECK(amqp_field_matches(f, neighbour) == amqp_field_matches(neighbour, f));
}

/* Write what a walk over `table` sees; the length may not change. */
static void rewrite(struct slice table, struct wire_out *w)
{
    struct amqp_table_iter it = amqp_table_iter_init(table);
    struct amqp_field f, last = { .type = AMQP_FIELD_VOID };
    while (amqp_table_iter_next(&it, &f)) {
        use(&f, &last);
        last = f;
        amqp_table_put(w, &f);
    }
    CHECK(!it.w.ran_out && !w->overflow && wire_out_len(w) == table.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice table = slice_of(data, size);
    struct amqp_field f;
    (void)amqp_table_bool(table, "x-match", false); /* lookups take anything */
    bool found = amqp_table_find(table, "x-match", &f);
    if (!amqp_table_check(table))
        return 0;

    uint8_t *first = malloc(size + 1), *second = malloc(size + 1);
    CHECK(first != NULL && second != NULL);
    struct wire_out a = wire_out_over(first, size), b = wire_out_over(second, size);
    rewrite(table, &a);
    CHECK(amqp_table_check(wire_out_slice(&a)));
    CHECK(amqp_table_find(wire_out_slice(&a), "x-match", &f) == found);
    rewrite(wire_out_slice(&a), &b);
    CHECK(slice_eq(wire_out_slice(&a), wire_out_slice(&b)));
    free(first);
    free(second);
    return 0;
}
