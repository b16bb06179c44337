/*
 * mgmt_rates: how fast counters rise, for whoever looks at them again and again.
 *
 * Kept for what was looked at, not for all there is: a rate is over the time between two looks that
 * were at least MGMT_RATE_MS apart, and 0.0 at the first. When there are too many to remember all
 * begin anew. The management's loop.
 */
#ifndef WARREN_MGMT_RATES_H
#define WARREN_MGMT_RATES_H

#include <stddef.h>
#include <stdint.h>

#define MGMT_RATE_MS      4000u
#define MGMT_RATES_MAX    100000u /* objects */
#define MGMT_RATE_COLUMNS 12u

struct mgmt_rates;

struct mgmt_rates *mgmt_rates_new(void);
void mgmt_rates_free(struct mgmt_rates **r);

/* Rates per second of `count` counters (at most MGMT_RATE_COLUMNS) of the object with this id, into
 * `out`. */
void mgmt_rates_look(struct mgmt_rates *r, uint64_t id, uint64_t now_us, const uint64_t *counters,
                     size_t count, double *out);

#endif
