/*
 * page_parts: what the pages for people have in common: their head and style, and text in them.
 *
 * No script and nothing from elsewhere; good on a phone.
 */
#ifndef WARREN_PAGE_PARTS_H
#define WARREN_PAGE_PARTS_H

#include "base/text.h"

/* Up to the beginning of the body. `refresh_s` 0: it is not loaded again by itself. */
void page_begin(struct text *out, const char *title, uint64_t refresh_s);
void page_end(struct text *out);

/* Somebody's text, as text; and in a query. */
void page_text(struct text *out, struct slice s);
void page_query(struct text *out, struct slice s);

#endif
