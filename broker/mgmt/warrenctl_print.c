#include "mgmt/warrenctl_print.h"

#include "base/check.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX ((size_t)64 * 1024 * 1024)

static void put_out(const struct text *t)
{
    fwrite(t->ptr, 1, t->len, stdout);
}

/* ---- values ---- */

/* Field tables come as lists of [name, type, value], arrays of theirs as [type, value]. */
static bool is_field_type(const json_t *v)
{
    static const char *const types[] = { "longstr",    "signedint", "decimal",      "timestamp",
                                         "table",      "byte",      "double",       "float",
                                         "long",       "short",     "bool",         "binary",
                                         "void",       "array",     "unsignedbyte", "unsignedshort",
                                         "unsignedint" };
    const char *text = json_string_value(v);
    for (size_t i = 0; text != NULL && i < ARRAY_COUNT(types); i++) {
        if (strcmp(types[i], text) == 0)
            return true;
    }
    return false;
}

static void put_quoted(struct text *out, const char *text, size_t len)
{
    text_char(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            text_char(out, '\\');
        text_char(out, text[i]);
    }
    text_char(out, '"');
}

static void put_term(struct text *out, const json_t *v);

/* {"x-max-length",10} */
static void put_field(struct text *out, const json_t *field)
{
    size_t count = json_array_size(field);
    const json_t *name = json_array_get(field, 0);
    const json_t *value = json_array_get(field, count - 1);
    if (count == 2) { /* of an array: the value alone */
        put_term(out, value);
        return;
    }
    text_char(out, '{');
    put_quoted(out, json_string_value(name), json_string_length(name));
    text_char(out, ',');
    put_term(out, value);
    text_char(out, '}');
}

static bool is_field(const json_t *v)
{
    size_t count = json_array_size(v);
    return (count == 3 && json_is_string(json_array_get(v, 0)) &&
            is_field_type(json_array_get(v, 1))) ||
           (count == 2 && is_field_type(json_array_get(v, 0)));
}

static void put_list(struct text *out, const json_t *list)
{
    text_char(out, '[');
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (is_field(item)) {
            text_str(out, i != 0 ? "," : "");
            put_field(out, item);
        } else {
            text_str(out, i != 0 ? ", " : "");
            warrenctl_put_value(out, item);
        }
    }
    text_char(out, ']');
}

static void put_term(struct text *out, const json_t *v)
{
    if (json_is_string(v))
        put_quoted(out, json_string_value(v), json_string_length(v));
    else
        warrenctl_put_value(out, v);
}

static void put_dump(struct text *out, const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    CHECK(text != NULL);
    text_str(out, text);
    mem_free(text);
}

void warrenctl_put_value(struct text *out, const json_t *v)
{
    if (v == NULL || json_is_null(v))
        return;
    if (json_is_string(v))
        text_slice(out, slice_of(json_string_value(v), json_string_length(v)));
    else if (json_is_array(v))
        put_list(out, v);
    else
        put_dump(out, v);
}

void warrenctl_print_json(const json_t *value)
{
    struct text t;
    text_init(&t, VALUE_MAX);
    put_dump(&t, value);
    text_char(&t, '\n');
    put_out(&t);
    text_fini(&t);
}

/* ---- a row of each format ---- */

static void add_table_row(const struct warrenctl_rows *r, struct text *out, const json_t *values)
{
    for (unsigned i = 0; i < r->column_count; i++) {
        text_str(out, i != 0 ? "\t" : "");
        warrenctl_put_value(out, json_array_get(values, i));
    }
    text_char(out, '\n');
}

static void put_csv_word(struct text *out, struct slice word)
{
    text_char(out, '"');
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] == '"')
            text_char(out, '"');
        text_char(out, (char)word.ptr[i]);
    }
    text_char(out, '"');
}

static void add_csv_row(const struct warrenctl_rows *r, struct text *out, const json_t *values)
{
    struct text value;
    text_init(&value, VALUE_MAX);
    for (unsigned i = 0; i < r->column_count; i++) {
        text_clear(&value);
        warrenctl_put_value(&value, json_array_get(values, i));
        text_str(out, i != 0 ? "," : "");
        put_csv_word(out, text_view(&value));
    }
    text_char(out, '\n');
    text_fini(&value);
}

static void add_json_row(const struct warrenctl_rows *r, struct text *out, const json_t *values)
{
    text_str(out, r->count != 0 ? ",{" : "{");
    for (unsigned i = 0; i < r->column_count; i++) {
        text_put(out, "%s\"%s\":", i != 0 ? "," : "", r->columns[i]);
        put_dump(out, json_array_get(values, i));
    }
    text_str(out, "}\n");
}

static void print_header(const struct warrenctl_rows *r, const char *between, const char *quote)
{
    for (unsigned i = 0; i < r->column_count; i++)
        printf("%s%s%s%s", i != 0 ? between : "", quote, r->columns[i], quote);
    putchar('\n');
}

/* ---- a pretty table: the lines are those of the terminal's line drawing ---- */

static size_t shown_width(const struct text *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->len; i++)
        n += ((uint8_t)t->ptr[i] & 0xC0u) !=
             0x80u; /* octets that go on with a letter do not count */
    return n;
}

