#include "mgmt/mgmt_list.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/units.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* What a pattern may cost on one name. */
#define MATCH_STEPS_MAX 20000u

static bool complain(struct mgmt_complaint *why, const char *error, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static bool complain(struct mgmt_complaint *why, const char *error, const char *fmt, ...)
{
    struct text t = text_over(why->reason, sizeof why->reason);
    va_list args;
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
    why->error = error;
    return false;
}

/* ---- reading ---- */

static bool keep(char *room, size_t size, const char *given, const char *name,
                 struct mgmt_complaint *why)
{
    struct text t = text_over(room, size);
    if (given != NULL)
        text_str(&t, given);
    return !t.cut || complain(why, "bad_request", "%s is longer than %zu octets", name, size - 1);
}

static bool read_number(const char *given, uint32_t max, uint32_t *out)
{
    uint64_t n;
    if (given == NULL)
        return true;
    if (!units_u64(slice_str(given), &n) || n == 0 || n > max)
        return false;
    *out = (uint32_t)n;
    return true;
}

static bool is_true(const char *given)
{
    return given != NULL && strcmp(given, "true") == 0;
}

bool mgmt_list_read(struct mgmt_list *l, const struct mgmt_list_texts *given,
                    struct mgmt_complaint *why)
{
    *l = (struct mgmt_list){ .page_size = MGMT_PAGE_SIZE_ELSE,
                             .use_regex = is_true(given->use_regex),
                             .reverse = is_true(given->sort_reverse) };
    if (!read_number(given->page, MGMT_PAGE_MAX, &l->page) ||
        !read_number(given->page_size, MGMT_PAGE_SIZE_MAX, &l->page_size))
        return complain(why, "invalid_pagination_parameters",
                        "Invalid pagination parameters: page number %.20s, page size %.20s",
                        given->page != NULL ? given->page : "undefined",
                        given->page_size != NULL ? given->page_size : "undefined");
    return keep(l->name, sizeof l->name, l->page != 0 ? given->name : NULL, "name", why) &&
           keep(l->sort, sizeof l->sort, given->sort, "sort", why) &&
           keep(l->columns, sizeof l->columns, given->columns, "columns", why);
}

/* ---- names ---- */

struct mgmt_filter {
    char lower[MGMT_WORD_MAX];
    pcre2_code *pattern; /* NULL: `lower` is looked for; empty: everything is taken */
    pcre2_match_data *match;
    pcre2_match_context *bounds;
};

static bool compile(struct mgmt_filter *f, const char *pattern, struct mgmt_complaint *why)
{
    int code;
    PCRE2_SIZE at;
    f->pattern =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &code, &at, NULL);
    if (f->pattern == NULL) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(code, text, sizeof text);
        return complain(why, "bad_request", "name is no regular expression: %s at offset %zu",
                        (const char *)text, (size_t)at);
    }
    f->match = pcre2_match_data_create(1, NULL);
    f->bounds = pcre2_match_context_create(NULL);
    CHECK(f->match != NULL && f->bounds != NULL);
    pcre2_set_match_limit(f->bounds, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(f->bounds, MATCH_STEPS_MAX);
    return true;
}

bool mgmt_filter_new(const struct mgmt_list *l, struct mgmt_filter **out,
                     struct mgmt_complaint *why)
{
    struct mgmt_filter *f = mem_zalloc(sizeof *f);
    *out = f;
    for (size_t i = 0; l->name[i] != '\0'; i++)
        f->lower[i] = (char)tolower((uint8_t)l->name[i]);
    if (!l->use_regex || l->name[0] == '\0' || compile(f, l->name, why))
        return true;
    mgmt_filter_free(out);
    return false;
}

void mgmt_filter_free(struct mgmt_filter **filter)
{
    struct mgmt_filter *f = *filter;
    *filter = NULL;
    pcre2_match_context_free(f->bounds);
    pcre2_match_data_free(f->match);
    pcre2_code_free(f->pattern);
    mem_free(f);
}

bool mgmt_filter_takes(const struct mgmt_filter *f, struct slice name)
{
    if (f->pattern != NULL)
        return pcre2_match(f->pattern, name.ptr, name.len, 0, 0, f->match, f->bounds) >= 0;
    size_t len = strlen(f->lower);
    for (size_t i = 0; i + len <= name.len; i++) {
        size_t n = 0;
        while (n < len && tolower(name.ptr[i + n]) == (uint8_t)f->lower[n])
            n++;
        if (n == len)
            return true;
    }
    return false;
}

/* ---- order ---- */

struct sort_row {
    json_t *item;
    const json_t *key; /* NULL: it has none */
    size_t index;      /* equal keys stay in order */
};

/* "message_stats.publish" */
static const json_t *find_path(const json_t *item, const char *path)
{
    while (item != NULL) {
        const char *dot = strchr(path, '.');
        size_t len = dot != NULL ? (size_t)(dot - path) : strlen(path);
        char name[MGMT_WORD_MAX];
        struct text t = text_over(name, sizeof name);
        text_slice(&t, slice_of(path, len));
        item = json_object_get(item, name);
        if (dot == NULL)
            break;
        path = dot + 1;
    }
    return item;
}

