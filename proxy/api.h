/*
 * api: what the proxy knows, for programs: /api/... of the addresses that have pages, as JSON.
 * Reads alone; whoever may see the pages may ask. Control loop.
 */
#ifndef WARREN_API_H
#define WARREN_API_H

#include "io/http.h"
#include "view.h"

/* The view outlives the request. Answers at once, or when the workers have told of what they have.
 */
void api_serve(const struct view *v, struct http_request *r);

#endif
