/*
 * place: where in the journal a record stands, and the order of all records.
 *
 * Segments are numbered from 1 and never again; a record stands in one segment, at a multiple of
 * PLACE_ALIGN. An LSN (log sequence number) is a place as one number: later records have higher
 * ones, and "durable up to LSN" speaks of every record that ends at or before it.
 */
#ifndef WARREN_PLACE_H
#define WARREN_PLACE_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

#define PLACE_ALIGN         8u
#define SEGMENT_BYTES_LEAST ((uint32_t)1 << 20) /* 1 MiB; tests use less, see journal.h */
#define SEGMENT_BYTES_MAX   ((uint32_t)1 << 30) /* offset / PLACE_ALIGN has 27 bits in an entry */

struct place {
    uint32_t seg; /* 0: nowhere, not in the journal */
    uint32_t offset;
};

static inline bool place_is_none(struct place p)
{
    return p.seg == 0;
}

static inline bool place_eq(struct place a, struct place b)
{
    return a.seg == b.seg && a.offset == b.offset;
}

static inline uint64_t place_lsn(struct place p)
{
    return ((uint64_t)p.seg << 32) | p.offset;
}

static inline struct place place_of_lsn(uint64_t lsn)
{
    return (struct place){ (uint32_t)(lsn >> 32), (uint32_t)lsn };
}

#endif
