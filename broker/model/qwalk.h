/*
 * qwalk: over what is there in an index, in order, in stretches of positions without a gap.
 *
 * The index does not change while somebody walks.
 */
#ifndef WARREN_QWALK_H
#define WARREN_QWALK_H

#include "model/qindex.h"

struct qwalk {
    const struct qindex *ix;
    size_t slot;
    size_t at;
    size_t run;
};

struct qstretch {
    uint64_t first;
    uint64_t last;
    const struct qrun *run; /* it is a run, which may not be dense; NULL: entries */
};

/* The first stretches may lie before `from`. */
void qwalk_init(struct qwalk *w, const struct qindex *ix, uint64_t from);

/* False: there is none any more. */
bool qwalk_next(struct qwalk *w, struct qstretch *out);

#endif
