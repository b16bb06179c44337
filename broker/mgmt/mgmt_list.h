/*
 * mgmt_list: what a reader of the management API may ask of a list: page, page_size, name,
 * use_regex, sort, sort_reverse and columns, with RabbitMQ's meanings, bounds and complaints.
 *
 * Pure; any thread.
 */
#ifndef WARREN_MGMT_LIST_H
#define WARREN_MGMT_LIST_H

#include "base/attr.h"
#include "base/slice.h"

#include <jansson.h>

#define MGMT_PAGE_SIZE_MAX  500u /* as RabbitMQ */
#define MGMT_PAGE_SIZE_ELSE 100u
#define MGMT_PAGE_MAX       1000000000u
#define MGMT_WORD_MAX       256u
#define MGMT_COLUMNS_MAX    2048u

struct mgmt_list {
    uint32_t page; /* from 1; 0: no pages */
    uint32_t page_size;
    bool use_regex;
    bool reverse;
    char name[MGMT_WORD_MAX]; /* only with pages */
    char sort[MGMT_WORD_MAX];
    char columns[MGMT_COLUMNS_MAX]; /* between commas */
};

/* Why a list is refused: 400 with these two. */
struct mgmt_complaint {
    const char *error;
    char reason[256];
};

/* From the query's texts, NULL for what was not given. */
struct mgmt_list_texts {
    const char *page;
    const char *page_size;
    const char *name;
    const char *use_regex;
    const char *sort;
    const char *sort_reverse;
    const char *columns;
};
MUST_CHECK bool mgmt_list_read(struct mgmt_list *l, const struct mgmt_list_texts *given,
                               struct mgmt_complaint *why);

/* Does the list ask for this name? A filter looks at it without regard to case. The pattern's words
 * are the user's: it is compiled once (mgmt_filter_new) and its effort is bounded. */
struct mgmt_filter;
MUST_CHECK bool mgmt_filter_new(const struct mgmt_list *l, struct mgmt_filter **out,
                                struct mgmt_complaint *why);
void mgmt_filter_free(struct mgmt_filter **f);
bool mgmt_filter_takes(const struct mgmt_filter *f, struct slice name);

/* Is the page there, of so many? *first and *count say what it shows. */
MUST_CHECK bool mgmt_list_range(const struct mgmt_list *l, size_t filtered, size_t *first,
                                size_t *count, struct mgmt_complaint *why);

/* The page's answer, around the items that it shows. Takes *items; columns are chosen here. */
json_t *mgmt_list_page(const struct mgmt_list *l, json_t **items, size_t total, size_t filtered);

/* All that a list asks, done to an array of objects, which is taken: the answer, or NULL with why.
 */
MUST_CHECK json_t *mgmt_list_show(const struct mgmt_list *l, json_t **all,
                                  struct mgmt_complaint *why);

/* What an object is sorted by, borrowed, or NULL; and the order of two of those. */
const json_t *mgmt_list_key(const struct mgmt_list *l, const json_t *item);
int mgmt_list_compare(const json_t *a, const json_t *b);

/* Leave only the columns in an object, or in each object of an array. */
void mgmt_list_columns(const struct mgmt_list *l, json_t *value);

#endif