/* As RabbitMQ's terms are ordered: what is absent, numbers, then words. */
static int rank_of(const json_t *key)
{
    if (key == NULL)
        return 0;
    if (json_is_number(key))
        return 1;
    return json_is_string(key) ? 3 : 2;
}

static int compare_numbers(double a, double b)
{
    return (a > b) - (a < b);
}

const json_t *mgmt_list_key(const struct mgmt_list *l, const json_t *item)
{
    return find_path(item, l->sort);
}

int mgmt_list_compare(const json_t *a, const json_t *b)
{
    int rank = rank_of(a);
    if (rank != rank_of(b))
        return rank - rank_of(b);
    if (rank == 1)
        return compare_numbers(json_number_value(a), json_number_value(b));
    if (rank == 3)
        return strcmp(json_string_value(a), json_string_value(b));
    return rank == 2 ? json_is_true(a) - json_is_true(b) : 0;
}

static int compare_rows(const void *left, const void *right)
{
    const struct sort_row *a = left;
    const struct sort_row *b = right;
    int order = mgmt_list_compare(a->key, b->key);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

/* Sorted, or just turned round; takes `all`. */
static json_t *sorted(const struct mgmt_list *l, json_t *all)
{
    if (l->sort[0] == '\0' && !l->reverse)
        return all;
    size_t count = json_array_size(all);
    struct sort_row *rows = mem_array(count + 1, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(all, i);
        rows[i] =
            (struct sort_row){ item, l->sort[0] != '\0' ? find_path(item, l->sort) : NULL, i };
    }
    if (l->sort[0] != '\0')
        qsort(rows, count, sizeof *rows, compare_rows);
    json_t *out = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append(out, rows[l->reverse ? count - 1 - i : i].item);
    mem_free(rows);
    json_decref(all);
    return out;
}

/* ---- columns and pages ---- */

static bool is_wanted(const char *columns, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = columns; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        /* "message_stats.publish" brings all of message_stats, as RabbitMQ does. */
        if (strncmp(at, name, len) == 0 && (at[len] == '\0' || at[len] == ',' || at[len] == '.'))
            return true;
    }
    return false;
}

void mgmt_list_columns(const struct mgmt_list *l, json_t *value)
{
    if (l->columns[0] == '\0')
        return;
    size_t index;
    json_t *item;
    json_array_foreach(value, index, item) mgmt_list_columns(l, item);
    const char *name;
    void *next;
    json_object_foreach_safe(value, next, name, item)
    {
        if (!is_wanted(l->columns, name))
            json_object_del(value, name);
    }
}

bool mgmt_list_range(const struct mgmt_list *l, size_t filtered, size_t *first, size_t *count,
                     struct mgmt_complaint *why)
{
    CHECK(l->page != 0);
    *first = (size_t)(l->page - 1) * l->page_size;
    if (*first > filtered)
        return complain(why, "page_out_of_range",
                        "Page out of range, page: %u page size: %u, "
                        "len: %zu",
                        l->page, l->page_size, filtered);
    *count = filtered - *first < l->page_size ? filtered - *first : l->page_size;
    return true;
}

json_t *mgmt_list_page(const struct mgmt_list *l, json_t **items, size_t total, size_t filtered)
{
    json_t *shown = *items;
    *items = NULL;
    mgmt_list_columns(l, shown);
    size_t pages = (filtered + l->page_size - 1) / l->page_size;
    json_t *out =
        json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:I}", "filtered_count", (json_int_t)filtered,
                  "item_count", (json_int_t)json_array_size(shown), "items", shown, "page",
                  (json_int_t)l->page, "page_count", (json_int_t)pages, "page_size",
                  (json_int_t)l->page_size, "total_count", (json_int_t)total);
    CHECK(out != NULL);
    return out;
}

static json_t *filtered(const struct mgmt_filter *f, json_t *all)
{
    json_t *out = json_array();
    size_t index;
    json_t *item;
    json_array_foreach(all, index, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (mgmt_filter_takes(f, slice_str(name != NULL ? name : "")))
            json_array_append(out, item);
    }
    json_decref(all);
    return out;
}

static json_t *cut_out(json_t *all, size_t first, size_t count)
{
    json_t *out = json_array();
    for (size_t i = first; i < first + count; i++)
        json_array_append(out, json_array_get(all, i));
    json_decref(all);
    return out;
}

json_t *mgmt_list_show(const struct mgmt_list *l, json_t **all, struct mgmt_complaint *why)
{
    json_t *list = sorted(l, *all);
    *all = NULL;
    if (l->page == 0) {
        mgmt_list_columns(l, list);
        return list;
    }
    struct mgmt_filter *f;
    size_t total = json_array_size(list);
    if (!mgmt_filter_new(l, &f, why))
        goto fail;
    list = filtered(f, list);
    mgmt_filter_free(&f);
    size_t count = json_array_size(list);
    size_t first, shown;
    if (!mgmt_list_range(l, count, &first, &shown, why))
        goto fail;
    list = cut_out(list, first, shown);
    return mgmt_list_page(l, &list, total, count);

fail:
    json_decref(list);
    return NULL;
}
