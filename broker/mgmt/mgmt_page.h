/*
 * mgmt_page: the page for people, as the build has it from page.html: one file, which asks the HTTP
 * API of the node that served it and nothing else.
 */
#ifndef WARREN_MGMT_PAGE_H
#define WARREN_MGMT_PAGE_H

#include <stddef.h>

extern const unsigned char mgmt_page_html[];
extern const size_t mgmt_page_html_len;

#endif
