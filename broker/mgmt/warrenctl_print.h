/*
 * warrenctl_print: rows, in the format that was asked for, as they come.
 */
#ifndef WARREN_WARRENCTL_PRINT_H
#define WARREN_WARRENCTL_PRINT_H

#include "mgmt/warrenctl.h"

struct warrenctl_rows {
    const struct warrenctl *w;
    const char *const *columns;
    unsigned column_count;
    bool begun; /* the header is out */
    /* A list that comes in one piece: when it is empty, rabbitmqctl ends it with an empty line. */
    bool is_whole;
    size_t count;
    json_t *kept; /* rows of a pretty table, which must know its widths first */
};

void warrenctl_rows_begin(struct warrenctl_rows *r, const struct warrenctl *w,
                          const char *const *columns, unsigned count, bool is_whole);
/* An array of as many values as there are columns; borrowed. */
void warrenctl_rows_add(struct warrenctl_rows *r, const json_t *values);
void warrenctl_rows_end(struct warrenctl_rows *r);

/* Ask for {"rows": [...]}, sorted by their first value, and print it; the arguments are taken. An
 * exit status. */
int warrenctl_list_whole(struct warrenctl *w, const char *what, json_t *args,
                         const char *const *columns, unsigned count);

/* A value as tables show it. */
void warrenctl_put_value(struct text *out, const json_t *value);

/* One JSON value and the end of the line. */
void warrenctl_print_json(const json_t *value);

#endif
