/*
 * queues_page: the list of queues for people, a page of it at a time, as a broker tells it: the
 * proxy itself keeps no names. The broker filters, sorts and cuts, so a million of them are no more
 * here than a hundred. Pure.
 */
#ifndef WARREN_QUEUES_PAGE_H
#define WARREN_QUEUES_PAGE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/text.h"

#define QUEUES_PAGE_ROWS     100u
#define QUEUES_PAGE_NAME_MAX 255u /* octets of a filter */

struct queues_query {
    uint64_t page;     /* from 1 */
    struct slice name; /* part of a queue's name; empty: all. Lent */
};

/* What is asked of the broker's management. */
void queues_page_path(const struct queues_query *q, struct text *out);

/* The page, from the broker's answer. `uri` is the proxy's own page. False: that is no such
 * answer. */
MUST_CHECK bool queues_page(const struct queues_query *q, const char *uri, struct slice answer,
                            struct text *out, struct err *err);

#endif
