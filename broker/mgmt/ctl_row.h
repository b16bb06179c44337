/*
 * ctl_row: one line of a list for warrenctl: a JSON array of values, in the order of the columns
 * that were asked for.
 *
 * Field tables keep the types that AMQP has and JSON has not: a table is an array of
 * [name, type, value], an array an array of [type, value], as rabbitmqctl's JSON shows them. Pure.
 */
#ifndef WARREN_CTL_ROW_H
#define WARREN_CTL_ROW_H

#include "base/slice.h"
#include "base/text.h"

struct ctl_row {
    struct text *out;
    bool begun; /* a value stands in the line already */
};

void ctl_row_begin(struct ctl_row *r, struct text *out);
void ctl_row_end(struct ctl_row *r);

void ctl_row_slice(struct ctl_row *r, struct slice value);
void ctl_row_str(struct ctl_row *r, const char *value);
void ctl_row_u64(struct ctl_row *r, uint64_t value);
void ctl_row_bool(struct ctl_row *r, bool value);
void ctl_row_double(struct ctl_row *r, double value);
/* A value that is JSON already. */
void ctl_row_json(struct ctl_row *r, const char *value);
void ctl_row_table(struct ctl_row *r, struct slice table);

#endif
