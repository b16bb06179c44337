/*
 * http_status: what every answer says: the words of a status, and the date.
 *
 * Stateless; any thread.
 */
#ifndef WARREN_HTTP_STATUS_H
#define WARREN_HTTP_STATUS_H

#include "base/text.h"

#include <stdbool.h>

const char *http_reason(int status);

/* Some have no body, not even an empty one (RFC 9110, 6.4.1). */
bool http_status_has_body(int status);

/* A Date: line (RFC 9110, 5.6.7), in English whatever the locale. */
void http_put_date(struct text *t);

#endif