static void measure(const struct warrenctl_rows *r, size_t *widths)
{
    struct text value;
    text_init(&value, VALUE_MAX);
    for (unsigned i = 0; i < r->column_count; i++)
        widths[i] = strlen(r->columns[i]);
    for (size_t n = 0; n < json_array_size(r->kept); n++) {
        for (unsigned i = 0; i < r->column_count; i++) {
            text_clear(&value);
            warrenctl_put_value(&value, json_array_get(json_array_get(r->kept, n), i));
            size_t width = shown_width(&value);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    text_fini(&value);
}

static void print_rule(const struct warrenctl_rows *r, const size_t *widths, const char *corners)
{
    printf("\033(0%c", corners[0]);
    for (unsigned i = 0; i < r->column_count; i++) {
        for (size_t n = 0; n < widths[i] + 2; n++)
            putchar('q');
        putchar(i + 1 < r->column_count ? corners[1] : corners[2]);
    }
    fputs("\033(B\n", stdout);
}

#define UPRIGHT "\033(0x\033(B"

static void print_cells(const struct warrenctl_rows *r, const size_t *widths, const json_t *values)
{
    struct text value;
    text_init(&value, VALUE_MAX);
    for (unsigned i = 0; i < r->column_count; i++) {
        text_clear(&value);
        if (values != NULL)
            warrenctl_put_value(&value, json_array_get(values, i));
        else
            text_str(&value, r->columns[i]);
        size_t pad = widths[i] - shown_width(&value);
        fputs(UPRIGHT " ", stdout);
        fputs(values == NULL ? "\033[1m" : "", stdout);
        put_out(&value);
        fputs(values == NULL ? "\033[0m" : "", stdout);
        printf("%*s", (int)pad + 1, "");
    }
    fputs(UPRIGHT "\n", stdout);
    text_fini(&value);
}

static void print_pretty(const struct warrenctl_rows *r)
{
    size_t *widths = mem_array(r->column_count + 1, sizeof *widths);
    measure(r, widths);
    print_rule(r, widths, "lwk");
    print_cells(r, widths, NULL);
    for (size_t n = 0; n < json_array_size(r->kept); n++) {
        print_rule(r, widths, "tnu");
        print_cells(r, widths, json_array_get(r->kept, n));
    }
    print_rule(r, widths, "mvj");
    mem_free(widths);
}

/* ---- rows ---- */

void warrenctl_rows_begin(struct warrenctl_rows *r, const struct warrenctl *w,
                          const char *const *columns, unsigned count, bool is_whole)
{
    *r = (struct warrenctl_rows){
        .w = w, .columns = columns, .column_count = count, .is_whole = is_whole
    };
    if (w->formatter == WARRENCTL_JSON)
        puts("[");
    if (w->formatter == WARRENCTL_PRETTY_TABLE)
        r->kept = json_array();
}

static void begin(struct warrenctl_rows *r)
{
    bool table = r->w->formatter == WARRENCTL_TABLE || r->w->formatter == WARRENCTL_ERLANG;
    if (table && !r->w->no_headers && !r->w->silent && r->column_count != 0)
        print_header(r, "\t", "");
    else if (r->w->formatter == WARRENCTL_CSV && !r->w->no_headers && !r->w->silent)
        print_header(r, ",", "\"");
    r->begun = true;
}

void warrenctl_rows_add(struct warrenctl_rows *r, const json_t *values)
{
    if (r->kept != NULL) {
        json_array_append_new(r->kept, json_deep_copy(values));
        return;
    }
    if (!r->begun)
        begin(r);
    struct text line;
    text_init(&line, VALUE_MAX);
    if (r->w->formatter == WARRENCTL_JSON)
        add_json_row(r, &line, values);
    else if (r->w->formatter == WARRENCTL_CSV)
        add_csv_row(r, &line, values);
    else
        add_table_row(r, &line, values);
    put_out(&line);
    text_fini(&line);
    r->count++;
}

void warrenctl_rows_end(struct warrenctl_rows *r)
{
    bool table = r->w->formatter == WARRENCTL_TABLE;
    if (r->kept != NULL && json_array_size(r->kept) != 0)
        print_pretty(r);
    if (r->w->formatter == WARRENCTL_JSON)
        puts("]");
    else if (table && r->is_whole && r->count == 0)
        putchar('\n');
    json_decref(r->kept);
    r->kept = NULL;
}

static int compare_rows(const void *left, const void *right)
{
    const json_t *const *a = left;
    const json_t *const *b = right;
    const char *x = json_string_value(json_array_get(*a, 0));
    const char *y = json_string_value(json_array_get(*b, 0));
    return x != NULL && y != NULL ? strcmp(x, y) : 0;
}

int warrenctl_list_whole(struct warrenctl *w, const char *what, json_t *args,
                         const char *const *columns, unsigned count)
{
    int status;
    json_t *o = warrenctl_ask(w, what, args, &status);
    if (o == NULL)
        return status;
    const json_t *all = json_object_get(o, "rows");
    size_t n = json_array_size(all);
    const json_t **sorted = mem_array(n + 1, sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = json_array_get(all, i);
    qsort(sorted, n, sizeof *sorted, compare_rows);
    struct warrenctl_rows rows;
    warrenctl_rows_begin(&rows, w, columns, count, true);
    for (size_t i = 0; i < n; i++)
        warrenctl_rows_add(&rows, sorted[i]);
    warrenctl_rows_end(&rows);
    mem_free(sorted);
    json_decref(o);
    return EX_OK;
}
