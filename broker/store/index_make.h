/*
 * index_make: from the octets of a segment to those of its index file, and what was found amiss on
 * the way. No I/O.
 */
#ifndef WARREN_INDEX_MAKE_H
#define WARREN_INDEX_MAKE_H

#include "store/index_state.h"
#include "store/scan.h"

struct index_make {
    struct index_header header;
    struct scan_gap *gaps; /* between records */
    size_t gap_count;
    struct scan_gap
        rest;      /* from the last record on; to == from when the segment is ended or full */
    bool is_ended; /* END, or no room for it */

    /* Its own. */
    struct index_states *states;
    uint8_t *lists;
    uint8_t *dir;
};

/* Read all of it. `whole` is not needed afterwards. */
void index_make_init(struct index_make *m, struct slice whole, const struct segment_header *h);
void index_make_fini(struct index_make *m);

/* Octets from .. to were safe and are lost. */
void index_make_lost(struct index_make *m, uint32_t from, uint32_t to);

/* The whole file, in memory that the caller frees (mem_free). Once, at the end. */
uint8_t *index_make_take(struct index_make *m, size_t *len);

#endif
