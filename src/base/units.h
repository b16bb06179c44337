/*
 * units: what people write in a config file, as numbers: "2s", "64k", "50%".
 *
 * Durations: ms, s, m, h, d; a bare number is in the unit the caller names
 * (0: refused). Sizes: k, M, G, T
 * (also KB, KiB, ...; all are powers of 1024). The whole text must be the number and its unit.
 */
#ifndef WARREN_UNITS_H
#define WARREN_UNITS_H

#include "base/attr.h"
#include "base/slice.h"

/* Each is false, and *out untouched, for anything but one number in range. */
MUST_CHECK bool units_u64(struct slice text, uint64_t *out);
MUST_CHECK bool units_duration_ms(struct slice text, uint64_t bare_unit_ms, uint64_t *out);
MUST_CHECK bool units_size_bytes(struct slice text, uint64_t *out);
MUST_CHECK bool units_percent(struct slice text, double *out); /* "40%" and "0.4" are 0.4 */
MUST_CHECK bool units_bool(struct slice text, bool *out);      /* on/off, true/false, yes/no, 1/0 */

#endif
