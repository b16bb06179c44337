/*
 * census: a list of the live sessions and legs, gathered from all workers.
 */
#ifndef WARREN_CENSUS_H
#define WARREN_CENSUS_H

#include "base/text.h"
#include "order.h"

#include <jansson.h>

enum census_form {
    CENSUS_SESSIONS, /* a line a session, as `show sess` has it */
    CENSUS_LEGS,     /* a line a leg */
    CENSUS_ROWS,     /* a row of an HTML table a session */
    CENSUS_ERRORS,   /* the last errors of clients, `show errors` */
};

typedef void (*census_fn)(const struct text *list, unsigned left_out, void *arg);

/* At most `limit` entries; `fn` is called on the control loop, once, later. */
void census_start(struct loop *control, struct worker *workers, unsigned worker_count,
                  enum census_form form, unsigned limit, census_fn fn, void *arg);

/* The same as an array of objects, of sessions or legs; it is borrowed for the call. */
typedef void (*census_json_fn)(json_t *list, unsigned left_out, void *arg);
void census_start_json(struct loop *control, struct worker *workers, unsigned worker_count,
                       enum census_form form, unsigned limit, census_json_fn fn, void *arg);

#endif
