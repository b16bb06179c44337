/*
 * check_store: what a stopped node has on its disk, for people: read, judged, told, not changed.
 *
 * Every record of every segment is verified, also behind an index file, and so are index files and
 * the files of large messages. What is lost is told by queue, with the names that the definitions
 * have for them.
 */
#ifndef WARREN_CHECK_STORE_H
#define WARREN_CHECK_STORE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/text.h"

#define CHECK_STORE_REPORT_MAX ((size_t)4 << 20)

enum check_store {
    CHECK_STORE_GOOD,
    CHECK_STORE_DAMAGED, /* the report says what */
    CHECK_STORE_FAILED,  /* it cannot be judged; *err says why: ERR_NOT_FOUND: there is none */
    CHECK_STORE_IN_USE,  /* by a node that runs, see *err */
};

/* `folder` is the node's. The report is added to `out`. Blocks; with threads of its own. */
MUST_CHECK enum check_store check_store(const char *folder, unsigned threads, struct text *out,
                                        struct err *err);

#endif
